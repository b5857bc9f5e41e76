//! What a thread leaves to who has stepped in for it.

use std::mem;
use std::time::{Duration, Instant};

/// So long a thread waits for who has stepped in.
pub(super) const PATIENCE: Duration = Duration::from_millis(10);

/// What has happened and a thread does nothing about, because who has stepped in does, unless that takes too long.
#[derive(Debug)]
pub(super) struct Postponed<T> {
    happened: Vec<T>,
    /// The round in which it was postponed, and when the first of it was.
    since: Option<(u64, Instant)>,
}

impl<T> Postponed<T> {
    pub(super) fn new() -> Self {
        Self {
            happened: Vec::new(),
            since: None,
        }
    }

    /// When to look again.
    pub(super) fn timeout(&self) -> Option<Duration> {
        (!self.happened.is_empty()).then_some(PATIENCE)
    }

    /// Leaves in `happened` what is to be done now, in this round of who has stepped in, if anybody has.
    pub(super) fn sort_out(&mut self, round: Option<u64>, now: Instant, happened: &mut Vec<T>) {
        if self.since.is_some_and(|(since, _)| Some(since) != round) {
            // Whoever has begun another round, or stepped back, has found what became ready before.
            *self = Self::new();
        }
        let Some(round) = round else { return };
        self.happened.append(happened);
        if self.happened.is_empty() {
            return;
        }
        let (_, begin) = *self.since.get_or_insert((round, now));
        if now.saturating_duration_since(begin) >= PATIENCE {
            *happened = mem::replace(self, Self::new()).happened;
        }
    }
}
