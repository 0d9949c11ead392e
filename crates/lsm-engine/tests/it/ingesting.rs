//! Bulk loads: all of one is there or nothing, over what is older and under what is newer.

use std::collections::BTreeMap;

use lsm_engine::{
    CompactionPolicy, Db, Error, ErrorKind, Event, IngestReport, Keyspace, KeyspaceOptions,
    LeveledOptions, Options, Reads, RepairOptions, Step, repair,
};
use lsm_io::{CrashPolicy, Fs, SimFs, every, nth, once};

use crate::{content, files_in, key, open, open_at, threaded, tiny_options};

type Content = BTreeMap<Vec<u8>, Vec<u8>>;

/// `count` keys from `first` on, each with a value.
fn entries(first: u32, count: u32, value: &str) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> + '_ {
    (first..first + count).map(move |n| (key(n), value.as_bytes().to_vec()))
}

#[track_caller]
fn load(db: &Db, first: u32, count: u32, value: &str) -> IngestReport {
    db.default_keyspace().ingest(entries(first, count, value)).expect("loads")
}

fn tables(fs: &SimFs) -> usize {
    files_in(fs, "db").iter().filter(|path| path.extension().is_some_and(|e| e == "sst")).count()
}

#[track_caller]
fn check_refused(db: &Db, keys: &[&str], said: &[&str]) {
    let (before, content_before) = (db.metrics().ingests, content(db));
    let entries = keys.iter().map(|key| (key, "value"));
    let error = db.default_keyspace().ingest(entries).expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    for said in said {
        assert!(error.to_string().contains(said), "{error}");
    }
    assert_eq!((db.metrics().ingests, content(db)), (before, content_before));
}

#[test]
fn what_was_loaded_survives_every_power_cut() {
    for policy in CrashPolicy::ALL {
        let fs = SimFs::new(1);
        let db = open(&fs);
        let report = load(&db, 0, 500, "loaded");
        assert_eq!((report.entries, report.seq_no), (500, db.visible_seq_no()));
        let db = open(&fs.crash_image(policy, 7));
        assert_eq!(content(&db), entries(0, 500, "loaded").collect(), "{policy}");
        assert!(db.verify().expect("verifies").is_clean(), "{policy}");
    }
}

#[test]
fn a_load_hides_what_is_older_and_is_hidden_by_what_is_newer() {
    let fs = SimFs::new(1);
    let db = open(&fs);
    for n in 0..30 {
        db.put(key(n), "in a table").expect("writes");
    }
    db.flush().expect("flushes");
    for n in 10..40 {
        db.put(key(n), "in memory").expect("writes");
    }
    let before = db.snapshot();
    let seen_before = content(&before);
    let mut load = db.default_keyspace().bulk_load().expect("begins");
    load.delete(key(5)).expect("adds");
    for n in 20..50 {
        load.put(key(n), "loaded").expect("adds");
    }
    db.put(key(25), "before it is finished").expect("writes");
    let report = load.finish().expect("finishes");
    db.put(key(30), "newer").expect("writes");

    let mut expected: Content = entries(0, 10, "in a table").collect();
    expected.extend(entries(10, 10, "in memory"));
    expected.extend(entries(20, 30, "loaded"));
    expected.insert(key(30), b"newer".to_vec());
    expected.remove(&key(5));
    assert!(report.tables_to_merge > 0, "{report:?}");
    let check = |db: &Db| {
        assert_eq!(content(db), expected);
        for n in 0..50 {
            let found = db.get(key(n)).expect("reads").map(|value| value.to_vec());
            assert_eq!(found.as_ref(), expected.get(&key(n)), "{n}");
        }
    };
    check(&db);
    db.settle().expect("settles");
    assert_eq!(content(&before), seen_before, "a snapshot stays what it was");
    db.compact_range::<&[u8]>(..).expect("merges");
    check(&db);
    assert_eq!(content(&before), seen_before, "also when all was merged");
    drop(before);
    db.close().expect("closes");
    let db = open(&fs);
    check(&db);
    assert!(db.verify().expect("verifies").is_clean());
}

#[test]
fn keys_that_do_not_ascend_are_named_and_leave_nothing_behind() {
    let fs = SimFs::new(1);
    let db = open(&fs);
    db.put("kept", "value").expect("writes");
    check_refused(&db, &["a", "c", "b"], &["\"b\" comes after \"c\""]);
    check_refused(&db, &["a", "a"], &["\"a\" comes twice"]);
    check_refused(&db, &["a", &"k".repeat(70_000)], &["70000 bytes"]);
    assert_eq!(tables(&fs), 0);
}

/// A load that is refused.
type RefusedLoad = fn(&Keyspace, &SimFs) -> Result<IngestReport, Error>;

#[test]
fn a_load_that_is_refused_leaves_no_file_and_no_name_behind() {
    let ways: [(&str, RefusedLoad); 4] = [
        ("keys that do not ascend, after many tables", |keyspace, _| {
            let large = "value".repeat(100);
            let back = [(key(0), large.clone().into_bytes())];
            keyspace.ingest(entries(0, 3000, &large).chain(back))
        }),
        ("a damaged table", |keyspace, fs| {
            let other = open_at(fs, "other");
            load(&other, 0, 100, "value");
            let export = other.default_keyspace().export::<&[u8]>(.., "exported")?;
            fs.damage(&export.tables[0], |bytes| bytes[100] ^= 1);
            keyspace.ingest_tables(&export.tables)
        }),
        ("the same tables twice", |keyspace, fs| {
            let other = open_at(fs, "other");
            load(&other, 0, 100, "value");
            let export = other.default_keyspace().export::<&[u8]>(.., "exported")?;
            keyspace.ingest_tables(export.tables.iter().chain(&export.tables))
        }),
        ("a load that is dropped before its end", |keyspace, _| {
            let mut load = keyspace.bulk_load()?;
            entries(0, 3000, &"value".repeat(100))
                .try_for_each(|(key, value)| load.put(key, value))?;
            drop(load);
            keyspace.ingest_tables::<&str>([])
        }),
    ];
    for (name, refused) in ways {
        let fs = SimFs::new(1);
        let policy = LeveledOptions { table_bytes: 64 << 10, ..LeveledOptions::default() };
        let options = KeyspaceOptions {
            compaction: CompactionPolicy::Leveled(policy),
            blob_threshold_bytes: Some(400),
            ..KeyspaceOptions::default()
        };
        let db = Db::open_with("db", Options { keyspace: options, ..tiny_options(&fs) });
        let db = db.expect("opens");
        db.put("kept", "value").expect("writes");
        let before = (files_in(&fs, "db"), db.keyspaces());
        let error = refused(db.default_keyspace(), &fs).expect_err(name);
        assert!([ErrorKind::Invalid, ErrorKind::Corrupt].contains(&error.kind()), "{error}");
        assert_eq!((files_in(&fs, "db"), db.keyspaces()), before, "{name}");
        assert_eq!((content(&db).len(), db.metrics().ingests), (1, 0), "{name}");
        db.close().expect("closes");
        assert_eq!(content(&open(&fs)).len(), 1, "{name}");
    }
}

#[test]
fn a_load_that_failed_cannot_be_finished() {
    let fs = SimFs::new(1);
    let db = open(&fs);
    let mut load = db.default_keyspace().bulk_load().expect("begins");
    load.put("b", "1").expect("adds");
    assert!(load.put("a", "2").is_err());
    let error = load.put("c", "3").expect_err("it failed before");
    assert!(error.to_string().contains("failed before"), "{error}");
    assert_eq!(load.finish().expect_err("it failed").kind(), ErrorKind::Invalid);
    assert_eq!((content(&db).len(), tables(&fs)), (0, 0));
}

#[test]
fn a_load_into_a_free_range_is_never_written_anew() {
    let fs = SimFs::new(1);
    let db = open(&fs);
    for part in 0..8 {
        let report = load(&db, part * 1000, 1000, &"value".repeat(20));
        assert_eq!(report.tables_to_merge, 0);
        db.settle().expect("settles");
    }
    let metrics = db.metrics();
    assert_eq!((metrics.compaction_bytes_written, metrics.flush_bytes_written), (0, 0));
    assert_eq!((metrics.ingests, content(&db).len()), (8, 8000));
}

#[test]
fn a_load_of_nothing_is_nothing() {
    let fs = SimFs::new(1);
    let db = open(&fs);
    assert_eq!(load(&db, 0, 0, "").entries, 0);
    assert_eq!((db.metrics().ingests, tables(&fs)), (0, 0));
}

#[test]
fn a_crash_anywhere_in_a_load_leaves_all_of_it_or_nothing() {
    let prepare = |fs: &SimFs| {
        let db = open(fs);
        db.put(key(1), "old").expect("writes");
        db.flush().expect("flushes");
        db.put(key(2), "old").expect("writes");
        db
    };
    let without: Content = entries(1, 2, "old").collect();
    let mut with = without.clone();
    with.extend(entries(2, 60, "loaded"));
    let fs = SimFs::new(3);
    let db = prepare(&fs);
    let first = fs.steps();
    load(&db, 2, 60, "loaded");
    let last = fs.steps();
    drop(db);
    assert!(last - first > 10, "{first} to {last}");
    for step in first..=last {
        for policy in CrashPolicy::ALL {
            let fs = SimFs::new(3);
            let db = prepare(&fs);
            fs.crash_at(step);
            let loaded = db.default_keyspace().ingest(entries(2, 60, "loaded"));
            drop(db);
            let fs = fs.crash_image(policy, step);
            let db = open(&fs);
            let found = content(&db);
            let is_whole = found == with || (found == without && loaded.is_err());
            assert!(is_whole, "step {step}, {policy}: {found:?} after {loaded:?}");
            assert!(db.verify().expect("verifies").is_clean(), "step {step}, {policy}");
            db.put(key(3), "again").expect("writes go on");
            load(&db, 2, 60, "again");
            assert_eq!(db.get(key(3)).expect("reads").expect("there"), "again");
        }
    }
}

#[test]
fn a_full_disk_refuses_a_load_and_leaves_nothing_of_it() {
    let fs = SimFs::new(1);
    let db = open(&fs);
    db.put("before", "1").expect("writes");
    let used: u64 = fs.files().iter().map(|(_, bytes)| bytes).sum();
    fs.limit_bytes(used + 30_000);
    let large = "value".repeat(100);
    let error = db.default_keyspace().ingest(entries(0, 1000, &large)).expect_err("no room");
    assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}");
    assert_eq!((content(&db).len(), tables(&fs)), (1, 0));
    fs.unlimit();
    assert_eq!(load(&db, 0, 1000, &large).entries, 1000);
    db.put("after", "2").expect("writes go on");
    assert_eq!(content(&db).len(), 1002);
}

#[test]
fn an_edit_that_fails_leaves_the_load_undone_and_the_writes_behind_it_seen() {
    let fs = SimFs::new(1);
    let db = open(&fs);
    db.put(key(1), "old").expect("writes");
    db.flush().expect("flushes");
    fs.fail(once().write_of("*.manifest"));
    assert!(db.default_keyspace().ingest(entries(0, 5, "loaded")).is_err());
    db.put(key(2), "new").expect("writes go on");
    let expected: Content =
        [(key(1), b"old".to_vec()), (key(2), b"new".to_vec())].into_iter().collect();
    assert_eq!(content(&db), expected);
    let reader = Db::open_read_only_with("db", tiny_options(&fs)).expect("opens beside it");
    assert_eq!(content(&reader), expected, "followers are told that it did not happen");
    let db = open(&fs.kill_image());
    assert_eq!((content(&db), tables(&fs)), (expected, 1), "what was flushed is there");
}

#[test]
fn a_failed_sync_of_the_edit_leaves_the_outcome_unknown() {
    let fs = SimFs::new(1);
    let db = open(&fs);
    fs.fail(nth(1).sync_of("*.manifest"));
    let error = db.default_keyspace().ingest(entries(0, 5, "loaded")).expect_err("not synced");
    assert!(error.is_outcome_unknown(), "{error}");
    let synced = db.sync().expect_err("who says that the load is there?");
    assert_eq!(synced.kind(), ErrorKind::ReadOnly);
    assert_eq!(content(&db).len(), 0);
    for policy in CrashPolicy::ALL {
        let found = content(&open(&fs.crash_image(policy, 3))).len();
        assert!(found == 0 || found == 5, "{policy}: {found}");
    }
}

/// Stops a load while the edit that names its tables is on its way to the disk, and calls `meanwhile`.
fn while_loading(fs: &SimFs, db: &Db, meanwhile: impl FnOnce(lsm_io::Hold)) {
    db.flush().expect("flushes");
    let hold = fs.hold(every().sync_of("*.manifest"));
    std::thread::scope(|scope| {
        scope.spawn(|| load(db, 0, 5, "loaded"));
        hold.wait_for(1);
        meanwhile(hold);
    });
}

#[test]
fn nothing_behind_a_load_is_seen_before_it() {
    let fs = SimFs::new(1);
    let db = Db::open_with("db", threaded(&fs)).expect("opens");
    db.put(key(1), "old").expect("writes");
    while_loading(&fs, &db, |hold| {
        let ticket = {
            let mut batch = lsm_engine::WriteBatch::new();
            batch.put("behind", "1");
            db.write_async(&batch).expect("ordered")
        };
        db.wait_durable(db.metrics().appended).expect("synced");
        assert_eq!(db.multi_get(&["behind"]).expect("reads"), [None]);
        assert_eq!(content(&db), [(key(1), b"old".to_vec())].into_iter().collect());
        hold.release();
        ticket.wait().expect("acknowledged");
        assert_eq!(content(&db).len(), 6);
    });
}

#[test]
fn what_is_written_while_a_load_is_finished_is_older_than_it() {
    let fs = SimFs::new(1);
    let db = Db::open_with("db", threaded(&fs)).expect("opens");
    db.put(key(1), "old").expect("writes");
    // The load flushes what is in memory, first without holding anybody up.
    let hold = fs.hold(nth(1).sync_of("*.manifest"));
    std::thread::scope(|scope| {
        scope.spawn(|| load(&db, 0, 5, "loaded"));
        hold.wait_for(1);
        db.put(key(2), "before it has its place").expect("writes");
        hold.release();
    });
    assert_eq!(content(&db), entries(0, 5, "loaded").collect());
    db.settle().expect("settles");
    db.compact_range::<&[u8]>(..).expect("merges");
    assert_eq!(content(&db), entries(0, 5, "loaded").collect());
}

#[test]
fn a_reader_beside_the_writer_sees_a_load_before_what_is_behind_it() {
    let fs = SimFs::new(1);
    let db = Db::open_with("db", threaded(&fs)).expect("opens");
    db.put(key(1), "old").expect("writes");
    while_loading(&fs, &db, |hold| {
        let mut batch = lsm_engine::WriteBatch::new();
        batch.put("behind", "1");
        let ticket = db.write_async(&batch).expect("ordered");
        db.wait_durable(db.metrics().appended).expect("synced");
        let options = tiny_options(&fs);
        let reader = Db::open_read_only_with("db", options).expect("opens beside it");
        let found = content(&reader);
        assert_ne!(found.contains_key(&b"behind"[..]), found.len() == 1, "{found:?}");
        assert!(found.len() == 1 || found.len() == 6, "{found:?}");
        hold.release();
        ticket.wait().expect("acknowledged");
        reader.refresh().expect("moves on");
        assert_eq!(content(&reader).len(), 6);
    });
}

#[test]
fn a_transaction_that_read_what_a_load_changes_is_refused() {
    let fs = SimFs::new(1);
    let db = Db::open_with("db", threaded(&fs)).expect("opens");
    db.put(key(1), "old").expect("writes");
    let (tx, other) = (db.transaction(), db.transaction());
    assert!(tx.contains_key(key(1)).expect("reads"));
    tx.put("written", "1");
    assert!(!other.contains_key("elsewhere").expect("reads"));
    other.put("elsewhere", "1");
    while_loading(&fs, &db, |hold| {
        std::thread::scope(|scope| {
            let committed = scope.spawn(|| tx.commit());
            std::thread::sleep(std::time::Duration::from_millis(20));
            assert!(!committed.is_finished(), "what the load brings is not known yet");
            hold.release();
            let error = committed.join().expect("no panic").expect_err("the load was first");
            assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
        });
    });
    other.commit().expect("nobody was in the way");
}

#[test]
fn a_checkpoint_holds_a_load_if_it_holds_what_is_behind_it() {
    let fs = SimFs::new(1);
    let db = Db::open_with("db", threaded(&fs)).expect("opens");
    while_loading(&fs, &db, |hold| {
        let mut batch = lsm_engine::WriteBatch::new();
        batch.put("behind", "1");
        let ticket = db.write_async(&batch).expect("ordered");
        std::thread::scope(|scope| {
            let copied = scope.spawn(|| db.checkpoint("copy"));
            std::thread::sleep(std::time::Duration::from_millis(20));
            hold.release();
            copied.join().expect("no panic").expect("copies");
        });
        ticket.wait().expect("acknowledged");
    });
    let copy = open_at(&fs, "copy");
    assert_eq!(content(&copy), content(&db));
    assert!(copy.verify().expect("verifies").is_clean());
}

#[test]
fn a_load_into_a_dropped_keyspace_is_refused() {
    let fs = SimFs::new(1);
    let db = open(&fs);
    let users = db.keyspace("users").expect("creates");
    let mut load = users.bulk_load().expect("begins");
    load.put("key", "value").expect("adds");
    db.drop_keyspace(users.clone()).expect("drops");
    let error = load.finish().expect_err("it is gone");
    assert!(error.to_string().contains("was dropped"), "{error}");
    db.put("key", "value").expect("writes go on");
    assert_eq!(tables(&fs), 0);
}

#[test]
fn loads_and_writes_beside_each_other_keep_their_order() {
    let fs = SimFs::new(1);
    let db = Db::open_with("db", threaded(&fs)).expect("opens");
    // Each round overwrites all keys, half of the rounds by a load.
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..300 {
                db.put(key(1000 + n), "beside").expect("writes");
            }
        });
        for round in 0..40 {
            let value = format!("{round}");
            if round % 2 == 0 {
                load(&db, 0, 50, &value);
            } else {
                for n in 0..50 {
                    db.put_with(key(n), &value, lsm_engine::Durability::Memory.into())
                        .expect("writes");
                }
            }
            let found = db.multi_get(&[key(0), key(25), key(49)]).expect("reads");
            assert!(found.iter().all(|found| found.as_deref() == Some(value.as_bytes())));
            assert_eq!(db.prefix("key-00000").count(), 10);
        }
    });
    assert_eq!(content(&db).len(), 350);
    db.settle().expect("settles");
    assert!(db.verify().expect("verifies").is_clean());
}

#[test]
fn what_was_loaded_is_there_after_a_repair_without_a_manifest() {
    let fs = SimFs::new(1);
    let db = open(&fs);
    for n in 0..40 {
        db.put(key(n), "old").expect("writes");
    }
    db.flush().expect("flushes");
    load(&db, 10, 20, "loaded");
    for n in 20..25 {
        db.put(key(n), "in the log").expect("writes");
    }
    let expected = content(&db);
    let fs = fs.kill_image();
    fs.remove_file("db/CURRENT".as_ref()).expect("removed");
    for path in
        files_in(&fs, "db").iter().filter(|path| path.extension().is_some_and(|e| e == "manifest"))
    {
        fs.remove_file(path).expect("removed");
    }
    let options = RepairOptions { env: tiny_options(&fs).env, ..RepairOptions::default() };
    let report = repair("db", options).expect("repairs");
    assert!(report.losses.is_empty(), "{report:?}");
    assert_eq!(content(&open(&fs)), expected);
}

#[test]
fn a_damaged_load_keeps_its_place_in_the_order_when_it_is_repaired() {
    let fs = SimFs::new(1);
    let db = open(&fs);
    let mut load = db.default_keyspace().bulk_load().expect("begins");
    for n in 0..200 {
        load.put(key(n), "loaded").expect("adds");
    }
    // Older than the load, which bears a smaller number in its tables.
    db.put(key(0), "old").expect("writes");
    db.flush().expect("flushes");
    load.finish().expect("finishes");
    let is_loaded = |path: &&std::path::PathBuf| path.ends_with("000003.sst");
    let tables: Vec<_> = files_in(&fs, "db");
    db.close().expect("closes");
    let table = tables.iter().find(is_loaded).unwrap_or_else(|| panic!("{tables:?}"));
    let file = Fs::open(&fs, table, lsm_io::OpenMode::ReadWrite).expect("opens");
    let middle = file.len().expect("a length") / 2;
    file.write_at(middle, &[0xAA; 8]).expect("damages");
    let options = RepairOptions { env: tiny_options(&fs).env, ..RepairOptions::default() };
    let report = repair("db", options).expect("repairs");
    assert_eq!(report.losses.len(), 1, "{report:?}");
    let db = open(&fs);
    assert_eq!(db.get(key(0)).expect("reads").expect("there"), "loaded");
    db.compact_range::<&[u8]>(..).expect("merges");
    assert_eq!(db.get(key(0)).expect("reads").expect("there"), "loaded");
}

#[test]
fn a_load_is_told_to_listeners() {
    let fs = SimFs::new(1);
    let db = open(&fs);
    let (sender, told) = std::sync::mpsc::channel();
    db.on_event(move |event| sender.send(event.clone()).expect("heard")).expect("listens");
    load(&db, 0, 5, "loaded");
    db.step(Step::Log).expect("works");
    let is_it = |event: Event| matches!(event, Event::Ingested { entries: 5, tables: 1, .. });
    assert!(told.try_iter().any(is_it));
}
