//! What this package keeps for one JavaScript environment: the main thread, a worker, another copy of the module.
//!
//! Everything hangs off this one structure and goes with it; there is no static state.

use std::cell::{Cell, RefCell};
use std::ffi::c_void;
use std::ptr;
use std::rc::Rc;

use napi::sys;
use slab::Slab;

use super::codec::Codec;
use super::jobs::Jobs;
use super::raw::{check, Outcome};
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
    /// Where descriptors of items are written for JavaScript to read.
    pub inbox: Inbox,
    /// What a codec made last, until JavaScript copies it out.
    pub result: RefCell<Vec<u8>>,
    /// What the last descriptor of a failure stands for.
    pub last_failure: RefCell<Option<Failure>>,
    /// The connections that are read and written here.
    pub transport: Transport,
}

/// An `Int32Array` that JavaScript allocated and shares with us for good.
pub struct Inbox {
    data: Cell<*mut i32>,
    length: Cell<usize>,
    array: Cell<sys::napi_ref>,
}

impl Inbox {
    /// Takes the array, unless there is one, and returns the one in use. The reference made here keeps its memory
    /// alive as long as the environment.
    pub fn adopt(&self, env: sys::napi_env, value: sys::napi_value) -> Outcome<sys::napi_value> {
        if !self.array.get().is_null() {
            let mut existing = ptr::null_mut();
            // SAFETY: the reference is strong and never deleted.
            let status =
                unsafe { sys::napi_get_reference_value(env, self.array.get(), &mut existing) };
            return check(status, "the inbox is gone").map(|()| existing);
        }
        let mut length = 0;
        let mut data = ptr::null_mut();
        let mut kind = 0;
        // SAFETY: `value` belongs to the current call; unwanted results are null pointers.
        let status = unsafe {
            sys::napi_get_typedarray_info(
                env,
                value,
                &mut kind,
                &mut length,
                &mut data,
                ptr::null_mut(),
                ptr::null_mut(),
            )
        };
        check(status, "expected an Int32Array")?;
        let mut reference = ptr::null_mut();
        // SAFETY: a strong reference to a live value; it is released with the environment.
        let status = unsafe { sys::napi_create_reference(env, value, 1, &mut reference) };
        check(status, "cannot keep the Int32Array")?;
        self.data.set(data.cast());
        self.length.set(length);
        self.array.set(reference);
        Ok(value)
    }

    /// How many integers it holds.
    pub fn length(&self) -> usize {
        self.length.get()
    }

    /// Writes `values` at `index`; what would lie outside is left out.
    pub fn write(&self, index: usize, values: &[i32]) {
        let fits = index
            .checked_add(values.len())
            .is_some_and(|end| end <= self.length.get());
        if fits {
            // SAFETY: the range lies inside the array, whose memory the reference keeps alive. The array never
            // leaves lib/, so nobody detaches it; it is read and written on this thread only.
            unsafe {
                ptr::copy_nonoverlapping(values.as_ptr(), self.data.get().add(index), values.len());
            }
        }
    }
}

impl Environment {
    /// Makes the state for `env` and ties its life to the environment's. The pointer is what raw functions get.
    pub fn attach(env: sys::napi_env) -> *mut c_void {
        let environment = Rc::new(Environment {
            env,
            receivers: RefCell::new(Slab::new()),
            codecs: RefCell::new(Slab::new()),
            pool: Pool::default(),
            jobs: Jobs::default(),
            inbox: Inbox {
                data: Cell::new(ptr::null_mut()),
                length: Cell::new(0),
                array: Cell::new(ptr::null_mut()),
            },
            result: RefCell::new(Vec::new()),
            last_failure: RefCell::new(None),
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
    environment.jobs.shut_down();
}
