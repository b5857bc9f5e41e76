//! What can be told of a message before it is decoded.

use super::{Decoder, Item};
use crate::protocol::config::Role;
use crate::protocol::head::{FrameKind, Head, HeadLength};

impl Decoder {
    /// Where in `chunk` the message ends that begins at `pos` and consists of one frame; `None` if there is no such
    /// message, or its header is at fault or not all there. Nothing is decoded.
    pub fn message_end(&self, chunk: &[u8], pos: usize) -> Option<usize> {
        if self.item != Item::Head || self.held_len > 0 || self.concluded {
            return None;
        }
        let (head, rest) = chunk.get(pos..)?.split_first_chunk()?;
        let head = Head::parse(*head, &self.config, self.message.unfinished).ok()?;
        if !head.fin || !matches!(head.kind, FrameKind::First(_)) {
            return None;
        }
        let (length, rest) = match head.length {
            HeadLength::Here(length) => (u64::from(length), rest),
            HeadLength::Next16 => {
                let (length, rest) = rest.split_first_chunk()?;
                (u64::from(u16::from_be_bytes(*length)), rest)
            }
            HeadLength::Next64 => {
                let (length, rest) = rest.split_first_chunk()?;
                (u64::from_be_bytes(*length), rest)
            }
        };
        let key = match self.config.role {
            Role::Server => 4,
            Role::Client => 0,
        };
        let start = chunk.len().checked_sub(rest.len())?.checked_add(key)?;
        start.checked_add(usize::try_from(length).ok()?)
    }

    /// Whether the current frame makes up a message alone, uncompressed.
    pub fn is_in_single_frame(&self) -> bool {
        self.in_data_payload()
            && matches!(self.frame.kind, FrameKind::First(_))
            && self.frame.fin
            && !self.message.compressed
    }
}
