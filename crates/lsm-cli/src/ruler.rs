//! Where a key lies in a picture of the key space.
//!
//! Keys are bytes, and real ones cluster: by their value alone, all those that begin with "user:"
//! would fall on one spot. So the ruler is marked by the data. Every bound of a table is a mark, and
//! two marks are as far apart as there are entries between them. Within one table, whose entries
//! nobody has looked at, the value of the keys does decide, past what its bounds have in common.

use lsm_engine::{Shape, TableShape};
use lsm_entry::{common_prefix, digest};

/// How much of the ruler is given away evenly, so that no table is quite invisible.
const EVEN_SHARE: f64 = 0.05;

/// Maps keys to positions from 0 to 1.
#[derive(Clone, Debug)]
pub(crate) struct Ruler {
    /// Bounds of tables, ascending.
    marks: Vec<Vec<u8>>,
    /// The position of each.
    positions: Vec<f64>,
}

impl Ruler {
    /// A ruler for these tables.
    pub(crate) fn new(shape: &Shape) -> Self {
        let tables = || shape.runs.iter().flat_map(|run| &run.tables);
        let mut marks: Vec<Vec<u8>> =
            tables().flat_map(|table| [table.lower.clone(), table.upper.clone()]).collect();
        marks.sort();
        marks.dedup();
        // Entries between each mark and the next.
        let mut entries = vec![0.0; marks.len()];
        for table in tables() {
            spread(table, &marks, &mut entries);
        }
        let even = entries.iter().sum::<f64>().max(1.0) * EVEN_SHARE / marks.len().max(1) as f64;
        let mut positions = Vec::with_capacity(marks.len());
        let mut position = 0.0;
        for between in entries {
            positions.push(position);
            position += between + even;
        }
        let length = positions.last().copied().unwrap_or(0.0).max(f64::MIN_POSITIVE);
        positions.iter_mut().for_each(|position| *position /= length);
        Self { marks, positions }
    }

    /// Where `key` lies; a key between two marks lies at the lower.
    pub(crate) fn position(&self, key: &[u8]) -> f64 {
        let index = match self.marks.binary_search_by(|mark| mark.as_slice().cmp(key)) {
            Ok(index) => index,
            Err(index) => index.saturating_sub(1),
        };
        self.positions.get(index).copied().unwrap_or(0.0)
    }

    /// The smallest and the largest key, if there is any.
    pub(crate) fn ends(&self) -> Option<(&[u8], &[u8])> {
        Some((self.marks.first()?, self.marks.last()?))
    }
}

/// Spreads a table's entries over the stretches between the marks that it covers.
fn spread(table: &TableShape, marks: &[Vec<u8>], entries: &mut [f64]) {
    let at = |key: &Vec<u8>| marks.binary_search(key).unwrap_or(0);
    let covered = at(&table.lower)..at(&table.upper);
    let skip = common_prefix(&table.lower, &table.upper);
    let value = |key: &[u8]| digest(key, skip) as f64;
    let whole = value(&table.upper) - value(&table.lower);
    for index in covered.clone() {
        let share = if whole > 0.0 {
            (value(&marks[index + 1]) - value(&marks[index])) / whole
        } else {
            1.0 / covered.len() as f64
        };
        entries[index] += table.entries as f64 * share;
    }
}

#[cfg(test)]
mod tests {
    use lsm_engine::RunShape;

    use super::*;

    fn table(lower: &str, upper: &str, entries: u64) -> TableShape {
        TableShape {
            number: 1,
            lower: lower.into(),
            upper: upper.into(),
            bytes: 0,
            entries,
            tombstones: 0,
            range_deletes: 0,
        }
    }

    #[test]
    fn marks_are_as_far_apart_as_there_are_entries_between_them() {
        let tables = vec![table("a", "b", 300), table("y", "z", 100)];
        let ruler = Ruler::new(&Shape { runs: vec![RunShape { level: 1, tables }] });
        assert_eq!(ruler.position(b"a"), 0.0);
        assert!((ruler.position(b"b") - 0.75).abs() < 0.03);
        assert!((ruler.position(b"y") - 0.75).abs() < 0.03);
        assert_eq!(ruler.position(b"z"), 1.0);
        assert_eq!(ruler.position(b"bb"), ruler.position(b"b"));
        assert_eq!(ruler.ends(), Some((&b"a"[..], &b"z"[..])));
    }

    #[test]
    fn bounds_that_are_close_to_each_other_lie_close_to_each_other() {
        let run = |lower, upper| RunShape { level: 0, tables: vec![table(lower, upper, 1000)] };
        let runs = vec![run("user:0001", "user:9998"), run("user:0003", "user:9999")];
        let ruler = Ruler::new(&Shape { runs });
        assert!(ruler.position(b"user:0003") < 0.05);
        assert!(ruler.position(b"user:9998") > 0.95);
    }

    #[test]
    fn nothing_and_a_single_key_have_a_ruler_too() {
        assert_eq!(Ruler::new(&Shape { runs: Vec::new() }).ends(), None);
        let tables = vec![table("a", "a", 1)];
        let ruler = Ruler::new(&Shape { runs: vec![RunShape { level: 0, tables }] });
        assert_eq!(ruler.position(b"a"), 0.0);
    }
}
