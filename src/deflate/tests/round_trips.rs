//! Random messages, fragmentations, options and sleep: what arrives is what was sent.

use std::io::Read;

use proptest::prelude::*;

use super::{deflate, deflater, inflate, inflater, json};
use crate::deflate::{DeflateOptions, Deflater, InflateOptions, Inflater, Pool};

fn deflate_options() -> impl Strategy<Value = DeflateOptions> {
    // As often as not nothing is asked for, which is what the compressor is for that is not zlib's.
    let level = prop_oneof![Just(-1), -1..=9];
    let strategy = prop_oneof![3 => Just(0), 1 => 0..=4];
    (level, 1..=9, strategy, 8..=15_u8, dictionary()).prop_map(
        |(level, mem_level, strategy, window_bits, dictionary)| DeflateOptions {
            level,
            mem_level,
            strategy,
            dictionary,
            window_bits,
        },
    )
}

fn dictionary() -> impl Strategy<Value = Option<Vec<u8>>> {
    prop_oneof![
        4 => Just(None),
        1 => text().prop_map(Some),
    ]
}

/// Noise, text that repeats itself, and nothing.
fn text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(Vec::new()),
        prop::collection::vec(any::<u8>(), 0..300),
        (0..2000_usize, 0..4_u32).prop_map(|(length, seed)| json(length, seed)),
        (0..40_000_usize, 0..4_u32).prop_map(|(length, seed)| json(length, seed)),
        (0..40_000_usize, 0..4_u8).prop_map(|(length, byte)| vec![byte; length]),
    ]
}

/// A message in fragments, and whether each side sleeps after each fragment.
type Message = Vec<(Vec<u8>, bool, bool)>;

fn messages() -> impl Strategy<Value = Vec<Message>> {
    let fragment = (text(), any::<bool>(), any::<bool>());
    prop::collection::vec(prop::collection::vec(fragment, 1..4), 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn messages_arrive_as_they_were_sent(
        options in deflate_options(),
        no_context_takeover in any::<bool>(),
        messages in messages(),
    ) {
        let pool = Pool::new();
        let inflate_options = InflateOptions {
            window_bits: options.window_bits,
            dictionary: options.dictionary.clone(),
        };
        let mut sender = Deflater::new(options, no_context_takeover, &pool);
        let mut receiver = Inflater::new(inflate_options, no_context_takeover, &pool);
        for message in messages {
            let last = message.len() - 1;
            for (at, (text, sender_sleeps, receiver_sleeps)) in message.into_iter().enumerate() {
                let payload = deflate(&mut sender, &text, at == last);
                prop_assert!(inflate(&mut receiver, &payload, at == last).unwrap() == text);
                if sender_sleeps {
                    sender.sleep();
                }
                if receiver_sleeps {
                    receiver.sleep();
                }
            }
        }
    }

    #[test]
    fn a_message_may_be_split_everywhere(
        text in text(),
        splits in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let payload = deflate(&mut deflater(false), &text, true);
        let mut splits: Vec<_> = splits.iter().map(|at| at.index(payload.len() + 1)).collect();
        splits.sort_unstable();
        let mut receiver = inflater(false);
        let mut received = Vec::new();
        let mut start = 0;
        for at in splits {
            received.extend(inflate(&mut receiver, &payload[start..at], false).unwrap());
            start = at;
        }
        received.extend(inflate(&mut receiver, &payload[start..], true).unwrap());
        prop_assert!(received == text);
    }

    #[test]
    fn all_frames_together_are_one_deflate_stream(
        options in deflate_options(),
        messages in prop::collection::vec((text(), any::<bool>()), 1..6),
    ) {
        let options = DeflateOptions { dictionary: None, ..options };
        let mut sender = Deflater::new(options, false, &Pool::new());
        let mut stream = Vec::new();
        let mut sent = Vec::new();
        for (text, sleeps) in messages {
            sender.deflate(&text, true, &mut stream).unwrap();
            stream.extend_from_slice(&[0, 0, 0xff, 0xff]);
            sent.extend(text);
            if sleeps {
                sender.sleep();
            }
        }
        // A final empty block ends the stream for the other decoder.
        stream.extend_from_slice(&[1, 0, 0, 0xff, 0xff]);
        let mut received = Vec::new();
        flate2::read::DeflateDecoder::new(&stream[..]).read_to_end(&mut received).unwrap();
        prop_assert!(received == sent);
    }

    #[test]
    fn the_output_of_another_compressor_is_understood(
        level in 0..=9_u32,
        messages in prop::collection::vec((text(), any::<bool>()), 1..6),
    ) {
        let mut other = flate2::Compress::new(flate2::Compression::new(level), false);
        let mut receiver = inflater(false);
        for (text, sleeps) in messages {
            let mut payload = Vec::with_capacity(text.len() + text.len() / 2 + 100);
            other.compress_vec(&text, &mut payload, flate2::FlushCompress::Sync).unwrap();
            if payload.is_empty() {
                // zlib says nothing to a second flush in a row.
                continue;
            }
            payload.truncate(payload.len() - 4);
            prop_assert!(inflate(&mut receiver, &payload, true).unwrap() == text);
            if sleeps {
                receiver.sleep();
            }
        }
    }

    #[test]
    fn corruption_is_survived(
        texts in prop::collection::vec(text(), 1..4),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
        limit in 0..100_000_u64,
        window_bits in 8..=15_u8,
        sleeps in any::<bool>(),
    ) {
        let mut sender = deflater(false);
        let options = InflateOptions { window_bits, ..InflateOptions::default() };
        let mut receiver = Inflater::new(options, false, &Pool::new());
        let mut out = Vec::new();
        for text in texts {
            let mut payload = deflate(&mut sender, &text, true);
            for (at, byte) in &flips {
                let at = at.index(payload.len());
                payload[at] = *byte;
            }
            out.clear();
            let result = receiver.inflate(&payload, true, limit, &mut out);
            prop_assert!(result.is_ok() || out.is_empty());
            prop_assert!(limit == 0 || out.len() as u64 <= limit);
            if sleeps {
                receiver.sleep();
            }
        }
    }

    #[test]
    fn noise_is_survived(
        frames in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..200), any::<bool>()), 1..8),
        sleeps in any::<bool>(),
    ) {
        let mut receiver = inflater(false);
        for (payload, fin) in frames {
            let mut out = Vec::new();
            let _ = receiver.inflate(&payload, fin, 1 << 20, &mut out);
            if sleeps {
                receiver.sleep();
            }
        }
    }
}

#[test]
fn a_short_run_at_the_start_of_a_stream_is_as_long_as_from_zlib() {
    for no_context_takeover in [false, true] {
        for byte in [0, 1, 128, 143, 144, 200, 255] {
            for length in 1..=20 {
                let mut sender = deflater(no_context_takeover);
                let mut receiver = inflater(no_context_takeover);
                let run = vec![byte; length];
                for fin in [false, true, true] {
                    let payload = deflate(&mut sender, &run, fin);
                    assert_eq!(inflate(&mut receiver, &payload, fin).unwrap(), run);
                }
                // What follows refers to what lies behind the run.
                for n in 0..3 {
                    let text = [&run[..], &json(300, n), &run].concat();
                    let payload = deflate(&mut sender, &text, true);
                    assert!(inflate(&mut receiver, &payload, true).unwrap() == text);
                }
            }
        }
    }
    let lengths_of = |byte: u8| {
        let length = |count| deflate(&mut deflater(false), &vec![byte; count], true).len();
        (1..=13).map(length).collect::<Vec<_>>()
    };
    // As zlib has them, of any level from 1 on.
    for byte in [0, 128] {
        assert_eq!(lengths_of(byte), [3, 4, 5, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6]);
    }
    assert_eq!(lengths_of(200), [3, 4, 5, 7, 8, 6, 6, 6, 6, 6, 6, 6, 6]);
}
