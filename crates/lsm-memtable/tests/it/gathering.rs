//! What is gathered and sorted all at once is what is sorted as it comes.

use std::sync::Arc;

use lsm_entry::{Cursor, Entry, SeqNo, key_hash};
use lsm_memtable::{Memtable, MemtableCursor};

use crate::model::Keys;
use crate::support::{Rng, memtable, options};

type Owned = (Vec<u8>, SeqNo, Vec<u8>);

fn here(cursor: &MemtableCursor) -> Option<Owned> {
    cursor.entry().map(|entry| (entry.key.to_vec(), entry.seq_no, entry.value.to_vec()))
}

fn check_gathered(seed: u64, keys: Keys, entries: usize) {
    let mut rng = Rng(seed);
    let sorted = memtable(8 << 20);
    let gathered = Arc::new(Memtable::gathering(options(8 << 20)));
    for seq_no in 1..=entries as SeqNo {
        let (key, value) = (keys.draw(&mut rng), vec![seq_no as u8; rng.below(30)]);
        for memtable in [&sorted, &gathered] {
            let entry = Entry::put(&key, seq_no, &value);
            memtable.writer().insert(entry, key_hash(&key));
        }
    }
    for memtable in [&sorted, &gathered] {
        memtable.freeze();
        while memtable.organize() {}
    }
    assert_eq!(gathered.entries(), sorted.entries());
    assert_eq!(gathered.seq_no_range(), sorted.seq_no_range());
    let (mut one, mut other) = (sorted.cursor(), gathered.cursor());
    let Ok(()) = one.seek_first();
    let Ok(()) = other.seek_first();
    for _ in 0..=entries {
        assert_eq!(here(&other), here(&one));
        if one.entry().is_some() {
            let Ok(()) = one.next();
            let Ok(()) = other.next();
        }
    }
    for _ in 0..100 {
        let (key, seq_no) = (keys.draw(&mut rng), rng.below(entries + 2) as SeqNo);
        let Ok(()) = one.seek(&key, seq_no);
        let Ok(()) = other.seek(&key, seq_no);
        assert_eq!(here(&other), here(&one), "at {key:?}, {seq_no}");
    }
}

#[test]
fn what_is_gathered_is_in_the_order_in_which_it_would_have_been_sorted() {
    for seed in 0..12 {
        for keys in Keys::ALL {
            for entries in [0, 1, 2, 500, 3000] {
                check_gathered(seed, keys, entries);
            }
        }
    }
}

#[test]
fn what_is_gathered_counts_what_it_takes() {
    let gathered = Memtable::gathering(options(8 << 20));
    let before = gathered.allocated_bytes();
    for seq_no in 1..=10_000 {
        let key = format!("{seq_no:08}");
        let hash = key_hash(key.as_bytes());
        gathered.writer().insert(Entry::put(key.as_bytes(), seq_no, b""), hash);
    }
    // A position of eight bytes for each, beside its key and its header.
    assert!(gathered.allocated_bytes() - before > 10_000 * (8 + 8));
    gathered.freeze();
    assert!(!gathered.has_room(1, 10), "a frozen memtable takes nothing more");
}
