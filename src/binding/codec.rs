//! Entry points of permessage-deflate: one codec (a compressor and a decompressor) for each `PerMessageDeflate`.

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::{Arc, Mutex};

use napi::sys;

use super::environment::Environment;
use super::jobs::Callback;
use super::raw::{raw_functions, Call, Fault, Outcome, Reply, PANIC};
use crate::deflate::{DeflateOptions, Deflater, InflateOptions, Inflater};
use crate::reactor::Failure;

/// The two directions of one connection's compression.
pub struct Codec {
    /// For what is received.
    pub inflater: Arc<Mutex<Inflater>>,
    /// For what is sent.
    pub deflater: Arc<Mutex<Deflater>>,
}

raw_functions!(export:
    "createCodec" => create,
    "releaseCodec" => release,
    "sleepCodec" => sleep,
    "trimPool" => trim_pool,
    "deflate" => deflate,
    "inflate" => inflate,
    "takeResult" => take_result,
    "deflateOnRuntime" => deflate_on_runtime,
    "inflateBytesOnRuntime" => inflate_on_runtime,
);

fn byte(call: &Call, index: usize) -> Outcome<u8> {
    u8::try_from(call.int(index)?).map_err(|_| Fault::Type("expected a small integer"))
}

fn dictionary(call: &Call, index: usize) -> Outcome<Option<Vec<u8>>> {
    // SAFETY: no JavaScript runs while the slice is copied.
    let bytes = unsafe { call.bytes(index)? };
    Ok(if bytes.is_empty() {
        None
    } else {
        Some(bytes.to_vec())
    })
}

/// `createCodec(inflateBits, inflateNoTakeover, inflateDictionary, deflateBits, deflateNoTakeover, deflateDictionary,
/// tuning, filled)` with `tuning = level + 1 | memLevel << 8 | strategy << 16`, dictionaries empty when there are none.
/// Level -1 and memory level 0 are those nobody has set. `filled` is what `sleepCodec` said of an earlier codec, or 0.
fn create(call: &Call) -> Outcome<i32> {
    call.environment.forget_late();
    let pool = &call.environment.pool;
    let inflate = InflateOptions {
        window_bits: byte(call, 0)?,
        dictionary: dictionary(call, 2)?,
    };
    let tuning = call.int(6)?;
    let deflate = DeflateOptions {
        level: (tuning & 0xff) - 1,
        mem_level: tuning >> 8 & 0xff,
        strategy: tuning >> 16 & 0xff,
        dictionary: dictionary(call, 5)?,
        window_bits: byte(call, 3)?,
    };
    let codec = Codec {
        inflater: Arc::new(Mutex::new(
            Inflater::new(inflate, call.flag(1)?, pool).within_chunk(call.size(7)?),
        )),
        deflater: Arc::new(Mutex::new(Deflater::new(deflate, call.flag(4)?, pool))),
    };
    let id = call.environment.codecs.borrow_mut().insert(codec);
    i32::try_from(id).map_err(|_| Fault::Type("too many codecs"))
}

fn release(call: &Call) -> Outcome<()> {
    call.environment
        .codecs
        .borrow_mut()
        .try_remove(call.size(0)?);
    Ok(())
}

fn with_codec<T>(call: &Call, body: impl FnOnce(&Codec) -> Outcome<T>) -> Outcome<T> {
    let codecs = call.environment.codecs.borrow();
    body(
        codecs
            .get(call.size(0)?)
            .ok_or(Fault::Type("no such codec"))?,
    )
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// `sleepCodec(id) -> filled`: the connection is idle; keep only what the contexts mean on the wire. If that is nothing, a
/// new codec that is told `filled` would do as well; otherwise `filled` is -1.
fn sleep(call: &Call) -> Outcome<i32> {
    with_codec(call, |codec| {
        let mut filled = 0;
        // A direction that is busy on the runtime is not idle.
        let inflater = codec.inflater.try_lock().is_ok_and(|mut inflater| {
            inflater.sleep();
            filled = i32::try_from(inflater.filled()).unwrap_or(0);
            inflater.is_as_new()
        });
        let deflater = codec.deflater.try_lock().is_ok_and(|mut deflater| {
            deflater.sleep();
            deflater.is_as_new()
        });
        Ok(if inflater && deflater { filled } else { -1 })
    })
}

/// `trimPool(isUnused)`: called from time to time, so that states are freed that are not needed any more. With
/// `isUnused` no connection compresses any more, and nothing is kept for the next one.
fn trim_pool(call: &Call) -> Outcome<()> {
    if call.flag(0)? {
        call.environment.pool.clear();
        call.environment.result.replace(Vec::new());
        call.environment.job_memory.clear();
    } else {
        call.environment.pool.trim();
    }
    Ok(())
}

/// Has a codec append to `result`. A panic is a failure, too: somebody waits to be told.
fn run<E: Into<Failure>>(
    result: &mut Vec<u8>,
    work: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Result<(), Failure> {
    match catch_unwind(AssertUnwindSafe(|| work(result))) {
        Ok(outcome) => outcome.map_err(Into::into),
        Err(_panic) => Err(Failure::Internal(PANIC)),
    }
}

/// What a codec has made in place: the length of its result, or -1 after a failure.
fn outcome_of(environment: &Environment, outcome: Result<(), Failure>) -> f64 {
    match outcome {
        Ok(()) => environment.result.borrow().len() as f64,
        Err(failure) => {
            environment.last_failure.replace(Some(failure));
            -1.0
        }
    }
}

/// `deflate(id, data, fin) -> length | -1`: compresses one frame here; `takeResult` copies it out. -1 stands for a `failure()`.
fn deflate(call: &Call) -> Outcome<f64> {
    let fin = call.flag(2)?;
    // SAFETY: no JavaScript runs until this function returns, and no other argument is a buffer.
    let data = unsafe { call.bytes(1)? };
    let outcome = with_codec(call, |codec| {
        let mut result = call.environment.result.borrow_mut();
        result.clear();
        Ok(run(&mut result, |result| {
            locked(&codec.deflater).deflate(data, fin, result)
        }))
    })?;
    Ok(outcome_of(call.environment, outcome))
}

/// `inflate(id, data, fin, limit) -> length | -1`: the same for decompressing.
fn inflate(call: &Call) -> Outcome<f64> {
    let (fin, limit) = (call.flag(2)?, call.size(3)?);
    // SAFETY: as in `deflate`.
    let data = unsafe { call.bytes(1)? };
    let outcome = with_codec(call, |codec| {
        let mut result = call.environment.result.borrow_mut();
        result.clear();
        Ok(run(&mut result, |result| {
            locked(&codec.inflater).inflate(data, fin, limit as u64, result)
        }))
    })?;
    Ok(outcome_of(call.environment, outcome))
}

/// The most memory kept for the next result.
const KEPT_RESULT: usize = 256 * 1024;

/// `takeResult(target, offset)`: copies out what `deflate` or `inflate` made.
fn take_result(call: &Call) -> Outcome<()> {
    let offset = call.size(1)?;
    // SAFETY: as in `deflate`.
    let target = unsafe { call.bytes(0)? };
    let mut result = call.environment.result.borrow_mut();
    let room = offset
        .checked_add(result.len())
        .and_then(|end| target.get_mut(offset..end))
        .ok_or(Fault::Type("the target is too small"))?;
    room.copy_from_slice(&result);
    result.clear();
    result.shrink_to(KEPT_RESULT);
    Ok(())
}

/// A copy of a buffer, which makes a job independent of what happens to it.
fn input_of(call: &Call, index: usize) -> Outcome<Vec<u8>> {
    let mut input = call.environment.job_memory.take();
    // SAFETY: no JavaScript runs while the slice is copied.
    input.extend_from_slice(unsafe { call.bytes(index)? });
    Ok(input)
}

/// Runs a codec away from this thread, and tells `callback` what `deflate` or `inflate` would have returned.
fn run_elsewhere<E: Into<Failure>>(
    call: &Call,
    input: Vec<u8>,
    callback: sys::napi_value,
    work: impl FnOnce(&[u8], &mut Vec<u8>) -> Result<(), E> + Send + 'static,
) -> Outcome<()> {
    let environment = call.environment;
    let callback = Callback::new(call.env, callback)?;
    let mut result = environment.job_memory.take();
    environment.jobs.spawn(environment, move || {
        let outcome = run(&mut result, |result| work(&input, result));
        Box::new(move |environment: &Environment| {
            environment.job_memory.give(input);
            environment
                .job_memory
                .give(environment.result.replace(result));
            let length = outcome_of(environment, outcome);
            callback.call(environment.env, &[length.reply(environment.env)]);
        })
    })
}

/// `deflateOnRuntime(id, data, fin, callback)`: as `deflate`, away from this thread, with `callback(length | -1)`.
fn deflate_on_runtime(call: &Call) -> Outcome<()> {
    let fin = call.flag(2)?;
    let input = input_of(call, 1)?;
    let deflater = with_codec(call, |codec| Ok(Arc::clone(&codec.deflater)))?;
    run_elsewhere(call, input, call.value(3)?, move |data, result| {
        locked(&deflater).deflate(data, fin, result)
    })
}

/// `inflateBytesOnRuntime(id, data, fin, limit, callback)`: the same for `inflate`.
fn inflate_on_runtime(call: &Call) -> Outcome<()> {
    let (fin, limit) = (call.flag(2)?, call.size(3)?);
    let input = input_of(call, 1)?;
    let inflater = with_codec(call, |codec| Ok(Arc::clone(&codec.inflater)))?;
    run_elsewhere(call, input, call.value(4)?, move |data, result| {
        locked(&inflater).inflate(data, fin, limit as u64, result)
    })
}
