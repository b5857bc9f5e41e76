//! Feeds arbitrary bytes to the decoder, once whole and once in arbitrary chunks. Both must end the same
//! way, and neither may panic or report what does not lie in the input.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use oxws::protocol::{Config, Decoder, Event, Limits, Payload, ProtocolError, Role};

#[derive(Debug, Arbitrary)]
struct Input {
    server: bool,
    deflate: bool,
    skip_utf8_validation: bool,
    max_payload: u16,
    max_fragments: u8,
    chunk_sizes: Vec<u8>,
    bytes: Vec<u8>,
}

/// What was reported, without a trace of the chunks.
#[derive(Debug, Default, PartialEq)]
struct Outcome {
    /// Complete data frames and control frames: a label and the payload.
    frames: Vec<(String, Vec<u8>)>,
    error: Option<ProtocolError>,
    concluded: bool,
}

fn decode<'a>(config: Config, chunks: impl Iterator<Item = &'a [u8]>) -> Outcome {
    let mut decoder = Decoder::new(config);
    let mut outcome = Outcome::default();
    let mut frame = Vec::new();
    for chunk in chunks {
        let mut chunk = chunk.to_vec();
        let mut pos = 0;
        if decoder.begin_chunk().is_err() {
            unreachable!("chunks are not limited");
        }
        loop {
            let before = pos;
            let event = match decoder.next(&mut chunk, &mut pos) {
                Ok(Some(event)) => event,
                Ok(None) => break,
                Err(error) => {
                    outcome.error = Some(error);
                    return outcome;
                }
            };
            assert!(before <= pos && pos <= chunk.len());
            let control = |payload: &Payload| payload.as_slice(&chunk).to_vec();
            match event {
                Event::Data(piece) => {
                    frame.extend_from_slice(&chunk[piece.range]);
                    if piece.frame_end {
                        let (kind, end) = (piece.kind, piece.message_end);
                        let label = format!("{kind:?} {} {end}", piece.compressed);
                        outcome.frames.push((label, std::mem::take(&mut frame)));
                    }
                }
                Event::Ping(payload) => outcome.frames.push(("ping".into(), control(&payload))),
                Event::Pong(payload) => outcome.frames.push(("pong".into(), control(&payload))),
                Event::Close(close) => {
                    let label = format!("close {:?}", close.code);
                    outcome.frames.push((label, control(&close.reason)));
                }
            }
        }
        assert_eq!(pos, chunk.len());
    }
    outcome.concluded = decoder.is_concluded();
    outcome
}

fuzz_target!(|input: Input| {
    let config = Config {
        role: if input.server {
            Role::Server
        } else {
            Role::Client
        },
        limits: Limits {
            max_payload: input.max_payload.into(),
            max_fragments: input.max_fragments.into(),
            max_buffered_chunks: 0,
        },
        deflate: input.deflate,
        skip_utf8_validation: input.skip_utf8_validation,
    };

    let mut rest = input.bytes.as_slice();
    let mut sizes = input.chunk_sizes.iter().copied();
    let chunks = std::iter::from_fn(|| {
        let size = sizes.next().map_or(rest.len(), usize::from).min(rest.len());
        let (chunk, after) = rest.split_at(size);
        rest = after;
        (size > 0 || !rest.is_empty() || sizes.len() > 0).then_some(chunk)
    });

    let whole = decode(config, std::iter::once(input.bytes.as_slice()));
    assert_eq!(decode(config, chunks), whole);
});
