//! The oldest tables go when there are too many bytes, or when they are too old.
//!
//! Nothing is merged but to keep the number of runs bounded; a key that is written again and again
//! is found in its newest table, and its older versions go with theirs.
//!
//! What goes is the oldest run, whole, whoever still reads it: snapshots and scans find as little of it as
//! others do. Runs are flushes and loads in their order, so there is a place in the order of all writes up
//! to which everything is gone, and behind which nothing is. That no longer holds, but of each key by
//! itself, once a range was compacted on demand, which puts it below everything, or where another policy
//! had the keyspace before.

use lsm_version::{Level, Place, Version};

use crate::plan::{Action, Plan, PlanInputRun, Planner};
use crate::policy::{PlanInput, Policy, Traffic};

/// How the FIFO policy behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FifoOptions {
    /// Bytes of tables and their blob files beyond which the oldest run goes.
    pub bytes_max: u64,
    /// Age, in milliseconds, beyond which a run goes; 0: none.
    pub age_max_ms: u64,
    /// Runs of level 0 at which the newest half becomes one.
    pub runs: u64,
    /// Bytes of a table.
    pub table_bytes: u64,
}

impl Default for FifoOptions {
    fn default() -> Self {
        Self { bytes_max: 1 << 30, age_max_ms: 0, runs: 16, table_bytes: 64 << 20 }
    }
}

impl FifoOptions {
    pub(crate) fn named(&mut self) -> Vec<(&'static str, &mut u64)> {
        vec![
            ("bytes_max", &mut self.bytes_max),
            ("age_max_ms", &mut self.age_max_ms),
            ("runs", &mut self.runs),
            ("table_bytes", &mut self.table_bytes),
        ]
    }
}

impl Policy for FifoOptions {
    fn plan(&self, input: &PlanInput<'_>) -> Option<Plan> {
        let version = input.version;
        let planner =
            Planner { version, running: input.running, output_table_bytes: self.table_bytes };
        // The oldest run is the last: in the deepest level, and there the one of smallest number.
        let (level, oldest) = version.runs().last()?;
        let place = Place { level, run: oldest.id };
        let drop_oldest = |reason| {
            let tables = oldest.tables.clone();
            let inputs = vec![PlanInputRun { level, run: oldest.id, tables }];
            planner.make(Action::Drop, inputs, place, reason)
        };
        let bytes = version.bytes() + version.blob_bytes();
        if bytes > self.bytes_max {
            return drop_oldest(format!(
                "there are {bytes} bytes and the limit is {}",
                self.bytes_max
            ));
        }
        let newest_ms = oldest.tables.iter().map(|table| table.created_ms).max().unwrap_or(0);
        let age_ms = input.now_ms.saturating_sub(newest_ms);
        if self.age_max_ms > 0 && age_ms > self.age_max_ms {
            return drop_oldest(format!("the oldest run is {age_ms} ms old"));
        }
        let mut inputs = planner.whole_level(0);
        if (inputs.len() as u64) < self.runs.max(4) || planner.is_busy(0) {
            return None;
        }
        let reason = format!("level 0 holds {} runs and its limit is {}", inputs.len(), self.runs);
        inputs.truncate(inputs.len() / 2);
        let output = Place { level: 0, run: inputs[0].run };
        planner.make(Action::Merge, inputs, output, reason)
    }

    fn debt_bytes(&self, version: &Version, _traffic: Traffic) -> u64 {
        let level_zero: &Level = version.level(0);
        // Dropping costs nothing; only runs beyond twice the limit are a debt.
        if level_zero.runs.len() as u64 > 2 * self.runs { level_zero.bytes() } else { 0 }
    }
}
