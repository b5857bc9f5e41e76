//! The text a message may refer to, and where in it a match may be.

use super::block::{Block, MAX_MATCH};

/// The text lies in a ring of this size, so that a place in it is a `u16`, and wraps by itself.
const RING: usize = 1 << 16;
/// Text is taken in and compressed in pieces of at most this size; each becomes a block.
pub(super) const CHUNK: usize = 32 * 1024;
/// The furthest a match may reach back. The ring holds that much besides the piece at hand.
const MAX_REACH: usize = 32 * 1024;

/// Text is read in words of eight bytes.
const WORD: usize = 8;
/// The ring's beginning is repeated behind its end, so that comparing need not wrap.
const REPEATED: usize = 512;
type Ring = [u8; RING + REPEATED];

/// The four most recent places of text with the same hash, the last one lowest.
type Places = u64;
const PLACES: u32 = 4;
const PLACE_BITS: u32 = 16;

/// Two tables: one for the shortest matches there are, and one for those of so many bytes that chance makes few of
/// them, which therefore reaches back further.
const SHORT: usize = 4;
const LONG: usize = WORD;
const SHORT_BITS: u32 = 12;
const LONG_BITS: u32 = 13;
type Table<const SIZE: usize> = [Places; SIZE];

/// A match below this length is given up for a longer one that starts at the next byte.
const LAZY_MATCH: usize = 16;

/// The recent text of a context, and the piece of it that is to be compressed.
pub(in crate::deflate) struct Window {
    ring: Box<Ring>,
    short: Box<Table<{ 1 << SHORT_BITS }>>,
    long: Box<Table<{ 1 << LONG_BITS }>>,
    /// Where in the ring the piece at hand starts, and its length.
    start: u16,
    length: usize,
    /// How much text before the piece at hand may be referred to, and the most that ever may be.
    known: usize,
    reach: usize,
}

/// A place where the text that comes next was seen before.
#[derive(Clone, Copy)]
struct Match {
    length: usize,
    distance: usize,
}

impl Window {
    /// A window without text.
    pub(in crate::deflate) fn new() -> Self {
        Self {
            ring: zeros(),
            short: zeros(),
            long: zeros(),
            start: 0,
            length: 0,
            known: 0,
            reach: MAX_REACH,
        }
    }

    /// Bytes allocated.
    pub(in crate::deflate) const fn memory() -> usize {
        size_of::<Ring>()
            .saturating_add(size_of::<Table<{ 1 << SHORT_BITS }>>())
            .saturating_add(size_of::<Table<{ 1 << LONG_BITS }>>())
    }

    /// Begins a context in which matches reach back at most so far. What lies in ring and tables stays there.
    pub(in crate::deflate) fn restart(&mut self, reach: usize) {
        self.finish();
        self.known = 0;
        self.reach = reach.min(MAX_REACH);
    }

    /// Takes text into the context as if it had been compressed.
    pub(in crate::deflate) fn learn(&mut self, text: &[u8]) {
        for chunk in text.chunks(CHUNK) {
            self.append(chunk);
            for offset in 0..self.length.saturating_sub(SHORT.wrapping_sub(1)) {
                self.remember(self.place(offset));
            }
        }
    }

    /// The last text of the context, at most `most` bytes, in two parts, the older one first.
    pub(in crate::deflate) fn text(&self, most: usize) -> (&[u8], &[u8]) {
        let known = self.known.saturating_add(self.length);
        let known = known.min(self.reach).min(most);
        let end = usize::from(self.place(self.length));
        let newer = end.min(known);
        let older = known.saturating_sub(newer);
        let part = |from, to| self.ring.get(from..to).unwrap_or_default();
        (
            part(RING.saturating_sub(older), RING),
            part(end.saturating_sub(newer), end),
        )
    }

    /// Makes the piece at hand a part of the past.
    fn finish(&mut self) {
        self.start = self.place(self.length);
        self.known = self.known.saturating_add(self.length).min(self.reach);
        self.length = 0;
    }

    /// Takes the next piece of text, of at most [`CHUNK`] bytes.
    pub(super) fn append(&mut self, text: &[u8]) {
        self.finish();
        self.length = text.len();
        let at = usize::from(self.start);
        let (first, rest) = text.split_at(text.len().min(RING.saturating_sub(at)));
        self.put(at, first);
        self.put(0, rest);
        if at < REPEATED || !rest.is_empty() {
            let (front, behind) = self.ring.split_at_mut(RING);
            behind.copy_from_slice(front.get(..REPEATED).unwrap_or_default());
        }
    }

    fn put(&mut self, at: usize, text: &[u8]) {
        let end = at.saturating_add(text.len());
        if let Some(target) = self.ring.get_mut(at..end) {
            target.copy_from_slice(text);
        }
    }

    /// Cuts the piece at hand into literals and matches.
    pub(super) fn find_matches(&mut self, block: &mut Block) {
        let length = self.length;
        // Behind this there is too little text for a match.
        let last = length.saturating_sub(SHORT.wrapping_sub(1));
        let mut offset = 0_usize;
        // How much went by without a match: noise is searched less and less closely.
        let mut missed = 0_usize;
        while offset < last {
            let Some(mut found) = self.find(offset, SHORT.wrapping_sub(1)) else {
                let step = (missed >> 6).wrapping_add(1);
                let end = offset.wrapping_add(step).min(length);
                for skipped in offset..end {
                    block.literal(self.byte(skipped));
                }
                missed = missed.wrapping_add(1);
                offset = end;
                continue;
            };
            missed = 0;
            while found.length < LAZY_MATCH && offset.wrapping_add(1) < last {
                let Some(longer) = self.find(offset.wrapping_add(1), found.length) else {
                    break;
                };
                block.literal(self.byte(offset));
                offset = offset.wrapping_add(1);
                found = longer;
            }
            block.matched(found.length, found.distance);
            let end = offset.wrapping_add(found.length);
            // The first two places were noted when they were looked for.
            for inside in offset.wrapping_add(2)..end.min(last) {
                self.remember(self.place(inside));
            }
            offset = end;
        }
        for rest in offset..length {
            block.literal(self.byte(rest));
        }
    }

    /// Where in the ring a byte of the piece at hand lies.
    #[inline(always)]
    fn place(&self, offset: usize) -> u16 {
        self.start.wrapping_add(low_bits(offset))
    }

    #[inline(always)]
    fn byte(&self, offset: usize) -> u8 {
        let at = usize::from(self.place(offset));
        self.ring.get(at).copied().unwrap_or(0)
    }

    /// Notes that there is text at `place`, and tells where its like was before: the same eight bytes, the same four.
    #[inline(always)]
    fn remember(&mut self, place: u16) -> (Places, Places) {
        let text = word(&self.ring, place, 0);
        (
            note(&mut self.long, hash(text, LONG, LONG_BITS), place),
            note(&mut self.short, hash(text, SHORT, SHORT_BITS), place),
        )
    }

    /// The longest match for the text at `offset`, the nearest one of several. It must be longer than `least`.
    #[inline(always)]
    fn find(&mut self, offset: usize, least: usize) -> Option<Match> {
        let here = self.place(offset);
        let reach = self.known.saturating_add(offset).min(self.reach);
        let within = |place: u16| distance(here, place).wrapping_sub(1) < reach;
        let (long, short) = self.remember(here);
        // What has eight bytes in common has four in common, so this is the nearest of all.
        if !within(pick(short, 0)) {
            return None;
        }
        let found = match self.find_long(here, long, within) {
            None if least < LONG => self.find_short(here, short, within),
            found => found,
        };
        let mut found = found?;
        // Behind the piece at hand lies old text.
        let most = self.length.wrapping_sub(offset).min(MAX_MATCH);
        found.length = found.length.min(most);
        (found.length > least).then_some(found)
    }

    /// A match of at least eight bytes.
    #[inline(always)]
    fn find_long(&self, here: u16, places: Places, within: impl Fn(u16) -> bool) -> Option<Match> {
        let wanted = word(&self.ring, here, 0);
        // All places are looked at without a branch, because none could be predicted.
        let mut same = 0_u32;
        for index in 0..PLACES {
            let place = pick(places, index);
            let is_same = (word(&self.ring, place, 0) == wanted) & within(place);
            same |= u32::from(is_same).wrapping_shl(index);
        }
        let mut best = Match {
            length: 0,
            distance: 0,
        };
        while same != 0 {
            let place = pick(places, same.trailing_zeros());
            let length = self.in_common(here, place);
            if length > best.length {
                let distance = distance(here, place);
                best = Match { length, distance };
            }
            same &= same.wrapping_sub(1);
        }
        (best.length > 0).then_some(best)
    }

    /// A match of less than eight bytes.
    #[inline(always)]
    fn find_short(&self, here: u16, places: Places, within: impl Fn(u16) -> bool) -> Option<Match> {
        let wanted = word(&self.ring, here, 0);
        let mut best = 0_u32;
        for index in 0..PLACES {
            let place = pick(places, index);
            let different = wanted ^ word(&self.ring, place, 0);
            // The number of equal bytes times eight, and below that how near the place is.
            let nearness = u32::from(!here.wrapping_sub(place));
            let rank = (different.trailing_zeros() & 0x78) << PLACE_BITS | nearness;
            best = best.max(if within(place) { rank } else { 0 });
        }
        let length = usize::try_from(best >> PLACE_BITS >> 3).unwrap_or(0);
        let [low, high, ..] = (!best).to_le_bytes();
        let distance = usize::from(u16::from_le_bytes([low, high]));
        (length > 0).then_some(Match { length, distance })
    }

    /// How many bytes are the same at two places; it may be more than make up a match.
    #[inline(always)]
    fn in_common(&self, here: u16, place: u16) -> usize {
        let mut length = 0_usize;
        while length < MAX_MATCH {
            let different = word(&self.ring, here, length) ^ word(&self.ring, place, length);
            if different != 0 {
                let same = usize::try_from(different.trailing_zeros() / 8).unwrap_or(0);
                return length.wrapping_add(same);
            }
            length = length.wrapping_add(WORD);
        }
        length
    }
}

/// An array of zeros on the heap.
fn zeros<T: Clone + Copy + Default, const SIZE: usize>() -> Box<[T; SIZE]> {
    let zeros = vec![T::default(); SIZE].into_boxed_slice();
    zeros
        .try_into()
        .unwrap_or_else(|_| Box::new([T::default(); SIZE]))
}

/// Places wrap with the ring.
#[inline(always)]
fn low_bits(offset: usize) -> u16 {
    let [low, high, ..] = offset.to_le_bytes();
    u16::from_le_bytes([low, high])
}

#[inline(always)]
fn distance(here: u16, place: u16) -> usize {
    usize::from(here.wrapping_sub(place))
}

#[inline(always)]
fn pick(places: Places, index: u32) -> u16 {
    let shifted = places.wrapping_shr(PLACE_BITS.wrapping_mul(index));
    let [low, high, ..] = shifted.to_le_bytes();
    u16::from_le_bytes([low, high])
}

/// Puts a place before those with the same hash, and tells what these were.
#[inline(always)]
fn note<const SIZE: usize>(table: &mut Table<SIZE>, hash: usize, place: u16) -> Places {
    let Some(places) = table.get_mut(hash) else {
        return 0;
    };
    let before = *places;
    *places = before << PLACE_BITS | Places::from(place);
    before
}

/// Eight bytes, `further` bytes behind a place. That is at most the length of a match.
#[inline(always)]
fn word(ring: &Ring, place: u16, further: usize) -> u64 {
    let at = usize::from(place).wrapping_add(further);
    let bytes = ring.get(at..at.wrapping_add(WORD));
    let bytes = bytes.and_then(<[u8]>::first_chunk);
    bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// A hash of so many bits for the first bytes of a word.
#[inline(always)]
fn hash(text: u64, bytes: usize, bits: u32) -> usize {
    let unused = WORD.wrapping_sub(bytes).wrapping_mul(8);
    let first = text << unused;
    let mixed = first.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    usize::try_from(mixed >> 64_u32.wrapping_sub(bits)).unwrap_or(0)
}
