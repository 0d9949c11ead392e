//! One run a level.
//!
//! Levels grow by a ratio from the bottom up: the deepest level holds most of the data, the one
//! above a tenth of it, and so on up to the *base* level, into which level 0 is merged. So space
//! beyond the live data is about a tenth, whatever the size.

use lsm_version::{LEVELS, Level, Place, TableRecord, Version};

use crate::plan::{Action, Plan, PlanInputRun, Planner, bounds};
use crate::policy::{PlanInput, Policy, Traffic};

/// The deepest level.
const BOTTOM: usize = LEVELS - 1;

/// How many times as many runs level 0 may hold while nobody reads.
const UNREAD_TIMES: u64 = 5;
/// But no more than so many: writes are slowed soon after, and readers who come meet them.
const UNREAD_RUNS_MAX: u64 = 20;
/// And no more bytes than so many tables, so that they are soon merged then.
const UNREAD_TABLES_MAX: u64 = 32;

/// How the leveled policy behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeveledOptions {
    /// Runs of level 0 at which they are merged; while it is written and nobody reads it, five times as many,
    /// up to 20. More: less merging, slower reads.
    pub level_zero_runs: u64,
    /// How much larger a level is than the one above. More: less levels and less space, more
    /// merging in each.
    pub size_ratio: u64,
    /// Bytes of the smallest level below 0. While the bottom is not `size_ratio` times as large,
    /// there is no level between.
    pub base_bytes: u64,
    /// Percent of the bottom's size that level 0 may hold before it is merged although it has few
    /// runs, once nothing is being written. Less: less space, more merging.
    pub slack_percent: u64,
    /// Bytes of a table.
    pub table_bytes: u64,
}

impl Default for LeveledOptions {
    fn default() -> Self {
        Self {
            level_zero_runs: 4,
            size_ratio: 10,
            base_bytes: 256 << 20,
            slack_percent: 15,
            table_bytes: 64 << 20,
        }
    }
}

/// Which level level 0 is merged into, and how large levels should be.
#[derive(Debug, PartialEq, Eq)]
struct Shape {
    base: usize,
    targets: [u64; LEVELS],
}

impl LeveledOptions {
    pub(crate) fn named(&mut self) -> Vec<(&'static str, &mut u64)> {
        vec![
            ("level_zero_runs", &mut self.level_zero_runs),
            ("size_ratio", &mut self.size_ratio),
            ("base_bytes", &mut self.base_bytes),
            ("slack_percent", &mut self.slack_percent),
            ("table_bytes", &mut self.table_bytes),
        ]
    }

    fn shape(&self, version: &Version) -> Shape {
        let ratio = self.size_ratio.max(2);
        let mut targets = [u64::MAX; LEVELS];
        let mut target = version.level_bytes(BOTTOM);
        let mut base = BOTTOM;
        while base > 1 && target > self.base_bytes.saturating_mul(ratio) {
            target /= ratio;
            base -= 1;
            targets[base] = target;
        }
        // Levels above the base should be empty.
        targets[1..base].fill(0);
        Shape { base, targets }
    }

    fn level_zero_runs_max(&self, traffic: Traffic) -> u64 {
        match traffic {
            Traffic::WritesAlone => {
                let many = self.level_zero_runs.saturating_mul(UNREAD_TIMES);
                many.min(UNREAD_RUNS_MAX).max(self.level_zero_runs)
            }
            Traffic::Rest | Traffic::WritesAndReads => self.level_zero_runs,
        }
    }

    fn is_level_zero_full(&self, level_zero: &Level, traffic: Traffic) -> bool {
        let runs = level_zero.runs.len() as u64;
        let is_large = level_zero.bytes() >= self.unread_bytes_max();
        runs >= self.level_zero_runs_max(traffic) || runs >= self.level_zero_runs && is_large
    }

    fn unread_bytes_max(&self) -> u64 {
        self.table_bytes.saturating_mul(UNREAD_TABLES_MAX)
    }

    fn why_full(&self, level_zero: &Level, traffic: Traffic) -> String {
        let (runs, limit) = (level_zero.runs.len() as u64, self.level_zero_runs_max(traffic));
        if runs >= limit {
            return format!("level 0 holds {runs} runs and its limit is {limit}");
        }
        let (bytes, limit) = (level_zero.bytes(), self.unread_bytes_max());
        format!("level 0 holds {bytes} bytes and its limit is {limit} while nobody reads it")
    }

    fn plan_level_zero(
        &self,
        planner: &Planner<'_>,
        base: usize,
        traffic: Traffic,
    ) -> Option<Plan> {
        let version = planner.version;
        let runs = &version.level(0).runs;
        // Level 0 is merged by one plan at a time: its runs overlap.
        if planner.is_busy(0) {
            return None;
        }
        let oldest = runs.last()?;
        let bytes = version.level_bytes(0);
        let is_full = self.is_level_zero_full(version.level(0), traffic);
        let bottom = version.level_bytes(BOTTOM);
        let is_slack = traffic == Traffic::Rest
            && runs.len() > 1
            && bytes >= self.table_bytes
            && u128::from(bytes) * 100 > u128::from(bottom) * u128::from(self.slack_percent);
        let oldest_input =
            vec![PlanInputRun { level: 0, run: oldest.id, tables: oldest.tables.clone() }];
        let (lower, upper) = bounds(&oldest_input)?;
        let is_alone = planner.overlapping(base, &lower, &upper).is_empty();
        if is_alone && (is_full || oldest.bytes() >= self.table_bytes / 2) {
            let run = planner.joined_run(base, &oldest_input);
            let output = Place { level: base, run };
            let reason = format!("the oldest run of level 0 overlaps nothing in level {base}");
            return planner.make(Action::Move, oldest_input, output, reason);
        }
        let reason = if is_full {
            self.why_full(version.level(0), traffic)
        } else if is_slack {
            format!(
                "level 0 holds {bytes} bytes, over {} % of the bottom's {bottom}",
                self.slack_percent
            )
        } else {
            return None;
        };
        let mut inputs = planner.whole_level(0);
        let (lower, upper) = bounds(&inputs)?;
        let run = planner.joined_run(base, &inputs);
        inputs.extend(planner.overlapping(base, &lower, &upper));
        planner.make(Action::Merge, inputs, Place { level: base, run }, reason)
    }

    /// Moves one table of `level` down, the one that meets the least below.
    fn plan_down(&self, planner: &Planner<'_>, level: usize, reason: &str) -> Option<Plan> {
        let run = planner.version.level(level).runs.first()?;
        let below = level + 1;
        let cost = |table: &TableRecord| {
            let met = planner.overlapping(below, &table.lower, &table.upper);
            let bytes: u64 = met.iter().flat_map(|i| &i.tables).map(|t| t.bytes).sum();
            // Per byte moved; tombstones make a table worth moving.
            let worth = table.bytes + table.bytes / 2 * table.tombstones / table.entries.max(1);
            u128::from(bytes) * 1000 / u128::from(worth.max(1))
        };
        let mut tables: Vec<_> =
            run.tables.iter().filter(|table| !planner.is_used(table)).collect();
        tables.sort_by_cached_key(|table| (cost(table), table.number));
        tables.into_iter().find_map(|table| {
            let tables = vec![table.clone()];
            let mut inputs = vec![PlanInputRun { level, run: run.id, tables }];
            let run = planner.joined_run(below, &inputs);
            inputs.extend(planner.overlapping(below, &table.lower, &table.upper));
            planner.make(Action::Merge, inputs, Place { level: below, run }, reason.to_owned())
        })
    }

    /// Makes one run of several, as another policy may have left them.
    fn plan_one_run(planner: &Planner<'_>, level: usize) -> Option<Plan> {
        let inputs = planner.whole_level(level);
        if inputs.len() < 2 {
            return None;
        }
        let reason = format!("level {level} holds {} runs and should hold one", inputs.len());
        let output = Place { level, run: inputs[0].run };
        planner.make(Action::Merge, inputs, output, reason)
    }
}

/// Writes anew a table of the bottom whose tombstones, range deletes among them, no snapshot needs any
/// more.
pub(crate) fn plan_clean(planner: &Planner<'_>, input: &PlanInput<'_>) -> Option<Plan> {
    let deepest = (1..LEVELS).rev().find(|&level| !input.version.level(level).runs.is_empty())?;
    let run = input.version.level(deepest).runs.last()?;
    let oldest_snapshot = input.snapshots.first().copied().unwrap_or(u64::MAX);
    let tombstones = |table: &TableRecord| table.tombstones + table.range_deletes;
    let is_dirty = |table: &&std::sync::Arc<TableRecord>| {
        tombstones(table) > 0 && oldest_snapshot > table.seq_no_max && !planner.is_used(table)
    };
    let table = run.tables.iter().find(is_dirty)?;
    let reason = format!("{} tombstones have nothing below them to hide", tombstones(table));
    let inputs = vec![PlanInputRun { level: deepest, run: run.id, tables: vec![table.clone()] }];
    planner.make(Action::Merge, inputs, Place { level: deepest, run: run.id }, reason)
}

impl Policy for LeveledOptions {
    fn plan(&self, input: &PlanInput<'_>) -> Option<Plan> {
        let planner = Planner {
            version: input.version,
            running: input.running,
            output_table_bytes: self.table_bytes,
        };
        for level in 1..LEVELS {
            if let Some(plan) = Self::plan_one_run(&planner, level) {
                return Some(plan);
            }
            // Levels are merged into only when they are one run each.
            if input.version.level(level).runs.len() > 1 {
                return None;
            }
        }
        let shape = self.shape(input.version);
        // Level 0 before others, for reads and writes wait for it. It never passes over tables that
        // another policy, or a smaller tree, left above the base: they are older.
        let is_filled = |level: &usize| !input.version.level(*level).runs.is_empty();
        let below = (1..shape.base).find(is_filled).unwrap_or(shape.base);
        if let Some(plan) = self.plan_level_zero(&planner, below, input.traffic) {
            return Some(plan);
        }
        for level in 1..BOTTOM {
            let (bytes, target) = (input.version.level_bytes(level), shape.targets[level]);
            if bytes > target {
                let reason =
                    format!("level {level} holds {bytes} bytes and its target is {target}");
                if let Some(plan) = self.plan_down(&planner, level, &reason) {
                    return Some(plan);
                }
            }
        }
        plan_clean(&planner, input)
    }

    fn debt_bytes(&self, version: &Version, traffic: Traffic) -> u64 {
        let shape = self.shape(version);
        let excess = |level: usize| version.level_bytes(level).saturating_sub(shape.targets[level]);
        let level_zero = version.level(0);
        let is_full = self.is_level_zero_full(level_zero, traffic);
        let level_zero_bytes = if is_full { level_zero.bytes() } else { 0 };
        level_zero_bytes + (1..BOTTOM).map(excess).sum::<u64>()
    }
}
