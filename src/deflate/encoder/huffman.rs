//! Huffman codes of limited length (RFC 1951, section 3.2.2).

/// A code word, its bits in the order in which they are written, and how many they are: none for unused symbols.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) bits: u16,
    pub(super) length: u8,
}

/// Words have 1 to 15 bits.
const LENGTHS: usize = 16;
/// Symbols are sorted by their counts, with the symbol in the lowest bits.
const SYMBOL_BITS: u32 = 9;

/// Finds the lengths of a good code for symbols that occur so often, none longer than `limit`. The bits are up to
/// [`assign`].
///
/// A code of less than two symbols gets a second one, so that it is complete: some decompressors insist.
pub(super) fn lengths<const N: usize>(counts: &[u32; N], limit: usize) -> [Word; N] {
    let mut words = [Word::default(); N];
    let mut used = [0_u32; N];
    let mut number = 0_usize;
    for (symbol, count) in (0_u32..).zip(counts) {
        if *count > 0 {
            set(&mut used, number, *count << SYMBOL_BITS | symbol);
            number = number.wrapping_add(1);
        }
    }
    let used = used.get_mut(..number).unwrap_or_default();
    if number < 2 {
        let only = used.first().map_or(0, |key| symbol_of(*key));
        for symbol in [only, usize::from(only == 0)] {
            if let Some(word) = words.get_mut(symbol) {
                word.length = 1;
            }
        }
        return words;
    }
    used.sort_unstable();

    let mut tree = [0_u32; N];
    let tree = tree.get_mut(..number).unwrap_or_default();
    for (weight, key) in tree.iter_mut().zip(used.iter()) {
        *weight = *key >> SYMBOL_BITS;
    }
    weights_to_depths(tree);
    let mut of_length = [0_u32; LENGTHS];
    for depth in tree.iter() {
        let depth = index(*depth).min(limit);
        add(&mut of_length, depth, 1);
    }
    shorten(&mut of_length, limit);

    // The rarest symbols come first, and get the longest words.
    let mut rarest_first = used.iter().map(|key| symbol_of(*key));
    for (length, count) in of_length.iter().enumerate().rev() {
        for symbol in rarest_first.by_ref().take(index(*count)) {
            if let Some(word) = words.get_mut(symbol) {
                word.length = u8::try_from(length).unwrap_or(0);
            }
        }
    }
    words
}

/// Gives each word its bits, as its length and its place among those of the same length demand.
pub(super) fn assign(words: &mut [Word]) {
    let mut next = [0_u16; LENGTHS];
    for word in words.iter() {
        if let Some(count) = next.get_mut(usize::from(word.length)) {
            *count = count.wrapping_add(1);
        }
    }
    next[0] = 0;
    let mut code = 0_u16;
    for slot in &mut next {
        let count = std::mem::replace(slot, code);
        code = code.wrapping_add(count) << 1;
    }
    for word in words.iter_mut().filter(|word| word.length > 0) {
        if let Some(code) = next.get_mut(usize::from(word.length)) {
            let unused = 16_u32.wrapping_sub(u32::from(word.length));
            word.bits = code.reverse_bits().wrapping_shr(unused);
            *code = code.wrapping_add(1);
        }
    }
}

fn symbol_of(key: u32) -> usize {
    index(key & ((1 << SYMBOL_BITS) - 1))
}

/// Turns at least two ascending weights into the depths of their leaves in a Huffman tree, in place, with the method
/// of Moffat and Katajainen (In-Place Calculation of Minimum-Redundancy Codes, 1995).
fn weights_to_depths(a: &mut [u32]) {
    let inner_nodes = a.len().saturating_sub(1);
    // Inner nodes take the places of leaves that were used up, and when they are used up, tell their parents.
    let (mut leaf, mut inner) = (0_usize, 0_usize);
    for next in 0..inner_nodes {
        let mut weight = 0_u32;
        for _ in 0..2 {
            if leaf >= a.len() || inner < next && at(a, inner) < at(a, leaf) {
                weight = weight.wrapping_add(at(a, inner));
                set(a, inner, u32::try_from(next).unwrap_or(0));
                inner = inner.wrapping_add(1);
            } else {
                weight = weight.wrapping_add(at(a, leaf));
                leaf = leaf.wrapping_add(1);
            }
        }
        set(a, next, weight);
    }
    // The depths of inner nodes, from the root on.
    let root = inner_nodes.saturating_sub(1);
    set(a, root, 0);
    for node in (0..root).rev() {
        let depth = at(a, index(at(a, node))).wrapping_add(1);
        set(a, node, depth);
    }
    // At each depth, what is no inner node is a leaf.
    let (mut inner, mut leaf) = (inner_nodes, a.len());
    let (mut places, mut depth) = (1_usize, 0_u32);
    while places > 0 && leaf > 0 {
        let mut used = 0_usize;
        while inner > 0 && at(a, inner.wrapping_sub(1)) == depth {
            inner = inner.wrapping_sub(1);
            used = used.wrapping_add(1);
        }
        for _ in used..places {
            leaf = leaf.saturating_sub(1);
            set(a, leaf, depth);
        }
        places = used.wrapping_mul(2);
        depth = depth.wrapping_add(1);
    }
}

/// After words that were too long were cut to `limit`, lengthens others until there is room for all. `of_length` is how
/// many words there are of each length.
fn shorten(of_length: &mut [u32; LENGTHS], limit: usize) {
    let room = 1_u32 << limit;
    let mut taken = 0_u32;
    for (length, count) in of_length.iter().enumerate().take(limit.wrapping_add(1)) {
        taken = taken.wrapping_add(*count << limit.wrapping_sub(length));
    }
    while taken > room {
        // The longest word that can grow does so, and one of the longest of all moves next to it.
        let can_grow = (1..limit).rev().find(|length| at(of_length, *length) > 0);
        let Some(length) = can_grow else {
            return;
        };
        add(of_length, length, -1);
        add(of_length, length.wrapping_add(1), 2);
        add(of_length, limit, -1);
        taken = taken.wrapping_sub(1);
    }
}

#[inline(always)]
fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(0)
}

#[inline(always)]
fn at(numbers: &[u32], index: usize) -> u32 {
    numbers.get(index).copied().unwrap_or(0)
}

#[inline(always)]
fn set(numbers: &mut [u32], index: usize, number: u32) {
    if let Some(slot) = numbers.get_mut(index) {
        *slot = number;
    }
}

#[inline(always)]
fn add(numbers: &mut [u32], index: usize, change: i32) {
    if let Some(slot) = numbers.get_mut(index) {
        *slot = slot.wrapping_add_signed(change);
    }
}
