//! A short run of one byte at the very beginning of a stream.
//!
//! To zlib-rs the first position of a stream looks like none at all, and it knows no matches of three bytes: six equal
//! bytes come out longer than from zlib, which a peer notices whose `maxPayload` is as small as that. Here they are what
//! zlib makes of them, two literals and a match, in a block with the codes that it calls fixed (RFC 1951, section 3.2.6).

use super::MESSAGE_TAIL;

/// The lengths of matches that zlib finds here: up to the longest that zlib-rs does not find. A match of three it looks for
/// by four bytes, of which the last lies behind the run: it finds one where the hash does not depend on that.
const SHORTEST: u16 = 4;
const LONGEST: u16 = 9;

/// Appends `input` as a block and the empty one behind it, as a sync flush leaves them, if it is such a run.
pub(super) fn deflate_run(input: &[u8], out: &mut Vec<u8>) -> bool {
    let [first, second, rest @ ..] = input else {
        return false;
    };
    let length = u16::try_from(rest.len()).unwrap_or(u16::MAX);
    let shortest = SHORTEST.saturating_sub(u16::from(matches!(*first, 0 | 128)));
    if !(shortest..=LONGEST).contains(&length) {
        return false;
    }
    if second != first || rest.iter().any(|byte| byte != first) {
        return false;
    }
    let literal = match *first {
        byte @ 0..=143 => (u16::from(byte).saturating_add(0x30), 8),
        byte => (u16::from(byte).saturating_add(0x190 - 144), 9),
    };
    // The codes of these lengths have no extra bits, and that of a length of three is one. The distance of one, the end of
    // the block, and the header of the empty block are zeros.
    let code = length.saturating_sub(2);
    let mut bits = 0b010_u64;
    let mut count = 3_u32;
    for (code, length) in [literal, literal, (code, 7)] {
        // Codes begin with their highest bit.
        let reversed = code
            .reverse_bits()
            .wrapping_shr(16_u32.saturating_sub(length));
        bits |= u64::from(reversed).wrapping_shl(count);
        count = count.saturating_add(length);
    }
    let zeros = 5 + 7 + 3;
    let bytes = count.saturating_add(zeros).div_ceil(8);
    let bytes = usize::try_from(bytes).unwrap_or_default();
    out.extend(bits.to_le_bytes().iter().take(bytes));
    out.extend_from_slice(&MESSAGE_TAIL);
    true
}
