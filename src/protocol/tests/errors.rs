//! Every violation is reported as ws reports it, at the byte at which ws reports it.

use super::*;
use ProtocolError as E;

/// Feeds `input` bytewise and requires the error at its last byte, and the same one if it comes at once.
fn fails_at_end(config: Config, input: &[u8], error: ProtocolError) {
    let bytewise = Recorder::new(config).feed_bytewise(input);
    assert_eq!(bytewise, Err((input.len(), error)), "{input:02x?}");
    assert_eq!(
        Recorder::new(config).feed(input),
        Err(error),
        "{input:02x?}"
    );

    let mut longer = input.to_vec();
    longer.extend_from_slice(&[0; 20]);
    assert_eq!(
        Recorder::new(config).feed(&longer),
        Err(error),
        "{input:02x?}"
    );
}

#[test]
fn a_bad_head_fails_at_its_second_byte() {
    let server = config(Role::Server);
    let client = config(Role::Client);
    let plain = Config {
        deflate: false,
        ..server
    };

    for (first, second, error) in [
        (0xa2, 0x80, E::UnexpectedRsv2Or3),
        (0x92, 0x80, E::UnexpectedRsv2Or3),
        (0xc0, 0x80, E::UnexpectedRsv1),
        (0x80, 0x80, E::InvalidOpcode(0)),
        (0x83, 0x80, E::InvalidOpcode(3)),
        (0x87, 0x80, E::InvalidOpcode(7)),
        (0x8b, 0x80, E::InvalidOpcode(11)),
        (0x8f, 0x80, E::InvalidOpcode(15)),
        (0x08, 0x80, E::ExpectedFin),
        (0x09, 0x80, E::ExpectedFin),
        (0xc9, 0x80, E::UnexpectedRsv1),
        (0x88, 0x81, E::InvalidControlPayloadLength(1)),
        (0x89, 0xfe, E::InvalidControlPayloadLength(126)),
        (0x8a, 0xff, E::InvalidControlPayloadLength(127)),
        (0x82, 0x00, E::ExpectedMask),
        (0x89, 0x00, E::ExpectedMask),
    ] {
        fails_at_end(server, &[first, second], error);
    }
    fails_at_end(plain, &[0xc1, 0x80], E::UnexpectedRsv1);
    fails_at_end(client, &[0x82, 0x80], E::UnexpectedMask);
    fails_at_end(client, &[0x8a, 0x85], E::UnexpectedMask);
}

#[test]
fn of_several_faults_in_a_head_the_first_in_order_is_reported() {
    let server = config(Role::Server);
    let plain = Config {
        deflate: false,
        ..server
    };

    // Each head has every fault that comes later in the order, too.
    for (first, second, error) in [
        (0x7b, 0x7f, E::UnexpectedRsv2Or3),
        (0x4b, 0x7f, E::UnexpectedRsv1),
        (0x0b, 0x7f, E::InvalidOpcode(11)),
        (0x08, 0x7f, E::ExpectedFin),
        (0x88, 0x7f, E::InvalidControlPayloadLength(127)),
        (0x88, 0x02, E::ExpectedMask),
    ] {
        fails_at_end(plain, &[first, second], error);
    }
    fails_at_end(server, &[0x48, 0x7f], E::ExpectedFin);
    fails_at_end(server, &[0xc8, 0x7f], E::UnexpectedRsv1);
    // A continuation that cannot be compressed is that before it is out of sequence.
    fails_at_end(server, &[0x40, 0x7f], E::UnexpectedRsv1);
    fails_at_end(server, &[0x00, 0x7f], E::InvalidOpcode(0));
}

#[test]
fn a_fragmented_message_is_continued_by_continuation_frames_only() {
    let start = sent(1, b"a").unfinished().to(Role::Client);
    for (first, error) in [
        (0x81, E::InvalidOpcode(1)),
        (0x02, E::InvalidOpcode(2)),
        (0xc1, E::InvalidOpcode(1)),
        (0x83, E::InvalidOpcode(3)),
        (0x40, E::UnexpectedRsv1),
        (0xc0, E::UnexpectedRsv1),
    ] {
        let input = [start.as_slice(), &[first, 0]].concat();
        fails_at_end(config(Role::Client), &input, error);
    }
}

#[test]
fn a_length_beyond_2_pow_53_fails_at_the_last_byte_of_the_length() {
    for (role, second) in [(Role::Server, 0xff), (Role::Client, 0x7f)] {
        for length in [1 << 53, 1 << 63, u64::MAX] {
            let mut input = vec![0x82, second];
            input.extend_from_slice(&u64::to_be_bytes(length));
            fails_at_end(config(role), &input, E::UnsupportedDataPayloadLength);

            // It is no matter of the limit.
            let mut limited = config(role);
            limited.limits.max_payload = 10;
            fails_at_end(limited, &input, E::UnsupportedDataPayloadLength);
        }
    }
}

#[test]
fn huge_lengths_are_waited_for_when_there_is_no_limit() {
    for (role, second) in [(Role::Server, 0xff), (Role::Client, 0x7f)] {
        for length in [1 << 31, 1 << 32, (1 << 53) - 1] {
            let mut input = vec![0x82, second];
            input.extend_from_slice(&u64::to_be_bytes(length));
            if role == Role::Server {
                input.extend_from_slice(&[1, 2, 3, 4]);
            }
            let mut recorder = Recorder::new(config(role));
            assert_eq!(recorder.feed(&input), Ok(()));
            assert_eq!(recorder.decoder.payload_length(), length);
            assert_eq!(recorder.decoder.payload_remaining(), length);
        }
    }
}

#[test]
fn a_huge_frame_counts_with_the_frames_before_it() {
    let mut limited = config(Role::Client);
    limited.limits.max_payload = (1 << 53) - 1;
    let mut input = sent(2, b"x").unfinished().to(Role::Client);
    input.extend_from_slice(&[0x80, 0x7f]);
    input.extend_from_slice(&u64::to_be_bytes((1 << 53) - 1));
    fails_at_end(limited, &input, E::MaxPayloadExceeded);
}

#[test]
fn a_close_frame_is_judged_when_it_is_complete() {
    for role in [Role::Server, Role::Client] {
        for code in [0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 65535] {
            let input = sent(8, &u16::to_be_bytes(code)).to(role);
            fails_at_end(config(role), &input, E::InvalidCloseCode(code));
        }
        // The code comes before the reason.
        let input = sent(8, &[0x03, 0xed, 0xff]).to(role);
        fails_at_end(config(role), &input, E::InvalidCloseCode(1005));
        let input = sent(8, &[0x03, 0xe8, b'a', 0xff]).to(role);
        fails_at_end(config(role), &input, E::InvalidUtf8);
    }
}

#[test]
fn every_code_that_may_be_sent_is_accepted() {
    for code in (1000..=1003).chain(1007..=1014).chain(3000..=4999) {
        let mut recorder = Recorder::new(config(Role::Client));
        let input = sent(8, &u16::to_be_bytes(code)).to(Role::Client);
        assert_eq!(recorder.feed(&input), Ok(()));
        assert_eq!(recorder.seen, [Seen::Close(Some(code), Vec::new())]);
    }
}

#[test]
fn invalid_text_fails_when_the_message_is_complete() {
    for role in [Role::Server, Role::Client] {
        for text in [
            &b"\xff"[..],
            b"ab\xc3",
            b"\xed\xa0\x80",
            b"\xf4\x90\x80\x80",
        ] {
            fails_at_end(config(role), &sent(1, text).to(role), E::InvalidUtf8);

            let input = [
                sent(1, text).unfinished(),
                sent(9, b"still here"),
                sent(0, b"").unfinished(),
                sent(0, b"tail"),
            ];
            fails_at_end(config(role), &stream(role, &input), E::InvalidUtf8);
        }
    }
}

#[test]
fn text_that_nobody_wants_validated_passes() {
    let relaxed = Config {
        skip_utf8_validation: true,
        ..config(Role::Server)
    };
    let input = [
        sent(1, b"\xff"),
        sent(1, b"\xff").unfinished(),
        sent(0, b"\xff"),
        sent(8, b"\x03\xe8\xff"),
    ];
    let mut recorder = Recorder::new(relaxed);
    assert_eq!(recorder.feed(&stream(Role::Server, &input)), Ok(()));
    assert_eq!(recorder.seen.len(), 3);

    // Compressed text is validated by whoever inflates it, binary data by nobody.
    let input = [sent(1, b"\xff").compressed(), sent(2, b"\xff")];
    let mut recorder = Recorder::new(config(Role::Server));
    assert_eq!(recorder.feed(&stream(Role::Server, &input)), Ok(()));
    assert_eq!(recorder.seen.len(), 2);
}

#[test]
fn a_character_may_be_cut_by_frames_and_chunks() {
    let text = "aß水🍺".as_bytes();
    let mut frames: Vec<_> = text
        .iter()
        .map(|byte| sent(0, &[*byte]).unfinished())
        .collect();
    frames[0].opcode = 1;
    frames.push(sent(0, b""));
    let input = stream(Role::Server, &frames);
    assert_eq!(Recorder::new(config(Role::Server)).feed(&input), Ok(()));
    assert_eq!(
        Recorder::new(config(Role::Server)).feed_bytewise(&input),
        Ok(())
    );
}

#[test]
fn what_follows_a_close_frame_is_ignored() {
    let mut input = sent(8, b"\x03\xe8bye").to(Role::Server);
    input.extend_from_slice(&[0xff; 100]);
    let mut recorder = Recorder::new(config(Role::Server));
    recorder.decoder.config_mut().limits.max_buffered_chunks = 1;
    assert_eq!(recorder.feed(&input), Ok(()));
    for _ in 0..3 {
        assert_eq!(recorder.feed(&[0xff]), Ok(()));
    }
    assert!(recorder.decoder.is_concluded());
    assert_eq!(recorder.seen, [Seen::Close(Some(1000), b"bye".to_vec())]);
}
