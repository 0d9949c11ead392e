//! The engine against the model and through crashes, as `cargo test` runs them; the program
//! `lsm-sim` runs more of the same.

mod damage;
mod faults;
mod fuzz;
#[cfg(feature = "linearizability")]
mod linearizability;
mod real;

use lsm_sim::crash::{Thoroughness, crash_at_every_step, small_sequences};
use lsm_sim::history::run_caught;
use lsm_sim::{Coverage, History};

/// Histories a test run checks against the model.
const HISTORIES: u64 = 2000;
/// Operations in each.
const LENGTH: usize = 200;
/// How often everything must have been used at least.
const COVERED: u64 = 50;

#[test]
fn the_engine_agrees_with_a_map() {
    let mut coverage = Coverage::default();
    for seed in 0..HISTORIES {
        let history = History::random(seed, LENGTH);
        if let Err(wrong) = run_caught(&history) {
            let smallest = history.shrink(|candidate| run_caught(candidate).is_err());
            panic!("seed {seed}: {wrong}\nshrunk:\n{}", smallest.to_text());
        }
        coverage.note(&history);
    }
    println!("{coverage}");
    assert!(coverage.below(COVERED).is_empty(), "seldom used: {:?}", coverage.below(COVERED));
}

#[test]
fn no_crash_in_a_short_sequence_loses_anything() {
    for (seed, ops) in small_sequences(1).into_iter().enumerate() {
        let history = History { ops, ..History::random(seed as u64, 0) };
        let how = Thoroughness { stride: 1, recovery_stride: Some(3) };
        if let Err(wrong) = crash_at_every_step(&history, how) {
            panic!("{wrong}\n{}", history.to_text());
        }
    }
}

#[test]
fn no_crash_in_a_long_history_loses_anything() {
    for seed in 0..4 {
        let history = History::random(seed, 60);
        let how = Thoroughness { stride: 5, recovery_stride: Some(31) };
        if let Err(wrong) = crash_at_every_step(&history, how) {
            panic!("{wrong}\n{}", history.to_text());
        }
    }
}

#[test]
fn kept_histories_pass() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/histories");
    for entry in std::fs::read_dir(dir).expect("the directory is in the repository") {
        let path = entry.expect("readable").path();
        if path.extension().is_some_and(|extension| extension == "txt") {
            let text = std::fs::read_to_string(&path).expect("readable");
            let history = History::parse(&text).expect("a history");
            run_caught(&history).unwrap_or_else(|wrong| panic!("{}: {wrong}", path.display()));
        }
    }
}
