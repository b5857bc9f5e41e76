//! Entry points without a wrapper: the calls that happen once per received chunk or per turn of the loop.
//!
//! A `#[napi]` function costs 100 to 250 ns before its body runs; these cost 20 to 40 (figures in `docs/`).
//! Every raw function goes through [`enter`], which reads the arguments, catches panics and turns a
//! [`Fault`] into a JavaScript exception, so that the bodies are ordinary safe functions.

use std::ffi::{c_char, CString};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::ptr;
use std::rc::Rc;

use napi::sys;

use super::environment::Environment;

/// The most arguments a raw function takes.
const MAX_ARGUMENTS: usize = 8;

/// Why a raw function did not return normally.
#[derive(Debug)]
pub enum Fault {
    /// Thrown as a JavaScript `TypeError` with this message.
    Type(&'static str),
    /// Thrown as a JavaScript `Error` with this message.
    Other(String),
    /// A JavaScript exception is already pending.
    Pending,
}

/// What a panic becomes.
pub const PANIC: &str = "oxws: internal error (a panic was caught)";

impl Fault {
    /// What a panic becomes.
    pub fn panic() -> Self {
        Self::Other(PANIC.into())
    }
}

/// The result of a raw function's body.
pub type Outcome<T> = Result<T, Fault>;

/// The arguments of one call.
pub struct Call<'a> {
    /// The Node-API environment of the caller.
    pub env: sys::napi_env,
    /// Everything this package keeps for that environment.
    pub environment: &'a Rc<Environment>,
    arguments: [sys::napi_value; MAX_ARGUMENTS],
    count: usize,
}

/// Turns a failed Node-API status into a fault.
pub fn check(status: sys::napi_status, what: &'static str) -> Outcome<()> {
    match status {
        sys::Status::napi_ok => Ok(()),
        sys::Status::napi_pending_exception => Err(Fault::Pending),
        _ => Err(Fault::Type(what)),
    }
}

impl Call<'_> {
    /// The argument as JavaScript passed it.
    pub fn value(&self, index: usize) -> Outcome<sys::napi_value> {
        self.arguments
            .get(index)
            .copied()
            .filter(|_| index < self.count)
            .ok_or(Fault::Type("too few arguments"))
    }

    /// The argument as a 32-bit integer.
    pub fn int(&self, index: usize) -> Outcome<i32> {
        let mut result = 0;
        // SAFETY: `env` is the caller's environment, on its thread, and the value belongs to this call's scope.
        let status =
            unsafe { sys::napi_get_value_int32(self.env, self.value(index)?, &mut result) };
        check(status, "expected an integer").map(|()| result)
    }

    /// The argument as an index or a length.
    pub fn size(&self, index: usize) -> Outcome<usize> {
        let number = self.double(index)?;
        if (0.0..=9_007_199_254_740_991.0).contains(&number) {
            Ok(number as usize)
        } else {
            Err(Fault::Type("expected a non-negative integer"))
        }
    }

    /// The argument as a double.
    pub fn double(&self, index: usize) -> Outcome<f64> {
        let mut result = 0.0;
        // SAFETY: as in `int`.
        let status =
            unsafe { sys::napi_get_value_double(self.env, self.value(index)?, &mut result) };
        check(status, "expected a number").map(|()| result)
    }

    /// The argument as a boolean.
    pub fn flag(&self, index: usize) -> Outcome<bool> {
        let mut result = false;
        // SAFETY: as in `int`.
        let status = unsafe { sys::napi_get_value_bool(self.env, self.value(index)?, &mut result) };
        check(status, "expected a boolean").map(|()| result)
    }

    /// Where the bytes of a typed array (a Buffer) lie and how many they are.
    pub fn memory(&self, index: usize) -> Outcome<(*mut u8, usize)> {
        memory_of(self.env, self.value(index)?)
    }

    /// The bytes of a typed array (a Buffer) for the duration of the call.
    ///
    /// # Safety
    /// While the slice is alive, no JavaScript runs and no other slice of the same buffer is made.
    // The lifetime is that of the call: the arguments keep the buffer reachable until it returns.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn bytes(&self, index: usize) -> Outcome<&mut [u8]> {
        let (data, length) = self.memory(index)?;
        // SAFETY: Node-API reports a pointer valid for `length` bytes of a buffer that the argument keeps alive;
        // nothing else touches it while no JavaScript runs and the caller makes no second slice.
        Ok(unsafe { slice(data, length) })
    }
}

/// `std::slice::from_raw_parts_mut` that accepts the null pointer of an empty buffer.
///
/// # Safety
/// As for `from_raw_parts_mut`, where `length` is not 0.
pub unsafe fn slice<'a>(data: *mut u8, length: usize) -> &'a mut [u8] {
    if length == 0 || data.is_null() {
        &mut []
    } else {
        // SAFETY: passed on to the caller.
        unsafe { std::slice::from_raw_parts_mut(data, length) }
    }
}

/// Where the bytes of a typed array lie and how many they are.
pub fn memory_of(env: sys::napi_env, value: sys::napi_value) -> Outcome<(*mut u8, usize)> {
    let mut data = ptr::null_mut();
    let mut length = 0;
    // SAFETY: `value` belongs to the current scope of `env`; both out pointers are valid.
    let status = unsafe { sys::napi_get_buffer_info(env, value, &mut data, &mut length) };
    check(status, "expected a Buffer").map(|()| (data.cast(), length))
}

/// What a raw function can give back to JavaScript.
pub trait Reply {
    /// Makes the JavaScript value; null stands for `undefined`.
    fn reply(self, env: sys::napi_env) -> sys::napi_value;
}

impl Reply for () {
    fn reply(self, _env: sys::napi_env) -> sys::napi_value {
        ptr::null_mut()
    }
}

impl Reply for sys::napi_value {
    fn reply(self, _env: sys::napi_env) -> sys::napi_value {
        self
    }
}

impl Reply for i32 {
    fn reply(self, env: sys::napi_env) -> sys::napi_value {
        let mut result = ptr::null_mut();
        // SAFETY: `env` is current on this thread. A failure leaves null, which reads as `undefined`.
        unsafe { sys::napi_create_int32(env, self, &mut result) };
        result
    }
}

impl Reply for f64 {
    fn reply(self, env: sys::napi_env) -> sys::napi_value {
        let mut result = ptr::null_mut();
        // SAFETY: as above.
        unsafe { sys::napi_create_double(env, self, &mut result) };
        result
    }
}

impl Reply for bool {
    fn reply(self, env: sys::napi_env) -> sys::napi_value {
        let mut result = ptr::null_mut();
        // SAFETY: as above.
        unsafe { sys::napi_get_boolean(env, self, &mut result) };
        result
    }
}

impl Reply for &str {
    fn reply(self, env: sys::napi_env) -> sys::napi_value {
        let mut result = ptr::null_mut();
        // SAFETY: pointer and length describe `self`.
        unsafe {
            sys::napi_create_string_utf8(
                env,
                self.as_ptr().cast(),
                self.len() as isize,
                &mut result,
            )
        };
        result
    }
}

/// Throws `fault` in `env`, unless an exception is pending already.
pub fn throw(env: sys::napi_env, fault: Fault) {
    let text = |message: &str| CString::new(message.replace('\0', " ")).unwrap_or_default();
    match fault {
        Fault::Pending => {}
        // SAFETY: the strings are terminated by a zero and live until the call returns.
        Fault::Type(message) => unsafe {
            sys::napi_throw_type_error(env, ptr::null(), text(message).as_ptr());
        },
        // SAFETY: as above.
        Fault::Other(message) => unsafe {
            sys::napi_throw_error(env, ptr::null(), text(&message).as_ptr());
        },
    }
}

/// Runs the body of a raw function: reads its arguments, keeps panics on this side of the border.
pub fn enter<R: Reply>(
    env: sys::napi_env,
    info: sys::napi_callback_info,
    body: fn(&Call) -> Outcome<R>,
) -> sys::napi_value {
    let result = catch_unwind(AssertUnwindSafe(|| {
        let mut arguments = [ptr::null_mut(); MAX_ARGUMENTS];
        let mut count = MAX_ARGUMENTS;
        let mut data = ptr::null_mut();
        // SAFETY: Node called us with this `env` and `info`; the array has room for `count` values.
        let status = unsafe {
            sys::napi_get_cb_info(
                env,
                info,
                &mut count,
                arguments.as_mut_ptr(),
                ptr::null_mut(),
                &mut data,
            )
        };
        check(status, "no call information")?;
        // SAFETY: `data` is the pointer given to `export`: a boxed `Rc<Environment>` that is not freed before the
        // environment's last JavaScript has run (see `Environment::attach`).
        let environment = unsafe { &*data.cast::<Rc<Environment>>() };
        body(&Call {
            env,
            environment,
            arguments,
            count: count.min(MAX_ARGUMENTS),
        })
    }));
    match result {
        Ok(Ok(value)) => value.reply(env),
        Ok(Err(fault)) => {
            throw(env, fault);
            ptr::null_mut()
        }
        Err(_panic) => {
            throw(env, Fault::panic());
            ptr::null_mut()
        }
    }
}

/// Puts a raw function on the exports object.
///
/// # Safety
/// `env` and `exports` belong to the running module initialisation; `data` is the pointer that [`enter`] expects.
pub unsafe fn export(
    env: sys::napi_env,
    exports: sys::napi_value,
    name: &str,
    function: sys::napi_callback,
    data: *mut std::ffi::c_void,
) {
    let mut value = ptr::null_mut();
    let name_pointer: *const c_char = name.as_ptr().cast();
    // SAFETY: name and length describe a valid string; the function pointer is a static function.
    unsafe {
        sys::napi_create_function(
            env,
            name_pointer,
            name.len() as isize,
            function,
            data,
            &mut value,
        );
        let mut key = ptr::null_mut();
        sys::napi_create_string_utf8(env, name_pointer, name.len() as isize, &mut key);
        sys::napi_set_property(env, exports, key, value);
    }
}

/// Has what a call of JavaScript has thrown reach `uncaughtException`, as from any other callback.
///
/// # Safety
/// On the JavaScript thread of `env`, inside a handle scope; `status` is what the call has returned.
pub unsafe fn report_exception(env: sys::napi_env, status: sys::napi_status) {
    if status != sys::Status::napi_pending_exception {
        return;
    }
    let mut error = ptr::null_mut();
    // SAFETY: passed on to the caller; the out pointer is valid, and `error` is used only when it was set.
    unsafe {
        if sys::napi_get_and_clear_last_exception(env, &mut error) == sys::Status::napi_ok {
            sys::napi_fatal_exception(env, error);
        }
    }
}

/// Declares `extern "C"` functions around bodies and a function that exports them all under their names.
macro_rules! raw_functions {
    ($exporter:ident: $($name:literal => $body:path),+ $(,)?) => {
        /// Exports this module's raw functions.
        ///
        /// # Safety
        /// As for [`crate::binding::raw::export`].
        pub unsafe fn $exporter(env: napi::sys::napi_env, exports: napi::sys::napi_value, data: *mut std::ffi::c_void) {
            $({
                extern "C" fn call(env: napi::sys::napi_env, info: napi::sys::napi_callback_info) -> napi::sys::napi_value {
                    $crate::binding::raw::enter(env, info, $body)
                }
                // SAFETY: passed on to the caller.
                unsafe { $crate::binding::raw::export(env, exports, $name, Some(call), data) };
            })+
        }
    };
}
pub(crate) use raw_functions;
