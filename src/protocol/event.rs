//! What a [`Decoder`](super::Decoder) reports.

use std::fmt;
use std::ops::Range;

/// The longest payload of a control frame.
pub(super) const MAX_CONTROL_PAYLOAD: usize = 125;

/// The type of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageKind {
    /// Opcode 1
    Text,
    /// Opcode 2
    Binary,
}

/// One thing found in the input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Payload of a message.
    Data(DataPiece),
    /// A ping.
    Ping(Payload),
    /// A pong.
    Pong(Payload),
    /// A close frame; nothing follows it.
    Close(Close),
}

/// The part of a data frame's payload that lies in the chunk. It is empty only if the frame is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataPiece {
    /// Where in the chunk the payload lies, already unmasked.
    pub range: Range<usize>,
    /// The type of the message.
    pub kind: MessageKind,
    /// Whether the payload is compressed.
    pub compressed: bool,
    /// The message begins with this piece.
    pub message_start: bool,
    /// A frame begins with this piece.
    pub frame_start: bool,
    /// The frame ends with this piece.
    pub frame_end: bool,
    /// The message ends with this piece.
    pub message_end: bool,
}

/// A close frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Close {
    /// The status code; `None` if the frame is empty, which users know as 1005.
    pub code: Option<u16>,
    /// The reason, valid UTF-8 unless validation is off.
    pub reason: Payload,
}

/// The payload of a control frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// It lies in the chunk.
    Chunk(Range<usize>),
    /// It came in several chunks and was put together.
    Buffered(ControlBuffer),
}

impl Payload {
    /// The bytes, given the chunk that was being decoded.
    #[inline]
    pub fn as_slice<'a>(&'a self, chunk: &'a [u8]) -> &'a [u8] {
        match self {
            Payload::Chunk(range) => chunk.get(range.clone()).unwrap_or_default(),
            Payload::Buffered(buffer) => buffer.as_slice(),
        }
    }

    /// The payload without its first `n` bytes.
    pub(super) fn skip(mut self, n: u8) -> Self {
        match &mut self {
            Payload::Chunk(range) => {
                range.start = range.start.saturating_add(usize::from(n)).min(range.end);
            }
            Payload::Buffered(buffer) => {
                buffer.start = buffer.start.saturating_add(n).min(buffer.end);
            }
        }
        self
    }
}

/// A control payload held inline.
#[derive(Clone)]
pub struct ControlBuffer {
    bytes: [u8; MAX_CONTROL_PAYLOAD],
    start: u8,
    end: u8,
}

impl ControlBuffer {
    pub(super) const EMPTY: Self = ControlBuffer {
        bytes: [0; MAX_CONTROL_PAYLOAD],
        start: 0,
        end: 0,
    };

    /// The bytes held.
    #[inline]
    pub fn as_slice(&self) -> &[u8] {
        let held = usize::from(self.start)..usize::from(self.end);
        self.bytes.get(held).unwrap_or_default()
    }

    /// Appends `bytes`, which fit because the decoder has checked the length the frame declares.
    pub(super) fn append(&mut self, bytes: &[u8]) {
        let (_, free) = self.bytes.split_at_mut(usize::from(self.end));
        for (to, from) in free.iter_mut().zip(bytes) {
            *to = *from;
            self.end = self.end.saturating_add(1);
        }
    }
}

impl PartialEq for ControlBuffer {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for ControlBuffer {}

impl fmt::Debug for ControlBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ControlBuffer")
            .field(&self.as_slice())
            .finish()
    }
}
