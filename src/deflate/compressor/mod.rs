//! Compression at the level of which it is the default.
//!
//! zlib-rs is made for long streams: with each message it clears tables for a whole window and looks at every place of the
//! text twice. Here all grows with the text. Matches are looked for at a few places (`chains`), what was found is a block
//! (`block`), which gets the shortest codes (`codes`), described in a table of their own (`table`), and becomes bits
//! (`bits`).

mod bits;
mod block;
mod chains;
mod codes;
mod table;

#[cfg(test)]
pub(super) use codes::Codes;

use bits::BitWriter;
use block::Block;
use chains::{Chains, Search};

use super::MESSAGE_TAIL;

/// So much text is compressed at once. It becomes one block or more.
const PIECE: usize = 16 * 1024;
/// A block with no more tokens than this is not worth an end between two pieces, if its text is still there in case that it
/// has to be stored.
const FEW_TOKENS: usize = 1024;

/// Matches reach back over so many messages as long as the longest one so far, or over this many bytes, if the window does.
/// Text that lies further back is seldom worth its place in the processor's caches.
const MESSAGES_IN_REACH: usize = 16;
const LEAST_REACH: usize = 16 * 1024;

/// Behind so many bytes without a match, and again behind as many, matches are looked for at fewer places, down to one in
/// `MOST_SKIPPED`.
const PATIENCE: usize = 128;
const MOST_SKIPPED: usize = 16;

/// What the options and the other side allow.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    /// Nothing is repeated from further back than this.
    pub(super) window: usize,
    /// How many literals and repetitions a block holds.
    pub(super) tokens: usize,
}

/// How hard to look for matches. Figures are in `docs/measurements.md`.
struct Effort {
    /// At how many places each time.
    places: usize,
    /// Behind a match that is as long as this, no better one is looked for.
    good_length: usize,
}

impl Effort {
    fn for_length(length: usize) -> Self {
        /// Up to here it costs little to look twice.
        const SHORT: usize = 512;
        if length <= SHORT {
            Self {
                places: 10,
                good_length: 16,
            }
        } else {
            Self {
                places: 6,
                good_length: 8,
            }
        }
    }
}

/// The text of a context, and where in it matches may be.
pub(super) struct Compressor {
    text: Vec<u8>,
    /// Matches are looked for no further back than this.
    reach: usize,
    chains: Chains,
    block: Block,
}

impl Compressor {
    pub(super) fn new() -> Self {
        Self {
            text: Vec::new(),
            reach: 0,
            chains: Chains::new(),
            block: Block::new(),
        }
    }

    /// Forgets all text.
    pub(super) fn reset(&mut self) {
        self.text.clear();
        self.reach = 0;
        self.chains.clear();
        self.block.clear();
    }

    /// Adds text that both sides know.
    pub(super) fn remember(&mut self, text: &[u8], window: usize) {
        self.reach_for(text.len(), window);
        for piece in text.chunks(PIECE) {
            self.append(piece);
        }
    }

    /// Appends a text as blocks, and an empty stored one, so that what follows begins with a new byte.
    ///
    /// Between pieces `goes_on` tells whether to go on; says whether it did.
    pub(super) fn compress(
        &mut self,
        text: &[u8],
        bounds: Bounds,
        out: &mut Vec<u8>,
        goes_on: impl Fn() -> bool,
    ) -> bool {
        self.reach_for(text.len().saturating_mul(MESSAGES_IN_REACH), bounds.window);
        let mut bits = BitWriter::new(out);
        let mut pieces = text.chunks(PIECE).peekable();
        while let Some(piece) = pieces.next() {
            let start = self.append(piece);
            self.compress_from(start, bounds.tokens, &mut bits);
            let is_last = pieces.peek().is_none();
            let few = if is_last {
                0
            } else {
                FEW_TOKENS.min(self.reach)
            };
            if self.block.tokens() > few {
                self.block.write(&self.text, &mut bits);
            }
            if !is_last && !goes_on() {
                return false;
            }
        }
        bits.put(0, 3);
        bits.align();
        bits.put_bytes(&MESSAGE_TAIL);
        true
    }

    /// Makes matches reach as far as this, if the window does.
    fn reach_for(&mut self, length: usize, window: usize) {
        let reach = self.reach.max(length).max(LEAST_REACH);
        self.reach = reach.min(window);
    }

    /// Adds a piece to the text, which forgets what lies out of reach if it becomes too long. Says where it is.
    fn append(&mut self, piece: &[u8]) -> usize {
        // Places are numbers of 16 bits, and this is at most 48 KiB.
        let slack = self.reach.min(PIECE).max(piece.len());
        let most = self.reach.saturating_add(slack);
        if self.text.len().saturating_add(piece.len()) > most {
            let forgotten = self.text.len().saturating_sub(self.reach);
            self.text.drain(..forgotten);
            self.chains.drop_first(forgotten);
        }
        let length = self.text.len().saturating_add(piece.len());
        let capacity = self.text.capacity();
        if length > capacity {
            let doubled = capacity.saturating_mul(2).min(most).max(length);
            self.text
                .reserve_exact(doubled.saturating_sub(self.text.len()));
            self.chains.reserve(doubled);
        }
        let start = self.text.len();
        self.text.extend_from_slice(piece);
        self.chains.enter_until(start, &self.text);
        start
    }

    /// Compresses the text from here on, but for what is the last block so far.
    fn compress_from(&mut self, start: usize, most_tokens: usize, bits: &mut BitWriter) {
        let Self {
            text,
            reach,
            chains,
            block,
        } = self;
        let mut at = start;
        let effort = Effort::for_length(text.len().saturating_sub(start));
        let search = Search {
            reach: *reach,
            places: effort.places,
        };
        let (mut last_match, mut next_search) = (start, start);
        while let Some(byte) = text.get(at) {
            let is_passed_over = at < next_search;
            let found = if is_passed_over {
                None
            } else {
                chains.find(at, text, search, 0)
            };
            match found {
                None => {
                    // The longer there was no match, the less there is to be hoped for.
                    let since = at.wrapping_sub(last_match) / PATIENCE;
                    if !is_passed_over && since > 1 {
                        next_search = at.wrapping_add(since.min(MOST_SKIPPED));
                        chains.enter_until(next_search, text);
                    }
                    block.literal(*byte);
                    at = at.wrapping_add(1);
                }
                Some(mut found) => {
                    // A longer match that begins one later is the better one.
                    while found.length < effort.good_length && block.tokens() < most_tokens {
                        let next = at.wrapping_add(1);
                        let Some(longer) = chains.find(next, text, search, found.length) else {
                            break;
                        };
                        block.literal(text.get(at).copied().unwrap_or_default());
                        (found, at) = (longer, next);
                    }
                    block.repetition(found.length, found.distance);
                    at = at.wrapping_add(found.length);
                    chains.enter_until(at, text);
                    last_match = at;
                }
            }
            if block.tokens() >= most_tokens {
                block.write(text.get(..at).unwrap_or_default(), bits);
            }
        }
    }

    /// Bytes allocated.
    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        size_of::<Self>()
            .saturating_add(self.text.capacity())
            .saturating_add(self.chains.memory())
            .saturating_add(self.block.memory())
    }
}
