//! Which of many sockets are ready, asked through one descriptor that Node's loop watches.
//!
//! A `uv_poll` for each socket costs 240 bytes and, before it waits for the first time, four system calls; here it is
//! one. What is ready is reported each time it is asked for until that has changed (level-triggered), in the order in
//! which the sockets became ready.

#[cfg_attr(any(target_os = "linux", target_os = "android"), path = "epoll.rs")]
#[cfg_attr(
    not(any(target_os = "linux", target_os = "android")),
    path = "kqueue.rs"
)]
mod queue;

use std::ffi::c_int;
use std::io;

pub use queue::Readiness;

/// What to wait for, or what a socket is ready for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ready {
    /// There is something to read, an end, or an error.
    pub read: bool,
    /// There is room to write, or an error.
    pub write: bool,
}

impl Ready {
    /// Nothing.
    pub const NOTHING: Self = Self {
        read: false,
        write: false,
    };
    /// Reading alone.
    pub const READ: Self = Self {
        read: true,
        write: false,
    };
}

/// A socket that is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// What it was registered with.
    pub token: u64,
    /// What it is ready for; both when it is `broken` or hung up.
    pub ready: Ready,
    /// The connection broke, as a reset does it; reading and writing tell why.
    pub broken: bool,
    /// Nothing more will come or go, because of a reset or because both sides have ended.
    pub hung_up: bool,
}

/// So many sockets are reported at once.
pub const MOST_EVENTS: usize = 1024;

/// The error of a system call, if it failed.
fn check(result: c_int) -> io::Result<()> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}
