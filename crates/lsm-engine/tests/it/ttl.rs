//! Values whose time ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lsm_engine::{
    CompactionPolicy, Db, Env, ExpiryDue, FifoOptions, KeyspaceOptions, Options, Reads, Step,
    WriteBatch,
};
use lsm_io::{CrashPolicy, SimFs};

use crate::{key, tiny_options};

pub(crate) const START_MS: u64 = 1_700_000_000_000;

/// A clock that a test sets, and that whoever waits for it moves on, and databases that go by it.
pub(crate) struct Time {
    pub(crate) fs: SimFs,
    clock: Arc<AtomicU64>,
    waited: Arc<AtomicU64>,
}

impl Time {
    pub(crate) fn new(fs: SimFs) -> Self {
        Self { fs, clock: Arc::new(AtomicU64::new(START_MS)), waited: Arc::default() }
    }

    /// The same clock over what another disk holds.
    pub(crate) fn on(&self, fs: SimFs) -> Self {
        Self { fs, clock: Arc::clone(&self.clock), waited: Arc::clone(&self.waited) }
    }

    pub(crate) fn set(&self, since_start_ms: u64) {
        self.clock.store(START_MS + since_start_ms, Ordering::Relaxed);
    }

    /// What the clock shows, since the start.
    pub(crate) fn now(&self) -> u64 {
        self.clock.load(Ordering::Relaxed) - START_MS
    }

    /// For how many milliseconds anybody has waited for the clock.
    pub(crate) fn waited(&self) -> u64 {
        self.waited.load(Ordering::Relaxed)
    }

    pub(crate) fn options(&self) -> Options {
        let options = tiny_options(&self.fs);
        let (clock, moved) = (Arc::clone(&self.clock), Arc::clone(&self.clock));
        let clock = Arc::new(move || clock.load(Ordering::Relaxed));
        let waited = Arc::clone(&self.waited);
        let wait = Arc::new(move |time: Duration| {
            let wait_ms = u64::try_from(time.as_millis()).expect("is short");
            moved.fetch_add(wait_ms, Ordering::Relaxed);
            waited.fetch_add(wait_ms, Ordering::Relaxed);
        });
        Options { env: Env { clock, wait, ..options.env }, ..options }
    }

    pub(crate) fn open(&self) -> Db {
        Db::open_with("db", self.options()).expect("opens")
    }
}

pub(crate) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn the_oldest_snapshot_has_an_age_and_what_it_holds_back() {
    let time = Time::new(SimFs::new(1));
    let db = time.open();
    let age = |db: &Db| db.metrics().oldest_snapshot_age_ms;
    assert_eq!(age(&db), None);
    db.put("key", "1").expect("writes");
    let first = db.snapshot();
    db.step(Step::Log).expect("steps");
    time.set(5000);
    db.put("key", "2").expect("writes");
    let second = db.snapshot();
    db.put("key", "3").expect("writes");
    assert_eq!(age(&db), Some(5000));
    assert_eq!(db.metrics().records_behind_oldest_snapshot(), 2);
    time.set(6000);
    drop(first);
    assert_eq!(age(&db), Some(1000), "that of the second");
    assert_eq!(db.metrics().records_behind_oldest_snapshot(), 1);
    drop(second);
    assert_eq!((age(&db), db.metrics().records_behind_oldest_snapshot()), (None, 0));
}

/// Every way to read one key agrees on whether it is there.
#[track_caller]
pub(crate) fn check_there<R: Reads>(reads: &R, key: &str, is_there: bool) {
    let found = reads.get(key).expect("reads").is_some();
    assert_eq!(found, is_there, "get of {key}");
    assert_eq!(reads.contains_key(key).expect("reads"), is_there, "contains_key of {key}");
    assert_eq!(
        reads.multi_get(&[key]).expect("reads")[0].is_some(),
        is_there,
        "multi_get of {key}"
    );
    let holds = |key_found: &[u8]| key_found == key.as_bytes();
    let forward = reads.iter().any(|entry| holds(&entry.expect("reads").0));
    let backward = reads.iter().rev().any(|entry| holds(&entry.expect("reads").0));
    assert_eq!((forward, backward), (is_there, is_there), "scans over {key}");
    let mut cursor = reads.cursor();
    cursor.seek(key).expect("seeks");
    assert_eq!(cursor.key().is_some_and(holds), is_there, "seek of {key}");
    cursor.seek_for_prev(key).expect("seeks");
    assert_eq!(cursor.key().is_some_and(holds), is_there, "seek_for_prev of {key}");
}

#[test]
fn an_expired_value_is_found_by_no_read_wherever_it_lies() {
    for is_flushed in [false, true] {
        let time = Time::new(SimFs::new(1));
        let db = time.open();
        db.put("b", "old").expect("puts");
        db.put_ttl("b", "new", ms(100)).expect("puts");
        db.put("a", "stays").expect("puts");
        db.put_ttl("c", vec![7; 9000], ms(100)).expect("puts");
        if is_flushed {
            db.flush().expect("flushes");
        }
        time.set(99);
        check_there(&db, "b", true);
        assert_eq!(db.get("c").expect("reads").expect("is there"), vec![7; 9000]);
        time.set(100);
        for key in ["b", "c"] {
            check_there(&db, key, false);
            check_there(&db.snapshot(), key, false);
            check_there(&db.transaction(), key, false);
        }
        check_there(&db, "a", true);
        assert!(db.put_if("b", None, Some(b"mine")).expect("writes").is_some(), "it is absent");
        check_there(&db, "b", true);
    }
}

#[test]
fn a_snapshot_judges_by_the_time_at_which_it_was_taken() {
    let time = Time::new(SimFs::new(2));
    let db = time.open();
    db.put_ttl("a", "1", ms(100)).expect("puts");
    let (snapshot, tx, mut scan) = (db.snapshot(), db.transaction(), db.iter());
    time.set(500);
    check_there(&db, "a", false);
    // Neither merges nor the dropping of tables take away what somebody still reads.
    db.flush().expect("flushes");
    db.compact_range::<&str>(..).expect("merges");
    db.settle().expect("settles");
    check_there(&snapshot, "a", true);
    check_there(&tx, "a", true);
    assert!(scan.next().is_some(), "it began in time");
    drop((snapshot, tx, scan));
    db.settle().expect("settles");
    assert_eq!(db.metrics().table_bytes(), 0, "nobody reads it any more");
}

#[test]
fn a_keyspace_may_say_how_long_its_puts_are_kept_and_change_it_live() {
    let time = Time::new(SimFs::new(3));
    let db = time.open();
    let options = KeyspaceOptions { ttl_ms: Some(100), ..KeyspaceOptions::default() };
    let cache = db.keyspace_with("cache", options.clone()).expect("creates");
    cache.put("short", "1").expect("puts");
    cache.put_ttl("long", "1", ms(1000)).expect("puts");
    let mut batch = WriteBatch::new();
    batch.put("elsewhere", "1");
    batch.within(&cache).put("in batch", "1");
    batch.within(&cache).put_ttl("in batch for ever", "1", Duration::MAX);
    batch.put_ttl("elsewhere for a while", "1", ms(100));
    db.write(&batch).expect("writes");
    cache.set_options(KeyspaceOptions { ttl_ms: None, ..options.clone() }).expect("sets");
    cache.put("unlimited", "1").expect("puts");
    cache.set_options(KeyspaceOptions { ttl_ms: Some(5000), ..options }).expect("sets");
    time.set(100);
    let check = |db: &Db| {
        let cache = db.keyspace("cache").expect("opens");
        for (key, is_there) in
            [("short", false), ("long", true), ("unlimited", true), ("in batch", false)]
        {
            check_there(&cache, key, is_there);
        }
        check_there(&cache, "in batch for ever", true);
        check_there(db, "elsewhere", true);
        check_there(db, "elsewhere for a while", false);
        assert_eq!(cache.options().ttl_ms, Some(5000));
    };
    check(&db);
    // Killed: the log holds times of expiry, and replays them as they are.
    let killed = time.on(time.fs.kill_image());
    check(&killed.open());
    // It has waited for the clock, which is another one here.
    time.set(100);
    db.close().expect("closes");
    let db = time.open();
    check(&db);
    db.keyspace("cache").expect("opens").put("later", "1").expect("puts");
    time.set(5099);
    check_there(&db.keyspace("cache").expect("opens"), "later", true);
    time.set(5100);
    check_there(&db.keyspace("cache").expect("opens"), "later", false);
}

#[test]
fn a_bulk_load_keeps_its_values_as_long_as_puts_are_kept() {
    let time = Time::new(SimFs::new(14));
    let db = time.open();
    let options = KeyspaceOptions { ttl_ms: Some(100), ..KeyspaceOptions::default() };
    let cache = db.keyspace_with("cache", options).expect("creates");
    let mut load = cache.bulk_load().expect("begins");
    load.put("a", "1").expect("adds");
    load.put_ttl("b", "1", ms(1000)).expect("adds");
    load.put_ttl("c", "1", Duration::MAX).expect("adds");
    load.finish().expect("finishes");
    let snapshot = db.snapshot();
    time.set(100);
    for (key, is_there) in [("a", false), ("b", true), ("c", true)] {
        check_there(&cache, key, is_there);
        check_there(&snapshot.within(&cache), key, true);
    }
}

#[test]
fn a_batch_written_twice_counts_from_each_time() {
    let time = Time::new(SimFs::new(4));
    let db = time.open();
    let mut batch = WriteBatch::new();
    batch.put_ttl("a", "1", ms(100));
    db.write(&batch).expect("writes");
    time.set(100);
    check_there(&db, "a", false);
    db.write(&batch).expect("writes");
    time.set(199);
    check_there(&db, "a", true);
    time.set(200);
    check_there(&db, "a", false);
}

#[test]
fn an_option_of_no_time_is_refused() {
    let time = Time::new(SimFs::new(5));
    let db = time.open();
    let options = KeyspaceOptions { ttl_ms: Some(0), ..KeyspaceOptions::default() };
    let error = db.keyspace_with("cache", options).expect_err("refuses");
    assert_eq!(error.to_string(), "option ttl_ms is 0; at least 1 is accepted");
}

#[test]
fn what_has_expired_stays_so_when_the_clock_is_set_back() {
    let time = Time::new(SimFs::new(6));
    let db = time.open();
    db.put_ttl("a", "1", ms(100)).expect("puts");
    db.flush().expect("flushes");
    let reader = Db::open_read_only_with("db", time.options()).expect("opens");
    check_there(&reader, "a", true);
    time.set(150);
    check_there(&db, "a", false);
    time.set(0);
    check_there(&db, "a", false);
    assert_eq!(db.database_time_ms(), START_MS + 150);
    // The background keeps the time that a reader has gone by; then a crash does not take it back.
    while db.step(Step::Log).expect("works") {}
    let crashed = time.on(time.fs.crash_image(CrashPolicy::LoseUnsynced, 1));
    check_there(&crashed.open(), "a", false);
    // So do those who read beside it and move on.
    reader.refresh().expect("refreshes");
    check_there(&reader, "a", false);
    // And copies, and whoever opens it after a close.
    db.checkpoint("copy").expect("copies");
    let copy = Db::open_read_only_with("copy", time.options()).expect("opens");
    check_there(&copy, "a", false);
    db.close().expect("closes");
    check_there(&time.open(), "a", false);
}

#[test]
fn the_log_tells_of_time_that_the_manifest_does_not() {
    let time = Time::new(SimFs::new(7));
    let db = time.open();
    db.put_ttl("a", "1", ms(100)).expect("puts");
    time.set(150);
    check_there(&db, "a", false);
    // The mark before a group says what time it was.
    for n in 0..3 {
        db.put(key(n), "1").expect("puts");
    }
    time.set(0);
    let crashed = time.on(time.fs.crash_image(CrashPolicy::LoseUnsynced, 1));
    check_there(&crashed.open(), "a", false);
}

#[test]
fn the_last_time_is_kept_by_a_close() {
    let time = Time::new(SimFs::new(8));
    let db = time.open();
    db.put_ttl("a", "1", ms(100)).expect("puts");
    db.flush().expect("flushes");
    time.set(150);
    check_there(&db, "a", false);
    db.close().expect("closes");
    time.set(0);
    check_there(&time.open(), "a", false);
}

#[test]
fn the_last_time_is_kept_by_a_close_that_has_nothing_else_to_keep() {
    let time = Time::new(SimFs::new(8));
    let db = time.open();
    db.put_ttl("a", "1", ms(100)).expect("puts");
    db.close().expect("closes");
    let db = time.open();
    time.set(150);
    check_there(&db, "a", false);
    db.close().expect("closes");
    time.set(0);
    check_there(&time.open(), "a", false);
}

/// Fills `count` keys that expire after 100 ms and makes tables of them.
fn fill(db: &Db, count: u32) {
    for n in 0..count {
        db.put_ttl(key(n), vec![1; 100], ms(100)).expect("puts");
    }
    db.flush().expect("flushes");
}

#[test]
fn an_idle_database_drops_expired_tables_without_reading_them() {
    let fifo = CompactionPolicy::Fifo(FifoOptions::default());
    for compaction in [CompactionPolicy::default(), fifo] {
        let time = Time::new(SimFs::new(9));
        let options = time.options();
        let keyspace = KeyspaceOptions { compaction, ..options.keyspace };
        let db = Db::open_with("db", Options { keyspace, ..options }).expect("opens");
        fill(&db, 2000);
        db.settle().expect("settles");
        assert!(db.metrics().table_bytes() > 0);
        let merged = db.metrics().compaction_bytes_read;
        time.set(100);
        db.settle().expect("settles");
        let metrics = db.metrics();
        assert_eq!((metrics.table_bytes(), metrics.compaction_bytes_read), (0, merged));
    }
}

#[test]
fn an_expired_table_stays_where_it_hides_something_older() {
    let time = Time::new(SimFs::new(10));
    let db = time.open();
    db.put(key(5), "old").expect("puts");
    db.flush().expect("flushes");
    fill(&db, 10);
    time.set(100);
    db.settle().expect("settles");
    assert!(db.get(key(5)).expect("reads").is_none(), "the old value must not come back");
    // A merge takes both.
    db.compact_range::<&str>(..).expect("merges");
    assert_eq!(db.metrics().table_bytes(), 0);
    assert!(db.metrics().entries_dropped >= 11);
}

#[test]
fn a_scan_passes_over_expired_blocks_without_reading_them() {
    let time = Time::new(SimFs::new(11));
    let options = Options { cache_bytes: Some(1 << 20), ..time.options() };
    let options = Options { read_mode: lsm_engine::ReadMode::Cached, ..options };
    let db = Db::open_with("db", options).expect("opens");
    fill(&db, 300);
    for n in [0, 299] {
        db.put(key(n), "stays").expect("puts");
    }
    db.flush().expect("flushes");
    db.compact_range::<&str>(..).expect("merges");
    time.set(100);
    let read = |db: &Db| db.metrics().cache_hits + db.metrics().cache_misses;
    let before = read(&db);
    let found: Vec<_> = db.iter().map(|entry| entry.expect("reads").0.to_vec()).collect();
    assert_eq!(found, [key(0), key(299)]);
    let back: Vec<_> = db.iter().rev().map(|entry| entry.expect("reads").0.to_vec()).collect();
    assert_eq!(back, [key(299), key(0)]);
    assert!(read(&db) - before <= 8, "{} blocks of some 70 were read", read(&db) - before);
}

#[test]
fn an_expiry_in_the_memtable_of_another_keyspace_costs_no_reader_a_value() {
    let time = Time::new(SimFs::new(12));
    let db = time.open();
    db.put("a", "1").expect("puts");
    // Taken before anything expires: it has no time, and needs none.
    let snapshot = db.snapshot();
    db.put_ttl("a", "2", ms(100)).expect("puts");
    time.set(100);
    assert_eq!(snapshot.get("a").expect("reads").as_deref(), Some(&b"1"[..]));
    check_there(&db, "a", false);
}

#[test]
fn a_transaction_sees_its_own_value_and_the_commit_starts_its_time() {
    let time = Time::new(SimFs::new(13));
    let db = time.open();
    let tx = db.transaction();
    tx.put_ttl("a", "1", ms(100));
    tx.put_ttl("b", "1", ms(100));
    tx.put("b", "for ever");
    time.set(150);
    check_there(&tx, "a", true);
    tx.commit().expect("commits");
    time.set(249);
    check_there(&db, "a", true);
    time.set(250);
    check_there(&db, "a", false);
    check_there(&db, "b", true);
}

#[test]
fn it_is_told_how_many_entries_wait_to_expire_and_when() {
    let time = Time::new(SimFs::new(1));
    let db = time.open();
    for n in 0..100 {
        db.put(key(n), "stays").expect("writes");
    }
    db.put_ttl("page 1", "value", ms(20_000)).expect("writes");
    db.put_ttl("page 2", "value", ms(30_000)).expect("writes");
    db.flush().expect("flushes");
    let check = |db: &Db| {
        let [share] = db.default_keyspace().expiry()[..] else { panic!("all in one table") };
        assert_eq!((share.due, share.tables, share.entries), (ExpiryDue::Minute, 1, 2));
        let stored_bytes = 2 * ("page 1value".len() + size_of::<u64>()) as u64;
        assert_eq!(share.bytes, stored_bytes);
        assert_eq!(share.first_ms, START_MS + 20_000);
        assert_eq!(share.last_ms, Some(START_MS + 30_000));
    };
    check(&db);
    db.close().expect("closes");
    check(&time.open());
}
