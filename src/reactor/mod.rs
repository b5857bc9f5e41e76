//! Connections and readiness: from received bytes to items, from frames to gathered writes.

#[cfg(unix)]
mod backlog;
#[cfg(unix)]
mod connection;
#[cfg(unix)]
mod descriptors;
#[cfg(unix)]
pub mod fan_out;
mod inbound;
#[cfg(unix)]
mod input;
#[cfg(unix)]
mod outgoing;
#[cfg(unix)]
mod processors;
#[cfg(unix)]
pub mod readiness;
#[cfg(unix)]
mod reads;
#[cfg(all(test, unix))]
mod tests;
#[cfg(unix)]
pub mod threads;
#[cfg(unix)]
pub mod uv;

#[cfg(unix)]
pub use backlog::LastCopy;
#[cfg(unix)]
pub use connection::{are_readable, Connection, Read};
#[cfg(unix)]
pub use descriptors::Descriptors;
pub use inbound::{Failure, Inbound, Item, Place, CHUNK};
#[cfg(unix)]
pub use input::{Input, Step};
#[cfg(unix)]
pub use processors::Processors;
#[cfg(unix)]
pub use reads::Reads;
