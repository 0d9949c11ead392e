//! Tombstones that pile up are merged first, and leave the disk within their limit.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lsm_engine::{Db, Durability, Env, KeyspaceOptions, Options, Reads, Step};
use lsm_io::SimFs;

use crate::{key, tiny_options};

/// Pushes at one end and deletes at the other, as long as `live` jobs wait.
fn run_queue(db: &Db, jobs: u32, live: u32) {
    for n in 0..jobs {
        db.put_with(key(n), "a job", Durability::Memory.into()).expect("pushes");
        if n >= live {
            db.delete_with(key(n - live), Durability::Memory.into()).expect("pops");
        }
        if n % 1000 == 0 {
            db.settle().expect("settles");
        }
    }
}

/// Entries that a scan of everything steps over.
fn passed_by_a_scan(db: &Db) -> u64 {
    let before = db.metrics().entries_passed;
    db.iter().for_each(|entry| drop(entry.expect("reads")));
    db.metrics().entries_passed - before
}

#[test]
fn a_scan_of_a_queue_steps_over_little_more_than_it_yields() {
    let fs = SimFs::new(0);
    let options = Options { memtable_bytes: Some(1 << 20), ..tiny_options(&fs) };
    let db = Db::open_with("db", options).expect("opens");
    run_queue(&db, 60_000, 2_000);
    // The first scan may find a memtable full of them; then that is flushed, and merged.
    passed_by_a_scan(&db);
    db.step(Step::Log).expect("looks after it");
    db.settle().expect("settles");
    assert_eq!(db.iter().count(), 2_000);
    let passed = passed_by_a_scan(&db);
    assert!(passed <= 2 * 2_000, "{passed} entries were stepped over for 2000");
}

/// A database with a limit of ten seconds, and its clock.
fn limited(fs: &SimFs) -> (Db, Arc<AtomicU64>) {
    limited_with(tiny_options(fs))
}

fn limited_with(options: Options) -> (Db, Arc<AtomicU64>) {
    let clock = Arc::new(AtomicU64::new(1_000_000));
    let told = Arc::clone(&clock);
    let env = Env { clock: Arc::new(move || told.load(Ordering::Relaxed)), ..options.env };
    let keyspace =
        KeyspaceOptions { tombstone_age_limit_ms: Some(10_000), ..KeyspaceOptions::default() };
    (Db::open_with("db", Options { env, keyspace, ..options }).expect("opens"), clock)
}

/// Lets background work happen until none is left.
fn rest(db: &Db) {
    for _ in 0..3 {
        db.step(Step::Log).expect("looks at the clock");
        db.settle().expect("settles");
    }
}

/// Whether a table, a blob file or a file of the log holds these bytes.
fn holds(fs: &SimFs, bytes: &[u8]) -> bool {
    let is_data =
        |extension: &std::ffi::OsStr| ["sst", "blob", "log"].iter().any(|it| extension == *it);
    let tables = fs.files().into_iter().filter(|(path, _)| path.extension().is_some_and(is_data));
    tables.into_iter().any(|(path, _)| {
        let content = lsm_io::Fs::open(fs, &path, lsm_io::OpenMode::Read)
            .and_then(|file| {
                let mut content = vec![0; file.len()? as usize];
                file.read_at(0, &mut content)?;
                Ok(content)
            })
            .expect("reads");
        content.windows(bytes.len()).any(|window| window == bytes)
    })
}

#[test]
fn what_was_deleted_leaves_the_disk_within_the_limit() {
    for ranged in [false, true] {
        let fs = SimFs::new(0);
        let (db, clock) = limited(&fs);
        let now = |seconds: u64| clock.store(1_000_000 + seconds * 1000, Ordering::Relaxed);
        for n in 0..100 {
            db.put(key(n), "something else").expect("writes");
        }
        db.put("secret", "to be forgotten").expect("writes");
        db.flush().expect("flushes");
        db.compact_range::<&[u8]>(..).expect("merges");
        if ranged {
            db.delete_prefix("secret").expect("deletes");
        } else {
            db.delete("secret").expect("deletes");
        }
        rest(&db);
        assert!(holds(&fs, b"to be forgotten"), "nothing hurries yet");
        // Half of the time in memory, counted from when it is first looked at.
        now(5);
        rest(&db);
        assert!(db.metrics().oldest_tombstone_age_ms.is_some(), "it is in a table");
        now(14);
        rest(&db);
        let age_ms = db.metrics().oldest_tombstone_age_ms;
        assert_eq!(age_ms, Some(9_000), "merges in between make it no younger");
        now(15);
        rest(&db);
        assert!(!holds(&fs, b"to be forgotten"), "its time is over");
        assert_eq!(db.metrics().oldest_tombstone_age_ms, None);
        assert_eq!(db.iter().count(), 100);
    }
}

#[test]
fn a_merge_on_the_way_makes_a_tombstone_no_younger() {
    let fs = SimFs::new(0);
    let (db, clock) = limited(&fs);
    db.put("secret", "to be forgotten").expect("writes");
    db.put("z", "").expect("writes");
    db.step(Step::Log).expect("looks at the clock");
    db.compact_range::<&[u8]>(..).expect("merges");
    // A snapshot keeps the tombstone through a merge.
    let snapshot = db.snapshot();
    db.delete("secret").expect("deletes");
    db.flush().expect("flushes");
    clock.fetch_add(6_000, Ordering::Relaxed);
    db.compact_range::<&[u8]>(..).expect("merges");
    assert_eq!(db.metrics().oldest_tombstone_age_ms, Some(6_000));
    clock.fetch_add(6_000, Ordering::Relaxed);
    rest(&db);
    assert!(holds(&fs, b"to be forgotten"), "the snapshot sees it");
    drop(snapshot);
    rest(&db);
    assert!(!holds(&fs, b"to be forgotten"));
}

#[test]
fn a_large_value_that_was_deleted_leaves_its_blob_file_within_the_limit() {
    let fs = SimFs::new(0);
    let (db, clock) = limited(&fs);
    let options = KeyspaceOptions { blob_threshold_bytes: Some(64), ..db.options() };
    db.set_options(options).expect("takes effect");
    let now = |seconds: u64| clock.store(1_000_000 + seconds * 1000, Ordering::Relaxed);
    for n in 0..100 {
        db.put(key(n), [n as u8; 100]).expect("writes");
    }
    db.put("secret", "to be forgotten".repeat(10)).expect("writes");
    db.put("secret, too", "to be forgotten, too".repeat(10)).expect("writes");
    db.step(Step::Log).expect("looks at the clock");
    db.compact_range::<&[u8]>(..).expect("merges");
    // Of a file that is old any garbage goes at once.
    now(100);
    db.delete("secret").expect("deletes");
    db.flush().expect("flushes");
    now(104);
    rest(&db);
    assert!(holds(&fs, b"to be forgottento"), "half of the time is for its tombstone");
    assert_eq!(db.metrics().oldest_blob_garbage_age_ms, None, "nobody knows that it is garbage");
    now(105);
    rest(&db);
    assert!(!holds(&fs, b"to be forgottento"));
    assert!(holds(&fs, b"to be forgotten, too"));
    // Of one that was just written it waits for half of the time.
    db.delete("secret, too").expect("deletes");
    db.compact_range::<&[u8]>(..).expect("merges");
    now(109);
    rest(&db);
    assert!(holds(&fs, b"to be forgotten, too"));
    assert_eq!(db.metrics().oldest_blob_garbage_age_ms, Some(4_000));
    now(110);
    rest(&db);
    assert!(!holds(&fs, b"to be forgotten, too"));
    assert_eq!(db.metrics().oldest_blob_garbage_age_ms, None);
    assert_eq!(db.iter().count(), 100);
}

/// A database whose tables have forgotten a secret, and whose log has not; and its clock.
fn with_a_secret_in_the_log(fs: &SimFs, map_log: bool) -> (Db, Arc<AtomicU64>) {
    let (db, clock) = limited_with(Options { map_log, ..tiny_options(fs) });
    db.put("secret", "to be forgotten").expect("writes");
    db.flush().expect("flushes");
    db.delete("secret").expect("deletes");
    db.put("else", "something").expect("writes");
    db.compact_range::<&[u8]>(..).expect("merges");
    db.step(Step::Log).expect("looks at the clock");
    assert!(holds(fs, b"to be forgotten"), "nothing hurries yet");
    assert_eq!(db.metrics().oldest_tombstone_age_ms, Some(0), "the log counts, too");
    (db, clock)
}

#[track_caller]
fn check_forgotten(fs: &SimFs, db: &Db) {
    assert!(!holds(fs, b"to be forgotten"));
    assert_eq!(db.metrics().oldest_tombstone_age_ms, None);
}

#[test]
fn what_was_deleted_leaves_the_log_of_an_idle_database() {
    for map_log in [true, false] {
        let fs = SimFs::new(0);
        let (db, clock) = with_a_secret_in_the_log(&fs, map_log);
        clock.fetch_add(2_000, Ordering::Relaxed);
        rest(&db);
        assert_eq!(db.metrics().oldest_tombstone_age_ms, Some(2_000), "it is there still");
        clock.fetch_add(500, Ordering::Relaxed);
        rest(&db);
        check_forgotten(&fs, &db);
        assert_eq!(db.get("else").expect("reads").expect("there"), "something");
    }
}

#[test]
fn a_log_that_goes_on_for_its_age_alone_can_be_closed() {
    for map_log in [true, false] {
        let fs = SimFs::new(0);
        let (db, clock) = with_a_secret_in_the_log(&fs, map_log);
        // What lies in memory needs the segment.
        db.put("more", "in memory").expect("writes");
        clock.fetch_add(2_500, Ordering::Relaxed);
        db.step(Step::Log).expect("goes on in another segment");
        db.close().expect("closes");
        let (db, _clock) = limited(&fs);
        assert_eq!(crate::content(&db).len(), 2);
    }
}

#[test]
fn what_was_deleted_leaves_the_log_while_others_write() {
    let fs = SimFs::new(0);
    let (db, clock) = with_a_secret_in_the_log(&fs, true);
    let other = db.keyspace("without a limit").expect("is made");
    for n in 0..100 {
        // Too little to fill a segment, or a memtable.
        other.put(key(n), "something").expect("writes");
        clock.fetch_add(100, Ordering::Relaxed);
        db.step(Step::Log).expect("looks at the clock");
        while db.step(Step::Flush).expect("flushes") {}
    }
    check_forgotten(&fs, &db);
    assert_eq!(other.iter().count(), 100);
}

#[test]
fn a_close_leaves_nothing_in_the_log_that_was_deleted() {
    let fs = SimFs::new(0);
    let (db, _clock) = with_a_secret_in_the_log(&fs, true);
    db.close().expect("closes");
    assert!(!holds(&fs, b"to be forgotten"));
    let (db, _clock) = limited(&fs);
    assert_eq!(crate::content(&db).len(), 1);
    assert!(db.verify().expect("verifies").is_clean());
}

#[test]
fn a_limit_that_is_set_later_clears_segments_that_were_kept_for_speed() {
    let fs = SimFs::new(0);
    let (db, clock) = limited(&fs);
    let limited = db.options();
    let free = KeyspaceOptions { tombstone_age_limit_ms: None, ..db.options() };
    db.set_options(free).expect("takes effect");
    // Through every file that is written over and over.
    for n in 0..400 {
        db.put(key(n % 10), "to be forgotten".repeat(100)).expect("writes");
        db.step(Step::Log).expect("prepares segments");
        while db.step(Step::Flush).expect("flushes") {}
    }
    assert!(db.metrics().log_segments_recycled > 0);
    db.delete_range::<&[u8]>(..).expect("deletes");
    db.compact_range::<&[u8]>(..).expect("merges");
    assert!(holds(&fs, b"to be forgotten"));
    db.set_options(limited).expect("takes effect");
    rest(&db);
    clock.fetch_add(2_500, Ordering::Relaxed);
    rest(&db);
    clock.fetch_add(2_500, Ordering::Relaxed);
    rest(&db);
    assert!(!holds(&fs, b"to be forgotten"));
}

#[test]
fn history_that_was_asked_for_keeps_what_was_deleted_and_the_metric_tells() {
    let fs = SimFs::new(0);
    let clock = Arc::new(AtomicU64::new(1_000_000));
    let told = Arc::clone(&clock);
    let options = tiny_options(&fs);
    let env = Env { clock: Arc::new(move || told.load(Ordering::Relaxed)), ..options.env };
    let keyspace =
        KeyspaceOptions { tombstone_age_limit_ms: Some(10_000), ..KeyspaceOptions::default() };
    let options = Options { env, keyspace, changes_retention_bytes: 1 << 20, ..options };
    let db = Db::open_with("db", options).expect("opens");
    db.put("secret", "to be forgotten").expect("writes");
    db.delete("secret").expect("deletes");
    for _ in 0..4 {
        clock.fetch_add(5_000, Ordering::Relaxed);
        rest(&db);
    }
    assert!(holds(&fs, b"to be forgotten"));
    let age_ms = db.metrics().oldest_tombstone_age_ms;
    assert!(age_ms.is_some_and(|age_ms| age_ms >= 10_000), "{age_ms:?}");
}

#[test]
fn old_segments_that_a_crash_has_left_count_from_when_they_began() {
    let fs = SimFs::new(0);
    let with_history =
        |fs: &SimFs| Options { changes_retention_bytes: 1 << 20, ..tiny_options(fs) };
    let (db, clock) = limited_with(with_history(&fs));
    db.put("secret", "to be forgotten").expect("writes");
    clock.fetch_add(5_000, Ordering::Relaxed);
    db.delete("secret").expect("deletes");
    let fs = fs.kill_image();
    let (db, clock) = limited_with(with_history(&fs));
    clock.store(1_020_000, Ordering::Relaxed);
    assert!(holds(&fs, b"to be forgotten"));
    let age_ms = db.metrics().oldest_tombstone_age_ms;
    assert_eq!(age_ms, Some(20_000), "since the first write of the segment");
    db.put("else", "something").expect("writes");
    db.set_changes_retention(0, None);
    rest(&db);
    check_forgotten(&fs, &db);
}
