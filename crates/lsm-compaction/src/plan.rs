//! What was chosen, and why.

use std::sync::Arc;

use lsm_entry::is_below;
use lsm_version::{LEVELS, Place, RunId, TableRecord, Version};

/// How a plan is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The inputs are read and written anew.
    Merge,
    /// The inputs' tables change place, and nothing is read: they overlap nothing there.
    Move,
    /// The inputs' tables go.
    Drop,
}

/// Tables of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanInputRun {
    /// The run's level.
    pub level: usize,
    /// The run.
    pub run: RunId,
    /// The tables, in key order.
    pub tables: Vec<Arc<TableRecord>>,
}

/// What to do next.
///
/// Invariant: no table that overlaps the inputs' range lies, in age, between two of them; so the
/// output can take the place of them all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// How.
    pub action: Action,
    /// With what, newest run first.
    pub inputs: Vec<PlanInputRun>,
    /// Where to.
    pub output: Place,
    /// Outputs are cut at about this size.
    pub output_table_bytes: u64,
    /// Keys at which outputs may be cut early: the borders of the tables below, so that a later
    /// merge with them touches fewer.
    pub boundaries: Vec<Vec<u8>>,
    /// The smallest key of the inputs.
    pub lower: Vec<u8>,
    /// The largest key of the inputs.
    pub upper: Vec<u8>,
    /// Tables older than all inputs that overlap their range, run by run.
    pub older: Vec<Vec<Arc<TableRecord>>>,
    /// Why, in words.
    pub reason: String,
}

/// What of a plan keeps others from being made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunningPlan {
    numbers: Vec<u64>,
    levels: Vec<usize>,
    output_level: usize,
    lower: Vec<u8>,
    upper: Vec<u8>,
}

impl RunningPlan {
    /// Whether the plan works on a table.
    pub fn uses(&self, number: u64) -> bool {
        self.numbers.contains(&number)
    }

    /// Whether the plan takes tables from a level, or puts some there.
    pub fn touches(&self, level: usize) -> bool {
        self.output_level == level || self.levels.contains(&level)
    }

    /// What keeps plans away from some tables, and from putting others into a range of a level.
    pub(crate) fn at(level: usize, numbers: Vec<u64>, lower: Vec<u8>, upper: Vec<u8>) -> Self {
        Self { numbers, levels: Vec::new(), output_level: level, lower, upper }
    }

    /// Whether the range of its inputs shares a key with `lower..=upper`.
    pub(crate) fn meets(&self, lower: &[u8], upper: &[u8]) -> bool {
        self.lower.as_slice() <= upper && lower <= self.upper.as_slice()
    }

    fn overlaps(&self, plan: &Plan) -> bool {
        self.meets(&plan.lower, &plan.upper)
    }
}

impl Plan {
    /// What of it keeps others from being made.
    pub fn as_running(&self) -> RunningPlan {
        RunningPlan {
            numbers: self.tables().map(|table| table.number).collect(),
            levels: self.inputs.iter().map(|input| input.level).collect(),
            output_level: self.output.level,
            lower: self.lower.clone(),
            upper: self.upper.clone(),
        }
    }

    /// Every input table, newest run first.
    pub fn tables(&self) -> impl Iterator<Item = &Arc<TableRecord>> {
        self.inputs.iter().flat_map(|input| &input.tables)
    }

    /// Bytes of all inputs.
    pub fn input_bytes(&self) -> u64 {
        self.tables().map(|table| table.bytes).sum()
    }

    /// Whether nothing older than the inputs can hold `key`. Binary search in each older run.
    pub fn nothing_older(&self, key: &[u8]) -> bool {
        self.older.iter().all(|run| {
            let index = run.partition_point(|table| table.upper.as_slice() < key);
            run.get(index).is_none_or(|table| key < table.lower.as_slice())
        })
    }

    /// Whether nothing older than the inputs can lie from `lower` up to `upper` (exclusive).
    pub fn nothing_older_within(&self, lower: &[u8], upper: &[u8]) -> bool {
        self.older.iter().all(|run| {
            let index = run.partition_point(|table| table.upper.as_slice() < lower);
            run.get(index).is_none_or(|table| !is_below(&table.lower, upper))
        })
    }

    /// Whether it can be carried out beside those that run.
    pub(crate) fn is_free(&self, running: &[RunningPlan]) -> bool {
        running.iter().all(|other| {
            let shares_table = self.tables().any(|table| other.uses(table.number));
            let meets = other.overlaps(self) && other.touches(self.output.level);
            !shares_table && !meets
        })
    }
}

/// Makes plans for one version.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Planner<'a> {
    pub(crate) version: &'a Version,
    pub(crate) running: &'a [RunningPlan],
    pub(crate) output_table_bytes: u64,
}

impl Planner<'_> {
    /// Whether some plan works on a level.
    pub(crate) fn is_busy(&self, level: usize) -> bool {
        self.running.iter().any(|running| running.touches(level))
    }

    pub(crate) fn is_used(&self, table: &TableRecord) -> bool {
        self.running.iter().any(|running| running.uses(table.number))
    }

    /// Every table of a level.
    pub(crate) fn whole_level(&self, level: usize) -> Vec<PlanInputRun> {
        let runs = self.version.level(level).runs.iter();
        runs.map(|run| PlanInputRun { level, run: run.id, tables: run.tables.clone() }).collect()
    }

    /// The tables of a level that overlap a range.
    pub(crate) fn overlapping(
        &self,
        level: usize,
        lower: &[u8],
        upper: &[u8],
    ) -> Vec<PlanInputRun> {
        let runs = self.version.level(level).runs.iter();
        let inputs = runs.map(|run| {
            let tables = run.overlapping(lower, upper).to_vec();
            PlanInputRun { level, run: run.id, tables }
        });
        inputs.filter(|input| !input.tables.is_empty()).collect()
    }

    /// A run for output at `level` that is newer than all there, and as new as the inputs.
    pub(crate) fn new_run(&self, level: usize, inputs: &[PlanInputRun]) -> RunId {
        let newest_input = inputs.iter().map(|input| input.run).max().unwrap_or(0);
        let newest_there = self.version.level(level).runs.first().map_or(0, |run| run.id + 1);
        newest_input.max(newest_there)
    }

    /// The run for output that joins what is at `level` already.
    pub(crate) fn joined_run(&self, level: usize, inputs: &[PlanInputRun]) -> RunId {
        let there = self.version.level(level).runs.first().map(|run| run.id);
        there.unwrap_or_else(|| self.new_run(level, inputs))
    }

    /// A plan, if there is anything in it and it can be carried out beside those that run.
    pub(crate) fn make(
        &self,
        action: Action,
        inputs: Vec<PlanInputRun>,
        output: Place,
        reason: String,
    ) -> Option<Plan> {
        let inputs: Vec<_> = inputs.into_iter().filter(|input| !input.tables.is_empty()).collect();
        let (lower, upper) = bounds(&inputs)?;
        let mut plan = Plan {
            action,
            older: self.older(&inputs, output, &lower, &upper),
            inputs,
            output,
            output_table_bytes: self.output_table_bytes,
            boundaries: self.boundaries(output.level, &lower, &upper),
            lower,
            upper,
            reason,
        };
        if plan.action == Action::Merge && self.is_trivial(&plan) {
            plan.action = Action::Move;
        }
        plan.is_free(self.running).then_some(plan)
    }

    /// Whether a merge would only write its one input anew, elsewhere.
    fn is_trivial(&self, plan: &Plan) -> bool {
        let [input] = plan.inputs.as_slice() else { return false };
        let same_place = (input.level, input.run) == (plan.output.level, plan.output.run);
        let target = self.version.run(plan.output);
        let overlaps =
            target.is_some_and(|run| !run.overlapping(&plan.lower, &plan.upper).is_empty());
        !same_place && !overlaps
    }

    /// Tables older than all inputs, in their range: in deeper levels than the output's, and in
    /// older runs of the deepest level that inputs come from; in all runs of the output's level, if
    /// inputs come from above it.
    fn older(
        &self,
        inputs: &[PlanInputRun],
        output: Place,
        lower: &[u8],
        upper: &[u8],
    ) -> Vec<Vec<Arc<TableRecord>>> {
        let is_input = |table: &TableRecord| {
            inputs.iter().flat_map(|input| &input.tables).any(|input| input.number == table.number)
        };
        let oldest = inputs.iter().map(|input| (input.level, std::cmp::Reverse(input.run))).max();
        let Some((deepest, std::cmp::Reverse(oldest_run))) = oldest else { return Vec::new() };
        let deepest = deepest.max(output.level);
        let come_from_above = inputs.iter().any(|input| input.level < output.level);
        let runs = self.version.runs().filter(|(level, run)| {
            *level > deepest
                || (*level == deepest
                    && (run.id <= oldest_run || (come_from_above && *level == output.level)))
        });
        let older = runs.map(|(_, run)| {
            let tables = run.overlapping(lower, upper).iter();
            tables.filter(|table| !is_input(table)).cloned().collect::<Vec<_>>()
        });
        older.filter(|tables| !tables.is_empty()).collect()
    }

    /// The borders of the tables in the first filled level below the output.
    fn boundaries(&self, level: usize, lower: &[u8], upper: &[u8]) -> Vec<Vec<u8>> {
        let below = (level + 1..LEVELS).find(|&level| !self.version.level(level).runs.is_empty());
        let Some(below) = below else { return Vec::new() };
        let inputs = self.overlapping(below, lower, upper);
        let mut keys: Vec<Vec<u8>> = inputs
            .iter()
            .flat_map(|input| &input.tables)
            .map(|table| table.lower.clone())
            .collect();
        keys.sort();
        keys
    }
}

/// The smallest and the largest key of the inputs.
pub(crate) fn bounds(inputs: &[PlanInputRun]) -> Option<(Vec<u8>, Vec<u8>)> {
    let tables = || inputs.iter().flat_map(|input| &input.tables);
    let lower = tables().map(|table| &table.lower).min()?.clone();
    let upper = tables().map(|table| &table.upper).max()?.clone();
    Some((lower, upper))
}
