//! The loop driver: Node's libuv loop says when a socket is ready, and everything happens on the JavaScript thread.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use super::driver::Driver;
use super::hub::Hub;
use super::link::Pump;
use super::tell::{EOF, WRITABLE};
use crate::binding::environment::Environment;
use crate::reactor::readiness::{Event, Ready};
use crate::reactor::{Connection, Input, Read, CHUNK};

/// As much as Node reads at once. What is left in the kernel meanwhile decides on more than the chunks: whether bytes that
/// come a little later belong to the next one, and whether the end of the connection is a reset.
const READ_SIZE: usize = CHUNK;
/// So often has a connection filled such a read before it gets larger ones: then it is throughput that counts.
const MANY_FULL_READS: u8 = 16;
/// Reads of one connection before the others have their turn, and bytes: as much as libuv reads.
pub(super) const READS_PER_TURN: usize = 32;
const BYTES_PER_TURN: usize = READS_PER_TURN * READ_SIZE;

/// A connection that hangs in the loop.
pub struct Polled {
    hub: Rc<Hub>,
    /// Its number and its serial; see [`token`].
    token: u64,
    /// What the loop is to watch for.
    watched: Ready,
    /// Whether the kernel is told so: not before the next turn, and not any more when it has refused.
    is_registered: bool,
    /// Whether it keeps the process alive while it is watched.
    keeps_alive: bool,
    /// How often a read was filled.
    full_reads: u8,
    /// The connection.
    pub connection: Connection,
}

/// What the loop knows a connection as: its number, and as much of its serial as there is room for.
fn token(id: usize, serial: u64) -> u64 {
    (serial << 32) | (id as u64 & u64::from(u32::MAX))
}

fn id_of(token: u64) -> usize {
    token as u32 as usize
}

impl Polled {
    /// Hangs a connection into the loop, to be read from the next turn on.
    pub fn open(hub: &Rc<Hub>, id: usize, serial: u64, connection: Connection) -> Self {
        hub.count(false, true);
        Self {
            hub: Rc::clone(hub),
            token: token(id, serial),
            watched: Ready::READ,
            is_registered: false,
            keeps_alive: true,
            full_reads: 0,
            connection,
        }
    }

    /// Whether so much has come that larger reads are worth what can be told of them.
    pub fn fills_reads(&self) -> bool {
        self.full_reads >= MANY_FULL_READS
    }

    /// Reads into `room` as much as is good for this connection, and says whether that was all there is.
    fn read(&mut self, room: &mut [u8]) -> (Read, bool) {
        let size = if self.fills_reads() {
            room.len()
        } else {
            READ_SIZE
        };
        let read = self
            .connection
            .read(room.get_mut(..size).unwrap_or_default());
        if matches!(read, Read::Bytes(count) if count >= READ_SIZE) {
            self.full_reads = self.full_reads.saturating_add(1);
        }
        (read, matches!(read, Read::Bytes(count) if count < size))
    }

    /// Has the loop watch for what the connection waits for. `is_full` says that JavaScript has input left. Reading
    /// is given up only when something unwanted has come (`eager`): most pauses end before that.
    pub fn watch(&mut self, is_full: bool, eager: bool) {
        let wants_to_read = self.connection.wants_to_read() && !is_full;
        self.watch_for(Ready {
            read: wants_to_read || (!eager && self.watched.read),
            write: self.connection.wants_to_write(),
        });
    }

    fn watch_for(&mut self, wanted: Ready) {
        if wanted == self.watched {
            return;
        }
        if self.is_registered {
            let socket = self.connection.socket();
            let (token, watched) = (self.token, self.watched);
            if let Err(error) = self.hub.change(socket, token, watched, wanted) {
                // There may be no memory for it, or too much is watched already. Nothing will be heard of this
                // connection, so it counts as broken; it goes on keeping the process alive until that is told.
                let _ = self.hub.change(socket, token, watched, Ready::NOTHING);
                self.is_registered = false;
                self.connection.fail(&error);
                self.hub.note_refused(token);
            }
        }
        self.count(self.keeps_alive, wanted);
    }

    fn count(&mut self, keeps_alive: bool, watched: Ready) {
        // As in libuv, what is to be written keeps the process alive in any case.
        let counts = |keeps_alive, watched: Ready| (keeps_alive && watched.read) || watched.write;
        let (before, now) = (
            counts(self.keeps_alive, self.watched),
            counts(keeps_alive, watched),
        );
        (self.keeps_alive, self.watched) = (keeps_alive, watched);
        self.hub.count(before, now);
    }

    /// Has the kernel watch a new connection, unless it `is_ready` to be read.
    pub fn start(&mut self, is_ready: bool) {
        let wanted = self.watched;
        self.watch_for(Ready::NOTHING);
        self.is_registered = true;
        if !is_ready {
            self.watch_for(wanted);
        }
    }

    /// Whether the connection keeps the process alive, also when nothing is to be written.
    pub fn keep_alive(&mut self, keep: bool) {
        self.count(keep, self.watched);
    }
}

impl Drop for Polled {
    fn drop(&mut self) {
        // Also before the descriptor is closed: the socket has another one, so the kernel would go on reporting it.
        self.watch_for(Ready::NOTHING);
    }
}

impl Driver {
    /// Some of the sockets are ready.
    pub(super) fn read_and_write(&self, environment: &Environment) {
        let Some(hub) = self.hub() else { return };
        let sort = |events: &mut [Event]| self.put_ahead(events);
        self.begin_telling();
        hub.each_ready(sort, |event| {
            self.read_first(environment);
            self.flush_early(&environment.jobs);
            self.wake(environment, event);
        });
    }

    /// Puts those ahead that were read first in the turn before. The kernel keeps the place of a socket for as long as it
    /// finds it ready each time, but what it watches now began behind the others.
    fn put_ahead(&self, events: &mut [Event]) {
        let (turn, mut ahead) = self.ahead.take();
        if turn != self.turn.get() || ahead.is_empty() {
            return;
        }
        let tokens = ahead.iter().map(|&(id, serial)| token(id, serial));
        let places: HashMap<u64, usize> = tokens.zip(0..).collect();
        events.sort_by_cached_key(|event| {
            let place = places.get(&event.token).copied();
            place.unwrap_or(usize::MAX)
        });
        let ready: HashSet<u64> = events.iter().map(|event| event.token).collect();
        ahead.retain(|&(id, serial)| ready.contains(&token(id, serial)));
        self.ahead.replace((turn.wrapping_add(1), ahead));
    }

    /// Has connections that the kernel would not watch told so in the next turn of the loop.
    pub(super) fn find_refused(&self) {
        let Some(hub) = self.hub() else { return };
        for token in hub.take_refused() {
            let id = id_of(token);
            self.with_link(id, |link| {
                if matches!(&link.pump, Pump::Loop(polled) if polled.token == token) {
                    self.make_ready(id, link);
                }
            });
        }
    }

    /// A socket is ready.
    fn wake(&self, environment: &Environment, event: Event) {
        let id = id_of(event.token);
        let Event {
            ready,
            broken,
            hung_up,
            ..
        } = event;
        let found = self.with_link(id, |link| {
            let (serial, is_full) = (link.serial, link.is_full());
            let Pump::Loop(polled) = &mut link.pump else {
                return None;
            };
            // It may be another one by now, or not be watched for that any more.
            let watched = polled.watched;
            if polled.token != event.token || watched == Ready::NOTHING {
                return None;
            }
            if broken {
                // Reading and writing will tell why.
                polled.watch_for(Ready::NOTHING);
            }
            let (reads, writes) = (
                ready.read && (watched.read || broken),
                ready.write && (watched.write || broken),
            );
            let connection = &polled.connection;
            let unwanted = !broken
                && ((reads && (is_full || !connection.wants_to_read()))
                    || (writes && !connection.wants_to_write()));
            Some((serial, reads, writes, unwanted))
        });
        let Some(Some((serial, reads, writes, unwanted))) = found else {
            return;
        };
        // In this order: a peer that has closed may have sent something before.
        if reads {
            self.read(environment, id, serial, hung_up);
        }
        if writes {
            self.write(id, serial);
        }
        if self.is_current(id, serial) {
            self.tell_error(id, serial);
        }
        self.with_polled(id, |polled, is_full| {
            let connection = &polled.connection;
            let is_over = connection.has_ended() || connection.error().is_some();
            polled.watch(is_full, is_over || unwanted);
        });
    }

    /// Uses a connection, and is told whether JavaScript has input of it left.
    fn with_polled<T>(&self, id: usize, body: impl FnOnce(&mut Polled, bool) -> T) -> Option<T> {
        self.with_link(id, |link| {
            let is_full = link.is_full();
            match &mut link.pump {
                Pump::Loop(polled) => Some(body(polled, is_full)),
                Pump::Thread(_) => None,
            }
        })?
    }

    fn write(&self, id: usize, serial: u64) {
        if !self.is_current(id, serial) {
            return;
        }
        let progress = self.with_polled(id, |Polled { connection, .. }, _| {
            let before = connection.queued();
            if before == 0 || connection.error().is_some() {
                return None;
            }
            connection.drain();
            let queued = connection.queued();
            self.queued.set(id, queued as f64);
            (queued < before).then_some(queued)
        });
        if let Some(Some(queued)) = progress {
            self.dispatch(id, WRITABLE, i32::from(queued > 0));
        }
    }

    /// Reads what has come, as far as it is this connection's turn, and tells JavaScript. If the connection has `hung_up`
    /// and something came before, the end is told at once, a reset as if the peer had ended well, where Node's sockets have
    /// it so.
    pub(super) fn read(&self, environment: &Environment, id: usize, serial: u64, hung_up: bool) {
        let hung_up = hung_up && self.takes_hanging_up_for_end();
        let mut bytes = 0;
        for _ in 0..READS_PER_TURN {
            if bytes >= BYTES_PER_TURN || !self.is_current(id, serial) {
                return;
            }
            let is_apart = self.has_loan(id);
            let (outcome, is_all, is_aside) = if is_apart {
                (self.read_apart(environment, id, serial), false, false)
            } else {
                self.read_once(id)
            };
            match outcome {
                Read::Nothing => return,
                Read::End => {
                    self.tell_eof(id);
                    return;
                }
                Read::Failed => {
                    self.tell_error(id, serial);
                    return;
                }
                Read::Bytes(count) if is_apart => {
                    bytes += count;
                    // Less came than there was room for: there is no more now.
                    if self.has_loan(id) {
                        self.tell_hung_up(id, serial, hung_up);
                        return;
                    }
                }
                Read::Bytes(count) => {
                    bytes += count;
                    let ends = self.with_link(id, |link| {
                        // A stream of Node's that has read ahead enough does not look for the end.
                        link.hung_up = hung_up && is_all && !(is_aside && link.is_full());
                        link.hung_up
                    });
                    if !is_aside {
                        self.tell_input(environment, id, serial);
                        if self.is_current(id, serial) {
                            self.ask_for_memory(environment, id);
                        }
                    }
                    self.tell_hung_up(id, serial, ends == Some(true));
                    if is_all || is_aside {
                        return;
                    }
                }
            }
        }
    }

    /// Tells JavaScript that the peer has ended, and whether there is something unread.
    fn tell_eof(&self, id: usize) {
        let has_unread = self.with_link(id, |link| link.input.is_some());
        self.dispatch(id, EOF, i32::from(has_unread == Some(true)));
    }

    fn tell_hung_up(&self, id: usize, serial: u64, hung_up: bool) {
        if !hung_up || !self.is_current(id, serial) {
            return;
        }
        let is_wanted = self.with_link(id, |link| {
            link.with_connection(|connection| {
                let is_wanted = connection.wants_to_read();
                if is_wanted {
                    connection.end();
                }
                is_wanted
            })
        });
        if is_wanted.flatten() == Some(true) {
            self.tell_eof(id);
        }
    }

    /// Reads once, unless nothing is to be read now. Says whether that was all there is, and whether it was put aside:
    /// JavaScript comes to it by itself.
    fn read_once(&self, id: usize) -> (Read, bool, bool) {
        let mut scratch = self.scratch();
        // A listener that runs the loop within itself gets here while others are being told of what lies there.
        let (before, serial) = self.scratch_of.get();
        self.with_link(before, |link| {
            if let Some(input) = link.input.as_mut().filter(|_| link.serial == serial) {
                input.put_aside(&scratch);
            }
        });
        let read = self.with_link(id, |link| {
            let is_full = link.is_full() || link.is_told;
            let Pump::Loop(polled) = &mut link.pump else {
                return (Read::Nothing, true, false);
            };
            if is_full || !polled.connection.wants_to_read() {
                return (Read::Nothing, true, false);
            }
            let (outcome, is_all) = polled.read(&mut scratch);
            let Read::Bytes(count) = outcome else {
                return (outcome, is_all, false);
            };
            if link.discards {
                return (outcome, is_all, true);
            }
            let is_paused = polled.connection.paused;
            let is_aside = match &mut link.input {
                Some(input) => {
                    input.append(scratch.get(..count).unwrap_or_default(), !is_paused);
                    true
                }
                None => {
                    self.scratch_of.set((id, link.serial));
                    let input = link
                        .input
                        .insert(Box::new(Input::in_scratch(count, self.high_water)));
                    if is_paused {
                        input.wait();
                        input.put_aside(&scratch);
                    }
                    is_paused
                }
            };
            (outcome, is_all, is_aside)
        });
        read.unwrap_or((Read::Nothing, true, false))
    }
}
