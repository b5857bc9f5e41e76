//! A short run of one byte at the very beginning of a stream.
//!
//! To zlib-rs the first position of a stream looks like none at all, and it knows no matches of three bytes: five equal
//! bytes come out longer than from zlib, which a peer notices whose `maxPayload` is as small as that. Here they are a
//! literal and a match, in a block with the codes that zlib calls fixed (RFC 1951, section 3.2.6).

use super::MESSAGE_TAIL;

/// The lengths of matches whose codes have no extra bits.
const SHORTEST: u16 = 3;
const LONGEST: u16 = 10;

/// Appends `input` as a block and the empty one behind it, as a sync flush leaves them, if it is such a run.
pub(super) fn deflate_run(input: &[u8], out: &mut Vec<u8>) -> bool {
    let Some((first, rest)) = input.split_first() else {
        return false;
    };
    let length = u16::try_from(rest.len()).unwrap_or(u16::MAX);
    if !(SHORTEST..=LONGEST).contains(&length) || rest.iter().any(|byte| byte != first) {
        return false;
    }
    let literal = match *first {
        byte @ 0..=143 => (u16::from(byte).saturating_add(0x30), 8),
        byte => (u16::from(byte).saturating_add(0x190 - 144), 9),
    };
    // The code of the length that counts from 257 on; the distance of one, the end of the block, and the header of the
    // empty block are zeros.
    let code = length.saturating_sub(SHORTEST).saturating_add(1);
    let mut bits = 0b010_u64;
    let mut count = 3_u32;
    for (code, length) in [literal, (code, 7)] {
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
