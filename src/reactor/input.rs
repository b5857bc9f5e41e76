//! What one read brought, until JavaScript has got all of it.

// What the peer sends goes through here, as through `protocol`.
#![deny(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unreachable,
    clippy::unwrap_used
)]

use std::collections::VecDeque;
use std::ops::Range;

use super::inbound::{Inbound, Item, Place, CHUNK};
use super::reads::Reads;

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
    /// The chunk at hand is decoded, and the next one that the receiver has is at hand. What was handed out is to be
    /// taken before it is begun.
    Turned,
    /// Everything is decoded.
    UsedUp,
    /// A compressed frame waits for its contents.
    Waiting,
}

/// What was read from one connection, and how far it is decoded.
///
/// While JavaScript is busy, a little more is read, so that the peer's end is noticed. How much that is, and what becomes of
/// it when the connection is destroyed, must be as in ws. There, two of Node's streams stand one behind the other: the
/// socket, and the receiver. The receiver takes chunks until it has enough (the high-water mark), and then no more until it
/// has finished with all of them. Meanwhile the socket reads on, until it has enough, too. So an `Input` knows which of its
/// chunks ws's receiver would have by now; the others would still be in the socket.
#[derive(Debug)]
pub struct Input {
    bytes: Bytes,
    position: usize,
    /// Where the chunk at hand ends, and how long it was.
    chunk_end: usize,
    chunk_length: usize,
    /// The lengths of the chunks behind it.
    later: VecDeque<usize>,
    /// How many of those the receiver has.
    taken: usize,
    /// How long the chunks are that the receiver has, with the one at hand, and how long the others.
    received: usize,
    ahead: usize,
    /// With so much a stream of Node's has enough.
    high_water: usize,
    /// Whether the receiver takes no more.
    is_full: bool,
    /// Whether it is told right after it was read. Node reads each chunk when the one before has been told, so of those
    /// behind the one at hand, neither the receiver nor the socket would have any yet.
    is_fresh: bool,
    begun: bool,
    /// Whether the receiver has finished with what it had, and there is more.
    between_chunks: bool,
    used_up: bool,
    /// An item that is decoded but could not be delivered yet.
    held: Option<Item>,
}

impl Input {
    /// Input that fills the first `length` bytes of the shared memory: as many chunks as Node would read it in.
    pub fn in_scratch(length: usize, high_water: usize) -> Self {
        Self::new(Bytes::Scratch(length), [length].into_iter(), high_water)
    }

    /// Input in memory of its own.
    pub fn aside(reads: impl Into<Reads>, high_water: usize) -> Self {
        let reads = reads.into();
        let mut input = Self::new(Bytes::Aside(Vec::new()), reads.ends(), high_water);
        input.bytes = Bytes::Aside(reads.into_bytes());
        input
    }

    /// Input in memory of its own that the receiver is not to be told yet.
    pub fn waiting(reads: impl Into<Reads>, high_water: usize) -> Box<Self> {
        let mut input = Self::aside(reads, high_water);
        input.wait();
        Box::new(input)
    }

    /// The reads end at these places.
    fn new(bytes: Bytes, ends: impl Iterator<Item = usize>, high_water: usize) -> Self {
        let (mut first, mut later, mut length) = (0, VecDeque::new(), 0_usize);
        for end in ends {
            while length < end {
                let chunk = end.saturating_sub(length).min(CHUNK);
                if length == 0 {
                    first = chunk;
                } else {
                    later.push_back(chunk);
                }
                length = length.saturating_add(chunk);
            }
        }
        Self {
            bytes,
            position: 0,
            chunk_end: first,
            chunk_length: first,
            later,
            taken: 0,
            received: first,
            ahead: length.saturating_sub(first),
            high_water,
            is_full: first >= high_water,
            is_fresh: true,
            begun: false,
            between_chunks: false,
            used_up: false,
            held: None,
        }
    }

    /// Input that is used up. While there is any, no more is read.
    pub fn nothing() -> Self {
        Self {
            used_up: true,
            ..Self::aside(Vec::new(), 0)
        }
    }

    /// Whether the bytes lie in the connection's own memory.
    pub fn is_aside(&self) -> bool {
        matches!(self.bytes, Bytes::Aside(_))
    }

    /// Whether it is told right after it was read.
    pub fn is_fresh(&self) -> bool {
        self.is_fresh
    }

    /// Whether it is, and nothing of it is decoded.
    pub fn is_untouched(&self) -> bool {
        self.is_fresh && !self.begun
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
            Bytes::Scratch(length) => scratch.get(..*length).unwrap_or_default(),
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

    /// The bytes that are not decoded yet, in the chunks that a socket of Node's would have read.
    pub fn unread_chunks<'a>(&'a self, scratch: &'a [u8]) -> Vec<&'a [u8]> {
        let mut rest = self.unread(scratch);
        let at_hand = self.chunk_end.saturating_sub(self.position);
        let lengths = std::iter::once(at_hand).chain(self.later.iter().copied());
        let mut chunks = Vec::new();
        for length in lengths {
            let (chunk, behind) = rest.split_at(length.min(rest.len()));
            rest = behind;
            if !chunk.is_empty() {
                chunks.push(chunk);
            }
        }
        chunks
    }

    /// The next item.
    #[inline]
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
                return Step::Item(Item::failed(failure));
            }
            self.begun = true;
        }
        let bytes = match &mut self.bytes {
            Bytes::Scratch(length) => scratch.get_mut(..*length).unwrap_or_default(),
            Bytes::Aside(bytes) => bytes,
        };
        // A message that lies whole in memory is not cut, but belongs to the chunk that it ends in.
        let ends_later = self.chunk_end < bytes.len()
            && inbound
                .message_end(bytes, self.position)
                .is_some_and(|end| end > self.chunk_end && end <= bytes.len());
        if !ends_later {
            let chunk = bytes.get_mut(..self.chunk_end).unwrap_or_default();
            if let Some(item) = inbound.next(chunk, &mut self.position) {
                // Whatever follows a close frame is ignored.
                self.used_up = matches!(item, Item::Close(..));
                return Step::Item(item);
            }
        }
        if self.taken > 0 {
            self.taken = self.taken.saturating_sub(1);
            self.turn_to_next();
            return Step::Turned;
        }
        self.used_up = self.later.is_empty();
        self.between_chunks = !self.used_up;
        Step::UsedUp
    }

    /// Turns to a chunk that the receiver has.
    fn turn_to_next(&mut self) {
        self.received = self.received.saturating_sub(self.chunk_length);
        self.chunk_length = self.later.pop_front().unwrap_or_default();
        self.chunk_end = self.chunk_end.saturating_add(self.chunk_length);
        self.begun = false;
    }

    /// The receiver is busy with the chunk at hand while the socket flows: it takes what there is, until it has enough.
    pub fn receive(&mut self) {
        while !self.is_fresh && !self.is_full && !self.between_chunks && self.take_chunk() {}
    }

    /// The receiver takes one more chunk, if there is any.
    fn take_chunk(&mut self) -> bool {
        let Some(length) = self.later.get(self.taken) else {
            return false;
        };
        self.ahead = self.ahead.saturating_sub(*length);
        self.received = self.received.saturating_add(*length);
        self.is_full = self.received >= self.high_water;
        self.taken = self.taken.saturating_add(1);
        true
    }

    /// Whether the receiver has finished with what it had, and there is more.
    pub fn is_between_chunks(&self) -> bool {
        self.between_chunks && self.held.is_none()
    }

    /// Goes on to the next chunk, if the receiver has finished with what it had.
    pub fn next_chunk(&mut self) {
        if self.is_between_chunks() {
            self.between_chunks = false;
            self.is_full = false;
            self.received = self.received.saturating_sub(self.chunk_length);
            self.chunk_length = 0;
            self.take_chunk();
            self.taken = self.taken.saturating_sub(1);
            self.turn_to_next();
        }
    }

    /// Leaves the chunk at hand, of which nothing is decoded, to the socket, for the receiver is not to be told.
    pub fn wait(&mut self) {
        self.is_fresh = false;
        self.later.push_front(self.chunk_length);
        self.ahead = self.ahead.saturating_add(self.chunk_length);
        self.received = 0;
        self.chunk_end = self.chunk_end.saturating_sub(self.chunk_length);
        self.chunk_length = 0;
        self.between_chunks = true;
    }

    /// Adds a chunk behind those that were put aside, as all that is here must have been. `flows` says whether the socket
    /// would pass it on.
    pub fn append(&mut self, more: &[u8], flows: bool) {
        self.is_fresh = false;
        let Bytes::Aside(bytes) = &mut self.bytes else {
            debug_assert!(false, "nothing is put behind bytes that are not aside");
            return;
        };
        if self.held.is_none() {
            let gone = self.position.min(bytes.len());
            bytes.drain(..gone);
            self.chunk_end = self.chunk_end.saturating_sub(gone);
            self.position = 0;
        }
        bytes.extend_from_slice(more);
        self.later.push_back(more.len());
        self.ahead = self.ahead.saturating_add(more.len());
        if flows {
            self.receive();
        }
    }

    /// The same for several reads.
    pub fn append_each(&mut self, reads: &Reads, flows: bool) {
        for read in reads.each() {
            self.append(read, flows);
        }
    }

    /// Whether a little more may be added to what was put aside: JavaScript is busy with it, and only slowly.
    pub fn has_room(&self) -> bool {
        self.is_aside() && !self.used_up && self.ahead < self.high_water
    }

    /// Takes out what the receiver has and is not decoded: what is left of the chunk at hand, then the other chunks. Also
    /// says whether the former was begun.
    pub fn take_received(&mut self, scratch: &[u8]) -> (Vec<Vec<u8>>, bool) {
        let begun = self.begun;
        let mut chunks = Vec::new();
        while !self.used_up {
            let bytes = self.bytes(scratch);
            let chunk = bytes.get(self.position..self.chunk_end);
            chunks.push(chunk.unwrap_or_default().to_vec());
            self.position = self.position.max(self.chunk_end);
            if self.taken == 0 {
                self.used_up = self.later.is_empty();
                self.between_chunks = !self.used_up;
                break;
            }
            self.taken = self.taken.saturating_sub(1);
            self.turn_to_next();
        }
        (chunks, begun)
    }

    /// What the socket has read ahead, when all that the receiver has is taken out: a large read may have brought more.
    pub fn read_ahead<'a>(&'a self, scratch: &'a [u8]) -> &'a [u8] {
        let unread = self.unread(scratch);
        unread.get(..self.length_ahead()).unwrap_or_default()
    }

    /// How much a stream of Node's would have read ahead.
    fn length_ahead(&self) -> usize {
        if self.is_fresh {
            return 0;
        }
        let mut length = 0_usize;
        for chunk in &self.later {
            if length < self.high_water {
                length = length.saturating_add(*chunk);
            }
        }
        length
    }

    /// Whether there is more than that: Node would find it in the kernel when the socket is resumed.
    pub fn leaves_behind(&self) -> bool {
        self.ahead > self.length_ahead()
    }

    /// Whether Node would have left a part of it in the kernel.
    pub fn leaves_unread(&self) -> bool {
        self.is_fresh && !self.later.is_empty()
    }

    /// Gives an item back that cannot be delivered yet.
    pub fn hold(&mut self, item: Item) {
        self.held = Some(item);
    }

    /// Moves what is left out of `scratch`. Positions count from the first byte that is still needed.
    pub fn put_aside(&mut self, scratch: &[u8]) {
        self.is_fresh = false;
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
