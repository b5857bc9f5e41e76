//! The Rust core of oxws: the WebSocket protocol, its compression, the I/O reactor and the Node-API binding.
//!
//! Bytes go one way in (`reactor` reads, `protocol` decodes, `deflate` inflates, `binding` tells JavaScript) and one
//! way out. `protocol` and `deflate` know neither sockets nor Node and can be used and tested without them.
#![warn(missing_docs)]

#[cfg(feature = "binding")]
mod binding;
pub mod deflate;
#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod memory;
pub mod protocol;
pub mod reactor;
