//! What an open leaves for the first write, when the database was closed cleanly.

use std::io::ErrorKind;
use std::path::PathBuf;

use lsm_engine::{Db, Error, Options, Reads, Step};
use lsm_io::{CrashPolicy, SimFs, nth};

use crate::{content, key, open, threaded, tiny_options};

/// A closed database of 200 entries in several tables, of which an older manifest is left behind.
fn closed() -> SimFs {
    let fs = SimFs::new(1);
    let db = open(&fs);
    for n in 0..200 {
        db.put(key(n), vec![n as u8; 500]).expect("writes");
    }
    db.settle().expect("settles");
    db.close().expect("closes");
    fs
}

/// Names and bytes of all files but the one that tells who has the database open.
fn files(fs: &SimFs) -> Vec<(PathBuf, Vec<u8>)> {
    let paths = fs.files().into_iter().map(|(path, _)| path);
    let paths = paths.filter(|path| !path.ends_with("LOCK"));
    paths.map(|path| (path.clone(), fs.read_file(&path))).collect()
}

#[track_caller]
fn check_whole(db: &Db, written: bool) {
    let entries = content(db);
    let known = entries.iter().filter(|(key, _)| *key != b"new").count();
    assert_eq!(known, 200);
    assert_eq!(entries.contains_key(&b"new"[..]), written);
}

#[test]
fn a_database_that_is_only_read_stays_as_it_was_closed() {
    let fs = closed();
    let before = files(&fs);
    fs.reset_counters();
    let db = open(&fs);
    check_whole(&db, false);
    assert_eq!(db.metrics().log_bytes, 0, "there is no log yet");
    db.sync().expect("there is nothing to sync");
    db.close().expect("closes");
    assert_eq!(files(&fs), before);
    assert_eq!(fs.synced("*"), 0, "nobody waits for the disk");
    assert!(open(&fs).recovery_report().closed_cleanly);
}

#[test]
fn what_is_killed_unwritten_is_a_closed_database() {
    let fs = closed();
    let db = open(&fs);
    check_whole(&db, false);
    for image in [fs.kill_image(), fs.crash_image(CrashPolicy::LoseUnsynced, 0)] {
        assert!(open(&image).recovery_report().closed_cleanly);
    }
}

#[test]
fn every_kind_of_change_begins() {
    type Change = fn(&Db);
    let changes: [(&str, Change); 7] = [
        ("a write", |db| db.put("new", "value").expect("writes")),
        ("a step of the log's thread", |db| assert!(db.step(Step::Log).is_ok())),
        ("a keyspace", |db| drop(db.keyspace("another").expect("creates"))),
        ("a merge", |db| db.compact_range::<&[u8]>(..).expect("merges")),
        ("a load", |db| drop(db.default_keyspace().bulk_load().expect("begins to load"))),
        ("a checkpoint", |db| assert!(db.checkpoint("copy").is_ok())),
        ("a follower", |db| drop(db.changes(200).expect("follows"))),
    ];
    for (what, change) in changes {
        let fs = closed();
        let db = open(&fs);
        change(&db);
        assert!(db.metrics().log_bytes > 0, "{what}: there is no log");
        db.put("new", "value").expect("writes");
        check_whole(&open(&fs.kill_image()), true);
        let report = db.verify().expect("reads");
        assert!(report.is_clean(), "{what}: {report:?}");
    }
}

#[test]
fn a_database_with_threads_begins_by_itself() {
    let fs = closed();
    let db = Db::open_with("db", threaded(&fs)).expect("opens");
    while db.metrics().log_bytes == 0 {
        std::thread::yield_now();
    }
    check_whole(&db, false);
}

#[test]
fn writers_and_the_logs_thread_begin_once() {
    let fs = closed();
    let db = Db::open_with("db", threaded(&fs)).expect("opens");
    std::thread::scope(|scope| {
        for n in 0..4 {
            let db = &db;
            scope.spawn(move || db.put(key(1000 + n), "value").expect("writes"));
        }
    });
    db.close().expect("closes");
    assert_eq!(content(&open(&fs)).len(), 204);
}

#[test]
fn a_beginning_that_fails_at_any_call_loses_nothing() {
    let closed = closed();
    let mut refused = 0;
    for call in 1.. {
        let fs = closed.kill_image();
        let db = open(&fs);
        fs.fail(nth(call).any_of("*").with(ErrorKind::Interrupted));
        let written = db.put("new", "value");
        let has_struck = fs.faults_struck() > 0;
        fs.heal();
        if !has_struck {
            break;
        }
        refused += u32::from(written.is_err());
        let again = db.put("new", "value");
        // Names that a failed sync may have lost, and the log's own sync, are not tried again.
        let is_final = |error: &Error| error.kind() == lsm_engine::ErrorKind::ReadOnly;
        assert!(again.as_ref().map_or_else(is_final, |()| true), "call {call}: {again:?}");
        drop(db);
        for image in [fs.kill_image(), fs.crash_image(CrashPolicy::LoseUnsynced, call)] {
            let db = open(&image);
            let is_there = db.contains_key("new").expect("reads");
            assert!(is_there || again.is_err(), "call {call}");
            check_whole(&db, is_there);
        }
    }
    assert!(refused >= 8, "{refused} calls failed");
}

#[test]
fn a_beginning_that_fails_leaves_the_files_as_they_were() {
    let closed = closed();
    for failing in ["*.log", "*.manifest", "CURRENT.tmp"] {
        let fs = closed.kill_image();
        let db = open(&fs);
        let before = files(&fs);
        fs.fail(nth(1).sync_of(failing));
        let error = db.put("new", "value").expect_err("the sync fails");
        assert_eq!(error.kind(), lsm_engine::ErrorKind::Io, "{failing}: {error}");
        assert_eq!(files(&fs), before, "{failing}");
        db.put("new", "value").expect("the next one begins");
        check_whole(&open(&fs.kill_image()), true);
    }
}

#[test]
fn a_power_cut_at_any_call_of_the_first_write_leaves_a_whole_database() {
    let closed = closed();
    let put = |db: &Db| db.put("new", "value");
    let steps = {
        let fs = closed.kill_image();
        let db = open(&fs);
        let before = fs.steps();
        put(&db).expect("writes");
        db.step(Step::Log).expect("removes what is old");
        (before, fs.steps())
    };
    for step in steps.0..=steps.1 {
        for policy in [CrashPolicy::LoseUnsynced, CrashPolicy::KeepEverything] {
            let fs = closed.kill_image().crash_at(step);
            let db = open(&fs);
            let is_acknowledged = put(&db).is_ok();
            let _ = db.step(Step::Log);
            let image = fs.crash_image(policy, step);
            let db = open(&image);
            let is_there = db.contains_key("new").expect("reads");
            assert!(is_there || !is_acknowledged, "step {step}");
            check_whole(&db, is_there);
        }
    }
}

#[test]
fn a_full_disk_is_read_and_refuses_the_first_write_until_there_is_room() {
    let fs = closed();
    fs.damage("db/RESERVE", Vec::clear);
    let (before, used) = (files(&fs), fs.files().iter().map(|(_, bytes)| bytes).sum());
    fs.limit_bytes(used);
    let db = Db::open_with("db", Options { reserve_bytes: Some(0), ..tiny_options(&fs) });
    let db = db.expect("it needs no room");
    check_whole(&db, false);
    for _ in 0..2 {
        let error = db.put("new", "value").expect_err("there is no room");
        assert_eq!(error.kind(), lsm_engine::ErrorKind::NoSpace, "{error}");
    }
    assert!(db.metrics().no_space.is_some());
    let without_reserve = |(path, _): &(PathBuf, Vec<u8>)| !path.ends_with("RESERVE");
    let before: Vec<_> = before.into_iter().filter(without_reserve).collect();
    let after: Vec<_> = files(&fs).into_iter().filter(without_reserve).collect();
    assert_eq!(after, before);
    check_whole(&db, false);
    fs.unlimit();
    db.put("new", "value").expect("there is room");
    check_whole(&open(&fs.kill_image()), true);
}

#[test]
fn the_first_write_on_a_full_disk_takes_the_reserve() {
    let fs = closed();
    fs.limit_bytes(fs.files().iter().map(|(_, bytes)| bytes).sum());
    let db = open(&fs);
    db.delete(key(0)).expect("it begins in the place of the reserve");
    assert_eq!(content(&db).len(), 199);
}
