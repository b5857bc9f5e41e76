//! Sending to many connections at once: threads with nothing else to do take a part of the system calls.

use std::io::IoSlice;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::thread;

use super::{Connection, LastCopy};

/// What one connection is to send.
pub struct Share<'a> {
    /// The connection.
    pub connection: &'a mut Connection,
    /// What it sends.
    pub pieces: &'a [IoSlice<'a>],
}

/// Sends all shares and returns when all are sent. `ask` has a function called on another thread, some time, perhaps
/// never; it is used `helpers` times. Whoever is free takes the next share, so that helpers that come late, because all
/// processors are busy, cost next to nothing.
pub fn send_all(mut shares: Vec<Share>, helpers: usize, ask: impl Fn(Box<dyn FnOnce() + Send>)) {
    let round = Arc::new(Round {
        shares: shares.as_mut_ptr().cast(),
        count: shares.len(),
        next: AtomicUsize::new(0),
        done: AtomicUsize::new(0),
    });
    // Waits also when something here panics.
    let wait = Wait(Arc::clone(&round));
    for _ in 0..helpers {
        let round = Arc::clone(&round);
        ask(Box::new(move || round.work()));
    }
    round.work();
    drop(wait);
}

/// Shares that several threads send. The first so many are taken; each is sent by the thread that took it.
struct Round {
    shares: *mut Share<'static>,
    count: usize,
    next: AtomicUsize,
    done: AtomicUsize,
}

// SAFETY: each share is used by one thread, the one that took its number from `next`, and what is in it may go to other
// threads (checked below). `send_all` returns, and with it the shares go, only when all that were taken are done with.
// A thread that comes later takes no share and does not touch the pointer.
unsafe impl Send for Round {}
// SAFETY: as above.
unsafe impl Sync for Round {}

const _: () = {
    const fn goes_to_other_threads<T: Send>() {}
    goes_to_other_threads::<Share<'static>>();
};

impl Round {
    fn work(&self) {
        let mut last_copy = LastCopy::default();
        loop {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            if index >= self.count {
                return;
            }
            let _done = Done(&self.done);
            // SAFETY: the number is below `count` and nobody else gets it. The shares are there until it is done with.
            let share = unsafe { &mut *self.shares.add(index) };
            share.connection.send_sharing(share.pieces, &mut last_copy);
        }
    }
}

/// Counts a share when it is done with, however that comes about.
struct Done<'a>(&'a AtomicUsize);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Release);
    }
}

/// Takes what nobody has taken off the list and waits until all others are done with theirs, one system call each.
struct Wait(Arc<Round>);

impl Drop for Wait {
    fn drop(&mut self) {
        let round = &*self.0;
        let taken = round
            .next
            .fetch_add(round.count, Ordering::Relaxed)
            .min(round.count);
        while round.done.load(Ordering::Acquire) < taken {
            thread::yield_now();
        }
    }
}
