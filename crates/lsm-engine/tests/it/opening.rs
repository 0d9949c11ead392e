//! What it costs to open, and what an open says it did.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use lsm_engine::{Db, Durability, Env, Options, Reads, RecoveryMode, Spawn};
use lsm_io::{CrashPolicy, Fs, SimFs, nth};

use crate::{key, open, tiny_options};

fn find(fs: &SimFs, ending: &str) -> PathBuf {
    let mut files = fs.files().into_iter().map(|(path, _)| path);
    files.find(|path| path.to_string_lossy().ends_with(ending)).expect("there is one")
}

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
    assert!(counts[11] < 17, "{counts:?}");
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

#[test]
fn reads_after_a_close_are_refused_through_every_handle() {
    let db = open(&SimFs::new(0));
    db.put("key", "value").expect("writes");
    let (other, snapshot, keyspace) = (db.clone(), db.snapshot(), db.default_keyspace().clone());
    let (mut iter, mut cursor) = (db.iter(), db.cursor());
    db.close().expect("closes");
    let errors = [
        other.get("key").expect_err("refused"),
        other.multi_get(&["key"]).expect_err("refused"),
        other.first().expect_err("refused"),
        other.put("key", "value").expect_err("refused"),
        keyspace.get("key").expect_err("refused"),
        keyspace.history("key").expect_err("refused"),
        keyspace.compact_range::<&[u8]>(..).expect_err("refused"),
        snapshot.get("key").expect_err("refused"),
        snapshot.within(&keyspace).get("key").expect_err("refused"),
        snapshot.last().expect_err("refused"),
        iter.next().expect("an error").expect_err("refused"),
        cursor.seek("key").expect_err("refused"),
    ];
    for error in errors {
        assert_eq!(error.kind(), lsm_engine::ErrorKind::Closed, "{error}");
    }
}

/// A log of half a mebibyte, for a recovery whose memtables are much smaller.
fn crashed_with_much_to_replay() -> (SimFs, impl Fn(&SimFs) -> Options) {
    let fs = SimFs::new(1);
    let large = Options { memtable_bytes: Some(1 << 20), ..tiny_options(&fs) };
    let large = Options { log_segment_bytes: 1 << 20, log_bytes_max: 4 << 20, ..large };
    let db = Db::open_with("db", large).expect("opens");
    for n in 0..200 {
        db.put(key(n), vec![n as u8; 500]).expect("writes");
    }
    let small = |fs: &SimFs| Options { memtable_bytes: Some(8 << 10), ..tiny_options(fs) };
    (fs.kill_image(), small)
}

fn check_replayed(db: &Db) {
    assert_eq!(db.iter().count(), 200);
    assert_eq!(db.get(key(77)).expect("reads").expect("there"), vec![77; 500]);
}

#[test]
fn an_open_that_meets_damage_again_and_again_leaves_nothing_behind() {
    let (fs, options) = crashed_with_much_to_replay();
    fs.damage(find(&fs, ".log"), |bytes| bytes[90_000] ^= 1);
    let before = fs.files();
    for _ in 0..4 {
        let error = Db::open_with("db", options(&fs)).expect_err("durable data is damaged");
        assert_eq!(error.kind(), lsm_engine::ErrorKind::Corrupt, "{error}");
        assert_eq!(fs.files(), with_lock(&before, &fs));
    }
}

#[test]
fn an_open_that_fails_keeps_the_orphans_for_a_repair() {
    let (fs, options) = crashed_with_much_to_replay();
    let orphan = Path::new("db/000900.sst");
    fs.shared().open(orphan, lsm_io::OpenMode::CreateNew).expect("created");
    fs.damage(find(&fs, ".log"), |bytes| bytes[90_000] ^= 1);
    Db::open_with("db", options(&fs)).expect_err("durable data is damaged");
    assert!(fs.files().iter().any(|(path, _)| path == orphan), "what is lost may be in it");
}

/// The lock file tells the last holder.
fn with_lock(files: &[(PathBuf, u64)], fs: &SimFs) -> Vec<(PathBuf, u64)> {
    let lock = Path::new("db/LOCK");
    let bytes = fs.read_file(lock).len() as u64;
    let files = files.iter().cloned();
    files.map(|(path, old)| if path == lock { (path, bytes) } else { (path, old) }).collect()
}

#[test]
fn an_open_without_room_leaves_nothing_behind() {
    let (fs, options) = crashed_with_much_to_replay();
    let before = fs.files();
    let used: u64 = before.iter().map(|(_, bytes)| bytes).sum();
    for room in (0..1 << 20).step_by(32 << 10) {
        fs.limit_bytes(used + room);
        if let Ok(db) = Db::open_with("db", options(&fs)) {
            assert!(room > 150_000, "{room} bytes cannot be enough");
            check_replayed(&db);
            return;
        }
        assert_eq!(fs.files(), with_lock(&before, &fs), "{room} bytes of room");
    }
    panic!("it never opened");
}

#[test]
fn an_open_that_fails_at_any_call_leaves_nothing_behind_or_all_that_current_leads_to() {
    let (crashed, options) = crashed_with_much_to_replay();
    let before = crashed.files();
    let manifest = find(&crashed, ".manifest");
    let mut kept = 0;
    for call in 1.. {
        let fs = crashed.kill_image();
        fs.fail(nth(call).any_of("*").with(ErrorKind::Interrupted));
        let opened = Db::open_with("db", options(&fs));
        fs.heal();
        if opened.is_ok() {
            // Once CURRENT is swapped, what fails is the removal of what nothing names.
            break;
        }
        let current = String::from_utf8(fs.read_file("db/CURRENT")).expect("text");
        let name = manifest.file_name().expect("a name").to_string_lossy();
        if current.contains(&*name) {
            let left = fs.files();
            assert_eq!(left, with_lock(&before, &fs), "call {call}");
        } else {
            kept += 1;
        }
        for image in [fs.kill_image(), fs.crash_image(CrashPolicy::LoseUnsynced, call)] {
            check_replayed(&Db::open_with("db", options(&image)).expect("opens"));
        }
    }
    assert_eq!(kept, 1, "CURRENT was swapped, and the directory could not be synced");
}

#[test]
fn an_orphan_that_cannot_be_removed_keeps_nobody_out() {
    let (fs, options) = crashed_with_much_to_replay();
    fs.fail(nth(1).remove_of("*.log").for_ever());
    let db = Db::open_with("db", options(&fs)).expect("opens");
    check_replayed(&db);
    drop(db);
    fs.heal();
    let db = Db::open_with("db", options(&fs)).expect("opens");
    assert!(db.recovery_report().files_removed > 0, "{:?}", db.recovery_report());
}

#[test]
fn a_log_that_ends_before_what_the_manifest_knows_durable_is_damaged() {
    for blank in [true, false] {
        let fs = SimFs::new(1);
        let db = open(&fs);
        let other = db.keyspace("other").expect("creates");
        other.put("key", "value").expect("writes");
        db.put("key", "THE LAST ONE").expect("writes");
        // The flush of one keyspace tells the manifest how far the log is durable.
        other.compact_range::<&[u8]>(..).expect("flushes");
        db.put_with("later", "value", Durability::Memory.into()).expect("writes");
        let image = fs.crash_image(CrashPolicy::LoseUnsynced, 0);
        image.damage(find(&image, ".log"), |bytes| {
            let at = bytes.windows(12).position(|bytes| bytes == b"THE LAST ONE").expect("there");
            let end = if blank { bytes.len() } else { at + 12 };
            // From the frame's header on there are zeros, as if nothing had been written; or only
            // its value is damaged, and it looks torn.
            let from = if blank { at - 36 } else { at };
            bytes[from..end].fill(0);
        });
        let error = Db::open_with("db", tiny_options(&image)).expect_err("durable data is missing");
        assert_eq!(error.kind(), lsm_engine::ErrorKind::Corrupt, "{error}");
        assert!(error.to_string().contains("the manifest knows of durable data"), "{error}");
        let salvage = Options { recovery: RecoveryMode::Salvage, ..tiny_options(&image) };
        let db = Db::open_with("db", salvage).expect("salvage takes what there is");
        assert!(!db.contains_key("key").expect("reads"));
        assert!(db.keyspace("other").expect("opens").contains_key("key").expect("reads"));
    }
}

#[test]
fn what_a_salvaging_open_sets_aside_is_somewhere_after_a_power_cut_at_any_call() {
    let damaged = || {
        let fs = SimFs::new(1);
        let db = open(&fs);
        db.put("key", "THE LAST BUT ONE").expect("writes");
        db.put("key", "THE LAST ONE").expect("writes");
        let image = fs.crash_image(CrashPolicy::LoseUnsynced, 0);
        image.damage(find(&image, ".log"), |bytes| {
            let is_damaged = |bytes: &[u8]| bytes == b"THE LAST BUT ONE";
            let at = bytes.windows(16).position(is_damaged).expect("is there");
            bytes[at] ^= 1;
        });
        image
    };
    let salvage = |fs: &SimFs| {
        let options = Options { recovery: RecoveryMode::Salvage, ..tiny_options(fs) };
        Db::open_with("db", options)
    };
    let segment = find(&damaged(), ".log");
    let set_aside = Path::new("db/lost").join(segment.file_name().expect("has a name"));
    let fs = damaged();
    drop(salvage(&fs).expect("takes what there is"));
    assert!(fs.exists(&set_aside).expect("looks"), "what was skipped is kept");
    let steps = damaged().count_steps(|fs| drop(salvage(fs)));
    for step in 0..steps {
        let fs = damaged().crash_at(step);
        drop(salvage(&fs));
        for (policy, seed) in CrashPolicy::ALL.into_iter().flat_map(|it| [(it, 0), (it, 1)]) {
            let after = fs.crash_image(policy, seed);
            let is_there = |path: &Path| after.exists(path).expect("looks");
            let is_kept = is_there(&segment) || is_there(&set_aside);
            assert!(is_kept, "crash at step {step} of {steps}: {policy}, seed {seed}");
        }
    }
}

#[test]
fn an_open_reads_little_of_what_a_close_has_written_to_tables() {
    let options = |fs: &SimFs| {
        let log =
            Options { log_segment_bytes: 1 << 20, log_bytes_max: 4 << 20, ..tiny_options(fs) };
        Options { memtable_bytes: Some(8 << 20), ..log }
    };
    // Wherever in a segment the log ends.
    for quarter in 0..4 {
        let fs = SimFs::new(0);
        let db = Db::open_with("db", options(&fs)).expect("opens");
        while db.metrics().log_bytes_written < (2 << 20) + quarter * (256 << 10) {
            db.put_with(key(1), vec![1; 1000], Durability::Memory.into()).expect("writes");
        }
        db.close().expect("closes");
        fs.reset_counters();
        let db = Db::open_with("db", options(&fs)).expect("opens");
        let report = db.recovery_report();
        assert!(report.closed_cleanly && report.segments_read == 1, "{report:?}");
        assert!(report.batches_replayed <= 512, "{} of 1 KiB", report.batches_replayed);
        assert!(fs.bytes_read() < 1 << 20, "{} bytes", fs.bytes_read());
    }
}

#[test]
fn what_an_open_has_no_use_for_is_removed_by_the_logs_thread() {
    let (fs, options) = crashed_with_much_to_replay();
    let old = find(&fs, ".log");
    let is_there = || fs.files().iter().any(|(path, _)| *path == old);
    let options = options(&fs);
    let env = Env { spawn: Spawn::Threads, ..options.env.clone() };
    let db = Db::open_with("db", Options { env, ..options }).expect("opens");
    while is_there() {
        std::thread::yield_now();
    }
    check_replayed(&db);
}

#[test]
fn what_a_close_could_not_flush_is_replayed_by_the_next_open() {
    let fs = SimFs::new(0);
    let options = |fs: &SimFs| Options {
        memtable_bytes: Some(1 << 20),
        log_segment_bytes: 256 << 10,
        log_bytes_max: 4 << 20,
        ..tiny_options(fs)
    };
    let db = Db::open_with("db", options(&fs)).expect("opens");
    for n in 0..700 {
        db.put_with(key(n), vec![n as u8; 1000], Durability::Memory.into()).expect("writes");
    }
    fs.fail(nth(1).write_of("*.sst").for_ever());
    db.close().expect_err("cannot write tables");
    fs.heal();
    let db = Db::open_with("db", options(&fs)).expect("opens");
    assert!(db.recovery_report().segments_read > 2, "{:?}", db.recovery_report());
    assert_eq!(db.iter().count(), 700);
}
