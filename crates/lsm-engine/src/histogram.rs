//! How long things took, in buckets.
//!
//! Eight buckets of equal width to each power of two, so a bucket is an eighth as wide as what it
//! holds is long. Threads count into stripes of their own, made when first used.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::stats::{STRIPES, stripe};

/// Buckets to each power of two, as a power of two.
const FINENESS: u32 = 3;
/// Times of 2^40 ns (18 minutes) and more count as that long.
const BITS_MAX: u32 = 40;
const BUCKETS: usize = ((BITS_MAX - FINENESS + 1) << FINENESS) as usize;

/// Times as they are taken.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    stripes: [OnceLock<Box<Stripe>>; STRIPES],
}

#[derive(Debug)]
struct Stripe {
    total_ns: AtomicU64,
    longest_ns: AtomicU64,
    /// Apart, so that nobody's stack has to hold them on the way here.
    buckets: Box<[AtomicU64]>,
}

impl Histogram {
    pub(crate) fn record(&self, time: Duration) {
        let ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let stripe = self.stripes[stripe()].get_or_init(|| {
            Box::new(Stripe {
                total_ns: AtomicU64::new(0),
                longest_ns: AtomicU64::new(0),
                buckets: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(),
            })
        });
        stripe.total_ns.fetch_add(ns, Ordering::Relaxed);
        stripe.longest_ns.fetch_max(ns, Ordering::Relaxed);
        stripe.buckets[bucket_of(ns)].fetch_add(1, Ordering::Relaxed);
    }

    /// What was recorded so far.
    pub(crate) fn times(&self) -> Times {
        let mut times = Times::default();
        let mut counts = [0; BUCKETS];
        for stripe in self.stripes.iter().filter_map(OnceLock::get) {
            times.total_ns += stripe.total_ns.load(Ordering::Relaxed);
            times.longest_ns = times.longest_ns.max(stripe.longest_ns.load(Ordering::Relaxed));
            for (count, bucket) in counts.iter_mut().zip(&stripe.buckets) {
                *count += bucket.load(Ordering::Relaxed);
            }
        }
        let filled = counts.iter().enumerate().filter(|(_, count)| **count > 0);
        times.buckets = filled.map(|(bucket, count)| (end_of(bucket), *count)).collect();
        times
    }
}

/// How long something took, over all times that were taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// End of each bucket that holds any, in nanoseconds, ascending; and how many it holds.
    buckets: Vec<(u64, u64)>,
    total_ns: u64,
    longest_ns: u64,
}

impl Times {
    /// How many were taken.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|(_, count)| count).sum()
    }

    /// How many of them were shorter than this, to within a bucket; exact for powers of two
    /// nanoseconds.
    pub fn count_below(&self, time: Duration) -> u64 {
        let ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.buckets.iter().take_while(|(end, _)| *end <= ns).map(|(_, count)| count).sum()
    }

    /// All of them together.
    pub fn total(&self) -> Duration {
        Duration::from_nanos(self.total_ns)
    }

    /// Their mean; zero if none was taken.
    pub fn mean(&self) -> Duration {
        Duration::from_nanos(self.total_ns / self.count().max(1))
    }

    /// The longest.
    pub fn longest(&self) -> Duration {
        Duration::from_nanos(self.longest_ns)
    }

    /// The time that this part of them (0.99 for 99 in a hundred) did not exceed, an eighth too long
    /// at most; zero if none was taken.
    pub fn quantile(&self, part: f64) -> Duration {
        let wanted = (self.count() as f64 * part.clamp(0.0, 1.0)).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (end, count) in &self.buckets {
            seen += count;
            if seen >= wanted {
                return Duration::from_nanos((*end).min(self.longest_ns));
            }
        }
        self.longest()
    }
}

/// The bucket for a time.
fn bucket_of(ns: u64) -> usize {
    let ns = ns.min((1 << BITS_MAX) - 1);
    let bits = u64::BITS - ns.leading_zeros();
    let shift = bits.saturating_sub(FINENESS + 1);
    // The first of the bits that count is in the number of the octave as well as in front of them.
    ((shift as usize) << FINENESS) + (ns >> shift) as usize
}

/// The first time that is too long for a bucket, in nanoseconds.
fn end_of(bucket: usize) -> u64 {
    let shift = (bucket >> FINENESS).saturating_sub(1);
    ((bucket - (shift << FINENESS) + 1) << shift) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_each_other_without_a_gap() {
        let mut start = 0;
        for bucket in 0..BUCKETS {
            let end = end_of(bucket);
            assert!(end > start, "bucket {bucket}");
            assert_eq!((bucket_of(start), bucket_of(end - 1)), (bucket, bucket), "{start}..{end}");
            assert!(end - start <= (start / 8).max(1), "{start}..{end} is too wide");
            start = end;
        }
        assert_eq!(start, 1 << BITS_MAX);
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_are_an_eighth_too_long_at_most() {
        let histogram = Histogram::default();
        for ns in 1..=100_000 {
            histogram.record(Duration::from_nanos(ns));
        }
        let times = histogram.times();
        assert_eq!(times.count(), 100_000);
        assert_eq!(times.mean(), Duration::from_nanos(50_000));
        for part in [0.01, 0.5, 0.9, 0.99, 0.999] {
            let (exact, found) = (part * 100_000.0, times.quantile(part).as_nanos() as f64);
            assert!(exact <= found && found <= exact * 1.126, "{part}: {found}");
        }
        assert_eq!(times.quantile(1.0), times.longest());
        assert_eq!(times.count_below(Duration::from_nanos(1 << 16)), (1 << 16) - 1);
    }

    #[test]
    fn without_times_everything_is_zero() {
        let times = Histogram::default().times();
        assert_eq!((times.count(), times.mean()), (0, Duration::ZERO));
        assert_eq!(times.quantile(0.99), Duration::ZERO);
    }

    #[test]
    fn no_time_of_any_thread_is_lost() {
        let histogram = Histogram::default();
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| (0..1000).for_each(|ns| histogram.record(Duration::from_nanos(ns))));
            }
        });
        assert_eq!(histogram.times().count(), 16_000);
    }
}
