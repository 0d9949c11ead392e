//! Ranges as tables of their own, and tables brought in again.

use std::path::{Path, PathBuf};

use lsm_engine::{Db, ErrorKind, ExportReport};
use lsm_entry::{Cursor, Entry, key_hash};
use lsm_io::{CrashPolicy, Fs, Identity, OpenMode, SimFs, once};
use lsm_sstable::{BlockCache, ReadMode, Table, TableInfo, TableOptions, TableWriter};

use crate::{content, exists, files_in, key, open, open_at, tiny_options};

/// A database with entries in tables and in memory, some of them gone.
fn filled(fs: &SimFs) -> Db {
    let db = open(fs);
    for n in 0..300 {
        db.put(key(n), format!("old {n}")).expect("writes");
    }
    db.flush().expect("flushes");
    for n in (0..300).step_by(3) {
        db.put(key(n), format!("new {n}")).expect("writes");
    }
    for n in (0..300).step_by(7) {
        db.delete(key(n)).expect("writes");
    }
    db
}

fn export(db: &Db) -> ExportReport {
    db.default_keyspace().export::<&[u8]>(.., "exports/all").expect("exports")
}

/// A table made by hand, without an engine.
fn table(fs: &SimFs, name: &str, entries: &[Entry<'_>]) -> PathBuf {
    let path = PathBuf::from(name);
    let file = fs.open(&path, OpenMode::CreateNew).expect("created");
    let (identity, info) = (Identity::default(), TableInfo::default());
    let mut writer = TableWriter::new(file, identity, TableOptions::default(), info);
    for entry in entries {
        writer.add(*entry, key_hash(entry.key)).expect("written");
    }
    writer.finish().expect("written");
    path
}

#[test]
fn what_was_exported_comes_back_into_another_database() {
    let fs = SimFs::new(1);
    let db = filled(&fs);
    let report = export(&db);
    db.put(key(1), "after").expect("writes");
    assert_eq!(report.entries, 257);
    assert_eq!(files_in(&fs, "exports/all"), report.tables, "and nothing else");
    let other = open_at(&fs, "other");
    other.put(key(5), "older").expect("writes");
    other.put("kept", "value").expect("writes");
    other.default_keyspace().ingest_tables(&report.tables).expect("brings in");
    let mut expected = content(&db);
    expected.insert(key(1), b"old 1".to_vec());
    expected.insert(b"kept".to_vec(), b"value".to_vec());
    assert_eq!(content(&other), expected);
    assert!(other.verify().expect("verifies").is_clean());
}

#[test]
fn an_exported_table_is_read_without_the_engine() {
    let fs = SimFs::new(1);
    let db = filled(&fs);
    let mut found = Vec::new();
    for path in export(&db).tables {
        let file = Fs::open(&fs, &path, OpenMode::Read).expect("opens");
        let identity = Table::read_identity(&file).expect("a table");
        let bytes = file.len().expect("a length");
        let mode = ReadMode::Cached(BlockCache::new(1 << 20));
        let table = Table::open(file, identity, bytes, mode).expect("opens");
        table.verify().expect("whole");
        let mut cursor = table.cursor();
        cursor.seek_first().expect("seeks");
        while let Some(entry) = cursor.entry() {
            found.push((entry.key.to_vec(), entry.value.to_vec()));
            cursor.next().expect("moves");
        }
    }
    assert_eq!(found, content(&db).into_iter().collect::<Vec<_>>());
}

#[test]
fn an_export_holds_its_range_and_nothing_beside_it() {
    let fs = SimFs::new(1);
    let db = filled(&fs);
    let users = db.default_keyspace();
    let report = users.export(key(10)..=key(20), "range").expect("exports");
    assert_eq!(report.entries, 10, "14 is gone");
    let report = users.export(key(400).., "nothing").expect("exports");
    assert_eq!((report.entries, report.tables.len()), (0, 0));
    assert!(exists(&fs, "nothing"));
}

#[test]
fn an_export_does_not_go_where_something_is() {
    let fs = SimFs::new(1);
    let db = filled(&fs);
    export(&db);
    for dir in ["exports/all", "db/tables"] {
        let error = db.default_keyspace().export::<&[u8]>(.., dir).expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    }
}

#[test]
fn a_crash_or_a_failure_leaves_no_half_of_an_export() {
    let fs = SimFs::new(1);
    let db = filled(&fs);
    let first = fs.steps();
    export(&db);
    let last = fs.steps();
    for step in first..=last {
        let fs = SimFs::new(1);
        let db = filled(&fs);
        fs.crash_at(step);
        let exported = db.default_keyspace().export::<&[u8]>(.., "exports/all");
        drop(db);
        let fs = fs.crash_image(CrashPolicy::LoseUnsynced, step);
        let db = open(&fs);
        if exists(&fs, "exports/all") {
            let tables: Vec<_> = files_in(&fs, "exports/all");
            let tables = tables.iter().filter(|path| path.extension().is_some_and(|e| e == "sst"));
            let other = open_at(&fs, "other");
            other.default_keyspace().ingest_tables(tables).expect("whole");
            assert_eq!(content(&other), content(&db), "step {step}");
        } else {
            assert!(exported.is_err(), "step {step}");
            export(&db);
        }
    }
    fs.fail(once().sync_of("*.sst"));
    let error = db.default_keyspace().export::<&[u8]>(.., "again").expect_err("a sync failed");
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(!exists(&fs, "again"));
    db.put("after", "value").expect("that is nothing to the database");
}

#[track_caller]
fn check_refused(fs: &SimFs, db: &Db, tables: &[&Path], said: &str) {
    let before = (content(db), files_in(fs, "db").len());
    let error = db.default_keyspace().ingest_tables(tables).expect_err("refused");
    assert!(error.to_string().contains(said), "{error}");
    assert_eq!((content(db), files_in(fs, "db").len()), before);
}

#[test]
fn a_table_made_by_hand_is_brought_in_whatever_its_numbers() {
    let fs = SimFs::new(1);
    let db = open(&fs);
    db.put("a", "old").expect("writes");
    db.put("b", "old").expect("writes");
    let one = table(&fs, "one", &[Entry::delete(b"a", 900), Entry::put(b"b", 3, b"new")]);
    let two = table(&fs, "two", &[Entry::put(b"c", 1 << 55, b"new")]);
    db.default_keyspace().ingest_tables([two, one]).expect("in any order");
    let expected = [("b", "new"), ("c", "new")].map(|(k, v)| (k.into(), v.into()));
    assert_eq!(content(&db), expected.into_iter().collect());
}

#[test]
fn tables_that_cannot_be_brought_in_are_refused_with_their_reason() {
    let fs = SimFs::new(1);
    let db = open(&fs);
    db.put("kept", "value").expect("writes");
    let twice = table(&fs, "twice", &[Entry::put(b"a", 2, b"new"), Entry::put(b"a", 1, b"old")]);
    check_refused(&fs, &db, &[&twice], "\"a\" comes twice");
    let one = table(&fs, "one", &[Entry::put(b"a", 1, b""), Entry::put(b"c", 1, b"")]);
    let two = table(&fs, "two", &[Entry::put(b"b", 1, b"")]);
    check_refused(&fs, &db, &[&one, &two], "\"b\" comes after \"c\"");
    check_refused(&fs, &db, &[], "no table was given");
    check_refused(&fs, &db, &["nowhere".as_ref()], "nowhere");
}

#[test]
fn no_damaged_byte_of_a_table_is_brought_in() {
    let fs = SimFs::new(1);
    let db = open(&fs);
    let whole =
        table(&fs, "whole", &[Entry::put(b"a", 1, b"value"), Entry::put(b"b", 1, b"other")]);
    let bytes = fs.read_file(&whole);
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << (at % 8);
        let path = PathBuf::from(format!("damaged-{at}"));
        let file = Fs::open(&fs, &path, OpenMode::CreateNew).expect("created");
        file.write_at(0, &damaged).expect("written");
        let error = db.default_keyspace().ingest_tables([&path]).expect_err("damaged");
        assert!(error.kind() == ErrorKind::Corrupt, "byte {at}: {error:?}");
        let short = PathBuf::from(format!("short-{at}"));
        let file = Fs::open(&fs, &short, OpenMode::CreateNew).expect("created");
        file.write_at(0, &bytes[..at]).expect("written");
        assert!(db.default_keyspace().ingest_tables([&short]).is_err(), "{at} bytes");
    }
    assert_eq!(content(&db).len(), 0);
    assert!(Db::open_with("db", tiny_options(&fs)).is_err(), "it is open, and goes on");
}
