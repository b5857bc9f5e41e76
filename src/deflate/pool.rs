//! Compressors and decompressors, shared by all connections of one environment.
//!
//! A compressor of zlib's weighs about 290 KiB, 370 with Node's memory level, our own 10 to 220, and a decompressor 48. A
//! connection needs one only while it works on a message (or, with context takeover, until it falls asleep), so a handful of
//! states serves any number of connections.
//!
//! What was allocated once is kept while it may be needed again: making a state takes longer than compressing a small
//! message. What zlib-rs allocated goes back to the system when it is given up (`memory.rs`).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use zlib_rs::{Deflate, DeflateConfig, Inflate, Strategy};

use super::compressor::Compressor;
#[cfg(test)]
use super::window_size;

/// As long as so many states of a kind are lent or idle, none is freed but by [`Pool::trim`]. It is somewhat more than
/// there are connections awake, so that those that wake and those that fall asleep find each other's.
pub(super) const MOST_KEPT: usize = 96;
/// So many idle states of a kind are kept however many are lent.
const FEWEST_KEPT: usize = 8;

/// A handle to the states of one environment. Clones share them.
#[derive(Clone, Default)]
pub struct Pool {
    shelves: Arc<Mutex<Shelves>>,
    is_closed: Arc<AtomicBool>,
}

#[derive(Default)]
struct Shelves {
    compressors: Shelf<Box<Compressor>>,
    zlib_compressors: Shelf<(Settings, Deflate)>,
    decompressors: Shelf<Inflate>,
}

/// The states of one kind.
struct Shelf<T> {
    /// Oldest first. The most recently used one is lent out first, because the caches know it.
    idle: Vec<T>,
    lent: usize,
    /// How many were idle all the time since the shelf was trimmed last.
    unneeded: usize,
}

impl<T> Default for Shelf<T> {
    fn default() -> Self {
        Self {
            idle: Vec::new(),
            lent: 0,
            unneeded: 0,
        }
    }
}

impl<T> Shelf<T> {
    /// Lends one, or notes that one is made.
    fn take(&mut self, fits: impl Fn(&T) -> bool) -> Option<T> {
        self.lent = self.lent.saturating_add(1);
        let found = self.idle.iter().rposition(fits);
        let state = found.map(|at| self.idle.remove(at));
        self.unneeded = self.unneeded.min(self.idle.len());
        state
    }

    /// Takes one back; another one is to be freed if that makes too many.
    fn give(&mut self, state: T) -> Option<T> {
        self.lent = self.lent.saturating_sub(1);
        self.idle.push(state);
        let count = self.idle.len().saturating_add(self.lent);
        let is_surplus = count > MOST_KEPT && self.idle.len() > FEWEST_KEPT;
        is_surplus.then(|| self.idle.remove(0))
    }

    /// Gives up half of those that were not needed since the last time.
    fn trim(&mut self) -> Vec<T> {
        let surplus = self.unneeded.min(self.idle.len()).div_ceil(2);
        let unused = self.idle.drain(..surplus).collect();
        self.unneeded = self.idle.len();
        unused
    }
}

/// The parameters a compressor of zlib's is built with, each within zlib's bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) level: i32,
    pub(super) mem_level: i32,
    pub(super) strategy: i32,
    pub(super) window_bits: u8,
}

impl Settings {
    fn config(self) -> DeflateConfig {
        DeflateConfig {
            level: self.level,
            // Negative bits ask zlib for a raw stream, without header and checksum.
            window_bits: i32::from(self.window_bits).saturating_neg(),
            mem_level: self.mem_level,
            strategy: match self.strategy {
                1 => Strategy::Filtered,
                2 => Strategy::HuffmanOnly,
                3 => Strategy::Rle,
                4 => Strategy::Fixed,
                _ => Strategy::Default,
            },
            ..DeflateConfig::default()
        }
    }

    /// Cheaper settings with the same result for a message that nothing came before and nothing follows.
    ///
    /// A small message needs no large window, and a small state is cleared and cached sooner (0.7 us of 5 us).
    pub(super) fn for_single_message(self, length: usize) -> Self {
        const SMALL_WINDOW_BITS: u8 = 12;
        const SMALL_MEM_LEVEL: i32 = 6;
        /// zlib never looks further back than the window without its longest match and some.
        const REACH: usize = 4096 - 262;

        if length > REACH
            || self.window_bits < SMALL_WINDOW_BITS
            || self.mem_level < SMALL_MEM_LEVEL
        {
            return self;
        }
        Self {
            mem_level: SMALL_MEM_LEVEL,
            window_bits: SMALL_WINDOW_BITS,
            ..self
        }
    }

    /// What zlib-rs allocates with these settings: the window twice, the chains, zlib-rs's hash table of
    /// fixed size, and four plus three bytes for each buffered symbol.
    #[cfg(test)]
    pub(super) fn memory(self) -> usize {
        let window = window_size(self.window_bits);
        let symbols = u32::try_from(self.mem_level.saturating_add(6))
            .ok()
            .and_then(|bits| 1_usize.checked_shl(bits))
            .unwrap_or(0);
        window
            .saturating_mul(4)
            .saturating_add(128 * 1024)
            .saturating_add(symbols.saturating_mul(7))
            .saturating_add(8 * 1024)
    }
}

/// What a decompressor allocates: the largest window and its code tables.
#[cfg(test)]
pub(super) const DECOMPRESSOR_MEMORY: usize = 48 * 1024;

impl Pool {
    /// An empty pool.
    pub fn new() -> Self {
        Self::default()
    }

    /// Says that nobody wants the results of what is under way any more: what takes long fails soon.
    pub fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Relaxed)
    }

    /// Lends a compressor at the start of a stream.
    pub(super) fn take_compressor(&self) -> Box<Compressor> {
        let found = self.shelves().compressors.take(|_| true);
        match found {
            Some(mut compressor) => {
                compressor.reset();
                compressor
            }
            None => Box::new(Compressor::new()),
        }
    }

    /// Takes a compressor back, whatever state it is in.
    pub(super) fn give_compressor(&self, compressor: Box<Compressor>) {
        let surplus = self.shelves().compressors.give(compressor);
        // Freed after the lock is released.
        drop(surplus);
    }

    /// Lends a compressor of zlib's at the start of a stream.
    pub(super) fn take_zlib_compressor(&self, settings: Settings) -> Deflate {
        let found = self
            .shelves()
            .zlib_compressors
            .take(|(theirs, _)| *theirs == settings);
        match found {
            Some((_, mut compressor)) => {
                compressor.reset();
                compressor
            }
            None => Deflate::new_with_config(settings.config()),
        }
    }

    /// Takes a compressor of zlib's back, whatever state it is in.
    pub(super) fn give_zlib_compressor(&self, settings: Settings, compressor: Deflate) {
        let surplus = self.shelves().zlib_compressors.give((settings, compressor));
        drop(surplus);
    }

    /// Lends a decompressor at the start of a stream. One kind serves all: zlib-rs decodes every window size with the
    /// largest window.
    pub(super) fn take_decompressor(&self) -> Inflate {
        let found = self.shelves().decompressors.take(|_| true);
        match found {
            Some(mut decompressor) => {
                decompressor.reset(false);
                decompressor
            }
            None => Inflate::new(false, 15),
        }
    }

    /// Takes a decompressor back, whatever state it is in.
    pub(super) fn give_decompressor(&self, decompressor: Inflate) {
        let surplus = self.shelves().decompressors.give(decompressor);
        drop(surplus);
    }

    /// Frees half of the idle states that were not needed since the last call.
    pub fn trim(&self) {
        let mut shelves = self.shelves();
        let unused = (
            shelves.compressors.trim(),
            shelves.zlib_compressors.trim(),
            shelves.decompressors.trim(),
        );
        drop(shelves);
        // Freed after the lock is released.
        drop(unused);
    }

    /// Frees everything that is not lent.
    pub fn clear(&self) {
        let mut shelves = self.shelves();
        let unused = (
            std::mem::take(&mut shelves.compressors.idle),
            std::mem::take(&mut shelves.zlib_compressors.idle),
            std::mem::take(&mut shelves.decompressors.idle),
        );
        drop(shelves);
        drop(unused);
    }

    /// How many compressors and decompressors nobody uses.
    #[cfg(test)]
    pub(super) fn idle(&self) -> (usize, usize) {
        let shelves = self.shelves();
        let zlib = shelves.zlib_compressors.idle.len();
        (
            shelves.compressors.idle.len().saturating_add(zlib),
            shelves.decompressors.idle.len(),
        )
    }

    fn shelves(&self) -> MutexGuard<'_, Shelves> {
        // A panic elsewhere cannot leave the lists half changed.
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
