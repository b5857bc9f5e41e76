//! What a decoder does with bytes that follow an error.
//!
//! A connection is given up at its first error, but chunks that were waiting in front of a receiver still reach it, and
//! users see what it makes of them. ws takes the item that was at fault as read, keeps what it had noted about the frame
//! until then, and expects an item of the same type next.

use super::{Decoder, FrameKind, Head, HeadLength, Item, MAX_SAFE_LENGTH};
use super::{MessageKind, ProtocolError, Role};
use crate::protocol::head::MASK;

impl Decoder {
    /// Passes what `error` was reported for, the last thing that happened to this decoder, and moves `pos` past it. Each
    /// chunk of what is left has to begin anew, with [`begin_chunk`](Self::begin_chunk). Returns whether the frames of
    /// the message in progress are to be forgotten.
    pub fn go_on_after(&mut self, error: ProtocolError, chunk: &[u8], pos: &mut usize) -> bool {
        let mut forget = false;
        match error {
            // The chunk is not looked at.
            ProtocolError::TooManyBufferedChunks => {
                *pos = chunk.len();
                return false;
            }
            ProtocolError::TooManyFragments => {
                let take = self.available(chunk, *pos);
                self.finish_payload(take, chunk, pos);
                self.message.frames = self.message.frames.saturating_add(1);
                self.repeat_payload();
            }
            ProtocolError::InvalidCloseCode(_) => self.repeat_payload(),
            ProtocolError::InvalidUtf8 => {
                forget = self.frame.kind.is_data();
                if forget {
                    // The message has ended; what comes next is one of its own.
                    self.frame.kind = FrameKind::First(MessageKind::Text);
                }
                self.repeat_payload();
            }
            _ => self.pass_header_item(error, chunk, pos),
        }
        self.chunks = 0;
        forget
    }

    /// How long the payload is that ws would look for now without having its masking key; 0 outside of that state.
    pub fn keyless_payload(&self) -> u64 {
        match self.item {
            Item::Lost => self.frame.length,
            _ => 0,
        }
    }

    /// Expects a payload of the same length again.
    fn repeat_payload(&mut self) {
        self.frame.left = self.frame.length;
        self.control = None;
        // ws has dropped the key and throws a TypeError when that payload has come. Nothing more is decoded here; whether
        // to throw, too, is left to the caller.
        let is_lost = self.config.role == Role::Server && self.frame.length > 0;
        self.item = if is_lost { Item::Lost } else { Item::Payload };
    }

    fn pass_header_item(&mut self, error: ProtocolError, chunk: &[u8], pos: &mut usize) {
        match self.item {
            Item::Head => {
                if let Some(item) = self.peek(chunk, *pos) {
                    self.note_refused_head(item, error);
                    self.consume(item, chunk, pos);
                }
            }
            Item::Length16 => {
                if let Some(item) = self.peek(chunk, *pos) {
                    self.note_refused_length(u64::from(u16::from_be_bytes(item)));
                    self.consume(item, chunk, pos);
                }
            }
            Item::Length64 => {
                if let Some(item) = self.peek(chunk, *pos) {
                    self.note_refused_length(u64::from_be_bytes(item));
                    self.consume(item, chunk, pos);
                }
            }
            Item::Key | Item::Payload | Item::Lost => {}
        }
    }

    /// A head at fault only for its mask bit or its length has begun its message nevertheless, and one of a close frame
    /// counts as such unless its reserved bits were at fault.
    fn note_refused_head(&mut self, [first, second]: [u8; 2], error: ProtocolError) {
        let second = match error {
            ProtocolError::ExpectedMask | ProtocolError::UnexpectedMask => second ^ MASK,
            _ => second,
        };
        if let Ok(head) = Head::parse([first, second], &self.config, self.message.unfinished) {
            self.begin_frame(&head);
            if let (ProtocolError::MaxPayloadExceeded, HeadLength::Here(length)) =
                (error, head.length)
            {
                self.note_refused_length(u64::from(length));
            }
        }
        let reserved = match error {
            ProtocolError::UnexpectedRsv2Or3 => true,
            ProtocolError::UnexpectedRsv1 => !self.config.deflate,
            _ => false,
        };
        self.concluded = Head::is_close(first) && !reserved;
    }

    /// A length that is too long has been added to that of the message, unless it is no number for JavaScript.
    fn note_refused_length(&mut self, length: u64) {
        if length <= MAX_SAFE_LENGTH {
            self.message.length = self.message.length.saturating_add(length);
        }
    }
}
