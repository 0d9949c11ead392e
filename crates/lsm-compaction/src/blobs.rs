//! Blob files that hold more garbage than they should: what counts in them is to be moved.
//!
//! Merges do that on the way, whatever they were made for. What no merge meets is met by a plan of
//! its own, one table at a time, when nothing else is due: so garbage does not stay for want of
//! writes. Each value that stays is moved once for each time that as much of its file has gone.
//!
//! Where what was deleted has to leave the disk within a time, any garbage will do, once the file is as
//! old as that: the file in its place is young, so no value is moved more often than once in that time.

use std::collections::BTreeSet;

use lsm_version::{BlobUse, Place, Version};

use crate::plan::{Action, Plan, PlanInputRun, Planner, RunningPlan};

/// A blob file of which this much (of 100) is garbage is to be given up: so blob files take at most
/// twice the room of what counts in them.
const GARBAGE_PERCENT: u64 = 50;

/// The blob files whose values a merge should move when it meets them: those that hold too much garbage,
/// and, of those that were written at `written_by_ms` or before, those that hold any.
pub fn blobs_to_move(version: &Version, written_by_ms: Option<u64>) -> BTreeSet<u64> {
    let files =
        version.blobs().filter(|blob| holds_too_much(blob) || is_overdue(blob, written_by_ms));
    files.map(|blob| blob.record.number).collect()
}

/// Whether a blob file holds garbage and was written at `written_by_ms` or before.
pub fn is_overdue(blob: &BlobUse, written_by_ms: Option<u64>) -> bool {
    let written_ms = blob.record.created_ms;
    blob.garbage_bytes() > 0 && written_by_ms.is_some_and(|by_ms| written_ms <= by_ms)
}

fn holds_too_much(blob: &BlobUse) -> bool {
    let garbage = u128::from(blob.garbage_bytes()) * 100;
    garbage > 0 && garbage >= u128::from(blob.record.value_bytes) * u128::from(GARBAGE_PERCENT)
}

/// A plan that writes a table anew, where it is, which refers to a blob file that holds too much
/// garbage; the file with the most first.
///
/// ```
/// use lsm_compaction::plan_blobs;
/// use lsm_version::Version;
///
/// assert_eq!(plan_blobs(&Version::default(), &[], 64 << 20), None);
/// ```
pub fn plan_blobs(
    version: &Version,
    running: &[RunningPlan],
    output_table_bytes: u64,
) -> Option<Plan> {
    plan_moving(version, running, output_table_bytes, &holds_too_much)
}

/// The same for a blob file that holds any garbage and was written at `written_by_ms` or before.
pub fn plan_overdue_blobs(
    version: &Version,
    running: &[RunningPlan],
    output_table_bytes: u64,
    written_by_ms: Option<u64>,
) -> Option<Plan> {
    let is_overdue = |blob: &BlobUse| is_overdue(blob, written_by_ms);
    plan_moving(version, running, output_table_bytes, &is_overdue)
}

fn plan_moving(
    version: &Version,
    running: &[RunningPlan],
    output_table_bytes: u64,
    is_to_be_moved: &dyn Fn(&BlobUse) -> bool,
) -> Option<Plan> {
    let mut files: Vec<&BlobUse> = version.blobs().filter(|blob| is_to_be_moved(blob)).collect();
    files.sort_by_key(|blob| std::cmp::Reverse(blob.garbage_bytes()));
    let planner = Planner { version, running, output_table_bytes };
    files.into_iter().find_map(|blob| {
        let number = blob.record.number;
        let refers = |share: &lsm_version::BlobShare| share.file == number;
        let tables = version.tables().filter(|(_, table)| table.blobs.iter().any(refers));
        tables.into_iter().find_map(|(place, table)| {
            let Place { level, run } = place;
            let inputs = vec![PlanInputRun { level, run, tables: vec![table.clone()] }];
            let reason = format!(
                "blob file {number} holds {} bytes, {} of them garbage",
                blob.record.value_bytes,
                blob.garbage_bytes()
            );
            planner.make(Action::Merge, inputs, place, reason)
        })
    })
}
