//! WebSocket frames (RFC 6455, section 5) as a client needs them: masked ones out, unmasked in.

use crate::Outcome;

pub const CONTINUATION: u8 = 0;
pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;

/// The longest header that a server can send: two bytes and a 64-bit length.
const MAX_SERVER_HEADER: usize = 10;

/// Appends one whole masked frame.
pub fn push_client_frame(out: &mut Vec<u8>, opcode: u8, rsv1: bool, mask: [u8; 4], payload: &[u8]) {
    out.push(0x80 | if rsv1 { 0x40 } else { 0 } | opcode);
    match payload.len() {
        length @ 0..=125 => out.push(0x80 | length as u8),
        length @ 126..=0xffff => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&mask);
    out.extend(
        payload
            .iter()
            .zip(mask.iter().cycle())
            .map(|(byte, key)| byte ^ key),
    );
}

#[derive(Clone, Copy, Default)]
pub struct Header {
    pub fin: bool,
    pub rsv1: bool,
    pub opcode: u8,
    pub length: u64,
}

impl Header {
    /// Reads the header of a server's frame: itself and its own length, or `None` while bytes are
    /// missing.
    pub fn parse(bytes: &[u8]) -> Outcome<Option<(Self, usize)>> {
        let [first, second, rest @ ..] = bytes else {
            return Ok(None);
        };
        if second & 0x80 != 0 {
            return Err("the server sent a masked frame".into());
        }
        let (length, size) = match second & 0x7f {
            126 => match rest.first_chunk::<2>() {
                Some(length) => (u64::from(u16::from_be_bytes(*length)), 4),
                None => return Ok(None),
            },
            127 => match rest.first_chunk::<8>() {
                Some(length) => (u64::from_be_bytes(*length), 10),
                None => return Ok(None),
            },
            length => (u64::from(length), 2),
        };
        let header = Self {
            fin: first & 0x80 != 0,
            rsv1: first & 0x40 != 0,
            opcode: first & 0x0f,
            length,
        };
        Ok(Some((header, size)))
    }

    pub fn is_control(&self) -> bool {
        self.opcode >= CLOSE
    }
}

/// Who wants the frames that a [`FrameReader`] finds. A payload may come in any number of pieces.
pub trait FrameSink {
    fn begin(&mut self, header: &Header) -> Outcome<()>;
    fn payload(&mut self, header: &Header, piece: &[u8]) -> Outcome<()>;
    fn end(&mut self, header: &Header) -> Outcome<()>;
}

/// Cuts a byte stream into frames without ever holding more than a part of a header.
#[derive(Default)]
pub struct FrameReader {
    partial: [u8; MAX_SERVER_HEADER],
    partial_length: usize,
    header: Header,
    /// Bytes of the current frame's payload still to come; `None` between frames.
    remaining: Option<u64>,
}

impl FrameReader {
    pub fn read(&mut self, mut bytes: &[u8], sink: &mut impl FrameSink) -> Outcome<()> {
        while !bytes.is_empty() {
            let remaining = match self.remaining {
                Some(remaining) => remaining,
                None => match self.take_header(&mut bytes)? {
                    Some(header) => {
                        sink.begin(&header)?;
                        self.header = header;
                        header.length
                    }
                    None => return Ok(()),
                },
            };
            let here = bytes
                .len()
                .min(usize::try_from(remaining).unwrap_or(usize::MAX));
            let (piece, rest) = bytes.split_at(here);
            if here > 0 {
                sink.payload(&self.header, piece)?;
            }
            bytes = rest;
            let remaining = remaining - here as u64;
            if remaining == 0 {
                self.remaining = None;
                sink.end(&self.header)?;
            } else {
                self.remaining = Some(remaining);
            }
        }
        Ok(())
    }

    /// Takes one header off the front of `bytes`, or keeps the part of it that is there.
    fn take_header(&mut self, bytes: &mut &[u8]) -> Outcome<Option<Header>> {
        if self.partial_length == 0 {
            if let Some((header, size)) = Header::parse(bytes)? {
                *bytes = &bytes[size..];
                return Ok(Some(header));
            }
        }
        while let [first, rest @ ..] = *bytes {
            self.partial[self.partial_length] = *first;
            self.partial_length += 1;
            *bytes = rest;
            if let Some((header, _)) = Header::parse(&self.partial[..self.partial_length])? {
                self.partial_length = 0;
                return Ok(Some(header));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Collected {
        lengths: Vec<u64>,
        bytes: Vec<u8>,
        ended: usize,
    }

    impl FrameSink for Collected {
        fn begin(&mut self, header: &Header) -> Outcome<()> {
            self.lengths.push(header.length);
            Ok(())
        }
        fn payload(&mut self, _: &Header, piece: &[u8]) -> Outcome<()> {
            self.bytes.extend_from_slice(piece);
            Ok(())
        }
        fn end(&mut self, _: &Header) -> Outcome<()> {
            self.ended += 1;
            Ok(())
        }
    }

    fn server_frames(lengths: &[usize]) -> (Vec<u8>, Vec<u8>) {
        let (mut wire, mut plain) = (Vec::new(), Vec::new());
        for &length in lengths {
            let payload: Vec<u8> = (0..length).map(|index| (index * 7) as u8).collect();
            wire.push(0x82);
            match length {
                0..=125 => wire.push(length as u8),
                126..=0xffff => {
                    wire.push(126);
                    wire.extend_from_slice(&(length as u16).to_be_bytes());
                }
                _ => {
                    wire.push(127);
                    wire.extend_from_slice(&(length as u64).to_be_bytes());
                }
            }
            wire.extend_from_slice(&payload);
            plain.extend_from_slice(&payload);
        }
        (wire, plain)
    }

    #[test]
    fn frames_survive_being_cut_at_any_byte() {
        let lengths = [0, 5, 125, 126, 300, 65_536, 0];
        let (wire, plain) = server_frames(&lengths);
        for step in [1, 2, 3, 7, 130, 5_000, wire.len()] {
            let (mut reader, mut sink) = (FrameReader::default(), Collected::default());
            for piece in wire.chunks(step) {
                reader.read(piece, &mut sink).unwrap();
            }
            assert_eq!(sink.lengths, lengths.map(|length| length as u64));
            assert_eq!(sink.ended, lengths.len());
            assert_eq!(sink.bytes, plain);
        }
    }

    #[test]
    fn a_masked_frame_from_the_server_is_refused() {
        let mut frame = Vec::new();
        push_client_frame(&mut frame, TEXT, false, [1, 2, 3, 4], b"hello");
        assert!(Header::parse(&frame).is_err());
    }

    #[test]
    fn a_client_frame_is_masked_with_its_key() {
        let mut frame = Vec::new();
        push_client_frame(&mut frame, TEXT, true, [1, 2, 3, 4], b"abcde");
        assert_eq!(frame[..6], [0xc1, 0x85, 1, 2, 3, 4]);
        assert_eq!(
            frame[6..],
            [b'a' ^ 1, b'b' ^ 2, b'c' ^ 3, b'd' ^ 4, b'e' ^ 1]
        );
    }
}
