//! How long operations took, counted and drawn.
//!
//! ```text
//!   < 2.0 µs  ████████████████████████████████████████   71.30 %          713
//!   < 5.0 µs  ████████████████                           28.60 %          286
//!  < 10.0 µs  ▏                                           0.10 %            1
//! ```

use std::io::{self, Write};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::units::{count, duration};

/// Columns that the longest bar takes.
const BAR_COLUMNS: u64 = 40;
/// Longer ones are counted as if they had taken this long: an hour.
const LONGEST_NS: u64 = 3_600_000_000_000;
/// What is told is exact to so many digits.
const DIGITS: u8 = 2;

/// The latencies of many operations.
#[derive(Clone, Debug)]
pub(crate) struct Latencies {
    ns: Histogram<u64>,
    /// Exact, other than the histogram's.
    longest: Duration,
}

impl Latencies {
    pub(crate) fn new() -> Self {
        let ns = Histogram::new_with_bounds(1, LONGEST_NS, DIGITS);
        Self { ns: ns.expect("the bounds are in order"), longest: Duration::ZERO }
    }

    #[inline]
    pub(crate) fn record(&mut self, latency: Duration) {
        self.ns.saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
        self.longest = self.longest.max(latency);
    }

    /// Adds those of another thread, or of another kind of operation.
    pub(crate) fn add(&mut self, other: &Self) {
        self.ns.add(&other.ns).expect("all histograms have the same bounds");
        self.longest = self.longest.max(other.longest);
    }

    pub(crate) fn count(&self) -> u64 {
        self.ns.len()
    }

    /// What a share (0 to 1) of the operations did not exceed; zero if there were none.
    pub(crate) fn quantile(&self, share: f64) -> Duration {
        Duration::from_nanos(self.ns.value_at_quantile(share)).min(self.longest)
    }

    /// The longest.
    pub(crate) fn longest(&self) -> Duration {
        self.longest
    }

    /// In microseconds, as a JSON object.
    pub(crate) fn json(&self) -> Value {
        let us = |latency: Duration| latency.as_nanos() as f64 / 1e3;
        json!({
            "p50": us(self.quantile(0.5)),
            "p90": us(self.quantile(0.9)),
            "p99": us(self.quantile(0.99)),
            "p99_9": us(self.quantile(0.999)),
            "max": us(self.longest),
        })
    }

    /// Draws them, a line for each step of 1, 2, 5, 10 and so on, behind `indent` spaces.
    pub(crate) fn print(&self, out: &mut impl Write, indent: usize) -> io::Result<()> {
        let steps = self.steps();
        let most = steps.iter().map(|(_, operations)| *operations).max().unwrap_or(0);
        for (below_ns, operations) in steps {
            let label = format!("< {}", duration(Duration::from_nanos(below_ns)));
            let share = operations as f64 / self.count() as f64 * 100.0;
            let bar = draw_bar(operations, most);
            let columns = BAR_COLUMNS as usize;
            let operations = count(operations);
            writeln!(
                out,
                "{:indent$}{label:>10}  {bar:<columns$}  {share:>6.2} %  {operations:>11}",
                ""
            )?;
        }
        Ok(())
    }

    /// How many operations took less than so many nanoseconds, and no less than the line before
    /// says; from the first line that has any to the last that does.
    fn steps(&self) -> Vec<(u64, u64)> {
        let mut steps: Vec<(u64, u64)> = Vec::new();
        for recorded in self.ns.iter_recorded() {
            let ns = recorded.value_iterated_to();
            let mut below_ns =
                steps.last().map_or_else(|| first_step(ns), |(below_ns, _)| *below_ns);
            if steps.is_empty() {
                steps.push((below_ns, 0));
            }
            while ns >= below_ns {
                below_ns = next_step(below_ns);
                steps.push((below_ns, 0));
            }
            if let Some((_, operations)) = steps.last_mut() {
                *operations += recorded.count_at_value();
            }
        }
        steps
    }
}

/// The lowest step above `ns`.
fn first_step(ns: u64) -> u64 {
    let mut below_ns = 1;
    while below_ns <= ns {
        below_ns = next_step(below_ns);
    }
    below_ns
}

/// 1, 2, 5, 10, 20, 50 and so on.
fn next_step(step: u64) -> u64 {
    let power = 10u64.pow(step.ilog10());
    match step / power {
        1 => 2 * power,
        2 => 5 * power,
        _ => 10 * power,
    }
}

/// A bar as long as `part` is of `most`; what is there at all is seen.
fn draw_bar(part: u64, most: u64) -> String {
    let columns = (part as f64 / most.max(1) as f64 * BAR_COLUMNS as f64).round() as usize;
    match (columns, part) {
        (0, 0) => String::new(),
        (0, _) => "▏".into(),
        _ => "█".repeat(columns),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn latencies_of(microseconds: impl IntoIterator<Item = u64>) -> Latencies {
        let mut latencies = Latencies::new();
        microseconds.into_iter().for_each(|us| latencies.record(Duration::from_micros(us)));
        latencies
    }

    #[track_caller]
    fn check_picture(microseconds: impl IntoIterator<Item = u64>, expected: &Expect) {
        let mut out = Vec::new();
        latencies_of(microseconds).print(&mut out, 0).unwrap();
        expected.assert_eq(&String::from_utf8(out).unwrap());
    }

    #[test]
    fn latencies_are_drawn_from_the_shortest_to_the_longest_and_no_gap_is_left_out() {
        let many = std::iter::repeat_n(1, 713).chain(std::iter::repeat_n(4, 286)).chain([150]);
        check_picture(
            many,
            &expect![[r#"
                  < 2.0 µs  ████████████████████████████████████████   71.30 %          713
                  < 5.0 µs  ████████████████                           28.60 %          286
                 < 10.0 µs                                              0.00 %            0
                 < 20.0 µs                                              0.00 %            0
                 < 50.0 µs                                              0.00 %            0
                < 100.0 µs                                              0.00 %            0
                < 200.0 µs  ▏                                           0.10 %            1
            "#]],
        );
    }

    #[test]
    fn where_nothing_was_recorded_nothing_is_drawn() {
        check_picture([], &expect![[r#""#]]);
    }

    #[test]
    fn a_share_of_the_operations_did_not_exceed_what_is_told() {
        let latencies = latencies_of(1..=1000);
        let near = |share: f64, expected: u64| {
            let found = latencies.quantile(share).as_micros() as u64;
            assert!(found.abs_diff(expected) * 50 <= expected, "{found} is not near {expected}");
        };
        near(0.5, 500);
        near(0.99, 990);
        assert_eq!(latencies.quantile(1.0), Duration::from_millis(1));
        assert_eq!(latencies.longest(), Duration::from_millis(1));
    }

    #[test]
    fn what_threads_recorded_is_added_up_and_an_endless_one_is_counted_too() {
        let mut latencies = latencies_of([1, 2]);
        latencies.add(&latencies_of([7_000_000_000]));
        assert_eq!(latencies.count(), 3);
        assert_eq!(latencies.longest(), Duration::from_secs(7_000));
    }
}
