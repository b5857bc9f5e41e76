//! What the symbols of a block stand for (RFC 1951, section 3.2.5).

/// The longest match.
pub(super) const LONGEST_MATCH: usize = 258;
/// The symbol behind which another block begins.
pub(super) const END_OF_BLOCK: usize = 256;
/// The first symbol that stands for the length of a match.
pub(super) const FIRST_LENGTH: usize = 257;

/// The least length for each symbol from 257 on, and how many bits say how much more it is.
pub(super) const LENGTHS: [(usize, u32); 29] = [
    (3, 0),
    (4, 0),
    (5, 0),
    (6, 0),
    (7, 0),
    (8, 0),
    (9, 0),
    (10, 0),
    (11, 1),
    (13, 1),
    (15, 1),
    (17, 1),
    (19, 2),
    (23, 2),
    (27, 2),
    (31, 2),
    (35, 3),
    (43, 3),
    (51, 3),
    (59, 3),
    (67, 4),
    (83, 4),
    (99, 4),
    (115, 4),
    (131, 5),
    (163, 5),
    (195, 5),
    (227, 5),
    (258, 0),
];

/// The same for distances.
pub(super) const DISTANCES: [(usize, u32); 30] = [
    (1, 0),
    (2, 0),
    (3, 0),
    (4, 0),
    (5, 1),
    (7, 1),
    (9, 2),
    (13, 2),
    (17, 3),
    (25, 3),
    (33, 4),
    (49, 4),
    (65, 5),
    (97, 5),
    (129, 6),
    (193, 6),
    (257, 7),
    (385, 7),
    (513, 8),
    (769, 8),
    (1025, 9),
    (1537, 9),
    (2049, 10),
    (3073, 10),
    (4097, 11),
    (6145, 11),
    (8193, 12),
    (12289, 12),
    (16385, 13),
    (24577, 13),
];

/// How many symbols there are for the lengths of codes.
pub(super) const CODE_LENGTHS: usize = 19;
/// The order in which a block says how long their own codes are.
pub(super) const CODE_LENGTHS_ORDER: [usize; CODE_LENGTHS] = [
    16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15,
];

/// How many literals and lengths the fixed codes have, the last two of which stand for nothing.
pub(super) const FIXED_SYMBOLS: usize = 288;

/// How long their codes are in blocks that bring none (RFC 1951, section 3.2.6).
pub(super) fn fixed_lengths() -> [u8; FIXED_SYMBOLS] {
    let mut lengths = [8; FIXED_SYMBOLS];
    for (symbol, length) in lengths.iter_mut().enumerate() {
        match symbol {
            144..=255 => *length = 9,
            256..=279 => *length = 7,
            _ => {}
        }
    }
    lengths
}
