//! Some of what `lsm-sim faults` does at length.

use lsm_sim::History;
use lsm_sim::faults::{FaultCount, WAYS, fail_every_call};

#[test]
fn no_call_that_fails_loses_anything_or_gives_a_wrong_answer() {
    let mut count = FaultCount::default();
    for (seed, way) in (0..).zip(WAYS) {
        let history = History::random(seed, 60);
        match fail_every_call(&history, *way, 7) {
            Ok(more) => count += more,
            Err(wrong) => panic!("seed {seed}: {wrong}\n{}", history.to_text()),
        }
    }
    println!("{count:?}");
    assert!(count.poisoned > 10 && count.healed > 10, "{count:?}");
}
