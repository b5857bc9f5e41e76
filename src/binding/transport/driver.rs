//! What both drivers of the native transport share: the connections, and what JavaScript asks of them.

use std::cell::{Cell, RefCell, RefMut};
use std::io;
use std::mem;
use std::ptr;
use std::rc::Rc;
use std::time::Instant;

use napi::sys;
use slab::Slab;

use super::arena::Arena;
use super::hub::Hub;
use super::link::{Link, Pump, NONE};
use super::pace::Pace;
use super::polled::Polled;
use super::threaded::Pool;
use super::turns::Turns;
use crate::binding::environment::Environment;
use crate::binding::jobs::{processors, MAX_THREADS};
use crate::binding::shared::Shared;
use crate::reactor::uv::Library;
use crate::reactor::{Connection, Descriptors, Input, LastCopy, Processors, Reads};

/// The memory that all connections are read into: several of the chunks that Node would read.
pub(super) const SCRATCH: usize = 256 * 1024;

/// The state of the transport in one environment.
pub struct Driver {
    pub(super) env: sys::napi_env,
    /// What JavaScript is told with; null while the driver rests.
    pub(super) callback: Cell<sys::napi_ref>,
    pub(super) slab: Shared<u8>,
    pub(super) control: Shared<i32>,
    /// Where small payloads are put for JavaScript.
    pub arena: Arena,
    /// With so many bytes a stream of Node's has enough.
    pub(super) high_water: usize,
    /// For each connection the bytes that wait here.
    pub queued: Shared<f64>,
    pub(super) links: RefCell<Slab<Link>>,
    serial: Cell<u64>,
    pub(super) descriptors: Descriptors,
    /// Connections with something to tell that no readiness announces.
    pub(super) ready: RefCell<Vec<usize>>,
    /// Connections, with their serials, that the loop has not waited for yet.
    pub(super) fresh: RefCell<Vec<(usize, u64)>>,
    /// Those of them that are to be read before all others in this turn of the loop.
    pub(super) first: RefCell<Vec<(usize, u64)>>,
    /// Those of them that have been read in this turn.
    pub(super) read_early: RefCell<Vec<(usize, u64)>>,
    /// The number of a turn, and the connections that are to be told before all others in it: those that were read early in
    /// the turn before, as long as they are ready in each turn.
    pub(super) ahead: RefCell<(u32, Vec<(usize, u64)>)>,
    /// Connections, with their serials, that broke when something was handed over.
    pub(super) broken: RefCell<Vec<(usize, u64)>>,
    pub(super) scratch: RefCell<Vec<u8>>,
    /// The connection, with its serial, that was read into it last.
    pub(super) scratch_of: Cell<(usize, u64)>,
    /// For each record of a flush the next one of the same connection.
    pub(super) next_record: RefCell<Vec<usize>>,
    pub(super) dirty: RefCell<Vec<usize>>,
    /// How many other threads may take part in a flush, and whether there are processors for them.
    pub(super) helpers: usize,
    pub(super) processors: RefCell<Processors>,
    /// What was sent to many in this turn of the loop and not taken by all.
    pub(super) last_copy: RefCell<LastCopy>,
    /// How often JavaScript was told of input in this turn of the loop.
    pub(super) told: Cell<usize>,
    /// Since when JavaScript is being told without a flush.
    pub(super) telling_since: Cell<Instant>,
    /// Whether a flush waits for what the loop reads next.
    pub(super) is_flush_put_off: Cell<bool>,
    /// Counts the turns of the loop.
    pub(super) turn: Cell<u32>,
    /// Counts how often Node would have looked what is ready to be read: once in each turn, at its end, or when the threads'
    /// news begin to be told.
    pub(super) looks: Cell<u32>,
    /// In which turn it has looked before the end.
    looked_in: Cell<Option<u32>>,
    pub(super) turns: RefCell<Option<Turns>>,
    /// Who reads and writes while the loop does not wait.
    pub(super) pace: Pace,
    /// Where connections hang in the loop, if that is the driver.
    hub: RefCell<Option<Rc<Hub>>>,
    /// The I/O threads, if there are to be any.
    pool: RefCell<Option<Rc<Pool>>>,
    library: RefCell<Option<Rc<Library>>>,
}

impl Driver {
    /// The transport of an environment, without handles yet. It rests.
    pub fn new(env: sys::napi_env, high_water: usize) -> Self {
        Self {
            env,
            callback: Cell::new(ptr::null_mut()),
            slab: Shared::default(),
            control: Shared::default(),
            arena: Arena::default(),
            high_water,
            queued: Shared::default(),
            links: RefCell::default(),
            serial: Cell::new(0),
            descriptors: Descriptors::default(),
            ready: RefCell::default(),
            fresh: RefCell::default(),
            first: RefCell::default(),
            read_early: RefCell::default(),
            ahead: RefCell::default(),
            broken: RefCell::default(),
            scratch: RefCell::default(),
            scratch_of: Cell::new((NONE, 0)),
            next_record: RefCell::default(),
            dirty: RefCell::default(),
            helpers: processors().min(MAX_THREADS + 1) - 1,
            processors: RefCell::default(),
            last_copy: RefCell::default(),
            told: Cell::new(0),
            telling_since: Cell::new(Instant::now()),
            is_flush_put_off: Cell::new(false),
            turn: Cell::new(0),
            looks: Cell::new(0),
            looked_in: Cell::new(None),
            turns: RefCell::new(None),
            pace: Pace::default(),
            hub: RefCell::new(None),
            pool: RefCell::new(None),
            library: RefCell::new(None),
        }
    }

    /// Hangs the driver into the loop. With a pool it is the threads driver, with a hub the loop driver.
    pub fn start(
        &self,
        environment: &Rc<Environment>,
        library: Rc<Library>,
        (pool, hub): (Option<Pool>, Option<Rc<Hub>>),
    ) {
        self.pool.replace(pool.map(Rc::new));
        self.hub.replace(hub);
        self.turns
            .replace(Some(Turns::start(environment, &library)));
        self.library.replace(Some(library));
    }

    /// Whether no copy of the package uses the driver.
    pub fn rests(&self) -> bool {
        self.callback.get().is_null()
    }

    /// Gives up everything that belongs to the copy of the package that has used it, if there is no connection. A copy may be
    /// one of many, each in a context of its own, that would otherwise never be collected.
    pub fn release(&self) -> bool {
        if !self.links.borrow().is_empty() {
            return false;
        }
        let env = self.env;
        self.slab.release(env);
        self.control.release(env);
        self.queued.release(env);
        self.arena.release(env);
        let callback = self.callback.replace(ptr::null_mut());
        if !callback.is_null() {
            // SAFETY: it was made in `nativeStart`, and is deleted once.
            unsafe { sys::napi_delete_reference(env, callback) };
        }
        true
    }

    /// The I/O threads, if this is the threads driver.
    pub(super) fn pool(&self) -> Option<Rc<Pool>> {
        self.pool.borrow().clone()
    }

    pub(super) fn hub(&self) -> Option<Rc<Hub>> {
        self.hub.borrow().clone()
    }

    /// Calls `action` when every handle is closed after [`Driver::shut_down`].
    pub fn when_unused(&self, action: impl FnOnce() + 'static) {
        if let Some(library) = &*self.library.borrow() {
            library.when_unused(action);
        }
    }

    /// Ends the driver: what can be written is written, every handle and descriptor is closed.
    pub fn shut_down(&self) {
        self.flush();
        let links = mem::take(&mut *self.links.borrow_mut());
        for (_, link) in links {
            self.end(link);
        }
        self.pool.take();
        self.hub.take();
        self.turns.take();
        self.library.take();
    }

    /// Adds a connection. If it `has_more`, it is read in this turn of the loop.
    pub fn open(
        &self,
        connection: Connection,
        receiver: usize,
        masked: bool,
        has_more: bool,
    ) -> io::Result<usize> {
        let serial = self.serial.get() + 1;
        self.serial.set(serial);
        let mut links = self.links.borrow_mut();
        let entry = links.vacant_entry();
        let id = entry.key();
        let pump = match (self.pool(), self.hub()) {
            (Some(pool), _) => Pump::Thread(pool.open(id, serial, masked, connection)?),
            (None, Some(hub)) => Pump::Loop(Polled::open(&hub, id, serial, connection)),
            (None, None) => return Err(io::ErrorKind::NotConnected.into()),
        };
        let link = entry.insert(Link::new(pump, receiver, masked, serial));
        match &mut link.pump {
            pump if has_more => {
                if let Pump::Loop(polled) = pump {
                    polled.start(true);
                }
                self.first.borrow_mut().push((id, serial));
                self.spin();
            }
            _ => self.fresh.borrow_mut().push((id, serial)),
        }
        self.queued.set(id, 0.0);
        Ok(id)
    }

    /// Writes what the kernel takes and gives the connection up. Returns how many bytes were read and written, if there
    /// was one.
    pub fn close(&self, id: usize) -> Option<(u64, u64)> {
        self.flush();
        let link = self.links.borrow_mut().try_remove(id);
        self.queued.set(id, 0.0);
        let mut link = link?;
        let counters = link.counters();
        if link.input.as_deref().is_some_and(Input::leaves_unread) {
            link.with_connection(|connection| connection.reset_on_close());
        }
        self.end(link);
        Some(counters)
    }

    fn end(&self, link: Link) {
        match (link.pump, self.pool()) {
            (Pump::Loop(mut polled), _) => polled.connection.drain(),
            (Pump::Thread(threaded), Some(pool)) => {
                self.pace.leave(&threaded);
                if let Some(mut connection) = pool.close(&threaded) {
                    connection.drain();
                }
            }
            (Pump::Thread(_), None) => {}
        }
    }

    /// Hands over everything that is recorded and waits until nothing of a connection is under way to its thread.
    pub fn settle(&self, id: usize) {
        self.flush();
        if let Some(pool) = self.pool() {
            self.with_link(id, |link| {
                if let Pump::Thread(threaded) = &link.pump {
                    pool.settle(threaded);
                }
                self.after_sending(id, link);
            });
        }
    }

    /// As [`Driver::settle`], for all connections.
    pub fn settle_all(&self) {
        self.flush();
        if let Some(pool) = self.pool() {
            pool.settle_all();
        }
    }

    /// Gives up the bytes of a connection that wait to be written.
    pub fn take_unsent(&self, id: usize) -> Option<Vec<u8>> {
        self.settle(id);
        let bytes = self.with_link(id, |link| {
            let bytes = link.with_connection(Connection::take_unsent);
            self.after_sending(id, link);
            link.watch(true);
            bytes.unwrap_or_default()
        })?;
        self.queued.set(id, 0.0);
        Some(bytes)
    }

    /// Whether a connection keeps the process alive.
    pub fn keep_alive(&self, id: usize, keep: bool) {
        self.with_link(id, |link| match (&mut link.pump, self.pool()) {
            (Pump::Loop(polled), _) => polled.keep_alive(keep),
            (Pump::Thread(threaded), Some(pool)) => pool.keep_alive(threaded, keep),
            (Pump::Thread(_), None) => {}
        });
    }

    /// Takes out, chunk by chunk, what the receiver has been given (see [`crate::reactor::Input`]) and has not decoded. If it
    /// `is_done`, it has finished with what it had, and first goes on to the next chunk. If it `takes_more`, and the socket
    /// is not paused, it first takes as many chunks as it has room for.
    pub fn take_received(
        &self,
        environment: &Environment,
        id: usize,
        is_done: bool,
        takes_more: bool,
    ) -> Option<Vec<Vec<u8>>> {
        self.with_input(id, |link, scratch| {
            let is_paused = link.with_connection(|connection| connection.paused);
            let Some(input) = link.input.as_mut() else {
                return Vec::new();
            };
            // The next chunk of fresh input would still be in the kernel.
            if is_done && !input.is_fresh() {
                input.next_chunk();
            }
            if takes_more && is_paused == Some(false) {
                input.receive();
            }
            let (chunks, begun) = input.take_received(scratch);
            if begun && chunks.first().is_some_and(|rest| !rest.is_empty()) {
                let mut receivers = environment.receivers.borrow_mut();
                if let Some(inbound) = receivers.get_mut(link.receiver) {
                    inbound.recount_chunk();
                }
            }
            chunks
        })
    }

    /// Takes what was read and is not decoded, in chunks, with what has arrived since.
    pub fn take_unread(&self, id: usize) -> Option<Vec<Vec<u8>>> {
        let mut chunks = self.with_input(id, |link, scratch| match link.input.take() {
            Some(input) => {
                let chunks = input.unread_chunks(scratch);
                chunks.into_iter().map(<[u8]>::to_vec).collect()
            }
            None => Vec::new(),
        })?;
        chunks.extend(self.take_arrived(id).each().map(<[u8]>::to_vec));
        Some(chunks)
    }

    /// Of what was read and is not decoded, as much as a socket of Node's would have read.
    pub fn read_ahead(&self, id: usize) -> Option<Vec<u8>> {
        self.with_input(id, |link, scratch| match &link.input {
            Some(input) => input.read_ahead(scratch).to_vec(),
            None => Vec::new(),
        })
    }

    /// Whether a large read has brought more than [`Driver::read_ahead`] gives.
    pub fn has_more_than_read_ahead(&self, id: usize) -> bool {
        let has_more = self.with_input(id, |link, scratch| {
            let input = link.input.as_ref();
            input.is_some_and(|it| it.read_ahead(scratch).len() < it.unread(scratch).len())
        });
        has_more == Some(true)
    }

    /// What a thread has read of a connection and JavaScript was not told of.
    fn take_arrived(&self, id: usize) -> Reads {
        let arrived = self.with_link(id, |link| match (&link.pump, self.pool()) {
            (Pump::Thread(threaded), Some(pool)) => pool.take_arrived(threaded),
            _ => Reads::default(),
        });
        arrived.unwrap_or_default()
    }

    /// Uses a connection.
    pub fn with_link<T>(&self, id: usize, body: impl FnOnce(&mut Link) -> T) -> Option<T> {
        self.links.borrow_mut().get_mut(id).map(body)
    }

    /// Lets `body` work on a connection and the memory that its input may lie in. It must not call JavaScript.
    pub fn with_input<T>(
        &self,
        id: usize,
        body: impl FnOnce(&mut Link, &mut [u8]) -> T,
    ) -> Option<T> {
        let mut scratch = self.scratch.borrow_mut();
        self.with_link(id, |link| body(link, &mut scratch))
    }

    /// Stops reading, after reading a little ahead unless `at_once`.
    pub fn pause(&self, id: usize, at_once: bool) {
        self.with_link(id, |link| {
            link.stop(link.stopped || at_once);
            let before = link.with_connection(|connection| {
                let is_broken = connection.error().is_some();
                (mem::replace(&mut connection.paused, true), is_broken)
            });
            if let Some((false, is_broken)) = before {
                link.paused_after = self.looks.get();
                if is_broken && matches!(link.pump, Pump::Thread(_)) {
                    // What is left was to come first; now nobody may ever ask for it.
                    self.make_ready(id, link);
                }
            }
            link.resumed = false;
        });
    }

    /// From now on what is read is thrown away.
    pub fn discard(&self, id: usize) {
        self.with_link(id, |link| {
            link.discards = true;
            link.lent = None;
            // The dispatch under way takes care of input that is not aside.
            link.input.take_if(|input| input.is_aside());
            link.watch(false);
        });
    }

    /// The receiver has finished with what it was told, later than the dispatch did: it may be told more.
    pub fn go_on(&self, id: usize) {
        let is_wanted = self.with_link(id, |link| {
            link.went_on = true;
            let was_busy = mem::take(&mut link.is_busy);
            let is_paused = link.with_connection(|connection| connection.paused);
            let is_used_up = link.input.as_deref().is_some_and(Input::is_used_up);
            if was_busy && is_used_up && is_paused == Some(true) && !link.is_told {
                // From now on a little is read ahead, and the end is noticed.
                link.input = None;
                link.watch(false);
                if let Pump::Thread(_) = link.pump {
                    self.make_ready(id, link);
                }
            }
            was_busy && is_paused == Some(false)
        });
        if is_wanted == Some(true) {
            self.resume(id);
        }
    }

    /// Starts reading again, with what is left of the last input first. Says whether there is such input; it is told in
    /// the next turn of the loop, unless JavaScript has it flow before that.
    pub fn resume(&self, id: usize) -> bool {
        let has_input = self.with_link(id, |link| {
            let was_paused =
                link.with_connection(|connection| mem::take(&mut connection.paused)) == Some(true);
            link.stop(false);
            link.resumed = true;
            let waited = was_paused && link.paused_after != self.looks.get();
            if waited && link.input.is_none() && !link.discards {
                link.input = self.take_waiting(link);
            }
            let has_input = match &link.input {
                // The dispatch under way takes care of it.
                Some(input) if input.is_fresh() => false,
                // So does `go_on`.
                Some(_) => !link.is_busy,
                None => {
                    link.watch(false);
                    false
                }
            };
            if has_input {
                self.make_ready(id, link);
            }
            if let (Pump::Thread(threaded), Some(pool)) = (&link.pump, self.pool()) {
                if pool.resume(threaded) {
                    self.make_ready(id, link);
                }
            }
            has_input
        });
        has_input == Some(true)
    }

    /// Node would look now what is ready to be read, and read it, unless it has done so in this turn.
    pub(super) fn note_look(&self) {
        let turn = Some(self.turn.get());
        if self.looked_in.replace(turn) == turn {
            return;
        }
        self.looks.set(self.looks.get().wrapping_add(1));
        if let Some(pool) = self.pool() {
            pool.note_look();
        }
    }

    /// See [`Library::does_not_wait`].
    pub(super) fn does_not_wait(&self) -> bool {
        let library = self.library.borrow();
        library.as_ref().is_some_and(|it| it.does_not_wait())
    }

    /// See [`Library::takes_hanging_up_for_end`].
    pub(super) fn takes_hanging_up_for_end(&self) -> bool {
        let library = self.library.borrow();
        library
            .as_ref()
            .is_some_and(|it| it.takes_hanging_up_for_end())
    }

    /// The memory that connections are read into.
    pub(super) fn scratch(&self) -> RefMut<'_, Vec<u8>> {
        let mut scratch = self.scratch.borrow_mut();
        if scratch.is_empty() {
            scratch.resize(SCRATCH, 0);
        }
        scratch
    }

    pub(super) fn is_current(&self, id: usize, serial: u64) -> bool {
        self.links
            .borrow()
            .get(id)
            .is_some_and(|link| link.serial == serial)
    }
}
