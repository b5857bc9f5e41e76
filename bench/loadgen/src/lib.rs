//! What the load generator and the bare echo server have in common, one role per module.
//!
//! Everything runs on one thread around one epoll: the generator must cost as little as it can,
//! because it shares the machine with the server that it measures.

pub mod connection;
pub mod deflate;
pub mod epoll;
pub mod frame;
pub mod handshake;
pub mod histogram;
pub mod measure;
pub mod messages;
pub mod modes;
pub mod options;
pub mod placement;
pub mod replies;
pub mod report;
pub mod usage;

/// Why a run ended early: one sentence for the person who started it.
pub type Failure = Box<dyn std::error::Error>;
pub type Outcome<T> = Result<T, Failure>;
