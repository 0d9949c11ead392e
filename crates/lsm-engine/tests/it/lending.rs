//! A value that is lent is the one that is returned, wherever it lies and whoever reads.

use std::time::Duration;

use lsm_engine::{Append, Db, KeyspaceOptions, Operator, Options, ReadMode, Reads, Step};
use lsm_io::SimFs;

use crate::tiny_options;

/// Longer than a value that is copied instead of sharing its block.
const LONG: usize = 5000;
const BLOB_THRESHOLD_BYTES: u64 = 8000;

fn options(fs: &SimFs, read_mode: ReadMode) -> Options {
    let options = tiny_options(fs);
    let keyspace = KeyspaceOptions {
        merge_operator: Some(Operator::new(Append)),
        blob_threshold_bytes: Some(BLOB_THRESHOLD_BYTES),
        ..options.keyspace
    };
    Options { read_mode, keyspace, ..options }
}

/// Values of every kind, of which each key tells its own.
fn write(db: &Db) {
    db.put("short", "s").expect("writes");
    db.put("empty", "").expect("writes");
    db.put("long", vec![b'l'; LONG]).expect("writes");
    db.put("apart", vec![b'a'; BLOB_THRESHOLD_BYTES as usize]).expect("writes");
    db.put_ttl("expiring", "e", Duration::from_secs(60)).expect("writes");
    db.put("merged", "m").expect("writes");
    db.merge("merged", "erged").expect("writes");
    db.put("deleted", "d").expect("writes");
    db.delete("deleted").expect("writes");
    db.put("covered", "c").expect("writes");
    db.delete_range("covered".."coveree").expect("writes");
}

const KEYS: [&str; 9] =
    ["short", "empty", "long", "apart", "expiring", "merged", "deleted", "covered", "never"];

#[track_caller]
fn check_lent(reads: &impl Reads, lengths: [Option<usize>; KEYS.len()]) {
    for (key, length) in KEYS.into_iter().zip(lengths) {
        let returned = reads.get(key).expect("reads").map(|value| value.to_vec());
        assert_eq!(returned.as_ref().map(Vec::len), length, "{key}");
        let lent = reads.get_with(key, <[u8]>::to_vec).expect("reads");
        assert_eq!(lent, returned, "{key}");
        assert_eq!(reads.contains_key(key).expect("reads"), length.is_some(), "{key}");
    }
}

#[test]
fn a_value_is_lent_from_memtables_tables_blocks_and_blob_files() {
    let blob_bytes = BLOB_THRESHOLD_BYTES as usize;
    let lengths = [1, 0, LONG, blob_bytes, 1, 6].map(Some);
    let lengths: [_; KEYS.len()] = std::array::from_fn(|n| lengths.get(n).copied().flatten());
    for read_mode in [ReadMode::Mapped, ReadMode::Cached] {
        let fs = SimFs::new(0);
        let db = Db::open_with("db", options(&fs, read_mode)).expect("opens");
        check_lent(&db, [None; KEYS.len()]);
        write(&db);
        check_lent(&db, lengths);
        let snapshot = db.snapshot();
        db.flush().expect("flushes");
        for _ in 0..2 {
            check_lent(&db, lengths);
            check_lent(db.default_keyspace(), lengths);
            check_lent(&snapshot, lengths);
            check_lent(&snapshot.within(db.default_keyspace()), lengths);
            check_lent(&db.transaction(), lengths);
            // The second time from one run at the bottom.
            db.compact_range::<&str>(..).expect("merges");
        }
        db.put("short", "longer").expect("writes");
        check_lent(&snapshot, lengths);
    }
}

#[test]
fn whoever_is_lent_a_value_may_read_and_write_and_have_its_table_replaced() {
    let fs = SimFs::new(0);
    let db = Db::open_with("db", options(&fs, ReadMode::Mapped)).expect("opens");
    db.put("one", "first").expect("writes");
    db.flush().expect("flushes");
    let seen = db.get_with("one", |value| {
        db.put("one", "second").expect("writes");
        db.flush().expect("flushes");
        db.compact_range::<&str>(..).expect("merges");
        while db.step(Step::Log).expect("removes what is replaced") {}
        let now = db.get("one").expect("reads").map(|value| value.to_vec());
        (value.to_vec(), now)
    });
    assert_eq!(seen.expect("reads"), Some((b"first".to_vec(), Some(b"second".to_vec()))));
}
