//! Who was told that a value has expired is told the same ever after, whatever crashes and wherever the
//! clock is set; and no value expires early for it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lsm_engine::{
    Append, Db, Env, KeyspaceOptions, Operator, Options, Reads, RepairOptions, Scan, Step, repair,
};
use lsm_io::{CrashPolicy, Fs, SimFs, every, once};

use crate::ttl::{START_MS, Time, check_there, ms};
use crate::{content, key, threaded};

/// How long a lease is.
const LEASE: u64 = 200;
/// Where the clock may stand when a database is opened after a crash at 100.
const CLOCKS: [u64; 9] = [0, 50, 99, 100, 101, 250, 300, 301, 5000];

/// What is left of it if the machine crashes now, before anything in the background is done.
fn crashed(time: &Time) -> Time {
    time.on(time.fs.crash_image(CrashPolicy::LoseUnsynced, 1))
}

/// What a scan of everything finds.
fn keys(reads: &impl Reads) -> Vec<Vec<u8>> {
    content(reads).into_keys().collect()
}

fn manifest_syncs(fs: &SimFs) -> u64 {
    fs.synced("*.manifest")
}

/// A way to be told that there is no value under "a".
type Ask = fn(&Db);

const WAYS: [(&str, Ask); 12] = [
    ("get", |db| assert_eq!(db.get("a").expect("reads"), None)),
    ("contains_key", |db| assert!(!db.contains_key("a").expect("reads"))),
    ("multi_get", |db| assert_eq!(db.multi_get(&["a"]).expect("reads"), [None])),
    ("iter", |db| assert_eq!(db.iter().count(), 0)),
    ("iter backward", |db| assert_eq!(db.iter().rev().count(), 0)),
    ("a cursor", |db| {
        let mut cursor = db.cursor();
        cursor.seek("a").expect("seeks");
        assert_eq!(cursor.key(), None);
    }),
    ("a cursor backward", |db| {
        let mut cursor = db.cursor();
        cursor.seek_for_prev("a").expect("seeks");
        assert_eq!(cursor.key(), None);
    }),
    ("a snapshot", |db| assert_eq!(db.snapshot().get("a").expect("reads"), None)),
    ("a scan of a snapshot", |db| assert_eq!(db.snapshot().iter().count(), 0)),
    ("a transaction", |db| {
        let tx = db.transaction();
        assert_eq!(tx.get("a").expect("reads"), None);
        assert_eq!(tx.scan(Scan::all()).count(), 0);
    }),
    ("put_if", |db| {
        assert_eq!(db.put_if("a", Some(b"1"), Some(b"2")).expect("compares"), None);
    }),
    ("explain", |db| {
        let explanation = db.default_keyspace().explain("a").expect("reads");
        assert_eq!(explanation.value, None);
    }),
];

#[test]
fn what_a_reader_was_told_is_gone_is_gone_after_a_crash_wherever_the_clock_stands() {
    for (way, ask) in WAYS {
        for is_flushed in [false, true] {
            let time = Time::new(SimFs::new(1));
            let db = time.open();
            db.put_ttl("a", "1", ms(100)).expect("puts");
            if is_flushed {
                db.flush().expect("flushes");
            }
            time.set(100);
            ask(&db);
            for clock in CLOCKS {
                time.set(clock);
                let after = crashed(&time);
                check_there(&after.open(), "a", false);
                let killed = time.on(time.fs.kill_image());
                assert_eq!(killed.open().get("a").expect("reads"), None, "{way}, clock at {clock}");
            }
        }
    }
}

#[test]
fn a_base_that_was_gone_under_operands_is_gone_after_a_crash() {
    for is_flushed in [false, true] {
        let time = Time::new(SimFs::new(2));
        let keyspace = KeyspaceOptions {
            merge_operator: Some(Operator::new(Append)),
            ..time.options().keyspace
        };
        let open = |time: &Time| {
            let options = Options { keyspace: keyspace.clone(), ..time.options() };
            Db::open_with("db", options).expect("opens")
        };
        let db = open(&time);
        db.put_ttl("a", "base ", ms(100)).expect("puts");
        if is_flushed {
            db.flush().expect("flushes");
        }
        db.merge("a", "operand").expect("merges");
        time.set(99);
        assert_eq!(db.get("a").expect("reads").expect("there"), "base operand");
        time.set(100);
        assert_eq!(db.get("a").expect("reads").expect("there"), "operand");
        time.set(0);
        let db = open(&crashed(&time));
        assert_eq!(db.get("a").expect("reads").expect("there"), "operand");
        assert!(db.iter().all(|entry| entry.expect("reads").1 == "operand"));
    }
}

#[test]
fn what_a_scan_has_passed_over_is_gone_after_a_crash() {
    for is_reverse in [false, true] {
        let time = Time::new(SimFs::new(3));
        let db = time.open();
        for n in 0..300 {
            db.put_ttl(key(n), vec![1; 100], ms(100)).expect("puts");
        }
        db.flush().expect("flushes");
        time.set(100);
        let found = if is_reverse { db.iter().rev().count() } else { db.iter().count() };
        assert_eq!(found, 0);
        time.set(0);
        assert_eq!(keys(&crashed(&time).open()), Vec::<Vec<u8>>::new());
    }
}

/// Values that expire at these times, each under a key that says when.
fn put_until(db: &Db, times: impl IntoIterator<Item = u64>) {
    for time in times {
        db.put_ttl(time.to_string(), "1", ms(time)).expect("puts");
    }
}

/// Of such values those are there whose time is not over.
#[track_caller]
fn check_exact(time: &Time, db: &Db, times: impl IntoIterator<Item = u64>) {
    for expiry in times {
        check_there(db, &expiry.to_string(), expiry > time.now());
    }
    assert_eq!(db.database_time_ms(), START_MS + time.now(), "the clock is right");
}

#[test]
fn nothing_expires_early_after_a_crash_while_the_clock_is_right() {
    const TIMES: [u64; 10] = [100, 101, 102, 150, 299, 300, 301, 302, 400, 5000];
    for is_flushed in [false, true] {
        // A crash in the lease, at its end, and behind it.
        for (crash_at, waited) in [(100, 200), (150, 150), (299, 1), (300, 0), (301, 0), (400, 0)] {
            let time = Time::new(SimFs::new(5));
            let db = time.open();
            put_until(&db, TIMES);
            if is_flushed {
                db.flush().expect("flushes");
            }
            time.set(100);
            check_there(&db, "100", false);
            time.set(crash_at);
            let after = crashed(&time);
            let db = after.open();
            assert_eq!(after.waited(), waited, "crashed at {crash_at}");
            check_exact(&after, &db, TIMES);
            time.set(after.now() + 1);
            check_exact(&after, &db, TIMES);
        }
    }
}

#[test]
fn an_open_after_a_close_waits_for_nothing() {
    let time = Time::new(SimFs::new(6));
    let db = time.open();
    put_until(&db, [100, 101, 102, 1000]);
    time.set(100);
    check_there(&db, "100", false);
    // Whether or not that is a moment later.
    db.close().expect("closes");
    let db = time.open();
    check_exact(&time, &db, [100, 101, 102, 1000]);
    time.set(101);
    check_there(&db, "101", false);
    db.close().expect("closes");
    time.set(102);
    let db = time.open();
    check_exact(&time, &db, [100, 101, 102, 1000]);
    assert_eq!(time.waited(), 0);
    // What was told is told again, wherever the clock is set.
    db.close().expect("closes");
    time.set(0);
    let db = time.open();
    for key in ["100", "101", "102"] {
        check_there(&db, key, false);
    }
    assert_eq!(db.database_time_ms(), START_MS + 102);
    assert_eq!(time.waited(), 0);
}

#[test]
fn a_clock_that_was_set_back_far_or_stands_still_keeps_no_open_waiting() {
    let time = Time::new(SimFs::new(7));
    let db = time.open();
    put_until(&db, [100, 1000]);
    time.set(100);
    check_there(&db, "100", false);
    time.set(99);
    let after = crashed(&time);
    let database_time_ms = after.open().database_time_ms();
    assert_eq!((database_time_ms, after.waited()), (START_MS + 100 + LEASE, 0), "set back too far");
    time.set(150);
    let after = crashed(&time);
    let asked = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&asked);
    let wait = Arc::new(move |time: Duration| {
        counted.fetch_add(u64::try_from(time.as_millis()).expect("short"), Ordering::Relaxed);
    });
    let options = after.options();
    let db = Db::open_with("db", Options { env: Env { wait, ..options.env }, ..options });
    assert_eq!(db.expect("opens").database_time_ms(), START_MS + 100 + LEASE);
    assert_eq!(asked.load(Ordering::Relaxed), LEASE, "and no longer");
}

#[test]
fn an_edit_of_another_kind_does_not_take_the_lease_back() {
    let time = Time::new(SimFs::new(8));
    let db = time.open();
    put_until(&db, [100, 250]);
    time.set(100);
    check_there(&db, "100", false);
    time.set(120);
    db.put("b", "1").expect("puts");
    db.flush().expect("flushes");
    time.set(249);
    check_there(&db, "250", true);
    time.set(250);
    let before = manifest_syncs(&time.fs);
    check_there(&db, "250", false);
    assert_eq!(manifest_syncs(&time.fs), before, "the lease covers it");
    time.set(0);
    check_there(&crashed(&time).open(), "250", false);
}

#[test]
fn readers_wait_for_nothing_as_long_as_something_expires_all_the_time() {
    let time = Time::new(SimFs::new(9));
    let db = time.open();
    put_until(&db, (100..5000).step_by(10));
    let first = manifest_syncs(&time.fs);
    let mut waits = 0;
    for now in (100..5000).step_by(10) {
        time.set(now);
        let before = manifest_syncs(&time.fs);
        assert_eq!(db.get(now.to_string()).expect("reads"), None);
        waits += manifest_syncs(&time.fs) - before;
        db.step(Step::Log).expect("keeps the time");
    }
    assert_eq!(waits, 1, "the first of them");
    let edits = manifest_syncs(&time.fs) - first;
    assert!(edits <= 4900 / 150 + 2, "{edits} edits");
}

#[test]
fn a_lease_that_nobody_goes_by_ends_and_costs_no_more() {
    let time = Time::new(SimFs::new(10));
    let db = time.open();
    put_until(&db, [100, 20_000]);
    time.set(100);
    check_there(&db, "100", false);
    let syncs = manifest_syncs(&time.fs);
    for now in (100..10_000).step_by(50) {
        time.set(now);
        // What expired long ago needs no lease, however often it is met.
        check_there(&db, "100", false);
        db.step(Step::Log).expect("has nothing to keep");
    }
    assert_eq!(manifest_syncs(&time.fs), syncs);
    let after = crashed(&time);
    let db = after.open();
    assert_eq!(after.waited(), 0);
    check_exact(&after, &db, [100, 20_000]);
}

#[test]
fn readers_who_come_at_once_share_one_edit() {
    const READERS: u64 = 8;
    let time = Time::new(SimFs::new(11));
    let asked = Arc::new(AtomicU64::new(0));
    let (counted, options) = (Arc::clone(&asked), time.options());
    let clock = Arc::clone(&options.env.clock);
    let clock = Arc::new(move || {
        let now_ms = clock();
        counted.fetch_add(1, Ordering::SeqCst);
        now_ms
    });
    let db = Db::open_with("db", Options { env: Env { clock, ..options.env }, ..options });
    let db = db.expect("opens");
    put_until(&db, [100]);
    time.set(100);
    let syncs = manifest_syncs(&time.fs);
    let hold = time.fs.hold(every().sync_of("*.manifest"));
    std::thread::scope(|scope| {
        scope.spawn(|| assert_eq!(db.get("100").expect("reads"), None));
        hold.wait_for(1);
        let before = asked.load(Ordering::SeqCst);
        for _ in 1..READERS {
            scope.spawn(|| assert_eq!(db.get("100").expect("reads"), None));
        }
        // Each knows by then that it is over, and finds that nothing says so durably.
        while asked.load(Ordering::SeqCst) < before + READERS - 1 {
            std::thread::yield_now();
        }
        hold.release();
    });
    assert_eq!(manifest_syncs(&time.fs) - syncs, 1);
}

#[test]
fn whoever_asks_while_the_time_is_being_kept_is_told_once_it_is() {
    let time = Time::new(SimFs::new(12));
    let db = time.open();
    put_until(&db, [100, 1000]);
    time.set(100);
    let hold = time.fs.hold(every().sync_of("*.manifest"));
    std::thread::scope(|scope| {
        let told = scope.spawn(|| db.get("100").expect("reads"));
        hold.wait_for(1);
        assert!(!told.is_finished());
        // Nobody else waits for it.
        assert!(db.contains_key("1000").expect("reads"));
        db.put("other", "1").expect("puts");
        hold.release();
        assert_eq!(told.join().expect("no panic"), None);
    });
}

#[test]
fn the_answer_stays_gone_where_the_time_cannot_be_kept() {
    // A disk that is full: the edit is not there, and the next one may be.
    let time = Time::new(SimFs::new(13));
    let db = time.open();
    put_until(&db, [100, 1000]);
    time.set(100);
    time.fs.fail(every().write_of("*.manifest").for_ever());
    check_there(&db, "100", false);
    check_there(&db, "1000", true);
    time.fs.heal();
    while db.step(Step::Log).expect("keeps the time") {}
    time.set(0);
    check_there(&crashed(&time).open(), "100", false);

    // A failed sync: from then on nothing is kept.
    let time = Time::new(SimFs::new(14));
    let db = time.open();
    put_until(&db, [100, 500, 1000]);
    time.set(100);
    time.fs.fail(once().sync_of("*.manifest"));
    check_there(&db, "100", false);
    assert!(db.metrics().poison.is_some());
    time.set(500);
    let syncs = manifest_syncs(&time.fs);
    check_there(&db, "500", false);
    check_there(&db, "1000", true);
    assert_eq!(manifest_syncs(&time.fs), syncs, "no edit follows");
}

#[test]
fn who_is_told_first_after_a_close_begins_the_database() {
    let time = Time::new(SimFs::new(15));
    let db = time.open();
    put_until(&db, [100, 1000]);
    db.close().expect("closes");
    let db = time.open();
    time.set(100);
    check_there(&db, "1000", true);
    check_there(&db, "100", false);
    time.set(0);
    check_there(&crashed(&time).open(), "100", false);
    drop(db);
    check_there(&time.open(), "100", false);
}

#[test]
fn an_iterator_that_outlives_the_database_tells_what_is_kept() {
    let time = Time::new(SimFs::new(16));
    let db = time.open();
    put_until(&db, [1000, 101]);
    time.set(101);
    let mut scan = db.iter();
    assert_eq!(scan.next().expect("an entry").expect("reads").0, "1000");
    db.close().expect("closes");
    assert!(scan.next().is_none_or(|entry| entry.is_err()), "that is over");
    time.set(0);
    check_there(&time.open(), "101", false);
}

#[test]
fn a_database_opened_read_only_shows_nothing_that_the_writers_readers_were_told_is_gone() {
    const TIMES: [u64; 6] = [100, 250, 299, 300, 301, 1000];
    let time = Time::new(SimFs::new(17));
    let db = time.open();
    put_until(&db, TIMES);
    let reader = Db::open_read_only_with("db", time.options()).expect("opens");
    check_exact(&time, &reader, TIMES);
    time.set(100);
    check_there(&db, "100", false);
    time.set(250);
    check_there(&db, "250", false);
    // The clock is right, or was set back a little.
    for clock in [250, 110] {
        time.set(clock);
        let opened = Db::open_read_only_with("db", time.options()).expect("opens");
        assert_eq!(time.now(), 300, "the lease is over");
        check_exact(&time, &opened, TIMES);
        time.set(clock);
        reader.refresh().expect("refreshes");
        assert_eq!(time.now(), 300);
        check_exact(&time, &reader, TIMES);
    }
    // It was set back far.
    let waited = time.waited();
    time.set(0);
    reader.refresh().expect("refreshes");
    let opened = Db::open_read_only_with("db", time.options()).expect("opens");
    for reader in [&reader, &opened] {
        check_there(reader, "250", false);
        check_there(reader, "301", true);
    }
    assert_eq!(time.waited(), waited);
}

#[test]
fn a_repair_keeps_the_time_as_an_open_does() {
    for (clock, waited) in [(0, 0), (150, 150)] {
        let time = Time::new(SimFs::new(18));
        let db = time.open();
        put_until(&db, [100, 301]);
        time.set(100);
        check_there(&db, "100", false);
        time.set(clock);
        let after = crashed(&time);
        after.fs.remove_file(Path::new("db/CURRENT")).expect("is there");
        let options = RepairOptions { env: after.options().env, ..RepairOptions::default() };
        assert!(!repair("db", options).expect("repairs").is_healthy);
        assert_eq!(after.waited(), waited);
        let db = after.open();
        check_there(&db, "100", false);
        check_there(&db, "301", true);
    }
}

#[test]
fn threads_that_find_values_expired_and_everything_else_go_on_beside_each_other() {
    let fs = SimFs::new(19);
    // Each look moves the clock far, so leases end all the time.
    let clock = Arc::new(AtomicU64::new(START_MS));
    let moved = Arc::clone(&clock);
    let options = threaded(&fs);
    let clock = Arc::new(move || moved.fetch_add(50, Ordering::Relaxed));
    let db = Db::open_with("db", Options { env: Env { clock, ..options.env }, ..options });
    let db = db.expect("opens");
    std::thread::scope(|scope| {
        for thread in 0..4_u32 {
            let db = &db;
            scope.spawn(move || {
                for n in 0..600 {
                    let name = key((n * 7 + thread) % 97);
                    match (n + thread) % 9 {
                        0..3 => {
                            db.put_ttl(&name, vec![1; 200], ms(u64::from(n % 50) * 40)).map(drop)
                        }
                        3 => db.delete(&name).map(drop),
                        4 => db.get(&name).map(drop),
                        5 => db.iter().try_for_each(|entry| entry.map(drop)),
                        6 => {
                            let tx = db.transaction();
                            let is_there = tx.get(&name).expect("reads").is_some();
                            tx.iter().for_each(|entry| drop(entry.expect("reads")));
                            tx.put_ttl(&name, if is_there { "1" } else { "2" }, ms(500));
                            let _ = tx.commit();
                            Ok(())
                        }
                        7 if n % 4 == 0 => db.flush(),
                        7 if n % 50 == 0 => db.compact_range::<&str>(..),
                        7 => db.put_if(&name, None, Some(b"1")).map(drop),
                        _ => db.iter().rev().try_for_each(|entry| entry.map(drop)),
                    }
                    .expect("goes on");
                }
            });
        }
    });
    db.close().expect("closes");
}
