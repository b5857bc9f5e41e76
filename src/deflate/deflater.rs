//! Compression of outgoing messages.

use zlib_rs::{Deflate, DeflateFlush};

use super::encoder::{encode, Window};
use super::error::DeflateError;
use super::history::History;
use super::pool::{Pool, Settings};
use super::{advance, window_size, MESSAGE_TAIL};

/// zlib's parameters. A value out of zlib's range is brought into it.
#[derive(Clone, Debug)]
pub struct DeflateOptions {
    /// 0 to 9 as zlib knows them, or -1: no wish. Then, with the default of the next two, our own encoder compresses.
    pub level: i32,
    /// 1 to 9; Node's default is 8.
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
            mem_level: 8,
            strategy: 0,
            dictionary: None,
            window_bits: 15,
        }
    }
}

/// With context takeover, how much plain text a sleeping compressor keeps. The peer remembers its whole window, but
/// teaching all of it to a woken compressor takes four times as long; the last 8 KiB give nearly the same compression.
const KEPT_TEXT: usize = 8 * 1024;

/// The compressing half of one connection.
pub struct Deflater {
    kind: Kind,
    no_context_takeover: bool,
    pool: Pool,
    /// The state, while one is needed.
    compressor: Option<Compressor>,
    /// With context takeover: the plain text that a later message may refer to. Our own encoder's window has it too, so
    /// there it is kept only while the connection sleeps.
    history: History,
    in_message: bool,
}

/// Who compresses.
enum Kind {
    /// Our own encoder, with matches that reach back at most so far.
    Own(usize),
    /// zlib, as somebody wants it.
    Zlib(Settings),
}

/// A state, and what it was built with.
enum Compressor {
    Own(Window),
    Zlib(Settings, Deflate),
}

impl Compressor {
    fn memory(&self) -> usize {
        match self {
            Self::Own(_) => Window::memory(),
            Self::Zlib(settings, _) => settings.memory(),
        }
    }
}

impl Kind {
    fn of(options: &DeflateOptions) -> Self {
        if (options.level, options.mem_level, options.strategy) == (-1, 8, 0) {
            return Self::Own(window_size(options.window_bits.clamp(8, 15)));
        }
        Self::Zlib(Settings {
            level: match options.level {
                -1 => 6,
                // Level 1 of zlib-rs knows zlib's fixed codes only, and makes noise and plain text longer than they
                // are. Its level 2 compresses as zlib's level 1.
                1 => 2,
                level => level.clamp(0, 9),
            },
            mem_level: options.mem_level.clamp(1, 9),
            strategy: options.strategy.clamp(0, 4),
            window_bits: options.window_bits.clamp(9, 15),
        })
    }

    fn window(&self) -> usize {
        match self {
            Self::Own(reach) => *reach,
            Self::Zlib(settings) => window_size(settings.window_bits),
        }
    }
}

impl Deflater {
    /// A compressor that allocates nothing before its first message.
    pub fn new(options: DeflateOptions, no_context_takeover: bool, pool: &Pool) -> Self {
        let kind = Kind::of(&options);
        let dictionary = options.dictionary.unwrap_or_default();
        let kept = kind.window().min(KEPT_TEXT.max(dictionary.len()));
        Self {
            kind,
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
        } else {
            let mut compressor = self.take_compressor(input.len(), fin)?;
            match &mut compressor {
                Compressor::Own(window) => {
                    let mut block = self.pool.take_block();
                    encode(window, &mut block, input, out);
                    self.pool.give_block(block);
                }
                Compressor::Zlib(_, zlib) => {
                    let start = out.len();
                    compress(zlib, input, out).inspect_err(|_| out.truncate(start))?;
                    if !self.no_context_takeover {
                        self.history.record(input);
                    }
                }
            }
            self.compressor = Some(compressor);
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

    /// Gives the state back to the pool. With context takeover the last plain text stays, and is taught to a state when
    /// the next message comes.
    pub fn sleep(&mut self) {
        // A message whose context ends with it does not record its text, so its context is only in the compressor.
        if self.in_message && self.no_context_takeover {
            return;
        }
        if let Some(Compressor::Own(window)) = &self.compressor {
            let (older, newer) = window.text(self.history.window());
            self.history.replace(older, newer);
        }
        self.release();
        self.history.shrink();
    }

    /// Whether a compressor made anew would do the same from here on.
    pub fn is_as_new(&self) -> bool {
        self.compressor.is_none() && self.history.is_as_new() && !self.in_message
    }

    /// Bytes of memory that this connection holds.
    pub fn memory(&self) -> usize {
        let compressor = self.compressor.as_ref().map_or(0, Compressor::memory);
        self.history.memory().saturating_add(compressor)
    }

    fn take_compressor(&mut self, length: usize, fin: bool) -> Result<Compressor, DeflateError> {
        if let Some(compressor) = self.compressor.take() {
            return Ok(compressor);
        }
        let (older, newer) = self.history.parts();
        let settings = match &self.kind {
            Kind::Own(reach) => {
                let mut window = self.pool.take_window();
                window.restart(*reach);
                window.learn(older);
                window.learn(newer);
                self.history.restart();
                return Ok(Compressor::Own(window));
            }
            Kind::Zlib(settings) => *settings,
        };
        let stands_alone = self.no_context_takeover && fin && older.is_empty();
        let settings = if stands_alone {
            settings.for_single_message(length)
        } else {
            settings
        };
        let mut compressor = self.pool.take_compressor(settings);
        for text in [older, newer] {
            if !text.is_empty() {
                compressor.set_dictionary(text).map_err(failed)?;
            }
        }
        Ok(Compressor::Zlib(settings, compressor))
    }

    fn release(&mut self) {
        match self.compressor.take() {
            Some(Compressor::Own(window)) => self.pool.give_window(window),
            Some(Compressor::Zlib(settings, zlib)) => self.pool.give_compressor(settings, zlib),
            None => {}
        }
    }
}

/// What headers and the flush marker add to a text, generously.
const OVERHEAD: usize = 64;
/// The most room zlib gets at once: Node's chunk size.
const MAX_ROOM: usize = 16 * 1024;

/// Compresses everything and flushes to a byte boundary.
fn compress(
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
        room = MAX_ROOM;
    }
}

fn failed(error: zlib_rs::DeflateError) -> DeflateError {
    DeflateError {
        message: error.as_str(),
    }
}
