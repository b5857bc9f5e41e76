//! A connection that two threads share: the one that reads and writes it, and the one that uses it.

use std::io::{self, IoSlice};
use std::mem;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::ready::Ready;
use super::worker::Worker;
use super::Habits;
use crate::reactor::{readiness, Connection, LastCopy, Read, Reads, CHUNK};

/// How much of one connection is read ahead of the thread that uses it.
const READ_AHEAD: usize = 256 * 1024;
/// So much of a connection is read, if nothing of it is held, whatever is held of others. They may be paused for long,
/// and it must not wait for them.
pub(super) const A_LITTLE: usize = 16 * 1024;

/// A connection between two threads.
pub struct Remote {
    /// The number it has for both threads.
    pub id: usize,
    /// Tells it from others that had the same number.
    pub serial: u64,
    /// Whether what is handed over for it is to be masked.
    pub masked: bool,
    habits: Habits,
    ready: Arc<Ready>,
    /// The thread that has it.
    worker: Weak<Worker>,
    state: Mutex<State>,
}

/// What both threads use, one at a time.
struct State {
    /// The connection, until it is closed.
    connection: Option<Connection>,
    /// What was read and not taken yet.
    arrived: Reads,
    /// After how many looks (see [`Ready::looks`]) that was read last.
    read_after: usize,
    /// How much was read ahead and taken while the connection was paused: for a stream of Node's it would still be there.
    ahead: usize,
    /// How many of the bytes that were handed over the thread is done with: sent, kept or dropped.
    handled: u64,
    /// Whether it is listed among those with news.
    is_listed: bool,
    /// Whether reading stopped before the socket was empty.
    is_stalled: bool,
    /// Whether somebody wants to hear of progress although the kernel takes everything.
    is_awaited: bool,
    /// Whether nothing is read ahead while the connection is paused.
    is_stopped: bool,
}

/// What there is to tell of a connection.
#[derive(Debug, Default)]
pub struct News {
    /// What was read.
    pub arrived: Reads,
    /// How far writing has come.
    pub progress: Progress,
    /// Whether the connection has ended or is broken; see [`Remote::ending`].
    pub is_over: bool,
    /// Whether it is broken, or ended only because it was reset.
    pub is_reset: bool,
}

/// How far writing has come.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// How many of the bytes that were handed over are dealt with.
    pub handled: u64,
    /// How many bytes wait. What is merely under way counts only when it is more than [`Remote::UNNOTICED`], or when
    /// it comes behind others that wait.
    pub queued: usize,
}

/// How a connection has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It broke, with this error.
    Error(i32),
    /// A write failed with this error.
    WriteError(i32),
    /// The peer has sent all it will send.
    Peer,
}

impl Remote {
    pub(super) fn new(
        id: usize,
        serial: u64,
        masked: bool,
        habits: Habits,
        connection: Connection,
        ready: Arc<Ready>,
        worker: Weak<Worker>,
    ) -> Self {
        Self {
            id,
            serial,
            masked,
            habits,
            ready,
            worker,
            state: Mutex::new(State {
                connection: Some(connection),
                arrived: Reads::default(),
                read_after: 0,
                ahead: 0,
                handled: 0,
                is_listed: false,
                is_stalled: false,
                is_awaited: false,
                is_stopped: false,
            }),
        }
    }

    /// A panic leaves a state that can be used: nothing here is half done when something may panic.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Uses the connection, unless it is closed.
    pub fn with<T>(&self, body: impl FnOnce(&mut Connection) -> T) -> Option<T> {
        self.state().connection.as_mut().map(body)
    }

    /// Sends, provided that of the bytes handed over before all `handed` are dealt with. Else nothing is done.
    pub(super) fn send_after(
        &self,
        handed: u64,
        pieces: &[IoSlice],
        last_copy: &mut LastCopy,
    ) -> bool {
        let mut state = self.state();
        if state.handled != handed {
            return false;
        }
        if let Some(connection) = &mut state.connection {
            send(connection, pieces, last_copy);
            self.ask_again(connection);
        }
        true
    }

    /// What the kernel of an idle connection would take at once. As long as no more than that is under way, nobody is
    /// told that it waits.
    pub const UNNOTICED: u64 = 64 * 1024;

    /// How far writing has come with the `handed` bytes that were handed over. If some count as waiting only because
    /// they are under way, it will be news when they are dealt with.
    pub fn progress(&self, handed: u64) -> Progress {
        self.state().progress(handed)
    }

    /// Whether nothing of the `handed` bytes is under way.
    pub fn is_settled(&self, handed: u64) -> bool {
        self.state().handled == handed
    }

    /// Takes the news: of what was read if it is not more than wanted and the connection is not paused.
    pub(super) fn take_news(&self, handed: u64, most: usize) -> News {
        let mut state = self.state();
        state.is_listed = false;
        let connection = state.connection.as_ref();
        let is_paused = connection.is_some_and(|it| it.paused);
        let is_over = connection.is_some_and(|it| it.has_ended() || it.error().is_some());
        let is_reset = connection.is_some_and(|it| it.error().is_some() || it.was_reset());
        let arrived = if state.arrived.len() <= most && !is_paused {
            state.take_arrived(&self.ready)
        } else {
            Reads::default()
        };
        News {
            arrived,
            progress: state.progress(handed),
            is_over,
            is_reset,
        }
    }

    /// How the connection has ended, if nothing is to be told before.
    pub fn ending(&self) -> Option<Ending> {
        let state = self.state();
        let connection = state.connection.as_ref()?;
        match connection.error() {
            Some(error) if connection.paused || state.arrived.is_empty() => {
                Some(if connection.broke_writing() {
                    Ending::WriteError(error)
                } else {
                    Ending::Error(error)
                })
            }
            None if connection.has_ended() && state.arrived.is_empty() => Some(Ending::Peer),
            _ => None,
        }
    }

    /// Whether there is something to tell.
    pub fn has_news(&self) -> bool {
        let state = self.state();
        let connection = state.connection.as_ref();
        let is_over = connection.is_some_and(|it| it.has_ended() || it.error().is_some());
        is_over || !state.arrived.is_empty()
    }

    /// What there is to wait for, and whether it has news that are listed, or about to be. Where there is enough, reading
    /// stops with this, until it is resumed.
    pub fn wants(&self) -> (readiness::Ready, bool) {
        let mut state = self.state();
        let Some(connection) = &state.connection else {
            return (readiness::Ready::NOTHING, false);
        };
        let (reads, writes) = (connection.wants_to_read(), connection.wants_to_write());
        let has_enough = state.arrived.len() >= state.enough(self.habits);
        state.is_stalled |= has_enough;
        let wanted = readiness::Ready {
            read: reads && !has_enough,
            write: writes,
        };
        (wanted, state.is_listed)
    }

    /// How many bytes were read and taken, and how many of the `handed` bytes and others were written or wait.
    pub fn counters(&self, handed: u64) -> (u64, u64) {
        let state = self.state();
        let Some(connection) = &state.connection else {
            return (0, 0);
        };
        let (read, written) = connection.counters();
        let waiting = handed.saturating_sub(state.handled) + connection.queued() as u64;
        (
            read.saturating_sub(state.arrived.len() as u64),
            written + waiting,
        )
    }

    /// Takes what was read for all that the peer sends.
    pub fn end(&self) {
        self.with(|connection| {
            if connection.wants_to_read() {
                connection.end();
            }
        });
    }

    /// Takes what was read ahead of a connection that is paused and stays so.
    pub(super) fn take_ahead(&self) -> Reads {
        let mut state = self.state();
        state.ahead = state.ahead.saturating_add(state.arrived.len());
        state.take_arrived(&self.ready)
    }

    /// Takes what was read, paused or not.
    pub(super) fn take_arrived(&self) -> Reads {
        self.state().take_arrived(&self.ready)
    }

    /// Takes what was read and, if that is less than `enough`, reads once behind it, a chunk of Node's in all. Under one lock,
    /// so that what the thread reads meanwhile comes behind that.
    pub(super) fn take_and_read(&self, enough: usize) -> Reads {
        let mut state = self.state();
        let mut reads = state.take_arrived(&self.ready);
        let known = reads.len();
        let Some(connection) = state.connection.as_mut().filter(|_| known < enough) else {
            return reads;
        };
        let mut room = vec![0; CHUNK.saturating_sub(known)];
        if let Read::Bytes(count) = connection.read(&mut room) {
            reads.add(room.get(..count).unwrap_or_default(), true);
        }
        reads
    }

    /// Whether nothing is to be read ahead of a connection that is paused, for somebody else is going to read it.
    pub fn stop(&self, stops: bool) {
        self.state().is_stopped = stops;
    }

    /// Whether the thread stopped reading and may go on now; it has to be told.
    pub(super) fn resume(&self) -> bool {
        let mut state = self.state();
        state.ahead = 0;
        mem::replace(&mut state.is_stalled, false)
    }

    /// Takes the connection away from the thread. What it has read and nobody has taken counts as not read.
    pub(super) fn close(&self) -> Option<Connection> {
        let mut state = self.state();
        let unread = state.take_arrived(&self.ready);
        let connection = state.connection.take();
        if let Some(connection) = connection.as_ref().filter(|_| !unread.is_empty()) {
            connection.reset_on_close();
        }
        connection
    }

    pub(super) fn descriptor(&self) -> Option<RawFd> {
        self.with(|connection| connection.socket().as_raw_fd())
    }

    /// Reads what there is, as far as `until` says.
    pub(super) fn read(&self, scratch: &mut [u8], until: Until) -> Reading {
        let to_the_end = until == Until::End;
        let mut has_news = false;
        loop {
            let mut guard = self.state();
            let state = &mut *guard;
            let enough = state.enough(self.habits);
            let Some(connection) = &mut state.connection else {
                return Reading::Done(false);
            };
            if connection.has_ended() || connection.error().is_some() {
                return Reading::Done(state.list(has_news));
            }
            let is_paused = connection.paused;
            if state.arrived.len() >= enough {
                if to_the_end && state.arrived.is_empty() && state.ahead == 0 {
                    // As with Node's sockets, that much is noticed.
                    connection.look_for_end();
                    has_news |= !connection.wants_to_read();
                }
                state.is_stalled = true;
                return Reading::Done(state.list(has_news));
            }
            let room = if self.ready.has_room() {
                let most = if is_paused { CHUNK } else { scratch.len() };
                scratch.get_mut(..most).unwrap_or_default()
            } else if state.arrived.is_empty() {
                let size = A_LITTLE.min(scratch.len());
                scratch.get_mut(..size).unwrap_or_default()
            } else {
                state.is_stalled = true;
                return Reading::Starved(state.list(has_news));
            };
            match connection.read(room) {
                Read::Bytes(count) => {
                    let bytes = room.get(..count).unwrap_or_default();
                    let looks = self.ready.looks();
                    let is_later = mem::replace(&mut state.read_after, looks) != looks;
                    state.arrived.add(bytes, is_paused && is_later);
                    self.ready.add_held(count);
                    has_news = true;
                    let is_full = count == room.len();
                    if is_full && until == Until::Once {
                        return Reading::Full(state.list(true));
                    }
                    if !is_full && !to_the_end {
                        let has_enough = is_paused && state.arrived.len() >= enough;
                        let is_listed = state.list(true);
                        return if has_enough {
                            // As with Node's sockets, the end is not looked for.
                            Reading::Done(is_listed)
                        } else {
                            Reading::Short(is_listed)
                        };
                    }
                }
                Read::Nothing => return Reading::Done(state.list(has_news)),
                // What was read ahead of a paused connection, Node had read before the reset.
                Read::Failed
                    if self.habits.resets_are_ends
                        && !state.arrived.is_empty()
                        && (has_news || !is_paused) =>
                {
                    connection.end_instead_of_error();
                    return Reading::Done(state.list(true));
                }
                Read::End | Read::Failed => return Reading::Done(state.list(true)),
            }
        }
    }

    /// Sends what was handed over. Returns whether it is to be listed.
    pub(super) fn send(&self, pieces: &[IoSlice], length: u64) -> bool {
        let mut state = self.state();
        state.handled += length;
        let is_awaited = mem::take(&mut state.is_awaited);
        let Some(connection) = &mut state.connection else {
            return false;
        };
        let was_full = connection.queued() > 0;
        send(connection, pieces, &mut LastCopy::default());
        self.ask_again(connection);
        let has_news =
            is_awaited || was_full != (connection.queued() > 0) || connection.error().is_some();
        state.list(has_news)
    }

    /// Sends what waits. Returns whether it is to be listed.
    pub(super) fn drain(&self) -> bool {
        let mut state = self.state();
        let Some(connection) = &mut state.connection else {
            return false;
        };
        let before = connection.queued();
        if before == 0 || connection.error().is_some() {
            return false;
        }
        drain(connection);
        self.ask_again(connection);
        let has_news = connection.queued() < before || connection.error().is_some();
        state.list(has_news)
    }

    /// Has the thread write again what the kernel had no memory for.
    fn ask_again(&self, connection: &Connection) {
        if connection.is_short_of_memory() {
            if let Some(worker) = self.worker.upgrade() {
                worker.read(self.id);
            }
        }
    }

    /// Declares the connection broken. Returns whether it is to be listed.
    pub(super) fn fail(&self, error: &io::Error) -> bool {
        let mut state = self.state();
        if let Some(connection) = &mut state.connection {
            connection.fail(error);
        }
        state.list(true)
    }
}

/// Sends. The kernel says once that it has room again, and only to those whom it has turned away.
fn send(connection: &mut Connection, pieces: &[IoSlice], last_copy: &mut LastCopy) {
    let was_full = connection.queued() > 0;
    connection.send_sharing(pieces, last_copy);
    if !was_full && connection.queued() > 0 {
        drain(connection);
    }
}

/// Sends until the kernel takes nothing more.
fn drain(connection: &mut Connection) {
    loop {
        let before = connection.queued();
        connection.drain();
        if connection.queued() == before || connection.queued() == 0 {
            return;
        }
    }
}

/// How far [`Remote::read`] goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    /// One read.
    Once,
    /// A read that does not fill the room.
    Empty,
    /// The end: the socket is known to have ended.
    End,
}

/// The outcome of [`Remote::read`]; all say whether the connection is to be listed among those with news.
pub(super) enum Reading {
    /// There may be more.
    Full(bool),
    /// There was no more just now.
    Short(bool),
    /// Nothing is to be done before the next event of this connection.
    Done(bool),
    /// Too much waits to be taken, of all connections together.
    Starved(bool),
}

impl State {
    fn progress(&mut self, handed: u64) -> Progress {
        let under_way = handed.saturating_sub(self.handled);
        let backlog = self.connection.as_ref().map_or(0, Connection::queued);
        let counts = backlog > 0 || under_way > Remote::UNNOTICED;
        self.is_awaited = counts && backlog == 0;
        Progress {
            handled: self.handled,
            queued: if counts {
                backlog.saturating_add(usize::try_from(under_way).unwrap_or(usize::MAX))
            } else {
                0
            },
        }
    }

    /// When so much waits to be taken, no more is read. While the connection is paused that is as much as a stream of Node's
    /// reads ahead, so that it is noticed when the peer is gone.
    fn enough(&self, habits: Habits) -> usize {
        let is_paused = self.connection.as_ref().is_some_and(|it| it.paused);
        match (is_paused, self.is_stopped) {
            (false, _) => READ_AHEAD,
            (true, false) => habits.enough.saturating_sub(self.ahead),
            (true, true) => 0,
        }
    }

    fn take_arrived(&mut self, ready: &Ready) -> Reads {
        let arrived = mem::take(&mut self.arrived);
        ready.remove_held(arrived.len());
        arrived
    }

    /// Whether there is news that is not listed yet.
    fn list(&mut self, has_news: bool) -> bool {
        has_news && !mem::replace(&mut self.is_listed, true)
    }
}
