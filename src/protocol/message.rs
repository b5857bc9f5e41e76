//! Storage for messages that do not arrive in one piece.

use std::ops::Range;

/// The capacity an empty store may keep.
const KEPT_CAPACITY: usize = 16 * 1024;

/// The most memory that is passed on from store to store. Fresh memory costs more than filling it.
const PASSED_ON: usize = 2 * 1024 * 1024;

/// A store of any number of finished messages, followed by the message in progress.
///
/// It grows with the bytes that arrive, never by what a peer declares, and gives its memory back when
/// the messages are gone.
#[derive(Debug, Default)]
pub struct Assembly {
    /// The messages.
    store: Vec<u8>,
    /// The end in `store` of every frame that is not empty.
    frame_ends: Vec<usize>,
    /// Where the message in progress begins in `store`.
    start: usize,
    /// Where the message in progress begins in `frame_ends`.
    first_frame: usize,
}

impl Assembly {
    /// Adds bytes to the message in progress.
    #[inline]
    pub fn append(&mut self, bytes: &[u8]) {
        self.store.extend_from_slice(bytes);
    }

    /// Takes the message in progress out.
    pub fn take_in_progress(&mut self) -> Vec<u8> {
        self.frame_ends.truncate(self.first_frame);
        self.store.split_off(self.start.min(self.store.len()))
    }

    /// Ends a frame of the message in progress.
    pub fn end_frame(&mut self) {
        let frame_start = match self.frame_ends.get(self.first_frame..) {
            Some([.., last]) => *last,
            _ => self.start,
        };
        if self.store.len() > frame_start {
            self.frame_ends.push(self.store.len());
        }
    }

    /// Ends the message in progress and begins another. Returns where in [`bytes`](Self::bytes) it lies, until finished
    /// messages are drained.
    pub fn finish_message(&mut self) -> Range<usize> {
        let start = std::mem::replace(&mut self.start, self.store.len());
        self.first_frame = self.frame_ends.len();
        start..self.start
    }

    /// All bytes held.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        &self.store
    }

    /// Where the frames that are not empty end in [`bytes`](Self::bytes), those of the message in progress included.
    #[inline]
    pub fn frame_ends(&self) -> &[usize] {
        &self.frame_ends
    }

    /// The length of the message in progress so far.
    #[inline]
    pub fn in_progress_len(&self) -> usize {
        self.store.len().saturating_sub(self.start)
    }

    /// The memory held, in bytes.
    #[cfg(test)]
    fn capacity(&self) -> usize {
        let ends = self
            .frame_ends
            .capacity()
            .saturating_mul(size_of::<usize>());
        self.store.capacity().saturating_add(ends)
    }

    /// Moves into `memory`, which is empty, for what will be added, if it is larger and there is little to move.
    pub fn lend(&mut self, memory: &mut Vec<u8>) {
        if memory.capacity() > self.store.capacity() && self.store.len() <= KEPT_CAPACITY {
            self.move_to(std::mem::take(memory));
        }
    }

    /// Gives up its memory if that is much for what lies in it, to `memory` unless this is larger.
    pub fn give_back(&mut self, memory: &mut Vec<u8>) {
        let capacity = self.store.capacity();
        let is_much = capacity > KEPT_CAPACITY.max(self.store.len().saturating_mul(4));
        if self.store.is_empty() || (is_much && self.store.len() <= KEPT_CAPACITY) {
            let mut left = self.move_to(Vec::new());
            if capacity <= PASSED_ON && capacity > memory.capacity() {
                left.clear();
                *memory = left;
            }
        }
    }

    /// Moves to other memory, and returns that it had.
    fn move_to(&mut self, mut memory: Vec<u8>) -> Vec<u8> {
        memory.extend_from_slice(self.bytes());
        std::mem::replace(&mut self.store, memory)
    }

    /// Drops the finished messages and keeps the one in progress. Gives back memory that what is left
    /// does not need.
    pub fn drain_finished(&mut self) {
        self.store.drain(..self.start.min(self.store.len()));
        self.frame_ends.drain(..self.first_frame);
        for end in &mut self.frame_ends {
            *end = end.saturating_sub(self.start);
        }
        self.start = 0;
        self.first_frame = 0;

        if self.store.capacity() > PASSED_ON {
            release(&mut self.store);
        }
        release(&mut self.frame_ends);
    }
}

/// Shrinks a vector that is much larger than its contents. The slack keeps a message that grows slowly
/// from being moved each time.
fn release<T>(vec: &mut Vec<T>) {
    let kept = KEPT_CAPACITY.checked_div(size_of::<T>()).unwrap_or(0);
    let enough = vec.len().saturating_mul(4).max(kept);
    if vec.capacity() > enough {
        vec.shrink_to(if vec.is_empty() { 0 } else { kept });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Appends a message of the given frames and finishes it.
    fn store_message(assembly: &mut Assembly, frames: &[&[u8]]) -> Range<usize> {
        for frame in frames {
            assembly.append(frame);
            assembly.end_frame();
        }
        assembly.finish_message()
    }

    #[test]
    fn finished_messages_lie_one_after_another() {
        let mut assembly = Assembly::default();
        let first = store_message(&mut assembly, &[b"ab", b"", b"c"]);
        let empty = store_message(&mut assembly, &[b""]);
        let last = store_message(&mut assembly, &[b"def"]);

        assert_eq!(assembly.bytes(), b"abcdef");
        assert_eq!([first, empty, last], [0..3, 3..3, 3..6]);
        assert_eq!(assembly.frame_ends(), [2, 3, 6]);
    }

    #[test]
    fn the_message_in_progress_survives_draining() {
        let mut assembly = Assembly::default();
        store_message(&mut assembly, &[b"finished"]);
        assembly.append(b"he");
        assembly.end_frame();
        assembly.append(b"l");
        assert_eq!(assembly.in_progress_len(), 3);

        assembly.drain_finished();
        assert_eq!(assembly.bytes(), b"hel");
        assembly.drain_finished();
        let message = store_message(&mut assembly, &[b"lo"]);
        assert_eq!(message, 0..5);
        assert_eq!(assembly.frame_ends(), [2, 5]);
    }

    #[test]
    fn what_is_taken_out_leaves_the_finished_messages() {
        let mut assembly = Assembly::default();
        let first = store_message(&mut assembly, &[b"first"]);
        assembly.append(b"in progress");

        assert_eq!(assembly.take_in_progress(), b"in progress");
        assert_eq!(assembly.in_progress_len(), 0);
        let last = store_message(&mut assembly, &[b"last"]);
        assert_eq!([first, last], [0..5, 5..9]);
        assert_eq!(assembly.bytes(), b"firstlast");
    }

    #[test]
    fn memory_is_given_back_when_the_messages_are_gone() {
        let mut assembly = Assembly::default();
        assert_eq!(assembly.capacity(), 0);
        for _ in 0..100_000 {
            assembly.append(&[0; 10]);
            assembly.end_frame();
        }
        assembly.finish_message();
        assembly.append(b"a few bytes more");
        assert!(assembly.capacity() > 1_000_000);

        assembly.drain_finished();
        assert_eq!(assembly.bytes(), b"a few bytes more");
        let mut memory = Vec::new();
        assembly.give_back(&mut memory);
        assert_eq!(assembly.bytes(), b"a few bytes more");
        assert!(assembly.capacity() <= 2 * KEPT_CAPACITY);
        assert!(memory.is_empty() && memory.capacity() >= 1_000_000);

        let mut other = Assembly::default();
        other.append(b"abc");
        other.lend(&mut memory);
        assert_eq!((memory.capacity(), other.bytes()), (0, &b"abc"[..]));
        assert!(other.capacity() >= 1_000_000);
    }

    #[test]
    fn memory_of_a_huge_message_is_passed_on_to_nobody() {
        let mut assembly = Assembly::default();
        assembly.append(&vec![0; PASSED_ON + 1]);
        assembly.finish_message();
        assembly.drain_finished();
        let mut memory = Vec::new();
        assembly.give_back(&mut memory);
        assert_eq!((assembly.capacity(), memory.capacity()), (0, 0));
    }

    #[test]
    fn a_message_in_progress_is_not_moved_when_it_is_large() {
        let mut assembly = Assembly::default();
        assembly.append(&[1; 100_000]);
        let mut memory = Vec::with_capacity(1_000_000);
        assembly.lend(&mut memory);
        assembly.give_back(&mut memory);
        assert_eq!(memory.capacity(), 1_000_000);
        assert_eq!(assembly.in_progress_len(), 100_000);
    }

    #[test]
    fn memory_grows_with_the_bytes_that_arrive() {
        let mut assembly = Assembly::default();
        for _ in 0..1000 {
            assembly.append(&[0; 100]);
            assembly.drain_finished();
        }
        assert_eq!(assembly.in_progress_len(), 100_000);
        assert!(assembly.capacity() < 4 * 100_000);
    }
}
