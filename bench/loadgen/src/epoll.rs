//! A thin safe wrapper around epoll, level-triggered.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

pub struct Epoll {
    fd: OwnedFd,
    events: Vec<libc::epoll_event>,
    ready: usize,
}

/// One ready descriptor: the token it was added with, and what it is ready for.
#[derive(Clone, Copy)]
pub struct Ready {
    pub token: usize,
    pub readable: bool,
    pub writable: bool,
}

impl Epoll {
    pub fn new() -> io::Result<Self> {
        // SAFETY: no pointers are passed; the result is checked before it is taken over.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self {
            // SAFETY: `fd` was just created and belongs to nobody else.
            fd: unsafe { OwnedFd::from_raw_fd(fd) },
            events: vec![libc::epoll_event { events: 0, u64: 0 }; 1024],
            ready: 0,
        })
    }

    /// Watches a descriptor for reading.
    pub fn add(&self, fd: BorrowedFd, token: usize) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, token, false)
    }

    /// Adds or drops the interest in writing.
    pub fn watch_writable(&self, fd: BorrowedFd, token: usize, writable: bool) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, token, writable)
    }

    pub fn remove(&self, fd: BorrowedFd) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_DEL, fd, 0, false)
    }

    fn control(
        &self,
        op: libc::c_int,
        fd: BorrowedFd,
        token: usize,
        writable: bool,
    ) -> io::Result<()> {
        let mut interest = libc::EPOLLIN as u32;
        if writable {
            interest |= libc::EPOLLOUT as u32;
        }
        let mut event = libc::epoll_event {
            events: interest,
            u64: token as u64,
        };
        // SAFETY: both descriptors are open for the length of the call, and `event` outlives it.
        let result =
            unsafe { libc::epoll_ctl(self.fd.as_raw_fd(), op, fd.as_raw_fd(), &mut event) };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    /// Waits until something is ready or the time is over, and returns how many are ready.
    pub fn wait(&mut self, timeout_ms: i32) -> io::Result<usize> {
        // SAFETY: the kernel writes at most `len` events into a vector of that length.
        let count = unsafe {
            libc::epoll_wait(
                self.fd.as_raw_fd(),
                self.events.as_mut_ptr(),
                self.events.len() as libc::c_int,
                timeout_ms,
            )
        };
        if count < 0 {
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
        self.ready = count.max(0) as usize;
        Ok(self.ready)
    }

    /// The `index`-th ready descriptor of the last `wait`.
    pub fn ready(&self, index: usize) -> Ready {
        let event = self.events[index];
        let flags = event.events;
        // An error or a hang-up is reported as readable: the read that follows tells which.
        let readable = libc::EPOLLIN | libc::EPOLLERR | libc::EPOLLHUP;
        Ready {
            token: event.u64 as usize,
            readable: flags & readable as u32 != 0,
            writable: flags & libc::EPOLLOUT as u32 != 0,
        }
    }
}
