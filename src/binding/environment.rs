//! What this package keeps for one JavaScript environment: the main thread, a worker, another copy of the module.
//!
//! Everything hangs off this one structure and goes with it; there is no static state.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::ffi::c_void;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::rc::Rc;

use napi::sys;
use slab::Slab;

use super::codec::Codec;
use super::jobs::{JobMemory, Jobs};
use super::receive::STRIDE;
use super::shared::Shared;
use super::tracker::Tracked;
#[cfg(unix)]
use super::transport::Transport;
use crate::deflate::Pool;
use crate::reactor::{Failure, Inbound};

/// The state of one environment.
pub struct Environment {
    /// The environment itself.
    pub env: sys::napi_env,
    /// The receiving halves of connections, by the number JavaScript knows them under.
    pub receivers: RefCell<Slab<Inbound>>,
    /// Compressors and decompressors, by number.
    pub codecs: RefCell<Slab<Codec>>,
    /// Idle compression states that connections share.
    pub pool: Pool,
    /// Work that was given to the runtime.
    pub jobs: Jobs,
    /// What jobs work in.
    pub job_memory: JobMemory,
    /// Where descriptors of items are written for JavaScript to read.
    pub inbox: Shared<i32>,
    /// What a codec made last, until JavaScript copies it out.
    pub result: RefCell<Vec<u8>>,
    /// Memory in which messages in pieces are put together, while no receiver has it.
    pub spare: RefCell<Vec<u8>>,
    /// What descriptors of failures stand for.
    pub failures: Failures,
    /// What was collected while it was used.
    pub forgotten: RefCell<Vec<Tracked>>,
    /// Why a codec has failed last.
    pub last_failure: RefCell<Option<Failure>>,
    /// The connections that are read and written here.
    #[cfg(unix)]
    pub transport: Transport,
}

/// Where in the inbox JavaScript keeps the index of its first free cell.
#[cfg(unix)]
const TOP: usize = 2;

/// Failures that JavaScript knows by number. It may ask for one late, or never.
#[derive(Default)]
pub struct Failures {
    list: RefCell<VecDeque<(i32, Failure)>>,
    next: Cell<i32>,
}

impl Failures {
    /// Beyond so many the oldest are forgotten: nobody asked for them.
    const MOST: usize = 4096;

    /// Keeps a failure and returns its number.
    pub fn add(&self, failure: Failure) -> i32 {
        let mut list = self.list.borrow_mut();
        if list.len() >= Self::MOST {
            list.pop_front();
        }
        let number = self.next.get();
        self.next.set(number.wrapping_add(1));
        list.push_back((number, failure));
        number
    }

    /// Gives a failure away.
    pub fn take(&self, number: i32) -> Option<Failure> {
        let mut list = self.list.borrow_mut();
        // What is asked for was most often added last.
        let index = list.iter().rposition(|(own, _)| *own == number)?;
        list.remove(index).map(|(_, failure)| failure)
    }
}

impl Environment {
    /// How many descriptors may be written into the inbox from `base` on; one, if a `single` item is wanted. Half of what
    /// is left is kept free: a listener may have the unread messages of another connection delivered.
    pub fn room(&self, base: usize, single: bool) -> usize {
        if single {
            1
        } else {
            (self.inbox.length().saturating_sub(base) / STRIDE).div_ceil(2)
        }
    }

    /// Where in the inbox descriptors may be written.
    #[cfg(unix)]
    pub fn first_free(&self) -> usize {
        let top = self.inbox.get(TOP);
        top.and_then(|top| usize::try_from(top).ok())
            .unwrap_or(usize::MAX)
    }

    /// Makes the state for `env` and ties its life to the environment's. The pointer is what raw functions get.
    pub fn attach(env: sys::napi_env) -> *mut c_void {
        let environment = Rc::new(Environment {
            env,
            receivers: RefCell::new(Slab::new()),
            codecs: RefCell::new(Slab::new()),
            pool: Pool::default(),
            jobs: Jobs::default(),
            job_memory: JobMemory::default(),
            inbox: Shared::default(),
            result: RefCell::new(Vec::new()),
            spare: RefCell::new(Vec::new()),
            failures: Failures::default(),
            forgotten: RefCell::default(),
            last_failure: RefCell::new(None),
            #[cfg(unix)]
            transport: Transport::default(),
        });
        let data = Box::into_raw(Box::new(environment)).cast::<c_void>();
        // SAFETY: Node runs the hook once, on this thread, when no JavaScript of the environment can run any more,
        // so no raw function can use `data` after `detach` freed it.
        unsafe { sys::napi_add_env_cleanup_hook(env, Some(detach), data) };
        data
    }
}

unsafe extern "C" fn detach(data: *mut c_void) {
    // SAFETY: `data` is the box made in `attach`, and this hook runs once.
    let environment = unsafe { Box::from_raw(data.cast::<Rc<Environment>>()) };
    // A panic must not reach Node, where nobody is left to be told.
    let _ = catch_unwind(AssertUnwindSafe(|| {
        // The job that each thread is busy with is waited for.
        environment.pool.close();
        environment.jobs.shut_down();
    }));
}
