//! Our own encoder: what it writes is deflate, whatever the text, the window and the past of its state.

use proptest::prelude::*;

use super::{deflate, inflate, json};
use crate::deflate::encoder::lengths_of;
use crate::deflate::{DeflateOptions, Deflater, InflateOptions, Inflater, Pool};

/// Both ends of a connection, with the same window.
fn pair(window_bits: u8, no_context_takeover: bool, pool: &Pool) -> (Deflater, Inflater) {
    let options = DeflateOptions {
        window_bits,
        ..DeflateOptions::default()
    };
    let sender = Deflater::new(options, no_context_takeover, pool);
    let options = InflateOptions {
        window_bits,
        ..InflateOptions::default()
    };
    let receiver = Inflater::new(options, no_context_takeover, pool);
    (sender, receiver)
}

/// Text of several kinds, from hardly to very compressible.
fn text(kind: u8, length: usize, seed: u32) -> Vec<u8> {
    let mut state = seed | 1;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state
    };
    match kind {
        0 => (0..length).map(|_| random() as u8).collect(),
        1 => (0..length).map(|_| b'a' + (random() & 3) as u8).collect(),
        2 => vec![random() as u8; length],
        3 => {
            let period = 1 + (random() % 300) as usize;
            let piece: Vec<u8> = (0..period).map(|_| random() as u8).collect();
            piece.into_iter().cycle().take(length).collect()
        }
        // Bytes whose counts grow like Fibonacci's numbers have the longest words.
        4 => (0..length)
            .map(|_| random().leading_zeros() as u8 * 7)
            .collect(),
        _ => json(length, seed),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn contexts_of_every_window_arrive(
        window_bits in 8_u8..=15,
        no_context_takeover: bool,
        messages in prop::collection::vec((0_u8..6, 0_usize..40_000, 0_u32..4, any::<bool>()), 1..24),
    ) {
        let (mut sender, mut receiver) = pair(window_bits, no_context_takeover, &Pool::new());
        for (kind, length, seed, sleeps) in messages {
            let text = text(kind, length, seed);
            let payload = deflate(&mut sender, &text, true);
            prop_assert!(payload.len() <= text.len() + 16 + text.len() / 1000);
            prop_assert_eq!(inflate(&mut receiver, &payload, true).unwrap(), text);
            if sleeps {
                sender.sleep();
            }
        }
    }

    #[test]
    fn words_fit_their_limit_and_leave_no_gap(
        counts in prop::collection::vec(0_u32..16_384, 30),
        steep: bool,
        limit in prop::sample::select(vec![7_u32, 15]),
    ) {
        let mut all = [0; 30];
        let mut fibonacci = (1, 1);
        for (slot, count) in all.iter_mut().zip(counts) {
            *slot = if steep { fibonacci.0 } else { count };
            fibonacci = (fibonacci.1, (fibonacci.0 + fibonacci.1).min(16_384));
        }
        let lengths = lengths_of(&all, limit as usize);
        let mut taken = 0;
        for (length, count) in lengths.iter().zip(all) {
            let length = u32::from(*length);
            prop_assert!(length <= limit && (count == 0 || length > 0));
            if length > 0 {
                taken += 1 << (limit - length);
            }
        }
        prop_assert_eq!(taken, 1 << limit);
    }
}

#[test]
fn the_ring_may_wrap_anywhere() {
    for step in [1, 3, 1000, 16_383, 16_384, 16_385] {
        let (mut sender, mut receiver) = pair(15, false, &Pool::new());
        let mut sent = 0;
        // What is ahead of the end of the ring differs by one byte each time.
        for number in 0.. {
            let length = if number % 2 == 0 {
                16_384 - step / 2
            } else {
                step
            };
            let text = json(length, number % 5);
            let payload = deflate(&mut sender, &text, true);
            assert_eq!(inflate(&mut receiver, &payload, true).unwrap(), text);
            sent += length;
            if sent > 400_000 {
                break;
            }
        }
    }
}

#[test]
fn a_match_may_reach_back_as_far_as_the_window_and_no_further() {
    let (mut sender, mut receiver) = pair(15, false, &Pool::new());
    let start = text(0, 64, 1);
    for (between, is_found) in [(32_768 - 64, true), (32_768 - 63, false)] {
        let first = [&start[..], &text(0, between, 3)].concat();
        let payload = deflate(&mut sender, &first, true);
        assert_eq!(inflate(&mut receiver, &payload, true).unwrap(), first);
        let payload = deflate(&mut sender, &start, true);
        assert_eq!(payload.len() < 12, is_found, "{between}: {}", payload.len());
        assert_eq!(inflate(&mut receiver, &payload, true).unwrap(), start);
    }
}

#[test]
fn nobody_is_referred_to_the_text_of_others() {
    let pool = Pool::new();
    for no_context_takeover in [false, true] {
        let mut pairs: Vec<_> = (0..12)
            .map(|_| pair(15, no_context_takeover, &pool))
            .collect();
        for number in 0..600_u32 {
            let (sender, receiver) = &mut pairs[number as usize * 7 % 12];
            let text = json(300 + number as usize * 13 % 2000, number % 3);
            // The same text went over other connections just before, through the same states.
            let payload = deflate(sender, &text, true);
            assert_eq!(inflate(receiver, &payload, true).unwrap(), text);
            sender.sleep();
        }
    }
}

#[test]
fn a_dictionary_counts_once() {
    for no_context_takeover in [false, true] {
        let dictionary = json(3000, 9);
        let (_, mut receiver) = pair(15, no_context_takeover, &Pool::new());
        let options = DeflateOptions {
            dictionary: Some(dictionary.clone()),
            ..DeflateOptions::default()
        };
        let mut sender = Deflater::new(options, no_context_takeover, &Pool::new());
        let options = InflateOptions {
            dictionary: Some(dictionary.clone()),
            ..InflateOptions::default()
        };
        let mut informed = Inflater::new(options, no_context_takeover, &Pool::new());
        let first = deflate(&mut sender, &dictionary, true);
        assert!(first.len() < 60, "{}", first.len());
        assert!(inflate(&mut receiver, &first, true).is_err());
        assert_eq!(inflate(&mut informed, &first, true).unwrap(), dictionary);
        for seed in 0..20 {
            sender.sleep();
            let text = json(2000, seed);
            let payload = deflate(&mut sender, &text, true);
            assert_eq!(inflate(&mut informed, &payload, true).unwrap(), text);
        }
    }
}

#[test]
fn it_compresses_nearly_as_well_as_zlib() {
    let size = |level| -> usize {
        let options = DeflateOptions {
            level,
            ..DeflateOptions::default()
        };
        let mut sender = Deflater::new(options, false, &Pool::new());
        (0..50)
            .map(|seed| deflate(&mut sender, &json(1000, seed), true).len())
            .sum()
    };
    let (own, zlib) = (size(-1), size(6));
    assert!(own * 100 <= zlib * 115, "{own} against {zlib}");
}
