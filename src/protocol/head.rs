//! The first two bytes of a frame.
//!
//! tungstenite's `FrameHeader::parse` does not serve here. It wants the whole header, length and key
//! included, before it judges any of it, and judges less and in another order, so a bad head would be
//! noticed at a later byte or as another error than users of ws see.

use super::config::{Config, Role};
use super::error::ProtocolError;
use super::event::{MessageKind, MAX_CONTROL_PAYLOAD};

const FIN: u8 = 0x80;
const RSV1: u8 = 0x40;
const RSV2_3: u8 = 0x30;
const OPCODE: u8 = 0x0f;
pub(super) const MASK: u8 = 0x80;
const CLOSE: u8 = 8;
const LENGTH: u8 = 0x7f;

/// What kind of frame a head announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FrameKind {
    /// The first or only frame of a message.
    First(MessageKind),
    /// A further frame of a message.
    Continuation,
    Close,
    Ping,
    Pong,
}

impl FrameKind {
    #[inline]
    pub(super) fn is_data(self) -> bool {
        matches!(self, FrameKind::First(_) | FrameKind::Continuation)
    }
}

/// Where the payload length is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HeadLength {
    /// In the head itself.
    Here(u8),
    /// In the two bytes after it.
    Next16,
    /// In the eight bytes after it.
    Next64,
}

/// The meaning of a valid head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) kind: FrameKind,
    pub(super) fin: bool,
    pub(super) rsv1: bool,
    pub(super) length: HeadLength,
}

impl Head {
    /// Whether the first byte of a head, valid or not, has the opcode of a close frame.
    pub(super) fn is_close(first: u8) -> bool {
        first & OPCODE == CLOSE
    }

    /// Judges a head. The order of the checks decides which of several faults is reported.
    #[inline]
    pub(super) fn parse(
        [first, second]: [u8; 2],
        config: &Config,
        in_message: bool,
    ) -> Result<Self, ProtocolError> {
        let fin = first & FIN != 0;
        let rsv1 = first & RSV1 != 0;
        let opcode = first & OPCODE;
        let length = second & LENGTH;

        if first & RSV2_3 != 0 {
            return Err(ProtocolError::UnexpectedRsv2Or3);
        }
        if rsv1 && !config.deflate {
            return Err(ProtocolError::UnexpectedRsv1);
        }

        let kind = match opcode {
            0 if rsv1 => return Err(ProtocolError::UnexpectedRsv1),
            0 if in_message => FrameKind::Continuation,
            1 if !in_message => FrameKind::First(MessageKind::Text),
            2 if !in_message => FrameKind::First(MessageKind::Binary),
            CLOSE => FrameKind::Close,
            9 => FrameKind::Ping,
            10 => FrameKind::Pong,
            _ => return Err(ProtocolError::InvalidOpcode(opcode)),
        };

        if !kind.is_data() {
            if !fin {
                return Err(ProtocolError::ExpectedFin);
            }
            if rsv1 {
                return Err(ProtocolError::UnexpectedRsv1);
            }
            let half_a_code = kind == FrameKind::Close && length == 1;
            if usize::from(length) > MAX_CONTROL_PAYLOAD || half_a_code {
                return Err(ProtocolError::InvalidControlPayloadLength(length));
            }
        }

        match (config.role, second & MASK != 0) {
            (Role::Server, false) => return Err(ProtocolError::ExpectedMask),
            (Role::Client, true) => return Err(ProtocolError::UnexpectedMask),
            _ => {}
        }

        let length = match length {
            126 => HeadLength::Next16,
            127 => HeadLength::Next64,
            length => HeadLength::Here(length),
        };
        Ok(Head {
            kind,
            fin,
            rsv1,
            length,
        })
    }
}
