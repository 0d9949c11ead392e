//! Large values apart from their keys: read as if they were beside them, counted exactly, and gone
//! when nothing refers to them.

use std::path::{Path, PathBuf};

use lsm_engine::{
    Append, Db, ErrorKind, KeyspaceOptions, Operator, Options, ReadMode, Reads, RepairOptions,
    RepairReport, Step, repair,
};
use lsm_io::{Fs, OpenMode, SimFs, every, once};

use crate::{content, key, tiny_options};

const THRESHOLD_BYTES: u64 = 100;

fn options(fs: &SimFs) -> Options {
    let options = tiny_options(fs);
    let blob_threshold_bytes = Some(THRESHOLD_BYTES);
    Options { keyspace: KeyspaceOptions { blob_threshold_bytes, ..options.keyspace }, ..options }
}

fn open(fs: &SimFs) -> Db {
    Db::open_with("db", options(fs)).expect("opens")
}

/// A value that is told from every other, of 40 to 1000 bytes.
fn value(n: u32) -> Vec<u8> {
    let bytes = [40, 99, 100, 1000][n as usize % 4];
    n.to_be_bytes().into_iter().cycle().take(bytes).collect()
}

/// The same options, with an operator that appends.
fn appending(fs: &SimFs) -> Options {
    let options = options(fs);
    let merge_operator = Some(Operator::new(Append));
    Options { keyspace: KeyspaceOptions { merge_operator, ..options.keyspace }, ..options }
}

/// A database in which each key's value is flushed.
fn filled(fs: &SimFs, range: std::ops::Range<u32>) -> Db {
    let db = open(fs);
    write(&db, range, 0);
    db
}

fn put(db: &Db, range: std::ops::Range<u32>, shift: u32) {
    for n in range {
        db.put(key(n), value(n + shift)).expect("writes");
    }
}

/// Puts, and flushes.
fn write(db: &Db, range: std::ops::Range<u32>, shift: u32) {
    put(db, range, shift);
    db.flush().expect("flushes");
}

fn delete(db: &Db, range: std::ops::Range<u32>) {
    for n in range {
        db.delete(key(n)).expect("writes");
    }
}

#[track_caller]
fn check(db: &Db, range: std::ops::Range<u32>, shift: u32) {
    let expected: Vec<_> = range.map(|n| (key(n), value(n + shift))).collect();
    let keys: Vec<_> = expected.iter().map(|(key, _)| key.clone()).collect();
    assert_eq!(content(db).into_iter().collect::<Vec<_>>(), expected);
    let backward = db.iter().rev().map(|entry| entry.expect("reads"));
    let backward: Vec<_> = backward.map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
    assert!(backward.iter().rev().eq(&expected));
    for (found, (_, value)) in db.multi_get(&keys).expect("reads").iter().zip(&expected) {
        assert_eq!(found.as_deref(), Some(value.as_slice()));
    }
}

fn files(fs: &SimFs, dir: &str, extension: &str) -> Vec<PathBuf> {
    let listing = fs.list(Path::new(dir)).expect("lists");
    let names = listing.into_iter().map(|entry| Path::new(dir).join(entry.name));
    names.filter(|path| path.extension().is_some_and(|it| it == extension)).collect()
}

fn blob_files(fs: &SimFs) -> Vec<PathBuf> {
    files(fs, "db", "blob")
}

/// Merges everything into one run, and removes what nothing refers to.
fn merge(db: &Db) {
    db.flush().expect("flushes");
    db.compact_range::<&[u8]>(..).expect("merges");
    settle(db);
}

fn settle(db: &Db) {
    while db.step(Step::Compact).expect("merges") {}
    while db.step(Step::Log).expect("removes files") {}
}

fn run_repair(fs: &SimFs) -> RepairReport {
    let options = RepairOptions { env: options(fs).env, ..RepairOptions::default() };
    repair("db", options).expect("repairs")
}

fn damage(fs: &SimFs, path: &Path, offset: u64) {
    fs.damage(path, |bytes| bytes[offset as usize] ^= 1);
}

#[test]
fn large_values_are_read_like_others() {
    for read_mode in [ReadMode::Mapped, ReadMode::Cached] {
        let fs = SimFs::new(1);
        let db = Db::open_with("db", Options { read_mode, ..options(&fs) }).expect("opens");
        write(&db, 0..40, 0);
        check(&db, 0..40, 0);
        let blobs = db.metrics().blobs;
        assert_eq!((blobs.live_values, blobs.live_bytes, blobs.garbage_bytes), (20, 11_000, 0));
        let mut cursor = db.cursor();
        cursor.seek(key(7)).expect("reads");
        assert_eq!(cursor.value(), Some(&value(7)[..]));
        cursor.prev().expect("reads");
        assert_eq!(cursor.value(), Some(&value(6)[..]));
        cursor.next().expect("reads");
        cursor.next().expect("reads");
        assert_eq!(cursor.value(), Some(&value(8)[..]));
        db.close().expect("closes");
        check(&open(&fs), 0..40, 0);
    }
}

#[test]
fn keys_are_read_without_their_values() {
    let fs = SimFs::new(1);
    let db = filled(&fs, 0..40);
    for file in blob_files(&fs) {
        damage(&fs, &file, 4);
    }
    let error = db.iter().find_map(Result::err).expect("the first large value is damaged");
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains(".blob at byte 0: value checksum"), "{error}");
    assert_eq!(db.keys().filter(Result::is_ok).count(), 40);
    assert_eq!(db.keys().rev().filter(Result::is_ok).count(), 40);
    assert_eq!(db.get(key(3)).expect("another is whole").as_deref(), Some(&value(3)[..]));
}

#[test]
fn what_is_overwritten_becomes_garbage_and_its_file_goes() {
    let fs = SimFs::new(1);
    let db = filled(&fs, 0..40);
    let first = blob_files(&fs);
    write(&db, 0..30, 4);
    assert_eq!(blob_files(&fs).len(), 2);
    assert_eq!(db.metrics().blobs.garbage_bytes, 0, "no table has gone yet");
    merge(&db);
    let blobs = db.metrics().blobs;
    assert_eq!((blobs.live_values, blobs.live_bytes, blobs.garbage_bytes), (20, 11_000, 0));
    assert!(!blob_files(&fs).contains(&first[0]), "it was more than half garbage");
    for n in 0..40 {
        let expected = value(if n < 30 { n + 4 } else { n });
        assert_eq!(db.get(key(n)).expect("reads").as_deref(), Some(&expected[..]));
    }
    delete(&db, 0..40);
    merge(&db);
    assert_eq!(blob_files(&fs), Vec::<PathBuf>::new());
}

#[test]
fn garbage_goes_although_nothing_is_written_any_more() {
    let fs = SimFs::new(1);
    let db = filled(&fs, 0..400);
    db.compact_range::<&[u8]>(..).expect("merges");
    delete(&db, 0..300);
    db.flush().expect("flushes");
    // Only a part of what refers to the file is merged; the rest comes by itself.
    db.compact_range(key(0)..key(299)).expect("merges");
    settle(&db);
    check(&db, 300..400, 0);
    let blobs = db.metrics().blobs;
    assert!(blobs.garbage_bytes <= blobs.live_bytes, "{blobs:?}");
}

#[test]
fn a_file_stays_for_as_long_as_a_reader_holds_it() {
    let fs = SimFs::new(1);
    let db = filled(&fs, 0..40);
    let held = db.get(key(3)).expect("reads").expect("is there");
    let mut scan = db.iter();
    scan.next().expect("is there").expect("reads");
    put(&db, 0..40, 4);
    merge(&db);
    let rest: Vec<_> = scan.map(|entry| entry.expect("reads").1.to_vec()).collect();
    assert_eq!(rest, (1..40).map(value).collect::<Vec<_>>());
    assert_eq!(held, value(3));
    merge(&db);
    assert_eq!(blob_files(&fs).len(), 1);
}

#[test]
fn a_reader_that_has_not_opened_a_blob_file_yet_finds_it() {
    let fs = SimFs::new(1);
    let db = open(&fs);
    let other = db.keyspace_with("other", options(&fs).keyspace).expect("creates");
    for n in 0..4 {
        other.put(key(n), value(n)).expect("writes");
    }
    db.flush().expect("flushes");
    let mut cursor = other.cursor();
    cursor.seek(key(0)).expect("reads");
    db.drop_keyspace(other).expect("drops");
    settle(&db);
    for n in 1..4 {
        cursor.next().expect("what is under way ends as it began");
        assert_eq!(cursor.value(), Some(&value(n)[..]));
    }
}

#[test]
fn another_threshold_holds_for_what_is_written_from_then_on() {
    let fs = SimFs::new(1);
    let db = Db::open_with("db", tiny_options(&fs)).expect("opens");
    write(&db, 0..40, 0);
    assert_eq!(db.metrics().blobs.files, 0);
    let keyspace = db.default_keyspace();
    keyspace
        .set_options(KeyspaceOptions { blob_threshold_bytes: Some(101), ..keyspace.options() })
        .expect("is set");
    write(&db, 0..1, 0);
    db.compact_range::<&[u8]>(..).expect("merges");
    assert_eq!(db.metrics().blobs.live_values, 10, "merged values move, too");
    check(&db, 0..40, 0);
    let error = keyspace
        .set_options(KeyspaceOptions { blob_threshold_bytes: Some(63), ..keyspace.options() })
        .expect_err("refused");
    let told = "option blob_threshold_bytes is 63; at least 64 is accepted";
    assert!(error.to_string().contains(told), "{error}");
}

#[test]
fn operands_are_merged_with_a_large_value() {
    let fs = SimFs::new(1);
    let db = Db::open_with("db", appending(&fs)).expect("opens");
    write(&db, 0..8, 0);
    let check = |when: &str| {
        let expected: Vec<u8> = [&value(3)[..], b"12"].concat();
        let found = db.get(key(3)).expect("reads").expect("is there");
        assert_eq!(found, expected, "{when}");
        let forward = db.range(key(3)..).next().expect("is there").expect("reads");
        assert_eq!(forward.1, expected, "{when}, forward");
        let backward = db.range(..=key(3)).next_back().expect("is there").expect("reads");
        assert_eq!(backward.1, expected, "{when}, backward");
        let explained = db.default_keyspace().explain(key(3)).expect("reads").value;
        assert_eq!(explained.as_deref(), Some(&expected[..]), "{when}, explained");
    };
    db.merge(key(3), "1").expect("writes");
    db.merge(key(3), "2").expect("writes");
    check("in memory");
    db.flush().expect("flushes");
    check("in tables");
    db.compact_range::<&[u8]>(..).expect("merges");
    check("merged");
    let history = db.default_keyspace().history(key(3)).expect("reads");
    assert_eq!(history.len(), 1, "they are folded: {history:?}");
    assert_eq!(db.metrics().blobs.live_values, 4, "what they came to is apart again");
}

#[test]
fn a_merge_keeps_operands_above_a_large_value_that_it_cannot_read() {
    let fs = SimFs::new(1);
    // Mapped, the file would stay as it was when it was first read.
    let options = Options { read_mode: ReadMode::Cached, ..appending(&fs) };
    let db = Db::open_with("db", options).expect("opens");
    db.put(key(3), value(3)).expect("writes");
    db.flush().expect("flushes");
    db.merge(key(3), "1").expect("writes");
    db.flush().expect("flushes");
    let blob = blob_files(&fs).pop().expect("is there");
    damage(&fs, &blob, 4);
    db.compact_range::<&[u8]>(..).expect("merges");
    assert_eq!(db.get(key(3)).expect_err("is damaged").kind(), ErrorKind::Corrupt);
    damage(&fs, &blob, 4);
    assert_eq!(db.get(key(3)).expect("reads").expect("is there"), [&value(3)[..], b"1"].concat());
}

#[test]
fn a_dropped_keyspace_takes_its_files_with_it() {
    let fs = SimFs::new(1);
    let db = open(&fs);
    let other = db.keyspace_with("other", options(&fs).keyspace).expect("creates");
    other.put("key", value(3)).expect("writes");
    db.flush().expect("flushes");
    assert_eq!(blob_files(&fs).len(), 1);
    db.drop_keyspace(other).expect("drops");
    settle(&db);
    assert_eq!(blob_files(&fs), Vec::<PathBuf>::new());
}

#[test]
fn a_checkpoint_shares_blob_files_and_a_restore_brings_them_back() {
    let fs = SimFs::new(1);
    let db = filled(&fs, 0..40);
    put(&db, 40..60, 0);
    db.checkpoint("copy").expect("copies");
    delete(&db, 0..60);
    merge(&db);
    db.close().expect("closes");
    let copy = Db::open_with("copy", options(&fs)).expect("opens");
    check(&copy, 0..60, 0);
    assert!(copy.verify().expect("verifies").is_clean());
    copy.close().expect("closes");
    let env = options(&fs).env;
    let how = lsm_engine::RestoreOptions { env, copy_tables: true, keep_replaced: false };
    lsm_engine::restore_with("copy", "db", &how, |_| {}).expect("restores");
    check(&open(&fs), 0..60, 0);
}

#[test]
fn a_reader_beside_a_writer_keeps_what_it_sees() {
    let fs = SimFs::new(1);
    let db = filled(&fs, 0..40);
    let reader = Db::open_read_only_with("db", options(&fs)).expect("opens");
    put(&db, 0..40, 4);
    merge(&db);
    check(&reader, 0..40, 0);
    reader.refresh().expect("refreshes");
    check(&reader, 0..40, 4);
}

#[test]
fn an_export_holds_large_values_beside_their_keys() {
    let fs = SimFs::new(1);
    let db = filled(&fs, 0..40);
    let export = db.default_keyspace().export::<&[u8]>(.., "tables").expect("exports");
    assert_eq!(files(&fs, "tables", "blob"), Vec::<PathBuf>::new());
    let other = Db::open_with("other", options(&fs)).expect("opens");
    other.default_keyspace().ingest_tables(&export.tables).expect("ingests");
    check(&other, 0..40, 0);
}

#[test]
fn a_table_that_refers_to_blob_files_is_not_brought_in() {
    let fs = SimFs::new(1);
    let _db = filled(&fs, 0..40);
    let table = files(&fs, "db", "sst").pop().expect("is there");
    let other = Db::open_with("other", options(&fs)).expect("opens");
    let error = other.default_keyspace().ingest_tables([table]).expect_err("refused");
    let told = format!("of a value in a blob file of key \"{}\"", key(2).escape_ascii());
    assert!(error.kind() == ErrorKind::Invalid && error.to_string().contains(&told), "{error}");
    assert_eq!(other.iter().count(), 0);
}

#[test]
fn a_blob_file_is_durable_before_its_table() {
    let fs = SimFs::new(1);
    let db = open(&fs);
    put(&db, 0..40, 0);
    let hold = fs.hold(every().sync_of("*.sst"));
    std::thread::scope(|scope| {
        let flush = scope.spawn(|| db.flush());
        hold.wait_for(1);
        let synced = fs.synced("*.blob");
        hold.release();
        flush.join().expect("no panic").expect("flushes");
        assert_eq!(synced, 1);
    });
}

#[test]
fn a_blob_file_that_cannot_be_synced_is_thrown_away_with_its_table() {
    let fs = SimFs::new(1);
    let db = open(&fs);
    put(&db, 0..40, 0);
    fs.fail(once().sync_of("*.blob"));
    let error = db.flush().expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Io);
    assert_eq!((files(&fs, "db", "sst"), blob_files(&fs)), (Vec::new(), Vec::new()));
    db.flush().expect("flushes anew");
    check(&db, 0..40, 0);
}

#[test]
fn values_lost_with_their_file_are_told_and_nothing_older_comes_back() {
    let fs = SimFs::new(1);
    let db = open(&fs);
    write(&db, 0..40, 4);
    write(&db, 0..40, 0);
    db.close().expect("closes");
    let newest = blob_files(&fs).pop().expect("is there");
    for is_missing in [true, false] {
        let fs = fs.restart();
        match is_missing {
            true => fs.remove_file(&newest).expect("removes"),
            // The first value in it, of key 2.
            false => damage(&fs, &newest, 4),
        }
        let report = run_repair(&fs);
        let db = open(&fs);
        assert!(db.verify().expect("verifies").is_clean());
        for n in 0..40 {
            let is_lost = value(n).len() >= THRESHOLD_BYTES as usize && (is_missing || n == 2);
            let found = db.get(key(n)).expect("reads");
            assert_eq!(found.as_deref(), Some(&value(n)[..]).filter(|_| !is_lost), "key {n}");
            assert!(!is_lost || report.may_have_lost("default", &key(n)), "{:?}", report.losses);
        }
        assert_eq!(report.missing.len(), usize::from(is_missing));
    }
}

#[test]
fn a_repair_without_a_manifest_finds_large_values_again() {
    let fs = SimFs::new(1);
    let db = open(&fs);
    write(&db, 0..40, 4);
    put(&db, 0..40, 0);
    merge(&db);
    write(&db, 20..40, 0);
    db.close().expect("closes");
    for file in files(&fs, "db", "manifest") {
        fs.remove_file(&file).expect("removes");
    }
    fs.remove_file(Path::new("db/CURRENT")).expect("removes");
    run_repair(&fs);
    let db = open(&fs);
    check(&db, 0..40, 0);
    assert!(db.verify().expect("verifies").is_clean());
}

#[test]
fn a_verification_finds_every_damaged_byte() {
    let fs = SimFs::new(1);
    let db = filled(&fs, 0..8);
    let blob = blob_files(&fs).pop().expect("is there");
    let bytes = fs.open(&blob, OpenMode::Read).expect("opens").len().expect("length");
    for offset in 0..bytes {
        damage(&fs, &blob, offset);
        let report = db.verify().expect("verifies");
        assert_eq!(report.damage.len(), 1, "byte {offset}: {report:?}");
        damage(&fs, &blob, offset);
    }
    assert!(db.verify().expect("verifies").is_clean());
}
