//! The Node-API binding: the only module that knows JavaScript, and the home of its `unsafe`.

// JavaScript that is called in the body of a loop or a match comes back here: what its head borrows must be free by then.
#![deny(clippy::significant_drop_in_scrutinee)]

mod codec;
mod environment;
mod jobs;
mod negotiation;
mod raw;
mod receive;
mod send;
// Part of it is used by the native transport alone.
#[cfg_attr(not(unix), allow(dead_code))]
mod shared;
mod tracker;
#[cfg(unix)]
mod transport;
#[cfg(not(unix))]
#[path = "transport/absent.rs"]
mod transport;

use napi::bindgen_prelude::Object;
use napi::{sys, Env, JsValue};
use napi_derive::napi;

use environment::Environment;

/// Runs when the addon is loaded, once for each environment and each copy of the module.
#[napi(module_exports)]
fn initialise(exports: Object, env: Env) -> napi::Result<()> {
    let env: sys::napi_env = env.raw();
    let data = Environment::attach(env);
    // SAFETY: this is the module's initialisation; `data` is what `attach` made for this environment.
    unsafe {
        receive::export(env, exports.raw(), data);
        send::export(env, exports.raw(), data);
        codec::export(env, exports.raw(), data);
        tracker::export(env, exports.raw(), data);
        transport::export(env, exports.raw(), data);
    }
    Ok(())
}

/// The value of `Sec-WebSocket-Accept` for a `Sec-WebSocket-Key` (RFC 6455, section 4.2.2).
#[napi]
pub fn accept_key(key: String) -> String {
    tungstenite::handshake::derive_accept_key(key.as_bytes())
}
