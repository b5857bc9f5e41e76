//! Huffman codes.

use super::super::huffman::{Code, Huffman};

fn seen(code: Code) -> (Option<u16>, u32) {
    match code {
        Code::Symbol(symbol, bits) => (Some(symbol), bits),
        Code::Nothing(bits) => (None, bits),
        Code::Unfinished => (None, 0),
    }
}

#[test]
fn what_is_looked_up_is_what_is_read_bit_by_bit() {
    let skewed: Vec<u8> = (1..=14).chain([15, 15]).collect();
    let codes = [
        Huffman::fixed_lengths().unwrap(),
        Huffman::fixed_distances().unwrap(),
        Huffman::new(&skewed, true).unwrap(),
        Huffman::new(&[0, 1], true).unwrap(),
        Huffman::new(&[3, 3, 3, 3, 2, 2], true).unwrap(),
        Huffman::new(&[0, 0], true).unwrap(),
        Huffman::default(),
    ];
    for code in codes {
        for held in 0..1_u64 << 16 {
            for available in 0..=16 {
                let bits = held & ((1 << available) - 1);
                let expected = seen(code.decode_bits(bits, available));
                assert_eq!(seen(code.decode(bits, available)), expected);
            }
        }
    }
}
