//! Tests of the module as its callers see it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::panic
)]

mod as_node;
mod bounds;
mod compressor;
mod exact;
mod huffman;
mod memory;
mod negotiation;
mod round_trips;

use super::{DeflateOptions, Deflater, InflateError, InflateOptions, Inflater, Pool};

/// A compressor with zlib's defaults and its own pool.
fn deflater(no_context_takeover: bool) -> Deflater {
    Deflater::new(DeflateOptions::default(), no_context_takeover, &Pool::new())
}

/// A decompressor with the full window and its own pool.
fn inflater(no_context_takeover: bool) -> Inflater {
    Inflater::new(InflateOptions::default(), no_context_takeover, &Pool::new())
}

fn deflate(deflater: &mut Deflater, input: &[u8], fin: bool) -> Vec<u8> {
    let mut out = Vec::new();
    deflater.deflate(input, fin, &mut out).unwrap();
    out
}

fn inflate(inflater: &mut Inflater, input: &[u8], fin: bool) -> Result<Vec<u8>, InflateError> {
    let mut out = Vec::new();
    inflater.inflate(input, fin, 0, &mut out).map(|()| out)
}

/// Bytes that cannot be compressed.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u32;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
    .take(length)
    .collect()
}

/// Repetitive but not trivial text, different for each seed.
fn json(length: usize, seed: u32) -> Vec<u8> {
    let mut text = String::new();
    let mut n = seed;
    while text.len() < length {
        n = n.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        text += &format!(
            "{{\"id\":{},\"user\":\"u{}\",\"ok\":{}}},",
            n,
            n >> 27,
            n > 1 << 31
        );
    }
    text.truncate(length);
    text.into_bytes()
}
