//! Histories without a crash enumeration: against the model, in several worlds, twice, kept ones.

use lsm_io::SimFs;
use lsm_sim::history::run_caught;
use lsm_sim::worlds::{check_worlds, history};
use lsm_sim::{Coverage, History, Mix, Place};

/// Histories a test run checks against the model.
const HISTORIES: u64 = 600;
/// Operations in each.
const LENGTH: usize = 200;
/// How often everything must have been used at least.
const COVERED: u64 = 50;

#[track_caller]
fn check_history(history: &History) {
    if let Err(wrong) = run_caught(history) {
        let smallest = history.shrink(|candidate| run_caught(candidate).is_err());
        panic!("seed {}: {wrong}\nshrunk:\n{}", history.seed, smallest.to_text());
    }
}

#[test]
fn the_engine_agrees_with_a_map() {
    let mut coverage = Coverage::default();
    for seed in 0..HISTORIES {
        let history = History::random(seed, LENGTH);
        check_history(&history);
        coverage.note(&history);
    }
    println!("{coverage}");
    assert!(coverage.below(COVERED).is_empty(), "seldom used: {:?}", coverage.below(COVERED));
}

#[test]
fn the_engine_agrees_with_a_map_over_many_operations() {
    for seed in 0..2 {
        check_history(&History::drawn(seed, Mix::Long, 20_000));
    }
}

#[test]
fn every_setup_and_every_disk_answer_the_same() {
    for seed in 0..20 {
        let history = history(seed, 120);
        if let Err(wrong) = check_worlds(&history) {
            let smallest = history.shrink(|candidate| check_worlds(candidate).is_err());
            panic!("seed {seed}: {wrong}\nshrunk:\n{}", smallest.to_text());
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_disk() {
    let run = |history: &History| {
        let fs = SimFs::new(history.seed);
        history.run_on(Place::Simulated(fs), |_| {}).expect("runs")
    };
    let bytes = |place: &Place| {
        let Place::Simulated(fs) = place else { unreachable!("it was simulated") };
        let files: Vec<_> = fs.files().into_iter().map(|(path, _)| path).collect();
        let contents: Vec<_> = files.iter().map(|path| fs.read_file(path)).collect();
        (fs.steps(), files, contents)
    };
    for (mix, length) in [(Mix::Short, 200), (Mix::Crash, 200), (Mix::Long, 5000)] {
        for seed in 0..8 {
            let history = History::drawn(seed, mix, length);
            let (one, other) = (run(&history), run(&history));
            let (one, other) = (bytes(&one.place), bytes(&other.place));
            assert_eq!(one.0, other.0, "{mix:?} {seed}: calls");
            assert_eq!(one.1, other.1, "{mix:?} {seed}: files");
            assert!(one.2 == other.2, "{mix:?} {seed}: bytes");
        }
    }
}

#[test]
fn segments_are_recycled_in_histories_that_are_crashed() {
    let recycled = (0..40).filter(|seed| {
        let fs = SimFs::new(*seed);
        let history = History::drawn(*seed, Mix::Crash, 200);
        history.run_on(Place::Simulated(fs), |_| {}).expect("runs").recycled() > 0
    });
    assert!(recycled.count() > 0);
}

#[test]
fn transactions_are_at_odds_with_others_in_histories_of_every_kind() {
    for mix in [Mix::Short, Mix::Crash] {
        let conflicts = (0..20).map(|seed| {
            let history = History::drawn(seed, mix, 200);
            let fs = SimFs::new(seed);
            history.run_on(Place::Simulated(fs), |_| {}).expect("runs").conflicts
        });
        assert!(conflicts.sum::<u64>() > 0, "{mix:?}");
    }
}

#[test]
fn kept_histories_pass() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/histories");
    let mut count = 0;
    for entry in std::fs::read_dir(dir).expect("the directory is in the repository") {
        let path = entry.expect("readable").path();
        if path.extension().is_some_and(|extension| extension == "txt") {
            let text = std::fs::read_to_string(&path).expect("readable");
            let history = History::parse(&text);
            let history = history.unwrap_or_else(|wrong| panic!("{}: {wrong}", path.display()));
            run_caught(&history).unwrap_or_else(|wrong| panic!("{}: {wrong}", path.display()));
            count += 1;
        }
    }
    assert!(count > 0);
}
