//! Where a key lies in a picture of the key space.
//!
//! Keys are bytes, and real ones cluster: by their value alone, all those that begin with "user:"
//! would fall on one spot. So the ruler is marked by the data. Every bound of a table is a mark, and
//! two marks are as far apart as there are entries between them, where each table is taken to be
//! evenly filled.

use lsm_engine::Shape;

/// How far apart neighbouring marks are at least, as a share of the ruler: a table is never quite
/// invisible.
const SHARE_MIN: f64 = 0.001;

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
        // Entries by stretch between two marks: added where a table begins, taken away where it
        // ends, and summed up on the way.
        let mut changes = vec![0.0; marks.len()];
        let at = |key: &Vec<u8>| marks.binary_search(key).unwrap_or(0);
        for table in tables() {
            let (lower, upper) = (at(&table.lower), at(&table.upper));
            if lower < upper {
                let entries = table.entries as f64 / (upper - lower) as f64;
                changes[lower] += entries;
                changes[upper] -= entries;
            }
        }
        let entries: u64 = tables().map(|table| table.entries).sum();
        let stretch_min = (entries as f64).max(1.0) * SHARE_MIN;
        let mut positions = Vec::with_capacity(marks.len());
        let (mut position, mut density) = (0.0, 0.0_f64);
        for change in changes {
            positions.push(position);
            density += change;
            position += density.max(stretch_min);
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

#[cfg(test)]
mod tests {
    use lsm_engine::{RunShape, TableShape};

    use super::*;

    fn table(lower: &str, upper: &str, entries: u64) -> TableShape {
        TableShape {
            number: 1,
            lower: lower.into(),
            upper: upper.into(),
            bytes: 0,
            entries,
            tombstones: 0,
        }
    }

    #[test]
    fn marks_are_as_far_apart_as_there_are_entries_between_them() {
        let tables = vec![table("a", "b", 300), table("y", "z", 100)];
        let ruler = Ruler::new(&Shape { runs: vec![RunShape { level: 1, tables }] });
        assert_eq!(ruler.position(b"a"), 0.0);
        assert!((ruler.position(b"b") - 0.75).abs() < 0.01);
        assert!((ruler.position(b"y") - 0.75).abs() < 0.01);
        assert_eq!(ruler.position(b"z"), 1.0);
        assert_eq!(ruler.position(b"bb"), ruler.position(b"b"));
        assert_eq!(ruler.ends(), Some((&b"a"[..], &b"z"[..])));
    }

    #[test]
    fn nothing_and_a_single_key_have_a_ruler_too() {
        assert_eq!(Ruler::new(&Shape { runs: Vec::new() }).ends(), None);
        let tables = vec![table("a", "a", 1)];
        let ruler = Ruler::new(&Shape { runs: vec![RunShape { level: 0, tables }] });
        assert_eq!(ruler.position(b"a"), 0.0);
    }
}
