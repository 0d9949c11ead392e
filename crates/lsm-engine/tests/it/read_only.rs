//! Reading what another handle is writing.

use std::sync::atomic::{AtomicBool, Ordering};

use lsm_engine::{Db, Durability, ErrorKind, Options, Reads, Scan, WriteBatch};
use lsm_io::SimFs;

use crate::{key, open, tiny_options};

#[test]
fn a_reader_sees_what_the_writer_made_durable_and_moves_on_when_asked() {
    let fs = SimFs::new(0);
    let writer = open(&fs);
    writer.put("a", "1").expect("writes");
    let reader = Db::open_read_only_with("db", tiny_options(&fs)).expect("opens beside it");
    assert_eq!(reader.get("a").expect("reads").expect("there"), "1");
    writer.put("b", "2").expect("writes");
    assert_eq!(reader.get("b").expect("reads"), None, "one moment");
    reader.refresh().expect("moves on");
    assert_eq!(reader.get("b").expect("reads").expect("there"), "2");
}

#[test]
fn a_reader_sees_tables_that_are_ahead_of_the_log() {
    let fs = SimFs::new(0);
    let writer = Db::open_with("db", Options { map_log: false, ..tiny_options(&fs) });
    let writer = writer.expect("creates");
    writer.put_with("a", "1", Durability::Memory.into()).expect("writes");
    writer.flush().expect("flushes");
    let reader = Db::open_read_only_with("db", tiny_options(&fs)).expect("opens beside it");
    assert_eq!(reader.get("a").expect("reads").expect("in a table"), "1");
}

#[test]
fn a_reader_changes_nothing_in_the_directory() {
    let fs = SimFs::new(0);
    let writer = open(&fs);
    for n in 0..500 {
        writer.put(key(n), vec![1; 100]).expect("writes");
    }
    let before = (fs.steps(), fs.files());
    let reader = Db::open_read_only_with("db", tiny_options(&fs)).expect("opens");
    assert_eq!(reader.iter().count(), 500);
    assert_eq!(reader.put("key", "value").expect_err("refused").kind(), ErrorKind::ReadOnly);
    drop(reader);
    assert_eq!((fs.steps(), fs.files()), before);
}

#[test]
fn a_reader_of_nothing_says_that_there_is_no_database() {
    let fs = SimFs::new(0);
    let error = Db::open_read_only_with("db", tiny_options(&fs)).expect_err("nothing there");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(fs.files().is_empty());
}

#[test]
fn a_reader_keeps_its_moment_while_the_writer_flushes_and_merges() {
    let fs = SimFs::new(0);
    let writer = open(&fs);
    for n in 0..300 {
        writer.put(key(n), "old").expect("writes");
    }
    writer.flush().expect("flushes");
    let reader = Db::open_read_only_with("db", tiny_options(&fs)).expect("opens");
    for n in 0..300 {
        writer.put(key(n), "new").expect("writes");
    }
    writer.compact_range::<&[u8]>(..).expect("merges");
    writer.settle().expect("removes the old tables");
    assert!(reader.iter().all(|entry| entry.expect("reads").1 == "old"));
    reader.refresh().expect("moves on");
    assert!(reader.iter().all(|entry| entry.expect("reads").1 == "new"));
}

fn read_only(fs: &SimFs) -> Db {
    Db::open_read_only_with("db", tiny_options(fs)).expect("opens beside the writer")
}

#[test]
fn snapshots_and_scans_of_a_reader_keep_their_moment_over_a_refresh() {
    let fs = SimFs::new(0);
    let writer = open(&fs);
    for n in 0..600 {
        writer.put(key(n), "old").expect("writes");
    }
    let reader = read_only(&fs);
    let snapshot = reader.snapshot();
    let mut iter = reader.iter();
    let mut backward = reader.iter();
    let mut cursor = reader.cursor();
    assert_eq!(iter.next().expect("one").expect("reads").1, "old");
    for n in 0..600 {
        writer.put(key(n), "new").expect("writes");
    }
    // The writer knows of no snapshot: the old versions go.
    writer.compact_range::<&[u8]>(..).expect("merges");
    writer.settle().expect("removes the old tables");
    reader.refresh().expect("moves on");
    assert_eq!(reader.get(key(3)).expect("reads").expect("there"), "new");
    assert_eq!(snapshot.get(key(3)).expect("reads").expect("there"), "old");
    let both = snapshot.multi_get(&[key(4), key(5)]).expect("reads");
    assert!(both.iter().all(|value| *value.as_ref().expect("there") == "old"));
    assert_eq!(snapshot.iter().filter(|e| e.as_ref().expect("reads").1 == "old").count(), 600);
    assert_eq!(iter.filter(|e| e.as_ref().expect("reads").1 == "old").count(), 599);
    let is_old = |e: lsm_engine::Result<_>| e.is_ok_and(|(_, value): (_, _)| value == "old");
    assert!(std::iter::from_fn(|| backward.next_back()).all(is_old));
    cursor.seek(key(9)).expect("seeks");
    assert_eq!(cursor.value(), Some(&b"old"[..]));
    let later = reader.snapshot();
    assert!(later.seq_no() > snapshot.seq_no());
    assert_eq!(later.get(key(3)).expect("reads").expect("there"), "new");
}

#[test]
fn a_snapshot_of_a_reader_sees_nothing_of_a_keyspace_created_later() {
    let fs = SimFs::new(0);
    let writer = open(&fs);
    writer.put("key", "value").expect("writes");
    let reader = read_only(&fs);
    let before = reader.snapshot();
    writer.keyspace("users").expect("creates").put("key", "value").expect("writes");
    reader.refresh().expect("moves on");
    let users = reader.keyspace("users").expect("is there now");
    assert_eq!(users.get("key").expect("reads").expect("there"), "value");
    assert_eq!(before.within(&users).get("key").expect("reads"), None);
    assert_eq!(before.within(&users).scan(Scan::all()).count(), 0);
}

#[test]
fn reads_beside_a_refresh_see_every_batch_whole() {
    let fs = SimFs::new(0);
    let writer = open(&fs);
    let users = writer.keyspace("users").expect("creates");
    let write = |round: u32| {
        let mut batch = WriteBatch::new();
        batch.put("key", round.to_be_bytes());
        batch.within(&users).put("key", round.to_be_bytes());
        writer.write(&batch).expect("writes");
    };
    write(0);
    let reader = read_only(&fs);
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let users = reader.keyspace("users").expect("is there");
            let round = |value: Option<lsm_engine::Value>| value.expect("always there").to_vec();
            let mut newest = Vec::new();
            while !is_done.load(Ordering::Relaxed) {
                // Each read begins after the one before it has ended, so none sees less.
                for round in [
                    round(reader.get("key").expect("reads")),
                    round(users.get("key").expect("reads")),
                    round(users.first().expect("reads").map(|(_, value)| value)),
                    round(reader.snapshot().get("key").expect("reads")),
                    round(users.multi_get(&["key"]).expect("reads").remove(0)),
                ] {
                    assert!(round >= newest, "{round:?} after {newest:?}");
                    newest = round;
                }
                let snapshot = reader.snapshot();
                let there = round(snapshot.get("key").expect("reads"));
                assert_eq!(round(snapshot.within(&users).get("key").expect("reads")), there);
            }
        });
        for round in 1..300 {
            write(round);
            if round % 3 == 0 {
                writer.flush().expect("flushes");
                writer.settle().expect("merges");
            }
            reader.refresh().expect("moves on");
        }
        is_done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn what_is_explained_beside_a_refresh_is_there() {
    let fs = SimFs::new(0);
    let writer = open(&fs);
    writer.put("key", "value").expect("writes");
    let reader = read_only(&fs);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Acquire) {
                    let explained = reader.default_keyspace().explain("key").expect("reads");
                    is_over.fetch_or(explained.value.is_none(), Ordering::AcqRel);
                    assert!(explained.value.is_some(), "{explained:?}");
                }
            });
        }
        let refreshed = (0..200).try_for_each(|_| {
            if is_over.load(Ordering::Acquire) {
                return Ok(());
            }
            // The writer keeps no version for the reader.
            writer.put("key", "value")?;
            writer.compact_range::<&[u8]>(..)?;
            reader.refresh()
        });
        is_over.store(true, Ordering::Release);
        refreshed.expect("refreshes");
    });
}

#[test]
fn a_refresh_opens_only_tables_that_are_new() {
    let fs = SimFs::new(0);
    let writer = open(&fs);
    let fill = |value: &str| {
        for n in 0..300 {
            writer.put(key(n), value).expect("writes");
        }
        writer.flush().expect("flushes");
    };
    fill("1");
    let reader = read_only(&fs);
    let opened = reader.metrics().tables_opened;
    assert!(opened > 0);
    reader.refresh().expect("moves on");
    assert_eq!(reader.metrics().tables_opened, opened, "nothing was written");
    fill("2");
    let tables = writer.metrics().levels[0].tables as u64;
    reader.refresh().expect("moves on");
    assert_eq!(reader.metrics().tables_opened, tables, "each once");
    assert!(reader.iter().all(|entry| entry.expect("reads").1 == "2"));
}
