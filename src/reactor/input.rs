//! What one read brought, until JavaScript has got all of it.

use std::ops::Range;

use super::inbound::{Inbound, Item, Place, CHUNK};

/// How much is read while JavaScript is busy, as much as a stream of Node's takes. So the peer's end is noticed. With
/// Node there are two streams that each take so much and then what comes next: the receiver and, behind it, the socket.
const READ_AHEAD: usize = 16 * 1024;

/// Where the bytes of an [`Input`] lie.
#[derive(Debug)]
enum Bytes {
    /// In the memory that all connections read into, which is this one's until it has been told.
    Scratch(usize),
    /// In memory of the connection's own.
    Aside(Vec<u8>),
}

/// The outcome of [`Input::next`].
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// There is this to deliver.
    Item(Item),
    /// Everything is decoded.
    UsedUp,
    /// A compressed frame waits for its contents.
    Waiting,
}

/// The bytes of one read and how far they are decoded.
#[derive(Debug)]
pub struct Input {
    bytes: Bytes,
    position: usize,
    /// Where the chunk at hand ends: a read may bring several.
    chunk_end: usize,
    begun: bool,
    /// Whether the chunk at hand is decoded and more follow.
    between_chunks: bool,
    used_up: bool,
    /// An item that is decoded but could not be delivered yet.
    held: Option<Item>,
    /// Where the bytes begin that were added behind what a receiver of Node's would take. Once decoding has come there,
    /// they are with the receiver, too.
    ahead_from: usize,
}

impl Input {
    /// Input that fills the first `length` bytes of the shared memory.
    pub fn in_scratch(length: usize) -> Self {
        Self {
            bytes: Bytes::Scratch(length),
            position: 0,
            chunk_end: length.min(CHUNK),
            begun: false,
            between_chunks: false,
            used_up: false,
            held: None,
            ahead_from: 0,
        }
    }

    /// Input in memory of its own.
    pub fn aside(bytes: Vec<u8>) -> Self {
        Self {
            chunk_end: bytes.len().min(CHUNK),
            bytes: Bytes::Aside(bytes),
            ..Self::in_scratch(0)
        }
    }

    /// Input that is used up. While there is any, no more is read.
    pub fn nothing() -> Self {
        Self {
            bytes: Bytes::Aside(Vec::new()),
            used_up: true,
            ..Self::in_scratch(0)
        }
    }

    /// Whether the bytes lie in the connection's own memory.
    pub fn is_aside(&self) -> bool {
        matches!(self.bytes, Bytes::Aside(_))
    }

    /// Whether everything is decoded and handed out.
    pub fn is_used_up(&self) -> bool {
        self.used_up && self.held.is_none()
    }

    /// Whether an item was given back with [`Input::hold`].
    pub fn is_holding(&self) -> bool {
        self.held.is_some()
    }

    /// The bytes, of which `scratch` holds those that are not put aside.
    pub fn bytes<'a>(&'a self, scratch: &'a [u8]) -> &'a [u8] {
        match &self.bytes {
            Bytes::Scratch(length) => &scratch[..*length],
            Bytes::Aside(bytes) => bytes,
        }
    }

    /// The bytes that are not decoded yet.
    pub fn unread<'a>(&'a self, scratch: &'a [u8]) -> &'a [u8] {
        if self.used_up {
            return &[];
        }
        self.bytes(scratch).get(self.position..).unwrap_or_default()
    }

    /// The next item.
    pub fn next(&mut self, inbound: &mut Inbound, scratch: &mut [u8]) -> Step {
        if let Some(item) = self.held.take() {
            return Step::Item(item);
        }
        if self.used_up || self.between_chunks {
            return Step::UsedUp;
        }
        if inbound.is_waiting() {
            return Step::Waiting;
        }
        if !self.begun {
            if let Err(failure) = inbound.begin_chunk() {
                return Step::Item(Item::Failed {
                    failure,
                    retry: false,
                });
            }
            self.begun = true;
        }
        let bytes = match &mut self.bytes {
            Bytes::Scratch(length) => &mut scratch[..*length],
            Bytes::Aside(bytes) => bytes,
        };
        if self.chunk_end < bytes.len() {
            // A message that lies whole in memory is not cut, but belongs to the chunk that it ends in.
            let end = inbound.message_end(bytes, self.position);
            if end.is_some_and(|end| end > self.chunk_end && end <= bytes.len()) {
                self.between_chunks = true;
                return Step::UsedUp;
            }
        }
        let is_last = self.chunk_end >= bytes.len();
        let chunk = bytes.get_mut(..self.chunk_end).unwrap_or_default();
        match inbound.next(chunk, &mut self.position) {
            Some(item) => {
                // Whatever follows a close frame is ignored.
                self.used_up = matches!(item, Item::Close(..));
                Step::Item(item)
            }
            None => {
                self.used_up = is_last;
                self.between_chunks = !is_last;
                Step::UsedUp
            }
        }
    }

    /// Whether the chunk at hand is decoded and handed out, and another one follows.
    pub fn is_between_chunks(&self) -> bool {
        self.between_chunks && self.held.is_none()
    }

    /// Goes on to the next chunk, if the one at hand is decoded.
    pub fn next_chunk(&mut self) {
        if self.is_between_chunks() {
            let length = match &self.bytes {
                Bytes::Scratch(length) => *length,
                Bytes::Aside(bytes) => bytes.len(),
            };
            self.between_chunks = false;
            self.begun = false;
            self.chunk_end = self.chunk_end.saturating_add(CHUNK).min(length);
        }
    }

    /// Adds bytes that came behind those that were put aside.
    pub fn append(&mut self, more: &[u8]) {
        let Bytes::Aside(bytes) = &mut self.bytes else {
            return;
        };
        let waiting = bytes.len().saturating_sub(self.position);
        if waiting >= READ_AHEAD && self.position >= self.ahead_from {
            self.ahead_from = bytes.len();
        }
        if self.held.is_none() {
            let gone = self.position.min(bytes.len());
            bytes.drain(..gone);
            self.chunk_end = self.chunk_end.saturating_sub(gone);
            self.ahead_from = self.ahead_from.saturating_sub(gone);
            self.position = 0;
        }
        let was_last = self.chunk_end >= bytes.len();
        bytes.extend_from_slice(more);
        if was_last && !self.between_chunks {
            // It counts as a chunk of its own, from where decoding goes on.
            self.begun = false;
            self.chunk_end = bytes.len();
        }
    }

    /// Whether a little more may be added to what was put aside: JavaScript is busy with it, and only slowly.
    pub fn has_room(&self) -> bool {
        match &self.bytes {
            Bytes::Scratch(_) => false,
            Bytes::Aside(bytes) => {
                let waiting = bytes.len().saturating_sub(self.position);
                let ahead = if self.position < self.ahead_from {
                    bytes.len().saturating_sub(self.ahead_from)
                } else {
                    0
                };
                !self.used_up && (waiting < READ_AHEAD || ahead < READ_AHEAD)
            }
        }
    }

    /// Gives an item back that cannot be delivered yet.
    pub fn hold(&mut self, item: Item) {
        self.held = Some(item);
    }

    /// Moves what is left out of `scratch`. Positions count from the first byte that is still needed.
    pub fn put_aside(&mut self, scratch: &[u8]) {
        let Bytes::Scratch(length) = self.bytes else {
            return;
        };
        let from = match self.held.as_mut().and_then(chunk_range) {
            Some(range) => {
                let start = range.start;
                *range = 0..range.len();
                start
            }
            None => self.position,
        };
        self.position = self.position.saturating_sub(from);
        self.chunk_end = self.chunk_end.saturating_sub(from);
        self.bytes = Bytes::Aside(scratch.get(from..length).unwrap_or_default().to_vec());
    }
}

fn chunk_range(item: &mut Item) -> Option<&mut Range<usize>> {
    match item.place_mut() {
        Some(Place::Chunk(range)) => Some(range),
        _ => None,
    }
}
