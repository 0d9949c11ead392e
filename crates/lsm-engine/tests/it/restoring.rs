//! Restores: a checkpoint takes a database's place, whole, or nothing changes.

use std::path::Path;

use lsm_engine::{
    CheckpointOptions, Db, ErrorKind, Options, Reads, RestoreOptions, RestoreProgress,
    RestoreReport, restore_with,
};
use lsm_io::{CrashPolicy, SimFs, nth, once};
use lsm_manifest::Manifest;

use crate::{content, create_dir, exists, files_in, key, open, open_at, remove, tiny_options};

/// A log that is closed and empty: two frames.
const LOG_BYTES: usize = 108;

fn options(fs: &SimFs) -> RestoreOptions {
    RestoreOptions { env: tiny_options(fs).env, ..RestoreOptions::default() }
}

fn restore(fs: &SimFs, checkpoint: &str, target: &str) -> lsm_engine::Result<RestoreReport> {
    restore_with(checkpoint, target, &options(fs), |_| {})
}

/// A checkpoint `copy` in which every value is "then", and the database, closed, with "now".
fn prepared() -> SimFs {
    prepared_with(&CheckpointOptions::default())
}

fn prepared_with(options: &CheckpointOptions) -> SimFs {
    let fs = SimFs::new(1);
    let db = open(&fs);
    let other = db.keyspace("other").expect("created");
    for (round, value) in ["then", "now"].into_iter().enumerate() {
        for n in 0..12 {
            db.put(key(n), value).expect("writes");
            other.put(key(n), value).expect("writes");
            if n == 6 {
                db.flush().expect("flushes");
            }
        }
        if round == 0 {
            db.checkpoint_with("copy", options, |_| {}).expect("made");
        }
    }
    db.close().expect("closes");
    fs
}

/// The database at `path` is whole, and this is the value of every key.
#[track_caller]
fn check_values(fs: &SimFs, path: &str, expected: &str, told: &str) {
    let db = open_at(fs, path);
    assert_eq!(value_of_all(&db, told), expected, "{told}");
    assert!(db.verify().expect("verifies").is_clean(), "{told}");
}

#[track_caller]
fn value_of_all(db: &Db, told: &str) -> String {
    let other = db.keyspace("other").expect("opens");
    let values = content(db);
    assert_eq!(content(&other), values, "{told}");
    assert_eq!(values.len(), 12, "{told}");
    let value = values.values().next().expect("twelve");
    assert!(values.values().all(|other| other == value), "{told}: {values:?}");
    String::from_utf8(value.clone()).expect("text")
}

#[test]
fn a_restore_puts_the_checkpoint_in_place_and_keeps_what_was_there() {
    let fs = prepared();
    let mut told = (0, 0);
    let report = restore_with("copy", "db", &options(&fs), |progress| match progress {
        RestoreProgress::Verify(_) => told.0 += 1,
        RestoreProgress::Copy(_) => told.1 += 1,
    });
    let report = report.expect("restores");
    assert_eq!(report.replaced.as_deref(), Some(Path::new("db.replaced")));
    assert_eq!((told.0, told.1), (report.restored.tables, report.restored.tables));
    assert!(report.verified.files > 2 && report.restored.bytes_linked > 0, "{report:?}");
    check_values(&fs, "db", "then", "the restored one");
    check_values(&fs, "copy", "then", "the checkpoint");
    check_values(&fs, "db.replaced", "now", "the replaced one");
    let id = |path: &str| {
        Manifest::read(&fs.shared(), Path::new(path)).expect("reads").state.database_id
    };
    assert!(id("db") != id("copy") && id("db") != id("db.replaced"));
}

#[test]
fn a_restored_database_and_its_checkpoint_live_on_without_each_other() {
    let fs = prepared();
    restore(&fs, "copy", "db").expect("restores");
    let db = open(&fs);
    for n in 0..12 {
        db.put(key(n), "later").expect("writes");
    }
    db.compact_range::<&[u8]>(..).expect("compacts");
    db.settle().expect("settles");
    check_values(&fs, "copy", "then", "the checkpoint");
    remove(&fs, "copy");
    assert!(db.verify().expect("verifies").is_clean());
}

#[test]
fn a_restore_to_a_new_place_needs_no_database_there() {
    let fs = prepared();
    create_dir(&fs, "empty");
    for place in ["empty", "somewhere/else"] {
        let report = restore(&fs, "copy", place).expect("restores");
        assert_eq!(report.replaced, None);
        check_values(&fs, place, "then", place);
        assert!(!exists(&fs, &format!("{place}.replaced")));
    }
}

#[test]
fn what_was_there_is_removed_where_that_is_asked() {
    let fs = prepared();
    let options = RestoreOptions { keep_replaced: false, copy_tables: true, ..options(&fs) };
    let report = restore_with("copy", "db", &options, |_| {}).expect("restores");
    assert_eq!((report.replaced, report.restored.bytes_linked), (None, 0));
    assert!(!exists(&fs, "db.replaced"));
    check_values(&fs, "db", "then", "copied");
}

#[test]
fn a_database_that_is_open_is_not_replaced() {
    let fs = prepared();
    let db = open(&fs);
    let error = restore(&fs, "copy", "db").expect_err("open");
    assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
    assert!(error.to_string().contains("process"), "{error} names the holder");
    assert_eq!(value_of_all(&db, "still there"), "now");
}

#[test]
fn what_cannot_be_restored_or_replaced_is_refused_untouched() {
    let fs = prepared();
    create_dir(&fs, "photographs/of");
    create_dir(&fs, "nothing");
    for (checkpoint, target, reason) in [
        ("copy", "photographs", "belongs to something else: it holds of"),
        ("copy", "copy/CURRENT", "lies in copy"),
        ("copy", "copy", "lies in copy"),
        ("copy", "db/../copy/inside", "lies in copy"),
        ("db/lost", "db", "lies in db"),
        ("nothing", "db", "there is no database at nothing"),
        ("missing", "db", "there is no database at missing"),
        ("copy/CURRENT", "db", "there is no database at copy/CURRENT"),
    ] {
        let before = fs.files();
        let error = restore(&fs, checkpoint, target).expect_err(reason);
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(error.to_string().contains(reason), "{error}");
        assert_eq!(fs.files().len(), before.len());
    }
    restore(&fs, "copy", "db").expect("restores");
    let error = restore(&fs, "copy", "db").expect_err("where would it go?");
    assert!(error.to_string().contains("db.replaced is in the way"), "{error}");
    check_values(&fs, "db.replaced", "now", "untouched");
}

#[test]
fn a_damaged_database_can_be_replaced() {
    for file in ["db/CURRENT", "manifest"] {
        let fs = prepared();
        let path =
            files_in(&fs, "db").into_iter().find(|path| path.to_string_lossy().ends_with(file));
        let path = path.expect("there");
        lsm_io::Fs::remove_file(&fs, &path).expect("removed");
        Db::open_with("db", tiny_options(&fs)).expect_err("damaged");
        restore(&fs, "copy", "db").expect("restores");
        check_values(&fs, "db", "then", file);
        assert!(exists(&fs, "db.replaced"));
    }
}

#[test]
fn without_room_nothing_changes() {
    let fs = prepared();
    let used: u64 = fs.files().iter().map(|(_, bytes)| bytes).sum();
    fs.limit_bytes(used + 20_000);
    let options = RestoreOptions { copy_tables: true, ..options(&fs) };
    let error = restore_with("copy", "db", &options, |_| {}).expect_err("no room");
    assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}");
    fs.unlimit();
    assert!(!exists(&fs, "db.unfinished") && !exists(&fs, "db.replaced"));
    check_values(&fs, "db", "now", "untouched");
}

#[test]
fn every_damaged_byte_of_a_checkpoint_is_found_before_anything_is_touched() {
    let prepared = prepared_with(&CheckpointOptions { copy_tables: true });
    let (mut damaged, mut harmless) = (0, 0);
    for path in files_in(&prepared, "copy") {
        // Whoever holds the lock writes that file anew.
        let is_lock = path.ends_with("LOCK");
        let is_log = path.extension().is_some_and(|ending| ending == "log");
        // Behind the log's closing frame nothing was ever written.
        let bytes = if is_log { LOG_BYTES } else { prepared.read_file(&path).len() };
        // What is wrong with a log is looked at again and again, for its writer may be at work.
        for offset in (0..bytes).step_by(if is_log { 7 } else { 1 }) {
            let fs = prepared.kill_image();
            fs.damage(&path, |bytes| bytes[offset] ^= 1 << (offset % 8));
            let told = format!("{} at byte {offset}", path.display());
            match restore(&fs, "copy", "db") {
                Err(error) => {
                    damaged += 1;
                    assert_eq!(error.kind(), ErrorKind::Corrupt, "{told}: {error}");
                    assert!(error.to_string().contains(" at byte "), "{told}: {error}");
                    assert!(!exists(&fs, "db.unfinished") && !exists(&fs, "db.replaced"), "{told}");
                    if offset % 61 == 0 {
                        check_values(&fs, "db", "now", &told);
                    }
                }
                Ok(_) => {
                    harmless += 1;
                    assert!(is_lock, "{told} was not noticed");
                }
            }
        }
        if is_lock {
            continue;
        }
        for length in [0, 1, bytes / 2, bytes - 1] {
            let fs = prepared.kill_image();
            fs.damage(&path, |bytes| bytes.truncate(length));
            let error = restore(&fs, "copy", "db").expect_err("truncated");
            assert_eq!(
                error.kind(),
                ErrorKind::Corrupt,
                "{} cut to {length}: {error}",
                path.display()
            );
        }
        let fs = prepared.kill_image();
        lsm_io::Fs::remove_file(&fs, &path).expect("removed");
        restore(&fs, "copy", "db").expect_err("missing");
        check_values(&fs, "db", "now", "a file is missing");
    }
    assert!(damaged > 2500 && harmless < 50, "{damaged} damaged, {harmless} harmless");
}

/// Every policy, and more of those that draw lots about names.
fn power_cuts(fs: &SimFs, lots: u64) -> impl Iterator<Item = (String, SimFs)> {
    let all = CrashPolicy::ALL.map(|policy| (policy, 0)).into_iter();
    let lots = (1..lots).map(|seed| (CrashPolicy::Sectors, seed));
    all.chain(lots)
        .map(|(policy, seed)| (format!("{policy}, seed {seed}"), fs.crash_image(policy, seed)))
}

/// Cuts the power at every call of a restore from `before` on, and looks at what opens.
fn check_power_cuts(before: &SimFs, keep_replaced: bool) {
    let run = |fs: &SimFs| {
        let options = RestoreOptions { keep_replaced, ..options(fs) };
        restore_with("copy", "db", &options, |_| {})
    };
    let steps = before.kill_image().count_steps(|fs| drop(run(fs).expect("restores")));
    let (mut old, mut new, mut completed) = (0, 0, 0);
    for step in 0..=steps {
        let fs = before.kill_image().crash_at(step);
        let is_done = run(&fs).is_ok();
        let lots = if step < 8 || step + 8 > steps { 16 } else { 1 };
        for (told, image) in power_cuts(&fs, lots) {
            let told = format!("crash at step {step} of {steps}, {told}");
            completed += u32::from(!exists(&image, "db"));
            let (again, is_old_aside) =
                (image.kill_image(), exists(&image, "db.replaced") && exists(&image, "db"));
            // The database opens, and the open holds through another crash.
            let db = open(&image);
            let value = value_of_all(&db, &told);
            // Whoever wants to keep the old one finds it in one of its two places.
            let is_kept = !keep_replaced || value == "now" || exists(&image, "db.replaced");
            assert!(is_kept, "{told}: the old one is lost");
            old += u32::from(value == "now");
            new += u32::from(value == "then");
            assert!(!is_done || value == "then", "{told}: it was acknowledged");
            check_values(&image.crash_image(CrashPolicy::LoseUnsynced, 0), "db", &value, &told);
            drop(db);
            check_values(&image, "copy", "then", &told);

            // Or somebody restores once more, and nothing is lost on the way.
            match run(&again) {
                Ok(report) => {
                    check_values(&again, "db", "then", &told);
                    assert_eq!(report.replaced.is_some(), keep_replaced, "{told}");
                    if keep_replaced && value == "now" {
                        check_values(&again, "db.replaced", "now", &told);
                    }
                    assert!(!exists(&again, "db.unfinished"), "{told}");
                }
                Err(error) => {
                    assert!(is_old_aside, "{told}: {error}");
                    assert!(error.to_string().contains("in the way"), "{told}: {error}");
                }
            }
        }
    }
    assert!(old > 200 && new > 10 && completed >= 8, "{old} old, {new} new, {completed}");
}

#[test]
fn a_power_cut_at_any_call_of_a_restore_leaves_the_old_database_or_the_new_one() {
    check_power_cuts(&prepared(), true);
    check_power_cuts(&prepared(), false);
}

#[test]
fn a_power_cut_at_any_call_of_a_restore_after_another_leaves_the_old_database_or_the_new_one() {
    check_power_cuts(&in_between(), true);
}

#[test]
fn a_power_cut_while_a_swap_is_completed_leaves_it_to_the_next_open() {
    let fs = in_between();
    let steps = fs.kill_image().count_steps(|fs| drop(open(fs)));
    for step in 0..steps {
        let fs = fs.kill_image().crash_at(step);
        Db::open_with("db", tiny_options(&fs)).map(drop).unwrap_or_default();
        for policy in CrashPolicy::ALL {
            let image = fs.crash_image(policy, step);
            check_values(&image, "db", "then", &format!("crash at step {step}, {policy}"));
        }
    }
}

/// A disk on which a restore was cut short between the two renames.
fn in_between() -> SimFs {
    let prepared = prepared();
    let steps =
        prepared.kill_image().count_steps(|fs| drop(restore(fs, "copy", "db").expect("restores")));
    let images = (0..steps).map(|step| {
        let fs = prepared.kill_image().crash_at(step);
        restore(&fs, "copy", "db").expect_err("crashes");
        fs.crash_image(CrashPolicy::LoseUnsynced, 0)
    });
    let mut images = images.filter(|image| !exists(image, "db"));
    images.next().expect("the old one is set aside before the new one is in place")
}

#[test]
fn a_swap_that_was_cut_short_is_completed_by_an_open_and_undone_by_a_restore() {
    let fs = in_between();
    check_values(&fs.kill_image(), "db", "then", "completed");
    // Whoever starts the database may have made its directory beforehand.
    let image = fs.kill_image();
    create_dir(&image, "db");
    check_values(&image, "db", "then", "over an empty directory");
    let image = fs.kill_image();
    lsm_io::Fs::remove_file(&image, Path::new("copy/CURRENT")).expect("removed");
    restore(&image, "copy", "db").expect_err("no checkpoint any more");
    check_values(&image, "db", "now", "undone");
    let error = Db::open_read_only_with("db", tiny_options(&fs)).expect_err("it changes nothing");
    assert!(error.to_string().contains("db.replaced"), "{error}");
}

#[test]
fn only_the_one_that_was_set_aside_is_not_taken_for_an_empty_place() {
    let fs = in_between();
    remove(&fs, "db.unfinished");
    let error = Db::open_with("db", tiny_options(&fs)).expect_err("there is something");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert!(error.to_string().contains("set one aside as db.replaced"), "{error}");
    lsm_io::Fs::rename(&fs, Path::new("db.replaced"), Path::new("db")).expect("renamed");
    check_values(&fs, "db", "now", "as it was");
    // Other directories and files of that name mean nothing.
    create_dir(&fs, "new.replaced/photographs");
    open_at(&fs, "new").put("key", "value").expect("writes");
}

#[test]
fn a_restore_that_fails_at_any_call_leaves_the_old_database_or_the_new_one() {
    let prepared = prepared();
    let mut failed = 0;
    for pattern in ["db*", "db.unfinished/*", ""] {
        for call in 1.. {
            let fs = prepared.kill_image();
            fs.fail(nth(call).any_of(pattern).with(std::io::ErrorKind::Interrupted));
            let done = restore(&fs, "copy", "db");
            fs.heal();
            let told = format!("call {call} of {pattern:?}");
            for image in [fs.kill_image(), fs.crash_image(CrashPolicy::LoseUnsynced, call)] {
                let value = value_of_all(&open(&image), &told);
                assert!(done.is_err() || value == "then", "{told}: it was acknowledged");
            }
            if done.is_ok() {
                break;
            }
            failed += 1;
        }
    }
    assert!(failed > 25, "{failed} calls failed");
}

#[test]
fn names_that_a_failed_sync_has_lost_take_neither_database() {
    let mut failed = 0;
    for sync in 1..5 {
        let faults = [
            nth(sync).dir_sync_of(""),
            nth(sync).dir_sync_of("").losing_pages(),
            nth(sync).dir_sync_of("").for_ever(),
            nth(sync).dir_sync_of("").for_ever().losing_pages(),
        ];
        for fault in faults {
            let fs = prepared();
            fs.fail(fault.clone());
            let done = restore(&fs, "copy", "db");
            failed += u32::from(done.is_err());
            for (told, image) in power_cuts(&fs, 24) {
                let told = format!("{fault:?}, {told}");
                let value = value_of_all(&open(&image), &told);
                assert!(done.is_err() || value == "then", "{told}");
            }
        }
    }
    assert!(failed >= 8, "{failed} restores failed");
}

#[test]
fn nobody_opens_the_database_in_the_middle_of_a_swap() {
    let fs = prepared();
    let hold = fs.hold(once().rename_of("db.unfinished"));
    std::thread::scope(|scope| {
        let restoring = scope.spawn(|| restore(&fs, "copy", "db"));
        hold.wait_for(1);
        let error = Db::open_with("db", tiny_options(&fs)).expect_err("in the middle");
        assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
        let error = restore(&fs, "copy", "db").expect_err("in the middle");
        assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
        hold.release();
        restoring.join().expect("no panic").expect("restores");
    });
    check_values(&fs, "db", "then", "afterwards");
}

#[test]
fn a_live_database_can_be_restored_elsewhere() {
    let fs = prepared();
    let db = open(&fs);
    db.put(key(0), "not flushed").expect("writes");
    restore(&fs, "db", "elsewhere").expect("restores");
    let elsewhere =
        Db::open_with("elsewhere", Options { create_if_missing: false, ..tiny_options(&fs) });
    let elsewhere = elsewhere.expect("opens");
    assert_eq!(elsewhere.get(key(0)).expect("reads").expect("there"), "not flushed");
    assert_eq!(content(&elsewhere), content(&db));
}
