//! Memory that JavaScript lends for a large message, so that the socket is read straight into it.

use super::driver::Driver;
use super::fill::STOPPED;
use super::link::Pump;
use super::tell::LEND;
use crate::binding::environment::Environment;
use crate::binding::raw::{slice, Fault, Outcome};
use crate::binding::receive::USED_UP;
use crate::reactor::{Input, Item, Read};

/// Memory of JavaScript's for the message under way.
pub struct Lent {
    data: *mut u8,
    length: usize,
    filled: usize,
}

impl Lent {
    /// All of the memory.
    fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: JavaScript holds the Buffer for as long as its connection is open or until it is told that the
        // message is complete, which is when this structure goes. Until then nobody else has seen it, so nobody reads
        // it, writes to it or detaches it.
        unsafe { slice(self.data, self.length) }
    }

    /// The part that is filled.
    pub fn filled(&mut self) -> &[u8] {
        let filled = self.filled;
        self.bytes().get(..filled).unwrap_or_default()
    }
}

impl Driver {
    /// Asks JavaScript for memory, if the message under way is worth it.
    pub(super) fn ask_for_memory(&self, environment: &Environment, id: usize) {
        let wanted = self.with_link(id, |link| {
            if !link.is_described || link.input.is_some() {
                return None;
            }
            // The message would be read in other pieces than Node reads.
            if matches!(&link.pump, Pump::Loop(polled) if !polled.fills_reads()) {
                return None;
            }
            let receivers = environment.receivers.borrow();
            receivers.get(link.receiver)?.wants_memory()
        });
        if let Some(Some(size)) = wanted {
            if let Ok(size) = i32::try_from(size) {
                self.dispatch(id, LEND, size);
            }
        }
    }

    /// Takes memory for the message under way and moves there what has arrived of it.
    pub fn lend(
        &self,
        environment: &Environment,
        id: usize,
        (data, length): (*mut u8, usize),
    ) -> Outcome<()> {
        self.with_link(id, |link| {
            let mut receivers = environment.receivers.borrow_mut();
            let inbound = receivers
                .get_mut(link.receiver)
                .filter(|inbound| inbound.wants_memory() == Some(length))
                .ok_or(Fault::Type("no such memory is wanted"))?;
            let arrived = inbound.take_in_progress();
            let mut lent = Lent {
                data,
                length,
                filled: arrived.len(),
            };
            if let Some(target) = lent.bytes().get_mut(..arrived.len()) {
                target.copy_from_slice(&arrived);
            }
            link.lent = Some(Box::new(lent));
            Ok(())
        })
        .ok_or(Fault::Type("no such connection"))?
    }

    /// Ends the loan before the message is complete.
    pub fn end_loan(&self, environment: &Environment, id: usize) {
        self.with_link(id, |link| {
            let mut receivers = environment.receivers.borrow_mut();
            let inbound = receivers.get_mut(link.receiver);
            if let (Some(mut lent), Some(inbound)) = (link.lent.take(), inbound) {
                inbound.put_back(lent.filled());
            }
        });
    }

    /// Whether the message under way is read into memory of its own.
    pub(super) fn has_loan(&self, id: usize) -> bool {
        self.with_link(id, |link| link.lent.is_some()) == Some(true)
    }

    /// Reads once into the memory, and tells JavaScript when the message is complete or has failed, which ends the loan.
    pub(super) fn read_apart(&self, environment: &Environment, id: usize, serial: u64) -> Read {
        let outcome = self.with_link(id, |link| {
            let mut receivers = environment.receivers.borrow_mut();
            let inbound = receivers.get_mut(link.receiver)?;
            let is_full = link.is_full();
            let mut lent = link.lent.take()?;
            let (start, wanted) = (lent.filled, inbound.wanted_apart());
            let room = lent.bytes().get_mut(start..)?;
            let wanted = wanted.min(room.len());
            let room = room.get_mut(..wanted)?;
            let read = link.with_connection(|connection| {
                if is_full || !connection.wants_to_read() {
                    return Read::Nothing;
                }
                connection.read(room)
            });
            let read = read.unwrap_or(Read::Nothing);
            let Read::Bytes(count) = read else {
                link.lent = Some(lent);
                return Some((read, None));
            };
            let item = inbound.next_apart(room.get_mut(..count)?, start);
            lent.filled += count;
            if item.is_none() {
                link.lent = Some(lent);
            }
            Some((read, item))
        });
        let Some((read, item)) = outcome.flatten() else {
            return Read::Nothing;
        };
        if let Some(item) = item {
            self.tell_item(environment, id, serial, &item);
        }
        read
    }

    /// Tells JavaScript about an item that lies in no input.
    fn tell_item(&self, environment: &Environment, id: usize, serial: u64, item: &Item) {
        let inbox = &environment.inbox;
        let base = environment.first_free();
        environment.put(base, 0, item);
        inbox.set(STOPPED, USED_UP);
        let is_done = self.tell(environment, id, 1).is_done;
        if self.is_current(id, serial) && !is_done {
            self.with_link(id, |link| {
                link.is_busy = true;
                link.input = Some(Box::new(Input::nothing()));
            });
        }
    }
}
