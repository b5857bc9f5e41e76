//! Bits into bytes, the lowest first (RFC 1951, section 3.1.1).

/// Appends bits to a buffer.
pub(super) struct BitWriter<'a> {
    out: &'a mut Vec<u8>,
    /// What makes no four bytes yet, the oldest lowest.
    held: u64,
    /// How many bits that is, 31 at most.
    count: u32,
}

impl<'a> BitWriter<'a> {
    /// A writer that begins with a new byte behind `out`.
    pub(super) fn new(out: &'a mut Vec<u8>) -> Self {
        Self {
            out,
            held: 0,
            count: 0,
        }
    }

    /// Appends the lowest `count` bits, 32 at most; those above are 0.
    #[inline(always)]
    pub(super) fn put(&mut self, bits: u32, count: u32) {
        self.held |= u64::from(bits).wrapping_shl(self.count);
        self.count = self.count.wrapping_add(count);
        if self.count >= 32 {
            let [a, b, c, d, ..] = self.held.to_le_bytes();
            self.out.extend_from_slice(&[a, b, c, d]);
            self.held >>= 32;
            self.count = self.count.wrapping_sub(32);
        }
    }

    /// Fills the last byte with zeros.
    pub(super) fn align(&mut self) {
        let bytes = usize::try_from(self.count.div_ceil(8)).unwrap_or_default();
        self.out.extend(self.held.to_le_bytes().iter().take(bytes));
        self.held = 0;
        self.count = 0;
    }

    /// How many bits [`BitWriter::align`] would add behind so many more.
    pub(super) fn padding_after(&self, more: u32) -> u32 {
        self.count.wrapping_add(more).wrapping_neg() % 8
    }

    /// Appends whole bytes, after [`BitWriter::align`].
    pub(super) fn put_bytes(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }
}
