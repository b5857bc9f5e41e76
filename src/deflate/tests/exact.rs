//! What Node's zlib makes of streams that go wrong where zlib-rs does not say how: after a message that stopped within a
//! block, in later frames, and behind the negotiated window.
//!
//! The expectations were recorded from ws's `PerMessageDeflate` on Node 20.

use super::{deflate, deflater, inflate, inflater, json, noise};
use crate::deflate::budget::Budget;
use crate::deflate::exact::{Exact, Run};
use crate::deflate::history::History;
use crate::deflate::{DeflateOptions, Deflater, InflateError, InflateOptions, Inflater, Pool};

const FAR: &str = "invalid distance too far back";

/// What a message without payload leaves open: a stored block of which the last byte of the lengths is missing. With this
/// byte it has so many bytes of text.
const LAST_BYTE_OF_LENGTHS: u8 = 0;
const OPEN_TEXT: usize = 0xff00;

fn inflater_with_window(window_bits: u8, no_context_takeover: bool) -> Inflater {
    let options = InflateOptions {
        window_bits,
        ..InflateOptions::default()
    };
    Inflater::new(options, no_context_takeover, &Pool::new())
}

fn refused(result: Result<Vec<u8>, InflateError>) -> &'static str {
    match result {
        Err(InflateError::Corrupt { message, .. }) => message,
        Err(other) => panic!("{other:?}"),
        Ok(text) => panic!("{} bytes", text.len()),
    }
}

/// Writes blocks with zlib's fixed codes.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    count: usize,
}

impl Bits {
    fn block() -> Self {
        let mut bits = Self::default();
        bits.low_first(2, 3);
        bits
    }

    fn push(&mut self, bit: bool) {
        if self.count.is_multiple_of(8) {
            self.bytes.push(0);
        }
        *self.bytes.last_mut().unwrap() |= u8::from(bit) << (self.count % 8);
        self.count += 1;
    }

    fn low_first(&mut self, value: usize, bits: usize) {
        (0..bits).for_each(|at| self.push(value >> at & 1 == 1));
    }

    fn code(&mut self, code: usize, bits: usize) {
        (0..bits)
            .rev()
            .for_each(|at| self.push(code >> at & 1 == 1));
    }

    /// Three bytes from so far back.
    fn back(mut self, distance: usize) -> Self {
        self.code(1, 7);
        let (symbol, least, extra) = match distance {
            1..=4 => (distance - 1, distance, 0),
            257..=384 => (16, 257, 7),
            769..=1024 => (19, 769, 8),
            16385..=24576 => (28, 16385, 13),
            _ => panic!("not needed so far"),
        };
        self.code(symbol, 5);
        self.low_first(distance - least, extra);
        self
    }

    /// The header of a block with codes of its own, with how many lengths of literals and lengths, of distances, and of
    /// code lengths follow.
    fn dynamic(symbols: usize, distances: usize, lengths: usize) -> Self {
        let mut bits = Self::default();
        bits.low_first(4, 3);
        bits.low_first(symbols - 257, 5);
        bits.low_first(distances - 1, 5);
        bits.low_first(lengths - 4, 4);
        bits
    }

    /// A distance that no code stands for.
    fn no_distance(mut self) -> Self {
        self.code(1, 7);
        self.code(30, 5);
        self
    }

    /// Ends the block, and the message with an empty one.
    fn end(mut self) -> Vec<u8> {
        self.code(0, 7);
        self.low_first(0, 3);
        self.bytes
    }
}

/// A message that completes the open block with noise and goes on with other blocks.
fn completed(text: &[u8], blocks: &[u8]) -> Vec<u8> {
    assert_eq!(text.len(), OPEN_TEXT);
    [&[LAST_BYTE_OF_LENGTHS], text, blocks].concat()
}

#[test]
fn the_negotiated_window_and_the_chunk_hold_after_a_message_that_left_a_block_open() {
    let text = noise(OPEN_TEXT);
    let message = completed(&text, &Bits::block().back(20_000).end());
    for (window_bits, is_within) in [(8, false), (10, false), (14, true), (15, true)] {
        let mut receiver = inflater_with_window(window_bits, false);
        assert_eq!(inflate(&mut receiver, &[], true), Ok(Vec::new()));
        let result = inflate(&mut receiver, &message, true);
        if is_within {
            let copied = &text[OPEN_TEXT - 20_000..][..3];
            assert!(result.unwrap() == [&text[..], copied].concat());
        } else {
            assert_eq!(refused(result), FAR, "{window_bits}");
        }
    }
}

#[test]
fn within_a_chunk_of_output_the_window_does_not_matter() {
    // Node's zlib writes chunks of 16 KiB, and sees all of the one it is writing.
    let chunk = 16 * 1024;
    let text = noise(OPEN_TEXT);
    let written = OPEN_TEXT % chunk;
    let message = completed(&text, &Bits::block().back(1000).end());
    let mut receiver = inflater_with_window(8, false);
    inflate(&mut receiver, &[], true).unwrap();
    assert_eq!(
        inflate(&mut receiver, &message, true).unwrap().len(),
        OPEN_TEXT + 3
    );

    // Fill the chunk up: behind its end only the window is left.
    let stored = chunk - written;
    let header = [
        0,
        stored as u8,
        (stored >> 8) as u8,
        !stored as u8,
        !(stored >> 8) as u8,
    ];
    for (distance, is_within) in [(300, false), (4, true)] {
        let blocks = [
            &header[..],
            &text[..stored],
            &Bits::block().back(distance).end(),
        ]
        .concat();
        let mut receiver = inflater_with_window(8, false);
        inflate(&mut receiver, &[], true).unwrap();
        let result = inflate(&mut receiver, &completed(&text, &blocks), true);
        assert_eq!(result.is_ok(), is_within, "{distance}");
    }
}

#[test]
fn what_is_wrong_after_an_open_block_is_said_as_in_node() {
    let text = noise(OPEN_TEXT);
    for (blocks, expected) in [
        (Bits::block().no_distance().end(), "invalid distance code"),
        (vec![7], "invalid block type"),
    ] {
        // With more input behind it zlib takes another path to the error.
        for more in [0, 40] {
            let message = completed(&text, &[&blocks[..], &vec![0; more]].concat());
            for cut in [0, 1, 5, 30_000] {
                let mut receiver = inflater(false);
                inflate(&mut receiver, &[], true).unwrap();
                let frames = [&message[..cut], &message[cut..]];
                let first = inflate(&mut receiver, frames[0], false);
                assert!(first.is_ok());
                assert_eq!(refused(inflate(&mut receiver, frames[1], true)), expected);
            }
        }
    }
}

#[test]
fn a_connection_goes_on_as_usual_when_an_open_block_is_completed() {
    let text = noise(OPEN_TEXT);
    for window_bits in [9, 15] {
        let options = DeflateOptions {
            window_bits,
            ..DeflateOptions::default()
        };
        let mut receiver = inflater_with_window(window_bits, false);
        for asleep in [true, false] {
            let mut sender = Deflater::new(options.clone(), false, &Pool::new());
            inflate(&mut receiver, &[], true).unwrap();
            if asleep {
                receiver.sleep();
            }
            assert!(!receiver.is_as_new());
            let message = completed(&text, &[0]);
            assert!(inflate(&mut receiver, &message, true).unwrap() == text);
            for seed in 0..3 {
                let text = json(5000, seed);
                let payload = deflate(&mut sender, &text, true);
                assert_eq!(inflate(&mut receiver, &payload, true).unwrap(), text);
            }
            receiver.sleep();
        }
    }
}

#[test]
fn what_is_wrong_in_a_later_frame_is_said_as_in_node() {
    let wrong = [Bits::block().no_distance().end(), vec![0; 40]].concat();
    let far = [Bits::block().back(1000).end(), vec![0; 40]].concat();
    for no_context_takeover in [false, true] {
        for window_bits in [9, 15] {
            for (frame, expected) in [(&wrong, "invalid distance code"), (&far, FAR)] {
                let mut sender = deflater(false);
                let mut receiver = inflater_with_window(window_bits, no_context_takeover);
                for _ in 0..2 {
                    let payload = deflate(&mut sender, &noise(300), false);
                    inflate(&mut receiver, &payload, false).unwrap();
                }
                assert_eq!(refused(inflate(&mut receiver, frame, true)), expected);
            }
        }
    }
}

#[test]
fn a_message_that_is_too_long_to_be_repeated_is_refused_all_the_same() {
    let noise = noise(300 * 1024);
    let wrong = [Bits::block().no_distance().end(), vec![0; 40]].concat();
    let mut sender = deflater(false);
    let mut receiver = inflater(false);
    for round in 0..3 {
        for _ in 0..5 {
            let payload = deflate(&mut sender, &noise, false);
            assert_eq!(inflate(&mut receiver, &payload, false).unwrap(), noise);
        }
        assert!(receiver.memory() < 2 << 20);
        if round < 2 {
            let payload = deflate(&mut sender, b"end", true);
            assert_eq!(inflate(&mut receiver, &payload, true).unwrap(), b"end");
        }
    }
    assert!(inflate(&mut receiver, &wrong, true).is_err());
    let payload = deflate(&mut deflater(false), b"next", true);
    assert_eq!(inflate(&mut receiver, &payload, true).unwrap(), b"next");
}

#[test]
fn a_long_message_is_not_decompressed_once_more_to_say_what_is_wrong_with_it() {
    // zlib-rs does not say it. What it is most often is said instead.
    let wrong = [Bits::block().no_distance().end(), vec![0; 40]].concat();
    for (chunks, expected) in [(1, "invalid distance code"), (100, FAR)] {
        let message = [&stored(&noise(chunks * 16 * 1024 + 100))[..], &wrong].concat();
        let result = inflate(&mut inflater(false), &message, true);
        assert_eq!(refused(result), expected);
    }
}

/// Stored blocks with this text.
fn stored(text: &[u8]) -> Vec<u8> {
    let block = |text: &[u8]| {
        let [low, high, ..] = text.len().to_le_bytes();
        [&[0, low, high, !low, !high], text].concat()
    };
    text.chunks(0xffff).flat_map(block).collect()
}

/// Text, and three bytes of it from so far back. The message does not end with it.
fn text_and_back(length: usize, distance: usize) -> Vec<u8> {
    [stored(&noise(length)), Bits::block().back(distance).end()].concat()
}

#[test]
fn where_a_chunk_ends_only_the_negotiated_window_is_left() {
    for no_context_takeover in [false, true] {
        for (length, is_within) in [(16_000, true), (16_381, true), (16_382, false)] {
            for more in [0, 400_000] {
                // What follows makes no difference, but that it is clear from the start how it must be decompressed.
                let more_text = [&[0, 0, 0xff, 0xff], &stored(&noise(more))[..], &[0]].concat();
                let message = [text_and_back(length, 1000), more_text].concat();
                let mut receiver = inflater_with_window(9, no_context_takeover);
                let result = inflate(&mut receiver, &message, true);
                if is_within {
                    assert_eq!(result.unwrap().len(), length + 3 + more);
                } else {
                    assert_eq!(refused(result), FAR, "{length}");
                }
            }
        }
        for (before, is_within) in [(15_383, true), (15_384, false)] {
            let mut receiver = inflater_with_window(9, no_context_takeover);
            let first = [stored(&noise(before)), vec![0]].concat();
            inflate(&mut receiver, &first, true).unwrap();
            let result = inflate(&mut receiver, &text_and_back(998, 900), true);
            assert_eq!(result.is_ok(), is_within, "{before}");
        }
    }
}

#[test]
fn a_decompressor_made_anew_goes_on_in_the_same_chunk() {
    let options = InflateOptions {
        window_bits: 9,
        ..InflateOptions::default()
    };
    for (before, is_within) in [(15_383, true), (15_384, false)] {
        let pool = Pool::new();
        let mut first = Inflater::new(options.clone(), true, &pool);
        inflate(
            &mut first,
            &[stored(&noise(before)), vec![0]].concat(),
            true,
        )
        .unwrap();
        assert!(first.is_as_new());
        let mut next = Inflater::new(options.clone(), true, &pool).within_chunk(first.filled());
        let result = inflate(&mut next, &text_and_back(998, 900), true);
        assert_eq!(result.is_ok(), is_within, "{before}");
    }
}

#[test]
fn where_a_frame_ends_only_the_negotiated_window_is_left() {
    for no_context_takeover in [false, true] {
        for (window_bits, is_within) in [(9, false), (10, true), (14, true), (15, true)] {
            let mut receiver = inflater_with_window(window_bits, no_context_takeover);
            for last in [4, 1000] {
                inflate(&mut receiver, &stored(&noise(1500)), false).unwrap();
                inflate(&mut receiver, &stored(&noise(500)), false).unwrap();
                let result = inflate(&mut receiver, &Bits::block().back(last).end(), true);
                assert_eq!(result.is_ok(), is_within || last == 4, "{window_bits}");
            }
        }
    }
}

#[test]
fn what_comes_first_is_said_of_a_message_that_is_too_big_and_leaves_the_window() {
    for (length, limit, is_too_big) in [
        (16_384, 16_000, true),
        (16_384, 16_386, false),
        (16_384, 40_000, false),
        (16_400, 16_401, false),
    ] {
        let mut receiver = inflater_with_window(9, false);
        let message = text_and_back(length, 1000);
        let result = receiver.inflate(&message, true, limit, &mut Vec::new());
        let far = InflateError::data(Some(FAR));
        let expected = if is_too_big {
            InflateError::TooBig
        } else {
            far
        };
        assert_eq!(result, Err(expected), "{limit}");
    }
}

#[test]
fn messages_that_need_the_slow_decompressor_leave_the_context_as_others_do() {
    for no_context_takeover in [false, true] {
        let options = DeflateOptions {
            window_bits: 9,
            ..DeflateOptions::default()
        };
        let mut sender = Deflater::new(options, no_context_takeover, &Pool::new());
        let mut receiver = inflater_with_window(9, no_context_takeover);
        for (length, seed) in [300, 50_000, 300, 100_000, 16_384, 20].into_iter().zip(0..) {
            let text = json(length, seed);
            for size in [usize::MAX, 7000] {
                let mut frames = text.chunks(size.min(text.len())).peekable();
                while let Some(frame) = frames.next() {
                    let fin = frames.peek().is_none();
                    let payload = deflate(&mut sender, frame, fin);
                    assert!(inflate(&mut receiver, &payload, fin).unwrap() == frame);
                }
                receiver.sleep();
                assert_eq!(receiver.is_as_new(), no_context_takeover);
            }
        }
    }
}

#[test]
fn the_chunk_that_a_message_begins_in_decides_which_error_comes_first() {
    // 1000 bytes too many and then garbage: what comes first depends on whether a chunk is full before the garbage.
    let corrupt = [&deflate(&mut deflater(true), &noise(1000), false)[..], &[7]].concat();
    for (before, is_too_big) in [(15_000, false), (16_000, true)] {
        for no_context_takeover in [false, true] {
            let mut receiver = inflater(no_context_takeover);
            let first = deflate(&mut deflater(true), &json(before, 1), true);
            inflate(&mut receiver, &first, true).unwrap();
            let result = receiver.inflate(&corrupt, true, 10, &mut Vec::new());
            assert_eq!(result == Err(InflateError::TooBig), is_too_big);
        }
    }
}

/// Decompresses frames with the slow decompressor alone.
fn decompress_slowly(payload: &[u8], size: usize) -> Result<Vec<u8>, InflateError> {
    let mut exact = Exact::new();
    let mut history = History::new(32 * 1024, Vec::new());
    let mut out = Vec::new();
    let mut frames = payload.chunks(size).peekable();
    let mut filled = 0;
    while let Some(frame) = frames.next() {
        let fin = frames.peek().is_none();
        let mut budget = Budget::new(&Pool::new(), 0, filled);
        exact.write_frame(frame, fin, &mut history, &mut budget, &mut out)?;
        filled = budget.filled();
    }
    assert!(exact.is_between_blocks());
    Ok(out)
}

/// Has the slow decompressor write one frame that does not end its message.
fn write_slowly(frame: &[u8]) -> Result<Run, InflateError> {
    let mut history = History::new(32 * 1024, Vec::new());
    let mut budget = Budget::new(&Pool::new(), 0, 0);
    Exact::new().write_frame(frame, false, &mut history, &mut budget, &mut Vec::new())
}

#[test]
fn codes_that_no_compressor_writes_are_refused_where_zlib_refuses_them() {
    let too_many = "too many length or distance symbols";
    // Without any code for lengths, zlib reads a length of 0 for each bit.
    let mut no_lengths = Bits::dynamic(257, 1, 4);
    no_lengths.low_first(0, 4 * 3);
    no_lengths.bytes.extend([0; 258 / 8]);
    // Codes of one bit for the end of the block, for a match, and for the only distance.
    let mut one_distance = Bits::dynamic(258, 1, 18);
    for place in 0..18 {
        let (times_11_to_138, one) = (2, 17);
        let has_code = place == times_11_to_138 || place == one;
        one_distance.low_first(usize::from(has_code), 3);
    }
    for times in [138, 256 - 138] {
        one_distance.code(1, 1);
        one_distance.low_first(times - 11, 7);
    }
    one_distance.code(0, 3);
    one_distance.code(1, 1);
    one_distance.code(1, 1);

    for (bits, message) in [
        (Bits::dynamic(287, 1, 4), Some(too_many)),
        (Bits::dynamic(257, 31, 4), Some(too_many)),
        (Bits::dynamic(286, 30, 4), None),
        (no_lengths, Some("invalid code -- missing end-of-block")),
        (one_distance, Some("invalid distance code")),
    ] {
        let expected = message.map_or(Ok(Run::Done), |text| Err(InflateError::data(Some(text))));
        assert_eq!(write_slowly(&bits.bytes), expected, "{message:?}");
    }
}

#[test]
fn only_what_follows_the_final_block_ends_the_stream() {
    let mut last = Bits::default();
    last.low_first(3, 3);
    let last = last.end();
    assert_eq!(write_slowly(&last), Ok(Run::Done));
    assert_eq!(
        write_slowly(&[&last[..], &[1]].concat()),
        Ok(Run::StreamEnded)
    );
}

#[test]
fn the_slow_decompressor_understands_what_compressors_write() {
    for level in [0, 1, 3, 6, 9] {
        for strategy in 0..=4 {
            for text in [json(60_000, level as u32), noise(3000), vec![b'x'; 70_000]] {
                let options = DeflateOptions {
                    level,
                    strategy,
                    ..DeflateOptions::default()
                };
                let mut sender = Deflater::new(options, false, &Pool::new());
                let payload = deflate(&mut sender, &text, true);
                for size in [1, 7, 100_000] {
                    let result = decompress_slowly(&payload, size);
                    assert!(
                        result.unwrap() == text,
                        "level {level}, strategy {strategy}"
                    );
                }
            }
        }
    }
}

#[test]
fn both_decompressors_agree_on_corrupt_messages() {
    let mut state = 5_u32;
    let mut random = |below: usize| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as usize % below
    };
    for round in 0..2000 {
        let text = json(1 + random(3000), round);
        let mut payload = deflate(&mut deflater(true), &text, true);
        let at = random(payload.len());
        payload[at] ^= 1 << random(8);
        let fast = inflate(&mut inflater(false), &payload, true);
        let mut exact = Exact::new();
        let mut history = History::new(32 * 1024, Vec::new());
        let mut out = Vec::new();
        let mut budget = Budget::new(&Pool::new(), 0, 0);
        let run = exact.write_frame(&payload, true, &mut history, &mut budget, &mut out);
        assert_eq!(fast.is_ok(), run.is_ok(), "round {round}");
        match fast {
            Ok(text) => assert!(text == out, "round {round}"),
            Err(error) => assert_eq!(Some(error), run.err(), "round {round}"),
        }
    }
}
