//! Range deletes: what they hide, from whom, and what becomes of what they hide.
//!
//! Several claims are the bugs of others: tombstones cut wrongly at the edges of tables, a delete that
//! is forgotten at the last level while a snapshot needs it, keys that come back after a reopening,
//! reads that become slow.

use std::collections::BTreeMap;

use lsm_engine::{
    CompactionPolicy, Db, Durability, ErrorKind, KeyspaceOptions, LeveledOptions, MAX_KEY_BYTES,
    Options, ReadMode, Reads, Step, WriteBatch,
};
use lsm_io::SimFs;

use crate::{content, key, open, open_at, tiny_options};

/// Puts `key(n)` for each number.
fn put_all(db: &Db, numbers: impl IntoIterator<Item = u32>, value: &str) {
    for n in numbers {
        db.put_with(key(n), value, Durability::Memory.into()).expect("writes");
    }
}

/// What is read in every way there is: by key, forward, backward.
#[track_caller]
fn check_content(reads: &impl Reads, expected: &BTreeMap<Vec<u8>, Vec<u8>>) {
    let found = content(reads);
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    assert_eq!(&found, expected);
    let backward: BTreeMap<_, _> = reads
        .iter()
        .rev()
        .map(|entry| entry.expect("reads"))
        .map(|(key, value)| (key.to_vec(), value.to_vec()))
        .collect();
    assert_eq!(&backward, expected, "backward");
    for n in 0..1000 {
        let value = reads.get(key(n)).expect("reads");
        assert_eq!(value.as_deref(), expected.get(&key(n)).map(Vec::as_slice), "key {n}");
    }
}

#[track_caller]
fn check_numbers(reads: &impl Reads, numbers: impl IntoIterator<Item = (u32, &'static str)>) {
    let expected = numbers.into_iter().map(|(n, value)| (key(n), value.as_bytes().to_vec()));
    check_content(reads, &expected.collect());
}

fn with(value: &'static str) -> impl Fn(u32) -> (u32, &'static str) {
    move |n| (n, value)
}

/// What may befall a database.
type Upheaval = fn(Db, &SimFs) -> Db;

/// Each of these leaves what readers see as it is.
fn upheavals() -> [(&'static str, Upheaval); 4] {
    [
        ("in memory", |db, _| db),
        ("flushed", |db, _| {
            db.flush().expect("flushes");
            db
        }),
        ("merged", |db, _| {
            db.compact_range::<&[u8]>(..).expect("merges");
            db
        }),
        ("opened again", |db, fs| {
            drop(db);
            open(fs)
        }),
    ]
}

#[test]
fn what_came_before_is_gone_and_what_comes_after_stays() {
    let fs = SimFs::new(0);
    let mut db = open(&fs);
    put_all(&db, 0..300, "old");
    db.flush().expect("flushes");
    put_all(&db, 100..400, "newer");
    db.delete_range(key(50)..key(350)).expect("deletes");
    db.put(key(200), "new").expect("writes");
    let left = (0..50).map(with("old")).chain([(200, "new")]).chain((350..400).map(with("newer")));
    let left: Vec<_> = left.collect();
    for (what, upheaval) in upheavals() {
        db = upheaval(db, &fs);
        println!("{what}");
        check_numbers(&db, left.iter().copied());
    }
    assert_eq!(db.verify().expect("reads").damage, []);
}

#[test]
fn a_snapshot_sees_what_was_deleted_later_however_deep_it_is_merged() {
    let fs = SimFs::new(0);
    let db = open(&fs);
    put_all(&db, 0..100, "first");
    db.flush().expect("flushes");
    let first = db.snapshot();
    db.delete(key(10)).expect("deletes");
    db.delete_range(key(20)..key(60)).expect("deletes");
    put_all(&db, 30..40, "second");
    let second = db.snapshot();
    db.delete_range(key(35)..key(90)).expect("deletes");
    let all: Vec<_> = (0..100).map(with("first")).collect();
    let at_second: Vec<_> = all
        .iter()
        .filter(|(n, _)| *n != 10 && !(20..60).contains(n))
        .copied()
        .chain((30..40).map(with("second")))
        .collect();
    let now: Vec<_> = at_second.iter().filter(|(n, _)| !(35..90).contains(n)).copied().collect();
    for _ in 0..3 {
        check_numbers(&first, all.iter().copied());
        check_numbers(&second, at_second.iter().copied());
        check_numbers(&db, now.iter().copied());
        db.compact_range::<&[u8]>(..).expect("merges");
    }
    drop((first, second));
    db.compact_range::<&[u8]>(..).expect("merges");
    check_numbers(&db, now.iter().copied());
    let levels = db.metrics().levels;
    let range_deletes: u64 = levels.iter().map(|level| level.range_deletes).sum();
    assert_eq!(range_deletes, 0, "at the bottom they hide nothing any more");
    let entries: u64 = levels.iter().map(|level| level.entries).sum();
    assert_eq!(entries, now.len() as u64);
}

/// Tables of a few dozen entries.
fn small_tables(fs: &SimFs) -> Options {
    let leveled =
        LeveledOptions { table_bytes: 4 << 10, base_bytes: 8 << 10, ..LeveledOptions::default() };
    let compaction = CompactionPolicy::Leveled(leveled);
    let keyspace = KeyspaceOptions { compaction, block_bytes: 512, ..KeyspaceOptions::default() };
    Options { keyspace, ..tiny_options(fs) }
}

#[test]
fn a_range_delete_over_many_tables_leaves_no_gap_between_them() {
    let fs = SimFs::new(0);
    let db = Db::open_with("db", small_tables(&fs)).expect("opens");
    put_all(&db, 0..1000, "the oldest, far below everything else that is written");
    db.compact_range::<&[u8]>(..).expect("merges");
    let snapshot = db.snapshot();
    // Every second key is newer than the range delete, so the outputs are cut between them.
    db.delete_range(key(100)..key(900)).expect("deletes");
    put_all(&db, (100..900).step_by(2), "newer than the range delete, and longer than a little");
    db.flush().expect("flushes");
    // Between tables, at their edges, and where there are no entries at all.
    for _ in 0..4 {
        while db.step(Step::Compact).expect("merges") {}
        put_all(&db, [1], "x");
        db.flush().expect("flushes");
        for n in (101..900).step_by(2) {
            assert_eq!(db.get(key(n)).expect("reads"), None, "key {n}");
            assert!(snapshot.get(key(n)).expect("reads").is_some(), "key {n}");
        }
        let kept = db.range(key(100)..key(900)).map(|entry| entry.expect("reads"));
        assert_eq!(kept.count(), 400);
        let kept = db.range(key(100)..key(900)).rev().map(|entry| entry.expect("reads"));
        assert_eq!(kept.count(), 400);
    }
    assert_eq!(db.verify().expect("reads").damage, []);
    let ranged = db.default_keyspace().shape().runs.into_iter().flat_map(|run| run.tables);
    let ranged = ranged.filter(|table| table.range_deletes > 0).count();
    drop(snapshot);
    assert!(ranged > 1, "the range delete was cut into {ranged} tables");
}

#[test]
fn bounds_of_every_kind_delete_what_lies_between() {
    let longest = vec![b'k'; MAX_KEY_BYTES];
    let db = open(&SimFs::new(0));
    let fill = || {
        for key in [&b""[..], b"\0", b"a", b"a\0", b"b", &longest, &[0xFF], &[0xFF; 9]] {
            db.put(key, "value").expect("writes");
        }
    };
    let check_left = |left: &[&[u8]]| {
        db.flush().expect("flushes");
        let found: Vec<Vec<u8>> = db.keys().map(|key| key.expect("reads").to_vec()).collect();
        assert_eq!(found, left);
        assert_eq!(db.verify().expect("reads").damage, []);
    };
    fill();
    db.delete_range::<&[u8]>(&b"\0"[..]..).expect("deletes");
    check_left(&[b""]);
    fill();
    db.delete_range("a"..="a").expect("deletes");
    check_left(&[b"", b"\0", b"a\0", b"b", &longest, &[0xFF], &[0xFF; 9]]);
    db.delete_prefix([0xFF]).expect("deletes");
    check_left(&[b"", b"\0", b"a\0", b"b", &longest]);
    db.delete_range(longest.clone()..=longest.clone()).expect("deletes");
    check_left(&[b"", b"\0", b"a\0", b"b"]);
    let visible = db.visible_seq_no();
    db.delete_range("z".."a").expect("does nothing");
    db.delete_range("a".."a").expect("does nothing");
    assert_eq!(db.visible_seq_no(), visible, "a range without keys is not written");
    check_left(&[b"", b"\0", b"a\0", b"b"]);
    let too_long = vec![b'k'; MAX_KEY_BYTES + 1];
    let error = db.delete_range(too_long.clone()..).expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!(error.to_string(), "bound of 65536 bytes; a key has at most 65535");
    assert!(db.delete_range(..[too_long, vec![b'k']].concat()).is_err());
    db.delete_range::<&[u8]>(..).expect("deletes");
    check_left(&[]);
    db.compact_range::<&[u8]>(..).expect("merges");
    assert_eq!(db.metrics().table_bytes(), 0, "nothing is left for it to hide");
}

#[test]
fn a_batch_takes_effect_in_its_order_and_as_one() {
    let db = open(&SimFs::new(0));
    let users = db.keyspace("users").expect("a keyspace");
    put_all(&db, 0..3, "before");
    users.put("x", "before").expect("writes");
    let mut batch = WriteBatch::new();
    batch.put(key(3), "in the range, before it");
    batch.delete_range::<&[u8]>(..);
    batch.put(key(1), "after");
    batch.within(&users).delete_prefix("");
    batch.within(&users).put("y", "after");
    assert_eq!(batch.len(), 5);
    db.write(&batch).expect("writes");
    check_numbers(&db, [(1, "after")]);
    assert_eq!(users.keys().count(), 1);
    db.write(&batch).expect("writes");
    check_numbers(&db, [(1, "after")]);
}

#[test]
fn a_transaction_reads_the_ranges_that_it_has_deleted() {
    let db = open(&SimFs::new(0));
    put_all(&db, 0..10, "theirs");
    let tx = db.transaction();
    tx.put(key(3), "mine, too early");
    tx.delete_range(key(2)..key(6));
    tx.put(key(4), "mine");
    let seen =
        || (0..2).map(with("theirs")).chain([(4, "mine")]).chain((6..10).map(with("theirs")));
    check_numbers(&tx, seen());
    check_numbers(&db, (0..10).map(with("theirs")));
    tx.commit().expect("commits");
    check_numbers(&db, seen());
}

#[test]
fn a_transaction_that_read_what_a_range_delete_covers_is_in_conflict() {
    for flush in [false, true] {
        let db = open(&SimFs::new(0));
        put_all(&db, 0..10, "value");
        let begin = || {
            let tx = db.transaction();
            tx.put("result", "of what was read");
            tx
        };
        let (point, absent, scan, beyond, blind) = (begin(), begin(), begin(), begin(), begin());
        point.get(key(5)).expect("reads");
        absent.get("key-000005-and-more").expect("reads");
        assert_eq!(scan.range(key(0)..key(6)).count(), 6);
        assert_eq!(beyond.range(key(7)..key(10)).count(), 3);
        beyond.get(key(1)).expect("reads");
        blind.delete_range(key(0)..key(9));
        db.delete_range(key(5)..key(7)).expect("deletes");
        if flush {
            db.flush().expect("flushes");
        }
        for (tx, named) in [(point, "key-000005"), (absent, "key-000005-and"), (scan, "key-000005")]
        {
            let error = tx.commit().expect_err("what it read is gone");
            assert_eq!(error.kind(), ErrorKind::Conflict);
            assert!(error.to_string().contains(named), "{error}");
        }
        beyond.commit().expect("nothing of what it read was changed");
        blind.commit().expect("it has read nothing");
    }
}

#[test]
fn a_key_read_under_a_range_that_the_transaction_deleted_itself_is_no_read() {
    let db = open(&SimFs::new(0));
    let tx = db.transaction();
    tx.delete_range("a".."c");
    assert_eq!(tx.get("b").expect("reads"), None);
    db.put("b", "theirs").expect("writes");
    tx.commit().expect("it did not depend on what was there");
    assert_eq!(db.get("b").expect("reads"), None, "the transaction comes later in the order");
}

#[test]
fn tables_that_are_covered_whole_vanish_unread() {
    let fs = SimFs::new(0);
    let db = open(&fs);
    for group in 0..5 {
        put_all(&db, group * 200..group * 200 + 200, "a value that takes some room in its table");
        db.compact_range(key(group * 200)..key(group * 200 + 199)).expect("merges");
    }
    let snapshot = db.snapshot();
    db.delete_range(key(150)..key(850)).expect("deletes");
    db.flush().expect("flushes");
    let before = db.metrics();
    while db.step(Step::Compact).expect("merges") {}
    assert_eq!(db.metrics().table_bytes(), before.table_bytes(), "the snapshot sees them");
    drop(snapshot);
    while db.step(Step::Compact).expect("drops") {}
    let after = db.metrics();
    assert_eq!(after.compaction_bytes_read, before.compaction_bytes_read);
    assert!(after.table_bytes() < before.table_bytes() / 2, "three of five are gone");
    check_numbers(
        &db,
        (0..150).chain(850..1000).map(with("a value that takes some room in its table")),
    );
    let db = {
        drop(db);
        open(&fs)
    };
    check_numbers(
        &db,
        (0..150).chain(850..1000).map(with("a value that takes some room in its table")),
    );
}

#[test]
fn a_scan_passes_over_what_is_deleted_without_reading_it() {
    let fs = SimFs::new(0);
    let db = Db::open_with("db", Options { read_mode: ReadMode::Cached, ..tiny_options(&fs) });
    let db = db.expect("opens");
    put_all(&db, 0..5000, "a value that is long enough to fill some blocks");
    db.compact_range::<&[u8]>(..).expect("merges");
    put_all(&db, 2000..2500, "newer, in memory");
    db.delete_range(key(10)..key(4990)).expect("deletes");
    db.put(key(3000), "new").expect("writes");
    let blocks = |db: &Db| db.metrics().cache_misses + db.metrics().cache_hits;
    for reverse in [false, true] {
        let before = blocks(&db);
        let count = if reverse { db.iter().rev().count() } else { db.iter().count() };
        assert_eq!(count, 21);
        let read = blocks(&db) - before;
        assert!(read <= 16, "{read} blocks were read for 21 entries");
    }
}

#[test]
fn copies_and_readers_beside_show_what_is_left() {
    let fs = SimFs::new(0);
    let db = open(&fs);
    put_all(&db, 0..100, "value");
    db.flush().expect("flushes");
    db.delete_range(key(20)..).expect("deletes");
    put_all(&db, [50], "new");
    let left = || (0..20).map(with("value")).chain([(50, "new")]);
    db.checkpoint("copy").expect("copies");
    db.sync().expect("syncs");
    let reader = Db::open_read_only_with("db", tiny_options(&fs)).expect("opens");
    check_numbers(&reader, left());
    check_numbers(&open_at(&fs, "copy"), left());
    assert_eq!(reader.verify().expect("reads").damage, []);
}

#[test]
fn what_is_told_of_a_key_names_the_range_delete_that_covers_it() {
    let db = open(&SimFs::new(0));
    db.put("b", "1").expect("writes");
    db.flush().expect("flushes");
    db.delete_range("a".."c").expect("deletes");
    let keyspace = db.default_keyspace();
    for _ in 0..2 {
        let history = keyspace.history("b").expect("reads");
        let told: Vec<_> = history.iter().map(|it| (it.seq_no, format!("{:?}", it.kind))).collect();
        assert_eq!(told, [(2, "RangeDelete".into()), (1, "Put".into())]);
        let explained = keyspace.explain("b").expect("reads");
        let last = explained.steps.last().expect("a step");
        assert_eq!(last.outcome, "range delete with sequence number 2 covers it");
        assert_eq!(explained.value, None);
        db.flush().expect("flushes");
    }
}
