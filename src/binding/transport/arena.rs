//! Where small payloads are put for JavaScript.

use std::cell::Cell;

use napi::sys;

use crate::binding::raw::Outcome;
use crate::binding::receive::{Span, IN_CHUNK, IN_INPUT};
use crate::binding::shared::Shared;
use crate::reactor::{Item, Place};

/// Payloads up to this size are copied into the arena; larger ones are fetched one by one.
const LARGEST_ITEM: usize = 4096;
/// An arena with less room than this is not worth another chunk.
const WORTHLESS: usize = 256;

/// Memory of JavaScript's, written to from its beginning to its end and then given up: JavaScript has views of what was
/// written.
#[derive(Default)]
pub struct Arena {
    bytes: Shared<u8>,
    used: Cell<usize>,
    /// Whether a program has ever given the memory away that its messages lay in.
    is_given_away: Cell<bool>,
}

impl Arena {
    /// Takes a Buffer in the place of the one before.
    pub fn replace(&self, env: sys::napi_env, value: sys::napi_value) -> Outcome<()> {
        self.bytes.replace_bytes(env, value)?;
        self.used.set(0);
        Ok(())
    }

    /// Gives the Buffer up: there is no room until another one is brought.
    pub fn release(&self, env: sys::napi_env) {
        self.bytes.release(env);
    }

    /// Looks whether the memory is still there, before it is written to: whoever has a view of it can transfer it to
    /// another thread, or into a stream. Then there is no room in it.
    pub fn look(&self, env: sys::napi_env) {
        if !self.bytes.is_in_place(env) {
            self.bytes.forget();
            self.is_given_away.set(true);
        }
    }

    /// Whether JavaScript should bring another one. To those who give memory away each chunk brings its own, as in Node,
    /// so that nobody loses the messages of others.
    pub fn is_used_up(&self) -> bool {
        let left = self.bytes.length().saturating_sub(self.used.get());
        left < WORTHLESS || (self.is_given_away.get() && self.used.get() > 0)
    }

    /// Copies `payload` and says where it lies, or `None` when there is no room.
    fn add(&self, payload: &[u8]) -> Option<usize> {
        let start = self.used.get();
        let end = start.checked_add(payload.len())?;
        if end > self.bytes.length() {
            return None;
        }
        self.bytes.write(start, payload);
        self.used.set(end);
        Some(start)
    }

    /// Where JavaScript finds the bytes of `item`, or `None` when they need another arena.
    pub fn place(&self, item: &Item, input: &[u8]) -> Option<Span> {
        match item.place() {
            Some(Place::Chunk(range)) if range.len() <= LARGEST_ITEM => {
                let start = self.add(input.get(range.clone()).unwrap_or_default())?;
                Some(Span {
                    place: IN_CHUNK,
                    start,
                    length: range.len(),
                })
            }
            Some(Place::Chunk(range)) => Some(Span {
                place: IN_INPUT,
                start: range.start,
                length: range.len(),
            }),
            Some(place) => Some(Span::of(place)),
            None => Some(Span::default()),
        }
    }
}
