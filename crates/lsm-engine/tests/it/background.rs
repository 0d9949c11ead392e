//! What happens without being asked: flushes by size, age and log length, compactions, room made.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lsm_engine::{
    CompactionPolicy, Db, Durability, Env, ErrorKind, FifoOptions, Keyspace, KeyspaceOptions,
    LeveledOptions, Options, Reads, Step,
};
use lsm_io::{SimFs, every, once};

use crate::{key, open, threaded, tiny_options};

#[test]
fn a_memtable_is_flushed_when_it_is_old() {
    let fs = SimFs::new(0);
    let clock = Arc::new(AtomicU64::new(1_000_000));
    let told = Arc::clone(&clock);
    let options = tiny_options(&fs);
    let env = Env { clock: Arc::new(move || told.load(Ordering::Relaxed)), ..options.env.clone() };
    let options = Options { flush_interval_ms: Some(5_000), env, ..options };
    let db = Db::open_with("db", options).expect("opens");
    db.put("key", "value").expect("writes");
    for seconds in 0..5 {
        clock.store(1_000_000 + seconds * 1_000, Ordering::Relaxed);
        db.step(Step::Log).expect("looks at the clock");
        assert!(!db.step(Step::Flush).expect("has nothing to do"), "after {seconds} s");
    }
    clock.store(1_005_000, Ordering::Relaxed);
    db.step(Step::Log).expect("seals");
    assert!(db.step(Step::Flush).expect("flushes"));
    assert_eq!(db.metrics().flushes, 1);
}

#[test]
fn what_saves_space_alone_is_merged_in_a_pause_or_by_a_settle() {
    for settles in [false, true] {
        let fs = SimFs::new(0);
        let clock = Arc::new(AtomicU64::new(1_000_000));
        let told = Arc::clone(&clock);
        let options = tiny_options(&fs);
        let clocked = Arc::new(move || told.load(Ordering::Relaxed));
        let env = Env { clock: clocked, ..options.env.clone() };
        let leveled = LeveledOptions { table_bytes: 4 << 10, ..LeveledOptions::default() };
        let compaction = CompactionPolicy::Leveled(leveled);
        let keyspace = KeyspaceOptions { compaction, ..options.keyspace.clone() };
        let db = Db::open_with("db", Options { env, keyspace, ..options }).expect("opens");
        // The first becomes the bottom, and two runs of level 0, fewer than its limit, lie over it.
        for _ in 0..3 {
            (0..100).for_each(|n| db.put(key(n), vec![1; 100]).expect("writes"));
            db.flush().expect("flushes");
            db.step(Step::Log).expect("looks how far writing has come");
            while db.step(Step::Compact).expect("moves the first") {}
        }
        assert_eq!(db.metrics().levels[0].runs, 2, "writing goes on");
        if settles {
            db.settle().expect("settles");
        } else {
            clock.store(1_001_000, Ordering::Relaxed);
            db.step(Step::Log).expect("finds a pause");
            while db.step(Step::Compact).expect("merges") {}
        }
        assert_eq!(db.metrics().levels[0].runs, 0);
    }
}

#[test]
fn a_quiet_keyspace_does_not_pin_the_log_for_ever() {
    let fs = SimFs::new(0);
    let db = open(&fs);
    let quiet = db.keyspace("quiet").expect("creates");
    quiet.put("key", "value").expect("writes");
    for n in 0..20_000 {
        db.put_with(key(n % 500), vec![0; 100], Durability::Memory.into()).expect("writes");
        if n % 200 == 0 {
            db.settle().expect("settles");
        }
    }
    let limit = 256 << 10;
    assert!(db.metrics().log_bytes <= 2 * limit, "{} bytes of log", db.metrics().log_bytes);
    assert_eq!(quiet.get("key").expect("reads").expect("there"), "value");
}

#[test]
fn a_fifo_keyspace_drops_its_oldest_tables() {
    let db = open(&SimFs::new(0));
    let fifo = CompactionPolicy::Fifo(FifoOptions { bytes_max: 200 << 10, ..Default::default() });
    let options = KeyspaceOptions { compaction: fifo, ..KeyspaceOptions::default() };
    let events = db.keyspace_with("events", options).expect("creates");
    for n in 0..8_000 {
        events.put_with(key(n), vec![0; 100], Durability::Memory.into()).expect("writes");
        if n % 100 == 0 {
            db.settle().expect("settles");
        }
    }
    assert!(db.metrics().table_bytes() <= 250 << 10, "{} bytes", db.metrics().table_bytes());
    assert_eq!(events.get(key(0)).expect("reads"), None, "the oldest went");
    assert!(events.contains_key(key(7_999)).expect("reads"), "the newest stayed");
}

#[test]
fn sequential_writes_are_moved_and_never_merged() {
    let db = open(&SimFs::new(0));
    let mut options = db.options();
    let small =
        LeveledOptions { table_bytes: 16 << 10, base_bytes: 64 << 10, ..Default::default() };
    options.compaction = CompactionPolicy::Leveled(small);
    db.set_options(options).expect("changes");
    for n in 0..10_000 {
        db.put_with(key(n), vec![0; 100], Durability::Memory.into()).expect("writes");
        if n % 100 == 0 {
            db.settle().expect("settles");
        }
    }
    let metrics = db.metrics();
    assert!(metrics.flushes > 20, "{} flushes", metrics.flushes);
    assert_eq!(metrics.compaction_bytes_written, 0, "tables that overlap nothing are moved");
    assert_eq!(db.iter().count(), 10_000);
}

#[test]
fn metrics_tell_what_was_written_and_why() {
    let db = open(&SimFs::new(0));
    for n in 0..2_000 {
        db.put_with(key(n % 300), vec![0; 100], Durability::Memory.into()).expect("writes");
    }
    db.flush().expect("flushes");
    db.settle().expect("settles");
    let metrics = db.metrics();
    assert_eq!(metrics.entries_written, 2_000);
    assert_eq!(metrics.user_bytes_written, 2_000 * 110);
    assert!(metrics.log_bytes_written > metrics.user_bytes_written);
    assert!(metrics.flush_bytes_written > 0 && metrics.write_amplification() > 1.0);
    let entries: u64 = metrics.levels.iter().map(|level| level.entries).sum();
    assert!(entries >= 300);
}

#[test]
fn history_and_explain_show_where_a_key_lives() {
    let db = open(&SimFs::new(0));
    db.put("key", "old").expect("writes");
    db.flush().expect("flushes");
    db.put("key", "new").expect("writes");
    let versions = db.default_keyspace().history("key").expect("reads");
    let places: Vec<_> = versions.iter().map(|version| version.place.to_string()).collect();
    assert_eq!(places.len(), 2, "{places:?}");
    assert_eq!(places[0], "active memtable");
    assert!(places[1].starts_with("level 0, table "), "{places:?}");
    let explained = db.default_keyspace().explain("key").expect("reads");
    assert_eq!(explained.steps.len(), 1);
    assert_eq!(explained.value.expect("there"), "new");
    let absent = db.default_keyspace().explain("kez").expect("reads");
    assert_eq!(absent.value, None);
}

/// Rounds of the same fifty keys, each in a table of its own.
fn fill(keyspace: &Keyspace, rounds: u32) {
    for round in 0..rounds {
        for n in 0..50 {
            keyspace.put(key(n), format!("{round}")).expect("writes");
        }
        keyspace.compact_range("z".."zz").expect("flushes");
    }
}

#[test]
fn a_damaged_table_keeps_no_other_keyspace_from_its_turn() {
    let fs = SimFs::new(1);
    let db = open(&fs);
    let b = db.keyspace("b").expect("created");
    fill(db.default_keyspace(), 6);
    for run in db.default_keyspace().shape().runs {
        for table in run.tables {
            fs.damage(format!("db/{:06}.sst", table.number), |bytes| bytes[10] ^= 1);
        }
    }
    fill(&b, 6);
    // What nobody reads is merged much later.
    for keyspace in [db.default_keyspace(), &b] {
        keyspace.get(key(100)).expect("reads");
    }
    let failures = (0..20).filter(|_| db.step(Step::Compact).is_err()).count();
    assert!(b.shape().runs.len() <= 3, "{:?}", b.shape());
    assert!(failures <= 2, "what is damaged is left alone after {failures} attempts");
    let error = db.compact_range::<&[u8]>(..).expect_err("does not wait for ever");
    assert_eq!(error.kind(), ErrorKind::Corrupt);
}

#[test]
fn few_runs_are_kept_for_those_who_read_alone() {
    let db = open(&SimFs::new(1));
    let runs = || db.default_keyspace().shape().runs.len();
    fill(db.default_keyspace(), 10);
    while db.step(Step::Compact).expect("nothing fails") {}
    assert_eq!(runs(), 10);
    db.get(key(100)).expect("reads");
    while db.step(Step::Compact).expect("nothing fails") {}
    assert_eq!(runs(), 1);
    // Two memtables later it is forgotten.
    fill(db.default_keyspace(), 10);
    while db.step(Step::Compact).expect("nothing fails") {}
    assert_eq!(runs(), 11);
}

#[test]
fn a_file_that_cannot_be_removed_is_tried_again() {
    let fs = SimFs::new(1);
    let db = open(&fs);
    fill(db.default_keyspace(), 3);
    db.compact_range::<&[u8]>(..).expect("merges");
    fs.fail(once().remove_of("*.sst"));
    let failures = (0..10).filter(|_| db.step(Step::Log).is_err()).count();
    assert_eq!(failures, 1);
    let is_table = |path: &Path| path.extension().is_some_and(|extension| extension == "sst");
    assert_eq!(fs.files().iter().filter(|(path, _)| is_table(path)).count(), 1);
}

#[test]
fn what_is_read_is_merged_into_one_run_and_what_is_not_is_left_alone() {
    let db = open(&SimFs::new(0));
    fill(db.default_keyspace(), 3);
    let runs = || db.default_keyspace().shape().runs.len();
    while db.step(Step::Compact).expect("nothing fails") {}
    assert_eq!(runs(), 3, "in shape");
    let bytes = db.metrics().table_bytes();
    // A lookup in three runs costs 600 ns, merging costs 2 ns a byte.
    for n in 0..bytes * 2 / 600 + 1 {
        assert!(db.contains_key(key(n as u32 % 50)).expect("reads"));
    }
    assert!(db.step(Step::Compact).expect("nothing fails"));
    assert_eq!(runs(), 1);
    assert!(db.contains_key(key(7)).expect("reads"));
    assert!(!db.step(Step::Compact).expect("nothing fails"));
}

#[test]
fn a_write_that_waits_for_flushes_which_go_on_failing_is_told_why() {
    let fs = SimFs::new(0);
    let db = Db::open_with("db", threaded(&fs)).expect("opens");
    fs.fail(every().write_of("*.sst").for_ever());
    let refused = (0..10_000).find_map(|n| db.put(key(n), vec![b'v'; 1024]).err());
    let error = refused.expect("memory is not without end");
    assert_eq!(error.kind(), ErrorKind::Io, "{error}");
    assert!(error.to_string().contains(".sst") && !error.is_outcome_unknown(), "{error}");
    assert!(db.contains_key(key(0)).expect("reads"));
    // Nothing was written by it, and the next one goes on by itself.
    let before = db.visible_seq_no();
    fs.heal();
    db.put("after", "value").expect("writes");
    assert_eq!(db.visible_seq_no(), before + 1);
}
