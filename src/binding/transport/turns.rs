//! What happens once in each turn of Node's loop: flushing, and telling what no readiness announces.

use std::mem;
use std::rc::Rc;

use super::driver::Driver;
use super::link::{Link, Pump};
use crate::binding::environment::Environment;
use crate::reactor::uv::{self, Handle, Library, Turn};
use crate::reactor::{are_readable, Input};

/// A flush of fewer records is never put off, see [`Driver::puts_off_flush`]: it does not take long enough.
const MANY_RECORDS: usize = 64;
/// Nor is one with fewer records than this for each input that JavaScript was told of: those are answers to the senders,
/// not a broadcast.
const FAN_OUT: usize = 8;

/// The handles that are called in each turn of the loop.
pub struct Turns {
    idle: Handle<Turner>,
    // Held to be closed with the rest.
    _prepare: Handle<Turner>,
    _check: Handle<Turner>,
}

impl Turns {
    /// Hangs the handles into the loop.
    pub fn start(environment: &Rc<Environment>, library: &Rc<Library>) -> Self {
        let handle = |turn| {
            let owner = Turner {
                environment: Rc::clone(environment),
                turn,
            };
            Handle::turn(library, turn, owner)
        };
        let (idle, prepare, check) = (
            handle(Turn::Idle),
            handle(Turn::Prepare),
            handle(Turn::Check),
        );
        for (handle, turn) in [(&prepare, Turn::Prepare), (&check, Turn::Check)] {
            handle.keep_alive(false);
            handle.start(turn);
        }
        Self {
            idle,
            _prepare: prepare,
            _check: check,
        }
    }
}

/// The owner of these handles.
struct Turner {
    environment: Rc<Environment>,
    turn: Turn,
}

impl uv::Owner for Turner {
    fn wake(&self) {
        let Some(driver) = self.environment.transport.driver.get() else {
            return;
        };
        match self.turn {
            Turn::Idle => driver.tell_ready(&self.environment),
            Turn::Prepare => {
                if !driver.is_flush_put_off.get() {
                    driver.flush_widely(&self.environment.jobs);
                    driver.tell_broken();
                }
                driver.last_copy.borrow_mut().forget();
                driver.find_first();
                driver.find_refused();
                driver.keep_pace();
            }
            Turn::Check => {
                driver.note_look();
                driver.turn.set(driver.turn.get().wrapping_add(1));
                driver.begin_telling();
                driver.read_first(&self.environment);
                driver.watch_first();
                if !driver.puts_off_flush() {
                    driver.flush_widely(&self.environment.jobs);
                    driver.tell_broken();
                }
            }
        }
    }
}

impl Driver {
    /// Finds new connections that have something to read. The loop would report them behind all others that have become
    /// ready meanwhile, while the socket that each was made of keeps its place in the order; so they come first.
    fn find_first(&self) {
        if self.fresh.borrow().is_empty() {
            return;
        }
        let fresh = mem::take(&mut *self.fresh.borrow_mut());
        let links = self.links.borrow();
        let of_fresh = |&(id, serial): &(usize, u64)| match links.get(id) {
            Some(link) if link.serial == serial => match &link.pump {
                Pump::Loop(polled) => Some(((id, serial), polled.connection.socket())),
                Pump::Thread(_) => None,
            },
            _ => None,
        };
        let (polled, sockets): (Vec<_>, Vec<_>) = fresh.iter().filter_map(of_fresh).unzip();
        let are_ready = are_readable(&sockets);
        drop(links);
        for &(id, serial) in &fresh {
            let has_arrived = self.with_link(id, |link| match &link.pump {
                Pump::Thread(threaded) => link.serial == serial && threaded.has_arrived(),
                Pump::Loop(_) => false,
            });
            if has_arrived == Some(true) {
                self.first.borrow_mut().push((id, serial));
            }
        }
        for ((id, serial), is_ready) in polled.into_iter().zip(are_ready) {
            self.with_link(id, |link| {
                if let Pump::Loop(polled) = &mut link.pump {
                    polled.start(is_ready);
                }
            });
            if is_ready {
                self.first.borrow_mut().push((id, serial));
            }
        }
        if !self.first.borrow().is_empty() {
            // The loop does not wait now, for it watches less than it should.
            self.spin();
        }
    }

    /// Reads the connections that come first, in this turn of the loop.
    pub(super) fn read_first(&self, environment: &Environment) {
        if self.first.borrow().is_empty() {
            return;
        }
        let first = self.first.take();
        for (id, serial) in first {
            self.flush_early(&environment.jobs);
            let hung_up = self.with_link(id, |link| {
                link.with_connection(|connection| connection.has_hung_up())
            });
            let hung_up = hung_up.flatten() == Some(true);
            if self.pool().is_some() {
                self.pump(environment, id, serial, hung_up);
                continue;
            }
            self.read(environment, id, serial, hung_up);
            self.read_early.borrow_mut().push((id, serial));
        }
    }

    /// Watches the connections that came first.
    fn watch_first(&self) {
        if self.read_early.borrow().is_empty() {
            return;
        }
        let early = mem::take(&mut *self.read_early.borrow_mut());
        for &(id, serial) in &early {
            if self.is_current(id, serial) {
                self.with_link(id, |link| link.watch(false));
            }
        }
        self.ahead.replace((self.turn.get(), early));
    }

    /// Has a connection told in the next turn of the loop.
    pub(super) fn make_ready(&self, id: usize, link: &mut Link) {
        if !mem::replace(&mut link.is_ready, true) {
            self.ready.borrow_mut().push(id);
            self.spin();
        }
    }

    /// Tells the connections that were made ready.
    fn tell_ready(&self, environment: &Environment) {
        let ids = mem::take(&mut *self.ready.borrow_mut());
        self.begin_telling();
        for id in ids {
            self.flush_early(&environment.jobs);
            let found = self.with_link(id, |link| {
                let was_ready = mem::replace(&mut link.is_ready, false);
                link.is_due |= was_ready && link.is_told;
                (was_ready && !link.is_told).then_some(link.serial)
            });
            let Some(Some(serial)) = found else { continue };
            let pool = self.pool();
            if pool.is_none() && self.tell_error(id, serial) {
                continue;
            }
            let has_input = self.with_link(id, |link| {
                if link.is_busy {
                    return false;
                }
                if link.input.as_deref().is_some_and(Input::is_used_up) {
                    link.input = None;
                }
                let is_paused = link.with_connection(|connection| connection.paused);
                link.input.is_some() && is_paused == Some(false)
            });
            if has_input == Some(true) {
                self.tell_input(environment, id, serial);
            }
            match pool {
                Some(pool) => self.tell_news(environment, &pool, id, serial),
                None => self
                    .with_link(id, |link| link.watch(false))
                    .unwrap_or_default(),
            }
        }
        self.stop_spinning();
    }

    /// Has the loop not wait before its next turn.
    pub(super) fn spin(&self) {
        if let Some(turns) = &*self.turns.borrow() {
            turns.idle.start(Turn::Idle);
        }
    }

    /// Lets the loop wait again, if nothing is to be done.
    fn stop_spinning(&self) {
        let is_nobody_due = self.ready.borrow().is_empty() && self.first.borrow().is_empty();
        if is_nobody_due && !self.is_flush_put_off.get() {
            if let Some(turns) = &*self.turns.borrow() {
                turns.idle.stop(Turn::Idle);
            }
        }
    }

    /// Whether the flush is put off. Flushing a broadcast to many connections takes far longer than looking what else has
    /// arrived, and that may add to what is sent to the same connections. So it is put off once, by a turn of the loop that
    /// does not wait.
    fn puts_off_flush(&self) -> bool {
        let (records, told) = (self.records(), self.told.take());
        let is_fan_out = records >= MANY_RECORDS && records / FAN_OUT >= told;
        let waits = is_fan_out && !self.is_flush_put_off.get();
        self.is_flush_put_off.set(waits);
        if waits {
            self.spin();
        } else {
            self.stop_spinning();
        }
        waits
    }
}
