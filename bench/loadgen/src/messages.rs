//! The messages of a run: their plain bytes, and the frames that carry them, built once and sent
//! over and over by every connection.

use std::io::Write as _;
use std::ops::Range;

use crate::deflate;
use crate::frame;
use crate::handshake::Negotiated;

/// With context takeover a message may refer to what was sent before it. The cycle of messages is
/// longer than the largest window, so that no message finds its own previous lap in it.
const CYCLE_BYTES: usize = 40 * 1024;
const SEED: u64 = 0x6f78_7773;

/// A small, fast, seeded generator (splitmix64): runs must not differ in what they send.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

const WORDS: [&str; 24] = [
    "order",
    "invoice",
    "pending",
    "shipped",
    "customer",
    "berlin",
    "account",
    "monthly",
    "update",
    "total",
    "warehouse",
    "returned",
    "priority",
    "standard",
    "delivery",
    "message",
    "channel",
    "member",
    "status",
    "credit",
    "october",
    "payment",
    "review",
    "archive",
];

/// An ASCII text of exactly `size` bytes that looks like what JSON APIs send.
fn json_text(random: &mut Random, size: usize) -> Vec<u8> {
    let mut text = Vec::with_capacity(size + 128);
    let _ = write!(
        text,
        "{{\"id\":{},\"items\":[",
        1_000_000 + random.below(9_000_000)
    );
    loop {
        let start = text.len();
        let mut word = || WORDS[random.below(24) as usize];
        let (state, first, second) = (word(), word(), word());
        let (sku, quantity, price) = (random.below(65_536), 1 + random.below(9), random.below(500));
        let _ = write!(
            text,
            "{{\"sku\":\"{sku:04x}\",\"quantity\":{quantity},\"price\":{price}.50,"
        );
        let _ = write!(
            text,
            "\"state\":\"{state}\",\"name\":\"{first} {second}\"}},"
        );
        if text.len() + 16 > size {
            text.truncate(start);
            break;
        }
    }
    if text.last() == Some(&b',') {
        text.pop();
    }
    text.extend_from_slice(b"],\"note\":\"");
    while text.len() + 2 < size {
        text.extend_from_slice(WORDS[random.below(24) as usize].as_bytes());
        text.push(b' ');
    }
    text.truncate(size.saturating_sub(2));
    text.extend_from_slice(b"\"}");
    text.truncate(size);
    text
}

fn random_bytes(random: &mut Random, size: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        bytes.extend_from_slice(&random.next().to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

/// The plain messages, in the order in which they are sent, again and again.
pub struct Messages {
    plain: Vec<Vec<u8>>,
    pub opcode: u8,
}

impl Messages {
    pub fn new(size: usize, binary: bool) -> Self {
        let mut random = Random(SEED);
        let count = (CYCLE_BYTES / size.max(1) + 1).clamp(2, 1024);
        let make = if binary { random_bytes } else { json_text };
        Self {
            plain: (0..count).map(|_| make(&mut random, size)).collect(),
            opcode: if binary { frame::BINARY } else { frame::TEXT },
        }
    }

    /// What a server in the `push` role sends: one binary message, the alphabet repeated.
    pub fn pushed(size: usize) -> Self {
        let message = (b'a'..=b'z').cycle().take(size).collect();
        Self {
            plain: vec![message],
            opcode: frame::BINARY,
        }
    }

    /// The plain bytes of the `number`-th message of a connection.
    pub fn plain(&self, number: u64) -> &[u8] {
        &self.plain[(number % self.plain.len() as u64) as usize]
    }

    /// The frames of these messages for connections that negotiated `negotiated`.
    pub fn script(&self, negotiated: &Negotiated) -> Script {
        if !negotiated.deflate {
            return self.frames(self.plain.iter(), false, 0);
        }
        // What a compressed message refers to is plain text, not compressed bytes. So the second
        // lap, compressed with the first one in the window, may be repeated for ever: each lap finds
        // the same window.
        let laps = self.plain.iter().chain(&self.plain);
        let compressed = deflate::compress_each(laps, negotiated.client_takeover);
        self.frames(compressed.iter(), true, self.plain.len())
    }

    fn frames<'a>(
        &self,
        payloads: impl Iterator<Item = &'a Vec<u8>>,
        rsv1: bool,
        first_lap: usize,
    ) -> Script {
        let mut random = Random(SEED ^ 1);
        let mut script = Script {
            bytes: Vec::new(),
            frames: Vec::new(),
            first_lap,
        };
        for payload in payloads {
            let start = script.bytes.len();
            let mask = (random.next() as u32).to_le_bytes();
            frame::push_client_frame(&mut script.bytes, self.opcode, rsv1, mask, payload);
            script.frames.push(start..script.bytes.len());
        }
        script
    }
}

/// Frames ready for the wire: a first lap that is sent once, and a cycle that follows it for ever.
pub struct Script {
    bytes: Vec<u8>,
    frames: Vec<Range<usize>>,
    /// How many frames the first lap has.
    first_lap: usize,
}

impl Script {
    fn cycle_start(&self) -> usize {
        self.frames[self.first_lap].start
    }
}

/// How far one connection has come in its script.
#[derive(Default)]
pub struct Progress {
    next_frame: usize,
    next_byte: usize,
    pending: usize,
}

impl Progress {
    /// Releases the next frame of the script for sending.
    pub fn queue(&mut self, script: &Script) {
        self.pending += script.frames[self.next_frame].len();
        self.next_frame += 1;
        if self.next_frame == script.frames.len() {
            self.next_frame = script.first_lap;
        }
    }

    pub fn is_idle(&self) -> bool {
        self.pending == 0
    }

    /// The bytes to send next, in up to two pieces because the cycle may end among them.
    pub fn pieces<'a>(&self, script: &'a Script) -> [&'a [u8]; 2] {
        let first = &script.bytes[self.next_byte..];
        let first = &first[..first.len().min(self.pending)];
        let second = &script.bytes[script.cycle_start()..];
        let second = &second[..second.len().min(self.pending - first.len())];
        [first, second]
    }

    /// Notes that the kernel took `count` bytes of the pieces.
    pub fn advance(&mut self, script: &Script, count: usize) {
        self.pending -= count;
        self.next_byte += count;
        if self.next_byte >= script.bytes.len() {
            self.next_byte = self.next_byte - script.bytes.len() + script.cycle_start();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_has_the_size_asked_for_and_is_json() {
        for size in [64, 128, 256, 1024, 16 * 1024] {
            for message in &Messages::new(size, false).plain {
                assert_eq!(message.len(), size);
                assert!(message.starts_with(b"{\"id\":") && message.ends_with(b"\"}"));
            }
        }
    }

    #[test]
    fn the_script_repeats_its_cycle_without_a_seam() {
        let messages = Messages::new(1024, false);
        let script = messages.script(&Negotiated::default());
        let mut progress = Progress::default();
        let mut sent = Vec::new();
        for _ in 0..3 * script.frames.len() {
            progress.queue(&script);
            while !progress.is_idle() {
                let [first, second] = progress.pieces(&script);
                let step = first.len().min(700);
                sent.extend_from_slice(if step == 0 { second } else { &first[..step] });
                let taken = if step == 0 { second.len() } else { step };
                progress.advance(&script, taken);
            }
        }
        assert_eq!(sent, script.bytes.repeat(3));
    }
}
