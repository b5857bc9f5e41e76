//! Looks at what a server sends, so that nobody gets fast by answering something else.
//!
//! Every message is counted by its frames, and must have the right opcode and length. Contents are
//! compared for every short message and for a sample of the long and the compressed ones.

use crate::deflate::Inflater;
use crate::frame::{self, FrameSink, Header};
use crate::handshake::Negotiated;
use crate::messages::Messages;
use crate::Outcome;

/// Messages up to this size are all compared: it costs less than reading their header.
const ALWAYS_COMPARED: usize = 256;
const LONG_SAMPLE: u64 = 8;
const COMPRESSED_SAMPLE: u64 = 64;

pub struct ReplyCheck {
    /// The number of the message that is expected, or on its way.
    number: u64,
    /// How many bytes of it came so far: plain ones, or compressed ones.
    length: u64,
    within_message: bool,
    compressed: bool,
    compare: bool,
    inflater: Option<Inflater>,
    wire: Vec<u8>,
    /// Uncompressed messages on a connection that negotiated compression.
    pub uncompressed: u64,
}

impl ReplyCheck {
    /// `watched`: whether to follow this connection's compression even if that takes every message.
    pub fn new(negotiated: &Negotiated, watched: bool) -> Self {
        let follow = negotiated.deflate && (watched || !negotiated.server_takeover);
        Self {
            number: 0,
            length: 0,
            within_message: false,
            compressed: false,
            compare: false,
            inflater: follow.then(|| Inflater::new(negotiated.server_takeover)),
            wire: Vec::new(),
            uncompressed: 0,
        }
    }

    /// How many whole messages came so far.
    pub fn completed(&self) -> u64 {
        self.number
    }

    /// A sink for one read, which compares with `messages`.
    pub fn with<'a>(&'a mut self, messages: &'a Messages, deflate: bool) -> impl FrameSink + 'a {
        Comparison {
            check: self,
            messages,
            deflate,
        }
    }
}

struct Comparison<'a> {
    check: &'a mut ReplyCheck,
    messages: &'a Messages,
    deflate: bool,
}

impl Comparison<'_> {
    fn wanted(&self, plain: &[u8]) -> bool {
        match (&self.check.inflater, self.check.compressed) {
            (Some(inflater), true) => {
                inflater.takeover() || self.check.number.is_multiple_of(COMPRESSED_SAMPLE)
            }
            (None, true) => false,
            (_, false) => {
                plain.len() <= ALWAYS_COMPARED || self.check.number.is_multiple_of(LONG_SAMPLE)
            }
        }
    }

    fn wrong(&self, what: &str) -> Outcome<()> {
        Err(format!(
            "message {} of a connection came back {what}",
            self.check.number
        )
        .into())
    }
}

impl FrameSink for Comparison<'_> {
    fn begin(&mut self, header: &Header) -> Outcome<()> {
        if header.opcode == frame::CLOSE {
            return Err("the server closed a connection".into());
        }
        if header.is_control() {
            return Ok(());
        }
        if self.check.within_message != (header.opcode == frame::CONTINUATION) {
            return self.wrong("in a wrong order of frames");
        }
        if !self.check.within_message {
            if header.opcode != self.messages.opcode {
                return self.wrong("with another opcode");
            }
            if header.rsv1 && !self.deflate {
                return self.wrong("compressed, which was not negotiated");
            }
            self.check.compressed = header.rsv1;
            self.check.uncompressed += u64::from(self.deflate && !header.rsv1);
            self.check.length = 0;
            self.check.compare = self.wanted(self.messages.plain(self.check.number));
        }
        self.check.within_message = true;
        Ok(())
    }

    fn payload(&mut self, header: &Header, piece: &[u8]) -> Outcome<()> {
        if header.is_control() {
            return Ok(());
        }
        let start = self.check.length as usize;
        self.check.length += piece.len() as u64;
        if self.check.compare {
            if self.check.compressed {
                self.check.wire.extend_from_slice(piece);
            } else if self
                .messages
                .plain(self.check.number)
                .get(start..start + piece.len())
                != Some(piece)
            {
                return self.wrong("with other contents");
            }
        }
        Ok(())
    }

    fn end(&mut self, header: &Header) -> Outcome<()> {
        if header.is_control() || !header.fin {
            return Ok(());
        }
        let plain = self.messages.plain(self.check.number);
        if self.check.compressed {
            if self.check.compare {
                if let Some(inflater) = &mut self.check.inflater {
                    if inflater.inflate(&mut self.check.wire, plain.len())? != plain {
                        return self.wrong("with other contents");
                    }
                }
            }
        } else if self.check.length != plain.len() as u64 {
            return self.wrong("with another length");
        }
        self.check.within_message = false;
        self.check.number += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deflate::compress_each;
    use crate::frame::FrameReader;

    fn server_frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![first, 126];
        frame.extend_from_slice(&(payload.len() as u16).to_be_bytes());
        frame.extend_from_slice(payload);
        frame
    }

    fn read(
        check: &mut ReplyCheck,
        messages: &Messages,
        deflate: bool,
        wire: &[u8],
    ) -> Outcome<()> {
        FrameReader::default().read(wire, &mut check.with(messages, deflate))
    }

    #[test]
    fn the_right_messages_are_counted() {
        let messages = Messages::new(200, false);
        let mut check = ReplyCheck::new(&Negotiated::default(), true);
        let mut wire = server_frame(0x81, messages.plain(0));
        wire.extend(server_frame(0x01, &messages.plain(1)[..50]));
        wire.extend(server_frame(0x80, &messages.plain(1)[50..]));
        read(&mut check, &messages, false, &wire).unwrap();
        assert_eq!(check.completed(), 2);
    }

    #[test]
    fn wrong_contents_lengths_opcodes_and_order_are_refused() {
        let messages = Messages::new(200, false);
        let mut garbled = messages.plain(0).to_vec();
        garbled[77] ^= 1;
        let wrong = [
            server_frame(0x81, &garbled),
            server_frame(0x81, &messages.plain(0)[1..]),
            server_frame(0x82, messages.plain(0)),
            server_frame(0xc1, messages.plain(0)),
            server_frame(0x80, messages.plain(0)),
            server_frame(0x81, messages.plain(1)),
            server_frame(0x88, &[]),
        ];
        for wire in wrong {
            let mut check = ReplyCheck::new(&Negotiated::default(), true);
            assert!(read(&mut check, &messages, false, &wire).is_err());
        }
    }

    #[test]
    fn compressed_messages_are_inflated_and_compared() {
        let messages = Messages::new(1024, false);
        let negotiated = Negotiated {
            deflate: true,
            client_takeover: true,
            server_takeover: true,
            ..Default::default()
        };
        let plain: Vec<Vec<u8>> = (0..3)
            .map(|number| messages.plain(number).to_vec())
            .collect();
        let wire: Vec<Vec<u8>> = compress_each(plain.iter(), true)
            .iter()
            .map(|payload| server_frame(0xc1, payload))
            .collect();
        let mut check = ReplyCheck::new(&negotiated, true);
        read(&mut check, &messages, true, &wire.concat()).unwrap();
        assert_eq!((check.completed(), check.uncompressed), (3, 0));

        let mut check = ReplyCheck::new(&negotiated, true);
        let swapped = [wire[0].clone(), wire[2].clone()].concat();
        assert!(read(&mut check, &messages, true, &swapped).is_err());
    }
}
