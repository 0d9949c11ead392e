//! Merging a range down to the bottom, because somebody asks for it.

use lsm_version::{LEVELS, Place, Version};

use crate::plan::{Action, Plan, PlanInputRun, Planner, RunningPlan, bounds};

const BOTTOM: usize = LEVELS - 1;

/// What merging a range takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RangePlan {
    /// Nothing: there are no tables in it.
    Nothing,
    /// A running plan is in the way.
    Wait,
    /// This plan; afterwards everything in the range lies in one run at the bottom.
    Merge(Box<Plan>),
}

/// A plan that merges every table in the range, from `lower` to `upper` (inclusive; `None`: to the
/// end), into one run at the bottom, dropping all that can be dropped.
///
/// It is made also where everything is at the bottom already: a snapshot that kept things may be
/// gone by now.
pub fn plan_range(
    version: &Version,
    running: &[RunningPlan],
    lower: &[u8],
    upper: Option<&[u8]>,
    output_table_bytes: u64,
) -> RangePlan {
    let planner = Planner { version, running, output_table_bytes };
    let (mut lower, mut upper) = (lower.to_vec(), upper.map(<[u8]>::to_vec));
    // The range grows until no table hangs over its ends: then nothing outside shares a key with
    // what is inside, and the output fits anywhere.
    let inputs = loop {
        let inputs = tables_in(version, &lower, upper.as_deref());
        let Some((first, last)) = bounds(&inputs) else { return RangePlan::Nothing };
        let grows_down = first < lower;
        let grows_up = upper.as_ref().is_some_and(|upper| last > *upper);
        if !grows_down && !grows_up {
            break inputs;
        }
        if grows_down {
            lower = first;
        }
        if grows_up {
            upper = Some(last);
        }
    };
    let run = planner.joined_run(BOTTOM, &inputs);
    let output = Place { level: BOTTOM, run };
    let plan = planner.make(Action::Merge, inputs, output, "somebody asked for it".into());
    match plan {
        None => RangePlan::Wait,
        Some(mut plan) => {
            // A move would leave what is to be dropped.
            plan.action = Action::Merge;
            RangePlan::Merge(Box::new(plan))
        }
    }
}

fn tables_in(version: &Version, lower: &[u8], upper: Option<&[u8]>) -> Vec<PlanInputRun> {
    let inputs = version.runs().map(|(level, run)| {
        let tables = run.tables.iter().filter(|table| {
            table.upper.as_slice() >= lower
                && upper.is_none_or(|upper| table.lower.as_slice() <= upper)
        });
        PlanInputRun { level, run: run.id, tables: tables.cloned().collect() }
    });
    inputs.filter(|input| !input.tables.is_empty()).collect()
}
