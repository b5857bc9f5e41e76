//! A block: what is to be said of a text, and the shortest of the three ways to write it (RFC 1951, section 3.2.3).

use std::sync::LazyLock;

use super::bits::BitWriter;
use super::codes::{Codes, LONGEST_CODE};
use super::table::Table;
use crate::deflate::symbols::{
    fixed_lengths, DISTANCES, END_OF_BLOCK, FIRST_LENGTH, FIXED_SYMBOLS, LENGTHS,
};

pub(super) type SymbolCodes = Codes<FIXED_SYMBOLS>;
pub(super) type DistanceCodes = Codes<{ DISTANCES.len() }>;

/// The longest text in one stored block.
const LONGEST_STORED: usize = 0xffff;

/// Which of the symbols for lengths the longest match has.
const LONGEST_MATCH_SYMBOL: usize = LENGTHS.len() - 1;

/// A literal, or the length of a match less 3 below the distance.
#[derive(Clone, Copy)]
struct Token(u32);

/// What a token is written as: a symbol, and a number in some extra bits.
#[derive(Clone, Copy)]
struct Part {
    symbol: usize,
    extra: u32,
    extra_bits: u32,
}

/// The part of a number from 0 on, for which 2 to the power of `fine` symbols share each count of extra bits.
#[inline(always)]
fn part(number: u32, fine: u32) -> Part {
    let bits = number.checked_ilog2().unwrap_or_default();
    let extra_bits = bits.saturating_sub(fine);
    let symbol = extra_bits
        .wrapping_shl(fine)
        .wrapping_add(number.wrapping_shr(extra_bits));
    let mask = 1_u32.wrapping_shl(extra_bits).wrapping_sub(1);
    Part {
        symbol: usize::try_from(symbol).unwrap_or_default(),
        extra: number & mask,
        extra_bits,
    }
}

/// A length less 3. The longest has a symbol of its own.
#[inline(always)]
fn length_part(rest: u32) -> Part {
    let mut part = if rest == 255 {
        Part {
            symbol: LONGEST_MATCH_SYMBOL,
            extra: 0,
            extra_bits: 0,
        }
    } else {
        part(rest, 2)
    };
    part.symbol = part.symbol.wrapping_add(FIRST_LENGTH);
    part
}

/// A distance less 1.
#[inline(always)]
fn distance_part(rest: u32) -> Part {
    part(rest, 1)
}

/// What is to be said of a text.
pub(super) struct Block {
    tokens: Vec<Token>,
    symbols: [u16; FIXED_SYMBOLS],
    distances: [u16; DISTANCES.len()],
    /// How long the text is.
    length: usize,
}

impl Block {
    pub(super) fn new() -> Self {
        Self {
            tokens: Vec::new(),
            symbols: [0; FIXED_SYMBOLS],
            distances: [0; DISTANCES.len()],
            length: 0,
        }
    }

    /// Adds a byte as it is.
    #[inline(always)]
    pub(super) fn literal(&mut self, byte: u8) {
        if let Some(count) = self.symbols.get_mut(usize::from(byte)) {
            *count = count.wrapping_add(1);
        }
        self.tokens.push(Token(byte.into()));
        self.length = self.length.wrapping_add(1);
    }

    /// Adds a repetition of 3 to 258 bytes that lie 1 to 32,768 bytes back.
    #[inline(always)]
    pub(super) fn repetition(&mut self, length: usize, distance: usize) {
        self.length = self.length.wrapping_add(length);
        let length = u32::try_from(length).unwrap_or_default().wrapping_sub(3);
        let distance = u32::try_from(distance).unwrap_or_default();
        let symbol = length_part(length).symbol;
        if let Some(count) = self.symbols.get_mut(symbol) {
            *count = count.wrapping_add(1);
        }
        let symbol = distance_part(distance.wrapping_sub(1)).symbol;
        if let Some(count) = self.distances.get_mut(symbol) {
            *count = count.wrapping_add(1);
        }
        self.tokens.push(Token(distance.wrapping_shl(8) | length));
    }

    /// How many literals and repetitions there are.
    pub(super) fn tokens(&self) -> usize {
        self.tokens.len()
    }

    pub(super) fn clear(&mut self) {
        self.tokens.clear();
        self.symbols = [0; FIXED_SYMBOLS];
        self.distances = [0; DISTANCES.len()];
        self.length = 0;
    }

    /// Writes the block, which is not the last one, and forgets it. The end of `all` is its text, unless that is too
    /// long to be stored in any case, or is forgotten.
    pub(super) fn write(&mut self, all: &[u8], bits: &mut BitWriter) {
        if let Some(count) = self.symbols.get_mut(END_OF_BLOCK) {
            *count = 1;
        }
        let (symbols, distances) = &*FIXED;
        let fixed = self.body(symbols, distances);
        let start = all.len().checked_sub(self.length);
        let text = start.filter(|_| self.length <= LONGEST_STORED);
        let text = text.and_then(|start| all.get(start..));
        let stored = text.map_or(u32::MAX, |text| stored_bits(text.len(), bits));
        let stored = stored.saturating_sub(self.extra_bits());
        let own = self.is_worth_a_table(fixed).then(|| {
            let symbols = Codes::for_counts(&self.symbols, LONGEST_CODE);
            let distances = Codes::for_counts(&self.distances, LONGEST_CODE);
            let table = Table::new(&symbols, &distances);
            let length = self.body(&symbols, &distances).saturating_add(table.bits());
            (length, table, symbols, distances)
        });
        match own {
            Some((length, table, symbols, distances)) if length < fixed.min(stored) => {
                bits.put(0b100, 3);
                table.write(bits);
                self.write_tokens(&symbols, &distances, bits);
            }
            _ if stored < fixed => write_stored(text.unwrap_or_default(), bits),
            _ => {
                bits.put(0b010, 3);
                self.write_tokens(symbols, distances, bits);
            }
        }
        self.clear();
    }

    /// Whether codes of its own may be shorter than the fixed ones, in which all takes so many bits. What describes them takes
    /// some bits for each symbol that occurs.
    fn is_worth_a_table(&self, fixed: u32) -> bool {
        let counts = self.symbols.iter().chain(&self.distances);
        let occurring: u32 = counts.map(|count| u32::from(*count > 0)).sum();
        fixed > occurring.saturating_mul(14).saturating_add(100)
    }

    /// Bytes allocated besides itself.
    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        self.tokens.capacity().saturating_mul(size_of::<Token>())
    }

    /// How many bits the numbers take that stand behind symbols.
    fn extra_bits(&self) -> u32 {
        let lengths = self.symbols.iter().skip(FIRST_LENGTH).zip(LENGTHS);
        let distances = self.distances.iter().zip(DISTANCES);
        let bits =
            |(count, (_, extra)): (&u16, (usize, u32))| u32::from(*count).wrapping_mul(extra);
        lengths.chain(distances).map(bits).sum()
    }

    /// How many bits the symbols take in these codes.
    fn body(&self, symbols: &SymbolCodes, distances: &DistanceCodes) -> u32 {
        let distances = distances.total(&self.distances);
        symbols.total(&self.symbols).saturating_add(distances)
    }

    fn write_tokens(&self, symbols: &SymbolCodes, distances: &DistanceCodes, bits: &mut BitWriter) {
        let mut put = |part: Part, (code, length): (u32, u32)| {
            let bits_of_both = length.wrapping_add(part.extra_bits);
            bits.put(code | part.extra.wrapping_shl(length), bits_of_both);
        };
        for Token(token) in &self.tokens {
            let [low, ..] = token.to_le_bytes();
            let distance = token.wrapping_shr(8);
            if distance == 0 {
                let part = Part {
                    symbol: low.into(),
                    extra: 0,
                    extra_bits: 0,
                };
                put(part, symbols.of(low.into()));
            } else {
                let part = length_part(low.into());
                put(part, symbols.of(part.symbol));
                let part = distance_part(distance.wrapping_sub(1));
                put(part, distances.of(part.symbol));
            }
        }
        let (code, length) = symbols.of(END_OF_BLOCK);
        bits.put(code, length);
    }
}

/// The codes that need no table (RFC 1951, section 3.2.6).
static FIXED: LazyLock<(SymbolCodes, DistanceCodes)> = LazyLock::new(|| {
    let distances = Codes::with_lengths([5; DISTANCES.len()]);
    (Codes::with_lengths(fixed_lengths()), distances)
});

/// How many bits a text takes as it is, behind the three bits that say so.
fn stored_bits(length: usize, bits: &BitWriter) -> u32 {
    let bytes = u32::try_from(length).unwrap_or(u32::MAX);
    let header = bits.padding_after(3).saturating_add(32);
    bytes.saturating_mul(8).saturating_add(header)
}

fn write_stored(text: &[u8], bits: &mut BitWriter) {
    bits.put(0, 3);
    bits.align();
    let length = u16::try_from(text.len()).unwrap_or_default();
    bits.put_bytes(&length.to_le_bytes());
    bits.put_bytes(&(!length).to_le_bytes());
    bits.put_bytes(text);
}
