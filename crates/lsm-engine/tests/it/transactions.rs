//! Transactions are serializable: each might as well have run alone at its place in the order.
//!
//! The anomalies are those of the Hermitage list, which names what weaker isolation lets through;
//! random transactions, one after the other in turns and on threads, are replayed in the order of
//! their commits.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::Duration;

use lsm_engine::{
    Db, Durability, Error, ErrorKind, Keyspace, Reads, Scan, SeqNo, Transaction, WriteOptions,
};
use lsm_io::{SimFs, every};

use crate::rng::Rng;
use crate::{open, threaded};

/// A database with 10 under "1" and 20 under "2".
fn two_entries() -> Db {
    let db = open(&SimFs::new(0));
    db.put("1", "10").expect("writes");
    db.put("2", "20").expect("writes");
    db
}

#[track_caller]
fn check_value(reader: &impl Reads, key: &str, expected: Option<&str>) {
    let found = reader.get(key).expect("reads");
    assert_eq!(found.as_deref(), expected.map(str::as_bytes), "key {key}");
}

#[track_caller]
fn check_conflict(result: Result<SeqNo, Error>, key: &str) {
    let error = result.expect_err("somebody else was first");
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().contains(&format!("\"{key}\"")), "{error}");
    let named = (error.conflicting_keyspace(), error.conflicting_key());
    assert_eq!(named, (Some("default"), Some(key.as_bytes())));
}

#[track_caller]
fn check_commits(tx: Transaction) {
    tx.commit().expect("nobody was in the way");
}

#[test]
fn dirty_writes_do_not_mix() {
    // G0: two writers of the same two keys; the pair is one's or the other's.
    let db = two_entries();
    let (one, other) = (db.transaction(), db.transaction());
    one.put("1", "11");
    other.put("1", "12");
    one.put("2", "21");
    other.put("2", "22");
    check_commits(one);
    check_value(&db, "1", Some("11"));
    check_commits(other);
    check_value(&db, "1", Some("12"));
    check_value(&db, "2", Some("22"));
}

#[test]
fn what_was_rolled_back_or_not_yet_committed_is_not_read() {
    // G1a and G1b: aborted and intermediate values.
    let db = two_entries();
    let (one, other) = (db.transaction(), db.transaction());
    one.put("1", "101");
    check_value(&other, "1", Some("10"));
    one.put("1", "11");
    check_value(&other, "1", Some("10"));
    one.rollback();
    check_value(&other, "1", Some("10"));
    check_value(&db, "1", Some("10"));
    check_commits(other);
}

#[test]
fn two_do_not_each_read_before_the_others_write() {
    // G1c: circular information flow.
    let db = two_entries();
    let (one, other) = (db.transaction(), db.transaction());
    one.put("1", "11");
    other.put("2", "22");
    check_value(&one, "2", Some("20"));
    check_value(&other, "1", Some("10"));
    check_commits(one);
    check_conflict(other.commit(), "1");
}

#[test]
fn a_transaction_that_was_seen_does_not_vanish() {
    // OTV: observed transaction vanishes.
    let db = two_entries();
    let (one, other) = (db.transaction(), db.transaction());
    one.put("1", "11");
    one.put("2", "19");
    other.put("1", "12");
    check_commits(one);
    let reader = db.transaction();
    check_value(&reader, "1", Some("11"));
    other.put("2", "18");
    check_commits(other);
    check_value(&reader, "2", Some("19"));
    check_value(&reader, "1", Some("11"));
    check_commits(reader);
}

#[test]
fn what_came_into_a_range_that_was_read_is_a_conflict() {
    // PMP: predicate-many-preceders, and G2: two who each write into the range the other has read.
    let db = two_entries();
    let (one, other) = (db.transaction(), db.transaction());
    let with_30 =
        |tx: &Transaction| tx.iter().filter(|e| *e.as_ref().expect("reads").1 == *b"30").count();
    assert_eq!((with_30(&one), with_30(&other)), (0, 0));
    one.put("3", "30");
    other.put("4", "30");
    check_commits(one);
    check_conflict(other.commit(), "3");
    assert_eq!(db.iter().count(), 3);
}

#[test]
fn no_update_is_lost() {
    // P4: both read, both write what they made of it.
    let db = two_entries();
    let (one, other) = (db.transaction(), db.transaction());
    check_value(&one, "1", Some("10"));
    check_value(&other, "1", Some("10"));
    one.put("1", "11");
    other.put("1", "11");
    check_commits(one);
    check_conflict(other.commit(), "1");
}

#[test]
fn a_moment_is_read_whole() {
    // G-single: read skew.
    let db = two_entries();
    let (one, other) = (db.transaction(), db.transaction());
    check_value(&one, "1", Some("10"));
    other.put("1", "12");
    other.put("2", "18");
    check_commits(other);
    check_value(&one, "2", Some("20"));
    one.delete("2");
    check_conflict(one.commit(), "1");
}

#[test]
fn two_do_not_each_break_what_the_other_has_checked() {
    // G2-item: write skew.
    let db = two_entries();
    let (one, other) = (db.transaction(), db.transaction());
    for tx in [&one, &other] {
        check_value(tx, "1", Some("10"));
        check_value(tx, "2", Some("20"));
    }
    one.put("1", "11");
    other.put("2", "21");
    check_commits(one);
    check_conflict(other.commit(), "1");
}

#[test]
fn a_key_that_was_not_there_counts_as_read() {
    let db = two_entries();
    let tx = db.transaction();
    check_value(&tx, "3", None);
    tx.put("seen", "nothing");
    db.put("3", "30").expect("writes");
    check_conflict(tx.commit(), "3");
}

#[test]
fn a_change_that_was_flushed_and_merged_meanwhile_is_found() {
    let db = two_entries();
    let (by_key, by_range) = (db.transaction(), db.transaction());
    check_value(&by_key, "1", Some("10"));
    assert_eq!(by_range.range("0".."2").count(), 1);
    db.delete("1").expect("writes");
    db.flush().expect("flushes");
    db.compact_range::<&str>(..).expect("merges");
    for tx in [by_key, by_range] {
        tx.put("2", "21");
        check_conflict(tx.commit(), "1");
    }
}

/// Reads a, c from the front of a range and g from its back; then `changed` is written by another.
#[track_caller]
fn check_half_read_range(changed: &str, is_conflict: bool) {
    let db = open(&SimFs::new(0));
    for key in ["a", "c", "e", "g"] {
        db.put(key, "v").expect("writes");
    }
    let tx = db.transaction();
    let mut entries = tx.range("a".."z");
    assert_eq!(entries.next().expect("there").expect("reads").0, "a");
    assert_eq!(entries.next().expect("there").expect("reads").0, "c");
    assert_eq!(entries.next_back().expect("there").expect("reads").0, "g");
    tx.put("result", "v");
    db.put(changed, "w").expect("writes");
    assert_eq!(tx.commit().is_err(), is_conflict, "{changed} was changed");
}

#[test]
fn an_iterator_has_read_as_far_as_it_came() {
    for seen in ["a", "b", "c", "g", "h"] {
        check_half_read_range(seen, true);
    }
    for unseen in ["A", "d", "e", "f", "z"] {
        check_half_read_range(unseen, false);
    }
}

#[test]
fn a_transaction_reads_what_it_has_written() {
    let db = open(&SimFs::new(0));
    let users = db.keyspace("users").expect("creates");
    for key in ["a", "b", "c", "d"] {
        users.put(key, "old").expect("writes");
    }
    let tx = db.transaction();
    let tx_users = tx.within(&users);
    tx_users.put("b", "new");
    tx_users.delete("c");
    tx_users.put("bb", "new");
    users.put("a", "by another").expect("writes");
    check_value(&tx_users, "a", Some("old"));
    check_value(&tx_users, "b", Some("new"));
    check_value(&tx_users, "c", None);
    check_value(&users, "b", Some("old"));
    let pairs = |iter: lsm_engine::Iter| -> Vec<String> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        iter.map(|e| e.expect("reads")).map(|(k, v)| text(&k) + "=" + &text(&v)).collect()
    };
    assert_eq!(pairs(tx_users.iter()), ["a=old", "b=new", "bb=new", "d=old"]);
    let mut backward = tx_users.iter().rev();
    assert_eq!(backward.next().expect("there").expect("reads").0, "d");
    assert_eq!(backward.next().expect("there").expect("reads").0, "bb");
    let mut cursor = tx_users.cursor();
    cursor.seek("b").expect("seeks");
    assert_eq!(cursor.entry(), Some((&b"b"[..], &b"new"[..])));
    cursor.next().expect("moves");
    cursor.next().expect("moves");
    assert_eq!(cursor.key(), Some(&b"d"[..]));
    cursor.prev().expect("moves");
    assert_eq!(cursor.key(), Some(&b"bb"[..]));
    assert_eq!(tx.iter().count(), 0, "the default keyspace is another one");
}

#[test]
fn a_commit_over_keyspaces_is_one_batch() {
    let db = open(&SimFs::new(0));
    let users = db.keyspace("users").expect("creates");
    let tx = db.transaction();
    tx.put("count", "1");
    tx.within(&users).put("ada", "1815");
    let through = tx.commit().expect("commits");
    assert!(through <= db.visible_seq_no());
    check_value(&db, "count", Some("1"));
    check_value(&users, "ada", Some("1815"));
}

#[test]
fn a_transaction_that_only_reads_always_commits() {
    let db = two_entries();
    let tx = db.transaction();
    check_value(&tx, "1", Some("10"));
    db.put("1", "11").expect("writes");
    check_value(&tx, "1", Some("10"));
    check_commits(tx);
}

#[test]
fn what_cannot_be_written_is_told_by_the_commit() {
    let db = two_entries();
    let tx = db.transaction();
    tx.put(vec![0; 1 << 16], "too long a key");
    assert_eq!(tx.commit().expect_err("refused").kind(), ErrorKind::Invalid);
    let gone = db.keyspace("gone").expect("creates");
    let tx = db.transaction();
    tx.within(&gone).put("key", "value");
    db.drop_keyspace(gone).expect("drops");
    assert_eq!(tx.commit().expect_err("refused").kind(), ErrorKind::Invalid);
    let other = two_entries();
    let tx = db.transaction();
    tx.within(other.default_keyspace()).put("key", "value");
    assert_eq!(tx.commit().expect_err("refused").kind(), ErrorKind::Invalid);
}

#[test]
fn a_conflict_with_a_write_that_is_not_on_the_disk_yet_waits_for_it() {
    let db = two_entries();
    let tx = db.transaction();
    check_value(&tx, "1", Some("10"));
    let mut batch = lsm_engine::WriteBatch::new();
    batch.put("1", "11");
    let ticket = db.write_async(&batch).expect("is ordered");
    tx.put("1", "12");
    check_conflict(tx.commit(), "1");
    // Whoever tries again sees the change.
    check_value(&db.transaction(), "1", Some("11"));
    ticket.wait().expect("is written");
}

#[test]
fn a_change_that_is_ordered_while_the_commit_waits_for_its_turn_is_found() {
    let fs = SimFs::new(0);
    let db = open(&fs);
    db.put("1", "10").expect("writes");
    let tx = db.transaction();
    check_value(&tx, "1", Some("10"));
    tx.put("2", "20");
    // A value too long for the segment makes its writer wait for another one, under the mutex.
    let hold = fs.hold(every().create_of("*.log"));
    std::thread::scope(|scope| {
        scope.spawn(|| db.put("1", vec![b'v'; 400_000]).expect("writes"));
        hold.wait_for(1);
        let commit = scope.spawn(|| tx.commit());
        std::thread::sleep(Duration::from_millis(100));
        hold.release();
        check_conflict(commit.join().expect("runs"), "1");
    });
}

#[test]
fn put_if_writes_only_over_what_is_expected() {
    let db = open(&SimFs::new(0));
    assert!(db.put_if("k", Some(b"x"), Some(b"y")).expect("runs").is_none());
    assert!(db.put_if("k", None, Some(b"1")).expect("runs").is_some());
    assert!(db.put_if("k", None, Some(b"2")).expect("runs").is_none());
    assert!(db.put_if("k", Some(b"1"), Some(b"2")).expect("runs").is_some());
    check_value(&db, "k", Some("2"));
    assert!(db.put_if("k", Some(b"2"), None).expect("runs").is_some());
    check_value(&db, "k", None);
}

#[test]
fn put_if_on_threads_counts_right() {
    let fs = SimFs::new(0);
    let db = Db::open_with("db", threaded(&fs)).expect("opens");
    db.put("count", "0").expect("writes");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..50 {
                    loop {
                        let old = db.get("count").expect("reads").expect("there");
                        let count: u32 =
                            std::str::from_utf8(&old).expect("digits").parse().expect("a number");
                        let new = (count + 1).to_string();
                        let outcome = db.put_if("count", Some(&old), Some(new.as_bytes()));
                        if outcome.expect("runs").is_some() {
                            break;
                        }
                    }
                }
            });
        }
    });
    check_value(&db, "count", Some("200"));
}

type Entries = Vec<(Vec<u8>, Vec<u8>)>;

/// What a committed transaction has read and written, at its place in the order.
#[derive(Default)]
struct Record {
    reads: Vec<(usize, String, Option<Vec<u8>>)>,
    scans: Vec<(usize, String, String, Entries)>,
    writes: Vec<(usize, String, Option<Vec<u8>>)>,
    through: SeqNo,
}

const KEYS: u64 = 12;

fn random_key(rng: &mut Rng) -> String {
    format!("{:02}", rng.below(KEYS))
}

/// One random step of a transaction over some keyspaces.
fn step(tx: &Transaction, keyspaces: &[Keyspace], rng: &mut Rng, record: &mut Record) {
    let space = rng.below(keyspaces.len() as u64) as usize;
    let within = tx.within(&keyspaces[space]);
    let key = random_key(rng);
    match rng.below(6) {
        0 | 1 => {
            let value = within.get(&key).expect("reads").map(|value| value.to_vec());
            // What it has written itself is no read.
            if !record.writes.iter().any(|(s, k, _)| (*s, k) == (space, &key)) {
                record.reads.push((space, key, value));
            }
        }
        2 if record.writes.is_empty() => {
            let to = random_key(rng);
            if key < to {
                let found = within.scan(Scan::range(key.as_str()..to.as_str()));
                let found = found.map(|entry| entry.expect("reads"));
                let found = found.map(|(k, v)| (k.to_vec(), v.to_vec())).collect();
                record.scans.push((space, key, to, found));
            }
        }
        3 => {
            within.delete(&key);
            record.writes.push((space, key, None));
        }
        _ => {
            let value = rng.below(1000).to_string().into_bytes();
            within.put(&key, &value);
            record.writes.push((space, key, Some(value)));
        }
    }
}

/// Replays what was committed, in the order of the commits: each must have read what was there.
fn check_serializable(mut committed: Vec<Record>, keyspaces: usize) {
    // What only read stands behind the commit whose state it read.
    committed.sort_by_key(|record| (record.through, record.writes.is_empty()));
    let mut state: Vec<BTreeMap<String, Vec<u8>>> = vec![BTreeMap::new(); keyspaces];
    for Record { reads, scans, writes, through } in committed {
        for (space, key, value) in reads {
            assert_eq!(state[space].get(&key), value.as_ref(), "{key} at commit {through}");
        }
        for (space, from, to, found) in scans {
            let range = (Bound::Included(&from), Bound::Excluded(&to));
            let expected = state[space].range::<String, _>(range);
            let expected: Vec<_> =
                expected.map(|(k, v)| (k.clone().into_bytes(), v.clone())).collect();
            assert_eq!(expected, found, "{from}..{to} at commit {through}");
        }
        for (space, key, value) in writes {
            match value {
                Some(value) => state[space].insert(key, value),
                None => state[space].remove(&key),
            };
        }
    }
}

#[test]
fn random_transactions_in_turns_are_serializable() {
    let (mut commits, mut conflicts) = (0, 0);
    for seed in 0..40 {
        let mut rng = Rng(seed);
        let db = open(&SimFs::new(seed));
        let keyspaces = [db.default_keyspace().clone(), db.keyspace("other").expect("creates")];
        let mut open: Vec<(Transaction, Record)> = Vec::new();
        let mut committed = Vec::new();
        for _ in 0..400 {
            match rng.below(10) {
                0 | 1 if open.len() < 6 => open.push((db.transaction(), Record::default())),
                2 if !open.is_empty() => {
                    let (tx, mut record) = open.swap_remove(rng.below(open.len() as u64) as usize);
                    match tx.commit() {
                        Ok(through) => {
                            record.through = through;
                            committed.push(record);
                            commits += 1;
                        }
                        Err(error) => {
                            assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
                            conflicts += 1;
                        }
                    }
                }
                3 if rng.below(4) == 0 => db.flush().expect("flushes"),
                4 if rng.below(8) == 0 => db.compact_range::<&str>(..).expect("merges"),
                _ if !open.is_empty() => {
                    let index = rng.below(open.len() as u64) as usize;
                    let (tx, record) = &mut open[index];
                    step(tx, &keyspaces, &mut rng, record);
                }
                _ => {}
            }
        }
        check_serializable(committed, keyspaces.len());
    }
    assert!(commits > 200 && conflicts > 200, "{commits} commits, {conflicts} conflicts");
}

#[test]
fn random_transactions_on_threads_are_serializable() {
    let fs = SimFs::new(1);
    let db = Db::open_with("db", threaded(&fs)).expect("opens");
    let keyspaces = [db.default_keyspace().clone(), db.keyspace("other").expect("creates")];
    let committed: Vec<Record> = std::thread::scope(|scope| {
        let run = |seed: u64| {
            let (db, keyspaces) = (&db, &keyspaces);
            move || {
                let mut rng = Rng(seed);
                let mut committed = Vec::new();
                for _ in 0..300 {
                    let (tx, mut record) = (db.transaction(), Record::default());
                    for _ in 0..1 + rng.below(6) {
                        step(&tx, keyspaces, &mut rng, &mut record);
                    }
                    let durability = [Durability::Memory, Durability::Os, Durability::Disk];
                    let durability = durability[rng.below(3) as usize];
                    match tx.commit_with(WriteOptions::durability(durability)) {
                        Ok(through) => {
                            record.through = through;
                            committed.push(record);
                        }
                        Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict, "{error}"),
                    }
                }
                committed
            }
        };
        let threads: Vec<_> = (0..4).map(|seed| scope.spawn(run(seed))).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("runs")).collect()
    });
    assert!(committed.len() > 300, "{} of 1,200 committed", committed.len());
    check_serializable(committed, keyspaces.len());
}
