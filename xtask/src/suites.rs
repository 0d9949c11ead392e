//! Which steps make up `cargo xtask test` and `cargo xtask ci`.
//!
//! Cheap steps come first: whoever forgot to format learns it in a second, not after the tests.

use crate::Result;
use crate::dispatch::simulator;
use crate::invocation::Invocation;
use crate::step::Step;
use crate::turn::Turn;
use crate::workspace::Workspace;
use crate::{alone, checks, examples, fuzz, instructions, loom, packages, planted};

/// How long the build server runs a fuzz target.
const FUZZ_SECONDS: u64 = 20;

/// How many of the targets each build runs; which ones changes with the commit.
const FUZZ_TARGETS: usize = 10;

/// How many planted bugs each build tries; which ones changes with the commit.
const PLANTED: usize = 2;

/// The memory that the load of the build server may use, in MiB. With less there is too little room beside
/// the budget, for page tables, stacks and what merges hold.
const MEMORY_LIMIT_MIB: u64 = 64;

/// How many times as much it loads.
const MEMORY_LIMIT_TIMES: u64 = 20;

/// What a change must keep true, in the time of a coffee.
pub(crate) fn test() -> Result<Vec<Step>> {
    Ok(vec![
        Step::new("rules", "cargo xtask check", || checks::run(&[])),
        Step::command("format", Invocation::cargo("fmt --all --check")),
        Step::command(
            "lints",
            Invocation::cargo("clippy --workspace --all-targets --all-features")
                .arguments(["--", "-D", "warnings"]),
        ),
        Step::command(
            "docs",
            Invocation::cargo("doc --workspace --no-deps --all-features")
                .variable("RUSTDOCFLAGS", "-D warnings"),
        ),
        // Unit, documentation and integration tests of every crate, the layer test among them.
        Step::command("tests", Invocation::cargo("test --workspace --all-features")),
        // What a user gets who asks for nothing more.
        Step::command(
            "default lints",
            Invocation::cargo("clippy --package lsm-engine --all-targets")
                .arguments(["--", "-D", "warnings"]),
        ),
        // What only other builds can read is refused, by a repair too.
        Step::command(
            "without zstd",
            Invocation::cargo("test --package lsm-sstable --package lsm-engine --tests")
                .arguments(["--features", "lsm-engine/repair"]),
        ),
        Step::new("examples", "cargo xtask examples", || examples::run(&[])),
        Step::new("readme", "cargo xtask readme", examples::run_readme),
    ])
}

/// The same, and what takes longer: each crate alone, packages, instructions counted, arbitrary bytes,
/// the model, a crash at every step, and what happens to a real machine: kills, power cuts, full
/// disks, failed syncs, little memory.
pub(crate) fn ci(crash_minutes: u32, histories: u64, seed: u64) -> Result<Vec<Step>> {
    let workspace = Workspace::read()?;
    let mut steps = test()?;
    steps.push(Step::new("crates alone", "cargo xtask alone", alone::run));
    steps.push(Step::new("packages", "cargo xtask packages", packages::run));
    steps.push(Step::new("loom", "cargo xtask loom", || loom::run(None, None)));
    steps.push(Step::judged("instructions", "cargo xtask instructions", || {
        instructions::run(&instructions::Arguments::default())
    }));
    // Two at once: each target is one thread.
    let turn = Turn::of_this_commit(FUZZ_TARGETS);
    let rerun = format!("cargo xtask fuzz --seconds {FUZZ_SECONDS} --jobs 2 {}", turn.words());
    let plan = fuzz::Plan { target: None, turn, seconds: FUZZ_SECONDS, jobs: 2 };
    steps.push(Step::new("fuzz", rerun, move || fuzz::run(&plan)));
    let turn = planted::Choice::of_this_commit(PLANTED);
    let rerun = format!("cargo xtask planted {}", turn.words());
    steps.push(Step::new("planted bugs", rerun, move || planted::run(&turn)));
    steps.push(simulated(&workspace, "model", &format!("--histories {histories} --seed {seed}")));
    let crash = format!("--jobs 2 --minutes {crash_minutes} --seed {seed}");
    steps.push(simulated(&workspace, "crash", &crash));
    steps.push(simulated(&workspace, "kill", &format!("--cycles 100 --seed {seed}")));
    steps.push(simulated(&workspace, "cut", &format!("--cuts 200 --seed {seed}")));
    steps.push(simulated(&workspace, "full-disk", &format!("--rounds 10 --seed {seed}")));
    steps.push(simulated(&workspace, "failed-sync", &format!("--rounds 10 --seed {seed}")));
    let limit = format!("--limit-mib {MEMORY_LIMIT_MIB} --times {MEMORY_LIMIT_TIMES}");
    steps.push(simulated(&workspace, "memory-limit", &limit));
    let histories = format!("--histories 1000 --seed {seed}");
    steps.push(simulated(&workspace, "linearizability", &histories));
    Ok(steps)
}

/// A command of the simulator, as far as this tree has its program.
fn simulated(workspace: &Workspace, command: &'static str, options: &str) -> Step {
    let program = workspace.package("lsm-sim").and_then(|package| package.targets_of("bin").next());
    match program {
        Some(_) => Step::where_possible(command, simulator(&format!("{command} {options}"))),
        None => Step::skipped(command, "lsm-sim has no program"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_build_server_runs_every_step_of_the_test_task_first() {
        let names = |steps: &[Step]| steps.iter().map(Step::name).collect::<Vec<_>>();
        let test = names(&test().unwrap());
        let ci = names(&ci(5, 2_000, 1).unwrap());
        assert_eq!(ci[..test.len()], test);
        assert!(ci.contains(&"crash"));
    }

    #[test]
    fn the_build_server_loads_many_times_the_memory_that_it_may_use() {
        let steps = ci(5, 2_000, 1).unwrap();
        let step = steps.iter().find(|step| step.name() == "memory-limit").expect("one of them");
        assert!(
            step.rerun().ends_with("memory-limit --limit-mib 64 --times 20"),
            "{}",
            step.rerun()
        );
    }
}
