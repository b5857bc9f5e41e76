//! The way in: what was read becomes descriptors in the inbox.

use super::driver::Driver;
use crate::binding::environment::Environment;
use crate::binding::raw::{Fault, Outcome};
use crate::binding::receive::{MORE, USED_UP, WAITING};
use crate::reactor::{Inbound, Input, Item, Step};

/// Where in the inbox decoding says how it stopped.
pub(super) const STOPPED: usize = 1;
/// Where it says whether JavaScript must bring a new arena before it asks for more.
const ARENA_USED: usize = 3;

impl Driver {
    /// Decodes what was read from a connection and writes descriptors into the inbox at `base`, as `decode` does. Small
    /// payloads are copied into the arena. Returns how many items there are; with `single`, one at most.
    pub fn fill(
        &self,
        environment: &Environment,
        id: usize,
        base: usize,
        single: bool,
    ) -> Outcome<i32> {
        environment.check_room(base)?;
        self.arena.look(environment.env);
        let mut receivers = environment.receivers.borrow_mut();
        self.with_input(id, |link, scratch| {
            let inbound = receivers
                .get_mut(link.receiver)
                .ok_or(Fault::Type("no such receiver"))?;
            let count = match &mut link.input {
                Some(input) => {
                    inbound.lend(&mut environment.spare.borrow_mut());
                    let count = self.decode(environment, inbound, input, scratch, base, single);
                    inbound.give_back(&mut environment.spare.borrow_mut());
                    count
                }
                None => {
                    environment.inbox.set(STOPPED, USED_UP);
                    0
                }
            };
            let is_held = link.input.as_deref().is_some_and(Input::is_holding);
            let needs_arena = is_held || self.arena.is_used_up();
            environment.inbox.set(ARENA_USED, i32::from(needs_arena));
            Ok(count)
        })
        .ok_or(Fault::Type("no such connection"))?
    }

    /// Decodes `input` until it is used up, the inbox or the arena is full, one item was found (`single`), or nothing
    /// more can be told before JavaScript acted.
    fn decode(
        &self,
        environment: &Environment,
        inbound: &mut Inbound,
        input: &mut Input,
        scratch: &mut [u8],
        base: usize,
        single: bool,
    ) -> i32 {
        let inbox = &environment.inbox;
        let room = environment.room(base, single);
        let mut count = 0;
        let stopped = loop {
            if count >= room {
                break if inbound.is_waiting() && !input.is_holding() {
                    WAITING
                } else {
                    MORE
                };
            }
            let item = match input.next(inbound, scratch) {
                Step::Item(item) => item,
                Step::Turned if count > 0 => break MORE,
                Step::Turned => continue,
                Step::UsedUp => break USED_UP,
                Step::Waiting => break WAITING,
            };
            let Some(span) = self.arena.place(&item, input.bytes(scratch)) else {
                input.hold(item);
                break MORE;
            };
            environment.put_at(base, count, &item, span);
            count += 1;
            match item {
                Item::Failed { .. } => break MORE,
                Item::Close(..) => break USED_UP,
                _ => {}
            }
        };
        inbox.set(STOPPED, stopped);
        i32::try_from(count).unwrap_or(i32::MAX)
    }
}
