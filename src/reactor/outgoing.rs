//! The way out of one connection: bytes go to the kernel at once, and what it does not take waits here.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, BorrowedFd};

/// The most pieces one system call takes (`IOV_MAX` on Linux and macOS).
const MAX_PIECES: usize = 1024;
/// Bytes are kept in blocks of this size or smaller, so that memory is given back while they drain.
const MAX_BLOCK: usize = 256 * 1024;
/// Small pieces share a block of at least this size.
const MIN_BLOCK: usize = 16 * 1024;

/// How an attempt to send ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// Everything is with the kernel.
    All,
    /// The kernel took this many bytes and is full.
    Part(usize),
}

/// Bytes that the kernel has not taken yet, in order.
#[derive(Debug, Default)]
pub struct Backlog {
    blocks: VecDeque<Vec<u8>>,
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

    /// Adds a copy of `bytes`.
    pub fn push(&mut self, mut bytes: &[u8]) {
        self.length += bytes.len();
        while !bytes.is_empty() {
            let room = self
                .blocks
                .back()
                .map_or(0, |block| block.capacity() - block.len());
            if room == 0 {
                let size = bytes.len().clamp(MIN_BLOCK, MAX_BLOCK);
                self.blocks.push_back(Vec::with_capacity(size));
                continue;
            }
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            if let Some(block) = self.blocks.back_mut() {
                block.extend_from_slice(now);
            }
            bytes = later;
        }
    }

    /// Adds what follows the first `skip` bytes of `pieces`.
    pub fn push_rest(&mut self, pieces: &[IoSlice], mut skip: usize) {
        for piece in pieces {
            let taken = skip.min(piece.len());
            skip -= taken;
            self.push(&piece[taken..]);
        }
    }

    /// Hands over to the kernel what it takes.
    pub fn drain(&mut self, socket: BorrowedFd) -> io::Result<Sent> {
        if self.is_empty() {
            return Ok(Sent::All);
        }
        let mut pieces = Vec::with_capacity(self.blocks.len());
        let mut skip = self.sent;
        for block in &self.blocks {
            pieces.push(IoSlice::new(&block[skip..]));
            skip = 0;
        }
        let outcome = send(socket, &pieces);
        match outcome {
            Ok(Sent::All) => self.clear(),
            Ok(Sent::Part(count)) => self.consume(count),
            Err(_) => {}
        }
        outcome
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Self::default();
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
                break;
            }
            self.sent -= block.len();
            self.blocks.pop_front();
        }
    }
}

/// Hands `pieces` over to the kernel, in as few system calls as their number allows.
pub fn send(socket: BorrowedFd, pieces: &[IoSlice]) -> io::Result<Sent> {
    let mut total = 0;
    for batch in pieces.chunks(MAX_PIECES) {
        let wanted: usize = batch.iter().map(|piece| piece.len()).sum();
        let count = match send_batch(socket, batch) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error),
        };
        total += count;
        if count < wanted {
            return Ok(Sent::Part(total));
        }
    }
    Ok(Sent::All)
}

// A peer that is gone must be an error, not a signal. Where there is no such flag, Node and libuv see to that.
#[cfg(any(target_os = "linux", target_os = "android"))]
const FLAGS: libc::c_int = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const FLAGS: libc::c_int = libc::MSG_DONTWAIT;

fn send_batch(socket: BorrowedFd, batch: &[IoSlice]) -> io::Result<usize> {
    loop {
        let result = match batch {
            // SAFETY: pointer and length describe `piece`, and the descriptor is open.
            [piece] => unsafe {
                libc::send(
                    socket.as_raw_fd(),
                    piece.as_ptr().cast(),
                    piece.len(),
                    FLAGS,
                )
            },
            _ => {
                // SAFETY: all of the structure's fields may be zero or null.
                let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
                // An `IoSlice` is laid out as an `iovec`, and sending does not write to it.
                message.msg_iov = batch.as_ptr().cast_mut().cast();
                message.msg_iovlen = batch.len() as _;
                // SAFETY: the message describes `batch`, whose pieces are borrowed for the call.
                unsafe { libc::sendmsg(socket.as_raw_fd(), &message, FLAGS) }
            }
        };
        if let Ok(count) = usize::try_from(result) {
            return Ok(count);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}
