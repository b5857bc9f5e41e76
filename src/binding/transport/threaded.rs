//! The threads driver: sockets are read and written on I/O threads, and JavaScript is told, on its own thread, what
//! they have done.
//!
//! Frames are handed over by the batch, once in a turn of the loop. A connection to which something is sent that
//! somebody waits for (a callback) is written to on the JavaScript thread, so that the callback comes when it does in
//! ws; [`Threads::send_now`] sees to the order.

use std::cell::{Cell, RefCell, RefMut};
use std::io::{self, IoSlice};
use std::mem;
use std::rc::Rc;
use std::sync::Arc;

use super::driver::Driver;
use super::link::{Link, Pump};
use super::tell::{EOF, ERROR, WRITABLE, WRITE_ERROR};
use crate::binding::environment::Environment;
use crate::reactor::readiness::Ready;
use crate::reactor::threads::{Batch, Ending, Habits, Progress, Pumped, Remote, Threads};
use crate::reactor::uv::{self, Bell, Handle, Library};
use crate::reactor::{are_readable, Connection, Input, Reads, CHUNK};

/// The I/O threads of an environment and how they make themselves heard.
pub struct Pool {
    // First: they are gone before the handle is that they ring.
    threads: Threads,
    bell: Bell,
    handle: Handle<Listener>,
    /// How many connections keep the process alive.
    kept_alive: Cell<usize>,
    /// Memory for the next list of connections with news.
    listed: Cell<Vec<(usize, u64)>>,
    /// For each thread what it is handed over next.
    batches: RefCell<Vec<Batch>>,
}

/// The owner of the handle that is rung.
struct Listener {
    environment: Rc<Environment>,
}

impl uv::Owner for Listener {
    fn wake(&self) {
        if let Some(driver) = self.environment.transport.driver.get() {
            driver.tell_listed(&self.environment);
        }
    }
}

impl Pool {
    /// Starts `count` threads.
    pub fn start(
        environment: &Rc<Environment>,
        library: &Rc<Library>,
        count: usize,
        high_water: usize,
    ) -> io::Result<Self> {
        let environment = Rc::clone(environment);
        let handle = Handle::woken(library, Listener { environment })?;
        handle.keep_alive(false);
        // SAFETY: only the threads ring this, and they have ended when `threads` is dropped, before `handle` is.
        let bell = unsafe { handle.bell() };
        // SAFETY: it is dropped with this, before `handle` is.
        let own_bell = unsafe { handle.bell() };
        let habits = Habits {
            resets_are_ends: library.takes_hanging_up_for_end(),
            enough: high_water,
        };
        let threads = Threads::start(count, habits, move || bell.ring())?;
        let batches = (0..threads.count()).map(|_| Batch::default()).collect();
        Ok(Self {
            threads,
            bell: own_bell,
            handle,
            kept_alive: Cell::new(0),
            listed: Cell::default(),
            batches: RefCell::new(batches),
        })
    }

    /// For each thread what it is to be handed over.
    pub fn batches(&self) -> RefMut<'_, Vec<Batch>> {
        self.batches.borrow_mut()
    }

    /// Lets the threads begin with what they were handed over.
    pub fn release_batches(&self) {
        for (index, batch) in self.batches().iter_mut().enumerate() {
            if !batch.is_empty() {
                self.threads.send(index, batch);
            }
        }
    }

    /// Gives a connection to a thread.
    pub fn open(
        &self,
        id: usize,
        serial: u64,
        masked: bool,
        connection: Connection,
    ) -> io::Result<Threaded> {
        let threaded = Threaded {
            remote: self.threads.open(id, serial, masked, connection)?,
            thread: self.threads.thread_of(id),
            handed: 0,
            known: 0,
            shown: 0,
            is_due: false,
            is_urgent: true,
            keeps_alive: Cell::new(false),
            counts: Cell::new(false),
            told_end: false,
            watched: Cell::new(Ready::NOTHING),
        };
        self.keep_alive(&threaded, true);
        Ok(threaded)
    }

    /// Whether a connection keeps the process alive, also when nothing is to be written.
    pub fn keep_alive(&self, threaded: &Threaded, keep: bool) {
        threaded.keeps_alive.set(keep);
        self.recount(threaded);
    }

    /// There may be something to be written, or nothing any more: as in libuv, that keeps the process alive in any case.
    pub fn recount(&self, threaded: &Threaded) {
        self.count(threaded, threaded.keeps_alive.get() || threaded.shown > 0);
    }

    fn count(&self, threaded: &Threaded, counts: bool) {
        if threaded.counts.replace(counts) == counts {
            return;
        }
        let before = self.kept_alive.get();
        let now = if counts { before + 1 } else { before - 1 };
        self.kept_alive.set(now);
        if (before == 0) != (now == 0) {
            self.handle.keep_alive(counts);
        }
    }

    /// Takes a connection back, with everything that was handed over for it settled.
    pub fn close(&self, threaded: &Threaded) -> Option<Connection> {
        self.count(threaded, false);
        self.settle(threaded);
        self.threads.close(&threaded.remote)
    }

    /// Sees to it that nothing of a connection is under way any more.
    pub fn settle(&self, threaded: &Threaded) {
        if !threaded.remote.is_settled(threaded.handed) {
            self.threads.settle(&threaded.remote);
        }
    }

    /// Those with news, in the order in which their threads came to them.
    pub(super) fn with_news(&self) -> Vec<(usize, u64)> {
        self.threads.listed()
    }

    /// As [`Pool::settle`], for all connections.
    pub fn settle_all(&self) {
        self.threads.settle_all();
    }

    /// Takes what was read of a connection and not told yet.
    pub fn take_arrived(&self, threaded: &Threaded) -> Reads {
        self.threads.take_arrived(&threaded.remote)
    }

    /// See [`Threads::take_ahead`].
    pub fn take_ahead(&self, threaded: &Threaded) -> Reads {
        self.threads.take_ahead(&threaded.remote)
    }

    /// See [`Threads::take_and_read`].
    pub fn take_and_read(&self, threaded: &Threaded, enough: usize) -> Reads {
        self.threads.take_and_read(&threaded.remote, enough)
    }

    /// See [`Threads::step_in`] and [`Threads::step_back`].
    pub fn step(&self, is_in: bool) {
        if is_in {
            self.threads.step_in();
        } else {
            self.threads.step_back();
        }
    }

    /// See [`Threads::pump`].
    pub fn pump(&self, threaded: &Threaded, room: Option<&mut [u8]>) -> Pumped {
        self.threads.pump(&threaded.remote, room)
    }

    /// See [`Threads::read`].
    pub fn read(&self, threaded: &Threaded) {
        self.threads.read(&threaded.remote);
    }

    /// See [`Threads::note_look`].
    pub fn note_look(&self) {
        self.threads.note_look();
    }

    /// Has the listed told in the next poll phase of the loop.
    pub fn ring(&self) {
        self.bell.ring();
    }

    /// Goes on reading. Returns whether there is something to tell already.
    pub fn resume(&self, threaded: &Threaded) -> bool {
        self.threads.resume(&threaded.remote);
        threaded.remote.has_news()
    }
}

/// A connection in the hands of an I/O thread.
pub struct Threaded {
    remote: Arc<Remote>,
    /// The thread that has it.
    thread: usize,
    /// How many bytes were handed over, and of how many it is known that the thread has dealt with them.
    handed: u64,
    known: u64,
    /// How many bytes JavaScript believes to wait.
    pub shown: usize,
    /// Whether that has become less and JavaScript was not told.
    is_due: bool,
    /// Somebody waits for what is sent in the flush under way, or it is the first that is sent: written here, right behind the
    /// handshake, so that a peer that answers that cannot be first.
    pub is_urgent: bool,
    keeps_alive: Cell<bool>,
    /// Whether it counts among those that keep the process alive.
    counts: Cell<bool>,
    told_end: bool,
    /// What the JavaScript thread watches it for.
    pub watched: Cell<Ready>,
}

impl Threaded {
    /// Uses the connection itself. What is handed over may still be under way.
    pub fn with<T>(&self, body: impl FnOnce(&mut Connection) -> T) -> Option<T> {
        self.remote.with(body)
    }

    /// Whether something has arrived, read by its thread or not.
    pub fn has_arrived(&self) -> bool {
        let is_readable = self.with(|it| are_readable(&[it.socket()]) == [true]);
        // In this order: the thread may read it meanwhile.
        is_readable == Some(true) || self.remote.has_news()
    }

    /// See [`Remote::wants`].
    pub fn wants(&self) -> (Ready, bool) {
        self.remote.wants()
    }

    /// See [`Remote::end`].
    pub fn end(&self) {
        self.remote.end();
    }

    /// See [`Remote::stop`].
    pub fn stop(&self, stops: bool) {
        self.remote.stop(stops);
    }

    /// How many bytes were read, as far as JavaScript knows, and written, as far as they do not count as waiting.
    pub fn counters(&self) -> (u64, u64) {
        let (read, sent) = self.remote.counters(self.handed);
        (read, sent.saturating_sub(self.shown as u64))
    }

    /// Looks how much waits now. What JavaScript is shown is `shown`; whether it has become less, and is to be told so,
    /// is returned.
    pub fn refresh(&mut self) -> bool {
        self.note(self.remote.progress(self.handed))
    }

    fn note(&mut self, progress: Progress) -> bool {
        self.known = progress.handled;
        let before = mem::replace(&mut self.shown, progress.queued);
        self.is_due |= self.shown < before;
        self.is_due
    }
}

impl Driver {
    /// Hands frames over to the connection's thread, with what else the flush under way brings.
    pub(super) fn hand_over(
        &self,
        (pool, batches): (&Pool, &mut [Batch]),
        id: usize,
        threaded: &mut Threaded,
        frames: &[u8],
    ) {
        let Some(batch) = batches.get_mut(threaded.thread) else {
            return;
        };
        batch.add(id, frames);
        threaded.handed += frames.len() as u64;
        if threaded.shown > 0 {
            threaded.shown += frames.len();
        } else if threaded.handed - threaded.known > Remote::UNNOTICED {
            threaded.refresh();
        } else {
            return;
        }
        pool.recount(threaded);
        self.queued.set(id, threaded.shown as f64);
    }

    /// Sends on this thread, after everything handed over before.
    pub(super) fn send_on_thread(&self, pool: &Pool, threaded: &Threaded, pieces: &[IoSlice]) {
        let last_copy = &mut self.last_copy.borrow_mut();
        pool.threads
            .send_now(&threaded.remote, threaded.handed, pieces, last_copy);
    }

    /// Tells JavaScript what the threads have listed.
    fn tell_listed(&self, environment: &Environment) {
        let Some(pool) = self.pool() else { return };
        self.note_look();
        self.begin_telling();
        self.read_first(environment);
        self.pump_due(environment);
        let listed = pool.threads.take_ready(pool.listed.take());
        for &(id, serial) in &listed {
            self.flush_early(&environment.jobs);
            self.tell_news(environment, &pool, id, serial);
        }
        pool.listed.set(listed);
    }

    /// Tells JavaScript the news of one connection: what was written, what came in, how it ended.
    pub(super) fn tell_news(&self, environment: &Environment, pool: &Pool, id: usize, serial: u64) {
        let flags = self.with_link(id, |link| {
            link.is_due |= link.is_told;
            (link.discards, link.is_told)
        });
        let (discards, is_told) = flags.unwrap_or_default();
        let news = self.with_threaded(id, serial, |threaded, input, _| {
            // What JavaScript has left comes first; it will ask for more. A little is put behind that, as a stream of Node's
            // would take it, so that the peer's end is noticed.
            let most = match input {
                _ if is_told => 0,
                Some(left) if left.has_room() => self.high_water,
                Some(_) => 0,
                None => usize::MAX,
            };
            let (remote, handed) = (&threaded.remote, threaded.handed);
            let news = pool.threads.take_news(remote, handed, most);
            let has_input = input.is_none() && !news.arrived.is_empty() && !discards;
            if has_input {
                *input = Some(Box::new(Input::aside(news.arrived, self.high_water)));
            } else if let Some(left) = input.as_mut().filter(|_| !news.arrived.is_empty()) {
                left.append_each(&news.arrived, true);
            }
            threaded.note(news.progress);
            pool.recount(threaded);
            self.queued.set(id, threaded.shown as f64);
            let progress = mem::take(&mut threaded.is_due).then_some(threaded.shown);
            (progress, has_input, news.is_over, news.is_reset)
        });
        let Some((progress, mut has_input, is_over, is_reset)) = news else {
            return;
        };
        // Before what may be an answer to it.
        if let Some(queued) = progress {
            self.dispatch(id, WRITABLE, i32::from(queued > 0));
            has_input &= self.is_still_to_be_told(id, serial);
        }
        let turn = self.turn.get();
        if has_input && self.is_current(id, serial) {
            self.with_link(id, |link| link.heard_in = turn);
            self.tell_input(environment, id, serial);
        }
        if !is_over {
            return;
        }
        let is_early = self.with_link(id, |link| {
            // It would be read in the next turn of the loop.
            let is_early = link.serial == serial && link.heard_in == turn && !is_reset;
            if is_early {
                self.make_ready(id, link);
            }
            is_early
        });
        if is_early == Some(false) {
            self.tell_end(id, serial);
        }
    }

    /// Whether new input is still to be told, though JavaScript has run since it came: a listener may have paused the
    /// connection, so that the input waits; or paused and resumed it, so that the input was told in a tick.
    fn is_still_to_be_told(&self, id: usize, serial: u64) -> bool {
        let is_wanted = self.with_threaded(id, serial, |threaded, input, _| {
            let Some(input) = input.as_mut().filter(|input| input.is_untouched()) else {
                return false;
            };
            let is_paused = threaded.with(|connection| connection.paused) == Some(true);
            if is_paused {
                input.wait();
            }
            !is_paused
        });
        is_wanted == Some(true)
    }

    /// What a stream of Node's would have read ahead of a connection that is resumed after it was paused for some time. It
    /// flows in the tick that is due, so what the thread did not read is read here.
    pub(super) fn take_waiting(&self, link: &mut Link) -> Option<Box<Input>> {
        let (Pump::Thread(threaded), Some(pool)) = (&link.pump, self.pool()) else {
            return None;
        };
        let reads = pool.take_and_read(threaded, 1);
        if reads.is_empty() {
            return None;
        }
        Some(Input::waiting(reads, self.high_water))
    }

    /// What has arrived on a connection that is paused and is being destroyed: as much as Node would have read. The loop has
    /// read ahead already.
    pub fn read_behind(&self, id: usize) -> Vec<u8> {
        let bytes = self.with_link(id, |link| match (&link.pump, self.pool()) {
            (Pump::Thread(threaded), Some(pool)) => {
                let reads = if self.pace.is_kept() {
                    // This thread reads in time what is to be read.
                    pool.take_arrived(threaded)
                } else {
                    pool.take_and_read(threaded, CHUNK)
                };
                let mut bytes = reads.into_bytes();
                if bytes.len() > CHUNK {
                    bytes.truncate(CHUNK);
                    threaded.with(|connection| connection.reset_on_close());
                }
                bytes
            }
            _ => Vec::new(),
        });
        bytes.unwrap_or_default()
    }

    /// Tells how the connection has ended, once, and only when there is nothing before that; unless the peer has ended
    /// and JavaScript is merely slow.
    pub(super) fn tell_end(&self, id: usize, serial: u64) {
        let resets_are_ends = self.takes_hanging_up_for_end();
        let told = self.with_threaded(id, serial, |threaded, input, told_error| {
            let ending = threaded.remote.ending()?;
            let is_paused = threaded.with(|connection| connection.paused) == Some(true);
            let (event, detail, was_told) = match (ending, input) {
                (Ending::Peer, None) => (EOF, 0, &mut threaded.told_end),
                (Ending::Peer, Some(left)) if left.has_room() => (EOF, 1, &mut threaded.told_end),
                (Ending::Peer, Some(_)) => return None,
                (_, Some(_)) if !is_paused => return None,
                // A stream of Node's that has read ahead enough does not notice while it is paused.
                (Ending::Error(_), Some(left)) if !left.has_room() => {
                    if resets_are_ends && left.leaves_behind() {
                        threaded.with(Connection::end_instead_of_error);
                    }
                    return None;
                }
                // While it is paused nobody may ever ask for what is left.
                (Ending::Error(errno), _) => (ERROR, errno, told_error),
                (Ending::WriteError(errno), _) => (WRITE_ERROR, errno, told_error),
            };
            (!mem::replace(was_told, true)).then_some((event, detail))
        });
        if let Some((event, detail)) = told.flatten() {
            self.dispatch(id, event, detail);
        }
    }

    /// Uses a connection: what JavaScript has left of its input, and whether it knows of its error.
    fn with_threaded<T>(
        &self,
        id: usize,
        serial: u64,
        body: impl FnOnce(&mut Threaded, &mut Option<Box<Input>>, &mut bool) -> T,
    ) -> Option<T> {
        self.with_link(id, |link| match &mut link.pump {
            Pump::Thread(threaded) if link.serial == serial => {
                Some(body(threaded, &mut link.input, &mut link.told_error))
            }
            _ => None,
        })?
    }
}
