//! A disk without room: writes are refused and nothing grows; with room they go on by themselves.

use std::time::{Duration, Instant};

use lsm_engine::{Db, ErrorKind, Options, Reads, Step};
use lsm_io::{CrashPolicy, SimFs, every, once};

use crate::{key, open, threaded, tiny_options};

/// Room for the reserve of a log of a first segment, and for one segment more.
const ROOM_AGAIN: u64 = 768 << 10;

fn used(fs: &SimFs) -> u64 {
    fs.files().iter().map(|(_, bytes)| bytes).sum()
}

/// Files whose names end so, and their bytes together.
fn files(fs: &SimFs, ending: &str) -> (usize, u64) {
    let files = fs.files().into_iter();
    let files = files.filter(|(path, _)| path.to_string_lossy().ends_with(ending));
    files.fold((0, 0), |(count, sum), (_, bytes)| (count + 1, sum + bytes))
}

/// Writes until one is refused; returns the key of that one.
#[track_caller]
fn fill(db: &Db) -> Vec<u8> {
    let refused = (0..10_000).find_map(|n| Some((n, db.put(key(n), vec![0; 1000]).err()?)));
    let (n, refused) = refused.expect("the disk is full at some time");
    assert_eq!(refused.kind(), ErrorKind::NoSpace, "{refused}");
    key(n)
}

#[test]
fn a_full_disk_refuses_writes_cleanly_and_recovers_by_itself() {
    let fs = SimFs::new(1);
    let db = open(&fs);
    db.put("before", "1").expect("writes");
    fs.limit_bytes(used(&fs) + 30_000);
    let refused = fill(&db);
    assert!(db.contains_key("before").expect("reads go on"));
    fs.unlimit();
    db.put("after", "2").expect("writes go on");
    assert!(!db.contains_key(refused).expect("reads"), "it left nothing at the next one's place");
    db.flush().expect("flushes go on");
    let db = open(&fs.crash_image(CrashPolicy::LoseUnsynced, 0));
    assert!(db.contains_key("before").expect("reads") && db.contains_key("after").expect("reads"));
}

#[test]
fn refused_writes_and_segments_prepared_ahead_leave_the_room_there_is() {
    let fs = SimFs::new(1);
    let options = Options { memtable_bytes: Some(2 << 20), ..tiny_options(&fs) };
    let db = Db::open_with("db", options).expect("opens");
    db.put("before", "1").expect("writes");
    fs.limit_bytes(used(&fs) + 30_000);
    fill(&db);
    let full = (used(&fs), files(&fs, ".log"));
    for _ in 0..20 {
        assert!(db.put("refused", vec![0; 1000]).is_err());
        let _ = db.step(Step::Log);
        assert_eq!((used(&fs), files(&fs, ".log")), full, "nothing grows");
    }
    fs.limit_bytes(used(&fs) + ROOM_AGAIN);
    db.put("after", vec![0; 1000]).expect("the reserve and one more segment have room");
}

#[test]
fn threads_in_the_background_leave_the_room_there_is() {
    let fs = SimFs::new(1);
    let options = Options { memtable_bytes: Some(2 << 20), ..threaded(&fs) };
    let db = Db::open_with("db", options).expect("opens");
    fs.limit_bytes(used(&fs) + 30_000);
    fill(&db);
    std::thread::sleep(Duration::from_millis(1200));
    fs.limit_bytes(used(&fs) + ROOM_AGAIN);
    let began = Instant::now();
    while db.put("after", vec![0; 1000]).is_err() {
        assert!(began.elapsed() < Duration::from_secs(5), "what was freed was eaten up");
    }
}

#[test]
fn a_manifest_without_room_refuses_the_change_and_takes_the_next_one() {
    let fs = SimFs::new(1);
    let db = open(&fs);
    db.put("key", "value").expect("writes");
    fs.limit_bytes(0);
    let error = db.keyspace("refused").expect_err("there is no room");
    assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}");
    assert!(db.metrics().poison.is_none());
    assert!(!db.keyspaces().contains(&"refused".to_owned()));
    fs.unlimit();
    db.put("key", "newer").expect("writes go on");
    let users = db.keyspace("users").expect("is created");
    users.put("key", "value").expect("writes");
    let db = open(&fs.crash_image(CrashPolicy::LoseUnsynced, 0));
    assert_eq!(db.keyspaces(), ["default", "users"]);
    assert!(db.keyspace("users").expect("opens").contains_key("key").expect("reads"));
}

#[test]
fn tables_that_the_manifest_could_not_take_are_removed() {
    let fs = SimFs::new(1);
    let db = open(&fs);
    db.put("key", "value").expect("writes");
    for _ in 0..5 {
        fs.fail(every().write_of("*.manifest").short().with(std::io::ErrorKind::StorageFull));
        let error = db.flush().expect_err("the manifest has no room");
        assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}");
        assert_eq!(files(&fs, ".sst").0, 0);
        fs.heal();
    }
    db.flush().expect("now it has");
    assert_eq!(files(&fs, ".sst").0, 1);
    let db = open(&fs.crash_image(CrashPolicy::LoseUnsynced, 0));
    assert!(db.contains_key("key").expect("reads"));
}

#[test]
fn tables_that_the_manifest_may_name_are_kept() {
    for loses in [false, true] {
        let fs = SimFs::new(1);
        let db = open(&fs);
        db.put("key", "value").expect("writes");
        let fault = once().sync_of("*.manifest");
        fs.fail(if loses { fault.losing_pages() } else { fault });
        db.flush().expect_err("the sync of the manifest failed");
        assert_eq!(db.put("key", "newer").expect_err("refused").kind(), ErrorKind::ReadOnly);
        drop(db);
        for image in [fs.kill_image(), fs.crash_image(CrashPolicy::KeepEverything, 0)] {
            let db = open(&image);
            assert_eq!(db.get("key").expect("reads").expect("there"), "value");
            assert!(db.verify().expect("verifies").is_clean());
        }
    }
}

#[test]
fn segments_whose_removal_failed_are_removed_later() {
    let fs = SimFs::new(1);
    let db = open(&fs);
    for n in 0..2000 {
        db.put_with(key(n), vec![1; 1000], lsm_engine::Durability::Memory.into()).expect("writes");
        if n % 20 == 0 {
            db.step(Step::Flush).expect("flushes");
        }
    }
    db.flush().expect("flushes");
    let before = files(&fs, ".log").0;
    fs.fail(once().remove_of("*.log"));
    db.step(Step::Log).expect_err("one removal failed");
    db.settle().expect("settles");
    let after = files(&fs, ".log").0;
    assert!(before > 5 && after <= 4, "{after} of {before} segments are left");
}
