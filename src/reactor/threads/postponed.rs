//! What a thread leaves to whoever has stepped in for it.

use std::mem;
use std::time::{Duration, Instant};

/// So long a thread waits for whoever has stepped in.
pub(super) const PATIENCE: Duration = Duration::from_millis(10);

/// What has happened and a thread does nothing about, because whoever has stepped in does, unless that takes too long.
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

    /// Leaves in `happened` what is to be done now, in this round of whoever has stepped in, if anybody has.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_leaves_to_who_has_stepped_in_what_happens_until_that_takes_too_long() {
        let start = Instant::now();
        let mut postponed = Postponed::new();
        let mut sorted_out = |round, after: Duration, happened: &[u8]| {
            let mut happened = happened.to_vec();
            postponed.sort_out(round, start + after, &mut happened);
            (happened, postponed.timeout())
        };
        let soon = Duration::from_micros(1);
        let (nothing, looks_again) = (Vec::new(), Some(PATIENCE));

        assert_eq!(sorted_out(None, Duration::ZERO, &[1]), (vec![1], None));
        assert_eq!(
            sorted_out(Some(1), Duration::ZERO, &[2]),
            (nothing.clone(), looks_again)
        );
        assert_eq!(
            sorted_out(Some(1), soon, &[3]),
            (nothing.clone(), looks_again)
        );
        assert_eq!(sorted_out(Some(1), PATIENCE, &[4]), (vec![2, 3, 4], None));
        assert_eq!(
            sorted_out(Some(1), PATIENCE, &[5]),
            (nothing.clone(), looks_again)
        );
        // Another round has found it.
        assert_eq!(
            sorted_out(Some(3), 3 * PATIENCE, &[]),
            (nothing.clone(), None)
        );
        assert_eq!(
            sorted_out(Some(3), 3 * PATIENCE, &[6]),
            (nothing, looks_again)
        );
        // So has whoever has stepped back.
        assert_eq!(sorted_out(None, 5 * PATIENCE, &[7]), (vec![7], None));
    }
}
