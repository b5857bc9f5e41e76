//! Where in a text the same four bytes occurred before.

use std::mem;

use crate::deflate::symbols::LONGEST_MATCH;

/// How many bits a hash has. Each hash has a chain of places.
const HEADS_BITS: u32 = 12;
const HEADS: usize = 1 << HEADS_BITS;

/// So many bytes have a hash, and so long is the shortest match that is looked for.
const HASHED: usize = 4;
/// With a match that long nothing better is looked for.
const LONG_ENOUGH: usize = 32;

/// Where to look for matches.
#[derive(Clone, Copy)]
pub(super) struct Search {
    /// Not further back than this.
    pub(super) reach: usize,
    /// At no more places than this.
    pub(super) places: usize,
}

/// A repetition: how long it is, and how far back.
#[derive(Clone, Copy)]
pub(super) struct Match {
    pub(super) length: usize,
    pub(super) distance: usize,
}

/// For each hash of four bytes the last place where they begin.
struct Heads([u16; HEADS]);

impl Heads {
    /// Puts a place at the head of its chain, and says which was there.
    #[inline(always)]
    fn replace(&mut self, bytes: [u8; HASHED], at: u16) -> u16 {
        let hash = u32::from_le_bytes(bytes)
            .wrapping_mul(0x9e37_79b1)
            .wrapping_shr(u32::BITS - HEADS_BITS);
        let head = usize::try_from(hash).map_or(None, |hash| self.0.get_mut(hash));
        head.map_or(0, |head| mem::replace(head, at))
    }
}

/// For each hash of four bytes the places where they begin, the last one first.
///
/// Place 0 stands for none, so that the first byte of a text begins no match. It does not in zlib either.
pub(super) struct Chains {
    heads: Heads,
    /// For each place of the text the one before it in its chain.
    links: Vec<u16>,
    /// The places before this one were entered.
    entered: usize,
}

impl Chains {
    pub(super) fn new() -> Self {
        Self {
            heads: Heads([0; HEADS]),
            links: Vec::new(),
            entered: 0,
        }
    }

    /// Forgets all places.
    pub(super) fn clear(&mut self) {
        self.heads.0.fill(0);
        self.links.clear();
        self.entered = 0;
    }

    /// Allocates what a text of this length needs.
    pub(super) fn reserve(&mut self, length: usize) {
        let more = length.saturating_sub(self.links.len());
        self.links.reserve_exact(more);
    }

    /// Makes room for a text of this length, and enters those places before `end` that were not, as far as four bytes follow
    /// them.
    pub(super) fn enter_until(&mut self, end: usize, text: &[u8]) {
        self.links.resize(text.len(), 0);
        let range = self.entered..end.min(text.len()).max(self.entered);
        let places = text.get(range.start..).unwrap_or_default().windows(HASHED);
        let links = self.links.get_mut(range).unwrap_or_default();
        let mut at = u16::try_from(self.entered).unwrap_or_default();
        for (link, bytes) in links.iter_mut().zip(places) {
            if let Some(bytes) = bytes.first_chunk() {
                *link = self.heads.replace(*bytes, at);
            }
            at = at.wrapping_add(1);
        }
        self.entered = at.into();
    }

    /// Enters a place that follows the last one, and says which was the last one in its chain.
    #[inline(always)]
    fn enter(&mut self, at: usize, bytes: [u8; HASHED]) -> u16 {
        self.entered = at.wrapping_add(1);
        let at = u16::try_from(at).unwrap_or_default();
        let before = self.heads.replace(bytes, at);
        if let Some(link) = self.links.get_mut(usize::from(at)) {
            *link = before;
        }
        before
    }

    /// The longest match found for a place, which is entered, if it is longer than `longer_than`.
    #[inline(always)]
    pub(super) fn find(
        &mut self,
        at: usize,
        text: &[u8],
        search: Search,
        longer_than: usize,
    ) -> Option<Match> {
        let rest = text.get(at..)?;
        let mut place = usize::from(self.enter(at, *rest.first_chunk()?));
        let here = rest.get(..LONGEST_MATCH).unwrap_or(rest);
        let mut length = longer_than.max(HASHED - 1);
        // A longer match ends with these bytes, or goes on behind them.
        let mut skipped = length.wrapping_sub(HASHED - 1);
        let mut wanted = word(here, skipped)?;
        let mut found = None;
        for _ in 0..search.places {
            let distance = at.wrapping_sub(place);
            if place == 0 || distance > search.reach {
                break;
            }
            let there = text.get(place..)?;
            if word(there, skipped)? == wanted {
                let common = common_length(here, there);
                if common > length {
                    length = common;
                    found = Some(Match { length, distance });
                    skipped = length.wrapping_sub(HASHED - 1);
                    match word(here, skipped) {
                        Some(word) if length < LONG_ENOUGH => wanted = word,
                        _ => break,
                    }
                }
            }
            place = self.links.get(place).copied().unwrap_or_default().into();
        }
        found
    }

    /// Forgets so many bytes at the start of the text.
    pub(super) fn drop_first(&mut self, count: usize) {
        self.links.drain(..count.min(self.links.len()));
        self.entered = self.entered.saturating_sub(count);
        let count = u16::try_from(count).unwrap_or(u16::MAX);
        for places in [self.heads.0.as_mut_slice(), &mut self.links] {
            for place in places {
                *place = place.saturating_sub(count);
            }
        }
    }

    /// Bytes allocated besides itself.
    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        self.links.capacity().saturating_mul(size_of::<u16>())
    }
}

/// Four bytes of a text.
#[inline(always)]
fn word(text: &[u8], at: usize) -> Option<u32> {
    let bytes = text.get(at..)?.first_chunk()?;
    Some(u32::from_le_bytes(*bytes))
}

/// How many bytes two texts begin with both.
#[inline(always)]
fn common_length(one: &[u8], other: &[u8]) -> usize {
    const WORD: usize = size_of::<u64>();
    let words = one.chunks_exact(WORD).zip(other.chunks_exact(WORD));
    let mut common = 0_usize;
    for (a, b) in words {
        let (Some(a), Some(b)) = (a.first_chunk(), b.first_chunk()) else {
            break;
        };
        let differing = u64::from_le_bytes(*a) ^ u64::from_le_bytes(*b);
        if differing != 0 {
            let same = usize::try_from(differing.trailing_zeros() / 8).unwrap_or_default();
            return common.wrapping_add(same);
        }
        common = common.wrapping_add(WORD);
    }
    let rest = one.iter().zip(other).skip(common);
    common.wrapping_add(rest.take_while(|(a, b)| a == b).count())
}
