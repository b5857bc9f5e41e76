//! How events describe what lies where.

use super::*;

#[test]
fn a_whole_message_is_one_piece() {
    for role in [Role::Server, Role::Client] {
        for len in [0, 1, 125, 126, 65535, 65536] {
            let payload: Vec<u8> = (0..len).map(|i| i as u8).collect();
            let mut chunk = sent(2, &payload).to(role);
            let end = chunk.len();
            let mut pos = 0;
            let mut decoder = Decoder::new(config(role));
            let event = decoder.next(&mut chunk, &mut pos);
            let expected = Event::Data(DataPiece {
                range: end - len..end,
                kind: MessageKind::Binary,
                compressed: false,
                message_start: true,
                frame_start: true,
                frame_end: true,
                message_end: true,
            });
            assert_eq!(event, Ok(Some(expected)));
            assert_eq!(chunk[end - len..], payload);
            assert_eq!(pos, end);
            assert_eq!(decoder.next(&mut chunk, &mut pos), Ok(None));
        }
    }
}

#[test]
fn payload_is_reported_as_it_arrives() {
    let input = sent(2, &[7; 1000]).to(Role::Server);
    let mut recorder = Recorder::new(config(Role::Server));
    let decoder = &recorder.decoder;
    assert_eq!(
        (decoder.payload_length(), decoder.payload_remaining()),
        (0, 0)
    );

    // A header alone is no piece, and without the key nobody is in the payload.
    assert_eq!(recorder.feed(&input[..7]), Ok(()));
    assert_eq!(recorder.decoder.payload_remaining(), 0);
    assert_eq!(recorder.feed(&input[7..8]), Ok(()));
    assert_eq!(recorder.pieces, 0);
    assert_eq!(recorder.decoder.payload_remaining(), 1000);

    assert_eq!(recorder.feed(&input[8..508]), Ok(()));
    assert_eq!(recorder.pieces, 1);
    assert_eq!(recorder.decoder.payload_length(), 1000);
    assert_eq!(recorder.decoder.payload_remaining(), 500);

    assert_eq!(recorder.feed(&input[508..]), Ok(()));
    assert_eq!(recorder.pieces, 2);
    assert_eq!(recorder.decoder.payload_length(), 0);
    assert_eq!(recorder.seen, [message(MessageKind::Binary, &[7; 1000])]);
}

#[test]
fn control_frames_come_between_the_frames_of_a_message() {
    let frames = [
        sent(1, b"a").compressed().unfinished(),
        sent(9, b"ping"),
        sent(0, b"").unfinished(),
        sent(10, b""),
        sent(0, b"b"),
        sent(8, b""),
    ];
    let expected = [
        Seen::Ping(b"ping".to_vec()),
        Seen::Pong(Vec::new()),
        Seen::Message {
            kind: MessageKind::Text,
            compressed: true,
            frames: vec![b"a".to_vec(), Vec::new(), b"b".to_vec()],
        },
        Seen::Close(None, Vec::new()),
    ];
    for role in [Role::Server, Role::Client] {
        let mut recorder = Recorder::new(config(role));
        assert_eq!(recorder.feed(&stream(role, &frames)), Ok(()));
        assert_eq!(recorder.seen, expected);
    }
}

#[test]
fn a_control_payload_lies_in_the_chunk_or_is_put_together() {
    let payload = [b'p'; 125];
    let input = sent(9, &payload).to(Role::Server);
    for cut in 1..input.len() {
        let mut decoder = Decoder::new(config(Role::Server));
        let mut front = input[..cut].to_vec();
        let mut back = input[cut..].to_vec();
        assert_eq!(decoder.next(&mut front, &mut 0), Ok(None));
        // It is not the payload of a message.
        assert_eq!(decoder.payload_remaining(), 0);
        let Ok(Some(Event::Ping(ping))) = decoder.next(&mut back, &mut 0) else {
            panic!("the ping is complete");
        };
        assert_eq!(ping.as_slice(&back), payload);
        assert_eq!(matches!(ping, Payload::Chunk(_)), cut <= 6);
    }
}

#[test]
fn the_reason_of_a_close_frame_follows_its_code() {
    let input = sent(8, b"\x0b\xb8see you").to(Role::Server);
    for cut in 0..input.len() {
        let mut recorder = Recorder::new(config(Role::Server));
        assert_eq!(recorder.feed_cut(&input, &[cut]), Ok(()));
        assert_eq!(
            recorder.seen,
            [Seen::Close(Some(3000), b"see you".to_vec())]
        );
    }
}

#[test]
fn a_zero_key_leaves_the_payload_as_it_is() {
    let mut chunk = vec![0x81, 0x83, 0, 0, 0, 0, b'a', b'b', b'c'];
    let mut decoder = Decoder::new(config(Role::Server));
    let Ok(Some(Event::Data(piece))) = decoder.next(&mut chunk, &mut 0) else {
        panic!("the message is complete");
    };
    assert_eq!(&chunk[piece.range], b"abc");

    // Nor does it keep text from being validated.
    let mut chunk = vec![0x81, 0x81, 0, 0, 0, 0, 0xff];
    let result = Decoder::new(config(Role::Server)).next(&mut chunk, &mut 0);
    assert_eq!(result, Err(ProtocolError::InvalidUtf8));
}

#[test]
fn empty_chunks_change_nothing() {
    let input = sent(1, b"text").to(Role::Server);
    let mut recorder = Recorder::new(config(Role::Server));
    for byte in input {
        assert_eq!(recorder.feed(&[]), Ok(()));
        assert_eq!(recorder.feed(&[byte]), Ok(()));
    }
    assert_eq!(recorder.seen, [message(MessageKind::Text, b"text")]);
}
