//! permessage-deflate (RFC 7692): negotiation, compression and decompression.
//!
//! Nothing here knows about sockets, clocks or Node. Frames' payloads go in, payloads come out:
//!
//! - [`params`](self::params) decides which offer is accepted and on which terms,
//! - [`Deflater`] compresses the frames of outgoing messages: where nobody sets a level with a compressor for small messages
//!   (`compressor`), otherwise with zlib-rs,
//! - [`Inflater`] decompresses the frames of incoming messages: with zlib-rs, and those that go wrong, or may with a small
//!   window, as exactly as Node's zlib (`exact`),
//! - [`Pool`] lends both of them the big states, so that an idle connection owns none.
#![forbid(unsafe_code)]
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::panic
)]

mod begun;
mod budget;
mod byte_run;
mod compressor;
mod deflater;
mod error;
mod exact;
mod history;
mod huffman;
mod inflater;
mod js_number;
pub mod params;
mod pool;
mod symbols;
mod zlib_calls;

#[cfg(test)]
mod tests;

pub use deflater::{DeflateOptions, Deflater};
pub use error::{DeflateError, InflateError};
pub use inflater::{InflateOptions, Inflater};
pub use params::{
    accept_as_client, accept_as_server, normalize_params, offer, Accepted, LocalOptions,
    NegotiationError, Offer, ParamValue, Value, WindowBitsOption,
};
pub use pool::Pool;

/// The end of every sync-flushed deflate stream: the empty stored block's lengths. RFC 7692 leaves
/// these four bytes out at the end of a message; the receiver puts them back.
const MESSAGE_TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// The bytes in a window of so many bits.
fn window_size(window_bits: u8) -> usize {
    1_usize.checked_shl(u32::from(window_bits)).unwrap_or(0)
}

/// How far one of zlib's counters moved.
fn advance(before: u64, after: u64) -> usize {
    usize::try_from(after.wrapping_sub(before)).unwrap_or(usize::MAX)
}
