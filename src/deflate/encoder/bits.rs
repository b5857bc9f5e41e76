//! Deflate's order of bits: from the least significant one on.

/// What headers and the end of a message take up at most, besides its contents.
const OVERHEAD: usize = 64;

/// Writes bits behind what a vector holds.
pub(super) struct BitWriter<'a> {
    out: &'a mut Vec<u8>,
    /// Bits that do not make up four bytes yet, the first one lowest.
    bits: u64,
    count: u32,
}

impl<'a> BitWriter<'a> {
    /// A writer for what `length` bytes of text become.
    pub(super) fn new(out: &'a mut Vec<u8>, length: usize) -> Self {
        out.reserve((length / 2).saturating_add(OVERHEAD));
        Self {
            out,
            bits: 0,
            count: 0,
        }
    }

    /// Writes the lowest `count` bits, at most 32. The others must be 0.
    #[inline(always)]
    pub(super) fn put(&mut self, bits: u32, count: u32) {
        self.bits |= u64::from(bits).wrapping_shl(self.count);
        self.count = self.count.wrapping_add(count);
        if self.count >= 32 {
            let [a, b, c, d, ..] = self.bits.to_le_bytes();
            self.out.extend_from_slice(&[a, b, c, d]);
            self.bits >>= 32;
            self.count = self.count.wrapping_sub(32);
        }
    }

    /// Fills up the last byte with zeros.
    fn align(&mut self) {
        let bytes = usize::try_from(self.count.div_ceil(8)).unwrap_or(0);
        let all = self.bits.to_le_bytes();
        self.out
            .extend_from_slice(all.get(..bytes).unwrap_or_default());
        self.bits = 0;
        self.count = 0;
    }

    /// Writes a block that is not compressed (RFC 1951, section 3.2.4), of at most 65,535 bytes.
    pub(super) fn stored_block(&mut self, bytes: &[u8]) {
        self.put(0, 3);
        self.align();
        let length = u16::try_from(bytes.len()).unwrap_or(0);
        self.out.extend_from_slice(&length.to_le_bytes());
        self.out.extend_from_slice(&(!length).to_le_bytes());
        self.out.extend_from_slice(bytes);
    }

    /// Ends on a byte boundary, with an empty stored block.
    pub(super) fn flush(mut self) {
        self.stored_block(&[]);
    }
}
