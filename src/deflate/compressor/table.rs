//! The table of a block's own codes: how long they are, in codes of their own (RFC 1951, section 3.2.7).

use super::bits::BitWriter;
use super::block::{DistanceCodes, SymbolCodes};
use super::codes::Codes;
use crate::deflate::symbols::{CODE_LENGTHS, CODE_LENGTHS_ORDER, FIRST_LENGTH};

/// The longest code of a code's length.
const LONGEST_CODE: usize = 7;

/// Three to six more of the last length.
const REPEAT: u8 = 16;
/// Three to ten zeros.
const FEW_ZEROS: u8 = 17;
/// Eleven to 138 zeros.
const MANY_ZEROS: u8 = 18;

/// What describes the codes of a block.
pub(super) struct Table {
    symbols: usize,
    distances: usize,
    /// Lengths and repetitions, and how often those repeat more than the least number of times.
    items: Vec<(u8, u8)>,
    counts: [u16; CODE_LENGTHS],
    codes: Codes<CODE_LENGTHS>,
    /// How many lengths of `codes` are said.
    listed: usize,
}

impl Table {
    pub(super) fn new(symbols: &SymbolCodes, distances: &DistanceCodes) -> Self {
        let symbols = symbols.lengths(FIRST_LENGTH);
        let distances = distances.lengths(1);
        let mut table = Self {
            symbols: symbols.len(),
            distances: distances.len(),
            items: Vec::with_capacity(symbols.len().saturating_add(distances.len())),
            counts: [0; CODE_LENGTHS],
            codes: Codes::with_lengths([0; CODE_LENGTHS]),
            listed: 0,
        };
        let mut run = (0_u8, 0_u8);
        for length in symbols.iter().chain(distances).copied() {
            let (last, count) = run;
            run = if length == last && count < u8::MAX {
                (last, count.wrapping_add(1))
            } else {
                table.add_run(last, count);
                (length, 1)
            };
        }
        let (last, count) = run;
        table.add_run(last, count);

        table.codes = Codes::for_counts(&table.counts, LONGEST_CODE);
        let is_said = |symbol: &usize| table.codes.of(*symbol).1 > 0;
        let last = CODE_LENGTHS_ORDER.iter().rposition(is_said);
        // Four of them are always said.
        table.listed = last.unwrap_or_default().saturating_add(1).max(4);
        table
    }

    /// Adds a length so many times.
    fn add_run(&mut self, length: u8, mut count: u8) {
        if length > 0 && count > 0 {
            self.add(length, 0);
            count = count.wrapping_sub(1);
        }
        while count >= 3 {
            let (symbol, least, most) = match (length, count) {
                (0, 11..) => (MANY_ZEROS, 11, 138),
                (0, _) => (FEW_ZEROS, 3, 10),
                _ => (REPEAT, 3, 6),
            };
            let repeated = count.min(most);
            self.add(symbol, repeated.wrapping_sub(least));
            count = count.wrapping_sub(repeated);
        }
        for _ in 0..count {
            self.add(length, 0);
        }
    }

    fn add(&mut self, symbol: u8, more: u8) {
        if let Some(count) = self.counts.get_mut(usize::from(symbol)) {
            *count = count.wrapping_add(1);
        }
        self.items.push((symbol, more));
    }

    /// How many bits it takes.
    pub(super) fn bits(&self) -> u32 {
        let extra = |(symbol, _): &(u8, u8)| extra_bits(*symbol);
        let listed = u32::try_from(self.listed).unwrap_or_default();
        14_u32
            .saturating_add(listed.saturating_mul(3))
            .saturating_add(self.codes.total(&self.counts))
            .saturating_add(self.items.iter().map(extra).sum())
    }

    pub(super) fn write(&self, bits: &mut BitWriter) {
        let sizes = [
            (self.symbols.saturating_sub(FIRST_LENGTH), 5),
            (self.distances.saturating_sub(1), 5),
            (self.listed.saturating_sub(4), 4),
        ];
        for (size, count) in sizes {
            bits.put(u32::try_from(size).unwrap_or_default(), count);
        }
        for symbol in CODE_LENGTHS_ORDER.iter().take(self.listed) {
            let (_, length) = self.codes.of(*symbol);
            bits.put(length, 3);
        }
        for (symbol, more) in &self.items {
            let (code, length) = self.codes.of(usize::from(*symbol));
            bits.put(code, length);
            bits.put(u32::from(*more), extra_bits(*symbol));
        }
    }
}

/// How many bits say how often a symbol repeats.
fn extra_bits(symbol: u8) -> u32 {
    match symbol {
        REPEAT => 2,
        FEW_ZEROS => 3,
        MANY_ZEROS => 7,
        _ => 0,
    }
}
