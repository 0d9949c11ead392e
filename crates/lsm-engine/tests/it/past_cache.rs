//! Tables of a keyspace that nobody reads go past the page cache, and merges leave them out of it; of
//! one that is read the block cache stays warm over a merge.

use std::path::Path;

use lsm_engine::{Compression, Db, KeyspaceOptions, Options, Reads};
use lsm_io::{Fs, OpenMode, SimFs};

use crate::tiny_options;

/// Whether the newest table is in the page cache.
#[track_caller]
fn check_newest(fs: &SimFs, expected: bool) {
    let names = fs.list(Path::new("db")).expect("listed").into_iter().map(|entry| entry.name);
    let newest = names.filter(|name| name.ends_with(".sst")).max().expect("there are tables");
    let file = fs.open(&Path::new("db").join(&newest), OpenMode::Read).expect("opened");
    assert_eq!(file.is_in_memory(), expected, "{newest}");
}

fn put_some(db: &Db, round: u32) {
    for number in 0..40_u32 {
        db.put(format!("{number:03}"), round.to_be_bytes()).expect("writes");
    }
    db.flush().expect("flushes");
}

#[test]
fn what_is_read_is_written_into_the_page_cache_and_other_tables_go_past_it() {
    let fs = SimFs::new(0);
    let db = Db::open_with("db", tiny_options(&fs)).expect("opens");
    put_some(&db, 0);
    check_newest(&fs, false);
    put_some(&db, 1);
    check_newest(&fs, false);
    db.compact_range::<&[u8]>(..).expect("compacts");
    check_newest(&fs, false);

    db.get("007").expect("reads");
    db.compact_range::<&[u8]>(..).expect("compacts");
    for number in 0..40_u32 {
        let value = db.get(format!("{number:03}")).expect("reads");
        assert_eq!(value.as_deref(), Some(&1_u32.to_be_bytes()[..]), "{number}");
    }
    put_some(&db, 2);
    db.compact_range::<&[u8]>(..).expect("compacts");
    check_newest(&fs, true);

    // Two memtables later the readers are forgotten.
    put_some(&db, 3);
    put_some(&db, 4);
    db.compact_range::<&[u8]>(..).expect("compacts");
    check_newest(&fs, false);
    let value = db.get("039").expect("reads");
    assert_eq!(value.as_deref(), Some(&4_u32.to_be_bytes()[..]));
}

#[test]
fn a_merge_leaves_the_block_cache_as_warm_as_it_was() {
    let fs = SimFs::new(0);
    let keyspace =
        KeyspaceOptions { compression: vec![Compression::Lz4], ..tiny_options(&fs).keyspace };
    let db = Db::open_with("db", Options { keyspace, ..tiny_options(&fs) }).expect("opens");
    let read = |numbers: std::ops::Range<u32>| {
        let before = db.metrics().cache_misses;
        for number in numbers {
            assert!(db.get(format!("{number:03}")).expect("reads").is_some());
        }
        db.metrics().cache_misses - before
    };
    for round in 0..3_u8 {
        for number in 0..40_u32 {
            db.put(format!("{number:03}"), [round; 100]).expect("writes");
        }
        db.flush().expect("flushes");
        db.compact_range::<&[u8]>(..).expect("compacts");
        let misses = read(0..20);
        assert_eq!(misses == 0, round > 0, "{misses} in round {round}");
    }
    assert!(read(39..40) > 0, "was never read");
}
