//! Decompresses what may be compressed, damaged or anything at all, once with sleep between messages and once without:
//! both come to the same, no frame gives more than it may, and what was not damaged arrives.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use oxws::deflate::{DeflateOptions, Deflater, InflateOptions, Inflater, Pool};

#[derive(Debug, Arbitrary)]
enum Payload {
    Compressed(Vec<u8>),
    Damaged { text: Vec<u8>, at: u16, with: u8 },
    Anything(Vec<u8>),
}

#[derive(Debug, Arbitrary)]
struct Frame {
    payload: Payload,
    fin: bool,
    sleeps: bool,
}

#[derive(Debug, Arbitrary)]
struct Input {
    window: u8,
    no_context_takeover: bool,
    limit: u16,
    frames: Vec<Frame>,
}

fuzz_target!(|input: Input| {
    let window_bits = 8 + input.window % 8;
    let limit = u64::from(input.limit);
    let pool = Pool::new();
    let options = DeflateOptions {
        window_bits,
        ..DeflateOptions::default()
    };
    let mut deflater = Deflater::new(options, input.no_context_takeover, &pool);
    let inflater = || {
        let options = InflateOptions {
            window_bits,
            dictionary: None,
        };
        Inflater::new(options, input.no_context_takeover, &pool)
    };
    let (mut sleeper, mut other) = (inflater(), inflater());
    let mut is_sound = true;
    for Frame {
        payload,
        fin,
        sleeps,
    } in input.frames
    {
        let mut frame = Vec::new();
        let mut wanted = None;
        match payload {
            Payload::Compressed(text) => {
                deflater.deflate(&text, fin, &mut frame).unwrap();
                wanted = Some(text);
            }
            Payload::Damaged { text, at, with } => {
                deflater.deflate(&text, fin, &mut frame).unwrap();
                let at = usize::from(at) % frame.len().max(1);
                if let Some(byte) = frame.get_mut(at) {
                    *byte ^= with;
                    is_sound &= with == 0;
                }
            }
            Payload::Anything(bytes) => {
                frame = bytes;
                is_sound = false;
            }
        }
        let (mut text, mut same) = (Vec::new(), Vec::new());
        let result = sleeper.inflate(&frame, fin, limit, &mut text);
        assert_eq!(result, other.inflate(&frame, fin, limit, &mut same));
        assert_eq!(text, same);
        if result.is_ok() {
            assert!(limit == 0 || text.len() as u64 <= limit);
            if let (true, Some(wanted)) = (is_sound, wanted) {
                assert_eq!(text, wanted);
            }
        } else {
            // A connection ends here.
            assert!(!is_sound || limit > 0);
            return;
        }
        if sleeps {
            sleeper.sleep();
        }
    }
});
