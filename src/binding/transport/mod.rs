//! Entry points of the native transport: connections whose sockets are read and written here.
//!
//! JavaScript and this side share five things for good: a function that is told events (`tell.rs`), the slab, in
//! which JavaScript writes frames, the control array, in which it notes them, an array of how much waits for each
//! connection, and the arena, into which small payloads are copied (it is replaced when it is full). `control[0]` is the
//! number of notes, `control[1]` that of connections that broke when they were handed over, `control[2]` says whether
//! somebody waits for any of the notes. From `control[4]` on they lie, four numbers each: the connection, where its
//! frames begin and end in the slab, and whether somebody waits for them.

mod arena;
mod context;
mod driver;
mod fill;
mod flush;
mod hub;
mod lent;
mod link;
mod pace;
mod polled;
mod tell;
mod threaded;
mod turns;

use std::cell::OnceCell;
use std::ffi::c_void;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::ptr;
use std::rc::Rc;

use napi::sys;

use super::environment::Environment;
use super::raw::{check, raw_functions, Call, Fault, Outcome, Reply};
use super::receive::array;
use crate::reactor::uv::Library;
use crate::reactor::{Connection, Input};
use context::Context;
use driver::Driver;
use hub::Hub;
use link::Link;
use threaded::Pool;

/// More threads than that make nothing faster.
const MOST_THREADS: usize = 64;

/// The native transport of one environment.
#[derive(Default)]
pub struct Transport {
    driver: OnceCell<Driver>,
}

raw_functions!(export:
    "nativeStart" => start,
    "nativeRest" => rest,
    "nativeSetQueued" => set_queued,
    "nativeOpen" => open,
    "nativeFill" => fill,
    "nativeSetArena" => set_arena,
    "nativeDescribe" => describe,
    "nativeLend" => lend,
    "nativeEndLoan" => end_loan,
    "nativeTake" => take,
    "nativeFlush" => flush,
    "nativeBroken" => broken,
    "nativeSettle" => settle,
    "nativeSendLarge" => send_large,
    "nativePause" => pause,
    "nativeResume" => resume,
    "nativeFlow" => flow,
    "nativeDiscard" => discard,
    "nativeGoOn" => go_on,
    "nativeRef" => keep_alive,
    "nativeCounters" => counters,
    "nativeReceived" => received,
    "nativeReadAhead" => read_ahead,
    "nativeUnread" => unread,
    "nativeReadOnce" => read_once,
    "nativeHolds" => holds,
    "nativeHungUp" => hung_up,
    "nativeUnsent" => unsent,
    "nativeClose" => close,
);

fn driver<'a>(call: &'a Call) -> Outcome<&'a Driver> {
    call.environment
        .transport
        .driver
        .get()
        .ok_or(Fault::Type("the native transport is not started"))
}

fn failed(error: &std::io::Error) -> Fault {
    Fault::Other(error.to_string())
}

const NO_CONNECTION: Fault = Fault::Type("no such connection");

fn with_link<T>(call: &Call, body: impl FnOnce(&mut Link) -> T) -> Outcome<T> {
    driver(call)?
        .with_link(call.size(0)?, body)
        .ok_or(NO_CONNECTION)
}

/// What `nativeStart` returns: there cannot be a transport; it serves the caller; another copy of the package has it now.
const IMPOSSIBLE: i32 = 0;
const STARTED: i32 = 1;
const IN_USE: i32 = 2;

/// `nativeStart(dispatch, slab, control, queued, arena, threads, highWaterMark) -> outcome`: has the transport of this
/// environment serve the caller until `nativeRest`. If there is none yet it is started, with so many I/O threads, or on the
/// loop if that is 0. It throws if there is no memory or descriptor for it now. With `highWaterMark` bytes a stream of Node's
/// has enough.
fn start(call: &Call) -> Outcome<i32> {
    let (env, transport) = (call.env, &call.environment.transport);
    let driver = match transport.driver.get() {
        Some(driver) if driver.rests() => driver,
        Some(_) => return Ok(IN_USE),
        None => match hang_in(call)? {
            Some(driver) => driver,
            None => return Ok(IMPOSSIBLE),
        },
    };
    driver.slab.replace_bytes(env, call.value(1)?)?;
    driver.control.replace(env, call.value(2)?)?;
    driver.queued.replace(env, call.value(3)?)?;
    driver.arena.replace(env, call.value(4)?)?;
    let mut callback = ptr::null_mut();
    // SAFETY: a strong reference to a live value, deleted when the driver rests, or with the environment.
    let status = unsafe { sys::napi_create_reference(env, call.value(0)?, 1, &mut callback) };
    check(status, "expected a function")?;
    driver.callback.set(callback);
    Ok(STARTED)
}

/// Makes the driver and hangs it into the loop, if that can be done.
fn hang_in<'a>(call: &Call<'a>) -> Outcome<Option<&'a Driver>> {
    let (env, environment) = (call.env, call.environment);
    let mut event_loop = ptr::null_mut();
    // SAFETY: the out pointer is valid.
    let status = unsafe { sys::napi_get_uv_event_loop(env, &mut event_loop) };
    if status != sys::Status::napi_ok || event_loop.is_null() {
        return Ok(None);
    }
    // SAFETY: it is this thread's loop. It outlives the handles, because the environment's end waits for the cleanup
    // hook below.
    let Some(library) = (unsafe { Library::find(event_loop.cast()) }) else {
        return Ok(None);
    };
    let high_water = call.size(6)?;
    let pump = match call.size(5)?.min(MOST_THREADS) {
        0 => Hub::start(environment, &library).map(|hub| (None, Some(hub))),
        count => {
            Pool::start(environment, &library, count, high_water).map(|pool| (Some(pool), None))
        }
    };
    let pump = pump.map_err(|error| failed(&error))?;

    let mut hook = ptr::null_mut();
    let data = Rc::into_raw(Rc::clone(environment));
    // SAFETY: Node runs the hook once, on this thread, and passes `data` on, which is freed there.
    let status = unsafe {
        sys::napi_add_async_cleanup_hook(env, Some(clean_up), data.cast_mut().cast(), &mut hook)
    };
    if status != sys::Status::napi_ok {
        // SAFETY: the hook was not taken, so this is the only owner.
        drop(unsafe { Rc::from_raw(data) });
        return Ok(None);
    }
    let driver = environment
        .transport
        .driver
        .get_or_init(|| Driver::new(env, high_water));
    driver.start(environment, library, pump);
    Ok(Some(driver))
}

/// `nativeRest() -> boolean`: the caller has no connections. Whether that is so; then it is told nothing any more, and has to
/// start the transport again for the next one.
fn rest(call: &Call) -> Outcome<bool> {
    Ok(driver(call)?.release())
}

/// Runs when the environment goes down: it waits until every handle is closed.
unsafe extern "C" fn clean_up(hook: sys::napi_async_cleanup_hook_handle, data: *mut c_void) {
    // SAFETY: `data` was made in `hang_in`, and the hook runs once.
    let environment = unsafe { Rc::from_raw(data.cast::<Environment>().cast_const()) };
    if let Some(driver) = environment.transport.driver.get() {
        driver.when_unused(move || {
            // SAFETY: every handle is closed; Node is told so once.
            unsafe { sys::napi_remove_async_cleanup_hook(hook) };
        });
        // A panic must not reach Node, where nobody is left to be told.
        let _ = catch_unwind(AssertUnwindSafe(|| driver.shut_down()));
    }
}

/// `nativeSetQueued(queued)`: a larger array in the place of the one given before.
fn set_queued(call: &Call) -> Outcome<()> {
    driver(call)?.queued.replace(call.env, call.value(0)?)
}

/// `nativeOpen(fd, receiver, isClient, ahead, hasMore, resource) -> id`: takes over a socket, of which it uses a duplicate.
/// What a client sends is masked here. For `ahead` see `nativeDescribe`; `hasMore` says that it is to be read in this turn of
/// the loop, and `resource` stands for the connection in async hooks.
fn open(call: &Call) -> Outcome<i32> {
    // First what may fail: a connection that JavaScript does not learn of would take its bytes.
    let driver = driver(call)?;
    let (receiver, masked, ahead) = (call.size(1)?, call.flag(2)?, call.flag(3)?);
    let socket = driver.descriptors.duplicate(call.int(0)?);
    let connection = Connection::new(socket.map_err(|error| failed(&error))?);
    // Not before: hooks are called, which may close the socket.
    let context = Context::new(call.env, call.value(5)?)?;
    let id = driver
        .open(connection, receiver, masked, call.flag(4)?)
        .map_err(|error| failed(&error))?;
    driver.with_link(id, |link| {
        link.context = Some(Rc::new(context));
        link.is_described = ahead;
    });
    i32::try_from(id).map_err(|_| Fault::Type("too many connections"))
}

/// `nativeFill(id, base, single) -> count`: describes on what was read, in the inbox at `base`; see [`Driver::fill`].
fn fill(call: &Call) -> Outcome<i32> {
    let (id, base, single) = (call.size(0)?, call.size(1)?, call.flag(2)?);
    let driver = driver(call)?;
    let count = driver.fill(call.environment, id, base, single)?;
    // There may be room for more now.
    driver.with_link(id, |link| link.watch(false));
    Ok(count)
}

/// `nativeSetArena(arena)`: other memory for small payloads.
fn set_arena(call: &Call) -> Outcome<()> {
    driver(call)?.arena.replace(call.env, call.value(0)?)
}

/// `nativeDescribe(id, ahead)`: whether input is described before JavaScript is told of it.
fn describe(call: &Call) -> Outcome<()> {
    let ahead = call.flag(1)?;
    with_link(call, |link| link.is_described = ahead)
}

/// `nativeLend(id, memory)`: memory for the message under way, as large as was asked for. It must not be seen by anybody
/// until the message is told.
fn lend(call: &Call) -> Outcome<()> {
    driver(call)?.lend(call.environment, call.size(0)?, call.memory(1)?)
}

/// `nativeEndLoan(id)`: something else is decoded for the message under way, which is put together here again.
fn end_loan(call: &Call) -> Outcome<()> {
    driver(call)?.end_loan(call.environment, call.size(0)?);
    Ok(())
}

/// `nativeTake(id, start, target)`: copies bytes of the input that were too large for the arena.
fn take(call: &Call) -> Outcome<()> {
    let start = call.size(1)?;
    // SAFETY: no JavaScript runs until this function returns, and no other argument is a buffer.
    let target = unsafe { call.bytes(2)? };
    driver(call)?
        .with_input(call.size(0)?, |link, scratch| {
            let input = link.input.as_ref()?;
            let end = start.checked_add(target.len())?;
            target.copy_from_slice(input.bytes(scratch).get(start..end)?);
            Some(())
        })
        .flatten()
        .ok_or(Fault::Type("no such bytes"))
}

/// `nativeFlush()`: hands over what is noted in the control array.
fn flush(call: &Call) -> Outcome<()> {
    driver(call)?.flush();
    Ok(())
}

/// `nativeBroken() -> number[]`: the connections that broke when something was handed over, each followed by the error.
fn broken(call: &Call) -> Outcome<sys::napi_value> {
    let told = driver(call)?.take_broken();
    array(
        call.env,
        told.into_iter().map(|number| number.reply(call.env)),
    )
}

/// `nativeSettle(id)`: as `nativeFlush`; what no kernel has taken of this connection then counts as waiting. Without an
/// `id` the same for all connections.
fn settle(call: &Call) -> Outcome<()> {
    match call.value(0) {
        Ok(_) => driver(call)?.settle(call.size(0)?),
        Err(_) => driver(call)?.settle_all(),
    }
    Ok(())
}

/// `nativeSendLarge(id, head, headLength, payload)`: sends a frame that is too large for the slab, after what is noted.
fn send_large(call: &Call) -> Outcome<()> {
    let (head, payload) = (call.memory(1)?, call.memory(3)?);
    let length = call.size(2)?.min(head.1);
    // SAFETY: both are read only, no JavaScript runs until this function returns, and the arguments keep them alive.
    // Where the slab is written to meanwhile (by `flush`), it is neither of them.
    let (head, payload) = unsafe { (bytes_of(head.0, length), bytes_of(payload.0, payload.1)) };
    driver(call)?.send_now(call.size(0)?, head, payload);
    Ok(())
}

/// `std::slice::from_raw_parts` that accepts the null pointer of an empty buffer.
///
/// # Safety
/// As for `from_raw_parts`, where `length` is not 0.
unsafe fn bytes_of<'a>(data: *mut u8, length: usize) -> &'a [u8] {
    if length == 0 || data.is_null() {
        &[]
    } else {
        // SAFETY: passed on to the caller.
        unsafe { std::slice::from_raw_parts(data, length) }
    }
}

/// `nativePause(id, atOnce)`: tells of no more input; unless `atOnce`, a little is read ahead.
fn pause(call: &Call) -> Outcome<()> {
    driver(call)?.pause(call.size(0)?, call.flag(1)?);
    Ok(())
}

/// `nativeDiscard(id)`: throws away what is read from now on.
fn discard(call: &Call) -> Outcome<()> {
    driver(call)?.discard(call.size(0)?);
    Ok(())
}

/// `nativeResume(id) -> boolean`: reads again. Says whether there is input that was put aside; it is told in the next turn
/// of the loop, unless it flows before.
fn resume(call: &Call) -> Outcome<bool> {
    Ok(driver(call)?.resume(call.size(0)?))
}

/// `nativeFlow(id, isTold, isDone) -> boolean`: whether there is a chunk of what was put aside to tell the receiver of, now;
/// see [`Driver::flow`].
fn flow(call: &Call) -> Outcome<bool> {
    let is_done = call.flag(1)?.then_some(call.flag(2)?);
    Ok(driver(call)?.flow(call.size(0)?, is_done))
}

/// `nativeGoOn(id)`: the receiver has finished with what it was told; what was put aside meanwhile is told in the next
/// turn of the loop, unless the connection is paused.
fn go_on(call: &Call) -> Outcome<()> {
    driver(call)?.go_on(call.size(0)?);
    Ok(())
}

/// `nativeRef(id, keep)`: whether the connection keeps the process alive.
fn keep_alive(call: &Call) -> Outcome<()> {
    driver(call)?.keep_alive(call.size(0)?, call.flag(1)?);
    Ok(())
}

/// `nativeCounters(id) -> [bytesRead, bytesWritten]`
fn counters(call: &Call) -> Outcome<sys::napi_value> {
    pair(call.env, with_link(call, |link| link.counters())?)
}

/// `nativeReceived(id, isDone, takesMore) -> Buffer[]`: takes out what the receiver has and is not decoded: what is left of
/// the chunk at hand, then the other chunks. If it `isDone` with what it had, it takes another chunk first; `takesMore`:
/// it also takes what the socket has. From here on the receiver puts messages together by itself.
fn received(call: &Call) -> Outcome<sys::napi_value> {
    let (driver, id) = (driver(call)?, call.size(0)?);
    driver.end_loan(call.environment, id);
    let chunks = driver
        .take_received(call.environment, id, call.flag(1)?, call.flag(2)?)
        .ok_or(NO_CONNECTION)?;
    array(call.env, chunks.iter().map(|chunk| buffer(call.env, chunk)))
}

/// `nativeUnread(id) -> Buffer[]`: takes the chunks that were read and are not decoded, with what has arrived since. From
/// here on the receiver puts messages together by itself.
fn unread(call: &Call) -> Outcome<sys::napi_value> {
    let (driver, id) = (driver(call)?, call.size(0)?);
    driver.end_loan(call.environment, id);
    let chunks = driver.take_unread(id).ok_or(NO_CONNECTION)?;
    array(call.env, chunks.iter().map(|chunk| buffer(call.env, chunk)))
}

/// `nativeReadAhead(id) -> Buffer`: what a socket of Node's would have read ahead, when what the receiver has is taken out.
/// From here on the receiver puts messages together by itself.
fn read_ahead(call: &Call) -> Outcome<sys::napi_value> {
    let (driver, id) = (driver(call)?, call.size(0)?);
    driver.end_loan(call.environment, id);
    let bytes = driver.read_ahead(id).ok_or(NO_CONNECTION)?;
    Ok(buffer(call.env, &bytes))
}

/// `nativeHolds(id) -> boolean`: whether an item is decoded and not described, for which `nativeFill` is to be called.
fn holds(call: &Call) -> Outcome<bool> {
    with_link(call, |link| {
        link.input.as_deref().is_some_and(Input::is_holding)
    })
}

/// `nativeReadOnce(id) -> Buffer`: what has arrived on a connection that is paused, and was paused when the loop looked
/// last.
fn read_once(call: &Call) -> Outcome<sys::napi_value> {
    let looks = driver(call)?.looks.get();
    let is_new = with_link(call, |link| link.paused_after == looks)?;
    // Else this would come behind a gap.
    if is_new || driver(call)?.has_more_than_read_ahead(call.size(0)?) {
        return Ok(buffer(call.env, &[]));
    }
    let bytes = driver(call)?.read_behind(call.size(0)?);
    Ok(buffer(call.env, &bytes))
}

/// `nativeHungUp(id) -> boolean`: whether nothing comes behind what was read, for the peer is gone.
fn hung_up(call: &Call) -> Outcome<bool> {
    with_link(call, |link| link.hung_up)
}

/// `nativeUnsent(id) -> Buffer`: takes what is not written yet, for somebody else to write.
fn unsent(call: &Call) -> Outcome<sys::napi_value> {
    let bytes = driver(call)?
        .take_unsent(call.size(0)?)
        .ok_or(NO_CONNECTION)?;
    Ok(buffer(call.env, &bytes))
}

/// `nativeClose(id) -> [bytesRead, bytesWritten]`: writes what the kernel takes and gives the connection up.
fn close(call: &Call) -> Outcome<sys::napi_value> {
    let counts = driver(call)?.close(call.size(0)?).ok_or(NO_CONNECTION)?;
    pair(call.env, counts)
}

fn pair(env: sys::napi_env, (first, second): (u64, u64)) -> Outcome<sys::napi_value> {
    array(
        env,
        [first, second]
            .into_iter()
            .map(|count| (count as f64).reply(env)),
    )
}

/// A Buffer that holds a copy of `bytes`.
fn buffer(env: sys::napi_env, bytes: &[u8]) -> sys::napi_value {
    let mut value = ptr::null_mut();
    // SAFETY: pointer and length describe `bytes`; a failure leaves null and a pending exception.
    unsafe {
        sys::napi_create_buffer_copy(
            env,
            bytes.len(),
            bytes.as_ptr().cast(),
            ptr::null_mut(),
            &mut value,
        )
    };
    value
}
