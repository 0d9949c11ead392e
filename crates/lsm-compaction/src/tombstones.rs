//! Tombstones that pile up, or have lain too long: merged to the bottom, where they vanish.
//!
//! Sizes tell nothing of them. A queue, pushed to at one end and deleted from at the other, stays
//! small and is all tombstones, which every scan has to step over; and what somebody deleted may lie
//! on the disk under its tombstone for as long as nobody writes near it.

use lsm_version::{LEVELS, TableRecord};

use crate::plan::Plan;
use crate::policy::PlanInput;
use crate::range::{RangePlan, plan_range};

/// Tombstones among 128 entries in a row from which on a stretch is dense.
const DENSE_TOMBSTONES: u32 = 64;
/// Tombstones below which a table is not worth a merge of its own.
const TOMBSTONES_MIN: u64 = 256;
/// So many times the bytes of dense tables are merged at most for their sake.
const COST_MAX: u64 = 8;

/// A plan that merges to the bottom the range of a table whose tombstones, range deletes among them,
/// are older than `age_limit_ms`, or lie so densely that scans suffer. It waits for snapshots that see
/// what they hide.
///
/// A table counts as old as its oldest tombstone may be: merges hand that time on in
/// [`created_ms`](TableRecord::created_ms) where a limit is set.
pub fn plan_tombstones(
    input: &PlanInput<'_>,
    age_limit_ms: Option<u64>,
    table_bytes: u64,
) -> Option<Plan> {
    let oldest_snapshot = input.snapshots.first().copied().unwrap_or(u64::MAX);
    let is_used =
        |table: &TableRecord| input.running.iter().any(|running| running.uses(table.number));
    let candidates = || {
        let tables = input.version.tables();
        tables.filter(|(_, table)| {
            tombstones(table) > 0 && oldest_snapshot >= table.seq_no_max && !is_used(table)
        })
    };
    let merge = |table: &TableRecord| {
        let (lower, upper) = (&table.lower, Some(table.upper.as_slice()));
        match plan_range(input.version, input.running, lower, upper, table_bytes) {
            RangePlan::Merge(plan) => Some(*plan),
            RangePlan::Nothing | RangePlan::Wait => None,
        }
    };
    if let Some(limit_ms) = age_limit_ms {
        let age_ms = |table: &TableRecord| input.now_ms.saturating_sub(table.created_ms);
        let mut overdue: Vec<_> =
            candidates().filter(|(_, table)| age_ms(table) >= limit_ms).collect();
        overdue.sort_by_key(|(_, table)| (table.created_ms, table.number));
        for (_, table) in overdue {
            if let Some(mut plan) = merge(table) {
                let (count, age_ms) = (tombstones(table), age_ms(table));
                plan.reason =
                    format!("{count} tombstones are {age_ms} ms old and their limit is {limit_ms}");
                return Some(plan);
            }
        }
    }
    let mut dense: Vec<_> = candidates()
        .filter(|(place, table)| place.level < LEVELS - 1 && is_dense(table))
        .map(|(_, table)| table)
        .collect();
    dense.sort_by_key(|table| (std::cmp::Reverse(table.tombstones), table.number));
    dense.into_iter().find_map(|table| {
        let mut plan = merge(table)?;
        let dense_bytes: u64 = plan.tables().filter(|it| is_dense(it)).map(|it| it.bytes).sum();
        if plan.input_bytes() > dense_bytes.saturating_mul(COST_MAX) {
            return None;
        }
        plan.reason = format!(
            "{} of {} entries of a table are tombstones, {} of 128 in a row",
            table.tombstones, table.entries, table.densest_tombstones
        );
        Some(plan)
    })
}

fn tombstones(table: &TableRecord) -> u64 {
    table.tombstones + table.range_deletes
}

fn is_dense(table: &TableRecord) -> bool {
    table.tombstones >= TOMBSTONES_MIN
        && table.densest_tombstones >= DENSE_TOMBSTONES
        && table.tombstones * 4 >= table.entries
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use lsm_version::{Version, VersionEdit};

    use super::*;
    use crate::policy::Traffic;

    /// The picture, with so many tombstones in its first table, written at 1000 ms.
    fn version(picture: &str, tombstones: u64) -> Version {
        let plain = Version::parse(picture);
        let (place, first) = plain.tables().next().expect("there is one");
        let mut first = (**first).clone();
        (first.tombstones, first.entries, first.densest_tombstones) = (tombstones, tombstones, 128);
        first.created_ms = 1000;
        let removed = vec![(place, first.number)];
        plain
            .apply(&VersionEdit {
                removed,
                added: vec![(place, Arc::new(first))],
                ..VersionEdit::default()
            })
            .expect("fits")
    }

    fn plan(version: &Version, snapshots: &[u64], age_limit_ms: Option<u64>) -> Option<String> {
        let input =
            PlanInput { version, running: &[], snapshots, now_ms: 5000, traffic: Traffic::Rest };
        plan_tombstones(&input, age_limit_ms, 100).map(|plan| plan.reason)
    }

    #[test]
    fn dense_tombstones_are_merged_where_that_is_in_proportion() {
        let small = "L0: a-f:900\nL6: a-e:900 g-m:900";
        let reason = plan(&version(small, 2000), &[], None).expect("a plan");
        assert_eq!(reason, "2000 of 2000 entries of a table are tombstones, 128 of 128 in a row");
        assert_eq!(plan(&version(small, 200), &[], None), None, "too few to matter");
        assert_eq!(plan(&version(small, 2000), &[1], None), None, "a snapshot sees what they hide");
        assert_eq!(plan(&version("L6: a-e:900", 2000), &[], None), None, "the bottom is cleaned");
        let large = "L0: a-f:100\nL6: a-e:9000 g-m:900";
        assert_eq!(plan(&version(large, 2000), &[], None), None, "the rest is 90 times as large");
    }

    #[test]
    fn a_tombstone_beyond_its_limit_goes_whatever_that_costs() {
        let large = "L0: a-f:100\nL6: a-e:9000 g-m:900";
        let reason = plan(&version(large, 1), &[], Some(4000)).expect("a plan");
        assert_eq!(reason, "1 tombstones are 4000 ms old and their limit is 4000");
        assert_eq!(plan(&version(large, 1), &[], Some(4001)), None, "not yet");
        assert_eq!(plan(&version(large, 1), &[1], Some(0)), None, "a snapshot sees what it hides");
    }
}
