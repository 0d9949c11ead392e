//! The least that a node of this kind must do, whoever its peers are, and how far above it the store
//! stands: writes a second, how long reads of cached data take, bytes written for each byte given.

use crate::figures::Figures;
use crate::row::Row;
use crate::target::{Outcome, Verdict};

/// Writes a second, sustained.
const WRITES_PER_SECOND: f64 = 200e3;
const TIMES_MORE_WRITES: f64 = 5.0;
/// Of a hundred reads of cached data, all but one take less.
const READ_P99_US: f64 = 5000.0;
const TIMES_FASTER_READS: f64 = 100.0;
/// Bytes written to log and tables for each byte given.
const WRITE_AMPLIFICATION: f64 = 20.0;
const TIMES_LESS_WRITTEN: f64 = 2.0;

/// How far above the floor a row is that shows it.
pub(crate) fn verdict(row: &Row, ours: &Figures) -> Option<Verdict> {
    let (what, times, at_least) = match row.name {
        "fillbatch" => {
            let times = ours.figure(row)? / WRITES_PER_SECOND;
            ("200,000 sustained writes a second", times, TIMES_MORE_WRITES)
        }
        "get" => {
            let times = READ_P99_US / ours.median("p99_us")?;
            ("5 ms for 99 of 100 cached reads", times, TIMES_FASTER_READS)
        }
        "overwrite" => {
            let written = ours.median("counted_bytes_written")? / ours.median("user_bytes")?;
            ("20 bytes written for each given", WRITE_AMPLIFICATION / written, TIMES_LESS_WRITTEN)
        }
        _ => return None,
    };
    let outcome = if times >= at_least { Outcome::Reached } else { Outcome::Missed };
    let text = format!("{times:.1} times better than the floor of {what}, at least {at_least}");
    Some(Verdict { outcome, text })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn outcome(row: &str, figures: serde_json::Value) -> Outcome {
        let ours = Figures { engine: "lsm".to_owned(), is_lsm: true, values: vec![figures] };
        let row = Row::named(row).expect("the row is there");
        verdict(row, &ours).expect("the row shows the floor").outcome
    }

    #[test]
    fn each_row_is_held_to_its_multiple_of_the_floor() {
        let writes = |rate: f64| outcome("fillbatch", json!({ "settled_ops_per_second": rate }));
        assert_eq!((writes(1e6), writes(9e5)), (Outcome::Reached, Outcome::Missed));
        let reads = |us: f64| outcome("get", json!({ "p99_us": us }));
        assert_eq!((reads(50.0), reads(51.0)), (Outcome::Reached, Outcome::Missed));
        let written = |bytes: f64| {
            outcome("overwrite", json!({ "counted_bytes_written": bytes, "user_bytes": 1.0 }))
        };
        assert_eq!((written(10.0), written(10.1)), (Outcome::Reached, Outcome::Missed));
    }
}
