//! One budget for everything that is kept in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lsm_engine::{
    Db, Durability, Env, Keyspace, MemoryMetrics, Options, PressureCause, ReadMode, Reads, Step,
};
use lsm_io::{CrashPolicy, SimFs};

use crate::{key, tiny_options};

const MEMORY_BYTES: u64 = 4 << 20;
/// What may be written between two looks at what memtables take, with what it takes beside.
const SLACK_BYTES: u64 = 256 << 10;

fn options(fs: &SimFs, memory_bytes: u64) -> Options {
    Options {
        memory_bytes,
        memtable_bytes: Some(1 << 20),
        log_segment_bytes: 1 << 20,
        log_bytes_max: 64 << 20,
        ..tiny_options(fs)
    }
}

fn open(fs: &SimFs, memory_bytes: u64) -> Db {
    Db::open_with("db", options(fs, memory_bytes)).expect("opens")
}

fn keyspaces(db: &Db, count: u32) -> Vec<Keyspace> {
    (0..count).map(|n| db.keyspace(&format!("space-{n}")).expect("creates")).collect()
}

fn fill(keyspace: &Keyspace, entries: std::ops::Range<u32>) {
    for n in entries {
        keyspace.put_with(key(n), [n as u8; 400], Durability::Memory.into()).expect("writes");
    }
}

#[track_caller]
fn check_within_budget(memory: &MemoryMetrics) {
    let memtables = memory.active_memtable_bytes + memory.sealed_memtable_bytes;
    assert!(memtables <= memory.memtable_bytes_max + SLACK_BYTES, "{memory:?}");
    assert!(memory.cache_bytes <= memory.cache_bytes_max, "{memory:?}");
    assert!(memory.total_bytes() <= memory.budget_bytes + SLACK_BYTES, "{memory:?}");
}

#[test]
fn many_keyspaces_need_no_more_memory_than_one() {
    let db = open(&SimFs::new(0), MEMORY_BYTES);
    let keyspaces = keyspaces(&db, 20);
    for round in 0..20 {
        // Each of the twenty memtables has room for all of it.
        for keyspace in &keyspaces {
            fill(keyspace, 100 * round..100 * (round + 1));
            check_within_budget(&db.metrics().memory);
        }
    }
    assert!(db.metrics().flushes > 0, "16 MB were written");
    assert_eq!(keyspaces[19].iter().count(), 2000);
}

#[test]
fn the_log_of_many_keyspaces_is_replayed_within_the_budget() {
    let fs = SimFs::new(0);
    let db = open(&fs, 64 << 20);
    let keyspaces = keyspaces(&db, 10);
    for round in 0..10 {
        keyspaces.iter().for_each(|keyspace| fill(keyspace, 100 * round..100 * (round + 1)));
    }
    db.sync().expect("syncs");
    assert_eq!(db.metrics().flushes, 0, "all of it is in the log");
    let after = fs.crash_image(CrashPolicy::LoseUnsynced, 0);
    let db = open(&after, MEMORY_BYTES);
    let tables = db.recovery_report().tables_written;
    // Half of the memtables' part is a megabyte, and four megabytes were written.
    assert!(tables >= 10 + 2, "{tables} tables");
    assert_eq!(db.keyspace("space-9").expect("is there").iter().count(), 1000);
}

#[test]
fn a_write_waits_where_memtables_take_all_that_they_may() {
    let fs = SimFs::new(0);
    let db = open(&fs, MEMORY_BYTES);
    let keyspaces = keyspaces(&db, 4);
    let mut causes = Vec::new();
    for n in 0..8000 {
        fill(&keyspaces[n as usize % 4], n..n + 1);
        causes.extend(db.metrics().pressure.cause());
    }
    assert!(causes.contains(&PressureCause::MemtableBytes), "{causes:?}");
    let stalls = db.metrics().stalls;
    let held_up = stalls.iter().find(|stall| stall.cause == PressureCause::MemtableBytes);
    assert!(held_up.is_some_and(|stall| stall.writes > 0), "{stalls:?}");
    db.settle().expect("settles");
    assert_eq!(db.metrics().pressure.cause(), None);
}

#[test]
fn what_memtables_leave_behind_is_used_again_and_given_back_in_a_pause() {
    let fs = SimFs::new(0);
    let options = Options { memtable_bytes: Some(2 << 20), ..options(&fs, 64 << 20) };
    let clock = Arc::new(AtomicU64::new(1_000_000));
    let now = Arc::clone(&clock);
    let env = Env { clock: Arc::new(move || now.load(Ordering::Relaxed)), ..options.env };
    let db = Db::open_with("db", Options { env, ..options }).expect("opens");
    let spare = || db.metrics().memory.spare_memtable_bytes;
    let fill = |from: u32| {
        for n in from..from + 2000 {
            db.put_with(key(n), vec![7; 1000], Durability::Memory.into()).expect("writes");
        }
    };
    fill(0);
    db.flush().expect("flushes");
    let left = spare();
    assert!(left >= 1 << 20, "{left} bytes");
    fill(2000);
    assert!(spare() < left / 2, "of {left} bytes {} are not used", spare());
    db.flush().expect("flushes");
    assert!(spare() >= left, "{} bytes", spare());
    db.step(Step::Log).expect("looks at the clock");
    clock.fetch_add(5_000, Ordering::Relaxed);
    db.step(Step::Log).expect("looks at the clock");
    assert_eq!(spare(), 0, "writing pauses");
}

#[test]
fn memory_is_made_ready_for_a_memtable_that_grows_and_for_nobody_in_a_pause() {
    let fs = SimFs::new(0);
    let clock = Arc::new(AtomicU64::new(1_000_000));
    let now = Arc::clone(&clock);
    let options = Options { memtable_bytes: Some(16 << 20), ..options(&fs, 256 << 20) };
    let env = Env { clock: Arc::new(move || now.load(Ordering::Relaxed)), ..options.env };
    let db = Db::open_with("db", Options { env, ..options }).expect("opens");
    let spare = || db.metrics().memory.spare_memtable_bytes;
    for n in 0..3000 {
        db.put_with(key(n), vec![7; 1000], Durability::Memory.into()).expect("writes");
    }
    assert_eq!(spare(), 0);
    db.step(Step::Log).expect("makes a chunk");
    let chunk = spare();
    assert!(chunk >= 1 << 20, "{chunk} bytes");
    db.step(Step::Flush).expect("makes slots");
    assert!(spare() >= chunk + (2 << 20), "{} bytes", spare());
    clock.fetch_add(5_000, Ordering::Relaxed);
    for step in [Step::Log, Step::Log, Step::Flush, Step::Log] {
        db.step(step).expect("nothing fails");
    }
    assert_eq!(spare(), 0, "writing pauses");
}

#[test]
fn filters_and_indexes_take_from_the_cache_and_give_back() {
    let fs = SimFs::new(0);
    let options = Options { read_mode: ReadMode::Cached, ..options(&fs, MEMORY_BYTES) };
    let db = Db::open_with("db", options.clone()).expect("opens");
    for n in 0..50_000 {
        db.put_with(key(n), "", Durability::Memory.into()).expect("writes");
    }
    db.flush().expect("flushes");
    db.compact_range::<&[u8]>(..).expect("merges");
    db.close().expect("closes");
    let db = Db::open_with("db", options).expect("opens");
    let before = db.metrics().memory;
    assert_eq!(before.table_bytes, 0, "no table was touched");
    for n in (0..50_000).step_by(100) {
        assert!(db.get(key(n)).expect("reads").is_some());
    }
    let memory = db.metrics().memory;
    assert!(memory.table_bytes > 50_000, "a filter takes more than a byte a key: {memory:?}");
    assert!(memory.cache_bytes_max <= before.cache_bytes_max - memory.table_bytes / 2);
    check_within_budget(&memory);
    db.compact_range::<&[u8]>(..).expect("merges");
    for n in 0..50_000 {
        db.delete_with(key(n), Durability::Memory.into()).expect("writes");
    }
    db.flush().expect("flushes");
    db.compact_range::<&[u8]>(..).expect("merges");
    db.settle().expect("settles");
    let after = db.metrics().memory;
    assert_eq!((after.table_bytes, after.cache_bytes_max), (0, before.cache_bytes_max));
}

#[test]
fn an_open_cursor_counts_until_it_is_dropped() {
    let db = open(&SimFs::new(0), MEMORY_BYTES);
    let cursors: Vec<_> = (0..10).map(|_| db.cursor()).collect();
    assert!(db.metrics().memory.cursor_bytes >= 10 * 512);
    drop(cursors);
    assert_eq!(db.metrics().memory.cursor_bytes, 0);
}

#[test]
fn the_recovery_report_tells_the_budget_and_the_limit() {
    let db = open(&SimFs::new(0), MEMORY_BYTES);
    let report = db.recovery_report();
    assert_eq!(report.memory_bytes, MEMORY_BYTES);
    assert_eq!(report.memory_limit_bytes, lsm_io::memory_limit_bytes());
}
