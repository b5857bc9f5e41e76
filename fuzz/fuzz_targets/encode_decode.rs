//! Sends arbitrary messages from one endpoint to the other: what arrives is what was sent.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use oxws::protocol::{
    mask, mask_frames, Config, Decoder, Event, FrameHead, Limits, MessageKind, Role,
    MAX_HEAD,
};

#[derive(Debug, Arbitrary)]
struct Message {
    text: bool,
    compressed: bool,
    key: [u8; 4],
    frames: Vec<Vec<u8>>,
}

#[derive(Debug, Arbitrary)]
struct Input {
    to_server: bool,
    messages: Vec<Message>,
}

/// A message as the receiver sees it: its type, whether it is compressed, its frames.
type Seen = (bool, bool, Vec<Vec<u8>>);

/// Writes a frame whose payload is plain, with a key if it has one.
fn write_frame(out: &mut Vec<u8>, head: FrameHead, payload: &[u8]) {
    let mut header = [0; MAX_HEAD];
    let len = head.write(&mut header);
    out.extend_from_slice(&header[..len]);
    out.extend_from_slice(payload);
}

fn check_masking(payload: &[u8], key: [u8; 4]) {
    let mut at_once = payload.to_vec();
    mask(&mut at_once, key, 0);
    let half = payload.len() / 2;
    let mut halves = payload.to_vec();
    mask(&mut halves[..half], key, 0);
    mask(&mut halves[half..], key, half);
    assert_eq!(halves, at_once);
}

fuzz_target!(|input: Input| {
    let mut wire = Vec::new();
    let mut sent: Vec<Seen> = Vec::new();
    for message in input.messages {
        let Some(last) = message.frames.len().checked_sub(1) else {
            continue;
        };
        for (index, payload) in message.frames.iter().enumerate() {
            check_masking(payload, message.key);
            let opcode = match (index, message.text) {
                (0, true) => 1,
                (0, false) => 2,
                _ => 0,
            };
            let head = FrameHead {
                fin: index == last,
                rsv1: message.compressed && index == 0,
                opcode,
                length: payload.len() as u64,
                mask: input.to_server.then_some(message.key),
            };
            write_frame(&mut wire, head, payload);
        }
        sent.push((message.text, message.compressed, message.frames));
    }
    if input.to_server {
        assert!(mask_frames(&mut wire).is_ok());
    }

    let mut decoder = Decoder::new(Config {
        role: if input.to_server {
            Role::Server
        } else {
            Role::Client
        },
        limits: Limits::default(),
        deflate: true,
        skip_utf8_validation: true,
    });
    let mut seen: Vec<Seen> = Vec::new();
    let mut frames = Vec::new();
    let mut pos = 0;
    while let Some(event) = decoder.next(&mut wire, &mut pos).unwrap() {
        let Event::Data(piece) = event else {
            panic!("only messages were sent");
        };
        // All of the input is there, so every frame is one piece.
        assert!(piece.frame_start && piece.frame_end);
        frames.push(wire[piece.range].to_vec());
        if piece.message_end {
            let text = piece.kind == MessageKind::Text;
            seen.push((text, piece.compressed, std::mem::take(&mut frames)));
        }
    }
    assert_eq!(seen, sent);
});
