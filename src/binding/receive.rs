//! Entry points of the way in: JavaScript hands over a chunk and reads descriptors of what it holds.
//!
//! A descriptor is four integers in the inbox: what it is (see the constants, mirrored in `lib/inbox.js`), where
//! its bytes begin, how many they are, and one more value that depends on the kind.

use std::ptr;

use napi::sys;

use super::environment::Environment;
use super::raw::{check, raw_functions, Call, Fault, Outcome, Reply};
use crate::protocol::{Config, ErrorClass, Limits, MessageKind, ProtocolError, Role};
use crate::reactor::{Failure, Inbound, Item, Place};

const TEXT: i32 = 0;
const BINARY: i32 = 1;
const PING: i32 = 2;
const PONG: i32 = 3;
const CLOSE: i32 = 4;
const COMPRESSED: i32 = 5;
const FAILED: i32 = 6;

pub(super) const IN_CHUNK: i32 = 0;
const IN_STORE: i32 = 1;
const IN_CONTROL: i32 = 2;
const IN_COMPRESSED: i32 = 3;
/// In the input of a connection that is read here.
#[cfg(unix)]
pub(super) const IN_INPUT: i32 = 4;
const SUPPLIED: i32 = 5;
/// In memory that JavaScript has lent.
const LENT: i32 = 7;

const PLACE_SHIFT: i32 = 4;
const FIN: i32 = 1 << 8;

/// Integers of a descriptor.
pub(super) const STRIDE: usize = 4;
/// The largest offset and length that a descriptor can tell, which JavaScript reads as unsigned. Only a message of more
/// than 4 GiB, for which somebody has lifted `maxPayload`, has larger ones: it is refused, not cut.
const MOST_BYTES: usize = u32::MAX as usize;
/// The code JavaScript is told for a close frame without one (RFC 6455, section 7.1.5).
const NO_STATUS: i32 = 1005;

/// What `decode` leaves in the second integer of the inbox.
pub(super) const USED_UP: i32 = 0;
pub(super) const MORE: i32 = 1;
pub(super) const WAITING: i32 = 2;

raw_functions!(export:
    "inbox" => inbox,
    "createReceiver" => create_receiver,
    "configureReceiver" => configure_receiver,
    "releaseReceiver" => release_receiver,
    "decode" => decode,
    "goOn" => go_on,
    "keylessPayload" => keyless_payload,
    "take" => take,
    "frameEnds" => frame_ends,
    "failure" => failure,
    "supply" => supply,
    "messageLength" => message_length,
);

/// `inbox(length) -> Int32Array`: the inbox of this environment, made with so many elements when there is none yet. It belongs
/// to no copy of the package: it outlives those that are loaded in contexts of their own.
fn inbox(call: &Call) -> Outcome<sys::napi_value> {
    let (env, inbox) = (call.env, &call.environment.inbox);
    match inbox.value(env)? {
        Some(existing) => Ok(existing),
        None => inbox.make(env, call.size(0)?),
    }
}

fn limits(call: &Call, first: usize) -> Outcome<Limits> {
    let count = |index| call.int(index).map(|value| value.max(0).unsigned_abs());
    Ok(Limits {
        max_payload: u64::from(count(first)?),
        max_fragments: count(first + 1)?,
        max_buffered_chunks: count(first + 2)?,
    })
}

/// `createReceiver(isServer, deflate, skipUTF8Validation, maxPayload, maxFragments, maxBufferedChunks)`
fn create_receiver(call: &Call) -> Outcome<i32> {
    call.environment.forget_late();
    let inbound = Inbound::new(Config {
        role: if call.flag(0)? {
            Role::Server
        } else {
            Role::Client
        },
        deflate: call.flag(1)?,
        skip_utf8_validation: call.flag(2)?,
        limits: limits(call, 3)?,
    });
    let id = call.environment.receivers.borrow_mut().insert(inbound);
    i32::try_from(id).map_err(|_| Fault::Type("too many receivers"))
}

/// `configureReceiver(id, deflate, skipUTF8Validation, maxPayload, maxFragments, maxBufferedChunks)`
fn configure_receiver(call: &Call) -> Outcome<()> {
    let (deflate, skip, limits) = (call.flag(1)?, call.flag(2)?, limits(call, 3)?);
    with_receiver(call, |inbound| {
        let config = inbound.config_mut();
        config.deflate = deflate;
        config.skip_utf8_validation = skip;
        config.limits = limits;
        Ok(())
    })
}

/// `messageLength(id)`: how many bytes of the message under way have been put together.
fn message_length(call: &Call) -> Outcome<f64> {
    with_receiver(call, |inbound| Ok(inbound.in_progress_len() as f64))
}

fn release_receiver(call: &Call) -> Outcome<()> {
    call.environment
        .receivers
        .borrow_mut()
        .try_remove(call.size(0)?);
    Ok(())
}

fn with_receiver<T>(call: &Call, body: impl FnOnce(&mut Inbound) -> Outcome<T>) -> Outcome<T> {
    let mut receivers = call.environment.receivers.borrow_mut();
    let inbound = receivers
        .get_mut(call.size(0)?)
        .ok_or(Fault::Type("no such receiver"))?;
    body(inbound)
}

/// `decode(id, chunk, from, base, single) -> count`: writes descriptors of what `chunk` holds from byte `from` on, -1 for a
/// new chunk, into the inbox at `base`; the inbox begins with the position reached and how decoding stopped.
fn decode(call: &Call) -> Outcome<i32> {
    // SAFETY: no JavaScript runs until this function returns, and no other argument is a buffer.
    let chunk = unsafe { call.bytes(1)? };
    let (from, base, single) = (call.int(2)?, call.size(3)?, call.flag(4)?);
    let environment = call.environment;
    environment.check_room(base)?;
    with_receiver(call, |inbound| {
        inbound.lend(&mut environment.spare.borrow_mut());
        let count = decode_chunk(environment, inbound, chunk, from, base, single);
        inbound.give_back(&mut environment.spare.borrow_mut());
        Ok(count)
    })
}

/// `goOn(id, chunk, from) -> position`: passes what has failed in `chunk` at byte `from` and says where its rest begins;
/// -1 when all that follows is ignored.
fn go_on(call: &Call) -> Outcome<f64> {
    // SAFETY: no JavaScript runs until this function returns, and no other argument is a buffer.
    let chunk = unsafe { call.bytes(1)? };
    let mut position = call.size(2)?;
    with_receiver(call, |inbound| {
        inbound.go_on(chunk, &mut position);
        Ok(if inbound.is_concluded() {
            -1.0
        } else {
            position as f64
        })
    })
}

/// `keylessPayload(id) -> length`: after `goOn`, how many bytes are looked for that cannot be unmasked; 0 for none.
fn keyless_payload(call: &Call) -> Outcome<f64> {
    with_receiver(call, |inbound| Ok(inbound.keyless_payload() as f64))
}

/// Decodes `chunk` from byte `from` on, a new chunk when that is negative, until it is used up, the inbox is full, one
/// item was found (`single`), or nothing more can be told before JavaScript acted.
fn decode_chunk(
    environment: &Environment,
    inbound: &mut Inbound,
    chunk: &mut [u8],
    from: i32,
    base: usize,
    single: bool,
) -> i32 {
    let inbox = &environment.inbox;
    let room = environment.room(base, single);
    let mut position = usize::try_from(from).unwrap_or(0);
    let mut count = 0;
    if from < 0 {
        if let Err(failure) = inbound.begin_chunk() {
            environment.put(base, 0, &Item::failed(failure));
            inbox.write(0, &[0, MORE]);
            return 1;
        }
    }
    let stopped = loop {
        if inbound.is_waiting() {
            break WAITING;
        }
        if count >= room {
            break MORE;
        }
        let Some(item) = inbound.next(chunk, &mut position) else {
            break USED_UP;
        };
        environment.put(base, count, &item);
        count += 1;
        match item {
            Item::Failed { .. } => break MORE,
            Item::Close(..) => break USED_UP,
            _ => {}
        }
    };
    inbox.write(0, &[i32::try_from(position).unwrap_or(i32::MAX), stopped]);
    i32::try_from(count).unwrap_or(i32::MAX)
}

/// Where JavaScript finds the bytes of an item: the numbers of a descriptor.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Span {
    /// One of the places above.
    pub place: i32,
    /// Offset of the first byte.
    pub start: usize,
    /// How many they are.
    pub length: usize,
}

impl Span {
    /// Where the bytes lie when they were not copied.
    pub(super) fn of(place: &Place) -> Self {
        let (place, start, length) = match place {
            Place::Chunk(range) => (IN_CHUNK, range.start, range.len()),
            Place::Store(range) => (IN_STORE, range.start, range.len()),
            Place::Control(length) => (IN_CONTROL, 0, *length),
            Place::Compressed(length) => (IN_COMPRESSED, 0, *length),
            Place::Supplied(length) => (SUPPLIED, 0, *length),
            Place::Apart(length) => (LENT, 0, *length),
        };
        Self {
            place,
            start,
            length,
        }
    }
}

impl Environment {
    /// Whether a descriptor may be written into the inbox at `base`.
    pub(super) fn check_room(&self, base: usize) -> Outcome<()> {
        if base + STRIDE > self.inbox.length() {
            return Err(Fault::Type(
                "receivers are written to from within each other's events too deeply",
            ));
        }
        Ok(())
    }

    /// Writes the descriptor of `item` as the `index`-th after `base`.
    #[inline]
    pub(super) fn put(&self, base: usize, index: usize, item: &Item) {
        self.put_at(
            base,
            index,
            item,
            item.place().map_or(Span::default(), Span::of),
        );
    }

    /// As [`Environment::put`], for an item whose bytes were copied to where `span` says.
    #[inline]
    pub(super) fn put_at(&self, base: usize, index: usize, item: &Item, span: Span) {
        let Span {
            place,
            start,
            length,
        } = span;
        let at = |kind: i32, extra: i32| {
            [
                kind | place << PLACE_SHIFT,
                start as u32 as i32,
                length as u32 as i32,
                extra,
            ]
        };
        let failed = |failure, retry| [FAILED, self.failures.add(failure), 0, i32::from(retry)];
        let descriptor = match item {
            _ if start.max(length) > MOST_BYTES => {
                failed(ProtocolError::MaxPayloadExceeded.into(), false)
            }
            Item::Message(MessageKind::Text, _) => at(TEXT, 0),
            Item::Message(MessageKind::Binary, _) => at(BINARY, 0),
            Item::Ping(_) => at(PING, 0),
            Item::Pong(_) => at(PONG, 0),
            Item::Close(code, _) => at(CLOSE, code.map_or(NO_STATUS, i32::from)),
            Item::Compressed { fin, .. } => at(COMPRESSED | if *fin { FIN } else { 0 }, 0),
            Item::Failed { failure, retry } => failed(failure.clone(), *retry),
        };
        self.inbox.write(base + index * STRIDE, &descriptor);
    }
}

/// `take(id, place, start, target)`: copies the bytes of an item that does not lie in the chunk.
fn take(call: &Call) -> Outcome<()> {
    let (place, start) = (call.int(1)?, call.size(2)?);
    // SAFETY: no JavaScript runs until this function returns, and no other argument is a buffer.
    let target = unsafe { call.bytes(3)? };
    with_receiver(call, |inbound| {
        let source = match place {
            IN_STORE => inbound.stored(),
            IN_CONTROL => inbound.control_bytes(),
            _ => inbound.compressed_bytes(),
        };
        let bytes = start
            .checked_add(target.len())
            .and_then(|end| source.get(start..end))
            .ok_or(Fault::Type("no such bytes"))?;
        target.copy_from_slice(bytes);
        Ok(())
    })
}

/// `frameEnds(id, start, length) -> number[]`: where the frames of a stored message end, from its start.
fn frame_ends(call: &Call) -> Outcome<sys::napi_value> {
    let (start, length) = (call.size(1)?, call.size(2)?);
    let ends: Vec<f64> = with_receiver(call, |inbound| {
        Ok(inbound
            .frame_ends(start..start.saturating_add(length))
            .map(|end| end.saturating_sub(start) as f64)
            .collect())
    })?;
    array(call.env, ends.into_iter().map(|end| end.reply(call.env)))
}

pub(super) fn array(
    env: sys::napi_env,
    values: impl Iterator<Item = sys::napi_value>,
) -> Outcome<sys::napi_value> {
    let mut result = ptr::null_mut();
    // SAFETY: `env` is the caller's; every value belongs to the current scope.
    check(
        unsafe { sys::napi_create_array(env, &mut result) },
        "cannot make an array",
    )?;
    for (index, value) in (0_u32..).zip(values) {
        // SAFETY: as above.
        check(
            unsafe { sys::napi_set_element(env, result, index, value) },
            "cannot fill an array",
        )?;
    }
    Ok(result)
}

/// `failure(number) -> [isRangeError, message, code, closeCode, errno | 0]`: details of a `FAILED` descriptor, whose second
/// integer is the number; without one, of what a codec has refused last.
fn failure(call: &Call) -> Outcome<sys::napi_value> {
    let env = call.env;
    let environment = call.environment;
    let failure = match call.value(0) {
        Ok(_) => environment.failures.take(call.int(0)?),
        Err(_) => environment.last_failure.take(),
    };
    let failure = failure.ok_or(Fault::Type("nothing has failed"))?;
    match failure {
        Failure::Protocol(error) => array(
            env,
            [
                matches!(error.class(), ErrorClass::RangeError).reply(env),
                error.message().as_ref().reply(env),
                error.code().reply(env),
                i32::from(error.close_code()).reply(env),
                0.reply(env),
            ]
            .into_iter(),
        ),
        Failure::Inflate {
            message,
            code,
            errno,
        } => array(
            env,
            [
                false.reply(env),
                message.reply(env),
                code.reply(env),
                1007.reply(env),
                errno.reply(env),
            ]
            .into_iter(),
        ),
        Failure::Internal(message) => array(
            env,
            [
                false.reply(env),
                message.reply(env),
                "ERR_INTERNAL".reply(env),
                1011.reply(env),
                0.reply(env),
            ]
            .into_iter(),
        ),
    }
}

/// `supply(id, bytes, base) -> count`: the contents of the compressed frame handed out last, and the item it completes.
fn supply(call: &Call) -> Outcome<i32> {
    // SAFETY: no JavaScript runs until this function returns, and no other argument is a buffer.
    let bytes = unsafe { call.bytes(1)? };
    let base = call.size(2)?;
    call.environment.check_room(base)?;
    with_receiver(call, |inbound| {
        let item = inbound.supply(bytes);
        Ok(item.map_or(0, |item| {
            call.environment.put(base, 0, &item);
            1
        }))
    })
}
