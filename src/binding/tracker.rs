//! What JavaScript may drop without giving it back: receivers and codecs go when their JavaScript halves are collected.
//!
//! A `FinalizationRegistry` would do the same, but a worker that is terminated while one has something to clean up may never
//! end (nodejs/node#47748).

use std::cell::Cell;
use std::ffi::c_void;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::ptr;
use std::rc::{Rc, Weak};

use napi::sys;

use super::environment::Environment;
use super::raw::{check, raw_functions, Call, Fault, Outcome};

raw_functions!(export:
    "trackReceiver" => track_receiver,
    "trackCodec" => track_codec,
    "untrack" => untrack,
);

/// The number of something that goes when it is forgotten.
#[derive(Clone, Copy)]
pub enum Tracked {
    Receiver(usize),
    Codec(usize),
}

/// What JavaScript's half holds on to.
struct Tracker {
    environment: Weak<Environment>,
    tracked: Cell<Option<Tracked>>,
}

fn track_receiver(call: &Call) -> Outcome<sys::napi_value> {
    track(call, Tracked::Receiver(call.size(0)?))
}

fn track_codec(call: &Call) -> Outcome<sys::napi_value> {
    track(call, Tracked::Codec(call.size(0)?))
}

/// `trackReceiver(number) -> tracker`, and the same for codecs: what the number stands for is given back when the tracker is
/// collected.
fn track(call: &Call, tracked: Tracked) -> Outcome<sys::napi_value> {
    let tracker = Box::new(Tracker {
        environment: Rc::downgrade(call.environment),
        tracked: Cell::new(Some(tracked)),
    });
    let data = Box::into_raw(tracker);
    let mut value = ptr::null_mut();
    // SAFETY: `forget` gets `data` once, when the value is collected or the environment ends.
    let status = unsafe {
        sys::napi_create_external(
            call.env,
            data.cast(),
            Some(forget),
            ptr::null_mut(),
            &mut value,
        )
    };
    if status != sys::Status::napi_ok {
        // SAFETY: nobody else has it.
        drop(unsafe { Box::from_raw(data) });
    }
    check(status, "cannot track that").map(|()| value)
}

/// `untrack(tracker)`: what it stands for was given back.
fn untrack(call: &Call) -> Outcome<()> {
    let mut data = ptr::null_mut();
    // SAFETY: the value belongs to this call. Of all externals JavaScript only ever has trackers.
    let status = unsafe { sys::napi_get_value_external(call.env, call.value(0)?, &mut data) };
    check(status, "expected a tracker")?;
    // SAFETY: made in `track`, and not freed before the value is collected, which the call keeps from happening.
    let tracker = unsafe { data.cast::<Tracker>().as_ref() };
    let tracker = tracker.ok_or(Fault::Type("expected a tracker"))?;
    tracker.tracked.set(None);
    Ok(())
}

unsafe extern "C" fn forget(_env: sys::napi_env, data: *mut c_void, _hint: *mut c_void) {
    // SAFETY: made in `track`, and given here once.
    let tracker = unsafe { Box::from_raw(data.cast::<Tracker>()) };
    if let (Some(tracked), Some(environment)) =
        (tracker.tracked.get(), tracker.environment.upgrade())
    {
        // A panic must not reach Node, and nobody is called whom it could be told.
        let _ = catch_unwind(AssertUnwindSafe(|| environment.forget(tracked)));
    }
}

impl Environment {
    /// Gives something back. Memory is collected at any time: what is being used right now waits for
    /// [`Environment::forget_late`].
    fn forget(&self, tracked: Tracked) {
        let is_done = match tracked {
            Tracked::Receiver(id) => {
                let receivers = self.receivers.try_borrow_mut();
                receivers.map(|mut it| drop(it.try_remove(id))).is_ok()
            }
            Tracked::Codec(id) => {
                let codecs = self.codecs.try_borrow_mut();
                codecs.map(|mut it| drop(it.try_remove(id))).is_ok()
            }
        };
        if !is_done {
            self.forgotten.borrow_mut().push(tracked);
        }
    }

    /// Gives back what could not be given back when it was collected.
    pub fn forget_late(&self) {
        let forgotten = self.forgotten.take();
        for tracked in forgotten {
            self.forget(tracked);
        }
    }
}
