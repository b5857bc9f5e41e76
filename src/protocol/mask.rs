//! Masking: XOR of a payload with a repeated four-byte key. Unmasking is the same operation.

/// Masks `bytes` in place; their first byte is byte `offset` of the frame's payload.
#[inline]
pub fn mask(bytes: &mut [u8], key: [u8; 4], offset: usize) {
    mask_and_scan(bytes, key, offset);
}

/// Does what [`mask`] does and returns whether the result is known to be ASCII, which costs next to
/// nothing while the bytes pass through the registers anyway.
#[inline]
pub(super) fn mask_and_scan(bytes: &mut [u8], key: [u8; 4], offset: usize) -> bool {
    let word = word(key, offset);
    if word == 0 {
        return false;
    }

    let mut seen = 0;
    let (words, rest) = bytes.as_chunks_mut::<8>();
    for eight in words {
        let masked = u64::from_ne_bytes(*eight) ^ word;
        seen |= masked;
        *eight = masked.to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(word.to_ne_bytes()) {
        *byte ^= key;
        seen |= u64::from(*byte);
    }
    seen & 0x8080_8080_8080_8080 == 0
}

/// The key as it falls on eight bytes that begin at byte `offset` of the payload.
#[inline]
fn word(key: [u8; 4], offset: usize) -> u64 {
    let mut key = key;
    key.rotate_left(offset & 3);
    let [a, b, c, d] = key;
    u64::from_ne_bytes([a, b, c, d, a, b, c, d])
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 4] = [0x81, 0x02, 0x7f, 0xf0];

    fn plain(len: usize) -> Vec<u8> {
        (0..len).map(|i| (i * 7) as u8).collect()
    }

    fn masked(plain: &[u8], offset: usize) -> Vec<u8> {
        let key = |i| KEY[(offset + i) % 4];
        plain.iter().enumerate().map(|(i, b)| b ^ key(i)).collect()
    }

    #[test]
    fn every_byte_meets_its_byte_of_the_key() {
        for len in (0..70).chain([1000, 65537]) {
            for offset in 0..9 {
                let mut bytes = plain(len);
                mask(&mut bytes, KEY, offset);
                assert_eq!(bytes, masked(&plain(len), offset));
            }
        }
    }

    #[test]
    fn masking_twice_restores_the_bytes() {
        let mut bytes = plain(99);
        mask(&mut bytes, KEY, 3);
        mask(&mut bytes, KEY, 3);
        assert_eq!(bytes, plain(99));
    }

    #[test]
    fn only_ascii_is_taken_for_ascii() {
        for len in [1, 7, 8, 9, 31, 64, 100] {
            for at in 0..len {
                let mut bytes = masked(&vec![b'a'; len], 0);
                assert!(mask_and_scan(&mut bytes.clone(), KEY, 0));
                bytes[at] ^= 0x80;
                assert!(!mask_and_scan(&mut bytes, KEY, 0));
            }
        }
        // With a key of zero nothing passes by, so nothing is known.
        assert!(!mask_and_scan(&mut [b'a'], [0; 4], 0));
    }
}
