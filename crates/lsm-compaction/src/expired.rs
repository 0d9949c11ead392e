//! Tables in which everything has expired: they go by an edit, without being read.
//!
//! ```text
//!   run 9    a ───── f   g ── k            expired, but a ── c lies under it: stays
//!   run 5    a ─ c           m ──── t      m ──── t expired: goes
//! ```
//!
//! What has expired still hides what is older. So a table goes only where nothing older lies under its
//! range; and only once no reader sees anything of it, a snapshot by its own time.

use lsm_version::{Place, TableRecord, Version};

use crate::plan::{Action, Plan, PlanInputRun, Planner, RunningPlan};
use crate::read_times::ReadTimes;

/// A plan that drops tables of one run in which everything has expired, the oldest run first. The
/// same for every policy.
///
/// ```
/// use lsm_compaction::{ReadTimes, plan_expired};
/// use lsm_version::Version;
///
/// assert_eq!(plan_expired(&Version::default(), &[], &ReadTimes::new(vec![], 1000)), None);
/// ```
pub fn plan_expired(version: &Version, running: &[RunningPlan], times: &ReadTimes) -> Option<Plan> {
    let planner = Planner { version, running, output_table_bytes: 0 };
    let may_go = |table: &TableRecord| times.is_table_over(table) && !planner.is_used(table);
    let runs: Vec<_> = version.runs().collect();
    runs.iter().rev().find_map(|&(level, run)| {
        let place = Place { level, run: run.id };
        let drop = |tables: Vec<_>| {
            let reason = format!("{} tables of level {level} have expired", tables.len());
            let inputs = vec![PlanInputRun { level, run: run.id, tables }];
            planner.make(Action::Drop, inputs, place, reason)
        };
        let gone = run.tables.iter().filter(|table| may_go(table));
        let gone: Vec<_> = gone
            .filter(|table| {
                drop(vec![(*table).clone()]).is_some_and(|alone| alone.older.is_empty())
            })
            .cloned()
            .collect();
        // Together, unless something runs in between.
        let first = gone.first().cloned()?;
        drop(gone).or_else(|| drop(vec![first]))
    })
}
