//! The Huffman codes of a block: how long each symbol's code is, and which it is (RFC 1951, section 3.2.2).

/// The longest code of a literal, a length or a distance.
pub(super) const LONGEST_CODE: usize = 15;

/// More nodes than this lie nowhere between the root and a symbol: the counts would have to grow as Fibonacci's numbers, beyond
/// what one block holds.
const DEEPEST: usize = 32;

/// So many bits a symbol takes.
const SYMBOL_BITS: u32 = 16;
const SYMBOL_MASK: u32 = (1 << SYMBOL_BITS) - 1;

/// A code for `N` symbols.
pub(in crate::deflate) struct Codes<const N: usize> {
    /// Each symbol's code, with the first bit lowest.
    codes: [u16; N],
    /// How many bits that is: 0 if the symbol does not occur.
    lengths: [u8; N],
}

impl<const N: usize> Codes<N> {
    /// The codes that take the fewest bits for symbols which occur so often, none longer than `longest`.
    ///
    /// There are two codes at least, since some decompressors know no code that has fewer.
    pub(in crate::deflate) fn for_counts(counts: &[u16; N], longest: usize) -> Self {
        // The counts that are not 0, each above its symbol. What does not count is overwritten by the next.
        let (mut all, mut occurring) = ([0_u32; N], 0_usize);
        for (symbol, count) in (0_u32..).zip(counts) {
            if let Some(place) = all.get_mut(occurring) {
                *place = u32::from(*count).wrapping_shl(SYMBOL_BITS) | symbol;
            }
            occurring = occurring.wrapping_add(usize::from(*count > 0));
        }
        let mut sorted = all;
        let used = all.get(..occurring).unwrap_or_default();
        let sorted = sorted.get_mut(..occurring).unwrap_or_default();
        sorted.sort_unstable();

        let mut lengths = [0_u8; N];
        if sorted.len() < 2 {
            let only = sorted.first().map_or(0, symbol_of);
            for symbol in [only, usize::from(only == 0)] {
                if let Some(length) = lengths.get_mut(symbol) {
                    *length = 1;
                }
            }
            return Self::with_lengths(lengths);
        }
        let mut per_length = leaves_by_depth(sorted);
        limit(&mut per_length, longest);
        // The rarest symbols get the longest codes.
        let mut symbols = sorted.iter().map(symbol_of);
        for (length, count) in per_length.into_iter().enumerate().rev() {
            let length = u8::try_from(length).unwrap_or_default();
            for symbol in symbols.by_ref().take(count.into()) {
                if let Some(place) = lengths.get_mut(symbol) {
                    *place = length;
                }
            }
        }
        Self::assign(lengths, &per_length, used.iter().map(symbol_of))
    }

    /// The codes that have these lengths.
    pub(super) fn with_lengths(lengths: [u8; N]) -> Self {
        let mut per_length = [0_u16; DEEPEST];
        for length in lengths.iter().filter(|length| **length > 0) {
            if let Some(count) = per_length.get_mut(usize::from(*length)) {
                *count = count.wrapping_add(1);
            }
        }
        Self::assign(lengths, &per_length, 0..N)
    }

    /// Gives a code to each of the symbols, which are in order.
    fn assign(
        lengths: [u8; N],
        per_length: &[u16; DEEPEST],
        symbols: impl Iterator<Item = usize>,
    ) -> Self {
        let mut next = [0_u16; DEEPEST];
        let mut code = 0_u16;
        for (next, count) in next.iter_mut().zip(per_length).skip(1) {
            code = code.wrapping_shl(1);
            *next = code;
            code = code.wrapping_add(*count);
        }
        let mut codes = [0; N];
        for symbol in symbols {
            let length = lengths.get(symbol).copied().unwrap_or_default();
            let place = codes.get_mut(symbol).zip(next.get_mut(usize::from(length)));
            if let (Some((place, next)), 1..) = (place, length) {
                let unused = u16::BITS.wrapping_sub(length.into());
                *place = next.reverse_bits().wrapping_shr(unused);
                *next = next.wrapping_add(1);
            }
        }
        Self { codes, lengths }
    }

    /// A symbol's code, and how many bits it has.
    #[inline(always)]
    pub(super) fn of(&self, symbol: usize) -> (u32, u32) {
        let code = self.codes.get(symbol).copied().unwrap_or_default();
        let length = self.lengths.get(symbol).copied().unwrap_or_default();
        (code.into(), length.into())
    }

    /// How long each symbol's code is, up to the last one that has one, for as many symbols as `fewest` in any case.
    pub(in crate::deflate) fn lengths(&self, fewest: usize) -> &[u8] {
        let last = self.lengths.iter().rposition(|length| *length > 0);
        let count = last.map_or(0, |last| last.saturating_add(1)).max(fewest);
        self.lengths.get(..count).unwrap_or(&self.lengths)
    }

    /// How many bits all the symbols take together.
    pub(super) fn total(&self, counts: &[u16; N]) -> u32 {
        let pairs = self.lengths.iter().zip(counts);
        let bits = pairs.map(|(length, count)| u32::from(*length).wrapping_mul((*count).into()));
        bits.fold(0, u32::wrapping_add)
    }
}

fn symbol_of(used: &u32) -> usize {
    usize::try_from(used & SYMBOL_MASK).unwrap_or_default()
}

/// How many leaves of Huffman's tree over these counts, two or more and the smallest first, lie so deep.
fn leaves_by_depth(used: &[u32]) -> [u16; DEEPEST] {
    /// There is one less of them than there are symbols, 288 at most.
    const MOST: usize = 288;
    // The nodes above leaves, in the order they are made, which is that of their counts.
    let (mut sums, mut parents) = ([0_u32; MOST], [0_u16; MOST]);
    let joints = used.len().saturating_sub(1).min(MOST);
    let mut leaves = used.iter().map(|used| used >> SYMBOL_BITS).peekable();
    let mut lowest = 0_usize;
    for made in 0..joints {
        let mut sum = 0_u32;
        for _ in 0..2 {
            let node = sums.get(lowest).filter(|_| lowest < made).copied();
            let is_leaf = match (leaves.peek(), node) {
                (Some(leaf), Some(node)) => *leaf <= node,
                (leaf, _) => leaf.is_some(),
            };
            if is_leaf {
                sum = sum.wrapping_add(leaves.next().unwrap_or_default());
            } else {
                sum = sum.wrapping_add(node.unwrap_or_default());
                if let Some(parent) = parents.get_mut(lowest) {
                    *parent = u16::try_from(made).unwrap_or_default();
                }
                lowest = lowest.wrapping_add(1);
            }
        }
        if let Some(place) = sums.get_mut(made) {
            *place = sum;
        }
    }

    // The last one is the root. Each of the others lies one deeper than its parent.
    let (mut depths, mut inner) = ([0_u8; MOST], [0_u16; DEEPEST]);
    for node in (0..joints).rev() {
        let parent = parents.get(node).map_or(0, |parent| usize::from(*parent));
        let depth = if node.wrapping_add(1) == joints {
            0
        } else {
            depths.get(parent).map_or(0, |depth| depth.wrapping_add(1))
        };
        if let Some(place) = depths.get_mut(node) {
            *place = depth;
        }
        if let Some(count) = inner.get_mut(usize::from(depth)) {
            *count = count.wrapping_add(1);
        }
    }
    // Both children of each node lie one deeper, and what is no node there is a leaf.
    let mut per_depth = [0_u16; DEEPEST];
    let mut children = 0_u16;
    for (leaves, nodes) in per_depth.iter_mut().zip(inner) {
        *leaves = children.saturating_sub(nodes);
        children = nodes.wrapping_mul(2);
    }
    per_depth
}

/// Makes longer codes as long as the longest that may be, and others longer, until there is a code for each symbol.
fn limit(per_length: &mut [u16; DEEPEST], longest: usize) {
    let (within, beyond) = per_length.split_at_mut(longest.saturating_add(1).min(DEEPEST));
    let too_long: u16 = beyond.iter().sum();
    if too_long == 0 {
        return;
    }
    beyond.fill(0);
    let Some((last, shorter)) = within.split_last_mut() else {
        return;
    };
    *last = last.wrapping_add(too_long);
    // In units of the longest code: a code that is one shorter takes twice as much.
    let mut taken = u32::from(*last);
    for (steps, count) in (1_u32..).zip(shorter.iter().rev()) {
        taken = taken.wrapping_add(u32::from(*count).wrapping_shl(steps));
    }
    let most = 1_u32.wrapping_shl(u32::try_from(longest).unwrap_or_default());
    while taken > most {
        // The longest of the shorter codes becomes two, one of which replaces a longest one.
        let Some(at) = shorter.iter().rposition(|count| *count > 0) else {
            return;
        };
        let (shorter, longer) = shorter.split_at_mut(at.saturating_add(1));
        if let Some(count) = shorter.last_mut() {
            *count = count.wrapping_sub(1);
        }
        match longer.first_mut() {
            Some(count) => {
                *count = count.wrapping_add(2);
                *last = last.wrapping_sub(1);
            }
            None => *last = last.wrapping_add(1),
        }
        taken = taken.wrapping_sub(1);
    }
}
