//! Huffman codes as deflate describes them: by the length of each symbol's code.

use super::symbols::fixed_lengths;

/// The longest code.
const MAX_BITS: usize = 15;

/// Codes up to this length are looked up, longer ones are read bit by bit.
const LOOKED_UP: usize = 10;

/// A canonical code.
#[derive(Default)]
pub(super) struct Huffman {
    /// How many symbols have a code of each length.
    counts: [u16; MAX_BITS + 1],
    /// The symbols in the order of their codes.
    symbols: Vec<u16>,
    /// For each value of the next bits, as many as the longest of these codes has, the symbol that the lowest of them are the
    /// code of, and how many those are; 0 if the code is longer.
    short: Vec<(u16, u8)>,
    /// Some codes stand for nothing. zlib has this only with one code of one bit, or none.
    is_incomplete: bool,
}

/// What the next bits stand for.
pub(super) enum Code {
    /// A symbol, and how many bits its code has.
    Symbol(u16, u32),
    /// Nothing, and how many bits show that.
    Nothing(u32),
    /// The code does not end within the bits.
    Unfinished,
}

/// The lengths are no code, or one that zlib does not take.
#[derive(Debug)]
pub(super) struct InvalidLengths;

impl Huffman {
    /// The code with these lengths, 0 for symbols that have none. Of the incomplete codes zlib takes the one that has no
    /// symbol, and with `may_be_single` that of one symbol with one bit.
    pub(super) fn new(lengths: &[u8], may_be_single: bool) -> Result<Self, InvalidLengths> {
        let mut counts = [0_u16; MAX_BITS + 1];
        for length in lengths {
            let count = counts.get_mut(usize::from(*length)).ok_or(InvalidLengths)?;
            *count = count.saturating_add(1);
        }
        if let Some(unused) = counts.first_mut() {
            *unused = 0;
        }
        let mut free = 1_u32;
        let mut longest = 0_usize;
        for (bits, count) in counts.iter().enumerate().skip(1) {
            free = free
                .saturating_mul(2)
                .checked_sub(u32::from(*count))
                .ok_or(InvalidLengths)?;
            if *count > 0 {
                longest = bits;
            }
        }
        if free > 0 && longest > 0 && !(may_be_single && longest == 1) {
            return Err(InvalidLengths);
        }
        let mut symbols = Vec::new();
        for bits in 1..=longest {
            let with_code = (0_u16..).zip(lengths);
            let of_length = with_code.filter(|(_, length)| usize::from(**length) == bits);
            symbols.extend(of_length.map(|(symbol, _)| symbol));
        }
        Ok(Self {
            short: short_codes(&counts, &symbols, longest.min(LOOKED_UP)),
            counts,
            symbols,
            is_incomplete: free > 0,
        })
    }

    /// The code for literals and lengths in blocks that bring none.
    pub(super) fn fixed_lengths() -> Result<Self, InvalidLengths> {
        Self::new(&fixed_lengths(), false)
    }

    /// The code for distances in blocks that bring none.
    pub(super) fn fixed_distances() -> Result<Self, InvalidLengths> {
        Self::new(&[5; 32], false)
    }

    /// What the lowest `available` bits of `held` begin with.
    pub(super) fn decode(&self, held: u64, available: u32) -> Code {
        let mask = self.short.len().saturating_sub(1);
        let [a, b, ..] = held.to_le_bytes();
        let next = usize::from(u16::from_le_bytes([a, b])) & mask;
        let (symbol, length) = self.short.get(next).copied().unwrap_or_default();
        let length = u32::from(length);
        // Beyond the available bits there is nothing to go by.
        if length > 0 && length <= available {
            Code::Symbol(symbol, length)
        } else {
            self.decode_bits(held, available)
        }
    }

    /// As [`Huffman::decode`], without looking anything up.
    pub(super) fn decode_bits(&self, held: u64, available: u32) -> Code {
        // The first code of the length, how far the bits are beyond it, and the place of its symbol.
        let (mut rest, mut first) = (held, 0_usize);
        let (mut code, mut place) = (0_usize, 0_usize);
        for (length, count) in (0_u32..).zip(self.counts).skip(1) {
            if length > available {
                return Code::Unfinished;
            }
            let count = usize::from(count);
            code |= usize::from(rest & 1 == 1);
            rest >>= 1;
            let beyond = code.saturating_sub(first);
            if beyond < count {
                let symbol = self.symbols.get(place.saturating_add(beyond));
                return symbol.map_or(Code::Nothing(length), |symbol| {
                    Code::Symbol(*symbol, length)
                });
            }
            if self.is_incomplete {
                return Code::Nothing(length);
            }
            place = place.saturating_add(count);
            first = first.saturating_add(count) << 1;
            code <<= 1;
        }
        Code::Nothing(available)
    }
}

/// What is to be looked up of a code: what has so many bits at most.
fn short_codes(counts: &[u16; MAX_BITS + 1], symbols: &[u16], most: usize) -> Vec<(u16, u8)> {
    let mut short = vec![(0, 0); 1 << most];
    let (mut code, mut symbols) = (0_u16, symbols.iter());
    for (bits, count) in (1_u8..).zip(counts.iter().skip(1)).take(most) {
        for symbol in symbols.by_ref().take(usize::from(*count)) {
            // The first bit of a code is the lowest one that is held.
            let lowest = code.reverse_bits() >> u16::BITS.saturating_sub(bits.into());
            let others = short.iter_mut().skip(usize::from(lowest));
            for entry in others.step_by(1 << bits) {
                *entry = (*symbol, bits);
            }
            code = code.wrapping_add(1);
        }
        code = code.wrapping_shl(1);
    }
    short
}
