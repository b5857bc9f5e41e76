//! What the limits bound, and that they can change while an item waits.

use super::*;
use ProtocolError as E;

fn limited(role: Role, limits: Limits) -> Recorder {
    Recorder::new(Config {
        limits,
        ..config(role)
    })
}

fn max_payload(bytes: u64) -> Limits {
    Limits {
        max_payload: bytes,
        ..Limits::default()
    }
}

fn max_fragments(frames: u32) -> Limits {
    Limits {
        max_fragments: frames,
        ..Limits::default()
    }
}

fn max_buffered_chunks(chunks: u32) -> Limits {
    Limits {
        max_buffered_chunks: chunks,
        ..Limits::default()
    }
}

#[test]
fn a_message_that_is_too_long_fails_when_its_length_is_known() {
    for role in [Role::Server, Role::Client] {
        for (len, header) in [(100, 2), (101, 2), (200, 4), (70000, 10)] {
            let input = sent(2, &vec![0; len]).to(role);
            let result = limited(role, max_payload(100)).feed_bytewise(&input);
            let expected = if len > 100 {
                Err((header, E::MaxPayloadExceeded))
            } else {
                Ok(())
            };
            assert_eq!(result, expected);
        }
    }
}

#[test]
fn the_length_of_a_message_is_that_of_all_its_frames() {
    let frames = [
        sent(2, &[0; 60]).unfinished(),
        sent(9, &[0; 125]),
        sent(0, &[0; 40]).unfinished(),
        sent(0, b""),
        // The next message counts for itself.
        sent(2, &[0; 100]),
        sent(1, &[0; 100]).compressed().unfinished(),
        sent(0, &[0; 1]),
    ];
    let input = stream(Role::Client, &frames);
    let result = limited(Role::Client, max_payload(100)).feed_bytewise(&input);
    assert_eq!(result, Err((input.len() - 1, E::MaxPayloadExceeded)));
}

#[test]
fn control_frames_and_empty_frames_are_never_too_long() {
    let frames = [
        sent(2, &[0; 10]).unfinished(),
        sent(10, &[0; 125]),
        sent(0, b"").unfinished(),
        sent(0, b""),
    ];
    let mut recorder = limited(Role::Server, max_payload(10));
    assert_eq!(recorder.feed(&stream(Role::Server, &frames)), Ok(()));

    // Not even if the limit has come down below what is there.
    let mut recorder = limited(Role::Server, max_payload(10));
    assert_eq!(recorder.feed(&frames[0].to(Role::Server)), Ok(()));
    recorder.decoder.config_mut().limits.max_payload = 5;
    assert_eq!(recorder.feed(&stream(Role::Server, &frames[1..])), Ok(()));
}

#[test]
fn a_frame_too_many_fails_at_its_end() {
    for payload in [&b""[..], b"payload"] {
        let frames = [
            sent(2, payload).unfinished(),
            sent(9, b"no fragment"),
            sent(0, payload).unfinished(),
            sent(0, payload).unfinished(),
        ];
        let input = stream(Role::Server, &frames);
        let mut recorder = limited(Role::Server, max_fragments(2));
        let result = recorder.feed_bytewise(&input);
        assert_eq!(result, Err((input.len(), E::TooManyFragments)));
        assert_eq!(recorder.open_frames.len(), 2);
    }
}

#[test]
fn fragments_are_counted_message_by_message() {
    let mut frames = vec![
        sent(1, b"a").unfinished(),
        sent(0, b"").unfinished(),
        sent(0, b""),
    ];
    frames.push(sent(2, b"single"));
    frames.extend_from_slice(&frames.clone());
    let input = stream(Role::Client, &frames);
    assert_eq!(limited(Role::Client, max_fragments(3)).feed(&input), Ok(()));
    assert_eq!(
        limited(Role::Client, max_fragments(2)).feed(&input),
        Err(E::TooManyFragments)
    );
}

#[test]
fn a_single_frame_is_one_fragment_even_in_pieces() {
    let input = sent(2, &[7; 1000]).to(Role::Server);
    let mut recorder = limited(Role::Server, max_fragments(1));
    assert_eq!(recorder.feed_bytewise(&input), Ok(()));
    assert_eq!(recorder.feed_bytewise(&input), Ok(()));
}

#[test]
fn chunks_are_counted_while_an_item_is_unfinished() {
    let input = sent(2, b"12345").to(Role::Client);
    // Two bytes of head, then one byte of payload at a time: the chunk after the fourth is one too many.
    let mut recorder = limited(Role::Client, max_buffered_chunks(4));
    for chunk in [
        &input[..2],
        &input[2..3],
        &input[3..4],
        &input[4..5],
        &input[5..6],
    ] {
        assert_eq!(recorder.feed(chunk), Ok(()));
    }
    assert_eq!(recorder.feed(&input[6..7]), Err(E::TooManyBufferedChunks));

    // The error can be lifted like any other.
    recorder.decoder.config_mut().limits.max_buffered_chunks = 5;
    assert_eq!(recorder.feed(&input[6..7]), Ok(()));
    assert_eq!(recorder.seen, [message(MessageKind::Binary, b"12345")]);
}

#[test]
fn the_rest_of_a_chunk_counts_as_one() {
    let mut input = sent(2, b"first").to(Role::Client);
    input.extend_from_slice(&sent(2, b"second").to(Role::Client));
    // The first chunk ends with the first byte of the second frame.
    let mut recorder = limited(Role::Client, max_buffered_chunks(1));
    assert_eq!(recorder.feed(&input[..8]), Ok(()));
    assert_eq!(recorder.feed(&input[8..]), Err(E::TooManyBufferedChunks));

    // Had it ended at a boundary, nothing would be left of it.
    let mut recorder = limited(Role::Client, max_buffered_chunks(1));
    for chunk in [&input[..7], &input[7..9], &input[9..]] {
        assert_eq!(recorder.feed(chunk), Ok(()));
    }
}

#[test]
fn an_item_that_is_complete_frees_its_chunks() {
    // Head, length, key and payload are four items; each may be spread over as many chunks.
    let input = sent(2, &[1; 200]).to(Role::Server);
    let mut recorder = limited(Role::Server, max_buffered_chunks(4));
    let mut cuts: Vec<usize> = (1..8).collect();
    cuts.extend([50, 100, 150]);
    assert_eq!(recorder.feed_cut(&input, &cuts), Ok(()));
    assert_eq!(recorder.seen.len(), 1);
}

#[test]
fn a_refused_item_is_judged_again_after_a_change() {
    let long = vec![b'x'; 300];
    let input = sent(1, &long).to(Role::Server);
    for cut in 0..=4 {
        let mut decoder = limited(Role::Server, max_payload(299)).decoder;
        let (mut front, mut back) = (input[..cut].to_vec(), input[cut..].to_vec());
        let mut pos = 0;
        assert_eq!(decoder.begin_chunk(), Ok(()));
        if cut < 4 {
            assert_eq!(decoder.next(&mut front, &mut pos), Ok(None));
        } else {
            // Nothing has moved, however often it is tried.
            for _ in 0..3 {
                let refused = decoder.next(&mut front, &mut pos);
                assert_eq!((refused, pos), (Err(E::MaxPayloadExceeded), 2));
            }
            decoder.config_mut().limits.max_payload = 300;
            assert_eq!(decoder.next(&mut front, &mut pos), Ok(None));
        }

        pos = 0;
        assert_eq!(decoder.begin_chunk(), Ok(()));
        if cut < 4 {
            for _ in 0..3 {
                let refused = decoder.next(&mut back, &mut pos);
                assert_eq!(refused, Err(E::MaxPayloadExceeded));
                assert_eq!(pos, 2usize.saturating_sub(cut));
            }
            decoder.config_mut().limits.max_payload = 300;
        }
        let Ok(Some(Event::Data(piece))) = decoder.next(&mut back, &mut pos) else {
            panic!("the message is complete");
        };
        assert!(piece.message_start && piece.message_end);
        assert_eq!(back[piece.range], long);
    }
}

#[test]
fn a_refused_head_is_judged_again_after_a_change() {
    let mut chunk = sent(1, b"text").compressed().to(Role::Client);
    let mut decoder = Decoder::new(Config {
        deflate: false,
        ..config(Role::Client)
    });
    let mut pos = 0;
    assert_eq!(decoder.next(&mut chunk, &mut pos), Err(E::UnexpectedRsv1));
    assert_eq!(pos, 0);
    decoder.config_mut().deflate = true;
    let Ok(Some(Event::Data(piece))) = decoder.next(&mut chunk, &mut pos) else {
        panic!("the message is complete");
    };
    assert!(piece.compressed);
}

#[test]
fn a_refused_fragment_is_judged_again_after_a_change() {
    for cut in [0, 3, 6, 8] {
        let mut recorder = limited(Role::Server, max_fragments(1));
        let frames = [sent(1, b"one").unfinished(), sent(0, b"two")];
        assert_eq!(recorder.feed(&frames[0].to(Role::Server)), Ok(()));
        let input = frames[1].to(Role::Server);
        assert_eq!(recorder.feed(&input[..cut]), Ok(()));

        let mut rest = input[cut..].to_vec();
        let mut pos = 0;
        let decoder = &mut recorder.decoder;
        assert_eq!(decoder.next(&mut rest, &mut pos), Err(E::TooManyFragments));
        assert_eq!(decoder.next(&mut rest, &mut pos), Err(E::TooManyFragments));
        decoder.config_mut().limits.max_fragments = 2;
        let Ok(Some(Event::Data(piece))) = decoder.next(&mut rest, &mut pos) else {
            panic!("the frame is complete");
        };
        assert!(piece.frame_end && piece.message_end);
        assert!(b"two".ends_with(&rest[piece.range]));
    }
}
