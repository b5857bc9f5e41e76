//! The loop driver: Node's libuv loop says when a socket is ready, and everything happens on the JavaScript thread.
//!
//! JavaScript is called from [`Driver::dispatch`] alone. It may call back into every entry point, so nothing is
//! borrowed while it runs, and a connection may be gone afterwards.

use std::cell::{Cell, RefCell};
use std::ffi::c_int;
use std::io::IoSlice;
use std::mem;
use std::ops::Range;
use std::ptr;
use std::rc::Rc;

use napi::sys;
use slab::Slab;

use super::link::{Link, Watcher, NONE};
use super::shared::Shared;
use crate::binding::environment::Environment;
use crate::binding::raw::Reply;
use crate::protocol::mask_frames;
use crate::reactor::uv::{self, Handle, Library, Turn};
use crate::reactor::{Connection, Input, Read};

// What `dispatch` tells JavaScript; mirrored in lib/.
const READ: i32 = 0;
const WRITABLE: i32 = 1;
const EOF: i32 = 2;
const ERROR: i32 = 3;

/// The memory that all connections are read into.
const SCRATCH: usize = 256 * 1024;
/// Reads of one connection before the others have their turn.
const READS_PER_TURN: usize = 3;

/// Where in the control array the records begin, and how many numbers each has.
const FIRST_RECORD: usize = 4;
const RECORD: usize = 3;

/// The handles that are called in each turn of the loop.
struct Turns {
    idle: Handle<Turner>,
    // Held to be closed with the rest.
    _prepare: Handle<Turner>,
    _check: Handle<Turner>,
}

/// The state of the transport in one environment.
pub struct Driver {
    env: sys::napi_env,
    callback: sys::napi_ref,
    slab: Shared<u8>,
    control: Shared<i32>,
    /// For each connection the bytes that wait here.
    pub queued: Shared<f64>,
    links: RefCell<Slab<Link>>,
    serial: Cell<u64>,
    /// Connections with something to tell that no readiness announces.
    ready: RefCell<Vec<usize>>,
    scratch: RefCell<Vec<u8>>,
    /// For each record of a flush the next one of the same connection.
    next_record: RefCell<Vec<usize>>,
    dirty: RefCell<Vec<usize>>,
    turns: RefCell<Option<Turns>>,
    library: RefCell<Option<Rc<Library>>>,
}

/// The owner of the other handles.
struct Turner {
    environment: Rc<Environment>,
    turn: Turn,
}

impl uv::Owner for Turner {
    fn wake(&self, _status: c_int, _events: c_int) {
        let Some(driver) = self.environment.transport.driver.get() else {
            return;
        };
        match self.turn {
            Turn::Idle => driver.tell_ready(),
            Turn::Prepare | Turn::Check => driver.flush(),
        }
    }
}

impl Driver {
    /// The transport of `environment`, without handles yet.
    pub fn new(
        env: sys::napi_env,
        callback: sys::napi_ref,
        slab: Shared<u8>,
        control: Shared<i32>,
        queued: Shared<f64>,
    ) -> Self {
        Self {
            env,
            callback,
            slab,
            control,
            queued,
            links: RefCell::default(),
            serial: Cell::new(0),
            ready: RefCell::default(),
            scratch: RefCell::default(),
            next_record: RefCell::default(),
            dirty: RefCell::default(),
            turns: RefCell::new(None),
            library: RefCell::new(None),
        }
    }

    /// Hangs the driver into the loop.
    pub fn start(&self, environment: &Rc<Environment>, library: Rc<Library>) {
        let handle = |turn| {
            let owner = Turner {
                environment: Rc::clone(environment),
                turn,
            };
            Handle::turn(&library, turn, owner)
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
        self.turns.replace(Some(Turns {
            idle,
            _prepare: prepare,
            _check: check,
        }));
        self.library.replace(Some(library));
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
        for (_, mut link) in links {
            link.connection.drain();
        }
        self.turns.take();
        self.library.take();
    }

    /// Adds a connection.
    pub fn open(
        &self,
        environment: &Rc<Environment>,
        connection: Connection,
        receiver: usize,
        masked: bool,
    ) -> std::io::Result<usize> {
        let library = self.library.borrow();
        let library = library.as_ref().ok_or(std::io::ErrorKind::NotConnected)?;
        let serial = self.serial.get() + 1;
        self.serial.set(serial);
        let mut links = self.links.borrow_mut();
        let entry = links.vacant_entry();
        let id = entry.key();
        let owner = Watcher {
            environment: Rc::clone(environment),
            id,
            serial,
        };
        entry.insert(Link::open(library, owner, connection, receiver, masked)?);
        self.queued.set(id, 0.0);
        Ok(id)
    }

    /// Removes a connection; its descriptor is closed when the result is dropped.
    pub fn close(&self, id: usize) -> Option<Link> {
        self.flush();
        let link = self.links.borrow_mut().try_remove(id);
        self.queued.set(id, 0.0);
        link
    }

    /// Lets `body` work on a connection. It must not call JavaScript.
    pub fn take_unsent(&self, id: usize) -> Option<Vec<u8>> {
        self.flush();
        let bytes = self.with_link(id, |link| {
            let bytes = link.connection.take_unsent();
            link.watch(true);
            bytes
        })?;
        self.queued.set(id, 0.0);
        Some(bytes)
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

    /// Stops reading.
    pub fn pause(&self, id: usize) {
        self.with_link(id, |link| {
            link.connection.paused = true;
            link.resumed = false;
        });
    }

    /// Starts reading again, with what is left of the last input first.
    pub fn resume(&self, id: usize) {
        self.with_link(id, |link| {
            link.connection.paused = false;
            link.resumed = true;
            match &link.connection.input {
                // The dispatch under way takes care of it.
                Some(input) if !input.is_aside() => {}
                Some(_) => self.make_ready(id, link),
                None => link.watch(false),
            }
        });
    }

    /// Sends two pieces at once, after what was recorded before.
    pub fn send_now(&self, id: usize, head: &[u8], payload: &[u8]) {
        self.flush();
        self.with_link(id, |link| {
            link.connection
                .send(&[IoSlice::new(head), IoSlice::new(payload)]);
            self.after_sending(id, link);
        });
    }

    /// Hands everything that JavaScript has recorded over to the kernel, one system call for each connection.
    pub fn flush(&self) {
        let count = self
            .control
            .get(0)
            .and_then(|count| usize::try_from(count).ok())
            .unwrap_or(0);
        if count == 0 {
            return;
        }
        let room = self.control.length().saturating_sub(FIRST_RECORD) / RECORD;
        let count = count.min(room);
        let mut links = self.links.borrow_mut();
        // SAFETY: no JavaScript runs before this function returns, and it makes no other slice.
        let slab = unsafe { self.slab.bytes() };
        let mut dirty = self.dirty.borrow_mut();
        self.chain_records(count, slab, &mut links, &mut dirty);

        let slab: &[u8] = slab;
        let next = self.next_record.borrow();
        let mut pieces: Vec<IoSlice> = Vec::new();
        for id in dirty.drain(..) {
            let Some(link) = links.get_mut(id) else {
                continue;
            };
            pieces.clear();
            let mut record = link.records.0;
            let mut open = 0..0;
            while record != NONE {
                let (_, range) = self.record(record);
                record = next.get(record).copied().unwrap_or(NONE);
                // Neighbours in the slab go as one piece.
                if range.start == open.end {
                    open.end = range.end;
                } else {
                    add_piece(&mut pieces, slab, mem::replace(&mut open, range));
                }
            }
            add_piece(&mut pieces, slab, open);
            link.records = (NONE, NONE);
            link.connection.send(&pieces);
            self.after_sending(id, link);
        }
        self.control.set(0, 0);
    }

    fn record(&self, index: usize) -> (usize, Range<usize>) {
        let at = FIRST_RECORD + index * RECORD;
        let number = |offset| {
            self.control
                .get(at + offset)
                .and_then(|n| usize::try_from(n).ok())
                .unwrap_or(0)
        };
        (number(0), number(1)..number(2))
    }

    /// Links the records of each connection, in order, and masks those of clients.
    fn chain_records(
        &self,
        count: usize,
        slab: &mut [u8],
        links: &mut Slab<Link>,
        dirty: &mut Vec<usize>,
    ) {
        let mut next = self.next_record.borrow_mut();
        next.clear();
        next.resize(count, NONE);
        for index in 0..count {
            let (id, range) = self.record(index);
            let Some(link) = links.get_mut(id) else {
                continue;
            };
            if link.masked {
                let is_whole = slab.get_mut(range).map(mask_frames) == Some(Ok(()));
                if !is_whole {
                    link.connection
                        .fail(&std::io::Error::from_raw_os_error(libc::EPROTO));
                }
            }
            match link.records {
                (NONE, _) => {
                    link.records.0 = index;
                    dirty.push(id);
                }
                (_, last) => next[last] = index,
            }
            link.records.1 = index;
        }
    }

    /// Sees to what sending has left: bytes that wait, or an error.
    fn after_sending(&self, id: usize, link: &mut Link) {
        let queued = link.connection.queued();
        if queued > 0 {
            self.queued.set(id, queued as f64);
            link.watch(false);
        }
        if link.connection.error().is_some() && !link.told_error {
            self.make_ready(id, link);
        }
    }

    /// Has a connection told in the next turn of the loop.
    fn make_ready(&self, id: usize, link: &mut Link) {
        if !mem::replace(&mut link.is_ready, true) {
            self.ready.borrow_mut().push(id);
            if let Some(turns) = &*self.turns.borrow() {
                turns.idle.start(Turn::Idle);
            }
        }
    }

    fn is_current(&self, id: usize, serial: u64) -> bool {
        self.links
            .borrow()
            .get(id)
            .is_some_and(|link| link.serial == serial)
    }

    /// Tells the connections that were made ready.
    fn tell_ready(&self) {
        let ids = mem::take(&mut *self.ready.borrow_mut());
        for id in ids {
            let found = self.with_link(id, |link| {
                let was_ready = mem::replace(&mut link.is_ready, false);
                was_ready.then_some(link.serial)
            });
            let Some(Some(serial)) = found else { continue };
            if self.tell_error(id, serial) {
                continue;
            }
            let has_input = self.with_link(id, |link| {
                let connection = &mut link.connection;
                if connection.input.as_ref().is_some_and(Input::is_used_up) {
                    connection.input = None;
                }
                connection.input.is_some() && !connection.paused
            });
            if has_input == Some(true) {
                self.tell_input(id, serial);
            }
            self.with_link(id, |link| link.watch(false));
        }
        if self.ready.borrow().is_empty() {
            if let Some(turns) = &*self.turns.borrow() {
                turns.idle.stop(Turn::Idle);
            }
        }
    }

    /// Tells JavaScript about the error that broke the connection, once. Returns whether it is broken.
    fn tell_error(&self, id: usize, serial: u64) -> bool {
        let error = self.with_link(id, |link| {
            let error = link.connection.error().filter(|_| link.serial == serial);
            error.map(|error| (error, mem::replace(&mut link.told_error, true)))
        });
        if let Some(Some((error, false))) = error {
            self.dispatch(id, ERROR, f64::from(error));
        }
        matches!(error, Some(Some(_)))
    }

    /// A socket is ready.
    pub fn wake(&self, watcher: &Watcher, status: c_int, events: c_int) {
        let (id, serial) = (watcher.id, watcher.serial);
        let unwanted = self.with_link(id, |link| {
            if status < 0 {
                // libuv has stopped the handle; reading and writing will tell why.
                link.watched = 0;
            }
            let connection = &link.connection;
            (events & uv::READABLE != 0 && !connection.wants_to_read())
                || (events & uv::WRITABLE != 0 && !connection.wants_to_write())
        });
        // In this order: a peer that has closed may have sent something before.
        if events & uv::READABLE != 0 || status < 0 {
            self.read(id, serial);
        }
        if events & uv::WRITABLE != 0 || status < 0 {
            self.write(id, serial);
        }
        if self.is_current(id, serial) {
            self.tell_error(id, serial);
        }
        self.with_link(id, |link| {
            let connection = &link.connection;
            let is_over = connection.has_ended() || connection.error().is_some();
            link.watch(is_over || unwanted == Some(true));
        });
    }

    fn write(&self, id: usize, serial: u64) {
        let progress = self.with_link(id, |link| {
            let before = link.connection.queued();
            if link.serial != serial || before == 0 || link.connection.error().is_some() {
                return None;
            }
            link.connection.drain();
            let queued = link.connection.queued();
            self.queued.set(id, queued as f64);
            (queued < before).then_some(queued)
        });
        if let Some(Some(queued)) = progress {
            self.dispatch(id, WRITABLE, queued as f64);
        }
    }

    fn read(&self, id: usize, serial: u64) {
        for _ in 0..READS_PER_TURN {
            if !self.is_current(id, serial) {
                return;
            }
            match self.read_once(id) {
                None | Some(Read::Nothing) => return,
                Some(Read::End) => {
                    self.dispatch(id, EOF, 0.0);
                    return;
                }
                Some(Read::Failed) => {
                    self.tell_error(id, serial);
                    return;
                }
                Some(Read::Bytes(count)) => {
                    self.tell_input(id, serial);
                    if count < SCRATCH {
                        return;
                    }
                }
            }
        }
    }

    /// Reads once, and says whether what was read is dropped.
    fn read_once(&self, id: usize) -> Option<Read> {
        let mut scratch = self.scratch.borrow_mut();
        if scratch.is_empty() {
            scratch.resize(SCRATCH, 0);
        }
        self.with_link(id, |link| {
            let connection = &mut link.connection;
            if !connection.wants_to_read() {
                return None;
            }
            let outcome = connection.read(&mut scratch);
            if let Read::Bytes(count) = outcome {
                connection.input = Some(Input::in_scratch(count));
            }
            Some(outcome)
        })?
    }

    /// Tells JavaScript that there is input, and puts aside what it leaves.
    fn tell_input(&self, id: usize, serial: u64) {
        self.with_link(id, |link| link.resumed = false);
        let completed = self.dispatch(id, READ, 0.0);
        if !self.is_current(id, serial) {
            return;
        }
        self.with_input(id, |link, scratch| {
            let Some(input) = &mut link.connection.input else {
                return;
            };
            if !completed {
                // A listener has thrown. What it left is told again, in the next turn of the loop; until then
                // descriptors that JavaScript still has remain valid.
                input.put_aside(scratch, true);
                self.make_ready(id, link);
            } else if input.is_used_up() {
                link.connection.input = None;
            } else {
                input.put_aside(scratch, false);
                if link.resumed {
                    self.make_ready(id, link);
                }
            }
        });
    }

    /// Calls JavaScript. Returns whether it returned normally. Nothing may be borrowed here.
    fn dispatch(&self, id: usize, event: i32, detail: f64) -> bool {
        let env = self.env;
        let mut scope = ptr::null_mut();
        let mut callback = ptr::null_mut();
        let mut global = ptr::null_mut();
        // SAFETY: on the JavaScript thread, from a callback of the loop. The scope bounds all handles made here; the
        // reference lives as long as the environment. An exception goes to `uncaughtException`, as from any callback.
        unsafe {
            if sys::napi_open_handle_scope(env, &mut scope) != sys::Status::napi_ok {
                return true;
            }
            sys::napi_get_reference_value(env, self.callback, &mut callback);
            sys::napi_get_global(env, &mut global);
            let id = i32::try_from(id).unwrap_or(i32::MAX);
            let arguments = [id.reply(env), event.reply(env), detail.reply(env)];
            let status = sys::napi_make_callback(
                env,
                ptr::null_mut(),
                global,
                callback,
                arguments.len(),
                arguments.as_ptr(),
                ptr::null_mut(),
            );
            let has_thrown = status == sys::Status::napi_pending_exception;
            if has_thrown {
                let mut error = ptr::null_mut();
                if sys::napi_get_and_clear_last_exception(env, &mut error) == sys::Status::napi_ok {
                    sys::napi_fatal_exception(env, error);
                }
            }
            sys::napi_close_handle_scope(env, scope);
            !has_thrown
        }
    }
}

fn add_piece<'a>(pieces: &mut Vec<IoSlice<'a>>, slab: &'a [u8], range: Range<usize>) {
    match slab.get(range) {
        Some(bytes) if !bytes.is_empty() => pieces.push(IoSlice::new(bytes)),
        _ => {}
    }
}
