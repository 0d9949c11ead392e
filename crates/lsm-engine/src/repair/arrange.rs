//! Puts tables whose place nobody knows into runs, so that older runs hold older sequence numbers.
//!
//! Of two tables that share keys, the one with the newer sequence numbers stands in the newer run.
//! Where neither is newer as a whole, they are *entangled*, and become one by a merge: it looks at
//! every entry's number, and needs no place.

use std::sync::Arc;

use lsm_entry::SeqNo;
use lsm_version::TableRecord;

/// Tables that are taken together: one, or several that are entangled.
pub(super) struct Group {
    pub(super) tables: Vec<Arc<TableRecord>>,
    lower: Vec<u8>,
    upper: Vec<u8>,
    seq_no_min: SeqNo,
    seq_no_max: SeqNo,
}

impl Group {
    fn of(table: Arc<TableRecord>) -> Self {
        Self {
            lower: table.lower.clone(),
            upper: table.upper.clone(),
            seq_no_min: table.seq_no_min,
            seq_no_max: table.seq_no_max,
            tables: vec![table],
        }
    }

    fn shares_keys(&self, other: &Self) -> bool {
        self.lower <= other.upper && other.lower <= self.upper
    }

    fn is_entangled(&self, other: &Self) -> bool {
        self.shares_keys(other)
            && self.seq_no_min <= other.seq_no_max
            && other.seq_no_min <= self.seq_no_max
    }

    fn absorb(&mut self, other: Self) {
        self.tables.extend(other.tables);
        self.lower = std::mem::take(&mut self.lower).min(other.lower);
        self.upper = std::mem::take(&mut self.upper).max(other.upper);
        self.seq_no_min = self.seq_no_min.min(other.seq_no_min);
        self.seq_no_max = self.seq_no_max.max(other.seq_no_max);
    }
}

/// Runs of groups, oldest first.
pub(super) fn arrange(tables: Vec<Arc<TableRecord>>) -> Vec<Vec<Group>> {
    let mut groups: Vec<Group> = Vec::new();
    for table in tables {
        let mut group = Group::of(table);
        // A group that has grown may reach others.
        while let Some(index) = groups.iter().position(|other| other.is_entangled(&group)) {
            group.absorb(groups.swap_remove(index));
        }
        groups.push(group);
    }
    groups.sort_by_key(|group| group.seq_no_max);
    let mut runs: Vec<Vec<Group>> = Vec::new();
    for group in groups {
        let is_below = |run: &Vec<Group>| run.iter().any(|other| other.shares_keys(&group));
        let run = runs.iter().rposition(is_below).map_or(0, |below| below + 1);
        if run == runs.len() {
            runs.push(Vec::new());
        }
        runs[run].push(group);
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    /// "a-f 3-9" is a table.
    #[track_caller]
    fn check_runs(tables: &[&str], expected: &[&[&[&str]]]) {
        let table = |(number, text): (usize, &&str)| {
            let (keys, seq_nos) = text.split_once(' ').expect("keys and sequence numbers");
            let (lower, upper) = keys.split_once('-').expect("two keys");
            let (min, max) = seq_nos.split_once('-').expect("two numbers");
            Arc::new(TableRecord {
                number: number as u64,
                lower: lower.into(),
                upper: upper.into(),
                seq_no_min: min.parse().expect("a number"),
                seq_no_max: max.parse().expect("a number"),
                ..TableRecord::default()
            })
        };
        let runs = arrange(tables.iter().enumerate().map(table).collect());
        let found: Vec<Vec<Vec<&str>>> = runs
            .iter()
            .map(|run| {
                let names = |group: &Group| {
                    let mut numbers: Vec<_> = group.tables.iter().map(|t| t.number).collect();
                    numbers.sort_unstable();
                    numbers.into_iter().map(|number| tables[number as usize]).collect()
                };
                run.iter().map(names).collect()
            })
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn newer_tables_stand_in_newer_runs_if_they_share_keys() {
        check_runs(&["a-f 1-5", "c-k 6-9"], &[&[&["a-f 1-5"]], &[&["c-k 6-9"]]]);
        check_runs(&["c-k 6-9", "a-f 1-5"], &[&[&["a-f 1-5"]], &[&["c-k 6-9"]]]);
    }

    #[test]
    fn tables_that_share_no_key_stand_side_by_side() {
        check_runs(&["a-f 1-9", "g-k 3-6"], &[&[&["g-k 3-6"], &["a-f 1-9"]]]);
    }

    #[test]
    fn entangled_tables_become_one_and_may_reach_others() {
        check_runs(&["a-f 1-9", "c-k 3-12"], &[&[&["a-f 1-9", "c-k 3-12"]]]);
        check_runs(
            &["a-c 1-5", "x-z 4-9", "b-y 3-6", "a-z 20-30"],
            &[&[&["a-c 1-5", "x-z 4-9", "b-y 3-6"]], &[&["a-z 20-30"]]],
        );
    }
}
