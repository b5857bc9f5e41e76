//! Latencies in logarithmic buckets: 64 to each power of two, so a percentile is off by 1.6 % at most.

use std::time::Duration;

const STEPS: u64 = 64;
const STEP_BITS: u32 = STEPS.trailing_zeros();
/// Values below `STEPS` nanoseconds have a bucket each; 2^41 ns (36 minutes) is the largest value.
const BUCKETS: usize = (STEPS * 36) as usize;

pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: vec![0; BUCKETS],
            total: 0,
        }
    }
}

fn bucket(nanoseconds: u64) -> usize {
    if nanoseconds < STEPS {
        return nanoseconds as usize;
    }
    let octave = nanoseconds.ilog2() - STEP_BITS;
    let step = (nanoseconds >> octave) - STEPS;
    ((u64::from(octave) + 1) * STEPS + step) as usize
}

/// The middle of a bucket, in nanoseconds.
fn middle(bucket: usize) -> f64 {
    let (octave, step) = (bucket as u64 / STEPS, bucket as u64 % STEPS);
    if octave == 0 {
        return step as f64;
    }
    let width = (1u64 << (octave - 1)) as f64;
    ((STEPS + step) as f64 + 0.5) * width
}

impl Histogram {
    pub fn record(&mut self, latency: Duration) {
        let nanoseconds = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.counts[bucket(nanoseconds).min(BUCKETS - 1)] += 1;
        self.total += 1;
    }

    pub fn clear(&mut self) {
        self.counts.fill(0);
        self.total = 0;
    }

    /// The latency in microseconds that `percent` of all values do not exceed.
    pub fn percentile_us(&self, percent: f64) -> Option<f64> {
        if self.total == 0 {
            return None;
        }
        let rank = (self.total as f64 * percent / 100.0).ceil() as u64;
        let mut seen = 0;
        let index = self.counts.iter().position(|count| {
            seen += count;
            seen >= rank
        })?;
        Some(middle(index) / 1000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_near_the_middle_of_its_bucket() {
        for exponent in 0..40 {
            for value in [1u64 << exponent, (1 << exponent) + (1 << exponent) / 3] {
                let error = (middle(bucket(value)) - value as f64).abs() / value as f64;
                assert!(error <= 1.0 / STEPS as f64, "{value} is off by {error}");
            }
        }
    }

    #[test]
    fn percentiles_are_ranks() {
        let mut histogram = Histogram::default();
        assert!(histogram.percentile_us(50.0).is_none());
        for microseconds in 1..=1000 {
            histogram.record(Duration::from_micros(microseconds));
        }
        let (p50, p99) = (
            histogram.percentile_us(50.0).unwrap(),
            histogram.percentile_us(99.0).unwrap(),
        );
        assert!(
            (p50 - 500.0).abs() < 10.0 && (p99 - 990.0).abs() < 20.0,
            "{p50} {p99}"
        );
    }
}
