//! Streams on the edge of the format, with what ws makes of them over Node's zlib.
//!
//! The expectations were recorded from ws's `PerMessageDeflate` on Node 20.

use super::{deflate, deflater, inflate, inflater, noise};
use crate::deflate::{DeflateOptions, Deflater, InflateError, InflateOptions, Inflater, Pool};

/// "Hello", then "Hello" again as a reference to the first one (RFC 7692, 7.2.3.2).
const HELLO: &str = "f248cdc9c90700";
const HELLO_AGAIN: &str = "f200110000";

const FAR: Result<&str, &str> = Err("invalid distance too far back");
const LENGTHS: Result<&str, &str> = Err("invalid stored block lengths");

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

type Frame<'a> = (&'a str, bool, Result<&'a str, &'a str>);

/// A decompressor with a negotiated window and its own pool.
fn inflater_with_window(window_bits: u8) -> Inflater {
    let options = InflateOptions {
        window_bits,
        ..InflateOptions::default()
    };
    Inflater::new(options, false, &Pool::new())
}

/// Feeds the frames (payload, fin) and compares what each of them gives.
fn check(inflater: &mut Inflater, frames: &[Frame<'_>]) {
    for (at, (payload, fin, expected)) in frames.iter().enumerate() {
        let result = inflate(inflater, &bytes(payload), *fin);
        let result = match &result {
            Ok(text) => Ok(std::str::from_utf8(text).unwrap()),
            Err(InflateError::Corrupt {
                message,
                code: "Z_DATA_ERROR",
                errno: -3,
            }) => Err(*message),
            Err(other) => panic!("unexpected {other:?}"),
        };
        assert_eq!(result, *expected, "frame {at} of {frames:?}");
    }
}

#[test]
fn a_message_refers_to_earlier_ones_with_takeover_only() {
    check(
        &mut inflater(false),
        &[(HELLO, true, Ok("Hello")), (HELLO_AGAIN, true, Ok("Hello"))],
    );
    check(
        &mut inflater(true),
        &[
            (HELLO, true, Ok("Hello")),
            (HELLO_AGAIN, true, FAR),
            (HELLO, true, Ok("Hello")),
        ],
    );
}

#[test]
fn the_examples_of_the_rfc_are_understood() {
    let mut inflater = inflater(false);
    check(
        &mut inflater,
        &[("000500faff48656c6c6f00", true, Ok("Hello"))],
    );
    check(
        &mut inflater,
        &[("f24805000000ffffcac9c90700", true, Ok("Hello"))],
    );
    check(
        &mut inflater,
        &[("f248", false, Ok("H")), ("cdc9c90700", true, Ok("ello"))],
    );
}

#[test]
fn a_final_block_ends_the_context() {
    for payload in [
        "f348cdc9c9070000",
        "f348cdc9c90700",
        "f348cdc9c90700deadbeef",
    ] {
        check(
            &mut inflater(false),
            &[
                (payload, true, Ok("Hello")),
                (HELLO_AGAIN, true, FAR),
                (HELLO, true, Ok("Hello")),
            ],
        );
    }
}

#[test]
fn a_final_block_within_a_message_ends_the_context_with_the_next_byte() {
    let exact = ("f348cdc9c90700", false, Ok("Hello"));
    check(
        &mut inflater(false),
        &[exact, (HELLO, true, Ok("")), (HELLO, true, Ok("Hello"))],
    );
    check(
        &mut inflater(false),
        &[exact, ("", true, Ok("")), (HELLO, true, Ok("Hello"))],
    );
    check(
        &mut inflater(false),
        &[
            exact,
            ("", false, Ok("")),
            (HELLO, true, Ok("")),
            (HELLO, true, Ok("Hello")),
        ],
    );
    check(
        &mut inflater(false),
        &[
            ("f348cdc9c9070000", false, Ok("Hello")),
            (HELLO, false, Ok("Hello")),
            (HELLO_AGAIN, true, LENGTHS),
            (HELLO_AGAIN, true, FAR),
        ],
    );
}

#[test]
fn empty_frames_and_messages_give_nothing() {
    check(
        &mut inflater(false),
        &[
            ("", false, Ok("")),
            ("", false, Ok("")),
            (HELLO, false, Ok("Hello")),
            ("", false, Ok("")),
            ("", true, Ok("")),
            ("00", true, Ok("")),
            (HELLO_AGAIN, true, Ok("Hello")),
        ],
    );
}

#[test]
fn a_message_cut_off_within_a_block_spoils_the_next_one() {
    for asleep in [false, true] {
        for (payload, text) in [("f248cdc9", "Helh"), ("", "")] {
            let mut inflater = inflater(false);
            check(&mut inflater, &[(payload, true, Ok(text))]);
            if asleep {
                inflater.sleep();
            }
            check(
                &mut inflater,
                &[(HELLO, true, LENGTHS), (HELLO, true, Ok("Hello"))],
            );
        }
    }
}

#[test]
fn a_block_that_a_message_leaves_open_goes_on_in_the_next_message() {
    // Both leave a stored block's header one byte short, the second one without text and after an ended block.
    for open in ["", "02"] {
        for window_bits in [10, 15] {
            let mut inflater = inflater_with_window(window_bits);
            check(
                &mut inflater,
                &[(HELLO, true, Ok("Hello")), (open, true, Ok(""))],
            );
            if open.is_empty() || window_bits < 15 {
                inflater.sleep();
            }
            // The byte that was missing, then text, and then the tail counts as text.
            for payload in ["0048656c6c6f", "48656c6c6f"] {
                let text = inflate(&mut inflater, &bytes(payload), true);
                assert_eq!(text.unwrap(), b"Hello\x00\x00\xff\xff");
            }
        }
    }
}

#[test]
fn a_block_that_the_first_message_leaves_open_stays_open_while_the_connection_sleeps() {
    // With the flush marker that it should go without, a message ends in a block that only the next one completes.
    let whole = bytes(&(HELLO.to_owned() + "0000ffff"));
    for cut in 0..=whole.len() {
        for window_bits in [10, 15] {
            let [mut awake, mut asleep] = [(); 2].map(|()| inflater_with_window(window_bits));
            for inflater in [&mut awake, &mut asleep] {
                inflate(inflater, &whole[..cut], false).unwrap();
                inflate(inflater, &whole[cut..], true).unwrap();
            }
            asleep.sleep();
            for payload in ["", HELLO, HELLO_AGAIN, HELLO] {
                let next = inflate(&mut awake, &bytes(payload), true);
                assert_eq!(inflate(&mut asleep, &bytes(payload), true), next);
            }
        }
    }
}

#[test]
fn a_block_that_a_fragmented_message_leaves_open_goes_on_in_the_next_message() {
    for window_bits in [10, 15] {
        let mut inflater = inflater_with_window(window_bits);
        let again = HELLO_AGAIN.to_owned() + "0000ffff";
        check(
            &mut inflater,
            &[
                (HELLO, true, Ok("Hello")),
                (&again, false, Ok("Hello")),
                (&again, false, Ok("Hello")),
                ("02", true, Ok("")),
            ],
        );
        let text = inflate(&mut inflater, &bytes("0048656c6c6f"), true);
        assert_eq!(text.unwrap(), b"Hello\x00\x00\xff\xff");
    }
}

#[test]
fn malformed_streams_are_refused_with_the_texts_of_node() {
    for (payload, message) in [
        ("07", "invalid block type"),
        ("06", "invalid block type"),
        ("0000000000", "invalid stored block lengths"),
        ("fc0000", "too many length or distance symbols"),
        ("0400feff", "invalid code lengths set"),
        ("0400244900", "invalid bit length repeat"),
        ("040024e9ffff", "invalid bit length repeat"),
        ("040024e9ff6d", "invalid code -- missing end-of-block"),
        (
            "048049922449922471ffff931100",
            "invalid literal/lengths set",
        ),
        ("04804992244992240fb4ffffc384", "invalid distances set"),
        (
            "04c0810800000000207feb0b0000",
            "invalid literal/length code",
        ),
        ("027effff", "invalid distance code"),
        (
            "0cc081000000000090ff6b0400",
            "invalid distance too far back",
        ),
    ] {
        // With more input behind the error zlib takes another path to it.
        let longer = payload.to_owned() + &"00".repeat(20);
        for payload in [payload, &longer] {
            for fin in [true, false] {
                check(
                    &mut inflater(false),
                    &[(payload, fin, Err(message)), (HELLO, true, Ok("Hello"))],
                );
                let empty_block = ("000000ffff", false, Ok(""));
                check(
                    &mut inflater_with_window(10),
                    &[empty_block, (payload, fin, Err(message))],
                );
            }
        }
    }
}

#[test]
fn references_beyond_the_negotiated_window_are_refused() {
    // zlib has to refer to the first message for a repetition of its start.
    let noise = noise(600);
    for (distance, window_bits, is_within) in [
        (256, 8, true),
        (258, 8, false),
        (512, 9, true),
        (514, 9, false),
        (514, 10, true),
        (600, 15, true),
    ] {
        let text = &noise[..distance];
        let mut sender = deflater(false);
        let mut receiver = inflater_with_window(window_bits);
        let first = deflate(&mut sender, text, true);
        assert_eq!(inflate(&mut receiver, &first, true).unwrap(), text);
        let second = deflate(&mut sender, &text[..40], true);
        assert!(second.len() < 20);
        let result = inflate(&mut receiver, &second, true);
        assert_eq!(result.is_ok(), is_within, "distance {distance}");
    }
}

#[test]
fn with_a_level_frames_are_compressed_to_what_ws_sends() {
    let options = DeflateOptions {
        level: 6,
        ..DeflateOptions::default()
    };
    let mut deflater = Deflater::new(options, false, &Pool::new());
    for (text, fin, expected) in [
        ("", true, "00"),
        ("", true, "00"),
        ("", false, "000000ffff"),
        ("", true, "00"),
        ("Hello", false, "f248cdc9c907000000ffff"),
        ("Hello", true, "f200110000"),
        ("", true, "00"),
    ] {
        assert_eq!(hex(&deflate(&mut deflater, text.as_bytes(), fin)), expected);
    }
}

#[test]
fn no_level_makes_noise_much_longer_than_it_is() {
    let noise = noise(2000);
    for level in -1..=9 {
        for no_context_takeover in [false, true] {
            let options = DeflateOptions {
                level,
                ..DeflateOptions::default()
            };
            let mut sender = Deflater::new(options, no_context_takeover, &Pool::new());
            let payload = deflate(&mut sender, &noise, true);
            assert!(payload.len() <= noise.len() + 6, "level {level}");
        }
    }
}

#[test]
fn the_flush_marker_is_not_repeated() {
    // Seven bits of eight: it shrinks a little, but only by zlib's codes.
    let text: Vec<u8> = noise(2000).iter().map(|byte| byte & 0x7f).collect();
    let mut sender = deflater(true);
    for length in 1..text.len() {
        let payload = deflate(&mut sender, &text[..length], true);
        assert!(!payload.ends_with(b"\x00\x00\xff\xff\x00"), "{length}");
    }
}

#[test]
fn options_out_of_range_are_brought_into_it() {
    for n in [i32::MIN, -2, 0, 10, i32::MAX] {
        for window_bits in [0, 7, 8, 16, 255] {
            let options = DeflateOptions {
                level: n,
                mem_level: n,
                strategy: n,
                window_bits,
                dictionary: None,
            };
            let mut sender = Deflater::new(options, false, &Pool::new());
            let options = InflateOptions {
                window_bits,
                dictionary: None,
            };
            let mut receiver = Inflater::new(options, false, &Pool::new());
            for _ in 0..2 {
                let payload = deflate(&mut sender, b"Hello", true);
                assert_eq!(inflate(&mut receiver, &payload, true).unwrap(), b"Hello");
            }
        }
    }
}
