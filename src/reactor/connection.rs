//! One connection: its socket, and what it still has to write. It does not know who drives it, the loop or a thread.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use super::backlog::{Backlog, LastCopy};
use super::outgoing::{send, Sent};

/// The outcome of [`Connection::read`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read {
    /// This many bytes were read.
    Bytes(usize),
    /// There is nothing to read now.
    Nothing,
    /// The peer has sent all it will send.
    End,
    /// The connection broke; the error is kept in [`Connection::error`].
    Failed,
}

/// A connected socket of our own.
#[derive(Debug)]
pub struct Connection {
    /// What waits to be written. In a box, for most connections have nothing.
    backlog: Option<Box<Backlog>>,
    /// JavaScript does not want to read.
    pub paused: bool,
    ended: bool,
    error: Option<i32>,
    /// An error that only those who write are to meet.
    write_error: Option<i32>,
    broke_writing: bool,
    is_short: bool,
    bytes_read: u64,
    bytes_written: u64,
    socket: OwnedFd,
}

impl Connection {
    /// A connection over `socket`.
    pub fn new(socket: OwnedFd) -> Self {
        Self {
            backlog: None,
            paused: false,
            ended: false,
            error: None,
            write_error: None,
            broke_writing: false,
            is_short: false,
            bytes_read: 0,
            bytes_written: 0,
            socket,
        }
    }

    /// The descriptor.
    pub fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// The error that ended the connection.
    pub fn error(&self) -> Option<i32> {
        self.error
    }

    /// Whether it was a write that failed.
    pub fn broke_writing(&self) -> bool {
        self.broke_writing
    }

    /// Whether the peer has sent all it will send.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// How many bytes wait to be written.
    pub fn queued(&self) -> usize {
        self.backlog.as_ref().map_or(0, |backlog| backlog.len())
    }

    /// Gives up the bytes that wait to be written.
    pub fn take_unsent(&mut self) -> Vec<u8> {
        self.backlog
            .take()
            .map_or_else(Vec::new, |backlog| backlog.to_vec())
    }

    /// How many bytes were read and written so far.
    pub fn counters(&self) -> (u64, u64) {
        (self.bytes_read, self.bytes_written)
    }

    /// Whether the peer has reset the connection, or both sides have ended, by now.
    pub fn has_hung_up(&self) -> bool {
        let states = states(&[self.socket()]);
        states
            .first()
            .is_some_and(|state| state & libc::POLLHUP != 0)
    }

    /// Takes what was read for all that the peer sends.
    pub fn end(&mut self) {
        self.ended = true;
    }

    /// Takes the error that reading has just met for the end of what the peer sends. The kernel tells it but once, so
    /// writing would not meet it any more.
    pub fn end_instead_of_error(&mut self) {
        self.write_error = self.error.take();
        self.end();
    }

    /// Whether it has ended instead of meeting an error, and writing has not met that either.
    pub fn was_reset(&self) -> bool {
        self.write_error.is_some()
    }

    /// Whether it makes sense to wait for something to read.
    pub fn wants_to_read(&self) -> bool {
        !(self.ended || self.error.is_some())
    }

    /// Whether it makes sense to wait for room to write.
    pub fn wants_to_write(&self) -> bool {
        self.backlog.is_some() && self.error.is_none()
    }

    /// Reads once into `room`.
    pub fn read(&mut self, room: &mut [u8]) -> Read {
        let outcome = self.receive(room, 0);
        if let Read::Bytes(count) = outcome {
            self.bytes_read += count as u64;
        }
        outcome
    }

    /// Finds out whether the connection has ended, or is broken, with nothing to be read before.
    pub fn look_for_end(&mut self) {
        self.receive(&mut [0], libc::MSG_PEEK);
    }

    fn receive(&mut self, room: &mut [u8], flags: libc::c_int) -> Read {
        loop {
            // SAFETY: pointer and length describe `room`, and the descriptor is open.
            let result = unsafe {
                libc::recv(
                    self.socket.as_raw_fd(),
                    room.as_mut_ptr().cast(),
                    room.len(),
                    // Whatever the descriptor's flags say.
                    libc::MSG_DONTWAIT | flags,
                )
            };
            match usize::try_from(result) {
                Ok(0) => {
                    self.ended = true;
                    return Read::End;
                }
                Ok(count) => return Read::Bytes(count),
                Err(_) => {
                    let error = io::Error::last_os_error();
                    match error.kind() {
                        io::ErrorKind::Interrupted => continue,
                        io::ErrorKind::WouldBlock => return Read::Nothing,
                        _ => {
                            self.fail(&error);
                            return Read::Failed;
                        }
                    }
                }
            }
        }
    }

    /// Sends `pieces` after everything sent before; what the kernel does not take is copied. Whether the connection is
    /// broken now is told by [`Connection::error`].
    pub fn send(&mut self, pieces: &[IoSlice]) {
        self.send_sharing(pieces, &mut LastCopy::default());
    }

    /// As [`Connection::send`]; a copy of the last piece is shared with others to whom the same is sent.
    pub fn send_sharing(&mut self, pieces: &[IoSlice], last_copy: &mut LastCopy) {
        if self.error.is_some() || self.meets_write_error() {
            return;
        }
        if let Some(backlog) = &mut self.backlog {
            backlog.push_rest(pieces, 0, last_copy);
            return;
        }
        match send(self.socket.as_fd(), pieces) {
            Ok(Sent::All) => {
                self.bytes_written += pieces.iter().map(|piece| piece.len() as u64).sum::<u64>();
            }
            Ok(part @ (Sent::Part(count) | Sent::Short(count))) => {
                self.is_short = matches!(part, Sent::Short(_));
                self.bytes_written += count as u64;
                let backlog = self.backlog.insert(Box::default());
                backlog.push_rest(pieces, count, last_copy);
            }
            Err(error) => self.fail_writing(&error),
        }
    }

    /// Sends what waits, as far as the kernel takes it.
    pub fn drain(&mut self) {
        if self.error.is_some() || (self.queued() > 0 && self.meets_write_error()) {
            return;
        }
        let Some(backlog) = &mut self.backlog else {
            return;
        };
        let before = backlog.len();
        let outcome = backlog.drain(self.socket.as_fd());
        self.bytes_written += (before - backlog.len()) as u64;
        if backlog.is_empty() {
            self.backlog = None;
        }
        self.is_short = matches!(outcome, Ok(Sent::Short(_)));
        if let Err(error) = outcome {
            self.fail_writing(&error);
        }
    }

    /// Whether the kernel had no memory for what waits. It is to be asked again, in the next turn, for it does not tell when
    /// it has.
    pub fn is_short_of_memory(&self) -> bool {
        self.is_short
    }

    fn meets_write_error(&mut self) -> bool {
        let error = self.write_error.take();
        if let Some(error) = error {
            self.fail_writing(&io::Error::from_raw_os_error(error));
        }
        error.is_some()
    }

    fn fail_writing(&mut self, error: &io::Error) {
        self.broke_writing = self.error.is_none();
        self.fail(error);
    }

    /// Has the peer told, when the last descriptor is closed, that what it sent was not read. The kernel does so for what
    /// it holds itself.
    pub fn reset_on_close(&self) {
        let linger = libc::linger {
            l_onoff: 1,
            l_linger: 0,
        };
        // SAFETY: pointer and length describe `linger`, and the descriptor is open. Where the option means nothing
        // (Unix sockets), nothing happens.
        unsafe {
            libc::setsockopt(
                self.socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_LINGER,
                (&raw const linger).cast(),
                size_of::<libc::linger>() as libc::socklen_t,
            )
        };
    }

    /// Declares the connection broken.
    pub fn fail(&mut self, error: &io::Error) {
        self.error
            .get_or_insert(error.raw_os_error().unwrap_or(libc::EIO));
    }
}

/// Whether there is something to read, by now, on each of these sockets. One question for all.
pub fn are_readable(sockets: &[BorrowedFd]) -> Vec<bool> {
    let states = states(sockets);
    states
        .iter()
        .map(|state| state & libc::POLLIN != 0)
        .collect()
}

fn states(sockets: &[BorrowedFd]) -> Vec<libc::c_short> {
    let mut polls: Vec<_> = sockets
        .iter()
        .map(|socket| libc::pollfd {
            fd: socket.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        })
        .collect();
    // SAFETY: the call gets that many structures, which outlive it, and does not wait. When it fails it has not
    // written to them.
    unsafe { libc::poll(polls.as_mut_ptr(), polls.len() as libc::nfds_t, 0) };
    polls.iter().map(|poll| poll.revents).collect()
}
