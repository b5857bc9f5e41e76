//! One connection and its place in the loop.

use std::ffi::c_int;
use std::io;
use std::rc::Rc;

use crate::binding::environment::Environment;
use crate::reactor::uv::{self, Handle, Library};
use crate::reactor::Connection;

/// The end of a chain of records.
pub const NONE: usize = usize::MAX;

/// A connection and how it hangs in the loop.
pub struct Link {
    // First, because it must be closed before the connection's descriptor is.
    poll: Handle<Watcher>,
    /// The connection.
    pub connection: Connection,
    /// The number of the receiver that decodes for it.
    pub receiver: usize,
    /// Whether what it sends is to be masked.
    pub masked: bool,
    /// Tells it from others that had the same number.
    pub serial: u64,
    /// What the poll handle watches for.
    pub watched: c_int,
    /// Whether it waits in `Driver::ready`.
    pub is_ready: bool,
    /// JavaScript asked for more since it was told last.
    pub resumed: bool,
    /// Whether JavaScript knows that the connection is broken.
    pub told_error: bool,
    /// Its first and last record in the flush under way.
    pub records: (usize, usize),
}

impl Link {
    /// Hangs a connection into the loop and starts reading.
    pub fn open(
        library: &Rc<Library>,
        owner: Watcher,
        connection: Connection,
        receiver: usize,
        masked: bool,
    ) -> io::Result<Self> {
        let serial = owner.serial;
        let poll = Handle::poll(library, connection.socket(), owner)?;
        poll.watch(uv::READABLE)?;
        Ok(Self {
            poll,
            connection,
            receiver,
            masked,
            serial,
            watched: uv::READABLE,
            is_ready: false,
            resumed: false,
            told_error: false,
            records: (NONE, NONE),
        })
    }

    /// Has the loop watch for what the connection waits for. Reading is given up only when something unwanted has
    /// come (`eager`): most pauses end before that.
    pub fn watch(&mut self, eager: bool) {
        let mut wanted = 0;
        if self.connection.wants_to_read() {
            wanted |= uv::READABLE;
        }
        if self.connection.wants_to_write() {
            wanted |= uv::WRITABLE;
        }
        if !eager {
            wanted |= self.watched & uv::READABLE;
        }
        if wanted != self.watched {
            match self.poll.watch(wanted) {
                Ok(()) => self.watched = wanted,
                Err(error) => self.connection.fail(&error),
            }
        }
    }

    /// Whether the connection's poll handle keeps the process alive.
    pub fn keep_alive(&self, keep: bool) {
        self.poll.keep_alive(keep);
    }
}

/// The owner of a poll handle.
pub struct Watcher {
    /// Where the driver is.
    pub environment: Rc<Environment>,
    /// The connection's number.
    pub id: usize,
    /// As [`Link::serial`].
    pub serial: u64,
}

impl uv::Owner for Watcher {
    fn wake(&self, status: c_int, events: c_int) {
        if let Some(driver) = self.environment.transport.driver.get() {
            driver.wake(self, status, events);
        }
    }
}
