//! Limits: what is too big stops early, and nothing is allocated on a promise.

use super::{deflate, deflater, inflate, inflater, json, noise};
use crate::deflate::{DeflateOptions, Deflater, InflateError, InflateOptions, Inflater, Pool};

/// The most one call goes beyond its limit.
const CHUNK: usize = 16 * 1024;

/// A message of so many zeros, compressed.
fn bomb(length: usize) -> Vec<u8> {
    let mut sender = deflater(true);
    let zeros = vec![0; 1 << 20];
    let mut payload = Vec::new();
    let mut left = length;
    while left > 0 {
        let part = left.min(zeros.len());
        left -= part;
        sender
            .deflate(&zeros[..part], left == 0, &mut payload)
            .unwrap();
    }
    payload
}

#[test]
fn the_limit_itself_is_allowed_and_one_byte_more_is_not() {
    for length in [1, 100, CHUNK - 1, CHUNK, CHUNK + 1, 100_000] {
        let text = json(length, 1);
        let payload = deflate(&mut deflater(true), &text, true);
        let mut receiver = inflater(true);
        let mut out = Vec::new();
        let length = length as u64;

        receiver.inflate(&payload, true, length, &mut out).unwrap();
        assert_eq!(out, text);
        if length > 1 {
            let result = receiver.inflate(&payload, true, length - 1, &mut out);
            assert_eq!(result, Err(InflateError::TooBig));
            assert_eq!(out, text, "nothing is appended by a failed call");
        }
        assert_eq!(inflate(&mut receiver, &payload, true).unwrap(), text);
    }
}

#[test]
fn the_limit_counts_each_frame() {
    let text = json(120, 1);
    let mut sender = deflater(false);
    let mut receiver = inflater(false);
    let mut out = Vec::new();
    for (part, fin) in [(&text[..60], false), (&text[60..], true)] {
        let payload = deflate(&mut sender, part, fin);
        receiver.inflate(&payload, fin, 100, &mut out).unwrap();
    }
    assert_eq!(out, text);
}

#[test]
fn a_bomb_is_stopped_within_a_chunk_of_the_limit() {
    let payload = bomb(64 << 20);
    assert!(payload.len() < 128 << 10);
    for limit in [1, 1000, 1 << 20] {
        let mut out = Vec::new();
        let result = inflater(false).inflate(&payload, true, limit as u64, &mut out);
        assert_eq!(result, Err(InflateError::TooBig));
        // The buffer grows by doubling at most.
        assert!(out.capacity() <= 2 * (limit + CHUNK));
    }
}

#[test]
fn a_frame_that_is_too_big_and_then_corrupt_fails_as_in_node() {
    let corrupt = |length: usize, tail: &[u8]| {
        let mut payload = deflate(&mut deflater(true), &vec![b'a'; length], false);
        payload.extend_from_slice(tail);
        payload
    };
    let mut out = Vec::new();
    let mut run = |payload: &[u8], limit| inflater(false).inflate(payload, true, limit, &mut out);

    // The limit is looked at when a chunk is full or the frame is used up, so corruption before that comes first.
    for length in [100, CHUNK - 1] {
        let result = run(&corrupt(length, &[7]), 10);
        assert_eq!(result, Err(InflateError::data(Some("invalid block type"))));
    }
    assert_eq!(run(&corrupt(20_000, &[7]), 10), Err(InflateError::TooBig));
    // Here it is the tail of the message that completes the malformed block.
    assert_eq!(run(&corrupt(100, &[0, 1]), 10), Err(InflateError::TooBig));
    assert_eq!(
        run(&corrupt(100, &[0, 1]), 100),
        Err(InflateError::data(Some("invalid stored block lengths")))
    );
}

#[test]
fn a_stream_that_ends_is_bound_too() {
    let mut payload = deflate(&mut deflater(true), &[b'a'; 100], false);
    payload.extend_from_slice(&[1, 0, 0, 0xff, 0xff, 0]);
    let mut out = Vec::new();
    let result = inflater(false).inflate(&payload, true, 10, &mut out);
    assert_eq!(result, Err(InflateError::TooBig));
}

/// So many empty blocks with zlib's fixed codes, four in five bytes; the last of them is open.
fn empty_blocks(bytes: usize) -> Vec<u8> {
    let four = [0x02, 0x08, 0x20, 0x80, 0x00];
    four.into_iter().cycle().take(bytes).collect()
}

#[test]
fn what_nobody_wants_any_more_fails_soon_however_much_it_is() {
    let blocks = empty_blocks(1_000_000);
    // After the second one the slow decompressor goes on, in a stored block that lacks a byte.
    let (between_blocks, within_block): (&[u8], &[u8]) = (&[0], &[0, 5, 0, 0xfa, 0xff]);
    for (before, rest) in [(between_blocks, &[][..]), (within_block, b"t")] {
        let pool = Pool::new();
        let mut receiver = Inflater::new(InflateOptions::default(), false, &pool);
        let mut out = Vec::new();
        receiver.inflate(before, true, 0, &mut out).unwrap();
        receiver.inflate(rest, false, 0, &mut out).unwrap();
        receiver.inflate(&blocks, false, 0, &mut out).unwrap();
        pool.close();
        let result = receiver.inflate(&blocks, false, 0, &mut out);
        assert!(matches!(result, Err(InflateError::Corrupt { .. })));
    }

    let pool = Pool::new();
    let mut sender = Deflater::new(DeflateOptions::default(), false, &pool);
    pool.close();
    assert!(sender
        .deflate(&noise(1 << 20), true, &mut Vec::new())
        .is_err());
}
