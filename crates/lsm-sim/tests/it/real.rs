//! The harnesses of the real machine, through the program, for they start it again as the process
//! that is killed.

use std::io::Write as _;
use std::process::{Command, Output};

/// How a harness ends that needs root, Linux or a program that is not there.
const SKIPPED: i32 = 77;

fn lsm_sim(words: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lsm-sim"))
        .args(words.split_whitespace())
        .output()
        .expect("the program was built with this test")
}

/// Runs a harness; where it needs what this machine lacks it says so, and nothing is checked.
#[track_caller]
fn check_figures(words: &str, expected: &[&str]) {
    let output = lsm_sim(words);
    let printed = String::from_utf8_lossy(&output.stdout);
    if output.status.code() == Some(SKIPPED) {
        // Past what the test harness captures: a test that checked nothing says so where it counts as passed.
        let said = writeln!(std::io::stderr(), "NOT TESTED: lsm-sim {words}: {}", printed.trim());
        said.expect("standard error is open");
        return;
    }
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let figures = printed.lines().last().expect("figures");
    assert!(figures.starts_with("figures: "), "{figures}");
    for figure in expected {
        assert!(figures.split(' ').any(|found| found == *figure), "{figure} in {figures}");
    }
}

#[test]
fn no_kill_loses_what_was_acknowledged() {
    check_figures("kill --cycles 12 --seed 3", &["kill.cycles=12", "kill.lost=0"]);
}

#[test]
fn a_full_disk_loses_nothing_and_service_resumes() {
    check_figures("full-disk --rounds 2 --seed 3", &["full_disk.rounds=4", "full_disk.lost=0"]);
}

#[test]
fn a_failed_sync_loses_nothing() {
    check_figures(
        "failed-sync --rounds 1 --seed 1",
        &["failed_sync.rounds=1", "failed_sync.lost=0"],
    );
}

#[test]
fn a_load_keeps_within_the_memory_of_its_group() {
    check_figures(
        "memory-limit --limit-mib 32 --times 1",
        &["memory_limit.limit_mib=32", "memory_limit.lost=0", "memory_limit.over_budget=0"],
    );
}
