//! The WebSocket protocol without input or output: bytes come in, events go out, and the other way round.
//!
//! Nothing here knows about sockets, clocks or Node. A transport reads bytes, hands them to a [`Decoder`]
//! and acts on the [`Event`]s; to send, it asks for a [`FrameHead`] and masks the payload where it lies.
//! Limits, their errors and the byte at which each error is raised are those of ws.
#![forbid(unsafe_code)]
#![deny(missing_docs)]
#![deny(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unreachable,
    clippy::unwrap_used
)]
#![cfg_attr(
    test,
    allow(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unreachable,
        clippy::unwrap_used
    )
)]

mod config;
mod decoder;
mod encoder;
mod error;
mod event;
mod head;
mod mask;
mod message;
mod utf8;

#[cfg(test)]
mod tests;

pub use config::{Config, Limits, Role};
pub use decoder::Decoder;
pub use encoder::{mask_frames, BrokenRun, FrameHead, MAX_HEAD};
pub use error::{ErrorClass, ProtocolError};
pub use event::{Close, ControlBuffer, DataPiece, Event, MessageKind, Payload};
pub use mask::mask;
pub use message::Assembly;
pub use utf8::validate_utf8;
