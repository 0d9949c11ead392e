//! Scans pass over what is dead, and over nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use lsm_engine::{Append, Db, Env, KeyspaceOptions, Operator, Options, Reads, Scan, WriteBatch};
use lsm_io::SimFs;

use crate::rng::Rng;
use crate::{content, key, open, threaded, tiny_options};

const DEAD: u32 = 1000;
/// What a scan may step over that goes on behind gaps.
const FEW: u64 = 64;

/// Keys of which only the first and the last are left.
fn emptied(fs: &SimFs) -> Db {
    let db = open(fs);
    empty(&db);
    db
}

fn empty(db: &Db) {
    let mut batch = WriteBatch::new();
    (0..DEAD).for_each(|n| batch.put(key(n), "there"));
    db.write(&batch).expect("writes");
    batch.clear();
    (1..DEAD - 1).for_each(|n| batch.delete(key(n)));
    // So it is for scans to note the gap, and not for whoever deletes.
    db.write_async(&batch).expect("is taken").wait().expect("deletes");
}

/// Keys that a scan of everything finds, and how many entries it steps over.
fn scan(db: &Db) -> (Vec<Vec<u8>>, u64) {
    let before = db.metrics().entries_passed;
    let keys = db.iter().map(|entry| entry.expect("reads").0.to_vec()).collect();
    (keys, db.metrics().entries_passed - before)
}

#[track_caller]
fn check_scan(db: &Db, expected: &[u32]) {
    let (found, passed) = scan(db);
    assert_eq!(found, expected.iter().map(|n| key(*n)).collect::<Vec<_>>());
    assert!(passed <= FEW, "{passed} entries were stepped over");
}

#[test]
fn the_second_scan_goes_on_behind_what_the_first_found_dead() {
    let db = emptied(&SimFs::new(1));
    let (found, passed) = scan(&db);
    assert_eq!(found, [key(0), key(DEAD - 1)]);
    assert!(passed >= u64::from(DEAD), "{passed} entries were stepped over");
    check_scan(&db, &[0, DEAD - 1]);
    // From within, and after everything has gone from one place to another.
    let from_within =
        db.scan(Scan::range(key(400)..)).map(|entry| entry.expect("reads").0.to_vec());
    assert_eq!(from_within.collect::<Vec<_>>(), [key(DEAD - 1)]);
    db.flush().expect("flushes");
    check_scan(&db, &[0, DEAD - 1]);
}

#[test]
fn a_put_into_a_gap_is_seen_and_both_sides_of_it_stay_gaps() {
    let db = emptied(&SimFs::new(2));
    scan(&db);
    db.put(key(500), "again").expect("writes");
    check_scan(&db, &[0, 500, DEAD - 1]);
    db.delete(key(500)).expect("deletes");
    check_scan(&db, &[0, DEAD - 1]);
}

/// A way to give `key(500)` a value.
type BringIn = fn(&Db);

#[test]
fn whatever_brings_a_value_into_a_gap_ends_it_there() {
    let operands = KeyspaceOptions {
        merge_operator: Some(Operator::new(Append)),
        ..KeyspaceOptions::default()
    };
    let ways: [(&str, BringIn); 5] = [
        ("a batch", |db| {
            let mut batch = WriteBatch::new();
            batch.delete(key(499));
            batch.put(key(500), "v");
            db.write(&batch).expect("writes");
        }),
        ("a value that expires", |db| {
            db.put_ttl(key(500), "v", Duration::from_secs(1000)).expect("writes");
        }),
        ("a transaction", |db| {
            let tx = db.transaction();
            tx.put(key(500), "v");
            tx.commit().expect("commits");
        }),
        ("an operand", |db| db.merge(key(500), "v").expect("merges")),
        ("tables", |db| {
            let brought = db.default_keyspace().ingest([(key(500), "v")]);
            assert_eq!(brought.expect("brings in").entries, 1);
        }),
    ];
    for (name, bring_in) in ways {
        let fs = SimFs::new(3);
        let options = Options { keyspace: operands.clone(), ..tiny_options(&fs) };
        let db = Db::open_with("db", options).expect("opens");
        empty(&db);
        scan(&db);
        bring_in(&db);
        assert_eq!(scan(&db).0, [key(0), key(500), key(DEAD - 1)], "{name}");
    }
}

#[test]
fn a_transaction_sees_its_own_put_in_a_gap() {
    let db = emptied(&SimFs::new(4));
    scan(&db);
    let tx = db.transaction();
    tx.put(key(500), "own");
    let keys = tx.iter().map(|entry| entry.expect("reads").0.to_vec());
    assert_eq!(keys.collect::<Vec<_>>(), [key(0), key(500), key(DEAD - 1)]);
}

#[test]
fn a_snapshot_sees_what_has_died_since() {
    let db = open(&SimFs::new(5));
    let mut batch = WriteBatch::new();
    (0..DEAD).for_each(|n| batch.put(key(n), "there"));
    db.write(&batch).expect("writes");
    batch.clear();
    // Dead for the snapshot too: it gets to where the gap begins.
    (0..DEAD / 2).for_each(|n| batch.delete(key(n)));
    db.write(&batch).expect("deletes");
    let before = db.snapshot();
    batch.clear();
    (DEAD / 2..DEAD).for_each(|n| batch.delete(key(n)));
    db.write(&batch).expect("deletes");
    check_contents_twice(&db, 0);
    check_contents_twice(&before, DEAD as usize / 2);
    check_contents_twice(&db.snapshot(), 0);
}

#[track_caller]
fn check_contents_twice(reads: &impl Reads, expected: usize) {
    assert_eq!((content(reads).len(), content(reads).len()), (expected, expected));
}

#[test]
fn a_write_under_way_when_nothing_was_found_is_seen_once_it_is_visible() {
    let db = emptied(&SimFs::new(6));
    let mut batch = WriteBatch::new();
    batch.put(key(500), "under way");
    let ticket = db.write_async(&batch).expect("is taken");
    for _ in 0..3 {
        assert_eq!(scan(&db).0, [key(0), key(DEAD - 1)]);
    }
    ticket.wait().expect("is on disk");
    assert_eq!(scan(&db).0, [key(0), key(500), key(DEAD - 1)]);
}

#[test]
fn what_is_only_suspected_ends_with_a_write_and_is_known_once_it_is_found_again() {
    let db = emptied(&SimFs::new(7));
    let mut batch = WriteBatch::new();
    batch.put(key(DEAD), "behind");
    let ticket = db.write_async(&batch).expect("is taken");
    scan(&db);
    ticket.wait().expect("is on disk");
    // Found again, while another write is under way.
    batch.clear();
    batch.put(key(DEAD + 1), "behind");
    let ticket = db.write_async(&batch).expect("is taken");
    scan(&db);
    ticket.wait().expect("is on disk");
    check_scan(&db, &[0, DEAD - 1, DEAD, DEAD + 1]);
}

#[test]
fn what_expires_is_dead_only_for_who_reads_later() {
    let fs = SimFs::new(8);
    let clock = Arc::new(AtomicU64::new(1_000_000));
    let told = Arc::clone(&clock);
    let options = tiny_options(&fs);
    let env = Env { clock: Arc::new(move || told.load(Ordering::Relaxed)), ..options.env };
    let db = Db::open_with("db", Options { env, ..options }).expect("opens");
    for n in 0..DEAD {
        db.put_ttl(key(n), "for a while", Duration::from_secs(10)).expect("writes");
    }
    // Dead for everybody: whoever reads gets to where the gap begins.
    (0..DEAD / 2).for_each(|n| db.delete(key(n)).expect("deletes"));
    let before = db.snapshot();
    clock.fetch_add(20_000, Ordering::Relaxed);
    check_contents_twice(&db, 0);
    check_contents_twice(&before, DEAD as usize / 2);
}

#[test]
fn scans_agree_with_a_map_whatever_is_put_and_deleted_between_them() {
    for seed in 0..20 {
        let mut rng = Rng(seed);
        let db = open(&SimFs::new(seed));
        let mut map = BTreeMap::new();
        let mut under_way = Vec::new();
        let mut snapshots = Vec::new();
        for n in 0..400_u32 {
            let first = u32::try_from(rng.below(300)).expect("is small");
            let mut batch = WriteBatch::new();
            match rng.below(6) {
                0 => (first..first + 60).for_each(|n| batch.delete(key(n))),
                1 => batch.put(key(first), n.to_string()),
                2 if n % 7 == 0 => (first..first + 60).for_each(|n| batch.put(key(n), "many")),
                3 => snapshots.push((db.snapshot(), content(&db))),
                4 => under_way.clear(),
                _ => {}
            }
            if snapshots.len() > 3 {
                snapshots.remove(0);
            }
            let is_async = rng.below(3) == 0;
            if !batch.is_empty() && is_async {
                under_way.push(db.write_async(&batch).expect("is taken"));
            } else {
                db.write(&batch).expect("writes");
            }
            // What is visible is known without the scan under test: one key after the other.
            map.clear();
            for n in 0..360 {
                if let Some(value) = db.get(key(n)).expect("reads") {
                    map.insert(key(n), value.to_vec());
                }
            }
            assert_eq!(content(&db), map, "seed {seed}, step {n}");
            for (snapshot, expected) in &snapshots {
                assert_eq!(content(snapshot), *expected, "seed {seed}, step {n}, a snapshot");
            }
        }
    }
}

#[test]
fn a_put_that_was_acknowledged_is_in_every_scan_that_begins_after_it() {
    let fs = SimFs::new(9);
    let db = Db::open_with("db", threaded(&fs)).expect("opens");
    empty(&db);
    let (is_over, put) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut rng = Rng(9);
            for round in 1..100 {
                let n = u32::try_from(1 + rng.below(u64::from(DEAD) - 2)).expect("is small");
                db.put(key(n), "now").expect("writes");
                put.store(u64::from(n) << 32 | round << 1, Ordering::SeqCst);
                std::thread::yield_now();
                put.store(0, Ordering::SeqCst);
                // Nobody may count on it from here on.
                db.delete(key(n)).expect("deletes");
            }
            is_over.store(true, Ordering::SeqCst);
        });
        for _ in 0..2 {
            scope.spawn(|| {
                while !is_over.load(Ordering::SeqCst) {
                    let before = put.load(Ordering::SeqCst);
                    let (found, _) = scan(&db);
                    // It was there all the time of the scan if it was so before and after.
                    if before != 0 && put.load(Ordering::SeqCst) == before {
                        let expected = key(u32::try_from(before >> 32).expect("is small"));
                        assert!(found.contains(&expected), "{before:x} is not in {found:?}");
                    }
                }
            });
        }
    });
}
