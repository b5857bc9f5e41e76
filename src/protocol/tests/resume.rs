//! What comes after an error, for chunks that were waiting by then.

use super::*;
use ProtocolError as E;

/// Feeds one chunk after another, and after an error first what was left. Returns the errors.
fn feed_all(recorder: &mut Recorder, chunks: &[Vec<u8>]) -> Vec<ProtocolError> {
    let mut errors = Vec::new();
    let mut rest = Vec::new();
    for chunk in chunks {
        let mut input = [rest, chunk.clone()].concat();
        let mut pos = 0;
        let mut result = recorder.decoder.begin_chunk();
        if result.is_ok() {
            result = recorder.read(&mut input, &mut pos);
        }
        if let Err(error) = result {
            errors.push(error);
            recorder.decoder.go_on_after(error, &input, &mut pos);
        }
        rest = input.split_off(pos);
    }
    errors
}

#[test]
fn a_refused_header_item_is_passed() {
    let mut recorder = Recorder::new(config(Role::Client));
    let chunks = [
        // Two bytes of no frame, then the first byte of a good one.
        vec![0xf0, 0x00, 0x81],
        b"\x02hi".to_vec(),
        // A length that is too long for JavaScript is followed by another length.
        [&[0x82, 127][..], &[0xff; 8]].concat(),
        [&[0; 7][..], b"\x01x"].concat(),
    ];
    let errors = feed_all(&mut recorder, &chunks);
    assert_eq!(
        errors,
        [E::UnexpectedRsv2Or3, E::UnsupportedDataPayloadLength]
    );
    let expected = [
        message(MessageKind::Text, b"hi"),
        message(MessageKind::Binary, b"x"),
    ];
    assert_eq!(recorder.seen, expected);
}

#[test]
fn a_frame_with_the_wrong_mask_bit_has_begun_its_message() {
    let mut recorder = Recorder::new(config(Role::Server));
    let begun = vec![0x01, 0x00];
    let errors = feed_all(&mut recorder, &[begun.clone(), begun, vec![0x88, 0x00]]);
    assert_eq!(
        errors,
        [E::ExpectedMask, E::InvalidOpcode(1), E::ExpectedMask]
    );
    // Even a refused close frame is the last one.
    assert!(recorder.decoder.is_concluded());
}

#[test]
fn the_length_of_a_refused_frame_counts_until_a_message_ends() {
    let mut recorder = Recorder::new(config(Role::Client));
    recorder.decoder.config_mut().limits.max_payload = 10;
    let short = sent(2, b"short").to(Role::Client);
    let chunks = [
        vec![0x82, 11],
        short[..2].to_vec(),
        sent(2, b"").to(Role::Client),
        short.clone(),
    ];
    let errors = feed_all(&mut recorder, &chunks);
    assert_eq!(errors, [E::MaxPayloadExceeded; 2]);
    let expected = [
        message(MessageKind::Binary, b""),
        message(MessageKind::Binary, b"short"),
    ];
    assert_eq!(recorder.seen, expected);
}

#[test]
fn a_refused_payload_is_expected_again() {
    let mut recorder = Recorder::new(config(Role::Client));
    let chunks = [
        sent(1, b"\xff\xff").to(Role::Client),
        b"ok".to_vec(),
        sent(8, b"\x00\x00no").to(Role::Client),
        b"\x03\xe8ok".to_vec(),
    ];
    let errors = feed_all(&mut recorder, &chunks);
    assert_eq!(errors, [E::InvalidUtf8, E::InvalidCloseCode(0)]);
    let expected = [
        message(MessageKind::Text, b"ok"),
        Seen::Close(Some(1000), b"ok".to_vec()),
    ];
    assert_eq!(recorder.seen, expected);
}

#[test]
fn a_fragment_too_many_is_expected_again() {
    let mut recorder = Recorder::new(config(Role::Client));
    recorder.decoder.config_mut().limits.max_fragments = 1;
    let chunks = [
        sent(2, b"one").unfinished().to(Role::Client),
        sent(0, b"two").to(Role::Client),
        b"six".to_vec(),
    ];
    let errors = feed_all(&mut recorder, &chunks);
    assert_eq!(errors, [E::TooManyFragments; 2]);
}

#[test]
fn nothing_is_made_of_a_payload_whose_key_is_gone() {
    let mut recorder = Recorder::new(config(Role::Server));
    let good = sent(1, b"ok").to(Role::Server);
    let chunks = [sent(1, b"\xff\xff").to(Role::Server), good.clone(), good];
    assert_eq!(recorder.decoder.keyless_payload(), 0);
    assert_eq!(feed_all(&mut recorder, &chunks), [E::InvalidUtf8]);
    assert_eq!(recorder.decoder.keyless_payload(), 2);
    assert_eq!(recorder.seen, []);
    assert!(!recorder.decoder.is_concluded());
}
