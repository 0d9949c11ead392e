//! Where tables go that come from outside: as deep as nothing in their range lies above.
//!
//! What comes from outside is newer than every table that is there, so it may lie anywhere above the
//! first table that shares its range. The deeper it goes, the less it is written anew.

use std::sync::Arc;

use lsm_version::{LEVELS, Place, RunId, TableRecord, Version};

use crate::plan::RunningPlan;
use crate::policy::CompactionPolicy;

const BOTTOM: usize = LEVELS - 1;

/// Where tables from outside are put, and what keeps plans away from there, and from them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IngestPlan {
    /// The place of each table.
    pub places: Vec<Place>,
    /// To be held as running until the tables are there and seen.
    pub running: Vec<RunningPlan>,
}

/// The tables that go to one level.
struct Arrivals<'a> {
    numbers: Vec<u64>,
    lower: &'a [u8],
    upper: &'a [u8],
}

/// Finds a place for each of `tables`, whose entries are newer than all in `version`. Those that meet
/// something go to level 0 as run `fresh`, which is newer than every run there.
pub fn plan_ingest(
    policy: &CompactionPolicy,
    version: &Version,
    running: &[RunningPlan],
    tables: &[Arc<TableRecord>],
    fresh: RunId,
) -> IngestPlan {
    let mut plan = IngestPlan::default();
    let mut levels: [Option<Arrivals<'_>>; LEVELS] = [const { None }; LEVELS];
    for table in tables {
        let level = level_of(policy, version, running, table);
        let joined = version.level(level).runs.first().filter(|_| level > 0);
        plan.places.push(Place { level, run: joined.map_or(fresh, |run| run.id) });
        let arrivals = levels[level].get_or_insert(Arrivals {
            numbers: Vec::new(),
            lower: &table.lower,
            upper: &table.upper,
        });
        arrivals.numbers.push(table.number);
        arrivals.lower = arrivals.lower.min(&table.lower);
        arrivals.upper = arrivals.upper.max(&table.upper);
    }
    for (level, arrivals) in levels.into_iter().enumerate() {
        let Some(Arrivals { numbers, lower, upper }) = arrivals else { continue };
        plan.running.push(RunningPlan::at(level, numbers, lower.to_vec(), upper.to_vec()));
    }
    plan
}

fn level_of(
    policy: &CompactionPolicy,
    version: &Version,
    running: &[RunningPlan],
    table: &TableRecord,
) -> usize {
    // There the deepest data counts as the oldest, and is dropped first.
    if matches!(policy, CompactionPolicy::Fifo(_)) {
        return 0;
    }
    let meets = |level: &usize| {
        let runs = &version.level(*level).runs;
        runs.iter().any(|run| !run.overlapping(&table.lower, &table.upper).is_empty())
    };
    let first_met = (0..LEVELS).find(meets).unwrap_or(LEVELS);
    // A level in which nothing lies is one that the policy wants empty, but for the bottom.
    let is_used = |level: &usize| *level == BOTTOM || !version.level(*level).runs.is_empty();
    // The output of a running plan may span the range without a key in it.
    let is_free = |level: &usize| {
        !running.iter().any(|plan| plan.touches(*level) && plan.meets(&table.lower, &table.upper))
    };
    (1..first_met).rev().find(is_used).filter(is_free).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{PlanInput, Traffic};

    #[track_caller]
    fn check_levels(policy: &str, version: &str, running: &[RunningPlan], expected: &[usize]) {
        let policy: CompactionPolicy = policy.parse().expect("a policy");
        let version = Version::parse(version);
        let outside = Version::parse("L1: d-f m-p");
        let tables: Vec<_> = outside.tables().map(|(_, table)| Arc::clone(table)).collect();
        let plan = plan_ingest(&policy, &version, running, &tables, 2000);
        let levels: Vec<_> = plan.places.iter().map(|place| place.level).collect();
        assert_eq!(levels, expected, "{policy}, {version:?}");
        for place in &plan.places {
            let newest = version.level(place.level).runs.first();
            let is_right = match newest {
                Some(run) if place.level > 0 => place.run == run.id,
                _ => place.run == 2000,
            };
            assert!(is_right, "{place:?}");
        }
    }

    #[test]
    fn what_meets_nothing_goes_to_the_bottom() {
        check_levels("leveled", "", &[], &[6, 6]);
        check_levels("leveled", "L0: a-c q-z\n L6: a-c g-l", &[], &[6, 6]);
        check_levels("tiered", "L0: a-c | q-z\n L6: a-c | g-l", &[], &[6, 6]);
    }

    #[test]
    fn what_meets_something_goes_above_it() {
        check_levels("leveled", "L0: e-e\n L6: a-c", &[], &[0, 6]);
        check_levels("leveled", "L5: a-b\n L6: e-e", &[], &[5, 6]);
        check_levels("leveled", "L6: n-n", &[], &[6, 0]);
        check_levels("leveled", "L4: a-b\n L5: e-o", &[], &[4, 4]);
    }

    #[test]
    fn a_level_that_is_empty_is_left_so() {
        check_levels("leveled", "L3: a-b\n L6: a-z", &[], &[3, 3]);
        check_levels("lazy_leveled", "L6: a-z", &[], &[0, 0]);
    }

    #[test]
    fn what_is_dropped_by_age_is_not_made_old() {
        check_levels("fifo", "", &[], &[0, 0]);
    }

    #[test]
    fn the_place_of_a_running_plan_is_not_taken() {
        let running = RunningPlan::at(6, vec![], b"a".to_vec(), b"e".to_vec());
        check_levels("leveled", "", &[running], &[0, 6]);
        let elsewhere = RunningPlan::at(5, vec![], b"a".to_vec(), b"e".to_vec());
        check_levels("leveled", "", &[elsewhere], &[6, 6]);
    }

    #[test]
    fn what_is_not_seen_yet_is_left_alone() {
        let policy = CompactionPolicy::default();
        let before = Version::parse("L3: x-z\n L6: a-z");
        let after = Version::parse("L3: a-f\n L6: a-z");
        let table = Arc::clone(&after.level(3).runs[0].tables[0]);
        let running = plan_ingest(&policy, &before, &[], &[table], 2000).running;
        let plan = |running: &[RunningPlan]| {
            let input = PlanInput {
                version: &after,
                running,
                snapshots: &[],
                now_ms: 0,
                traffic: Traffic::Rest,
            };
            policy.as_policy().plan(&input)
        };
        assert!(plan(&[]).is_some(), "the policy wants nothing in level 3");
        assert_eq!(plan(&running), None);
    }
}
