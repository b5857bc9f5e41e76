//! Compresses texts that repeat themselves near and far, in frames, with sleep between some: what is decompressed is what
//! was compressed, and no frame is longer than its text would be in stored blocks.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use oxws::deflate::{DeflateOptions, Deflater, InflateOptions, Inflater, Pool};

#[derive(Debug, Arbitrary)]
enum Part {
    Bytes(Vec<u8>),
    /// Text of this frame or an earlier one once more.
    Again {
        back: u16,
        length: u16,
    },
    /// Bytes that do not repeat.
    Noise {
        seed: u32,
        length: u16,
    },
}

#[derive(Debug, Arbitrary)]
struct Frame {
    parts: Vec<Part>,
    fin: bool,
    sleeps: bool,
}

#[derive(Debug, Arbitrary)]
struct Input {
    window: u8,
    mem_level: u8,
    no_context_takeover: bool,
    dictionary: Option<Vec<u8>>,
    frames: Vec<Frame>,
}

/// The text of a frame; all there was so far is `said`.
fn text(parts: Vec<Part>, said: &mut Vec<u8>) -> Vec<u8> {
    let start = said.len();
    for part in parts {
        match part {
            Part::Bytes(bytes) => said.extend(bytes),
            Part::Again { back, length } => {
                for _ in 0..length {
                    let at = said.len().saturating_sub(usize::from(back).max(1));
                    said.push(said.get(at).copied().unwrap_or_default());
                }
            }
            Part::Noise { mut seed, length } => {
                for _ in 0..length {
                    seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    said.push(seed.to_le_bytes()[3]);
                }
            }
        }
    }
    said[start..].to_vec()
}

fuzz_target!(|input: Input| {
    let window_bits = 8 + input.window % 8;
    let mem_level = 1 + i32::from(input.mem_level % 9);
    let tokens = (1 << (mem_level.min(8) + 6)) - 1;
    let pool = Pool::new();
    let options = DeflateOptions {
        mem_level,
        window_bits,
        dictionary: input.dictionary.clone(),
        ..DeflateOptions::default()
    };
    let mut deflater = Deflater::new(options, input.no_context_takeover, &pool);
    let options = InflateOptions {
        window_bits,
        dictionary: input.dictionary,
    };
    let mut inflater = Inflater::new(options, input.no_context_takeover, &pool);
    let mut said = Vec::new();
    for Frame { parts, fin, sleeps } in input.frames {
        let text = text(parts, &mut said);
        let (mut frame, mut same) = (Vec::new(), Vec::new());
        deflater.deflate(&text, fin, &mut frame).unwrap();
        // A block may end with a piece of 16 KiB. The empty one behind all takes five bytes, too, or one.
        let blocks = text.len().div_ceil(tokens) + text.len() / (16 * 1024) + 1;
        assert!(frame.len() <= text.len() + 5 * blocks);
        inflater.inflate(&frame, fin, 0, &mut same).unwrap();
        assert!(text == same);
        if sleeps {
            deflater.sleep();
            inflater.sleep();
        }
    }
});
