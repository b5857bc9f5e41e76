//! Telling JavaScript what has happened to the connections.
//!
//! JavaScript is called from [`Driver::dispatch`] alone. It may call back into every entry point, so nothing is
//! borrowed while it runs, and a connection may be gone afterwards.

use std::mem;
use std::ptr;

use napi::sys;

use super::driver::Driver;
use super::flush::BROKEN;
use crate::binding::environment::Environment;
use crate::binding::raw::{report_exception, Reply};
use crate::reactor::Input;

// What `dispatch` tells JavaScript; mirrored in lib/.
const READ: i32 = 0;
pub(super) const WRITABLE: i32 = 1;
pub(super) const EOF: i32 = 2;
pub(super) const ERROR: i32 = 3;
pub(super) const WRITE_ERROR: i32 = 4;
pub(super) const LEND: i32 = 5;

/// In the place of a number of items: nothing is decoded yet.
const NOT_DESCRIBED: i32 = -1;
/// Where in the inbox JavaScript says that its receiver has not finished with what it was told.
const BUSY: usize = 4;
/// What it says there if the receiver was not told, for it has enough.
const KEPT: i32 = 2;

/// What has become of input that JavaScript was told of.
#[derive(Clone, Copy)]
pub(super) struct Told {
    /// Whether the receiver has finished with it.
    pub is_done: bool,
    /// Whether the receiver was not told, for it has enough; it may have finished with that since.
    is_kept: bool,
}

impl Driver {
    /// Tells JavaScript about the error that broke the connection, once. Returns whether it is broken.
    pub(super) fn tell_error(&self, id: usize, serial: u64) -> bool {
        let error = self.with_link(id, |link| {
            let (error, writing) = link
                .with_connection(|connection| (connection.error(), connection.broke_writing()))?;
            let error = error.filter(|_| link.serial == serial);
            error.map(|error| (error, writing, mem::replace(&mut link.told_error, true)))
        });
        if let Some(Some((error, writing, false))) = error {
            let event = if writing { WRITE_ERROR } else { ERROR };
            self.dispatch(id, event, error);
        }
        matches!(error, Some(Some(_)))
    }

    /// Tells JavaScript about the connections that the last flush found broken.
    pub(super) fn tell_broken(&self) {
        if self.broken.borrow().is_empty() {
            return;
        }
        self.control.set(BROKEN, 0);
        let broken = self.broken.take();
        for (id, serial) in broken {
            self.tell_error(id, serial);
        }
    }

    /// The same as [`Driver::tell_broken`] would tell, for JavaScript that has flushed and wants to know now: numbers
    /// and errors in turn.
    pub fn take_broken(&self) -> Vec<i32> {
        self.control.set(BROKEN, 0);
        let broken = self.broken.take();
        let mut told = Vec::new();
        for (id, serial) in broken {
            self.with_link(id, |link| {
                let error = link
                    .with_connection(|connection| connection.error())
                    .flatten();
                let is_new = link.serial == serial && !mem::replace(&mut link.told_error, true);
                if let (Some(error), true, Ok(id)) = (error, is_new, i32::try_from(id)) {
                    told.extend([id, error]);
                }
            });
        }
        told
    }

    /// Tells JavaScript that there is input, once for each chunk, and puts aside what it leaves.
    pub(super) fn tell_input(&self, environment: &Environment, id: usize, serial: u64) {
        loop {
            let is_described = self.with_link(id, |link| {
                link.resumed = false;
                if let Some(input) = &mut link.input {
                    input.next_chunk();
                }
                link.is_described
            });
            let mut count = NOT_DESCRIBED;
            if is_described == Some(true) {
                let base = environment.first_free();
                let items = self.fill(environment, id, base, false);
                count = items.unwrap_or(NOT_DESCRIBED);
            }
            let told = self.tell(environment, id, count);
            if !self.is_current(id, serial) || !self.goes_on(id, told) {
                return;
            }
        }
    }

    /// The same for JavaScript that tells its receiver by itself: goes on to the next chunk of what was put aside, and says
    /// whether there is one and it is to be told right now. `is_done`: one was told before, and whether the receiver has
    /// finished with it. This may happen in a tick that belongs to a dispatch, also to that of another connection, of which
    /// the inbox says whether its receiver is busy.
    pub fn flow(&self, id: usize, is_done: Option<bool>) -> bool {
        let told = is_done.map(|is_done| Told {
            is_done,
            is_kept: false,
        });
        if told.is_some_and(|told| !self.goes_on(id, told)) {
            // The order in which connections are watched again is that in which they are read.
            self.with_link(id, |link| link.watch(false));
            return false;
        }
        let is_wanted = self.with_link(id, |link| {
            let is_paused = link.with_connection(|connection| connection.paused);
            let input = link.input.as_deref_mut().filter(|input| input.is_aside());
            let input = input.filter(|it| !it.is_used_up() && is_paused == Some(false));
            // The dispatch under way takes care of what is left.
            let Some(input) = input.filter(|_| !link.is_busy && !link.is_told) else {
                return false;
            };
            input.next_chunk();
            link.resumed = false;
            true
        });
        let is_wanted = is_wanted == Some(true);
        self.told.set(self.told.get() + usize::from(is_wanted));
        is_wanted
    }

    /// Whether another chunk of the input is to be told right now. If not, what is left of it is put aside.
    fn goes_on(&self, id: usize, Told { is_done, is_kept }: Told) -> bool {
        let goes_on = self.with_input(id, |link, scratch| {
            link.is_busy = !is_done && !link.discards;
            let input = link.input.as_deref();
            if link.discards || (is_done && input.is_none_or(Input::is_used_up)) {
                link.input = None;
                return false;
            }
            let is_paused = link.with_connection(|connection| connection.paused);
            let input = link.input.get_or_insert_with(|| Box::new(Input::nothing()));
            if is_kept {
                input.wait();
            }
            if is_done && is_paused != Some(true) && input.is_between_chunks() {
                return true;
            }
            // JavaScript asks for more when it is done.
            input.put_aside(scratch);
            if !is_done && !is_kept && is_paused == Some(false) {
                input.receive();
            }
            if is_done && link.resumed {
                self.make_ready(id, link);
            }
            false
        });
        goes_on == Some(true)
    }

    /// Tells JavaScript of `count` items.
    pub(super) fn tell(&self, environment: &Environment, id: usize, count: i32) -> Told {
        environment.inbox.set(BUSY, 0);
        self.told.set(self.told.get() + 1);
        self.with_link(id, |link| {
            link.went_on = false;
            link.is_told = true;
        });
        self.dispatch(id, READ, count);
        let went_on = self.with_link(id, |link| {
            link.is_told = false;
            if mem::take(&mut link.is_due) {
                self.make_ready(id, link);
            }
            link.went_on
        });
        let answer = environment.inbox.get(BUSY);
        Told {
            // What takes a receiver no longer than a tick is over now.
            is_done: answer == Some(0) || went_on == Some(true),
            is_kept: answer == Some(KEPT),
        }
    }

    /// Calls JavaScript, and what it has left for the next tick. Nothing may be borrowed here.
    pub(super) fn dispatch(&self, id: usize, event: i32, detail: i32) {
        let (env, reference) = (self.env, self.callback.get());
        if reference.is_null() {
            return;
        }
        // Held here, for the connection may be gone before the callback has returned.
        let context = self.with_link(id, |link| link.context.clone()).flatten();
        let context_raw = context
            .as_ref()
            .map_or(ptr::null_mut(), |context| context.raw());
        let mut scope = ptr::null_mut();
        let mut callback = ptr::null_mut();
        let mut global = ptr::null_mut();
        // SAFETY: on the JavaScript thread, from a callback of the loop. The scope bounds all handles made here; the
        // reference is not deleted before JavaScript runs, and is not used after that. An exception goes to
        // `uncaughtException`, as from any callback.
        unsafe {
            if sys::napi_open_handle_scope(env, &mut scope) != sys::Status::napi_ok {
                return;
            }
            sys::napi_get_reference_value(env, reference, &mut callback);
            sys::napi_get_global(env, &mut global);
            let id = i32::try_from(id).unwrap_or(i32::MAX);
            let arguments = [id.reply(env), event.reply(env), detail.reply(env)];
            let status = sys::napi_make_callback(
                env,
                context_raw,
                global,
                callback,
                arguments.len(),
                arguments.as_ptr(),
                ptr::null_mut(),
            );
            report_exception(env, status);
            sys::napi_close_handle_scope(env, scope);
        }
    }
}
