//! The handles of Node's own event loop, libuv, as far as the two drivers need them.
//!
//! The functions are looked up at run time: not every host of Node-API exports them, and an addon linked against
//! them would not load there at all.

use std::cell::Cell;
use std::ffi::{c_int, c_uint, c_void, CStr};
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::ptr::NonNull;
use std::rc::Rc;

/// `UV_READABLE`.
const READABLE: c_int = 1;

// From `uv.h`: `enum uv_handle_type`, in the order of `UV_HANDLE_TYPE_MAP`, which is part of libuv's ABI.
const TYPE_ASYNC: c_int = 1;
const TYPE_CHECK: c_int = 2;
const TYPE_IDLE: c_int = 6;
const TYPE_POLL: c_int = 8;
const TYPE_PREPARE: c_int = 9;

type Loop = *mut c_void;
type RawHandle = *mut c_void;
type PollCallback = unsafe extern "C" fn(RawHandle, c_int, c_int);
type TurnCallback = unsafe extern "C" fn(RawHandle);
type Init = unsafe extern "C" fn(Loop, RawHandle) -> c_int;
type StartTurn = unsafe extern "C" fn(RawHandle, TurnCallback) -> c_int;
type Plain = unsafe extern "C" fn(RawHandle);
type PlainStatus = unsafe extern "C" fn(RawHandle) -> c_int;

/// What a handle belongs to: it is told when the handle has something to say.
pub trait Owner {
    /// There is something to read, a turn of the loop has come, or a bell was rung.
    fn wake(&self);
}

/// The kinds of handle that are called once in each turn of the loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Before the loop waits for input or output.
    Prepare,
    /// After it.
    Check,
    /// As `Prepare`; while such a handle is started the loop does not wait at all.
    Idle,
}

struct Kind {
    type_number: c_int,
    init: Init,
    start: StartTurn,
    stop: PlainStatus,
}

/// libuv's functions, together with the loop they are used on.
pub struct Library {
    event_loop: Loop,
    prepare: Kind,
    check: Kind,
    idle: Kind,
    async_init: unsafe extern "C" fn(Loop, RawHandle, TurnCallback) -> c_int,
    async_send: PlainStatus,
    backend_timeout: unsafe extern "C" fn(Loop) -> c_int,
    poll_init: unsafe extern "C" fn(Loop, RawHandle, c_int) -> c_int,
    poll_start: unsafe extern "C" fn(RawHandle, c_int, PollCallback) -> c_int,
    close: unsafe extern "C" fn(RawHandle, Plain),
    reference: Plain,
    unreference: Plain,
    handle_size: unsafe extern "C" fn(c_int) -> usize,
    set_data: unsafe extern "C" fn(RawHandle, *mut c_void),
    /// Major, minor and patch version, a byte each.
    version: c_uint,
    on_unused: Cell<Option<Box<dyn FnOnce()>>>,
}

/// Looks up a function.
///
/// # Safety
/// `F` is the function pointer type that the symbol has in `uv.h`.
unsafe fn symbol<F: Copy>(name: &CStr) -> Option<F> {
    const { assert!(size_of::<F>() == size_of::<*mut c_void>()) };
    // SAFETY: the name is a C string.
    let address = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
    if address.is_null() {
        return None;
    }
    // SAFETY: a function pointer is as large as an address (checked above), and the caller vouches for its type.
    Some(unsafe { std::mem::transmute_copy(&address) })
}

impl Library {
    /// Finds libuv in this process; `None` where the host does not export it.
    ///
    /// # Safety
    /// `event_loop` is this thread's libuv loop. It outlives the library and all handles on it.
    pub unsafe fn find(event_loop: *mut c_void) -> Option<Rc<Self>> {
        // SAFETY: the types are those of `uv.h`, where every handle pointer may be a `uv_handle_t *`.
        unsafe {
            Some(Rc::new(Self {
                event_loop,
                prepare: Kind {
                    type_number: TYPE_PREPARE,
                    init: symbol(c"uv_prepare_init")?,
                    start: symbol(c"uv_prepare_start")?,
                    stop: symbol(c"uv_prepare_stop")?,
                },
                check: Kind {
                    type_number: TYPE_CHECK,
                    init: symbol(c"uv_check_init")?,
                    start: symbol(c"uv_check_start")?,
                    stop: symbol(c"uv_check_stop")?,
                },
                idle: Kind {
                    type_number: TYPE_IDLE,
                    init: symbol(c"uv_idle_init")?,
                    start: symbol(c"uv_idle_start")?,
                    stop: symbol(c"uv_idle_stop")?,
                },
                async_init: symbol(c"uv_async_init")?,
                async_send: symbol(c"uv_async_send")?,
                backend_timeout: symbol(c"uv_backend_timeout")?,
                poll_init: symbol(c"uv_poll_init")?,
                poll_start: symbol(c"uv_poll_start")?,
                close: symbol(c"uv_close")?,
                reference: symbol(c"uv_ref")?,
                unreference: symbol(c"uv_unref")?,
                handle_size: symbol(c"uv_handle_size")?,
                set_data: symbol(c"uv_handle_set_data")?,
                version: symbol::<unsafe extern "C" fn() -> c_uint>(c"uv_version")?(),
                on_unused: Cell::new(None),
            }))
        }
    }

    /// Calls `action` when the last handle is closed and nobody else holds the library.
    pub fn when_unused(&self, action: impl FnOnce() + 'static) {
        self.on_unused.set(Some(Box::new(action)));
    }

    /// Whether libuv's streams, when something was read and both sides have ended or the peer has reset the connection, take
    /// that for the end without reading again. Since 1.52 they do not.
    pub fn takes_hanging_up_for_end(&self) -> bool {
        self.version < 0x01_34_00
    }

    /// Whether the loop, in this turn, does not wait for input or output: somebody wants the next turn at once.
    pub fn does_not_wait(&self) -> bool {
        // SAFETY: the loop is this thread's.
        unsafe { (self.backend_timeout)(self.event_loop) == 0 }
    }

    fn kind(&self, turn: Turn) -> &Kind {
        match turn {
            Turn::Prepare => &self.prepare,
            Turn::Check => &self.check,
            Turn::Idle => &self.idle,
        }
    }

    fn block<T>(self: &Rc<Self>, type_number: c_int, owner: T) -> Box<Block<T>> {
        // SAFETY: the function only looks at its argument.
        let size = unsafe { (self.handle_size)(type_number) };
        let memory = vec![0_u128; size.div_ceil(size_of::<u128>())].into_boxed_slice();
        Box::new(Block {
            owner,
            memory,
            library: Rc::clone(self),
        })
    }
}

impl Drop for Library {
    fn drop(&mut self) {
        if let Some(action) = self.on_unused.take() {
            action();
        }
    }
}

/// The memory of one handle. libuv holds on to it until the close callback, which frees it.
struct Block<T> {
    owner: T,
    /// The `uv_handle_t`; the element type sees to its alignment.
    memory: Box<[u128]>,
    // Last, so that what `when_unused` waits for has happened when this is dropped.
    library: Rc<Library>,
}

/// A libuv handle and its owner. Dropping it stops and closes the handle.
pub struct Handle<T: Owner> {
    block: NonNull<Block<T>>,
    raw: RawHandle,
    /// Not to be sent to another thread.
    thread: PhantomData<*mut T>,
}

impl<T: Owner> Handle<T> {
    /// A handle that watches `descriptor`, which must stay open until the handle is dropped.
    pub fn poll(library: &Rc<Library>, descriptor: BorrowedFd, owner: T) -> io::Result<Self> {
        let mut block = library.block(TYPE_POLL, owner);
        let raw: RawHandle = block.memory.as_mut_ptr().cast();
        // SAFETY: the memory has the size libuv asked for, and the loop is this thread's. When `uv_poll_init` fails
        // the handle is not in the loop, and its memory may go.
        let status =
            unsafe { (library.poll_init)(library.event_loop, raw, descriptor.as_raw_fd()) };
        check(status)?;
        Ok(Self::attach(library, block, raw))
    }

    /// A handle of one of the other kinds.
    pub fn turn(library: &Rc<Library>, turn: Turn, owner: T) -> Self {
        let kind = library.kind(turn);
        let mut block = library.block(kind.type_number, owner);
        let raw: RawHandle = block.memory.as_mut_ptr().cast();
        // SAFETY: as in `poll`; these functions always succeed.
        unsafe { (kind.init)(library.event_loop, raw) };
        Self::attach(library, block, raw)
    }

    /// A handle that other threads wake with [`Handle::bell`].
    pub fn woken(library: &Rc<Library>, owner: T) -> io::Result<Self> {
        let mut block = library.block(TYPE_ASYNC, owner);
        let raw: RawHandle = block.memory.as_mut_ptr().cast();
        // SAFETY: as in `poll`. libuv calls `turned` in the loop, when `attach` has set the handle's data.
        check(unsafe { (library.async_init)(library.event_loop, raw, turned::<T>) })?;
        Ok(Self::attach(library, block, raw))
    }

    /// What wakes the owner of a handle made with [`Handle::woken`] from any thread.
    ///
    /// # Safety
    /// It is not used any more when the handle is dropped.
    pub unsafe fn bell(&self) -> Bell {
        Bell {
            handle: self.raw,
            send: self.library().async_send,
        }
    }

    fn attach(library: &Library, block: Box<Block<T>>, raw: RawHandle) -> Self {
        let block = NonNull::from(Box::leak(block));
        // SAFETY: the handle is initialised.
        unsafe { (library.set_data)(raw, block.as_ptr().cast()) };
        Self {
            block,
            raw,
            thread: PhantomData,
        }
    }

    fn library(&self) -> &Library {
        // SAFETY: the block is freed only by the close callback, which cannot run before `drop`.
        unsafe { &self.block.as_ref().library }
    }

    /// Has the owner of a handle made with [`Handle::poll`] woken in each turn in which there is something to read.
    pub fn watch(&self) -> io::Result<()> {
        // SAFETY: the handle is open. libuv calls `poll_ready` with it, whose data is a `Block<T>`.
        check(unsafe { (self.library().poll_start)(self.raw, READABLE, poll_ready::<T>) })
    }

    /// Starts a handle made with [`Handle::turn`] for the same `turn`.
    pub fn start(&self, turn: Turn) {
        // SAFETY: as in `watch`; these functions always succeed.
        unsafe { (self.library().kind(turn).start)(self.raw, turned::<T>) };
    }

    /// Stops a handle made with [`Handle::turn`] for the same `turn`.
    pub fn stop(&self, turn: Turn) {
        // SAFETY: as above.
        unsafe { (self.library().kind(turn).stop)(self.raw) };
    }

    /// Whether the handle, while it is started, keeps the loop alive.
    pub fn keep_alive(&self, keep: bool) {
        let library = self.library();
        let function = if keep {
            library.reference
        } else {
            library.unreference
        };
        // SAFETY: the handle is open.
        unsafe { function(self.raw) };
    }
}

/// Wakes the loop, and with it the owner of a handle, on the loop's thread.
pub struct Bell {
    handle: RawHandle,
    send: PlainStatus,
}

// SAFETY: `uv_async_send` may be called on any thread, and the handle is open (`Handle::bell`).
unsafe impl Send for Bell {}
// SAFETY: as above; it may also be called by several threads at once.
unsafe impl Sync for Bell {}

impl Bell {
    /// Wakes it. What is rung before it has woken counts once.
    pub fn ring(&self) {
        // SAFETY: see above. It does not fail for an open handle.
        unsafe { (self.send)(self.handle) };
    }
}

impl<T: Owner> Drop for Handle<T> {
    fn drop(&mut self) {
        // SAFETY: the handle is open and closed once, here. libuv calls `closed` with it in a later phase of the
        // loop, never from within this call, and then has no more use for the memory.
        unsafe { (self.library().close)(self.raw, closed::<T>) };
    }
}

fn check(status: c_int) -> io::Result<()> {
    // On Unix libuv's errors are the system's, negated.
    if status < 0 {
        Err(io::Error::from_raw_os_error(-status))
    } else {
        Ok(())
    }
}

/// The block of the handle a callback was called with.
///
/// # Safety
/// `raw` was made by `Handle::<T>::attach` and its close callback has not run.
unsafe fn data_of<T>(raw: RawHandle) -> *mut Block<T> {
    // SAFETY: `data` is the first field of every libuv handle (`UV_HANDLE_FIELDS` in `uv.h`), and `attach` set it.
    unsafe { *raw.cast::<*mut Block<T>>() }
}

unsafe extern "C" fn poll_ready<T: Owner>(raw: RawHandle, _status: c_int, _events: c_int) {
    // SAFETY: libuv calls back only for handles that are not closed. The block outlives this call even when the
    // owner drops the handle meanwhile, for its close callback comes in a later phase of the loop.
    let owner = unsafe { &(*data_of::<T>(raw)).owner };
    // A panic must not reach libuv. There is nobody to tell: the connection is left as it is.
    let _ = catch_unwind(AssertUnwindSafe(|| owner.wake()));
}

unsafe extern "C" fn turned<T: Owner>(raw: RawHandle) {
    // SAFETY: libuv promises the same as to `poll_ready`.
    unsafe { poll_ready::<T>(raw, 0, 0) };
}

unsafe extern "C" fn closed<T: Owner>(raw: RawHandle) {
    // SAFETY: the block was leaked in `attach`, and libuv calls this once, as the last thing it does with the handle.
    let block = unsafe { Box::from_raw(data_of::<T>(raw)) };
    let _ = catch_unwind(AssertUnwindSafe(|| drop(block)));
}
