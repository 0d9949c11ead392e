//! A sample of the damage sweep; `lsm-sim damage` does all of it.

use lsm_engine::ReadMode;
use lsm_sim::damage::{Change, Family, Outcome, Sweep, judge, specimens};

/// Every n-th bit, length and pair of pieces. A prime, so that it meets every bit of a byte.
const STRIDE: usize = 89;

#[test]
fn no_damage_to_any_kind_of_file_gives_a_wrong_answer() {
    let sweep = Sweep { stride: STRIDE, jobs: 1 };
    let tallies: Vec<_> = specimens().iter().map(|specimen| sweep.run(specimen)).collect();
    for tally in &tallies {
        println!("{tally}");
        assert!(tally.holds(), "{}", tally.failures.join("\n"));
    }
    for kind in ["table", "blob", "log", "manifest", "current", "lock"] {
        assert!(tallies.iter().any(|tally| tally.kind.starts_with(kind)), "{kind} is left out");
    }
    for family in Family::ALL {
        assert!(tallies.iter().any(|tally| tally.tried.contains_key(&family)), "{family:?}");
    }
}

#[test]
fn undamaged_specimens_are_right() {
    for specimen in specimens() {
        // Nothing is appended.
        let outcome = judge(&specimen, &Change::Zeros(0), ReadMode::Mapped);
        assert_eq!(outcome, Ok(Outcome::Right), "{}", specimen.kind);
    }
}
