//! Merge operators: what operands come to is the same wherever they lie, and a keyspace is opened
//! with the operator that it has.

use std::path::{Path, PathBuf};

use lsm_engine::{
    Append, Counter, Db, ErrorKind, KeyspaceOptions, MAX_VALUE_BYTES, MergeOperator, Operator,
    Options, Reads, RepairOptions, SetUnion, WriteBatch, repair,
};
use lsm_io::SimFs;
use lsm_manifest::Manifest;

use crate::tiny_options;

/// Shows how it was called: "(base+operand)" for each operand, so order and number can be told.
struct Shown;

impl MergeOperator for Shown {
    fn name(&self) -> &str {
        "shown"
    }

    fn merge(
        &self,
        _key: &[u8],
        base: Option<&[u8]>,
        operands: &[&[u8]],
    ) -> Result<Vec<u8>, String> {
        let mut value = base.unwrap_or(b"-").to_vec();
        for operand in operands {
            match *operand {
                b"bad" => return Err("bad is bad".into()),
                b"panic" => panic!("on purpose"),
                b"huge" => return Ok(vec![0; MAX_VALUE_BYTES + 1]),
                operand => value = [b"(", &value[..], b"+", operand, b")"].concat(),
            }
        }
        Ok(value)
    }
}

fn with(operator: impl MergeOperator) -> KeyspaceOptions {
    KeyspaceOptions {
        merge_operator: Some(Operator::new(operator)),
        block_bytes: 512,
        ..KeyspaceOptions::default()
    }
}

fn options(operator: impl MergeOperator) -> Options {
    Options { keyspace: with(operator), ..Options::default() }
}

/// The key's value, read in every way there is.
#[track_caller]
fn check_value(reads: &impl Reads, key: &str, expected: &str) {
    let text = |value: &[u8]| String::from_utf8(value.to_vec()).expect("text");
    let value = reads.get(key).expect("readable").map(|value| text(&value));
    assert_eq!(value.as_deref(), Some(expected), "get");
    let values = reads.multi_get(&[key]).expect("readable");
    assert_eq!(values[0].as_deref().map(text).as_deref(), Some(expected), "multi_get");
    let forward: Vec<_> = reads.iter().map(|entry| entry.expect("readable")).collect();
    let mut backward: Vec<_> = reads.iter().rev().map(|entry| entry.expect("readable")).collect();
    backward.reverse();
    let show = |entries: &[(lsm_engine::Key, lsm_engine::Value)]| {
        let show = |(key, value): &(lsm_engine::Key, lsm_engine::Value)| (text(key), text(value));
        entries.iter().map(show).collect::<Vec<_>>()
    };
    assert_eq!(show(&forward), show(&backward), "both directions");
    let found = show(&forward).into_iter().find(|(found, _)| found == key);
    assert_eq!(found, Some((key.to_owned(), expected.to_owned())), "scan");
    let mut cursor = reads.cursor();
    cursor.seek(key).expect("readable");
    cursor.next().expect("readable");
    cursor.seek_for_prev(key).expect("readable");
    assert_eq!(cursor.value().map(text).as_deref(), Some(expected), "cursor");
    cursor.seek(key).expect("readable");
    cursor.prev().expect("readable");
    if cursor.key().is_some() {
        cursor.next().expect("readable");
        assert_eq!(cursor.value().map(text).as_deref(), Some(expected), "turned round");
    }
}

#[test]
fn operands_are_merged_oldest_first_wherever_they_lie() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open_with(dir.path(), options(Shown)).unwrap();
    db.put("a", "before").unwrap();
    db.put("z", "behind").unwrap();
    db.merge("k", "1").unwrap();
    db.put("k", "b").unwrap();
    db.merge("k", "2").unwrap();
    check_value(&db, "k", "(b+2)");
    db.flush().unwrap();
    check_value(&db, "k", "(b+2)");
    db.merge("k", "3").unwrap();
    let early = db.snapshot();
    db.merge("k", "4").unwrap();
    check_value(&db, "k", "(((b+2)+3)+4)");
    db.flush().unwrap();
    check_value(&db, "k", "(((b+2)+3)+4)");
    check_value(&early, "k", "((b+2)+3)");
    db.merge("k", "5").unwrap();
    db.compact_range::<&str>(..).unwrap();
    check_value(&db, "k", "((((b+2)+3)+4)+5)");
    check_value(&early, "k", "((b+2)+3)");
    drop(early);
    db.delete("k").unwrap();
    db.merge("k", "6").unwrap();
    check_value(&db, "k", "(-+6)");
    db.close().unwrap();
    let db = Db::open_with(dir.path(), options(Shown)).unwrap();
    check_value(&db, "k", "(-+6)");
}

#[test]
fn a_merge_leaves_one_version_where_nobody_needs_more() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open_with(dir.path(), options(Append)).unwrap();
    for operand in ["a", "b", "c"] {
        db.merge("k", operand).unwrap();
    }
    db.flush().unwrap();
    let versions = db.default_keyspace().history("k").unwrap();
    assert_eq!(versions.len(), 1, "associative operands become one: {versions:?}");
    db.merge("k", "d").unwrap();
    db.compact_range::<&str>(..).unwrap();
    let versions = db.default_keyspace().history("k").unwrap();
    assert_eq!(versions.len(), 1);
    assert_eq!(format!("{:?}", versions[0].kind), "Put");
    check_value(&db, "k", "abcd");
}

#[test]
fn a_memtable_with_a_long_chain_is_flushed() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open_with(dir.path(), options(Counter)).unwrap();
    let mut batch = WriteBatch::new();
    (0..2000).for_each(|_| batch.merge("k", Counter::operand(1)));
    db.write(&batch).unwrap();
    let number = || Counter::number(&db.get("k").unwrap().unwrap());
    assert_eq!(number(), Some(2000));
    db.settle().unwrap();
    while db.metrics().flushes == 0 {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    assert_eq!(number(), Some(2000));
    assert_eq!(db.default_keyspace().history("k").unwrap().len(), 1);
}

#[test]
fn a_transaction_reads_what_it_has_merged_and_is_at_odds_only_over_what_it_reads() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open_with(dir.path(), options(Shown)).unwrap();
    db.put("k", "b").unwrap();
    let (one, other) = (db.transaction(), db.transaction());
    one.merge("k", "1");
    other.merge("k", "2");
    other.merge("k", "3");
    one.commit().unwrap();
    other.commit().expect("it has read nothing");
    check_value(&db, "k", "(((b+1)+2)+3)");

    let tx = db.transaction();
    tx.put("k", "own");
    tx.merge("k", "4");
    tx.merge("new", "5");
    check_value(&tx, "k", "(own+4)");
    check_value(&tx, "new", "(-+5)");
    tx.commit().unwrap();
    check_value(&db, "k", "(own+4)");

    let tx = db.transaction();
    tx.merge("k", "6");
    check_value(&tx, "k", "((own+4)+6)");
    db.merge("k", "7").unwrap();
    assert_eq!(tx.commit().unwrap_err().kind(), ErrorKind::Conflict, "it has read the value below");
}

#[test]
fn compare_and_set_compares_what_operands_come_to() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open_with(dir.path(), options(Append)).unwrap();
    db.merge("k", "a").unwrap();
    db.merge("k", "b").unwrap();
    assert!(db.put_if("k", Some(b"b"), Some(b"x")).unwrap().is_none());
    assert!(db.put_if("k", Some(b"ab"), Some(b"x")).unwrap().is_some());
    check_value(&db, "k", "x");
}

#[test]
fn an_operator_that_fails_is_named_with_the_key_and_harms_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open_with(dir.path(), options(Shown)).unwrap();
    db.put("good", "g").unwrap();
    let cases = [
        ("bad", "bad is bad"),
        ("panic", "it panicked"),
        ("huge", "value of 1073741825 bytes; a value has at most 1073741824"),
    ];
    for (operand, reason) in cases {
        db.merge("k", operand).unwrap();
        for _ in 0..2 {
            let error = db.get("k").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Merge);
            assert_eq!(
                error.to_string(),
                format!(
                    "merge operator \"shown\" cannot tell the value of key \"k\" in keyspace \
                     \"default\": {reason}"
                )
            );
            assert_eq!(db.iter().last().unwrap().unwrap_err().kind(), ErrorKind::Merge);
            assert_eq!(db.iter().next_back().unwrap().unwrap_err().kind(), ErrorKind::Merge);
            db.compact_range::<&str>(..).expect("operands stay as they are");
        }
        assert!(db.get("good").unwrap().is_some());
        db.put("k", "again").unwrap();
        check_value(&db, "k", "again");
    }
}

#[test]
fn operands_are_refused_where_no_operator_takes_them() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let error = db.merge("k", "1").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!(error.to_string(), "keyspace \"default\" has no merge operator");
    let visits = db.keyspace_with("visits", with(Counter)).unwrap();
    let mut batch = WriteBatch::new();
    batch.put("k", "put");
    batch.within(&visits).merge("front", "seven");
    let error = db.write(&batch).unwrap_err().to_string();
    assert_eq!(
        error,
        "merge operator \"lsm.counter\" takes no such operand for key \"front\": the operand is not a \
         number of 8 bytes"
    );
    assert_eq!(db.get("k").unwrap(), None, "nothing of the batch is written");
}

#[track_caller]
fn check_refused(opened: lsm_engine::Result<impl std::fmt::Debug>, message: &str) {
    let error = opened.expect_err("it has another operator");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!(error.to_string(), message);
}

#[test]
fn a_keyspace_is_opened_with_the_operator_that_it_has() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open_with(dir.path(), options(Shown)).unwrap();
    db.keyspace_with("other", with(Shown)).unwrap().merge("k", "1").unwrap();
    db.merge("k", "2").unwrap();
    db.close().unwrap();
    check_refused(
        Db::open(dir.path()),
        "keyspace \"default\" has merge operator \"shown\"; it is opened without one",
    );
    check_refused(
        Db::open_with(dir.path(), options(Counter)),
        "keyspace \"default\" has merge operator \"shown\"; it is opened with \"lsm.counter\"",
    );
    check_refused(
        Db::open_read_only(dir.path()),
        "keyspace \"default\" has merge operator \"shown\"; it is opened without one",
    );
    let db = Db::open_with(dir.path(), options(Shown)).unwrap();
    check_refused(
        db.keyspace_with("other", with(SetUnion)),
        "keyspace \"other\" has merge operator \"shown\"; it is opened with \"lsm.set-union\"",
    );
    check_refused(
        db.keyspace_with("other", KeyspaceOptions::default()),
        "keyspace \"other\" has merge operator \"shown\"; it is opened without one",
    );
    let other = db.keyspace("other").expect("by the default options");
    check_value(&other, "k", "(-+1)");
    check_refused(
        other.set_options(KeyspaceOptions::default()),
        "option merge_operator is none; keyspace \"other\" has \"shown\", which stays",
    );
    other.set_options(other.options()).unwrap();
}

#[test]
fn a_keyspace_without_an_operator_takes_the_first_that_it_is_opened_with() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    db.keyspace("other").unwrap();
    db.put("k", "b").unwrap();
    db.close().unwrap();
    let db = Db::open_with(dir.path(), options(Shown)).unwrap();
    db.merge("k", "1").unwrap();
    db.keyspace_with("other", with(Shown)).unwrap().merge("k", "2").unwrap();
    db.close().unwrap();
    assert!(Db::open(dir.path()).is_err(), "the name was saved");
    let db = Db::open_with(dir.path(), options(Shown)).unwrap();
    check_value(&db, "k", "(b+1)");
    check_value(&db.keyspace("other").unwrap(), "k", "(-+2)");
}

#[test]
fn tools_read_what_needs_no_operator_and_leave_operands_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open_with(dir.path(), options(Shown)).unwrap();
    db.put("plain", "p").unwrap();
    db.put("k", "b").unwrap();
    db.flush().unwrap();
    db.merge("k", "1").unwrap();
    db.close().unwrap();
    let tool = || Options { without_operators: true, ..Options::default() };
    let reader = Db::open_read_only_with(dir.path(), tool()).unwrap();
    assert!(reader.get("plain").unwrap().is_some());
    let db = Db::open_with(dir.path(), tool()).unwrap();
    db.put("other", "o").unwrap();
    db.compact_range::<&str>(..).unwrap();
    let error = db.get("k").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Merge);
    assert_eq!(
        error.to_string(),
        "merge operator \"shown\" cannot tell the value of key \"k\" in keyspace \"default\": it was \
         not given when the keyspace was opened"
    );
    let error = db.merge("k", "2").unwrap_err().to_string();
    assert_eq!(error, "keyspace \"default\" was opened without its merge operator \"shown\"");
    db.set_options(db.options()).expect("the name stays");
    db.close().unwrap();
    check_value(&Db::open_with(dir.path(), options(Shown)).unwrap(), "k", "(b+1)");
}

#[test]
fn own_operators_need_not_be_given_again() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open_with(dir.path(), options(Append)).unwrap();
    db.merge("k", "1").unwrap();
    db.close().unwrap();
    let db = Db::open(dir.path()).unwrap();
    db.merge("k", "2").unwrap();
    check_value(&db, "k", "12");
}

#[test]
fn a_checkpoint_keeps_the_operator() {
    let dir = tempfile::tempdir().unwrap();
    let (path, copy) = (dir.path().join("db"), dir.path().join("copy"));
    let db = Db::open_with(&path, options(Append)).unwrap();
    for operand in ["1", "2", "3"] {
        db.merge("k", operand).unwrap();
    }
    db.flush().unwrap();
    db.merge("k", "4").unwrap();
    db.checkpoint(&copy).unwrap();
    check_value(&Db::open(&copy).unwrap(), "k", "1234");
}

#[test]
fn a_repair_keeps_operands_that_a_table_has_folded_and_the_log_has_in_part() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let small_segments = Options { log_segment_bytes: 128 << 10, ..options(Append) };
    let db = Db::open_with(&path, small_segments).unwrap();
    db.merge("k", "1").unwrap();
    db.merge("k", "2").unwrap();
    // More than the first segment of the log has room for: the last operand is in a later one.
    for n in 0..10 {
        db.put(format!("other {n}"), vec![n; 64 << 10]).unwrap();
    }
    db.merge("k", "3").unwrap();
    db.flush().unwrap();
    db.close().unwrap();
    let files = |kind: &str| {
        let entries = std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path());
        let is_kind = |file: &PathBuf| file.extension().is_some_and(|extension| extension == kind);
        let mut files: Vec<PathBuf> = entries.filter(is_kind).collect();
        files.sort();
        files
    };
    // The flush has let go of the log's oldest segment, which may wait for its removal.
    files("log").iter().filter(|file| file.ends_with("000001.log")).for_each(remove);
    let has_last = |file: &PathBuf| {
        let log = std::fs::read(file).unwrap();
        log.windows(b"other 9".len()).any(|bytes| bytes == b"other 9")
    };
    assert!(files("log").iter().any(has_last), "the log has what was written last still");
    files("manifest").iter().chain([&path.join("CURRENT")]).for_each(remove);
    let report = repair(&path, RepairOptions::default()).unwrap();
    assert!(report.losses.is_empty(), "{report:?}");
    check_value(&Db::open_with(&path, options(Append)).unwrap(), "k", "123");
}

fn remove(file: &PathBuf) {
    std::fs::remove_file(file).unwrap();
}

/// Which keyspaces take operands, by the manifest.
fn taking(fs: &SimFs, dir: &str) -> Vec<String> {
    let read = Manifest::read(&fs.shared(), Path::new(dir)).expect("reads");
    let taking = read.state.keyspaces.into_iter().filter(|keyspace| keyspace.takes_operands);
    taking.map(|keyspace| keyspace.name).collect()
}

#[test]
fn the_manifest_tells_older_programs_which_keyspaces_take_operands() {
    let fs = SimFs::new(0);
    let db = Db::open_with("db", tiny_options(&fs)).expect("opens");
    db.keyspace("plain").expect("creates");
    assert!(taking(&fs, "db").is_empty());
    db.keyspace_with("counters", with(Counter)).expect("creates");
    assert_eq!(taking(&fs, "db"), ["counters"]);
    let later = db.keyspace("later").expect("creates");
    later.set_options(with(Counter)).expect("takes an operator");
    assert_eq!(taking(&fs, "db"), ["counters", "later"]);
    db.checkpoint("copy").expect("copies");
    db.close().expect("closes");
    assert_eq!(taking(&fs, "copy"), ["counters", "later"]);
    let taken = Options { keyspace: with(Counter), ..tiny_options(&fs) };
    Db::open_with("db", taken).expect("opens").close().expect("closes");
    assert_eq!(taking(&fs, "db"), ["default", "counters", "later"]);
    fs.shared().remove_file(Path::new("db/CURRENT")).expect("removes");
    let env = tiny_options(&fs).env;
    repair("db", RepairOptions { env, ..RepairOptions::default() }).expect("repairs");
    assert_eq!(taking(&fs, "db"), ["default", "counters", "later"]);
}
