//! The compressor that works where nobody asks for another level.

use proptest::prelude::*;

use super::{deflate, deflater, inflate, inflater, json, noise};
use crate::deflate::compressor::Codes;
use crate::deflate::{DeflateOptions, Deflater, InflateOptions, Inflater, Pool};

/// The bits of the best code there is, however long its codes: the sum of all nodes above leaves.
fn fewest_bits(counts: &[u16]) -> u32 {
    let mut nodes: Vec<u32> = counts
        .iter()
        .filter(|n| **n > 0)
        .map(|n| u32::from(*n))
        .collect();
    let mut bits = 0;
    while nodes.len() > 1 {
        nodes.sort_unstable_by(|a, b| b.cmp(a));
        let sum = nodes.pop().unwrap() + nodes.pop().unwrap();
        bits += sum;
        nodes.push(sum);
    }
    bits
}

/// How much of the room for codes these lengths take, in units of the longest code.
fn taken(lengths: &[u8], longest: u8) -> u32 {
    let codes = lengths.iter().filter(|length| **length > 0);
    codes.map(|length| 1 << (longest - length)).sum()
}

proptest! {
    #[test]
    fn codes_are_complete_and_as_short_as_can_be(
        counts in prop::collection::vec((0..12_u16, any::<u16>()), 40),
    ) {
        let counts: Vec<u16> = counts.iter().map(|(bits, n)| n % (1 << bits)).collect();
        let counts: [u16; 40] = counts.try_into().unwrap();
        let codes = Codes::for_counts(&counts, 15);
        let lengths = codes.lengths(40);
        prop_assert_eq!(taken(lengths, 15), 1 << 15);
        for (count, length) in counts.iter().zip(lengths) {
            prop_assert!(*count == 0 || *length > 0);
        }
        if counts.iter().filter(|count| **count > 0).count() > 1 {
            let bits: u32 = counts.iter().zip(lengths).map(|(n, l)| u32::from(*n) * u32::from(*l)).sum();
            // With a code that would have more than 15 bits it may be somewhat more.
            let fewest = fewest_bits(&counts);
            prop_assert!(bits >= fewest && bits <= fewest + fewest / 10, "{} {}", bits, fewest);
        }
    }
}

#[test]
fn codes_are_no_longer_than_they_may_be() {
    // Counts for which each code would be one longer than the one before.
    let mut counts = [1_u16; 19];
    for n in 2..19 {
        counts[n] = counts[n - 1] + counts[n - 2];
    }
    for longest in [5, 7, 15] {
        let codes = Codes::for_counts(&counts, longest);
        let lengths = codes.lengths(19);
        let longest = u8::try_from(longest).unwrap();
        assert_eq!(lengths.iter().max(), Some(&longest));
        assert_eq!(taken(lengths, longest), 1 << longest);
        assert!(lengths.is_sorted_by(|rarer, more_often| rarer >= more_often));
    }
}

#[test]
fn there_are_two_codes_even_for_fewer_symbols() {
    for counts in [[0, 0, 0], [5, 0, 0], [0, 0, 5]] {
        let codes = Codes::for_counts(&counts, 15);
        let lengths = codes.lengths(3);
        assert_eq!(taken(lengths, 15), 1 << 15);
        for (count, length) in counts.iter().zip(lengths) {
            assert!(*count == 0 || *length == 1);
        }
    }
}

#[test]
fn what_cannot_be_compressed_is_stored_in_blocks_as_large_as_zlib_s() {
    for (mem_level, tokens) in [(1, 127), (5, 2047), (8, 16383), (9, 16383), (0, 16383)] {
        for window_bits in [9, 15] {
            for length in [1, 10, 127, 128, 1000, 16383, 16384, 100_000] {
                let options = DeflateOptions {
                    mem_level,
                    window_bits,
                    ..DeflateOptions::default()
                };
                let text = noise(length);
                let mut sender = Deflater::new(options, true, &Pool::new());
                let payload = deflate(&mut sender, &text, true);
                assert_eq!(inflate(&mut inflater(true), &payload, true).unwrap(), text);
                // Five bytes for each of them, and one for the empty one behind.
                let most = length + 5 * length.div_ceil(tokens) + 1;
                assert!(
                    payload.len() <= most,
                    "{mem_level} {window_bits} {length}: {} {most}",
                    payload.len()
                );
            }
        }
    }
}

#[test]
fn texts_become_as_small_as_with_a_quick_level_of_zlib() {
    for length in [20, 100, 300, 1000, 5000, 50_000] {
        let [own, quick] = [-1, 2].map(|level| {
            let options = DeflateOptions {
                level,
                ..DeflateOptions::default()
            };
            let mut sender = Deflater::new(options, false, &Pool::new());
            let first = deflate(&mut sender, &json(length, 7), true).len();
            (first, deflate(&mut sender, &json(length, 8), true).len())
        });
        assert!(own.0 <= quick.0 && own.1 <= quick.1, "{own:?}, {quick:?}");
    }
}

#[test]
fn text_after_much_noise_is_compressed_again() {
    let text = [noise(8000), json(8000, 7)].concat();
    let payload = deflate(&mut deflater(true), &text, true);
    assert_eq!(inflate(&mut inflater(true), &payload, true).unwrap(), text);
    let options = DeflateOptions {
        level: 2,
        mem_level: 8,
        ..DeflateOptions::default()
    };
    let mut quick = Deflater::new(options, true, &Pool::new());
    let other = deflate(&mut quick, &text, true).len();
    assert!(payload.len() < other + 100, "{} {other}", payload.len());
}

#[test]
fn a_match_goes_as_far_back_as_the_window_and_no_further() {
    for window_bits in 8..=15 {
        let window = 1 << window_bits;
        for (distance, is_found) in [(window - 8, true), (window, true), (window + 1, false)] {
            let options = DeflateOptions {
                window_bits,
                ..DeflateOptions::default()
            };
            let mut sender = Deflater::new(options, false, &Pool::new());
            let options = InflateOptions {
                window_bits,
                ..InflateOptions::default()
            };
            let mut receiver = Inflater::new(options, false, &Pool::new());
            let text = noise(distance);
            let first = deflate(&mut sender, &text, true);
            assert_eq!(inflate(&mut receiver, &first, true).unwrap(), text);
            let again = &text[..distance.min(100)];
            let second = deflate(&mut sender, again, true);
            assert_eq!(inflate(&mut receiver, &second, true).unwrap(), again);
            assert_eq!(
                second.len() < 30,
                is_found,
                "{window_bits} {distance}: {}",
                second.len()
            );
        }
    }
}

#[test]
fn what_was_said_last_is_found_however_much_was_said_before() {
    let mut sender = deflater(false);
    let mut receiver = inflater(false);
    let all = noise(200_000);
    for text in all.chunks(700) {
        let first = deflate(&mut sender, text, true);
        assert_eq!(inflate(&mut receiver, &first, true).unwrap(), text);
        let again = deflate(&mut sender, text, true);
        assert_eq!(inflate(&mut receiver, &again, true).unwrap(), text);
        assert!(again.len() < 20, "{}", again.len());
    }
}

#[test]
fn nothing_is_left_of_a_message_that_was_given_up() {
    let pool = Pool::new();
    let mut sender = Deflater::new(DeflateOptions::default(), true, &pool);
    pool.close();
    let mut out = vec![1, 2, 3];
    let long = vec![b'a'; 100_000];
    sender.deflate(&long, true, &mut out).unwrap_err();
    assert_eq!(out, [1, 2, 3]);
    let payload = deflate(&mut sender, b"short", true);
    assert_eq!(
        inflate(&mut inflater(true), &payload, true).unwrap(),
        b"short"
    );
}

#[test]
fn noise_that_was_said_before_is_recognised_wherever_it_lies() {
    let known = noise(12_000);
    for shift in 0..20 {
        let mut sender = deflater(false);
        deflate(&mut sender, &known, true);
        let text = [&noise(20_000)[20_000 - 3000 - shift..], &known].concat();
        let payload = deflate(&mut sender, &text, true);
        assert!(payload.len() < 3500, "{shift}: {}", payload.len());
    }
}
