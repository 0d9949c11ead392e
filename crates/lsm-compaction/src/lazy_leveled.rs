//! Several runs a level, but one at the bottom.
//!
//! Most data lies in the one run at the bottom, so reads and space are close to leveled; what is
//! young is merged as rarely as tiered does it (Dayan, Idreos: "Dostoevsky", 2018).

use lsm_version::{LEVELS, Place, Version};

use crate::leveled::plan_clean;
use crate::plan::{Action, Plan, Planner, bounds};
use crate::policy::{PlanInput, Policy, Traffic};
use crate::tiered::plan_level;

const BOTTOM: usize = LEVELS - 1;
/// The one level between level 0 and the bottom.
const MIDDLE: usize = BOTTOM - 1;

/// How the lazy-leveled policy behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LazyLeveledOptions {
    /// Runs of level 0 that become one run of the level between.
    pub level_zero_runs: u64,
    /// Runs of the level between at which they are merged into the bottom. More: less merging, more
    /// space, slower reads.
    pub runs: u64,
    /// Bytes of a table.
    pub table_bytes: u64,
}

impl Default for LazyLeveledOptions {
    fn default() -> Self {
        Self { level_zero_runs: 4, runs: 4, table_bytes: 64 << 20 }
    }
}

impl LazyLeveledOptions {
    pub(crate) fn named(&mut self) -> Vec<(&'static str, &mut u64)> {
        vec![
            ("level_zero_runs", &mut self.level_zero_runs),
            ("runs", &mut self.runs),
            ("table_bytes", &mut self.table_bytes),
        ]
    }

    /// Level 0 becomes one run of the level between.
    fn plan_level_zero(&self, planner: &Planner<'_>) -> Option<Plan> {
        let inputs = planner.whole_level(0);
        if (inputs.len() as u64) < self.level_zero_runs.max(2) || planner.is_busy(0) {
            return None;
        }
        let reason = format!(
            "level 0 holds {} runs and its limit is {}",
            inputs.len(),
            self.level_zero_runs
        );
        let output = Place { level: MIDDLE, run: planner.new_run(MIDDLE, &inputs) };
        planner.make(Action::Merge, inputs, output, reason)
    }

    /// The level between is merged into the bottom.
    fn plan_bottom(&self, planner: &Planner<'_>) -> Option<Plan> {
        let mut inputs = planner.whole_level(MIDDLE);
        if (inputs.len() as u64) < self.runs.max(1) || planner.is_busy(MIDDLE) {
            return None;
        }
        let reason =
            format!("level {MIDDLE} holds {} runs and its limit is {}", inputs.len(), self.runs);
        let (lower, upper) = bounds(&inputs)?;
        let run = planner.joined_run(BOTTOM, &inputs);
        inputs.extend(planner.overlapping(BOTTOM, &lower, &upper));
        planner.make(Action::Merge, inputs, Place { level: BOTTOM, run }, reason)
    }
}

impl Policy for LazyLeveledOptions {
    fn plan(&self, input: &PlanInput<'_>) -> Option<Plan> {
        let planner = Planner {
            version: input.version,
            running: input.running,
            output_table_bytes: self.table_bytes,
        };
        // Levels that another policy filled are emptied downwards, whatever they hold.
        let foreign = (1..MIDDLE).find_map(|level| {
            let inputs = planner.whole_level(level);
            let output = Place { level: level + 1, run: planner.new_run(level + 1, &inputs) };
            let reason = format!("level {level} should hold nothing");
            planner.make(Action::Merge, inputs, output, reason)
        });
        let has_foreign = (1..MIDDLE).any(|level| !input.version.level(level).runs.is_empty());
        foreign
            .or_else(|| plan_level(&planner, BOTTOM, 2))
            .or_else(|| {
                // The bottom is merged into only when it is one run.
                let is_one = input.version.level(BOTTOM).runs.len() <= 1;
                is_one.then(|| self.plan_bottom(&planner)).flatten()
            })
            // Nor does level 0 pass over them while they wait: they are older.
            .or_else(|| (!has_foreign).then(|| self.plan_level_zero(&planner)).flatten())
            .or_else(|| plan_clean(&planner, input))
    }

    fn debt_bytes(&self, version: &Version, _traffic: Traffic) -> u64 {
        let full = |level: usize, limit: u64| {
            let level = version.level(level);
            if level.runs.len() as u64 >= limit.max(1) { level.bytes() } else { 0 }
        };
        full(0, self.level_zero_runs) + full(MIDDLE, self.runs)
    }
}
