//! Readiness on Linux.

use std::ffi::c_int;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

use super::{check, Event, Ready, MOST_EVENTS};

/// The sockets to ask for.
pub struct Readiness {
    queue: OwnedFd,
    room: Vec<libc::epoll_event>,
}

impl Readiness {
    /// Without sockets yet.
    pub fn new() -> io::Result<Self> {
        // SAFETY: the call takes no pointers.
        let queue = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        check(queue)?;
        // SAFETY: the descriptor was just made, and nobody else knows it.
        let queue = unsafe { OwnedFd::from_raw_fd(queue) };
        let room = vec![libc::epoll_event { events: 0, u64: 0 }; MOST_EVENTS];
        Ok(Self { queue, room })
    }

    /// Readable while one of the sockets is ready.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.queue.as_fd()
    }

    /// Waits for other things than before; for nothing means that the socket is not known any more.
    pub fn change(&self, socket: BorrowedFd, token: u64, from: Ready, to: Ready) -> io::Result<()> {
        let operation = match (from, to) {
            _ if from == to => return Ok(()),
            (Ready::NOTHING, _) => libc::EPOLL_CTL_ADD,
            (_, Ready::NOTHING) => libc::EPOLL_CTL_DEL,
            _ => libc::EPOLL_CTL_MOD,
        };
        let mut wanted = libc::epoll_event {
            events: bits(to),
            u64: token,
        };
        // SAFETY: both descriptors are open, and the structure outlives the call.
        let result = unsafe {
            libc::epoll_ctl(
                self.queue.as_raw_fd(),
                operation,
                socket.as_raw_fd(),
                ptr::from_mut(&mut wanted),
            )
        };
        check(result)
    }

    /// Adds what is ready by now to `events`, without waiting.
    pub fn collect(&mut self, events: &mut Vec<Event>) -> io::Result<()> {
        let most = c_int::try_from(self.room.len()).unwrap_or(c_int::MAX);
        // SAFETY: pointer and length describe `room`.
        let count =
            unsafe { libc::epoll_wait(self.queue.as_raw_fd(), self.room.as_mut_ptr(), most, 0) };
        check(count)?;
        let found = self.room.iter().take(usize::try_from(count).unwrap_or(0));
        events.extend(found.map(|found| event(found.u64, found.events)));
        Ok(())
    }
}

const READ: u32 = libc::EPOLLIN as u32;
const WRITE: u32 = libc::EPOLLOUT as u32;
const BROKEN: u32 = libc::EPOLLERR as u32;
const HUNG_UP: u32 = libc::EPOLLHUP as u32;

fn bits(ready: Ready) -> u32 {
    (u32::from(ready.read) * READ) | (u32::from(ready.write) * WRITE)
}

fn event(token: u64, bits: u32) -> Event {
    let broken = bits & BROKEN != 0;
    // Whoever has hung up may be read to the end, and writing tells of it.
    let all = broken || bits & (READ | WRITE | HUNG_UP) == HUNG_UP;
    Event {
        token,
        ready: Ready {
            read: all || bits & READ != 0,
            write: all || bits & WRITE != 0,
        },
        broken,
        hung_up: bits & HUNG_UP != 0,
    }
}
