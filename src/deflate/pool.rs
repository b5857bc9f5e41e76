//! Idle zlib states, shared by all connections of one environment.
//!
//! A compressor weighs a quarter of a megabyte and more, a decompressor 40 KiB. A connection needs
//! one only while it works on a message (or, with context takeover, until it falls asleep), so a
//! handful of states serves any number of connections.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use zlib_rs::{Deflate, DeflateConfig, Inflate, Strategy};

use super::window_size;

/// How many idle compressors are kept; more are freed when given back.
const MAX_COMPRESSORS: usize = 8;
/// How many idle decompressors are kept.
const MAX_DECOMPRESSORS: usize = 16;

/// A handle to the idle states of one environment. Clones share them.
#[derive(Clone, Default)]
pub struct Pool {
    idle: Arc<Mutex<Idle>>,
}

#[derive(Default)]
struct Idle {
    /// Oldest first. The most recently used one is lent out first, because the caches know it.
    compressors: Vec<(Settings, Deflate)>,
    decompressors: Vec<Inflate>,
}

/// The parameters a compressor is built with, each within zlib's bounds.
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

    /// What a compressor with these settings allocates: the window twice, the chains, zlib-rs's hash table of
    /// fixed size, and four plus three bytes for each buffered symbol.
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
pub(super) const DECOMPRESSOR_MEMORY: usize = 48 * 1024;

impl Pool {
    /// An empty pool.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lends a compressor at the start of a stream.
    pub(super) fn take_compressor(&self, settings: Settings) -> Deflate {
        let found = {
            let compressors = &mut self.idle().compressors;
            compressors
                .iter()
                .rposition(|(theirs, _)| *theirs == settings)
                .map(|at| compressors.remove(at))
        };
        match found {
            Some((_, mut compressor)) => {
                compressor.reset();
                compressor
            }
            None => Deflate::new_with_config(settings.config()),
        }
    }

    /// Takes a compressor back, whatever state it is in.
    pub(super) fn give_compressor(&self, settings: Settings, compressor: Deflate) {
        let surplus = {
            let compressors = &mut self.idle().compressors;
            compressors.push((settings, compressor));
            (compressors.len() > MAX_COMPRESSORS).then(|| compressors.remove(0))
        };
        // Freed after the lock is released.
        drop(surplus);
    }

    /// Lends a decompressor at the start of a stream. One kind serves all: zlib-rs decodes every window size with the
    /// largest window.
    pub(super) fn take_decompressor(&self) -> Inflate {
        let found = self.idle().decompressors.pop();
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
        let decompressors = &mut self.idle().decompressors;
        if decompressors.len() < MAX_DECOMPRESSORS {
            decompressors.push(decompressor);
        }
    }

    /// Frees everything that is not lent.
    pub fn trim(&self) {
        let unused = std::mem::take(&mut *self.idle());
        // Freed after the lock is released.
        drop(unused);
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        // A panic elsewhere cannot leave the lists half changed.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
