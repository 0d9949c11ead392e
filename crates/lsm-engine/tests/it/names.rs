//! Names in directories, which a sync of their files does not make durable.

use std::time::{Duration, Instant};

use lsm_engine::{Db, ErrorKind, Options, Reads};
use lsm_io::{CrashPolicy, SimFs, every, once};

use crate::{key, open, tiny_options};

#[test]
fn a_failed_sync_of_the_directory_makes_the_database_read_only() {
    let fs = SimFs::new(1);
    let db = open(&fs);
    db.put("key", "value").expect("writes");
    fs.fail(once().dir_sync_of("db").losing_pages());
    db.flush().expect_err("the table's name is not durable");
    assert!(db.metrics().poison.is_some());
    assert_eq!(db.put("key", "newer").expect_err("refused").kind(), ErrorKind::ReadOnly);
    assert_eq!(db.flush().expect_err("never tried again").kind(), ErrorKind::ReadOnly);
    let db = open(&fs.crash_image(CrashPolicy::LoseUnsynced, 0));
    assert_eq!(db.get("key").expect("reads").expect("in the log"), "value");
}

#[test]
fn a_segment_whose_name_is_not_durable_makes_the_database_read_only() {
    let fs = SimFs::new(1);
    let options = Options { memtable_bytes: Some(2 << 20), ..tiny_options(&fs) };
    let db = Db::open_with("db", options).expect("opens");
    fs.fail(once().dir_sync_of("db").losing_pages());
    let refused = (0..1000).find_map(|n| db.put(key(n), vec![0; 1000]).err());
    let refused = refused.expect("a segment is needed at some time");
    assert!(refused.to_string().contains("sync the names in db"), "{refused}");
    assert_eq!(db.put("key", "value").expect_err("refused").kind(), ErrorKind::ReadOnly);
}

#[test]
fn names_that_a_failed_sync_has_lost_are_relied_on_by_nobody() {
    let fs = SimFs::new(1);
    let options = Options { memtable_bytes: Some(2 << 20), ..tiny_options(&fs) };
    let db = Db::open_with("db", options).expect("opens");
    db.put("key", "value").expect("writes");
    // A table is being written: its name is there, and not durable yet.
    let hold = fs.hold(every().sync_of("*.sst"));
    std::thread::scope(|scope| {
        let flusher = scope.spawn(|| db.flush());
        hold.wait_for(1);
        // A segment's directory sync fails meanwhile, and takes the table's name along.
        fs.fail(once().dir_sync_of("db").losing_pages());
        let refused = (0..1000).find_map(|n| db.put(key(n), vec![0; 1000]).err());
        refused.expect("a segment is needed at some time");
        hold.release();
        flusher.join().expect("no panic").expect_err("its own sync succeeds, and proves nothing");
    });
    let db = open(&fs.crash_image(CrashPolicy::LoseUnsynced, 0));
    assert_eq!(db.get("key").expect("reads").expect("in the log"), "value");
}

#[test]
fn names_are_synced_by_one_thread_at_a_time_and_by_nobody_after_a_failure() {
    let fs = SimFs::new(1);
    let options = Options { memtable_bytes: Some(2 << 20), ..tiny_options(&fs) };
    let db = Db::open_with("db", options).expect("opens");
    db.put("key", "value").expect("writes");
    fs.fail(once().dir_sync_of("db").losing_pages());
    let hold = fs.hold(every().dir_sync_of("db"));
    let acknowledged = std::thread::scope(|scope| {
        let flusher = scope.spawn(|| db.flush());
        hold.wait_for(1);
        // A segment is named, and its name must not count as synced by a sync that comes after the
        // one which loses it.
        let writer =
            scope.spawn(|| (0..1000).take_while(|n| db.put(key(*n), [0; 1000]).is_ok()).count());
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(200) && !writer.is_finished() {
            assert!(hold.waiting() < 2, "two threads sync the directory at once");
            std::thread::yield_now();
        }
        hold.release();
        flusher.join().expect("no panic").expect_err("the table's name is not durable");
        writer.join().expect("no panic")
    });
    assert!(acknowledged < 1000, "a segment is needed at some time");
    let db = open(&fs.crash_image(CrashPolicy::LoseUnsynced, 0));
    for n in 0..acknowledged {
        let n = u32::try_from(n).expect("few");
        assert!(db.contains_key(key(n)).expect("reads"), "{n} of {acknowledged}");
    }
}

#[test]
fn a_new_database_is_durable_with_all_the_directories_above_it() {
    let fs = SimFs::new(1);
    let db = Db::open_with("a/b/db", tiny_options(&fs)).expect("opens");
    db.put("key", "value").expect("writes");
    for policy in CrashPolicy::ALL {
        let image = fs.crash_image(policy, 0);
        let options = Options { create_if_missing: false, ..tiny_options(&image) };
        let db = Db::open_with("a/b/db", options).expect("is there");
        assert!(db.contains_key("key").expect("reads"), "{policy}");
    }
}

#[test]
fn a_creation_that_was_killed_anywhere_is_made_durable_by_the_next_open() {
    let create = |fs: &SimFs| Db::open_with("a/b/db", tiny_options(fs));
    let steps = SimFs::new(1).count_steps(|fs| drop(create(fs)));
    for step in 0..steps {
        let fs = SimFs::new(1).crash_at(step);
        let _ = create(&fs);
        let fs = fs.kill_image();
        let db = create(&fs).expect("creates it after all");
        db.put("key", "value").expect("writes");
        let image = fs.crash_image(CrashPolicy::LoseUnsynced, 0);
        let db = create(&image).expect("opens");
        assert!(db.contains_key("key").expect("reads"), "killed at step {step}");
    }
}
