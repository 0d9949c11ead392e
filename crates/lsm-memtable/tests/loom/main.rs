//! One writer and readers beside it, in every interleaving and with every value that a load may
//! return: what is seen is whole. `cargo xtask loom --package lsm-memtable` runs it.
//!
//! The writer is always the thread that loom runs first: loom looks for another order where a load
//! comes after a store, but a load that the storing thread repeats hides the reader's from it.
#![cfg(loom)]

use std::sync::Arc;

use loom::sync::atomic::{AtomicU64, Ordering};
use loom::thread::{self, JoinHandle};
use lsm_entry::{Cursor, Entry, MAX_SEQ_NO, SeqNo, Tag, key_hash};
use lsm_memtable::modelled::explore;
use lsm_memtable::{Memtable, MemtableOptions};

fn memtable() -> Arc<Memtable> {
    Arc::new(Memtable::new(MemtableOptions { capacity_bytes: 256, hash_seed: 0 }))
}

fn insert(memtable: &Memtable, key: &[u8], seq_no: SeqNo) {
    memtable.writer().insert(Entry::put(key, seq_no, &seq_no.to_le_bytes()), key_hash(key));
}

/// A thread that looks at the memtable.
fn beside(memtable: &Arc<Memtable>, look: impl FnOnce(&Arc<Memtable>) + 'static) -> JoinHandle<()> {
    let memtable = Arc::clone(memtable);
    thread::spawn(move || look(&memtable))
}

/// The newest version of `key` up to `seq_no`, which must be whole.
#[track_caller]
fn get(memtable: &Memtable, key: &[u8], seq_no: SeqNo) -> Option<SeqNo> {
    let entry = memtable.get(key, key_hash(key), seq_no)?;
    assert_eq!((entry.key, entry.value), (key, &entry.seq_no.to_le_bytes()[..]));
    Some(entry.seq_no)
}

/// All entries in order, each of which must be whole.
#[track_caller]
fn walk(memtable: &Arc<Memtable>) -> Vec<(Vec<u8>, SeqNo)> {
    let mut cursor = memtable.cursor();
    let Ok(()) = cursor.seek_first();
    let mut found = Vec::new();
    while let Some(entry) = cursor.entry() {
        assert_eq!(entry.value, entry.seq_no.to_le_bytes());
        found.push((entry.key.to_vec(), entry.seq_no));
        let Ok(()) = cursor.next();
    }
    assert!(found.is_sorted_by(|(one, old), (next, new)| (one, new) < (next, old)), "{found:?}");
    found
}

#[test]
fn a_point_read_beside_the_writer_sees_whole_versions_that_never_go_back() {
    explore("point reads", None, || {
        let memtable = memtable();
        let reader = beside(&memtable, |memtable| {
            let first = get(memtable, b"k", MAX_SEQ_NO);
            let older = get(memtable, b"k", 1);
            assert!(older.is_some() >= first.is_some(), "the oldest version is still there");
            assert!(get(memtable, b"k", MAX_SEQ_NO) >= first);
        });
        (1..=3).for_each(|seq_no| insert(&memtable, b"k", seq_no));
        reader.join().unwrap();
        assert_eq!(get(&memtable, b"k", MAX_SEQ_NO), Some(3));
    });
}

#[test]
fn a_key_that_gets_its_slot_is_seen_whole_or_not_at_all() {
    explore("new keys", None, || {
        let memtable = memtable();
        let reader = beside(&memtable, |memtable| {
            // Read in the other order, so that seeing the second obliges to see the first.
            let second = get(memtable, b"b", MAX_SEQ_NO);
            let first = get(memtable, b"a", MAX_SEQ_NO);
            assert!(second.is_none() || first == Some(1));
        });
        insert(&memtable, b"a", 1);
        insert(&memtable, b"b", 2);
        reader.join().unwrap();
    });
}

#[test]
fn a_cursor_made_beside_the_writer_sees_what_a_point_read_saw() {
    explore("cursors", Some(3), || {
        let memtable = memtable();
        // A tail has one slot here, and the third, before which nobody has walked, two.
        insert(&memtable, b"b", 1);
        let reader = beside(&memtable, |memtable| {
            let seen = get(memtable, b"b", MAX_SEQ_NO);
            let found = walk(memtable);
            let newest = found.iter().filter(|(key, _)| key == b"b").map(|(_, seq_no)| *seq_no);
            assert!(newest.max() >= seen, "a read saw {seen:?}, the cursor after it {found:?}");
        });
        insert(&memtable, b"a", 2);
        insert(&memtable, b"b", 3);
        reader.join().unwrap();
        assert_eq!(walk(&memtable).len(), 3);
    });
}

#[test]
fn walks_that_sort_a_long_tail_at_once_see_it_whole() {
    explore("long tails", Some(3), || {
        let memtable = memtable();
        // The third has a tail with room for two, which nobody has walked over.
        (1..).zip([b"c", b"a", b"b"]).for_each(|(seq_no, key)| insert(&memtable, key, seq_no));
        let reader = beside(&memtable, |memtable| {
            let (first, second) = (walk(memtable), walk(memtable));
            assert!(first.len() >= 3 && second.len() >= first.len(), "{first:?}, {second:?}");
        });
        assert_eq!(walk(&memtable).len(), 3);
        insert(&memtable, b"b", 4);
        assert_eq!(walk(&memtable).len(), 4);
        reader.join().unwrap();
    });
}

#[test]
fn what_is_published_by_a_sequence_number_is_found_by_every_way() {
    explore("publication", Some(3), || {
        let memtable = memtable();
        let visible = Arc::new(AtomicU64::new(0));
        let published = Arc::clone(&visible);
        let reader = beside(&memtable, move |memtable| {
            let seen = published.load(Ordering::Acquire);
            assert_eq!(get(memtable, b"a", seen).is_some(), seen >= 1);
            assert_eq!(get(memtable, b"b", seen).is_some(), seen >= 2);
            let walked = walk(memtable);
            let below = walked.iter().filter(|(_, seq_no)| *seq_no <= seen);
            assert_eq!(below.count() as u64, seen);
            let range = memtable.seq_no_range();
            assert!(seen == 0 || range.is_some_and(|(first, last)| first == 1 && last >= seen));
        });
        for (seq_no, key) in (1..).zip([b"a", b"b"]) {
            insert(&memtable, key, seq_no);
            visible.store(seq_no, Ordering::Release);
        }
        reader.join().unwrap();
    });
}

#[test]
fn a_range_delete_is_seen_with_the_number_that_publishes_it() {
    explore("range deletes", Some(3), || {
        let memtable = memtable();
        insert(&memtable, b"b", 1);
        let visible = Arc::new(AtomicU64::new(1));
        let published = Arc::clone(&visible);
        let reader = beside(&memtable, move |memtable| {
            let seen = published.load(Ordering::Acquire);
            assert_eq!(memtable.cover(b"b", seen), if seen >= 2 { 2 } else { 0 });
            let fragments = memtable.range_deletes();
            let hides_all = fragments.is_some_and(|fragments| {
                fragments.find(b"b").is_some_and(|fragment| fragment.hides_all(seen))
            });
            assert!(!hides_all || seen == 2, "what came after the range delete was passed over");
        });
        let tag = Tag::RANGE_DELETE;
        memtable.writer().insert(Entry { key: b"a", seq_no: 2, tag, value: b"c" }, key_hash(b"a"));
        visible.store(2, Ordering::Release);
        insert(&memtable, b"b", 3);
        visible.store(3, Ordering::Release);
        reader.join().unwrap();
    });
}

#[test]
fn a_memtable_that_is_not_empty_tells_its_range() {
    explore("range", None, || {
        let memtable = memtable();
        let reader = beside(&memtable, |memtable| {
            assert!(memtable.seq_no_range().is_none_or(|(first, last)| first == 1 && last <= 2));
        });
        insert(&memtable, b"a", 1);
        insert(&memtable, b"b", 2);
        reader.join().unwrap();
    });
}

#[test]
fn freezing_and_organizing_beside_readers_lose_nothing() {
    explore("freezing", Some(3), || {
        let memtable = memtable();
        for (seq_no, key) in (1..).zip([b"c", b"a", b"b"]) {
            insert(&memtable, key, seq_no);
        }
        let reader = beside(&memtable, |memtable| {
            assert_eq!(walk(memtable).len(), 3);
            assert_eq!(get(memtable, b"a", MAX_SEQ_NO), Some(2));
        });
        memtable.freeze();
        while memtable.organize() {}
        reader.join().unwrap();
        assert_eq!(walk(&memtable).len(), 3);
    });
}
