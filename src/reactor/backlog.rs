//! What the kernel has not taken of one connection: it waits here, in order.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::ops::Deref;
use std::os::fd::BorrowedFd;

use bytes::Bytes;

use super::outgoing::{send, Sent};

/// Copies are kept in blocks of this size or smaller, so that memory is given back while they drain.
const MAX_BLOCK: usize = 256 * 1024;
/// Small pieces are put together in blocks of at least this size.
const MIN_BLOCK: usize = 16 * 1024;
/// What is smaller has no copy that others share.
const SHARED: usize = 32 * 1024;
/// The kernel takes no more blocks at once than these, as a rule.
const BLOCKS_AT_ONCE: usize = 64;

/// The large payload that was copied last. When it is sent to many who do not take it at once, they share the copy.
#[derive(Debug, Default)]
pub struct LastCopy {
    /// How much of the payload comes before the copy.
    skipped: usize,
    blocks: Vec<Bytes>,
}

impl LastCopy {
    /// A copy, in blocks, of what follows the first `skip` bytes of `payload`.
    fn rest(&mut self, payload: &[u8], skip: usize) -> impl Iterator<Item = Bytes> + '_ {
        if self.skipped > skip || !self.is_end_of(payload) {
            self.skipped = skip;
            self.blocks.clear();
            let blocks = payload[skip..].chunks(MAX_BLOCK);
            self.blocks.extend(blocks.map(Bytes::copy_from_slice));
        }
        let mut skip = skip - self.skipped;
        self.blocks.iter().filter_map(move |block| {
            let taken = skip.min(block.len());
            skip -= taken;
            (taken < block.len()).then(|| block.slice(taken..))
        })
    }

    fn is_end_of(&self, payload: &[u8]) -> bool {
        let Some(end) = payload.get(self.skipped..) else {
            return false;
        };
        let length: usize = self.blocks.iter().map(Bytes::len).sum();
        let same = |(block, part): (&Bytes, &[u8])| block[..] == *part;
        length == end.len() && self.blocks.iter().zip(end.chunks(MAX_BLOCK)).all(same)
    }

    /// Lets go of it.
    pub fn forget(&mut self) {
        self.blocks.clear();
    }
}

#[derive(Debug)]
enum Block {
    /// A copy that grows as far as it has room.
    Own(Vec<u8>),
    /// A copy that others may have, too.
    Shared(Bytes),
}

impl Deref for Block {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Block::Own(bytes) => bytes,
            Block::Shared(bytes) => bytes,
        }
    }
}

/// Bytes that wait for the kernel.
#[derive(Debug, Default)]
pub struct Backlog {
    blocks: VecDeque<Block>,
    /// How many bytes of the first block are sent.
    sent: usize,
    length: usize,
}

impl Backlog {
    /// How many bytes wait.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Adds a copy of what follows the first `skip` bytes of `pieces`. If the last one is large, its copy is shared.
    pub fn push_rest(&mut self, pieces: &[IoSlice], mut skip: usize, last_copy: &mut LastCopy) {
        for (index, piece) in pieces.iter().enumerate() {
            let taken = skip.min(piece.len());
            skip -= taken;
            let rest = &piece[taken..];
            if rest.len() < SHARED || index + 1 < pieces.len() {
                self.push(rest);
            } else {
                self.length += rest.len();
                let copy = last_copy.rest(piece, taken);
                self.blocks.extend(copy.map(Block::Shared));
            }
        }
    }

    /// Adds a copy of `bytes`.
    fn push(&mut self, mut bytes: &[u8]) {
        self.length += bytes.len();
        while !bytes.is_empty() {
            if let Some(Block::Own(block)) = self.blocks.back_mut() {
                let room = block.capacity() - block.len();
                let (now, later) = bytes.split_at(room.min(bytes.len()));
                block.extend_from_slice(now);
                bytes = later;
            }
            if !bytes.is_empty() {
                let size = bytes.len().clamp(MIN_BLOCK, MAX_BLOCK);
                self.blocks.push_back(Block::Own(Vec::with_capacity(size)));
            }
        }
    }

    /// Hands over to the kernel what it takes.
    pub fn drain(&mut self, socket: BorrowedFd) -> io::Result<Sent> {
        while !self.is_empty() {
            let mut pieces = Vec::with_capacity(self.blocks.len().min(BLOCKS_AT_ONCE));
            let mut skip = self.sent;
            for block in self.blocks.iter().take(BLOCKS_AT_ONCE) {
                pieces.push(IoSlice::new(&block[skip..]));
                skip = 0;
            }
            let all = pieces.iter().map(|piece| piece.len()).sum();
            match send(socket, &pieces)? {
                Sent::All => self.consume(all),
                part @ (Sent::Part(count) | Sent::Short(count)) => {
                    self.consume(count);
                    return Ok(part);
                }
            }
        }
        Ok(Sent::All)
    }

    /// A copy of everything that waits.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.length);
        let mut skip = self.sent;
        for block in &self.blocks {
            bytes.extend_from_slice(&block[skip..]);
            skip = 0;
        }
        bytes
    }

    fn consume(&mut self, count: usize) {
        self.length -= count;
        self.sent += count;
        while let Some(block) = self.blocks.front() {
            if self.sent < block.len() {
                return;
            }
            self.sent -= block.len();
            self.blocks.pop_front();
        }
    }
}
