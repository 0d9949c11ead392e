//! Crashes at every step, of a few sequences and histories.

use lsm_sim::crash::{CrashCount, Thoroughness, crash_at_every_step, shrink};
use lsm_sim::sequences::{sequence, sequence_count};
use lsm_sim::{History, Mix};

#[track_caller]
fn check_crashes(history: &History, how: Thoroughness) -> CrashCount {
    crash_at_every_step(history, how).unwrap_or_else(|failure| {
        let smallest = shrink(&failure.history);
        panic!("{}\nshrunk:\n{}", failure.wrong, smallest.to_text())
    })
}

#[test]
fn no_crash_in_a_short_sequence_loses_anything() {
    for number in 0..sequence_count(1) {
        let (history, how) = sequence(number, 0, Some(3));
        assert!(check_crashes(&history, how).images > 0 || how.from_op > 0);
    }
}

#[test]
fn no_crash_in_a_long_history_loses_anything() {
    for seed in 0..4 {
        let history = History::drawn(seed, Mix::Crash, 60);
        let how =
            Thoroughness { from_op: 0, stride: 9, recovery_stride: Some(31), recovery_policies: 8 };
        assert!(check_crashes(&history, how).points > 5);
    }
}
