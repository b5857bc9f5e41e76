//! The way out: what JavaScript has recorded in the control array is gathered by connection and handed over.

use std::io::IoSlice;
use std::mem;
use std::ops::Range;
use std::time::{Duration, Instant};

use slab::Slab;

use super::driver::Driver;
use super::link::{Link, Pump, NONE};
use super::threaded::Pool;
use crate::binding::jobs::Jobs;
use crate::protocol::mask_frames;
use crate::reactor::fan_out::{send_all, Share};

/// Where in the control array stands how many connections were found broken.
pub(super) const BROKEN: usize = 1;

/// Where in the control array stands whether somebody waits for any of the records.
const URGENT: usize = 2;
/// Where in the control array the records begin, and how many numbers each has.
const FIRST_RECORD: usize = 4;
const RECORD: usize = 4;

/// From this many connections on, the system calls of a flush take so long that it is worth looking for others.
const MANY_CONNECTIONS: usize = 256;

/// Listeners may take their time, and JavaScript is told of one connection after the other. What it sends meanwhile waits no
/// longer than this, and the listener that is running.
const LONG: Duration = Duration::from_millis(5);

/// See [`Driver::has_large_answers`].
const MUCH: usize = 64 * 1024;
const LARGE: usize = 4 * 1024;

impl Driver {
    /// Sends two pieces at once, after what was recorded before.
    pub fn send_now(&self, id: usize, head: &[u8], payload: &[u8]) {
        self.flush();
        self.with_link(id, |link| {
            self.send_pieces(id, link, &[IoSlice::new(head), IoSlice::new(payload)]);
        });
    }

    /// Hands everything that JavaScript has recorded over to the kernel, one system call for each connection.
    pub fn flush(&self) {
        self.flush_with(None);
    }

    /// As [`Driver::flush`]. If it concerns many connections, threads of the runtime help if processors are free.
    pub fn flush_widely(&self, jobs: &Jobs) {
        self.flush_with(Some(jobs));
    }

    fn flush_with(&self, jobs: Option<&Jobs>) {
        let count = self.records();
        if count == 0 {
            return;
        }
        // Whatever happens here, nothing is sent twice.
        self.control.set(0, 0);
        let is_urgent = self.control.get(URGENT) != Some(0);
        self.control.set(URGENT, 0);
        let mut links = self.links.borrow_mut();
        // SAFETY: no JavaScript runs before this function returns, and it makes no other slice. The threads that help get
        // parts of this one, and are done before that.
        let slab = unsafe { self.slab.bytes() };
        let mut dirty = self.dirty.borrow_mut();
        let pool = self.pool();
        if pool.is_some() {
            self.find_urgent(count, is_urgent, &mut links);
        }
        self.sort_records(count, slab, &mut links, &mut dirty, pool.as_deref());

        let slab: &[u8] = slab;
        match jobs.filter(|_| pool.is_none() && dirty.len() >= MANY_CONNECTIONS) {
            Some(jobs) => {
                self.send_shared(slab, &mut links, jobs);
                for &id in dirty.iter() {
                    if let Some(link) = links.get_mut(id) {
                        self.after_sending(id, link);
                    }
                }
            }
            None => {
                let mut pieces = Vec::new();
                for &id in dirty.iter() {
                    if let Some(link) = links.get_mut(id) {
                        pieces.clear();
                        self.gather(link, slab, &mut pieces);
                        self.send_pieces(id, link, &pieces);
                    }
                }
            }
        }
        dirty.clear();
        // Not before: what was sent here would have to wait for it.
        if let Some(pool) = pool {
            pool.release_batches();
        }
    }

    /// JavaScript is going to be told of some connections.
    pub(super) fn begin_telling(&self) {
        self.telling_since.set(Instant::now());
    }

    /// Before the next of them: hands over what is recorded if that must not wait for the end of the turn.
    pub(super) fn flush_early(&self, jobs: &Jobs) {
        if self.records() == 0 {
            return;
        }
        let now = Instant::now();
        let is_late = now.duration_since(self.telling_since.get()) >= LONG;
        let is_large = || self.pool().is_none() && self.has_large_answers();
        if is_late || is_large() {
            self.telling_since.set(now);
            self.flush_widely(jobs);
        }
    }

    /// Adds what a connection is to send to `pieces`.
    fn gather<'a>(&self, link: &mut Link, slab: &'a [u8], pieces: &mut Vec<IoSlice<'a>>) {
        let next = self.next_record.borrow();
        let mut record = link.records.0;
        let mut open = 0..0;
        while record != NONE {
            let (_, range) = self.record(record);
            record = next.get(record).copied().unwrap_or(NONE);
            // Neighbours in the slab go as one piece.
            if range.start == open.end {
                open.end = range.end;
            } else {
                add_piece(pieces, slab, mem::replace(&mut open, range));
            }
        }
        add_piece(pieces, slab, open);
        link.records = (NONE, NONE);
    }

    /// Sends what is recorded, together with threads of the runtime if processors are free.
    fn send_shared(&self, slab: &[u8], links: &mut Slab<Link>, jobs: &Jobs) {
        let mut pieces = Vec::with_capacity(links.len());
        let mut parts = Vec::new();
        let links = links.iter_mut().map(|(_, link)| link);
        for link in links.filter(|link| link.records.0 != NONE) {
            let start = pieces.len();
            self.gather(link, slab, &mut pieces);
            if let Pump::Loop(polled) = &mut link.pump {
                parts.push((&mut polled.connection, start..pieces.len()));
            }
        }
        let shares = parts.into_iter().map(|(connection, range)| Share {
            connection,
            pieces: pieces.get(range).unwrap_or_default(),
        });
        let are_free = self.helpers > 0 && self.processors.borrow_mut().are_free();
        let runtime = are_free.then(|| jobs.runtime()).flatten();
        let helpers = runtime.as_ref().map_or(0, |_| self.helpers);
        send_all(shares.collect(), helpers, |help| {
            if let Some(runtime) = &runtime {
                runtime.spawn(async move { help() });
            }
        });
    }

    fn send_pieces(&self, id: usize, link: &mut Link, pieces: &[IoSlice]) {
        match (&mut link.pump, self.pool()) {
            (Pump::Thread(threaded), Some(pool)) => {
                threaded.is_urgent = false;
                self.send_on_thread(&pool, threaded, pieces);
            }
            _ => {
                let last_copy = &mut self.last_copy.borrow_mut();
                link.with_connection(|connection| connection.send_sharing(pieces, last_copy));
            }
        }
        self.after_sending(id, link);
    }

    /// How many records there are.
    pub(super) fn records(&self) -> usize {
        let count = self.control.get(0).unwrap_or(0);
        let room = self.control.length().saturating_sub(FIRST_RECORD) / RECORD;
        usize::try_from(count).map_or(0, |count| count.min(room))
    }

    /// Whether what is recorded is so large, all together and for each connection, that flushing must not wait for the end of
    /// the turn: the caches would not hold it until then, and there is nothing to be gained by gathering more.
    fn has_large_answers(&self) -> bool {
        let Some(last) = self.records().checked_sub(1) else {
            return false;
        };
        let (_, Range { end: bytes, .. }) = self.record(last);
        bytes >= MUCH && bytes / (last + 1) >= LARGE
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

    /// Notes for which connections somebody waits, if there `is_any`.
    fn find_urgent(&self, count: usize, is_any: bool, links: &mut Slab<Link>) {
        let are_all = self.pace.is_kept();
        if !is_any && !are_all {
            return;
        }
        for index in 0..count {
            let (id, _) = self.record(index);
            if !are_all && self.control.get(FIRST_RECORD + index * RECORD + 3) == Some(0) {
                continue;
            }
            if let Some(Pump::Thread(threaded)) = links.get_mut(id).map(|link| &mut link.pump) {
                threaded.is_urgent = true;
            }
        }
    }

    /// Hands records over to threads. Those that are to be sent here are linked, in order, for each connection, and
    /// masked if a client sends them.
    fn sort_records(
        &self,
        count: usize,
        slab: &mut [u8],
        links: &mut Slab<Link>,
        dirty: &mut Vec<usize>,
        pool: Option<&Pool>,
    ) {
        let mut batches = pool.map(|pool| (pool, pool.batches()));
        let mut next = self.next_record.borrow_mut();
        next.clear();
        next.resize(count, NONE);
        for index in 0..count {
            let (id, range) = self.record(index);
            let Some(link) = links.get_mut(id) else {
                continue;
            };
            if let (Pump::Thread(threaded), Some((pool, batches))) = (&mut link.pump, &mut batches)
            {
                if !threaded.is_urgent {
                    let frames = slab.get(range).unwrap_or_default();
                    self.hand_over((pool, batches), id, threaded, frames);
                    continue;
                }
            }
            if link.masked {
                let is_whole = slab.get_mut(range).map(mask_frames) == Some(Ok(()));
                if !is_whole {
                    let error = std::io::Error::from_raw_os_error(libc::EPROTO);
                    link.with_connection(|connection| connection.fail(&error));
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
    pub(super) fn after_sending(&self, id: usize, link: &mut Link) {
        let state = link.with_connection(|connection| (connection.queued(), connection.error()));
        let Some((queued, error)) = state else { return };
        if let Pump::Thread(threaded) = &mut link.pump {
            let is_less = threaded.refresh();
            if let Some(pool) = self.pool() {
                pool.recount(threaded);
            }
            self.queued.set(id, threaded.shown as f64);
            if is_less {
                self.make_ready(id, link);
            }
        } else if queued > 0 {
            self.queued.set(id, queued as f64);
            link.watch(false);
        }
        if error.is_some() && !link.told_error {
            let mut broken = self.broken.borrow_mut();
            broken.push((id, link.serial));
            self.control
                .set(BROKEN, i32::try_from(broken.len()).unwrap_or(i32::MAX));
        }
    }
}

fn add_piece<'a>(pieces: &mut Vec<IoSlice<'a>>, slab: &'a [u8], range: Range<usize>) {
    match slab.get(range) {
        Some(bytes) if !bytes.is_empty() => pieces.push(IoSlice::new(bytes)),
        _ => {}
    }
}
