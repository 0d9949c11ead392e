//! What memtables leave to the next is memory, and nothing that was in it.

use std::sync::Arc;

use lsm_entry::{Cursor, Entry, MAX_SEQ_NO, SeqNo, key_hash};
use lsm_memtable::{Memtable, SpareMemory};

use crate::support::{Rng, options};

const CAPACITY_BYTES: usize = 4 << 20;

fn key(generation: u64, number: u64) -> Vec<u8> {
    [generation.to_be_bytes(), Rng(number).next().to_be_bytes()].concat()
}

/// A memtable of so many keys of a generation.
fn filled(spare: &Arc<SpareMemory>, generation: u64, keys: u64) -> Arc<Memtable> {
    let memtable = Arc::new(Memtable::with_spare(options(CAPACITY_BYTES), spare));
    for number in 0..keys {
        let key = key(generation, number);
        let value = vec![generation as u8; 20 + number as usize % 50];
        memtable.writer().insert(Entry::put(&key, number as SeqNo + 1, &value), key_hash(&key));
    }
    memtable
}

#[test]
fn a_memtable_that_lives_from_what_others_left_holds_its_own_entries_alone() {
    const KEYS: u64 = 30_000;
    let spare = SpareMemory::new(CAPACITY_BYTES * 2);
    for generation in 0..4 {
        let left = spare.bytes();
        let memtable = filled(&spare, generation, KEYS - generation * 1000);
        assert_eq!(left > 1 << 20, generation > 0, "{left} bytes were left");
        assert!(spare.bytes() <= left / 4, "of {left} bytes {} are not used", spare.bytes());
        for number in 0..KEYS {
            let own = key(generation, number);
            let found = memtable.get(&own, key_hash(&own), MAX_SEQ_NO).map(|entry| entry.seq_no);
            let is_there = number < KEYS - generation * 1000;
            assert_eq!(found, is_there.then_some(number + 1), "of generation {generation}");
            let before = key(generation.wrapping_sub(1), number);
            let found = memtable.get(&before, key_hash(&before), MAX_SEQ_NO);
            assert_eq!(found.map(|entry| entry.seq_no), None, "of the generation before");
        }
        let mut cursor = memtable.cursor();
        let Ok(()) = cursor.seek_first();
        let mut walked = 0;
        while let Some(entry) = cursor.entry() {
            assert!(entry.value.iter().all(|byte| *byte == generation as u8));
            walked += 1;
            let Ok(()) = cursor.next();
        }
        assert_eq!(walked, KEYS - generation * 1000);
    }
}

#[test]
fn no_more_is_kept_than_is_allowed() {
    let spare = SpareMemory::new(300 << 10);
    drop(filled(&spare, 0, 30_000));
    assert!(spare.bytes() > 0 && spare.bytes() <= 300 << 10, "{} bytes", spare.bytes());
    spare.release();
    assert_eq!(spare.bytes(), 0);
}

#[test]
fn what_is_made_ready_is_what_the_writer_takes_next() {
    // Chunks of 1 MiB, and an index that ends with a segment of 2.
    const CAPACITY_BYTES: usize = 16 << 20;
    let spare = SpareMemory::new(CAPACITY_BYTES);
    let memtable = Arc::new(Memtable::with_spare(options(CAPACITY_BYTES), &spare));
    let (mut shortages, mut number) = (0, 0);
    while memtable.has_room(1, 116) {
        let key = key(0, number);
        memtable.writer().insert(Entry::put(&key, number + 1, &[7; 100]), key_hash(&key));
        number += 1;
        if spare.take_shortage() {
            assert!(!spare.take_shortage(), "told once");
            shortages += 1;
            let before = spare.bytes();
            let is_any_made = memtable.prepare_entries() | memtable.prepare_index();
            assert_eq!(spare.bytes() > before, is_any_made);
            assert!(!memtable.prepare_entries() && !memtable.prepare_index(), "one is enough");
        }
    }
    assert!((10..30).contains(&shortages), "{shortages} long pieces of memory");
    assert!((1 << 20..6 << 20).contains(&spare.bytes()), "{} bytes are left over", spare.bytes());
    for number in 0..number {
        let key = key(0, number);
        assert!(memtable.get(&key, key_hash(&key), MAX_SEQ_NO).is_some());
    }
}

#[test]
fn nothing_is_made_ready_where_nothing_may_be_kept() {
    let spare = SpareMemory::new(0);
    let memtable = filled(&spare, 0, 10_000);
    assert!(!memtable.prepare_entries() && !memtable.prepare_index());
    assert_eq!(spare.bytes(), 0);
}
