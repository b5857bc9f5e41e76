//! The async context that a connection's listeners run in.

use std::ptr;

use napi::sys;

use crate::binding::raw::{check, Outcome, Reply};

/// The async context in which a connection was made (`AsyncLocalStorage` and `async_hooks` know it).
pub struct Context {
    env: sys::napi_env,
    raw: sys::napi_async_context,
}

impl Context {
    /// The context of the code that is running, for `resource`, an object that somebody else keeps alive.
    pub fn new(env: sys::napi_env, resource: sys::napi_value) -> Outcome<Self> {
        let mut raw = ptr::null_mut();
        let name = "oxws".reply(env);
        // SAFETY: on the thread of `env`, within a call from JavaScript whose argument `resource` is.
        let status = unsafe { sys::napi_async_init(env, resource, name, &mut raw) };
        check(status, "there is no async context").map(|()| Self { env, raw })
    }

    /// What Node-API knows it as.
    pub fn raw(&self) -> sys::napi_async_context {
        self.raw
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: made in `new` and destroyed once, on the same thread, before the environment is gone: connections go
        // with their driver, whose cleanup hook runs before that.
        unsafe { sys::napi_async_destroy(self.env, self.raw) };
    }
}
