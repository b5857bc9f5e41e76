//! Whether processors are free, so that other threads can help without holding anybody up.

use std::fs;
use std::time::{Duration, Instant};

/// How long an answer is good for.
const GOOD_FOR: Duration = Duration::from_millis(100);
/// So many processors must be free for help to begin, and to go on. What helps takes a part of them itself.
const ENOUGH: f64 = 0.75;
const STILL_ENOUGH: f64 = 0.6;

/// The machine's processors, looked at when somebody wants to know, but not too often.
#[derive(Debug, Default)]
pub struct Processors {
    looked: Option<(Instant, Times)>,
    are_free: bool,
}

/// What the processors have done since the machine was started, in ticks, all together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Times {
    idle: u64,
    total: u64,
    processors: u32,
}

impl Processors {
    /// Whether enough of them were free since this was asked before; where the system does not say, they are.
    pub fn are_free(&mut self) -> bool {
        let now = Instant::now();
        if matches!(self.looked, Some((then, _)) if now.duration_since(then) < GOOD_FOR) {
            return self.are_free;
        }
        let Some(times) = Times::now() else {
            return true;
        };
        if let Some((_, before)) = self.looked.replace((now, times)) {
            self.judge(times.free_since(before));
        }
        self.are_free
    }

    fn judge(&mut self, free: f64) {
        let enough = if self.are_free { STILL_ENOUGH } else { ENOUGH };
        self.are_free = free >= enough;
    }
}

impl Times {
    /// How many processors were free on average.
    fn free_since(self, before: Self) -> f64 {
        let idle = self.idle.saturating_sub(before.idle) as f64;
        let total = self.total.saturating_sub(before.total).max(1) as f64;
        idle / total * f64::from(self.processors)
    }

    /// What the system says now, if it does.
    fn now() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/stat").ok()?)
    }

    /// Reads `/proc/stat` of Linux: a line for all processors, then one for each. The fourth and fifth numbers are idle
    /// time; the last two are parts of the first two.
    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines().take_while(|line| line.starts_with("cpu"));
        let numbers = lines.next()?.split_whitespace().skip(1).take(8);
        let ticks: Vec<u64> = numbers.map_while(|number| number.parse().ok()).collect();
        Some(Self {
            idle: ticks.get(3..5)?.iter().sum(),
            total: ticks.iter().sum(),
            processors: u32::try_from(lines.count()).ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_times_of_all_processors_are_read() {
        let text = "cpu  10 1 20 300 5 0 4 2 7 9\ncpu0 5 0 10 150 2 0 2 1 7 9\ncpu1 5 1 10 150 3 0 2 1 0 0\nintr 5 6\n";
        let expected = Times {
            idle: 305,
            total: 342,
            processors: 2,
        };
        assert_eq!(Times::parse(text), Some(expected));
        assert_eq!(Times::parse("cpu 1 2 3\n"), None);
        assert_eq!(Times::parse(""), None);
    }

    #[test]
    fn half_of_the_time_of_four_processors_is_two_of_them() {
        let times = |idle, total| Times {
            idle,
            total,
            processors: 4,
        };
        assert_eq!(times(150, 300).free_since(times(100, 200)), 2.0);
        assert_eq!(times(100, 300).free_since(times(100, 200)), 0.0);
        assert_eq!(times(100, 200).free_since(times(100, 200)), 0.0);
    }

    #[test]
    fn what_helps_takes_a_part_of_what_was_free() {
        let mut processors = Processors::default();
        let judgements = [0.7, 0.8, 0.65, 0.5, 0.65].map(|free| {
            processors.judge(free);
            processors.are_free
        });
        assert_eq!(judgements, [false, true, true, false, false]);
    }
}
