//! Reading what another handle is writing.

use lsm_engine::{Db, ErrorKind, Reads};
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
