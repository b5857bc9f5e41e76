//! The way out: frame headers, and masking of frames that lie ready to be sent.

use super::mask::mask;
use std::fmt;
use std::io::Cursor;
use tungstenite::protocol::frame::{coding::OpCode, FrameHeader};

/// The most bytes a frame header takes.
pub const MAX_HEAD: usize = 14;

/// The header of a frame to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHead {
    /// The last frame of its message.
    pub fin: bool,
    /// The first frame of a compressed message.
    pub rsv1: bool,
    /// The opcode, of which the lower four bits count.
    pub opcode: u8,
    /// The payload's length.
    pub length: u64,
    /// The key the payload is masked with; clients have one.
    pub mask: Option<[u8; 4]>,
}

impl FrameHead {
    /// Writes the header to the front of `out` and returns its length.
    #[inline]
    pub fn write(&self, out: &mut [u8; MAX_HEAD]) -> usize {
        let header = FrameHeader {
            is_final: self.fin,
            rsv1: self.rsv1,
            rsv2: false,
            rsv3: false,
            opcode: OpCode::from(self.opcode & 0x0f),
            mask: self.mask,
        };
        let mut rest = out.as_mut_slice();
        // Writing to memory fails only for want of room, and no header is longer than the buffer.
        let written = header.format(self.length, &mut rest);
        debug_assert!(written.is_ok());
        MAX_HEAD.saturating_sub(rest.len())
    }
}

/// The bytes given to [`mask_frames`] are not a sequence of whole frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BrokenRun;

impl fmt::Display for BrokenRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a run of whole frames")
    }
}

impl std::error::Error for BrokenRun {}

/// Masks the payload of every frame in `run` whose header has a masking key. The run is a sequence of whole frames whose
/// payloads are still plain. On failure the frames before the broken one are masked, the rest is untouched.
pub fn mask_frames(run: &mut [u8]) -> Result<(), BrokenRun> {
    let mut rest = run;
    while !rest.is_empty() {
        let mut cursor = Cursor::new(&*rest);
        let Ok(Some((header, length))) = FrameHeader::parse(&mut cursor) else {
            return Err(BrokenRun);
        };
        let start = usize::try_from(cursor.position()).map_err(|_| BrokenRun)?;
        let length = usize::try_from(length).map_err(|_| BrokenRun)?;

        let (_, after) = rest.split_at_mut_checked(start).ok_or(BrokenRun)?;
        let (payload, after) = after.split_at_mut_checked(length).ok_or(BrokenRun)?;
        // A caller may have asked for a frame without a mask.
        if let Some(key) = header.mask {
            mask(payload, key, 0);
        }
        rest = after;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(opcode: u8, length: u64) -> FrameHead {
        FrameHead {
            fin: true,
            rsv1: false,
            opcode,
            length,
            mask: None,
        }
    }

    fn written(head: FrameHead) -> Vec<u8> {
        let mut out = [0xee; MAX_HEAD];
        let len = head.write(&mut out);
        assert!(out[len..].iter().all(|byte| *byte == 0xee));
        out[..len].to_vec()
    }

    fn frame(payload: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
        let length = payload.len() as u64;
        let mut bytes = written(FrameHead {
            mask,
            ..head(2, length)
        });
        bytes.extend_from_slice(payload);
        bytes
    }

    #[test]
    fn a_length_takes_as_few_bytes_as_it_can() {
        assert_eq!(written(head(2, 0)), [0x82, 0]);
        assert_eq!(written(head(2, 125)), [0x82, 125]);
        assert_eq!(written(head(2, 126)), [0x82, 126, 0, 126]);
        assert_eq!(written(head(2, 65535)), [0x82, 126, 255, 255]);
        assert_eq!(written(head(2, 65536)), [0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
    }

    #[test]
    fn the_bits_are_where_they_belong() {
        for opcode in 0..16 {
            assert_eq!(written(head(opcode, 1)), [0x80 | opcode, 1]);
        }
        let unfinished = FrameHead {
            fin: false,
            rsv1: true,
            ..head(1, 1)
        };
        assert_eq!(written(unfinished), [0x41, 1]);
        // An opcode has four bits; others do not leak into the flags.
        assert_eq!(written(head(0xf1, 1)), [0x81, 1]);
    }

    #[test]
    fn the_key_ends_the_header() {
        let mask = Some([1, 2, 3, 4]);
        assert_eq!(
            written(FrameHead { mask, ..head(9, 5) }),
            [0x89, 0x85, 1, 2, 3, 4]
        );
        let longest = written(FrameHead {
            mask,
            ..head(2, u64::MAX)
        });
        assert_eq!(longest.len(), MAX_HEAD);
        assert_eq!(longest[10..], [1, 2, 3, 4]);
    }

    #[test]
    fn every_frame_of_a_run_is_masked_with_its_own_key() {
        let payloads = [vec![1; 3], Vec::new(), vec![2; 126], vec![3; 65536]];
        let mut run = Vec::new();
        let mut expected = Vec::new();
        for (index, payload) in payloads.iter().enumerate() {
            let key = [index as u8, 7, 8, 9];
            run.extend(frame(payload, Some(key)));
            let mut masked = payload.clone();
            mask(&mut masked, key, 0);
            expected.extend(frame(&masked, Some(key)));
        }
        assert_eq!(mask_frames(&mut run), Ok(()));
        assert_eq!(run, expected);
        assert_eq!(mask_frames(&mut []), Ok(()));
    }

    #[test]
    fn a_run_that_is_not_made_of_whole_frames_is_refused() {
        let good = frame(b"payload", Some([1, 2, 3, 4]));
        for cut in 1..good.len() {
            assert_eq!(mask_frames(&mut good[..cut].to_vec()), Err(BrokenRun));
        }
        let mut plain = frame(b"plain", None);
        assert_eq!(mask_frames(&mut plain), Ok(()));
        assert_eq!(plain, frame(b"plain", None));
        let mut endless = written(FrameHead {
            mask: Some([0; 4]),
            ..head(2, u64::MAX)
        });
        assert_eq!(mask_frames(&mut endless), Err(BrokenRun));
    }
}
