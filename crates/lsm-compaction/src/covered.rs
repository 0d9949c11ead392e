//! Tables that a range delete covers whole: they go by an edit, without being read.

use lsm_entry::{Fragments, RangeDelete, SeqNo, is_below};
use lsm_version::{LEVELS, Place, TableRecord, Version};

use crate::plan::{Action, Plan, PlanInputRun, Planner, RunningPlan};

/// A plan that drops the tables of one run that a range delete in a newer run covers whole, if there
/// are any and no snapshot sees them. `covering` tells where range deletes lie.
///
/// What was older than such a table stays hidden without it, for the range delete covers that as
/// well.
pub fn plan_covered(
    version: &Version,
    running: &[RunningPlan],
    snapshots: &[SeqNo],
    covering: &[(Place, &Fragments)],
) -> Option<Plan> {
    let planner = Planner { version, running, output_table_bytes: 0 };
    let ranges: Vec<(Place, RangeDelete)> = covering
        .iter()
        .flat_map(|(place, fragments)| {
            fragments.range_deletes().into_iter().map(|range| (*place, range))
        })
        .collect();
    if ranges.is_empty() {
        return None;
    }
    version.runs().find_map(|(level, run)| {
        let place = Place { level, run: run.id };
        let mut tables = Vec::new();
        for (_, range) in ranges.iter().filter(|(newer, _)| is_newer(*newer, place)) {
            for table in run.overlapping(&range.lower, range.last_key()) {
                if is_covered(table, range, snapshots) && !planner.is_used(table) {
                    tables.push(table.clone());
                }
            }
        }
        tables.sort_by(|one, other| one.lower.cmp(&other.lower));
        tables.dedup_by_key(|table| table.number);
        if tables.is_empty() {
            return None;
        }
        let reason = format!("range deletes cover {} tables of level {level}", tables.len());
        let inputs = vec![PlanInputRun { level, run: run.id, tables }];
        planner.make(Action::Drop, inputs, place, reason)
    })
}

fn is_newer(one: Place, other: Place) -> bool {
    debug_assert!(one.level < LEVELS && other.level < LEVELS, "places are those of a version");
    one.level < other.level || (one.level == other.level && one.run > other.run)
}

/// Whether every reader finds that all of the table is gone, or sees nothing of it.
fn is_covered(table: &TableRecord, range: &RangeDelete, snapshots: &[SeqNo]) -> bool {
    let stripe = |seq_no: SeqNo| snapshots.partition_point(|snapshot| *snapshot < seq_no);
    range.lower <= table.lower
        && is_below(&table.upper, &range.upper)
        && table.seq_no_max < range.seq_no
        && stripe(table.seq_no_min) == stripe(range.seq_no)
}
