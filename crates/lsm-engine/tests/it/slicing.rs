//! Merges that several threads carry out together, a slice of the keys each.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::ThreadId;
use std::time::Duration;

use lsm_engine::{
    CompactionFilter, CompactionPolicy, Db, ErrorKind, FilterDecision, KeyspaceOptions,
    LeveledOptions, Options, Step, ValueFilter,
};
use lsm_io::{SimFs, nth};

use crate::{content, key, threaded, tiny_options};

/// Tables so small that a few hundred entries make several slices, and nothing merged unasked.
fn small_tables(options: Options) -> Options {
    let leveled = LeveledOptions {
        table_bytes: 8 << 10,
        level_zero_runs: 100,
        slack_percent: 1_000_000,
        ..LeveledOptions::default()
    };
    let compaction = CompactionPolicy::Leveled(leveled);
    let keyspace = KeyspaceOptions { compaction, ..options.keyspace.clone() };
    Options { background_threads: 4, keyspace, ..options }
}

/// Two runs over the same keys, half of which the newer one deletes, and what is left.
fn fill(db: &Db) -> BTreeMap<Vec<u8>, Vec<u8>> {
    for n in 0..600 {
        db.put(key(n), vec![b'o'; 100]).expect("writes");
    }
    db.flush().expect("flushes");
    for n in 0..600 {
        match n % 2 {
            0 => db.put(key(n), vec![b'n'; 50]).expect("writes"),
            _ => db.delete(key(n)).expect("writes"),
        }
    }
    db.delete_range(key(100)..key(200)).expect("writes");
    db.flush().expect("flushes");
    let is_left = |n: &u32| n.is_multiple_of(2) && !(100..200).contains(n);
    (0..600).filter(is_left).map(|n| (key(n), vec![b'n'; 50])).collect()
}

fn tables(fs: &SimFs) -> usize {
    let is_table = |path: &Path| path.extension().is_some_and(|extension| extension == "sst");
    fs.files().iter().filter(|(path, _)| is_table(path)).count()
}

#[test]
fn the_slices_of_a_merge_are_one_run_with_every_key() {
    let fs = SimFs::new(0);
    let db = Db::open_with("db", small_tables(tiny_options(&fs))).expect("opens");
    let left = fill(&db);
    db.compact_range::<&[u8]>(..).expect("merges");
    assert_eq!(content(&db), left);
    let shape = db.default_keyspace().shape();
    assert_eq!(shape.runs.len(), 1, "{shape:?}");
    let entries: u64 = shape.runs[0].tables.iter().map(|table| table.entries).sum();
    assert_eq!(entries, left.len() as u64, "nothing is written that is deleted");
    assert!(shape.runs[0].tables.len() >= 4, "a table a slice: {shape:?}");
}

#[test]
fn a_failure_in_any_slice_fails_the_merge_and_leaves_no_file() {
    let mut failures = 0;
    for write in 1.. {
        let fs = SimFs::new(0);
        let db = Db::open_with("db", small_tables(tiny_options(&fs))).expect("opens");
        let left = fill(&db);
        let before = tables(&fs);
        fs.fail(nth(write).write_of("*.sst"));
        let merged = db.compact_range::<&[u8]>(..);
        assert_eq!(content(&db), left, "write {write}");
        let Err(error) = merged else { break };
        assert_eq!(error.kind(), ErrorKind::Io, "write {write}: {error}");
        assert_eq!(tables(&fs), before, "write {write}");
        db.compact_range::<&[u8]>(..).expect("it goes well the next time");
        while db.step(Step::Log).expect("removes files") {}
        assert_eq!(content(&db), left, "write {write}");
        failures += 1;
    }
    assert!(failures >= 4, "each slice writes a table, but only {failures} writes failed");
}

/// Keeps everything, once three threads have come to ask.
#[derive(Clone, Default)]
struct Meeting(Arc<Met>);

#[derive(Default)]
struct Met {
    here: Mutex<HashSet<ThreadId>>,
    arrived: Condvar,
}

impl CompactionFilter for Meeting {
    fn name(&self) -> &str {
        "meeting"
    }

    fn filter(&self, _: &[u8], _: &[u8]) -> FilterDecision {
        let mut here = self.0.here.lock().expect("nobody panicked");
        here.insert(std::thread::current().id());
        self.0.arrived.notify_all();
        let is_alone = |here: &mut HashSet<ThreadId>| here.len() < 3;
        let waited = self.0.arrived.wait_timeout_while(here, Duration::from_secs(60), is_alone);
        assert!(!waited.expect("nobody panicked").1.timed_out(), "nobody came to help");
        FilterDecision::Keep
    }
}

#[test]
fn threads_without_work_help_with_a_merge() {
    let fs = SimFs::new(0);
    let meeting = Meeting::default();
    let mut options = small_tables(threaded(&fs));
    options.keyspace.compaction_filter = Some(ValueFilter::new(meeting.clone()));
    let db = Db::open_with("db", options).expect("opens");
    let left = fill(&db);
    db.compact_range::<&[u8]>(..).expect("merges");
    assert_eq!(db.metrics().filter_failures, 0, "nobody came to help");
    assert!(meeting.0.here.lock().expect("nobody panicked").len() >= 3);
    assert_eq!(content(&db), left);
}

/// What the log of a database holds that is never closed: keys, deletes, and a range delete over the middle.
fn fill_log(db: &Db) -> BTreeMap<Vec<u8>, Vec<u8>> {
    for n in 0..200 {
        db.put(key(n), vec![b'o'; 100]).expect("writes");
    }
    db.delete_range(key(50)..key(150)).expect("writes");
    for n in (0..200).step_by(3) {
        db.delete(key(n)).expect("writes");
        db.put(key(n + 1), vec![b'n'; 20]).expect("writes");
    }
    content(db)
}

#[test]
fn what_an_open_finds_in_a_full_log_is_one_run_of_a_table_for_each_thread() {
    for is_threaded in [false, true] {
        let fs = SimFs::new(0);
        let roomy = |options| Options { memtable_bytes: Some(64 << 10), ..options };
        let db = Db::open_with("db", roomy(tiny_options(&fs))).expect("opens");
        let left = fill_log(&db);
        let image = fs.kill_image();
        let options = if is_threaded { threaded(&image) } else { tiny_options(&image) };
        let db = Db::open_with("db", roomy(options)).expect("opens again");
        assert_eq!(content(&db), left, "threads: {is_threaded}");
        let shape = db.default_keyspace().shape();
        assert_eq!(shape.runs.len(), 1, "{shape:?}");
        let tables = &shape.runs[0].tables;
        assert_eq!(tables.len(), 2, "{shape:?}");
        db.compact_range::<&[u8]>(..).expect("merges");
        assert_eq!(content(&db), left, "threads: {is_threaded}");
    }
}

#[test]
fn a_failure_in_any_slice_of_a_replay_fails_the_open_and_leaves_no_table() {
    let fs = SimFs::new(0);
    let db = Db::open_with("db", tiny_options(&fs)).expect("opens");
    let left = fill_log(&db);
    let mut failures = 0;
    for write in 1.. {
        let image = fs.kill_image();
        image.fail(nth(write).write_of("*.sst"));
        let opened = Db::open_with("db", tiny_options(&image));
        let Err(error) = opened else { break };
        assert_eq!(error.kind(), ErrorKind::Io, "write {write}: {error}");
        assert_eq!(tables(&image), 0, "write {write}");
        failures += 1;
        let db = Db::open_with("db", tiny_options(&image)).expect("opens after all");
        assert_eq!(content(&db), left, "write {write}");
    }
    assert!(failures >= 2, "{failures} writes failed");
}
