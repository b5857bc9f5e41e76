//! Readiness on macOS and the BSDs.

use std::ffi::c_int;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

use super::{check, Event, Ready, MOST_EVENTS};

/// The sockets to ask for.
pub struct Readiness {
    queue: OwnedFd,
    room: Vec<libc::kevent>,
}

impl Readiness {
    /// Without sockets yet.
    pub fn new() -> io::Result<Self> {
        // SAFETY: the call takes no pointers.
        let queue = unsafe { libc::kqueue() };
        check(queue)?;
        // SAFETY: the descriptor was just made, and nobody else knows it. Programs that this process starts do not
        // inherit it: no kqueue ever is.
        let queue = unsafe { OwnedFd::from_raw_fd(queue) };
        let room = vec![filter(0, 0, 0, 0); MOST_EVENTS];
        Ok(Self { queue, room })
    }

    /// Readable while one of the sockets is ready.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.queue.as_fd()
    }

    /// Waits for other things than before; for nothing means that the socket is not known any more.
    pub fn change(&self, socket: BorrowedFd, token: u64, from: Ready, to: Ready) -> io::Result<()> {
        let directions = [
            (libc::EVFILT_READ, from.read, to.read),
            (libc::EVFILT_WRITE, from.write, to.write),
        ];
        for (direction, was_wanted, is_wanted) in directions {
            let flags = match (was_wanted, is_wanted) {
                (false, true) => libc::EV_ADD,
                (true, false) => libc::EV_DELETE,
                _ => continue,
            };
            let change = filter(socket.as_raw_fd(), direction, flags, token);
            // SAFETY: both descriptors are open; the structure outlives the call, which reports nothing.
            let result = unsafe {
                libc::kevent(
                    self.queue.as_raw_fd(),
                    ptr::from_ref(&change),
                    1,
                    ptr::null_mut(),
                    0,
                    ptr::null(),
                )
            };
            check(result)?;
        }
        Ok(())
    }

    /// Adds what is ready by now to `events`, without waiting.
    pub fn collect(&mut self, events: &mut Vec<Event>) -> io::Result<()> {
        let at_once = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let most = c_int::try_from(self.room.len()).unwrap_or(c_int::MAX);
        // SAFETY: pointer and length describe `room`, and the time outlives the call.
        let count = unsafe {
            libc::kevent(
                self.queue.as_raw_fd(),
                ptr::null(),
                0,
                self.room.as_mut_ptr(),
                most,
                ptr::from_ref(&at_once),
            )
        };
        check(count)?;
        let found = self.room.iter().take(usize::try_from(count).unwrap_or(0));
        events.extend(found.map(event));
        Ok(())
    }
}

fn filter(socket: c_int, direction: i16, flags: u16, token: u64) -> libc::kevent {
    libc::kevent {
        ident: usize::try_from(socket).unwrap_or(0),
        filter: direction,
        flags,
        fflags: 0,
        data: 0,
        // A number that the kernel gives back; pointers are as wide wherever this is compiled.
        udata: token as usize as *mut _,
    }
}

fn event(found: &libc::kevent) -> Event {
    let broken = found.flags & libc::EV_ERROR != 0;
    let is_write = found.filter == libc::EVFILT_WRITE;
    Event {
        token: found.udata as usize as u64,
        ready: Ready {
            read: broken || !is_write,
            write: broken || is_write,
        },
        broken,
        // It does not tell, nor does libuv where this is used.
        hung_up: false,
    }
}
