//! Which harness is next, with which seeds, and what survives an interruption.

use super::*;

/// A state of the code that no repository has.
pub(super) fn source() -> Source {
    Source { commit: "c0ffee".to_owned(), is_dirty: false }
}

/// A piece that held and took a minute.
pub(super) fn entry(harness: &str, seed: u64, figures: &[(&str, u64)]) -> Entry {
    Entry {
        commit: source().commit,
        is_dirty: false,
        harness: harness.to_owned(),
        seed_from: seed,
        seed_to: seed,
        seconds: 60.0,
        machine: "2 cores, Linux".to_owned(),
        finished_at: 0,
        figures: figures.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect(),
        failure: None,
    }
}

fn run_over(entries: &[Entry], ledger: Ledger) -> Run {
    let harnesses = harness::all();
    Run {
        state: Mutex::new(State::new(&source(), &harnesses, entries)),
        source: source(),
        harnesses,
        programs: Programs::at("nowhere".into()),
        ledger,
        until: None,
    }
}

fn nowhere() -> Ledger {
    Ledger::at("nowhere".into())
}

/// Entries that reach every goal, but for the harnesses in `open`, which are halfway there.
fn reached_but(open: &[&str]) -> Vec<Entry> {
    let reached = |harness: Harness| {
        let goal = &harness.goal;
        let is_open = open.contains(&harness.name.as_str());
        let count = if is_open { goal.count / 2 } else { goal.count };
        entry(&harness.name, 0, &[(&goal.figure, count)])
    };
    harness::all().into_iter().map(reached).collect()
}

#[track_caller]
fn check_next(open: &[&str], worker: Worker, expected: Option<&str>) {
    let run = run_over(&reached_but(open), nowhere());
    let next = run.next(worker).map(|assignment| assignment.harness.name.clone());
    assert_eq!(next.as_deref(), expected, "{open:?}");
}

#[test]
fn the_harness_with_the_least_left_to_do_is_next() {
    check_next(&["model", "crash", "faults"], Worker::Computes, Some("faults"));
    check_next(&["model", "crash"], Worker::Computes, Some("model"));
}

#[test]
fn what_waits_is_left_to_workers_that_wait_as_long_as_there_is_something_to_compute() {
    check_next(&["crash", "kill", "cut"], Worker::Computes, Some("crash"));
    check_next(&["crash", "kill", "cut"], Worker::Waits, Some("kill"));
    check_next(&["kill", "cut"], Worker::Computes, Some("kill"));
    check_next(&["crash"], Worker::Waits, None);
}

#[test]
fn a_run_ends_when_every_goal_is_reached() {
    check_next(&[], Worker::Computes, None);
    check_next(&[], Worker::Waits, None);
}

#[test]
fn time_beyond_the_goals_is_used_by_workers_that_compute_alone() {
    let until = Some(Instant::now() + Duration::from_secs(3600));
    let run = Run { until, ..run_over(&reached_but(&[]), nowhere()) };
    assert!(run.next(Worker::Computes).is_some());
    assert!(run.next(Worker::Waits).is_none());
}

#[test]
fn no_two_pieces_have_a_seed_in_common() {
    let old = Entry { commit: "older".to_owned(), ..entry("kill", 41, &[]) };
    let run = run_over(&[old], nowhere());
    let kill = run.harnesses.iter().find(|harness| harness.name == "kill").unwrap();
    let mut state = run.state.lock().unwrap();
    let seeds = [state.begin(kill), state.begin(kill)];
    assert_eq!(seeds, [42, 42 + kill.seeds_a_piece]);
}

#[test]
fn nothing_is_begun_after_a_finding() {
    let run = run_over(&[], nowhere());
    let kill = run.harnesses.iter().find(|harness| harness.name == "kill").unwrap();
    for _ in 0..2 {
        run.state.lock().unwrap().begin(kill);
    }
    run.finished(kill, entry("kill", 0, &[]));
    assert!(run.next(Worker::Waits).is_some(), "it held");
    run.finished(kill, Entry { failure: Some("lost".to_owned()), ..entry("kill", 0, &[]) });
    assert!(run.next(Worker::Waits).is_none() && run.next(Worker::Computes).is_none());
}

#[test]
fn figures_of_another_commit_or_of_uncommitted_changes_do_not_count() {
    let entries = [
        Entry { commit: "older".to_owned(), ..entry("kill", 0, &[]) },
        Entry { is_dirty: true, ..entry("kill", 1, &[]) },
        entry("kill", 2, &[]),
    ];
    let source = source();
    let selected = |with_dirty| {
        source.select(&entries, with_dirty).map(|entry| entry.seed_from).collect::<Vec<_>>()
    };
    assert_eq!(selected(false), [2]);
    assert_eq!(selected(true), [1, 2]);
}

#[test]
fn a_ledger_reads_back_and_survives_an_interrupted_line() {
    let dir = std::env::temp_dir().join(format!("xtask-ledger-{}", std::process::id()));
    let path = dir.join("ledger.jsonl");
    let ledger = Ledger::at(path.clone());
    assert_eq!(ledger.read().unwrap(), []);
    let failed = Entry { failure: Some("lost\nand more".to_owned()), ..entry("kill", 3, &[]) };
    let written = [entry("crash", 0, &[("crash.images", 7)]), failed];
    for entry in &written {
        ledger.append(entry).unwrap();
    }
    let whole = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{whole}{{\"commit\": \"c0f")).unwrap();
    assert_eq!(ledger.read().unwrap(), written);
    ledger.cut_interrupted_line().unwrap();
    ledger.append(&written[0]).unwrap();
    assert_eq!(ledger.read().unwrap().len(), 3);
    std::fs::write(&path, "what is this\n").unwrap();
    assert!(ledger.read().unwrap_err().to_string().ends_with("line 1: no entry of a ledger"));
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn a_harness_is_called_by_its_name_or_the_first_word_of_it() {
    assert_eq!(choose(harness::all(), &["kill".to_owned()]).unwrap().len(), 1);
    let error = choose(harness::all(), &["colour".to_owned()]).unwrap_err().to_string();
    assert!(error.starts_with("no harness `colour`; there are crash, "), "{error}");
}
