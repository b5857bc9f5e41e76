//! UTF-8 validation, of whole slices and of text that arrives in pieces.

/// Whether `bytes` are UTF-8.
#[inline]
pub fn validate_utf8(bytes: &[u8]) -> bool {
    simdutf8::basic::from_utf8(bytes).is_ok()
}

/// Validates text piece by piece, whatever the pieces cut apart.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Utf8Stream {
    /// The beginning of a character whose end has not arrived.
    cut: [u8; 4],
    cut_len: u8,
    invalid: bool,
}

impl Utf8Stream {
    /// Takes the next piece of the text.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        let bytes = self.complete_cut(bytes);
        if self.invalid {
            return;
        }

        let whole = bytes.len().saturating_sub(cut_tail(bytes));
        let (bytes, tail) = bytes.split_at(whole);
        self.invalid = !validate_utf8(bytes);
        for byte in tail {
            self.push(*byte);
        }
    }

    /// Whether all the text was UTF-8.
    pub(super) fn is_valid(&self) -> bool {
        !self.invalid && self.cut_len == 0
    }

    /// Completes the cut character from the front of `bytes` and returns what follows it.
    fn complete_cut<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let mut rest = bytes;
        while self.cut_len > 0 {
            let Some((byte, after)) = rest.split_first() else {
                break;
            };
            rest = after;
            self.push(*byte);
            let [lead, ..] = self.cut;
            if self.cut_len >= char_len(lead) {
                let character = self.cut.get(..usize::from(self.cut_len));
                self.invalid |= !character.is_some_and(validate_utf8);
                self.cut_len = 0;
            }
        }
        rest
    }

    fn push(&mut self, byte: u8) {
        if let Some(slot) = self.cut.get_mut(usize::from(self.cut_len)) {
            *slot = byte;
            self.cut_len = self.cut_len.saturating_add(1);
        }
    }
}

/// How many bytes at the end of `bytes` begin a character that is not complete.
fn cut_tail(bytes: &[u8]) -> usize {
    for (before, byte) in bytes.iter().rev().take(3).enumerate() {
        let len = before.saturating_add(1);
        match byte {
            0x00..=0x7f => return 0,
            0x80..=0xbf => continue,
            lead => {
                let complete = len >= usize::from(char_len(*lead));
                return if complete { 0 } else { len };
            }
        }
    }
    0
}

/// The length a character with this first byte claims. Bytes that can begin no character claim as much
/// as their leading bits say; validating the whole finds them out.
fn char_len(lead: u8) -> u8 {
    match lead {
        0x00..=0xbf => 1,
        0xc0..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xff => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn piecewise<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> bool {
        let mut stream = Utf8Stream::default();
        for piece in pieces {
            stream.feed(piece);
        }
        stream.is_valid()
    }

    #[test]
    fn text_is_judged_the_same_wherever_it_is_cut() {
        let samples: [&[u8]; 16] = [
            b"",
            "aß水🍺z".as_bytes(),
            "\u{10ffff}\u{d7ff}\u{e000}".as_bytes(),
            b"\x80",
            b"\xc0\xaf",
            b"\xc1\xbf",
            b"\xe0\x80\xaf",
            b"\xed\xa0\x80",
            b"\xf0\x80\x80\xaf",
            b"\xf4\x90\x80\x80",
            b"\xf5\x80\x80\x80",
            b"\xff\xff\xff\xff",
            b"\xe6\xb0",
            b"\xe6\xb0a",
            b"\xf0\x9f\x8d",
            b"\xc3\xc3\x9f",
        ];
        for sample in samples {
            for prefix in ["", "plain "] {
                let text = [prefix.as_bytes(), sample].concat();
                let expected = std::str::from_utf8(&text).is_ok();
                assert_eq!(validate_utf8(&text), expected);
                assert_eq!(piecewise(text.chunks(1)), expected, "{text:x?}");
                for cut in 0..=text.len() {
                    let (front, back) = text.split_at(cut);
                    let pieces = [front, &[], back];
                    assert_eq!(piecewise(pieces), expected, "{text:x?} at {cut}");
                }
            }
        }
    }

    #[test]
    fn a_fault_is_not_forgotten() {
        assert!(!piecewise([&b"\xff"[..], b"fine", "水".as_bytes()]));
        assert!(!piecewise([&b"\xe6"[..], b"a", b"\xb0"]));
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_pieces_are_judged_as_a_whole(
            pieces in prop::collection::vec(prop::collection::vec(0x7eu8.., 0..4), 0..6),
        ) {
            let whole = pieces.concat();
            let expected = std::str::from_utf8(&whole).is_ok();
            prop_assert_eq!(piecewise(pieces.iter().map(Vec::as_slice)), expected);
        }
    }
}
