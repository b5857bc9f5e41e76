//! Tests of the decoder, and what they share: frames to feed it and a record of what it reports.

mod errors;
mod limits;
mod pieces;
mod resume;
mod splits;

use super::*;

/// A frame to be sent by the peer of an endpoint. The default is an unfragmented, empty binary message.
#[derive(Debug, Clone)]
pub struct Sent {
    pub fin: bool,
    pub rsv1: bool,
    pub opcode: u8,
    pub payload: Vec<u8>,
}

pub fn sent(opcode: u8, payload: &[u8]) -> Sent {
    Sent {
        fin: true,
        rsv1: false,
        opcode,
        payload: payload.to_vec(),
    }
}

impl Sent {
    pub fn unfinished(mut self) -> Self {
        self.fin = false;
        self
    }

    pub fn compressed(mut self) -> Self {
        self.rsv1 = true;
        self
    }

    /// The frame as it reaches an endpoint of the given role.
    pub fn to(&self, role: Role) -> Vec<u8> {
        let key = [0x37, 0xfa, 0x21, 0x3d];
        let mut out = [0; MAX_HEAD];
        let head = FrameHead {
            fin: self.fin,
            rsv1: self.rsv1,
            opcode: self.opcode,
            length: self.payload.len() as u64,
            mask: (role == Role::Server).then_some(key),
        };
        let len = head.write(&mut out);
        let mut bytes = out[..len].to_vec();
        bytes.extend_from_slice(&self.payload);
        if role == Role::Server {
            mask(&mut bytes[len..], key, 0);
        }
        bytes
    }
}

/// Frames as they reach an endpoint of the given role.
pub fn stream(role: Role, frames: &[Sent]) -> Vec<u8> {
    frames.iter().flat_map(|frame| frame.to(role)).collect()
}

/// Settings without limits, permessage-deflate negotiated.
pub fn config(role: Role) -> Config {
    Config {
        role,
        limits: Limits::default(),
        deflate: true,
        skip_utf8_validation: false,
    }
}

/// Something complete that the decoder reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    Message {
        kind: MessageKind,
        compressed: bool,
        frames: Vec<Vec<u8>>,
    },
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, Vec<u8>),
}

/// A single-frame message, as seen.
pub fn message(kind: MessageKind, payload: &[u8]) -> Seen {
    Seen::Message {
        kind,
        compressed: false,
        frames: vec![payload.to_vec()],
    }
}

/// A decoder with a record of what it has reported.
pub struct Recorder {
    pub decoder: Decoder,
    pub seen: Vec<Seen>,
    /// The completed frames of the message in progress.
    pub open_frames: Vec<Vec<u8>>,
    open_frame: Option<Vec<u8>>,
    pub pieces: usize,
}

impl Recorder {
    pub fn new(config: Config) -> Self {
        Recorder {
            decoder: Decoder::new(config),
            seen: Vec::new(),
            open_frames: Vec::new(),
            open_frame: None,
            pieces: 0,
        }
    }

    /// Feeds one chunk, whole.
    pub fn feed(&mut self, chunk: &[u8]) -> Result<(), ProtocolError> {
        let mut chunk = chunk.to_vec();
        let mut pos = 0;
        self.decoder.begin_chunk()?;
        self.read(&mut chunk, &mut pos)
    }

    /// Decodes a chunk that has begun.
    pub fn read(&mut self, chunk: &mut [u8], pos: &mut usize) -> Result<(), ProtocolError> {
        while let Some(event) = self.decoder.next(chunk, pos)? {
            self.record(event, chunk);
        }
        assert_eq!(*pos, chunk.len(), "`None` means that the chunk is used up");
        Ok(())
    }

    /// Feeds the input in chunks that end at `cuts`, until an error.
    pub fn feed_cut(&mut self, input: &[u8], cuts: &[usize]) -> Result<(), ProtocolError> {
        let mut start = 0;
        for end in cuts.iter().copied().chain([input.len()]) {
            if end > start {
                self.feed(&input[start..end])?;
                start = end;
            }
        }
        Ok(())
    }

    /// Feeds single bytes until an error. Returns it with the number of bytes it took.
    pub fn feed_bytewise(&mut self, input: &[u8]) -> Result<(), (usize, ProtocolError)> {
        for (index, byte) in input.iter().enumerate() {
            self.feed(&[*byte]).map_err(|error| (index + 1, error))?;
        }
        Ok(())
    }

    fn record(&mut self, event: Event, chunk: &[u8]) {
        match event {
            Event::Data(piece) => self.record_piece(piece, chunk),
            Event::Ping(payload) => self.seen.push(Seen::Ping(payload.as_slice(chunk).to_vec())),
            Event::Pong(payload) => self.seen.push(Seen::Pong(payload.as_slice(chunk).to_vec())),
            Event::Close(close) => {
                let reason = close.reason.as_slice(chunk).to_vec();
                self.seen.push(Seen::Close(close.code, reason));
            }
        }
    }

    fn record_piece(&mut self, piece: DataPiece, chunk: &[u8]) {
        self.pieces += 1;
        let first_frame = self.open_frames.is_empty();
        assert_eq!(piece.frame_start, self.open_frame.is_none());
        assert_eq!(piece.message_start, first_frame && piece.frame_start);
        assert!(piece.frame_end || !piece.message_end);
        if piece.range.is_empty() {
            assert!(
                piece.frame_start && piece.frame_end,
                "only an empty frame is an empty piece"
            );
        }

        let frame = self.open_frame.get_or_insert_default();
        frame.extend_from_slice(&chunk[piece.range]);
        if piece.frame_end {
            self.open_frames.extend(self.open_frame.take());
        }
        if piece.message_end {
            self.seen.push(Seen::Message {
                kind: piece.kind,
                compressed: piece.compressed,
                frames: std::mem::take(&mut self.open_frames),
            });
        }
    }
}
