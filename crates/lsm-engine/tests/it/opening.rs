//! What it costs to open, and what an open says it did.

use lsm_engine::{Db, Reads};
use lsm_io::SimFs;

use crate::{key, open, tiny_options};

#[test]
fn opening_a_closed_database_reads_little_and_opens_no_table() {
    let fs = SimFs::new(0);
    let db = open(&fs);
    for n in 0..20_000 {
        db.put_with(key(n), vec![n as u8; 100], lsm_engine::Durability::Memory.into())
            .expect("writes");
        if n % 100 == 0 {
            db.settle().expect("settles");
        }
    }
    db.close().expect("closes");
    let tables =
        fs.files().iter().filter(|(path, _)| path.extension().is_some_and(|e| e == "sst")).count();
    assert!(tables > 3, "{tables} tables are too few to tell");
    fs.reset_counters();
    let db = Db::open_with("db", tiny_options(&fs)).expect("opens");
    assert!(fs.bytes_read() <= (64 << 10) + 200 * tables as u64, "{} bytes", fs.bytes_read());
    assert_eq!(fs.opened("*.sst"), 0);
    assert!(db.recovery_report().closed_cleanly);
    assert_eq!(db.get(key(777)).expect("reads").expect("there").len(), 100);
}

#[test]
fn an_empty_database_takes_under_a_mebibyte() {
    let fs = SimFs::new(0);
    let db = open(&fs);
    let bytes: u64 = fs.files().iter().map(|(_, bytes)| bytes).sum();
    assert!(bytes < 1 << 20, "{bytes} bytes");
    drop(db);
}

#[test]
fn the_report_tells_what_was_replayed() {
    let fs = SimFs::new(0);
    let db = open(&fs);
    assert!(db.recovery_report().created);
    for n in 0..10 {
        db.put(key(n), "value").expect("writes");
    }
    let db = open(&fs.kill_image());
    let report = db.recovery_report();
    assert!(!report.created && !report.closed_cleanly, "{report:?}");
    assert_eq!(report.batches_replayed, 10);
    assert_eq!(report.entries_replayed, 10);
    assert_eq!(report.tables_written, 1);
}

#[test]
fn opening_again_and_again_after_crashes_leaves_no_files_behind() {
    let mut fs = SimFs::new(0);
    let mut counts = Vec::new();
    for round in 0..12 {
        let db = open(&fs);
        db.put(key(round), "value").expect("writes");
        db.settle().expect("settles");
        counts.push(fs.files().len());
        fs = fs.kill_image();
    }
    assert!(counts.iter().skip(6).max() <= counts.iter().max(), "{counts:?}");
    assert!(counts[11] < 16, "{counts:?}");
}

#[test]
fn dropping_the_last_handle_of_any_kind_closes_cleanly() {
    let fs = SimFs::new(0);
    let db = open(&fs);
    db.put("key", "value").expect("writes");
    let snapshot = db.snapshot();
    drop(db);
    assert_eq!(snapshot.get("key").expect("still open").expect("there"), "value");
    drop(snapshot);
    assert!(open(&fs).recovery_report().closed_cleanly);
}
