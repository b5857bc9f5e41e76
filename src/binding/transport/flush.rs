//! The way out: what JavaScript has recorded in the control array is gathered by connection and handed over.

use std::io::IoSlice;
use std::mem;
use std::ops::Range;

use slab::Slab;

use super::driver::Driver;
use super::link::{Link, NONE};
use crate::protocol::mask_frames;

/// Where in the control array stands how many connections were found broken.
pub(super) const BROKEN: usize = 1;

/// Where in the control array the records begin, and how many numbers each has.
const FIRST_RECORD: usize = 4;
const RECORD: usize = 3;

impl Driver {
    /// Sends two pieces at once, after what was recorded before.
    pub fn send_now(&self, id: usize, head: &[u8], payload: &[u8]) {
        self.flush();
        self.with_link(id, |link| {
            let pieces = [IoSlice::new(head), IoSlice::new(payload)];
            link.with_connection(|connection| connection.send(&pieces));
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
            link.with_connection(|connection| connection.send(&pieces));
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
    fn after_sending(&self, id: usize, link: &mut Link) {
        let (queued, error) =
            link.with_connection(|connection| (connection.queued(), connection.error()));
        if queued > 0 {
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
