//! The kept inputs of every fuzz target, and a few blind changes of each.

use std::time::Duration;

use lsm_sim::fuzz::{Blind, TARGETS};

#[test]
fn kept_inputs_do_no_harm() {
    for target in TARGETS {
        let corpus = target.corpus().expect("is in the repository");
        assert!(!corpus.is_empty(), "{} has no kept inputs", target.name);
        for (path, input) in corpus {
            println!("{}: {}", target.name, path.display());
            (target.run)(&input);
        }
    }
}

#[test]
fn blind_changes_of_kept_inputs_do_no_harm() {
    for target in TARGETS {
        let blind = Blind { changes: 200, duration: Duration::MAX, seed: 1 };
        let runs = blind.run(target).expect("the corpus is in the repository");
        assert!(runs >= 200, "{}", target.name);
    }
}

#[test]
fn targets_have_names_of_their_own() {
    let mut names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), TARGETS.len());
}
