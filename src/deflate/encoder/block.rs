//! One block: what a piece of text was cut into, and how that is written.

use super::bits::BitWriter;
use super::huffman::{assign, lengths, Word};

/// The longest match that deflate knows.
pub(super) const MAX_MATCH: usize = 258;

/// Symbols of the two codes. The last two of the literals and lengths have a place in the fixed code only.
const LITERALS: usize = 288;
const DISTANCES: usize = 30;
const END_OF_BLOCK: usize = 256;
const FIRST_LENGTH: usize = 257;
const LONGEST_WORD: usize = 15;

/// An item that is no literal: the length of the match less 3, above its distance less 1.
const IS_MATCH: u32 = 1 << 31;
const LENGTH_SHIFT: u32 = 16;

/// With less than this, describing codes of its own costs a block more than they save.
const FEW_ITEMS: usize = 40;

/// Symbols that describe the codes: 0 to 15 are lengths of words, the others repeat a length.
const DESCRIPTIONS: usize = 19;
const SAME_AGAIN: u8 = 16;
const UNUSED: u8 = 17;
const UNUSED_MANY: u8 = 18;
const LONGEST_DESCRIPTION: usize = 7;
/// The order in which the lengths of their words are written (RFC 1951, section 3.2.7).
const ORDER: [usize; DESCRIPTIONS] = [
    16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15,
];

/// What a piece of text was cut into. It is emptied and used again.
pub(in crate::deflate) struct Block {
    items: Vec<u32>,
    counts: Box<Counts>,
    fixed: Box<Codes>,
}

/// How often each symbol occurs, and how many bits there are besides words.
struct Counts {
    literals: [u32; LITERALS],
    distances: [u32; DISTANCES],
    extra: u32,
}

struct Codes {
    literals: [Word; LITERALS],
    distances: [Word; DISTANCES],
}

impl Codes {
    /// The codes that both sides know (RFC 1951, section 3.2.6).
    fn fixed() -> Self {
        let mut codes = Self {
            literals: [Word::default(); LITERALS],
            distances: [Word { bits: 0, length: 5 }; DISTANCES],
        };
        for (symbol, word) in codes.literals.iter_mut().enumerate() {
            word.length = match symbol {
                144..=255 => 9,
                256..=279 => 7,
                _ => 8,
            };
        }
        codes.assign();
        codes
    }

    fn assign(&mut self) {
        assign(&mut self.literals);
        assign(&mut self.distances);
    }
}

impl Counts {
    fn new() -> Self {
        let mut counts = Self {
            literals: [0; LITERALS],
            distances: [0; DISTANCES],
            extra: 0,
        };
        counts.literals[END_OF_BLOCK] = 1;
        counts
    }
}

impl Block {
    /// An empty block.
    pub(in crate::deflate) fn new() -> Self {
        Self {
            items: Vec::new(),
            counts: Box::new(Counts::new()),
            fixed: Box::new(Codes::fixed()),
        }
    }

    pub(super) fn clear(&mut self) {
        self.items.clear();
        *self.counts = Counts::new();
    }

    #[inline(always)]
    pub(super) fn literal(&mut self, byte: u8) {
        self.items.push(u32::from(byte));
        count(&mut self.counts.literals, usize::from(byte));
    }

    #[inline(always)]
    pub(super) fn matched(&mut self, length: usize, distance: usize) {
        let length = u32::try_from(length.wrapping_sub(3)).unwrap_or(0);
        let distance = u32::try_from(distance.wrapping_sub(1)).unwrap_or(0);
        self.items
            .push(IS_MATCH | length << LENGTH_SHIFT | distance);
        let (symbol, more_length) = length_symbol(length);
        count(&mut self.counts.literals, symbol);
        let (symbol, more_distance) = distance_symbol(distance);
        count(&mut self.counts.distances, symbol);
        let more = more_length.wrapping_add(more_distance);
        self.counts.extra = self.counts.extra.wrapping_add(more);
    }

    /// Writes the block in the shortest of the three ways. `text` is what it stands for.
    pub(super) fn write(&self, text: &[u8], writer: &mut BitWriter) {
        let stored = text.len().saturating_add(5).saturating_mul(8);
        let fixed = self.size(&self.fixed).saturating_add(3);
        if self.items.len() > FEW_ITEMS {
            let mut codes = Codes {
                literals: lengths(&self.counts.literals, LONGEST_WORD),
                distances: lengths(&self.counts.distances, LONGEST_WORD),
            };
            let head = Head::new(&codes);
            let own = head.size().saturating_add(self.size(&codes));
            if own < fixed.min(stored) {
                codes.assign();
                head.write(writer);
                self.write_items(&codes, writer);
                return;
            }
        }
        if stored < fixed {
            writer.stored_block(text);
        } else {
            // Not the last block; fixed codes.
            writer.put(0b010, 3);
            self.write_items(&self.fixed, writer);
        }
    }

    /// How many bits the items take up in these codes.
    fn size(&self, codes: &Codes) -> usize {
        let sum = |counts: &[u32], words: &[Word]| -> u32 {
            let bits = counts.iter().zip(words);
            bits.map(|(count, word)| count.wrapping_mul(u32::from(word.length)))
                .fold(0, u32::wrapping_add)
        };
        let literals = sum(&self.counts.literals, &codes.literals);
        let distances = sum(&self.counts.distances, &codes.distances);
        let bits = literals
            .wrapping_add(distances)
            .wrapping_add(self.counts.extra);
        usize::try_from(bits).unwrap_or(usize::MAX)
    }

    fn write_items(&self, codes: &Codes, writer: &mut BitWriter) {
        for item in &self.items {
            if item & IS_MATCH == 0 {
                put(writer, word_of(&codes.literals, index(*item)), 0, 0);
                continue;
            }
            let length = item >> LENGTH_SHIFT & 0xff;
            let (symbol, more) = length_symbol(length);
            put(writer, word_of(&codes.literals, symbol), length, more);
            let distance = item & 0xffff;
            let (symbol, more) = distance_symbol(distance);
            put(writer, word_of(&codes.distances, symbol), distance, more);
        }
        put(writer, word_of(&codes.literals, END_OF_BLOCK), 0, 0);
    }
}

#[inline(always)]
fn word_of(words: &[Word], symbol: usize) -> Word {
    words.get(symbol).copied().unwrap_or_default()
}

/// Writes a word and the lowest `more` bits of `number`.
#[inline(always)]
fn put(writer: &mut BitWriter, word: Word, number: u32, more: u32) {
    let rest = number & 1_u32.wrapping_shl(more).wrapping_sub(1);
    let length = u32::from(word.length);
    let bits = u32::from(word.bits) | rest.wrapping_shl(length);
    writer.put(bits, length.wrapping_add(more));
}

#[inline(always)]
fn count(counts: &mut [u32], symbol: usize) {
    if let Some(count) = counts.get_mut(symbol) {
        *count = count.wrapping_add(1);
    }
}

/// The symbol for a length less 3, and how many of its lowest bits follow.
#[inline(always)]
fn length_symbol(length: u32) -> (usize, u32) {
    if length < 8 {
        return (FIRST_LENGTH.wrapping_add(index(length)), 0);
    }
    if length == 255 {
        return (285, 0);
    }
    let top = length.ilog2();
    let more = top.wrapping_sub(2);
    let code = top.wrapping_sub(1).wrapping_mul(4);
    let code = code.wrapping_add(length.wrapping_shr(more) & 3);
    (FIRST_LENGTH.wrapping_add(index(code)), more)
}

/// The symbol for a distance less 1, and how many of its lowest bits follow.
#[inline(always)]
fn distance_symbol(distance: u32) -> (usize, u32) {
    if distance < 4 {
        return (index(distance), 0);
    }
    let top = distance.ilog2();
    let more = top.wrapping_sub(1);
    let code = top.wrapping_mul(2);
    let code = code.wrapping_add(distance.wrapping_shr(more) & 1);
    (index(code), more)
}

#[inline(always)]
fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(0)
}

/// The beginning of a block with codes of its own: their description (RFC 1951, section 3.2.7).
struct Head {
    parts: Vec<Part>,
    words: [Word; DESCRIPTIONS],
    /// How many symbols of each code are described.
    literals: usize,
    distances: usize,
    descriptions: usize,
}

/// The length of a word, or a repetition of lengths.
#[derive(Clone, Copy)]
struct Part {
    symbol: u8,
    /// How often, less what the symbol says already, and the number of bits for that.
    times: u8,
    more: u8,
}

impl Head {
    fn new(codes: &Codes) -> Self {
        let used = |words: &[Word]| {
            let last = words.iter().rposition(|word| word.length > 0);
            last.unwrap_or(0).wrapping_add(1)
        };
        let literals = used(&codes.literals).max(FIRST_LENGTH);
        let distances = used(&codes.distances);
        let all = codes.literals.iter().take(literals);
        let all = all.chain(codes.distances.iter().take(distances));

        let mut parts = Vec::with_capacity(128);
        let mut length = 0;
        let mut run = 0_usize;
        for word in all {
            if word.length != length {
                describe(length, run, &mut parts);
                length = word.length;
                run = 0;
            }
            run = run.wrapping_add(1);
        }
        describe(length, run, &mut parts);

        let mut counts = [0; DESCRIPTIONS];
        for part in &parts {
            count(&mut counts, usize::from(part.symbol));
        }
        let mut words = lengths(&counts, LONGEST_DESCRIPTION);
        assign(&mut words);
        let last = ORDER
            .iter()
            .rposition(|symbol| word_of(&words, *symbol).length > 0);
        Self {
            parts,
            words,
            literals,
            distances,
            descriptions: last.unwrap_or(0).wrapping_add(1).max(4),
        }
    }

    /// In bits.
    fn size(&self) -> usize {
        let fixed = self
            .descriptions
            .wrapping_mul(3)
            .wrapping_add(3 + 5 + 5 + 4);
        self.parts.iter().fold(fixed, |sum, part| {
            let word = word_of(&self.words, usize::from(part.symbol));
            sum.wrapping_add(usize::from(word.length))
                .wrapping_add(usize::from(part.more))
        })
    }

    fn write(&self, writer: &mut BitWriter) {
        let less = |number: usize, by: usize| u32::try_from(number.wrapping_sub(by)).unwrap_or(0);
        // Not the last block; codes of its own.
        writer.put(0b100, 3);
        writer.put(less(self.literals, FIRST_LENGTH), 5);
        writer.put(less(self.distances, 1), 5);
        writer.put(less(self.descriptions, 4), 4);
        for symbol in ORDER.iter().take(self.descriptions) {
            let word = word_of(&self.words, *symbol);
            writer.put(u32::from(word.length), 3);
        }
        for part in &self.parts {
            let word = word_of(&self.words, usize::from(part.symbol));
            put(writer, word, u32::from(part.times), u32::from(part.more));
        }
    }
}

/// Describes a run of words of the same length.
fn describe(length: u8, mut run: usize, parts: &mut Vec<Part>) {
    let mut describe = |symbol: u8, times: usize, more: u8| {
        let times = u8::try_from(times).unwrap_or(0);
        parts.push(Part {
            symbol,
            times,
            more,
        });
    };
    if length > 0 && run > 0 {
        describe(length, 0, 0);
        run = run.wrapping_sub(1);
    }
    while run > 0 {
        let done = match (length, run) {
            (0, 11..) => {
                let done = run.min(138);
                describe(UNUSED_MANY, done.wrapping_sub(11), 7);
                done
            }
            (0, 3..) => {
                describe(UNUSED, run.wrapping_sub(3), 3);
                run
            }
            (1.., 3..) => {
                let done = run.min(6);
                describe(SAME_AGAIN, done.wrapping_sub(3), 2);
                done
            }
            _ => {
                describe(length, 0, 0);
                1
            }
        };
        run = run.wrapping_sub(done);
    }
}
