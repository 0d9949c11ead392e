//! How long operations took: a histogram whose buckets are at most 3 % wide.

use std::time::Duration;

/// Each power of two is cut into this many buckets.
const BUCKETS_PER_DOUBLING: usize = 32;
const BUCKETS: usize = 64 * BUCKETS_PER_DOUBLING;

/// A histogram of durations.
#[derive(Clone, Debug)]
pub(crate) struct Latencies {
    counts: Vec<u64>,
    total: u64,
    max_ns: u64,
}

impl Default for Latencies {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS], total: 0, max_ns: 0 }
    }
}

impl Latencies {
    /// Takes note of one.
    #[inline]
    pub(crate) fn record(&mut self, latency: Duration) {
        let ns = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.counts[bucket(ns)] += 1;
        self.total += 1;
        self.max_ns = self.max_ns.max(ns);
    }

    /// Adds those of another thread.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(count, more)| *count += more);
        self.total += other.total;
        self.max_ns = self.max_ns.max(other.max_ns);
    }

    /// The latency that a share (0 to 1) of the operations did not exceed, in microseconds; `None`
    /// if none was recorded.
    pub(crate) fn quantile_us(&self, share: f64) -> Option<f64> {
        if self.total == 0 {
            return None;
        }
        let rank = ((self.total as f64 * share).ceil() as u64).clamp(1, self.total);
        let mut below = 0;
        let index = self.counts.iter().position(|count| {
            below += count;
            below >= rank
        })?;
        Some(upper_ns(index).min(self.max_ns) as f64 / 1000.0)
    }

    /// The longest, in microseconds.
    pub(crate) fn max_us(&self) -> Option<f64> {
        (self.total > 0).then_some(self.max_ns as f64 / 1000.0)
    }
}

/// The bucket of a duration: exact below 32 ns, then 32 to each power of two.
fn bucket(ns: u64) -> usize {
    if ns < BUCKETS_PER_DOUBLING as u64 {
        return ns as usize;
    }
    let exponent = ns.ilog2() as usize;
    let mantissa = (ns >> (exponent - 5)) as usize - BUCKETS_PER_DOUBLING;
    (exponent - 4) * BUCKETS_PER_DOUBLING + mantissa
}

/// The longest duration that falls into a bucket.
fn upper_ns(bucket: usize) -> u64 {
    let (doubling, mantissa) = (bucket / BUCKETS_PER_DOUBLING, bucket % BUCKETS_PER_DOUBLING);
    if doubling == 0 {
        return mantissa as u64;
    }
    let width = 1u64 << (doubling - 1);
    (BUCKETS_PER_DOUBLING + mantissa) as u64 * width + (width - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_what_falls_into_it_and_is_narrow() {
        for ns in (0..100_000).chain([1 << 40, (1 << 40) + 12_345]) {
            let upper = upper_ns(bucket(ns));
            assert!(upper >= ns && (upper - ns) * 32 <= ns.max(1), "{ns} is in {upper}");
        }
    }

    #[test]
    fn quantiles_are_those_of_what_was_recorded() {
        let mut latencies = Latencies::default();
        (1..=1000).for_each(|us| latencies.record(Duration::from_micros(us)));
        let near = |share: f64, expected: f64| {
            let found = latencies.quantile_us(share).expect("some were recorded");
            assert!((found / expected - 1.0).abs() < 0.04, "{found} is not near {expected}");
        };
        near(0.5, 500.0);
        near(0.99, 990.0);
        assert_eq!(latencies.max_us(), Some(1000.0));
    }
}
