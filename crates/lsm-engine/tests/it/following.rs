//! The change feed: every durable batch, in order, once, for as long as the log goes back.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use lsm_engine::{
    Change, ChangeKind, Changes, Db, Durability, Env, ErrorKind, Options, Reads, Step, WriteBatch,
};
use lsm_io::{CrashPolicy, SimFs, every};

use crate::{content, files_in, key, open, threaded, tiny_options};

/// What a follower has made of the changes: contents by keyspace.
type Copy = BTreeMap<String, BTreeMap<Vec<u8>, Vec<u8>>>;

/// The log is kept, all of it.
fn keeping(fs: &SimFs) -> Options {
    Options { changes_retention_bytes: 1 << 30, ..tiny_options(fs) }
}

fn open_keeping(fs: &SimFs) -> Db {
    Db::open_with("db", keeping(fs)).expect("opens")
}

fn next(changes: &mut Changes) -> Option<Change> {
    changes.next_within(Duration::ZERO).expect("follows")
}

/// Takes a change over; of an ingest, what the store holds in its range.
fn apply(db: &Db, copy: &mut Copy, change: &Change) {
    for entry in &change.entries {
        let map = copy.entry(entry.keyspace.to_string()).or_default();
        match &entry.kind {
            ChangeKind::Put { key, value, .. } => drop(map.insert(key.clone(), value.clone())),
            ChangeKind::Delete { key } => drop(map.remove(key)),
            ChangeKind::Ingest { lower, upper, .. } => {
                map.retain(|key, _| key < lower || key > upper);
                let keyspace = db.keyspace(&entry.keyspace).expect("is there");
                for record in keyspace.range(lower.clone()..=upper.clone()) {
                    let (key, value) = record.expect("reads");
                    map.insert(key.to_vec(), value.to_vec());
                }
            }
            other => panic!("nobody wrote {other:?}"),
        }
    }
}

/// Follows from `since` to the end; returns the last number.
#[track_caller]
fn follow(db: &Db, since: u64, copy: &mut Copy) -> u64 {
    let mut changes = db.changes(since).expect("the log goes back so far");
    let mut last = since;
    while let Some(change) = next(&mut changes) {
        assert!(change.first_seq_no > last && change.last_seq_no >= change.first_seq_no);
        last = change.last_seq_no;
        apply(db, copy, &change);
    }
    changes.seq_no()
}

/// A follower from the beginning has what the store has.
#[track_caller]
fn check_followed(db: &Db) {
    let mut copy = Copy::new();
    follow(db, 0, &mut copy);
    for name in db.keyspaces() {
        let expected = content(&db.keyspace(&name).expect("is there"));
        assert_eq!(copy.remove(&name).unwrap_or_default(), expected, "keyspace {name}");
    }
    assert!(copy.is_empty(), "{copy:?}");
}

#[test]
fn batches_are_told_whole_and_in_order() {
    let fs = SimFs::new(1);
    let db = open(&fs);
    let users = db.keyspace("users").expect("creates");
    let mut changes = db.changes(0).expect("follows");
    assert_eq!(next(&mut changes), None);
    db.put("a", "1").expect("writes");
    let mut batch = WriteBatch::new();
    batch.put("b", "2");
    batch.within(&users).put("c", "3");
    batch.delete("a");
    db.write(&batch).expect("writes");
    let put = |key: &str, value: &str| ChangeKind::Put {
        key: key.into(),
        value: value.into(),
        expires_at_ms: None,
    };
    let told: Vec<Change> = std::iter::from_fn(|| next(&mut changes)).collect();
    let kinds = |change: &Change| -> Vec<(String, ChangeKind)> {
        let entries = change.entries.iter();
        entries.map(|entry| (entry.keyspace.to_string(), entry.kind.clone())).collect()
    };
    assert_eq!(kinds(&told[0]), [("default".into(), put("a", "1"))]);
    let default = || "default".to_owned();
    let delete = ChangeKind::Delete { key: "a".into() };
    let expected =
        [(default(), put("b", "2")), ("users".into(), put("c", "3")), (default(), delete)];
    assert_eq!(kinds(&told[1]), expected);
    assert_eq!(told.len(), 2);
    assert_eq!(changes.seq_no(), db.visible_seq_no());
    let mut resumed = db.changes(told[0].last_seq_no).expect("resumes");
    assert_eq!(next(&mut resumed).as_ref(), Some(&told[1]));
}

#[test]
fn what_is_not_on_disk_is_not_told() {
    let fs = SimFs::new(1);
    let db = open(&fs);
    let mut changes = db.changes(0).expect("follows");
    db.put_with("a", "1", Durability::Memory.into()).expect("writes");
    db.put_with("b", "2", Durability::Os.into()).expect("writes");
    assert_eq!(next(&mut changes), None);
    db.sync().expect("syncs");
    assert_eq!(std::iter::from_fn(|| next(&mut changes)).count(), 2);
}

#[test]
fn changes_are_told_from_segment_to_segment_while_others_are_used_again() {
    let fs = SimFs::new(1);
    let db = open(&fs);
    let mut changes = db.changes(0).expect("follows");
    let mut copy = Copy::new();
    for n in 0..2000_u32 {
        db.put(key(n % 97), n.to_string().repeat(40)).expect("writes");
        while n % 5 == 0
            && let Some(change) = next(&mut changes)
        {
            apply(&db, &mut copy, &change);
        }
        if n % 50 == 0 {
            db.settle().expect("settles");
        }
    }
    while let Some(change) = next(&mut changes) {
        apply(&db, &mut copy, &change);
    }
    assert!(db.metrics().log_segments_recycled > 3, "{:?}", db.metrics());
    assert_eq!(copy["default"], content(&db));
}

#[test]
fn a_follower_that_is_too_slow_is_told_where_history_begins() {
    let fs = SimFs::new(1);
    let db = open(&fs);
    let mut slow = db.changes(0).expect("follows");
    db.put("first", "1").expect("writes");
    assert!(next(&mut slow).is_some());
    for n in 0..2000 {
        db.put(key(n), vec![1; 200]).expect("writes");
        db.settle().expect("settles");
    }
    let error = slow.next_within(Duration::ZERO).expect_err("it is gone");
    assert_eq!(error.kind(), ErrorKind::HistoryGone, "{error}");
    let oldest = error.oldest_change().expect("named");
    assert!(oldest > 2 && error.to_string().contains(&oldest.to_string()), "{error}");
    let again = db.changes(0).expect_err("it is gone");
    assert_eq!((again.kind(), again.oldest_change()), (ErrorKind::HistoryGone, Some(oldest)));
    let mut changes = db.changes(oldest - 1).expect("that is there");
    assert_eq!(next(&mut changes).expect("told").first_seq_no, oldest);
    let beyond = db.changes(db.visible_seq_no() + 1).expect_err("nobody wrote so much");
    assert_eq!(beyond.kind(), ErrorKind::Invalid);
}

#[test]
fn history_is_kept_over_openings_within_its_limit() {
    let fs = SimFs::new(1);
    for round in 0..6_u32 {
        let db = open_keeping(&fs);
        for n in 0..300 {
            db.put(key(n), format!("{round}").repeat(100)).expect("writes");
        }
        db.settle().expect("settles");
        check_followed(&db);
        db.close().expect("closes");
    }
    let limited = Options { changes_retention_bytes: 200 << 10, ..tiny_options(&fs) };
    let db = Db::open_with("db", limited).expect("opens");
    let error = db.changes(0).expect_err("too much");
    let oldest = error.oldest_change().expect("named");
    let mut changes = db.changes(oldest - 1).expect("that is there");
    assert!(oldest < db.visible_seq_no(), "something is kept");
    let told = std::iter::from_fn(|| next(&mut changes)).last().expect("told");
    assert_eq!(told.last_seq_no, db.visible_seq_no());
    let logs = crate::files_in(&fs, "db").len();
    assert!(logs < 30, "{logs} files");
    drop((db, changes));
    open(&fs).changes(0).expect_err("nothing is kept unless somebody asks for it");
}

#[test]
fn after_a_crash_anywhere_a_follower_from_the_beginning_has_what_the_store_has() {
    let write = |db: &Db, from: u32| -> lsm_engine::Result<()> {
        for n in from..from + 30 {
            let durability = [Durability::Disk, Durability::Memory, Durability::Os][n as usize % 3];
            let mut batch = WriteBatch::new();
            batch.put(key(n % 40), n.to_string().repeat(80));
            batch.delete(key((n + 7) % 40));
            db.write_with(&batch, durability.into())?;
            if n % 10 == 9 {
                db.flush()?;
            }
            if n % 15 == 3 {
                db.default_keyspace().ingest((50..55).map(|k| (key(k), n.to_string())))?;
            }
            db.step(Step::Log)?;
        }
        Ok(())
    };
    let fs = SimFs::new(5);
    let db = open_keeping(&fs);
    let first = fs.steps();
    write(&db, 0).expect("writes");
    let last = fs.steps();
    drop(db);
    for (index, step) in (first..last).step_by(3).enumerate() {
        let policy = CrashPolicy::ALL[index % CrashPolicy::ALL.len()];
        let fs = SimFs::new(5);
        let db = open_keeping(&fs);
        fs.crash_at(step);
        let mut changes = db.changes(0).expect("follows");
        let mut copy = Copy::new();
        let _ = write(&db, 0);
        while let Ok(Some(change)) = changes.next_within(Duration::ZERO) {
            apply(&db, &mut copy, &change);
        }
        let seen = changes.seq_no();
        drop((db, changes));
        let fs = fs.crash_image(policy, step);
        let db = open_keeping(&fs);
        assert!(seen <= db.visible_seq_no(), "step {step}, {policy}: told what is gone");
        check_followed(&db);
        // And a second life and crash behind the first.
        write(&db, 100).expect("writes");
        check_followed(&db);
        let db = open_keeping(&fs.crash_image(policy, step));
        check_followed(&db);
    }
}

/// Options of a database that keeps its log for `age_ms` by a clock that the test sets.
fn ageing(fs: &SimFs, clock: &Arc<AtomicU64>, age_ms: u64) -> Options {
    let options = Options { changes_retention_ms: Some(age_ms), ..keeping(fs) };
    let clock = Arc::clone(clock);
    let clock = Arc::new(move || 1_700_000_000_000 + clock.load(Ordering::Relaxed));
    Options { env: Env { clock, ..options.env }, ..options }
}

/// The oldest change that is there.
#[track_caller]
fn check_oldest(db: &Db, is_first: bool) {
    db.settle().expect("settles");
    let outcome = db.changes(0);
    assert_eq!(outcome.is_ok(), is_first, "{outcome:?}");
    if let Err(error) = outcome {
        assert_eq!(error.kind(), ErrorKind::HistoryGone, "{error}");
        let oldest = error.oldest_change().expect("named");
        db.changes(oldest - 1).expect("that is there");
    }
}

#[test]
fn history_is_kept_no_longer_than_its_age_also_over_an_opening() {
    let (fs, clock) = (SimFs::new(1), Arc::new(AtomicU64::new(0)));
    let at = |ms| clock.store(ms, Ordering::Relaxed);
    let write = |db: &Db| {
        for n in 0..600 {
            db.put(key(n), vec![1; 200]).expect("writes");
        }
        db.flush().expect("flushes");
    };
    let db = Db::open_with("db", ageing(&fs, &clock, 1000)).expect("opens");
    write(&db);
    at(999);
    check_oldest(&db, true);
    write(&db);
    at(1000);
    check_oldest(&db, false);
    let files = files_in(&fs, "db").len();
    at(5000);
    db.settle().expect("settles");
    assert!(files_in(&fs, "db").len() < files, "nobody has to write for it");
    write(&db);
    let since = db.visible_seq_no() - 500;
    db.close().expect("closes");
    at(5900);
    let db = Db::open_with("db", ageing(&fs, &clock, 1000)).expect("opens");
    db.settle().expect("settles");
    db.changes(since).expect("it is 900 ms old");
    at(6000);
    db.settle().expect("settles");
    db.changes(since).expect_err("it was written 1000 ms ago");
    drop(db);
    at(20_000);
    let db = Db::open_with("db", ageing(&fs, &clock, 1000)).expect("opens");
    let last = db.visible_seq_no();
    db.changes(last - 1).expect("when the last segment ended nobody knows");
    at(21_000);
    db.settle().expect("settles");
    db.changes(last - 1).expect_err("it is as old as the opening");
}

#[test]
fn how_much_history_is_kept_is_changed_live() {
    let (fs, clock) = (SimFs::new(1), Arc::new(AtomicU64::new(0)));
    let db = Db::open_with("db", ageing(&fs, &clock, 1000)).expect("opens");
    for n in 0..600 {
        db.put(key(n), vec![1; 200]).expect("writes");
    }
    db.flush().expect("flushes");
    db.set_changes_retention(1 << 30, None);
    clock.store(1_000_000, Ordering::Relaxed);
    check_oldest(&db, true);
    db.set_changes_retention(1 << 30, Some(1_000_001));
    check_oldest(&db, true);
    db.set_changes_retention(64 << 10, None);
    check_oldest(&db, false);
}

/// Counts how often a task is woken.
#[derive(Default)]
struct Woken(AtomicU64);

impl std::task::Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_task_is_woken_for_the_next_change_and_for_the_end() {
    let fs = SimFs::new(1);
    let db = open(&fs);
    let mut changes = db.changes(0).expect("follows");
    let woken = Arc::new(Woken::default());
    let waker = std::task::Waker::from(Arc::clone(&woken));
    let mut context = Context::from_waker(&waker);
    let mut poll = |changes: &mut Changes| pin!(changes.next_change()).poll(&mut context);
    assert!(poll(&mut changes).is_pending());
    assert!(poll(&mut changes).is_pending(), "another future for the same change");
    db.put_with("a", "1", Durability::Os.into()).expect("writes");
    assert_eq!(woken.0.load(Ordering::Relaxed), 0, "it is not on disk");
    db.sync().expect("syncs");
    assert_eq!(woken.0.load(Ordering::Relaxed), 1);
    let Poll::Ready(Ok(change)) = poll(&mut changes) else { panic!("it is on disk") };
    assert_eq!(change.last_seq_no, db.visible_seq_no());
    db.put("b", "2").expect("writes");
    assert_eq!(woken.0.load(Ordering::Relaxed), 1, "nobody waited");
    assert!(matches!(poll(&mut changes), Poll::Ready(Ok(_))));
    assert!(poll(&mut changes).is_pending());
    db.clone().close().expect("closes");
    assert_eq!(woken.0.load(Ordering::Relaxed), 2);
    let Poll::Ready(Err(error)) = poll(&mut changes) else { panic!("it is closed") };
    assert_eq!(error.kind(), ErrorKind::Closed);
}

#[test]
fn a_task_cannot_follow_another_process() {
    let fs = SimFs::new(1);
    let _db = open(&fs);
    let reader = Db::open_read_only_with("db", tiny_options(&fs)).expect("opens beside it");
    let mut changes = reader.changes(0).expect("follows");
    let mut context = Context::from_waker(std::task::Waker::noop());
    let Poll::Ready(Err(error)) = pin!(changes.next_change()).poll(&mut context) else {
        panic!("nobody would wake it")
    };
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
}

#[test]
fn a_follower_waits_for_what_comes_and_ends_with_the_database() {
    let fs = SimFs::new(1);
    let db = Db::open_with("db", threaded(&fs)).expect("opens");
    let changes = db.changes(0).expect("follows");
    std::thread::scope(|scope| {
        let follower = scope.spawn(move || {
            let mut told = 0;
            for change in changes {
                match change {
                    Ok(_) => told += 1,
                    Err(error) => return (told, error.kind()),
                }
            }
            unreachable!("it ends with an error")
        });
        for n in 0..100 {
            db.put(key(n), "value").expect("writes");
        }
        while db.metrics().durable < 100 {
            std::thread::yield_now();
        }
        let mut seen = db.changes(0).expect("follows");
        for _ in 0..100 {
            seen.next_within(Duration::from_secs(60)).expect("follows").expect("told");
        }
        std::thread::sleep(Duration::from_millis(150));
        db.clone().close().expect("closes");
        assert_eq!(follower.join().expect("no panic"), (100, ErrorKind::Closed));
    });
}

#[test]
fn a_sync_under_way_hides_what_it_will_make_durable_from_followers() {
    let fs = SimFs::new(1);
    let db = Db::open_with("db", threaded(&fs)).expect("opens");
    let mut changes = db.changes(0).expect("follows");
    let hold = fs.hold(every().sync_of("*.log"));
    std::thread::scope(|scope| {
        scope.spawn(|| db.put("a", "1").expect("writes"));
        hold.wait_for(1);
        assert_eq!(next(&mut changes), None, "a power cut may take it");
        hold.release();
    });
    assert!(changes.next_within(Duration::from_secs(60)).expect("follows").is_some());
}

#[test]
fn an_ingest_is_one_change_that_names_its_range() {
    let fs = SimFs::new(1);
    let db = open(&fs);
    let mut changes = db.changes(0).expect("follows");
    let report = db.default_keyspace().ingest([("b", "1"), ("d", "2")]).expect("loads");
    let change = next(&mut changes).expect("told");
    assert_eq!((change.first_seq_no, change.last_seq_no), (report.seq_no, report.seq_no));
    let (lower, upper) = (b"b".to_vec(), b"d".to_vec());
    assert_eq!(change.entries[0].kind, ChangeKind::Ingest { lower, upper, entries: 2 });
    fs.fail(lsm_io::once().write_of("*.manifest"));
    db.default_keyspace().ingest([("e", "3")]).expect_err("the edit failed");
    db.put("after", "1").expect("writes");
    let change = next(&mut changes).expect("told");
    assert!(matches!(change.entries[0].kind, ChangeKind::Put { .. }), "{change:?}");
}

#[test]
fn entries_of_a_keyspace_that_is_gone_are_left_out() {
    let fs = SimFs::new(1);
    let db = open(&fs);
    let users = db.keyspace("users").expect("creates");
    users.put("a", "1").expect("writes");
    db.put("b", "2").expect("writes");
    db.drop_keyspace(users).expect("drops");
    let again = db.keyspace("users").expect("creates another");
    again.put("c", "3").expect("writes");
    check_followed(&db);
}

#[test]
fn a_follower_in_another_process_is_told_what_the_writer_knows_to_be_on_disk() {
    let fs = SimFs::new(1);
    let db = open_keeping(&fs);
    db.put("a", "1").expect("writes");
    let reader = Db::open_read_only_with("db", keeping(&fs)).expect("opens beside it");
    let mut changes = reader.changes(0).expect("follows");
    let mut told = 0;
    for n in 0..500 {
        db.put(key(n), vec![1; 300]).expect("writes");
        if n % 100 == 0 {
            db.settle().expect("settles");
            reader.refresh().expect("moves on");
        }
        while next(&mut changes).is_some() {
            told += 1;
        }
        assert!(changes.seq_no() <= db.metrics().durable);
    }
    assert!(told > 300, "{told}");
    db.put_with("z", "not synced", Durability::Os.into()).expect("writes");
    reader.refresh().expect("moves on");
    while next(&mut changes).is_some() {
        told += 1;
    }
    assert_eq!(
        told, 500,
        "all but the newest group, of which no mark tells, and what is not synced"
    );
    db.close().expect("closes");
    reader.refresh().expect("moves on");
    let last = std::iter::from_fn(|| next(&mut changes)).last().expect("told");
    let key = b"z".to_vec();
    assert!(matches!(&last.entries[0].kind, ChangeKind::Put { key: k, .. } if *k == key));
    check_followed(&reader);
}
