//! Where the connections of the loop driver hang in Node's loop: one poll handle for all of them.

use std::cell::{Cell, RefCell};
use std::io;
use std::mem;
use std::os::fd::BorrowedFd;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::rc::Rc;

use crate::binding::environment::Environment;
use crate::reactor::readiness::{Event, Readiness, Ready};
use crate::reactor::uv::{self, Handle, Library};

/// What the loop asks which sockets are ready.
pub struct Hub {
    // First, because it must be closed before the descriptor that it watches is.
    poll: Handle<Watcher>,
    readiness: RefCell<Readiness>,
    /// How many connections keep the process alive.
    alive: Cell<usize>,
    /// Connections that the kernel would not watch, and that have not been told so.
    refused: RefCell<Vec<u64>>,
    /// Memory for what is ready.
    events: RefCell<Vec<Event>>,
}

impl Hub {
    /// Hangs an empty one into the loop.
    pub fn start(environment: &Rc<Environment>, library: &Rc<Library>) -> io::Result<Rc<Self>> {
        let readiness = Readiness::new()?;
        let owner = Watcher {
            environment: Rc::clone(environment),
        };
        let poll = Handle::poll(library, readiness.descriptor(), owner)?;
        poll.keep_alive(false);
        poll.watch()?;
        Ok(Rc::new(Self {
            poll,
            readiness: RefCell::new(readiness),
            alive: Cell::new(0),
            refused: RefCell::default(),
            events: RefCell::default(),
        }))
    }

    /// See [`Readiness::change`].
    pub fn change(&self, socket: BorrowedFd, token: u64, from: Ready, to: Ready) -> io::Result<()> {
        self.readiness.borrow().change(socket, token, from, to)
    }

    /// The kernel would not do that for this connection.
    pub fn note_refused(&self, token: u64) {
        self.refused.borrow_mut().push(token);
    }

    /// The connections that were noted since.
    pub fn take_refused(&self) -> Vec<u64> {
        self.refused.take()
    }

    /// One connection more or less keeps the process alive.
    pub fn count(&self, was_alive: bool, is_alive: bool) {
        let before = self.alive.get();
        let now = before + usize::from(is_alive) - usize::from(was_alive);
        self.alive.set(now);
        if (before == 0) != (now == 0) {
            self.poll.keep_alive(now > 0);
        }
    }

    /// Calls `body` for each socket that is ready, in the order in which `sort` puts them.
    pub fn each_ready(&self, sort: impl FnOnce(&mut [Event]), mut body: impl FnMut(Event)) {
        // Taken, for JavaScript may come back here.
        let mut events = mem::take(&mut *self.events.borrow_mut());
        // It fails only when a signal interrupts it: the loop comes again.
        let _ = self.readiness.borrow_mut().collect(&mut events);
        sort(&mut events);
        for event in events.drain(..) {
            // A panic over one connection is no reason to forget the others. There is nobody to tell: the connection
            // is left as it is.
            let _ = catch_unwind(AssertUnwindSafe(|| body(event)));
        }
        self.events.replace(events);
    }
}

/// The owner of the poll handle.
struct Watcher {
    environment: Rc<Environment>,
}

impl uv::Owner for Watcher {
    fn wake(&self) {
        if let Some(driver) = self.environment.transport.driver.get() {
            driver.read_and_write(&self.environment);
        }
    }
}
