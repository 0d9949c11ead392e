//! What is accepted, and what is refused before anything is written.

use std::time::Duration;

use lsm_engine::{
    CompactionPolicy, Db, ErrorKind, LeveledOptions, MAX_KEY_BYTES, Options, Reads, WriteBatch,
    WriteOptions,
};
use lsm_io::SimFs;

use crate::open;

#[test]
fn keys_of_every_accepted_length_are_keys() {
    let db = open(&SimFs::new(0));
    for length in [0, 1, 255, 256, MAX_KEY_BYTES] {
        let key = vec![7; length];
        db.put(&key, length.to_string()).expect("accepted");
        db.flush().expect("flushes");
        let found = db.get(&key).expect("reads").expect("is there");
        assert_eq!(found, length.to_string().as_str(), "a key of {length} bytes");
    }
}

#[test]
fn a_key_one_byte_too_long_is_refused_by_name() {
    let db = open(&SimFs::new(0));
    let before = db.visible_seq_no();
    let error = db.put(vec![7; MAX_KEY_BYTES + 1], "value").expect_err("too long");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!(error.to_string(), "key of 65536 bytes; a key has at most 65535");
    assert_eq!(db.visible_seq_no(), before, "nothing was written");
}

#[test]
fn a_write_rate_that_the_option_does_not_take_is_refused_live_as_well() {
    let db = open(&SimFs::new(0));
    for rate in [0, (64 << 10) - 1] {
        let error = db.set_write_rate(Some(rate)).expect_err("too slow");
        let said =
            format!("option write_rate_bytes_per_second is {rate}; at least 65536 is accepted");
        assert_eq!((error.kind(), error.to_string()), (ErrorKind::Invalid, said));
    }
    db.set_write_rate(Some(64 << 10)).expect("accepted");
    db.set_write_rate(None).expect("no limit");
}

#[test]
fn values_of_nothing_and_of_a_hundred_mebibytes_are_values() {
    let dir = tempfile::tempdir().expect("a directory");
    let large: Vec<u8> = (0..100u32 << 20).map(|n| (n >> 8) as u8 ^ n as u8).collect();
    {
        let db = Db::open(dir.path()).expect("opens");
        db.put("empty", "").expect("writes");
        db.put("large", &large).expect("writes");
        assert!(db.get("large").expect("reads").expect("there") == large);
        db.flush().expect("flushes");
        assert!(db.get("large").expect("reads").expect("there") == large);
    }
    let db = Db::open(dir.path()).expect("opens again");
    assert_eq!(db.get("empty").expect("reads").expect("there"), "");
    assert!(db.get("large").expect("reads").expect("there") == large);
    assert!(db.verify().expect("verifies").is_clean());
}

#[test]
fn a_batch_of_a_million_records_is_one_commit() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut batch = WriteBatch::new();
    for n in 0..1_000_000u32 {
        batch.put(n.to_be_bytes(), n.to_le_bytes());
    }
    {
        let db = Db::open(dir.path()).expect("opens");
        db.write(&batch).expect("writes");
        assert_eq!(db.iter().count(), 1_000_000);
    }
    let db = Db::open(dir.path()).expect("opens again");
    assert_eq!(db.iter().count(), 1_000_000);
    assert_eq!(
        db.get(999_999u32.to_be_bytes()).expect("reads").expect("there"),
        999_999u32.to_le_bytes().to_vec()
    );
}

#[test]
fn a_batch_beyond_a_quarter_of_the_memory_is_refused() {
    let db = open(&SimFs::new(0));
    let mut batch = WriteBatch::new();
    batch.put("a", vec![0; 600 << 10]);
    batch.put("b", vec![0; 600 << 10]);
    let error = db.write(&batch).expect_err("too large");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("a quarter of memory_bytes"), "{error}");
    assert_eq!(db.get("a").expect("reads"), None);
}

#[test]
fn a_value_beyond_a_quarter_of_the_memory_goes_alone() {
    let db = open(&SimFs::new(0));
    db.put("large", vec![9; 2 << 20]).expect("accepted");
    db.put("small", "1").expect("accepted");
    db.settle().expect("settles");
    assert_eq!(db.get("large").expect("reads").expect("there").len(), 2 << 20);
}

#[test]
fn prefix_scans_over_keys_of_ff_bytes_end_where_they_should() {
    let db = open(&SimFs::new(0));
    for key in [&[0xFE, 0xFF][..], &[0xFF], &[0xFF, 0x00], &[0xFF, 0xFF], &[0xFF, 0xFF, 0xFF]] {
        db.put(key, "x").expect("writes");
    }
    assert_eq!(db.prefix([0xFF]).count(), 4);
    assert_eq!(db.prefix([0xFF, 0xFF]).rev().count(), 2);
    assert_eq!(db.prefix([0xFE, 0xFF]).count(), 1);
    assert_eq!(db.prefix("").count(), 5);
}

#[test]
fn an_unacceptable_option_is_named_when_opening() {
    let options = Options { background_threads: 0, ..Options::default() };
    let error = Db::open_with("nowhere", options).expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!(error.to_string(), "option background_threads is 0; 1 to 64 are accepted");
}

#[test]
fn an_empty_batch_writes_nothing() {
    let db = open(&SimFs::new(0));
    let before = db.metrics().log_bytes_written;
    db.write(&WriteBatch::new()).expect("accepted");
    assert_eq!(db.metrics().log_bytes_written, before);
}

#[test]
fn a_deadline_beyond_the_end_of_time_is_none() {
    let db = open(&SimFs::new(0));
    let options = WriteOptions { durability: None, deadline: Some(Duration::MAX) };
    db.put_with("k", "v", options).expect("writes");
}

#[test]
fn a_table_for_each_key_is_refused() {
    let db = open(&SimFs::new(0));
    let mut options = db.options();
    let leveled = LeveledOptions { table_bytes: 0, ..LeveledOptions::default() };
    options.compaction = CompactionPolicy::Leveled(leveled);
    let error = db.set_options(options).expect_err("refused");
    assert_eq!(error.to_string(), "option table_bytes is 0; at least 4096 is accepted");
}
