//! Compression of outgoing messages.

use zlib_rs::{Deflate, DeflateFlush};

use super::byte_run::deflate_run;
use super::compressor::{Bounds, Compressor};
use super::error::DeflateError;
use super::history::History;
use super::pool::{Pool, Settings};
use super::{advance, window_size, MESSAGE_TAIL};

/// zlib's parameters. A value out of zlib's range is brought into it.
#[derive(Clone, Debug)]
pub struct DeflateOptions {
    /// 0 to 9 as zlib knows them, or -1 for no wish; see [`UNSET_LEVEL`].
    pub level: i32,
    /// 1 to 9, or 0 for no wish; see [`OWN_MEM_LEVEL`] and [`UNSET_MEM_LEVEL`].
    pub mem_level: i32,
    /// 0 default, 1 filtered, 2 Huffman only, 3 run lengths, 4 fixed codes.
    pub strategy: i32,
    /// Text both sides know at the start of every context.
    pub dictionary: Option<Vec<u8>>,
    /// The negotiated window, 8 to 15. For 8 zlib compresses with a 9 bit window, of which it never looks back further
    /// than 250 bytes, so that a peer with a window of 8 bits understands it.
    pub window_bits: u8,
}

impl Default for DeflateOptions {
    fn default() -> Self {
        Self {
            level: -1,
            mem_level: 0,
            strategy: 0,
            dictionary: None,
            window_bits: 15,
        }
    }
}

/// With context takeover, how much plain text a sleeping compressor keeps. The peer remembers its whole window, but
/// teaching all of it to a woken compressor takes 15 us; the last 8 KiB take 4 and give nearly the same compression.
const KEPT_TEXT: usize = 8 * 1024;

/// The level where nobody sets one. zlib's default, 6, looks at up to 128 places for each match, all over a window of
/// 32 KiB for each connection: it takes up to six times as long, for output that is mostly 2 to 16 % smaller (figures in
/// `docs/measurements.md`).
const UNSET_LEVEL: i32 = OWN_LEVEL;

/// The level at which [`Compressor`] does the work, unless a strategy is set. It compresses about as well as zlib-rs, large
/// messages in about the same time and small ones in less.
const OWN_LEVEL: i32 = 3;

/// The memory level of our own where nobody sets one, which is zlib's. It allocates what it needs.
const OWN_MEM_LEVEL: i32 = 8;

/// The memory level of zlib-rs where nobody sets one. It clears all the room for a block's symbols with each message:
/// 48 KiB at Node's default, 8, and 12 KiB at 6, which is as much as a message of some 30 KiB fills.
const UNSET_MEM_LEVEL: i32 = 6;

/// What compresses for one connection, while it is needed.
enum Lent {
    /// Our own.
    Own(Box<Compressor>),
    /// zlib's, and what it was built with.
    Zlib(Settings, Deflate),
}

/// The compressing half of one connection.
pub struct Deflater {
    /// What zlib's compressor is built with, where our own is not the one.
    zlib: Option<Settings>,
    /// What our own keeps to.
    bounds: Bounds,
    no_context_takeover: bool,
    pool: Pool,
    compressor: Option<Lent>,
    /// With context takeover: the plain text that a later message may refer to.
    history: History,
    in_message: bool,
}

impl Deflater {
    /// A compressor that allocates nothing before its first message.
    pub fn new(options: DeflateOptions, no_context_takeover: bool, pool: &Pool) -> Self {
        let window_bits = options.window_bits.clamp(8, 15);
        let level = match options.level {
            -1 => UNSET_LEVEL,
            // Level 1 of zlib-rs knows zlib's fixed codes only, and makes noise and plain text longer than they are. Its level
            // 2 compresses as zlib's level 1.
            1 => 2,
            level => level.clamp(0, 9),
        };
        let strategy = options.strategy.clamp(0, 4);
        let is_own = level == OWN_LEVEL && strategy == 0;
        let mem_level = match options.mem_level {
            0 if is_own => OWN_MEM_LEVEL,
            0 => UNSET_MEM_LEVEL,
            mem_level => mem_level.clamp(1, 9),
        };
        let settings = Settings {
            level,
            mem_level,
            strategy,
            window_bits: window_bits.max(9),
        };
        let dictionary = options.dictionary.unwrap_or_default();
        let bounds = Bounds {
            window: window_size(window_bits),
            tokens: tokens_of_block(mem_level),
        };
        let kept = bounds.window.min(KEPT_TEXT.max(dictionary.len()));
        Self {
            zlib: (!is_own).then_some(settings),
            bounds,
            no_context_takeover,
            pool: pool.clone(),
            compressor: None,
            history: History::new(kept, dictionary),
            in_message: false,
        }
    }

    /// Appends the compressed payload of one frame to `out`.
    ///
    /// Every frame ends on a byte boundary with an empty stored block. The last frame of a message (`fin`) goes without
    /// that block's four length bytes, as RFC 7692 wants it. After an error nothing was appended.
    pub fn deflate(
        &mut self,
        input: &[u8],
        fin: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), DeflateError> {
        if input.is_empty() {
            // zlib emits nothing for a second flush in a row, so the empty block is written here.
            out.push(0);
            out.extend_from_slice(&MESSAGE_TAIL);
        } else if self.is_at_start() && deflate_run(input, out) {
            // A compressor made later need not know of it.
            if !self.no_context_takeover {
                self.history.record(input);
            }
        } else {
            let mut compressor = self.take_compressor(input.len(), fin)?;
            let start = out.len();
            let result = match &mut compressor {
                Lent::Own(compressor) => compressor
                    .compress(input, self.bounds, out, || !self.pool.is_closed())
                    .then_some(())
                    .ok_or(UNWANTED),
                Lent::Zlib(_, compressor) => compress(&self.pool, compressor, input, out),
            };
            self.compressor = Some(compressor);
            if let Err(error) = result {
                out.truncate(start);
                self.release();
                return Err(error);
            }
            if !self.no_context_takeover {
                self.history.record(input);
            }
        }

        self.in_message = !fin;
        if fin {
            out.truncate(out.len().saturating_sub(MESSAGE_TAIL.len()));
            if self.no_context_takeover {
                self.release();
            }
        }
        Ok(())
    }

    /// Gives the compressor back to the pool. With context takeover the last of the plain text stays, and another one is
    /// taught it when the next message comes.
    pub fn sleep(&mut self) {
        // A message whose context ends with it does not record its text, so its context is only in the compressor.
        if self.in_message && self.no_context_takeover {
            return;
        }
        self.release();
        self.history.shrink();
    }

    /// Whether a compressor made anew would do the same from here on.
    pub fn is_as_new(&self) -> bool {
        self.compressor.is_none() && self.history.is_as_new() && !self.in_message
    }

    /// Bytes of memory that this connection holds.
    #[cfg(test)]
    pub fn memory(&self) -> usize {
        let compressor = match &self.compressor {
            Some(Lent::Own(compressor)) => compressor.memory(),
            Some(Lent::Zlib(settings, _)) => settings.memory(),
            None => 0,
        };
        self.history.memory().saturating_add(compressor)
    }

    /// Whether nothing was compressed in this context, by a compressor that looks for matches.
    fn is_at_start(&self) -> bool {
        let (older, newer) = self.history.parts();
        let looks_for_matches = self
            .zlib
            .is_none_or(|settings| settings.level != 0 && settings.strategy == 0);
        self.compressor.is_none() && older.is_empty() && newer.is_empty() && looks_for_matches
    }

    fn take_compressor(&mut self, length: usize, fin: bool) -> Result<Lent, DeflateError> {
        if let Some(compressor) = self.compressor.take() {
            return Ok(compressor);
        }
        let (older, newer) = self.history.parts();
        let known = [older, newer].into_iter().filter(|text| !text.is_empty());
        let Some(settings) = self.zlib else {
            let mut compressor = self.pool.take_compressor();
            for text in known {
                compressor.remember(text, self.bounds.window);
            }
            return Ok(Lent::Own(compressor));
        };
        let stands_alone = self.no_context_takeover && fin && older.is_empty();
        let settings = if stands_alone {
            settings.for_single_message(length)
        } else {
            settings
        };
        let mut compressor = self.pool.take_zlib_compressor(settings);
        for text in known {
            if let Err(error) = compressor.set_dictionary(text) {
                self.pool.give_zlib_compressor(settings, compressor);
                return Err(failed(error));
            }
        }
        Ok(Lent::Zlib(settings, compressor))
    }

    fn release(&mut self) {
        match self.compressor.take() {
            Some(Lent::Own(compressor)) => self.pool.give_compressor(compressor),
            Some(Lent::Zlib(settings, compressor)) => {
                self.pool.give_zlib_compressor(settings, compressor);
            }
            None => {}
        }
    }
}

impl Drop for Deflater {
    fn drop(&mut self) {
        self.release();
    }
}

/// How many symbols zlib collects for a block with this memory level. A text that cannot be compressed becomes as long as
/// its stored blocks make it, which a peer notices whose `maxPayload` is no larger. The highest level is as the one below: it
/// would take more memory, and zlib cannot store a block as large as that.
fn tokens_of_block(mem_level: i32) -> usize {
    let bits = u32::try_from(mem_level.min(8).saturating_add(6)).unwrap_or_default();
    1_usize.wrapping_shl(bits).saturating_sub(1)
}

/// What headers and the flush marker add to a text, generously.
const OVERHEAD: usize = 64;
/// The most room zlib gets at once: Node's chunk size.
const MAX_ROOM: usize = 16 * 1024;

const UNWANTED: DeflateError = DeflateError {
    message: "nobody wants the result any more",
};

/// Compresses everything with zlib and flushes to a byte boundary.
fn compress(
    pool: &Pool,
    compressor: &mut Deflate,
    mut input: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), DeflateError> {
    // At first enough for noise, because zlib repeats a flush marker that does not fit in completely.
    let noise = input.len().saturating_add(input.len() / 8);
    let mut room = noise.saturating_add(OVERHEAD).min(MAX_ROOM);
    loop {
        let start = out.len();
        out.resize(start.saturating_add(room), 0);

        let (read_before, written_before) = (compressor.total_in(), compressor.total_out());
        let target = out.get_mut(start..).unwrap_or_default();
        compressor
            .compress(input, target, DeflateFlush::SyncFlush)
            .map_err(failed)?;
        let read = advance(read_before, compressor.total_in());
        let written = advance(written_before, compressor.total_out());

        out.truncate(start.saturating_add(written));
        input = input.get(read..).unwrap_or_default();
        // Room left over means that the flush is complete.
        if written < room {
            return Ok(());
        }
        if pool.is_closed() {
            return Err(UNWANTED);
        }
        room = MAX_ROOM;
    }
}

fn failed(error: zlib_rs::DeflateError) -> DeflateError {
    DeflateError {
        message: error.as_str(),
    }
}
