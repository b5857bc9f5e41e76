//! One connection, as the transport of an environment knows it.

use std::rc::Rc;

use super::context::Context;
use super::lent::Lent;
use super::polled::Polled;
use super::threaded::Threaded;
use crate::reactor::{Connection, Input};

/// The end of a chain of records.
pub const NONE: usize = usize::MAX;

/// Who reads and writes a connection.
pub enum Pump {
    /// The JavaScript thread, when Node's loop says that the socket is ready.
    Loop(Polled),
    /// An I/O thread.
    Thread(Threaded),
}

/// A connection and what JavaScript has to do with it.
pub struct Link {
    /// The connection, with what drives it.
    pub pump: Pump,
    /// What was read, while JavaScript has not got all of it. In a box, like the next field, because most connections are
    /// idle.
    pub input: Option<Box<Input>>,
    /// Memory that the message under way is read into.
    pub lent: Option<Box<Lent>>,
    /// The async context of its listeners.
    pub context: Option<Rc<Context>>,
    /// Whether input is described before JavaScript is told of it.
    pub is_described: bool,
    /// The number of the receiver that decodes for it.
    pub receiver: usize,
    /// Whether what it sends is to be masked.
    pub masked: bool,
    /// Tells it from others that had the same number.
    pub serial: u64,
    /// Whether it waits in `Driver::ready`.
    pub is_ready: bool,
    /// Whether nothing comes behind what was read, although the peer has not ended but reset the connection.
    pub hung_up: bool,
    /// Whether nothing is read ahead while JavaScript does not want to read, not even a little.
    pub stopped: bool,
    /// The receiver has not finished with what it was told, so it is told no more for now: its bytes may still lie where
    /// the next ones would go.
    pub is_busy: bool,
    /// When it was paused: after how many of `Driver::looks`.
    pub paused_after: u32,
    /// In which turn of the loop JavaScript was told what the thread has read last.
    pub heard_in: u32,
    /// In which turn of the loop the JavaScript thread has read it last, in the place of its thread.
    pub pumped_in: u32,
    /// JavaScript is being told of input right now, or ticks and microtasks that belong to that call are still running.
    pub is_told: bool,
    /// Its turn came meanwhile, because a listener runs the loop within itself.
    pub is_due: bool,
    /// Nobody wants what is read.
    pub discards: bool,
    /// The receiver has finished with what it was told last, but only after its call had returned; perhaps in the same tick.
    pub went_on: bool,
    /// JavaScript asked for more since it was told last.
    pub resumed: bool,
    /// Whether JavaScript knows that the connection is broken.
    pub told_error: bool,
    /// Its first and last record in the flush under way.
    pub records: (usize, usize),
}

impl Link {
    /// A connection that JavaScript has not been told anything of.
    pub fn new(pump: Pump, receiver: usize, masked: bool, serial: u64) -> Self {
        Self {
            pump,
            input: None,
            lent: None,
            context: None,
            is_described: false,
            receiver,
            masked,
            serial,
            is_ready: false,
            hung_up: false,
            stopped: false,
            is_busy: false,
            paused_after: 0,
            heard_in: u32::MAX,
            pumped_in: u32::MAX,
            is_told: false,
            is_due: false,
            discards: false,
            went_on: false,
            resumed: false,
            told_error: false,
            records: (NONE, NONE),
        }
    }

    /// Whether nothing is read ahead while the connection is paused.
    pub fn stop(&mut self, stops: bool) {
        if self.stopped == stops {
            return;
        }
        self.stopped = stops;
        if let Pump::Thread(threaded) = &self.pump {
            threaded.stop(stops);
        }
    }

    /// Uses the connection itself, if it is not closed.
    pub fn with_connection<T>(&mut self, body: impl FnOnce(&mut Connection) -> T) -> Option<T> {
        match &mut self.pump {
            Pump::Loop(polled) => Some(body(&mut polled.connection)),
            Pump::Thread(threaded) => threaded.with(body),
        }
    }

    /// How many bytes were read and written so far.
    pub fn counters(&self) -> (u64, u64) {
        match &self.pump {
            Pump::Loop(polled) => polled.connection.counters(),
            Pump::Thread(threaded) => threaded.counters(),
        }
    }

    /// Whether JavaScript has left so much input that no more is read. While it does not want to read at all, a little
    /// is read ahead, as a stream of Node's does.
    pub fn is_full(&self) -> bool {
        let paused = match &self.pump {
            Pump::Loop(polled) => polled.connection.paused,
            Pump::Thread(_) => false,
        };
        !self.has_room() || (paused && (self.stopped || self.lent.is_some()))
    }

    /// Whether more may be read: JavaScript has nothing left, or only a little.
    pub fn has_room(&self) -> bool {
        self.input.as_deref().is_none_or(Input::has_room)
    }

    /// Has the loop watch for what the connection waits for; see [`Polled::watch`]. A thread sees to that itself.
    pub fn watch(&mut self, eager: bool) {
        let is_full = self.is_full();
        if let Pump::Loop(polled) = &mut self.pump {
            polled.watch(is_full, eager);
        }
    }
}
