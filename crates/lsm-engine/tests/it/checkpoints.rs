//! Checkpoints: one moment of all keyspaces, whole or not there, while everything else goes on.

use std::io::ErrorKind as IoErrorKind;
use std::path::{Path, PathBuf};

use lsm_engine::{
    CheckpointOptions, Db, Durability, ErrorKind, Keyspace, Options, ReadMode, Reads, Step,
    WriteBatch,
};
use lsm_io::{CrashPolicy, SimFs, every, nth, once};
use lsm_manifest::Manifest;

use crate::{
    content, create_dir, exists, files_in, key, open, open_at, remove, threaded, tiny_options,
};

fn database_id(fs: &SimFs, path: &str) -> u128 {
    Manifest::read(&fs.shared(), Path::new(path)).expect("a manifest").state.database_id
}

/// The first table of a database.
fn table(fs: &SimFs, dir: &str) -> PathBuf {
    let is_table = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "sst");
    files_in(fs, dir).into_iter().find(is_table).expect("a table")
}

/// Some entries in tables, some in memory, over two keyspaces.
fn fill(db: &Db) -> Keyspace {
    let other = db.keyspace("other").expect("created");
    for n in 0..40 {
        let mut batch = WriteBatch::new();
        batch.put(key(n), format!("{n}"));
        batch.within(&other).put(key(n), format!("other {n}"));
        db.write(&batch).expect("writes");
        if n == 20 {
            db.flush().expect("flushes");
        }
    }
    db.delete(key(3)).expect("writes");
    other
}

/// The copy is a database that holds what `db` holds now.
#[track_caller]
fn check_copy(fs: &SimFs, path: &str, db: &Db) {
    let copy = open_at(fs, path);
    assert!(copy.recovery_report().closed_cleanly, "{:?}", copy.recovery_report());
    assert_eq!(copy.keyspaces(), db.keyspaces());
    for name in db.keyspaces() {
        let (theirs, ours) =
            (copy.keyspace(&name).expect("opens"), db.keyspace(&name).expect("opens"));
        assert_eq!(content(&theirs), content(&ours), "keyspace {name}");
        assert_eq!(theirs.options(), ours.options());
    }
    assert!(copy.verify().expect("verifies").is_clean());
}

#[test]
fn a_checkpoint_opens_as_a_database_with_everything_that_was_written() {
    let fs = SimFs::new(1);
    let db = open(&fs);
    fill(&db);
    let report = db.checkpoint("copies/monday").expect("made");
    assert_eq!(report.seq_no, db.visible_seq_no());
    assert!(report.bytes_linked > 0 && report.bytes_written > 0, "{report:?}");
    assert_eq!((report.bytes_copied, report.tables), (0, 4), "{report:?}");
    check_copy(&fs, "copies/monday", &db);
    assert!(db.verify().expect("verifies").is_clean());
}

#[test]
fn a_checkpoint_of_an_empty_database_is_an_empty_database() {
    let fs = SimFs::new(1);
    let db = open(&fs);
    let report = db.checkpoint("copy").expect("made");
    assert_eq!((report.seq_no, report.tables), (0, 0));
    check_copy(&fs, "copy", &db);
    let bytes: u64 =
        fs.files().iter().filter(|(path, _)| path.starts_with("copy")).map(|it| it.1).sum();
    assert!(bytes < 512 << 10, "{bytes} bytes, of which the copy's own log has most");
}

#[test]
fn a_checkpoint_has_a_database_id_of_its_own() {
    let fs = SimFs::new(1);
    let db = open(&fs);
    fill(&db);
    db.checkpoint("copy").expect("made");
    open_at(&fs, "copy").checkpoint("copy of the copy").expect("made");
    check_copy(&fs, "copy of the copy", &db);
    let ids = ["db", "copy", "copy of the copy"].map(|path| database_id(&fs, path));
    assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2], "{ids:x?}");
}

#[test]
fn the_database_and_its_checkpoint_live_on_without_each_other() {
    let fs = SimFs::new(1);
    let db = open(&fs);
    fill(&db);
    db.checkpoint("copy").expect("made");
    let before = content(&db);
    for round in 0..5 {
        for n in 0..40 {
            db.put(key(n), format!("{round}")).expect("writes");
        }
        db.compact_range::<&[u8]>(..).expect("compacts");
        db.settle().expect("settles");
    }
    let copy = open_at(&fs, "copy");
    assert_eq!(content(&copy), before);
    copy.delete(key(7)).expect("writes");
    copy.compact_range::<&[u8]>(..).expect("compacts");
    copy.settle().expect("settles");
    assert!(copy.verify().expect("verifies").is_clean());
    copy.close().expect("closes");
    assert_eq!(db.get(key(7)).expect("reads").expect("there"), "4");
    assert!(db.verify().expect("verifies").is_clean());
    remove(&fs, "copy");
    assert!(db.verify().expect("verifies").is_clean());
    let db = open(&fs.crash_image(CrashPolicy::LoseUnsynced, 0));
    assert_eq!(db.get(key(7)).expect("reads").expect("there"), "4");
}

#[test]
fn tables_that_a_merge_replaces_meanwhile_are_in_the_checkpoint() {
    let fs = SimFs::new(1);
    let db = open(&fs);
    fill(&db);
    db.flush().expect("flushes");
    let before = content(&db);
    let hold = fs.hold(once().link_of("*.sst"));
    std::thread::scope(|scope| {
        let checkpoint = scope.spawn(|| db.checkpoint("copy"));
        hold.wait_for(1);
        for n in 0..40 {
            db.put(key(n), "written meanwhile").expect("no write waits for a checkpoint");
        }
        db.compact_range::<&[u8]>(..).expect("compacts");
        db.settle().expect("settles");
        hold.release();
        checkpoint.join().expect("no panic").expect("made");
    });
    assert_eq!(content(&open_at(&fs, "copy")), before);
}

#[test]
fn batches_are_whole_in_checkpoints_made_while_threads_write() {
    let fs = SimFs::new(1);
    let db = Db::open_with("db", threaded(&fs)).expect("opens");
    let other = db.keyspace("other").expect("created");
    let stop = std::sync::atomic::AtomicBool::new(false);
    let reports = std::thread::scope(|scope| {
        for writer in 0..3u32 {
            let (db, other, stop) = (&db, &other, &stop);
            scope.spawn(move || {
                for n in 0.. {
                    let mut batch = WriteBatch::new();
                    let value = format!("{n:>300}");
                    batch.put(key(writer), &value);
                    batch.within(other).put(key(writer), &value);
                    let durability = [Durability::Disk, Durability::Memory][n % 2];
                    db.write_with(&batch, durability.into()).expect("writes");
                    if stop.load(std::sync::atomic::Ordering::Relaxed) {
                        break;
                    }
                }
            });
        }
        let checkpoint = |n: u32| {
            let before = db.visible_seq_no();
            let report = db.checkpoint(format!("copy {n}")).expect("made");
            assert!(report.seq_no >= before, "it holds what was written before");
            report
        };
        let reports: Vec<_> = (0..12).map(checkpoint).collect();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        reports
    });
    for (n, report) in reports.iter().enumerate() {
        let copy = open_at(&fs, &format!("copy {n}"));
        assert_eq!(copy.visible_seq_no(), report.seq_no);
        let other = copy.keyspace("other").expect("opens");
        assert_eq!(content(&copy), content(&other), "copy {n}: batches are whole");
        assert!(copy.verify().expect("verifies").is_clean());
    }
}

#[test]
fn tables_are_copied_where_they_cannot_be_linked() {
    for kind in [IoErrorKind::CrossesDevices, IoErrorKind::Unsupported, IoErrorKind::TooManyLinks] {
        let fs = SimFs::new(1);
        let db = open(&fs);
        fill(&db);
        fs.fail(every().link_of("*.sst").with(kind));
        let report = db.checkpoint("copy").expect("made");
        assert!(report.bytes_copied > 0 && report.bytes_linked == 0, "{kind}: {report:?}");
        // What is damaged in one is not damaged in the other.
        fs.damage(table(&fs, "db"), |bytes| bytes.fill(0));
        assert!(open_at(&fs, "copy").verify().expect("verifies").is_clean());
    }
}

#[test]
fn tables_are_copied_where_that_is_asked() {
    let fs = SimFs::new(1);
    let db = open(&fs);
    fill(&db);
    let options = CheckpointOptions { copy_tables: true };
    let mut told = Vec::new();
    let report =
        db.checkpoint_with("copy", &options, |progress| told.push(progress)).expect("made");
    assert!(report.bytes_copied > 0 && report.bytes_linked == 0, "{report:?}");
    check_copy(&fs, "copy", &db);
    assert_eq!(told.len() as u64, report.tables);
    assert!(told.is_sorted_by_key(|progress| progress.bytes), "{told:?}");
    assert!(told.iter().all(|progress| progress.bytes <= progress.bytes_total), "{told:?}");
}

#[test]
fn a_damaged_table_is_not_copied() {
    let fs = SimFs::new(1);
    let db = open(&fs);
    fill(&db);
    fs.damage(table(&fs, "db"), |bytes| bytes[5] ^= 1);
    let options = CheckpointOptions { copy_tables: true };
    let error = db.checkpoint_with("copy", &options, |_| {}).expect_err("damaged");
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert!(!exists(&fs, "copy") && !exists(&fs, "copy.unfinished"));
}

#[test]
fn without_room_nothing_is_written_and_the_error_tells_how_much_it_takes() {
    let fs = SimFs::new(1);
    let db = open(&fs);
    fill(&db);
    let used: u64 = fs.files().iter().map(|(_, bytes)| bytes).sum();
    fs.limit_bytes(used + 10_000);
    fs.reset_counters();
    let error = db.checkpoint("copy").expect_err("no room");
    assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}");
    let words: Vec<u64> =
        error.to_string().split(' ').filter_map(|word| word.parse().ok()).collect();
    let [needed, copied, available] = words[..] else { panic!("{error}") };
    assert!(needed > available && available <= 10_000 && copied == 0, "{error}");
    assert_eq!(fs.synced("*.sst"), 0);
    assert!(!exists(&fs, "copy.unfinished") && !exists(&fs, "copy"));
    // What it says is enough is enough.
    fs.limit_bytes(used + needed + 1000);
    db.checkpoint("copy").expect("made");
    assert!(fs.files().iter().map(|(_, bytes)| bytes).sum::<u64>() <= used + needed + 1000);
}

#[test]
fn a_target_that_holds_anything_is_refused_and_an_empty_one_is_taken() {
    let fs = SimFs::new(1);
    let db = open(&fs);
    fill(&db);
    db.checkpoint("copy").expect("made");
    for (target, reason) in [
        ("copy", "copy exists and is not empty"),
        ("copy/CURRENT", "is a file"),
        ("db", "which a copy of it must not"),
        ("./db/copy", "which a copy of it must not"),
        ("copy/../db/copy", "which a copy of it must not"),
        ("..", "is no name for a directory"),
    ] {
        let before = fs.files();
        let error = db.checkpoint(target).expect_err(target);
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(error.to_string().contains(reason), "{error}");
        assert_eq!(fs.files(), before);
    }
    create_dir(&fs, "empty");
    for target in ["empty", "db/../beside it"] {
        db.checkpoint(target).expect("made");
        check_copy(&fs, target, &db);
    }
}

#[test]
fn two_checkpoints_to_one_target_do_not_mix() {
    let fs = SimFs::new(1);
    let db = open(&fs);
    fill(&db);
    let hold = fs.hold(once().sync_of("copy.unfinished/*.manifest"));
    std::thread::scope(|scope| {
        let first = scope.spawn(|| db.checkpoint("copy"));
        hold.wait_for(1);
        let error = db.checkpoint("copy").expect_err("the first is under way");
        assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
        hold.release();
        first.join().expect("no panic").expect("made");
    });
    check_copy(&fs, "copy", &db);
}

#[test]
fn what_is_no_unfinished_checkpoint_is_left_alone() {
    let fs = SimFs::new(1);
    let db = open(&fs);
    open_at(&fs, "copy.unfinished").put("somebody's", "own").expect("writes");
    let error = db.checkpoint("copy").expect_err("in the way");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert!(open_at(&fs, "copy.unfinished").contains_key("somebody's").expect("reads"));
    create_dir(&fs, "b.unfinished/photographs");
    let error = db.checkpoint("b").expect_err("in the way");
    assert!(error.to_string().contains("photographs"), "{error}");
}

/// Lets each call on matching files fail in turn; returns how many did.
fn fail_each_call(pattern: &str, options: &CheckpointOptions) -> u64 {
    for call in 1.. {
        let fs = SimFs::new(1);
        let db = open(&fs);
        fill(&db);
        fs.fail(nth(call).any_of(pattern).with(IoErrorKind::Interrupted));
        let made = db.checkpoint_with("copy", options, |_| {});
        fs.heal();
        if made.is_ok() {
            check_copy(&fs, "copy", &db);
            return call - 1;
        }
        assert!(!exists(&fs, "copy"), "call {call}");
        // What could not be claimed may be another's, and stays.
        assert!(files_in(&fs, "copy.unfinished").len() <= 1, "call {call}: {:?}", fs.files());
        db.put("still", "writable").expect("the database goes on");
        db.checkpoint_with("copy", options, |_| {}).expect("made");
        check_copy(&fs, "copy", &db);
    }
    unreachable!("some call is the last")
}

#[test]
fn a_checkpoint_that_fails_at_any_call_is_gone_and_can_be_made_again() {
    for copy_tables in [false, true] {
        let options = CheckpointOptions { copy_tables };
        assert!(fail_each_call("copy*", &options) >= 5, "the directory is made, listed, moved");
        assert!(fail_each_call("copy*/*", &options) >= 20, "files are made, written, synced");
    }
}

/// Eight batches over two keyspaces, and a checkpoint.
fn write_and_checkpoint(fs: &SimFs, options: &CheckpointOptions) -> lsm_engine::Result<()> {
    let db = Db::open_with("db", tiny_options(fs))?;
    let other = db.keyspace("other")?;
    for n in 0..8 {
        let mut batch = WriteBatch::new();
        batch.put(key(n), format!("{n}"));
        batch.within(&other).put(key(n), format!("{n}"));
        db.write(&batch)?;
        if n == 4 {
            db.flush()?;
        }
    }
    db.checkpoint_with("copies/copy", options, |_| {}).map(drop)
}

/// Whether there is a copy after a power cut; if so, it is whole.
#[track_caller]
fn check_whole_or_none(image: &SimFs, must_be_there: bool, told: &str) -> bool {
    let options = Options { create_if_missing: false, ..tiny_options(image) };
    match Db::open_with("copies/copy", options) {
        Ok(copy) => {
            assert_eq!(copy.iter().count(), 8, "{told}");
            let other = copy.keyspace("other").expect("opens");
            assert_eq!(content(&copy), content(&other), "{told}");
            assert!(copy.verify().expect("verifies").is_clean(), "{told}");
            true
        }
        Err(error) => {
            assert!(!must_be_there, "{told}: it was acknowledged, and {error}");
            assert_eq!(error.kind(), ErrorKind::Invalid, "{told}: {error}");
            false
        }
    }
}

#[test]
fn a_power_cut_at_any_call_of_a_checkpoint_loses_nothing_and_leaves_a_whole_one_or_none() {
    for copy_tables in [false, true] {
        let options = CheckpointOptions { copy_tables };
        let steps = SimFs::new(1).count_steps(|fs| {
            write_and_checkpoint(fs, &options).expect("nothing fails");
        });
        let begin = SimFs::new(1).count_steps(|fs| {
            fs.fail(every().create_of("copies*"));
            write_and_checkpoint(fs, &options).expect_err("the checkpoint cannot begin");
        });
        let (mut whole, mut none) = (0, 0);
        for step in begin - 20..=steps {
            let fs = SimFs::new(1).crash_at(step);
            let made = write_and_checkpoint(&fs, &options).is_ok();
            for policy in CrashPolicy::ALL {
                let image = fs.crash_image(policy, step);
                let told = format!("crash at step {step} of {steps}, {policy}");
                let is_there = check_whole_or_none(&image, made, &told);
                whole += u32::from(is_there);
                none += u32::from(!is_there);
                let db = open(&image);
                if step > begin {
                    assert_eq!(db.iter().count(), 8, "{told}");
                }
                assert!(db.verify().expect("verifies").is_clean(), "{told}");
                // What the crash left is in nobody's way.
                if exists(&image, "copies/copy") {
                    remove(&image, "copies/copy");
                }
                db.checkpoint("copies/copy").unwrap_or_else(|error| panic!("{told}: {error}"));
                check_copy(&image, "copies/copy", &db);
                assert!(!exists(&image, "copies/copy.unfinished"), "{told}");
            }
        }
        assert!(whole > 8 && none > 200, "{whole} whole, {none} none");
    }
}

#[test]
fn a_database_opened_read_only_makes_checkpoints_beside_its_writer() {
    let fs = SimFs::new(1);
    let db = open(&fs);
    fill(&db);
    for read_mode in [ReadMode::Mapped, ReadMode::Cached] {
        let options = Options { read_mode, ..tiny_options(&fs) };
        let reader = Db::open_read_only_with("db", options).expect("opens");
        let seen = content(&reader);
        // The writer goes on, and removes tables that the reader sees.
        for n in 0..40 {
            db.put(key(n), format!("{read_mode:?}")).expect("writes");
        }
        db.compact_range::<&[u8]>(..).expect("compacts");
        db.settle().expect("settles");
        let path = format!("copy of {read_mode:?}");
        let report = reader.checkpoint(&path).expect("made");
        assert!(report.bytes_copied > 0, "what has lost its name is copied: {report:?}");
        assert_eq!(content(&open_at(&fs, &path)), seen);
        reader.refresh().expect("refreshes");
        let report = reader.checkpoint(format!("{path}, later")).expect("made");
        assert!(report.bytes_linked > 0, "{report:?}");
        check_copy(&fs, &format!("{path}, later"), &db);
    }
}

#[test]
fn a_keyspace_under_drop_is_whole_or_gone_in_a_checkpoint() {
    let fs = SimFs::new(1);
    let db = open(&fs);
    let other = fill(&db);
    db.put_with("unsynced", "value", Durability::Memory.into()).expect("writes");
    let expected = content(&other);
    let hold = fs.hold(once().write_of("db/*.manifest"));
    std::thread::scope(|scope| {
        let dropping = scope.spawn(|| db.drop_keyspace(other.clone()));
        hold.wait_for(1);
        let checkpoint = scope.spawn(|| db.checkpoint("copy"));
        hold.release();
        dropping.join().expect("no panic").expect("dropped");
        checkpoint.join().expect("no panic").expect("made");
    });
    let copy = open_at(&fs, "copy");
    if copy.keyspaces().contains(&"other".to_owned()) {
        assert_eq!(content(&copy.keyspace("other").expect("opens")), expected);
    }
    assert!(copy.verify().expect("verifies").is_clean());
    while db.step(Step::Log).expect("works") {}
}

#[test]
fn after_a_failed_sync_there_is_no_checkpoint_of_what_may_be_lost() {
    let fs = SimFs::new(1);
    let db = open(&fs);
    fill(&db);
    fs.fail(once().sync_of("db/*.log").losing_pages());
    db.put("key", "value").expect_err("the sync failed");
    let error = db.checkpoint("copy").expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::ReadOnly, "{error}");
    assert!(!exists(&fs, "copy") && !exists(&fs, "copy.unfinished"));
}

#[test]
fn no_power_cut_takes_from_the_database_what_its_checkpoint_holds() {
    let fs = SimFs::new(1);
    let db = open(&fs);
    for n in 0..40 {
        db.put_with(key(n), "in memory", Durability::Memory.into()).expect("writes");
    }
    db.checkpoint("copy").expect("made");
    let image = fs.crash_image(CrashPolicy::LoseUnsynced, 0);
    assert_eq!(content(&open(&image)), content(&open_at(&image, "copy")));
}

#[test]
fn a_power_cut_while_a_failed_checkpoint_is_removed_leaves_nothing_in_the_way() {
    let work = |fs: &SimFs| {
        let db = open(fs);
        fill(&db);
        // The last of its calls fails, when everything is in place.
        fs.fail(nth(1).dir_sync_of("").losing_pages());
        db.checkpoint("copy")
    };
    let steps = SimFs::new(1).count_steps(|fs| drop(work(fs).expect_err("not durable")));
    let mut unfinished = 0;
    for step in steps - 20..=steps {
        let fs = SimFs::new(1).crash_at(step);
        work(&fs).expect_err("not durable");
        let seeds = (0..24).map(|seed| (CrashPolicy::Sectors, seed));
        for (policy, seed) in CrashPolicy::ALL.map(|policy| (policy, 0)).into_iter().chain(seeds) {
            let image = fs.crash_image(policy, seed);
            unfinished += u32::from(exists(&image, "copy.unfinished"));
            let db = open(&image);
            if exists(&image, "copy") {
                remove(&image, "copy");
            }
            let made = db.checkpoint("copy");
            made.unwrap_or_else(|error| panic!("crash at step {step}, {policy}, {seed}: {error}"));
            check_copy(&image, "copy", &db);
        }
    }
    assert!(unfinished > 20, "{unfinished} were left");
}
