//! Keeping pace with a loop that does not wait.
//!
//! When somebody wants the next turn of the loop at once (`setImmediate`), a turn takes microseconds, and the way through
//! an I/O thread takes tens of them. What has arrived a turn later would depend on which is faster. So while the loop does
//! not wait, and there are few connections, the JavaScript thread reads and writes them itself, each in the turn in which
//! the loop driver would. The threads have them back before the loop waits.

use std::cell::{Cell, RefCell};
use std::io;
use std::mem;

use slab::Slab;

use super::driver::Driver;
use super::link::{Link, Pump};
use super::polled::READS_PER_TURN;
use super::threaded::{Pool, Threaded};
use crate::binding::environment::Environment;
use crate::reactor::readiness::{Event, Readiness, Ready};
use crate::reactor::threads::Pumped;
use crate::reactor::{Input, CHUNK};

/// With more connections than this the threads have them, whatever the loop does: it is work that they are to take over.
const FEW: usize = 16;

/// Who reads and writes the connections that I/O threads have.
#[derive(Default)]
pub struct Pace {
    /// Whether the JavaScript thread does.
    is_kept: Cell<bool>,
    /// Connections to which it comes in this turn.
    due: RefCell<Vec<Due>>,
    /// Which of few connections are ready, once that was asked.
    readiness: RefCell<Option<Readiness>>,
    /// Memory for what is ready.
    events: RefCell<Vec<Event>>,
}

/// A connection that is to be read or written.
struct Due {
    id: usize,
    serial: u64,
    /// Whether nothing more will come or go.
    hung_up: bool,
}

impl Due {
    fn new(id: usize, link: &Link, hung_up: bool) -> Self {
        let serial = link.serial;
        Self {
            id,
            serial,
            hung_up,
        }
    }
}

impl Pace {
    /// Whether the JavaScript thread reads and writes now.
    pub fn is_kept(&self) -> bool {
        self.is_kept.get()
    }

    /// A connection leaves. Its socket has another descriptor, so the kernel would go on reporting it.
    pub fn leave(&self, threaded: &Threaded) {
        if let Some(readiness) = &*self.readiness.borrow() {
            // It is watched, so this cannot fail.
            let _ = watch(readiness, threaded, 0, Ready::NOTHING);
        }
    }

    /// Stops watching.
    fn forget(&self, links: &Slab<Link>) {
        if self.readiness.take().is_some() {
            for threaded in links.iter().filter_map(|(_, link)| of_thread(link)) {
                threaded.watched.set(Ready::NOTHING);
            }
        }
    }

    /// Those connections for which there is something to do, in the order in which that has come. Their threads came first to
    /// those that are `listed`.
    fn find_due(&self, links: &Slab<Link>, listed: &[(usize, u64)]) -> io::Result<Vec<Due>> {
        let mut readiness = self.readiness.borrow_mut();
        let readiness = match &mut *readiness {
            Some(readiness) => readiness,
            none => none.insert(Readiness::new()?),
        };
        let mut due: Vec<Due> = Vec::new();
        for (id, link) in links {
            let Some(threaded) = of_thread(link) else {
                continue;
            };
            let (wanted, has_news) = threaded.wants();
            watch(readiness, threaded, id, wanted)?;
            if has_news {
                // Its thread has come to it before this one.
                due.push(Due::new(id, link, false));
            }
        }
        due.sort_by_key(|due| {
            let place = listed.iter().position(|it| *it == (due.id, due.serial));
            place.unwrap_or(usize::MAX)
        });
        let mut events = self.events.borrow_mut();
        readiness.collect(&mut events)?;
        for Event { token, hung_up, .. } in events.drain(..) {
            let id = usize::try_from(token).unwrap_or(usize::MAX);
            match due.iter_mut().find(|due| due.id == id) {
                Some(due) => due.hung_up = hung_up,
                None => due.extend(links.get(id).map(|link| Due::new(id, link, hung_up))),
            }
        }
        Ok(due)
    }
}

fn of_thread(link: &Link) -> Option<&Threaded> {
    match &link.pump {
        Pump::Thread(threaded) => Some(threaded),
        Pump::Loop(_) => None,
    }
}

fn watch(readiness: &Readiness, threaded: &Threaded, id: usize, wanted: Ready) -> io::Result<()> {
    let watched = threaded.watched.get();
    if watched == wanted {
        return Ok(());
    }
    let changed = threaded.with(|it| readiness.change(it.socket(), id as u64, watched, wanted));
    changed.unwrap_or(Ok(()))?;
    threaded.watched.set(wanted);
    Ok(())
}

impl Driver {
    /// Finds, before the loop waits, who is to read and write in this turn, and what.
    pub(super) fn keep_pace(&self) {
        let Some(pool) = self.pool() else { return };
        let links = self.links.borrow();
        let (are_few, was_kept) = (links.len() <= FEW, self.pace.is_kept());
        let is_kept = are_few && self.does_not_wait();
        if !is_kept && !was_kept {
            if !are_few {
                self.pace.forget(&links);
            }
            return;
        }
        self.pace.is_kept.set(is_kept);
        // In this order: a thread sees what becomes ready after that, and what became ready before is found here.
        pool.step(is_kept);
        if is_kept && !was_kept {
            pool.settle_all();
        }
        let listed = match is_kept {
            true => pool.with_news(),
            false => Vec::new(),
        };
        let due = self.pace.find_due(&links, &listed).unwrap_or_else(|_| {
            // The kernel would not tell, so it is to be tried.
            let all = links.iter();
            all.map(|(id, link)| Due::new(id, link, false)).collect()
        });
        if due.is_empty() {
            return;
        }
        if is_kept {
            self.pace.due.replace(due);
            pool.ring();
            return;
        }
        for link in due.iter().filter_map(|due| links.get(due.id)) {
            if let Some(threaded) = of_thread(link) {
                pool.read(threaded);
            }
        }
    }

    /// Reads and writes what was found.
    pub(super) fn pump_due(&self, environment: &Environment) {
        let due = self.pace.due.take();
        for Due {
            id,
            serial,
            hung_up,
        } in due
        {
            self.flush_early(&environment.jobs);
            self.pump(environment, id, serial, hung_up);
        }
    }

    /// Reads and writes, on this thread, a connection that another one has, and tells JavaScript: as much as comes in one
    /// turn of the loop to a connection that no thread has.
    pub(super) fn pump(&self, environment: &Environment, id: usize, serial: u64, hung_up: bool) {
        let Some(pool) = self.pool() else { return };
        let turn = self.turn.get();
        let is_first = self.with_link(id, |link| {
            let was_pumped = mem::replace(&mut link.pumped_in, turn) == turn;
            link.serial == serial && link.heard_in != turn && !was_pumped
        });
        if is_first != Some(true) {
            return;
        }
        let (mut pumped, mut is_paused) = (Pumped::More, false);
        for _ in 0..READS_PER_TURN {
            let mut scratch = self.scratch();
            let room = scratch.get_mut(..CHUNK).unwrap_or_default();
            let outcome = self.with_link(id, |link| {
                let has_room = link.has_room() && !link.is_told;
                let threaded = of_thread(link).filter(|_| link.serial == serial)?;
                let outcome = pool.pump(threaded, has_room.then_some(room));
                Some((outcome, self.keep_ahead(&pool, link)))
            });
            drop(scratch);
            let Some(Some(outcome)) = outcome else {
                return;
            };
            self.tell_news(environment, &pool, id, serial);
            (pumped, is_paused) = outcome;
            if pumped != Pumped::More || is_paused {
                break;
            }
        }
        if hung_up && pumped == Pumped::All {
            self.end_with_what_was_read(id, serial, is_paused);
        }
    }

    /// What was read of a connection that is paused is a chunk of its own. Says whether it is paused.
    fn keep_ahead(&self, pool: &Pool, link: &mut Link) -> bool {
        let Some(threaded) = of_thread(link) else {
            return false;
        };
        let is_paused = threaded.with(|connection| connection.paused) == Some(true);
        // Behind what is used up nothing is put, for the receiver is busy: its thread keeps it until that is over.
        let is_used_up = link.input.as_deref().is_some_and(Input::is_used_up);
        if !is_paused || link.discards || is_used_up {
            return is_paused;
        }
        let reads = pool.take_ahead(threaded);
        match &mut link.input {
            _ if reads.is_empty() => {}
            Some(input) => input.append_each(&reads, false),
            none => *none = Some(Input::waiting(reads, self.high_water)),
        }
        is_paused
    }

    /// The peer is gone, so what was read is all that will come. A stream of Node's that is paused and has read ahead enough
    /// would not notice.
    fn end_with_what_was_read(&self, id: usize, serial: u64, is_paused: bool) {
        if !self.takes_hanging_up_for_end() || !self.is_current(id, serial) {
            return;
        }
        let has_ended = self.with_link(id, |link| {
            let threaded = of_thread(link).filter(|_| !is_paused || link.has_room());
            threaded.map(Threaded::end).is_some()
        });
        if has_ended == Some(true) {
            self.tell_end(id, serial);
        }
    }
}
