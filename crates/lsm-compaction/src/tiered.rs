//! Several runs a level: a full level becomes one run of the next.

use lsm_version::{LEVELS, Place, Version};

use crate::leveled::plan_clean;
use crate::plan::{Action, Plan, Planner};
use crate::policy::{PlanInput, Policy, Traffic};

const BOTTOM: usize = LEVELS - 1;

/// How the tiered policy behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TieredOptions {
    /// Runs of a level at which they become one of the next. More: less merging, more space, slower
    /// reads.
    pub runs: u64,
    /// Bytes of a table.
    pub table_bytes: u64,
}

impl Default for TieredOptions {
    fn default() -> Self {
        Self { runs: 4, table_bytes: 64 << 20 }
    }
}

impl TieredOptions {
    pub(crate) fn named(&mut self) -> Vec<(&'static str, &mut u64)> {
        vec![("runs", &mut self.runs), ("table_bytes", &mut self.table_bytes)]
    }
}

/// Makes one run of a whole level: in the next one, or, at the bottom, in its place.
pub(crate) fn plan_level(planner: &Planner<'_>, level: usize, limit: u64) -> Option<Plan> {
    let inputs = planner.whole_level(level);
    if (inputs.len() as u64) < limit.max(2) || planner.is_busy(level) {
        return None;
    }
    let reason = format!("level {level} holds {} runs and its limit is {limit}", inputs.len());
    let output = if level == BOTTOM {
        Place { level, run: inputs[0].run }
    } else {
        Place { level: level + 1, run: planner.new_run(level + 1, &inputs) }
    };
    planner.make(Action::Merge, inputs, output, reason)
}

impl Policy for TieredOptions {
    fn plan(&self, input: &PlanInput<'_>) -> Option<Plan> {
        let planner = Planner {
            version: input.version,
            running: input.running,
            output_table_bytes: self.table_bytes,
        };
        let full = (0..LEVELS).find_map(|level| plan_level(&planner, level, self.runs));
        full.or_else(|| plan_clean(&planner, input))
    }

    fn debt_bytes(&self, version: &Version, _traffic: Traffic) -> u64 {
        let is_full = |level: &&lsm_version::Level| level.runs.len() as u64 >= self.runs.max(2);
        version.levels().iter().filter(is_full).map(lsm_version::Level::bytes).sum()
    }
}
