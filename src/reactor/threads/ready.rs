//! What the threads of a reactor have to tell, and how much of it waits.

use std::mem;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// How much may be read and not taken, of all connections together.
pub(super) const MOST_HELD: usize = 32 * 1024 * 1024;

/// The connections with news.
pub struct Ready {
    /// Numbers and serials.
    list: Mutex<Vec<(usize, u64)>>,
    /// Called, on any thread, when the list is not empty any more.
    bell: Box<dyn Fn() + Send + Sync>,
    /// Bytes that were read and not taken.
    held: AtomicUsize,
    /// Whether a thread has stopped reading because of that.
    is_starved: AtomicBool,
    /// Counts, by twos, the rounds in which whoever uses the threads acts in their place; odd while it does.
    steps: AtomicU64,
    /// Counts how often Node would have read by now.
    looks: AtomicUsize,
}

impl Ready {
    pub(super) fn new(bell: impl Fn() + Send + Sync + 'static) -> Self {
        Self {
            list: Mutex::default(),
            bell: Box::new(bell),
            held: AtomicUsize::new(0),
            is_starved: AtomicBool::new(false),
            steps: AtomicU64::new(0),
            looks: AtomicUsize::new(0),
        }
    }

    /// Node would read now what is ready.
    pub(super) fn note_look(&self) {
        self.looks.fetch_add(1, Ordering::Relaxed);
    }

    /// How often that was noted.
    pub(super) fn looks(&self) -> usize {
        self.looks.load(Ordering::Relaxed)
    }

    /// Lists connections; `news` is empty afterwards.
    pub(super) fn add(&self, news: &mut Vec<(usize, u64)>) {
        if news.is_empty() {
            return;
        }
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        let was_empty = list.is_empty();
        list.append(news);
        drop(list);
        if was_empty {
            (self.bell)();
        }
    }

    /// What is on the list, in the order in which it came there.
    pub(super) fn listed(&self) -> Vec<(usize, u64)> {
        let list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        list.clone()
    }

    /// Takes the list; `room` becomes the next one.
    pub(super) fn take(&self, room: Vec<(usize, u64)>) -> Vec<(usize, u64)> {
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        mem::replace(&mut list, room)
    }

    /// Whoever uses the threads begins a round in their place, or does not act in their place any more.
    pub(super) fn step(&self, is_in: bool) {
        let next = (self.steps.load(Ordering::SeqCst) | 1).wrapping_add(1);
        self.steps.store(next | u64::from(is_in), Ordering::SeqCst);
    }

    /// Which of its rounds whoever uses the threads is in, if it acts in their place.
    pub(super) fn round(&self) -> Option<u64> {
        let steps = self.steps.load(Ordering::SeqCst);
        (steps & 1 == 1).then_some(steps)
    }

    /// How much is held.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.held.load(Ordering::SeqCst)
    }

    pub(super) fn add_held(&self, count: usize) {
        self.held.fetch_add(count, Ordering::SeqCst);
    }

    pub(super) fn remove_held(&self, count: usize) {
        if count > 0 {
            self.held.fetch_sub(count, Ordering::SeqCst);
        }
    }

    /// Whether more may be read. A thread that is told no will be told when that has changed.
    pub(super) fn has_room(&self) -> bool {
        if self.held.load(Ordering::SeqCst) < MOST_HELD {
            return true;
        }
        self.is_starved.store(true, Ordering::SeqCst);
        // What was taken between these two looks did not see the note.
        self.held.load(Ordering::SeqCst) < MOST_HELD / 2
    }

    /// Whether there is room again for threads that have stopped reading. Said once.
    pub(super) fn has_room_again(&self) -> bool {
        self.is_starved.load(Ordering::SeqCst)
            && self.held.load(Ordering::SeqCst) < MOST_HELD / 2
            && self.is_starved.swap(false, Ordering::SeqCst)
    }
}
