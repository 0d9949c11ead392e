//! Entries that nobody has walked over yet: the first walk finds them in order, whenever it comes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lsm_entry::{Cursor, Entry, MAX_SEQ_NO, SeqNo, key_hash};
use lsm_memtable::Memtable;

use crate::model::Keys;
use crate::support::{Rng, memtable};

/// Entries by their keys, the newest version of each key first.
type Model = BTreeMap<(Vec<u8>, SeqNo), Vec<u8>>;

struct Late {
    memtable: Arc<Memtable>,
    model: Model,
    rng: Rng,
    keys: Keys,
}

impl Late {
    fn insert(&mut self, count: usize) {
        for _ in 0..count {
            let seq_no = self.model.len() as SeqNo + 1;
            let (key, value) = (self.keys.draw(&mut self.rng), seq_no.to_le_bytes().to_vec());
            self.memtable.writer().insert(Entry::put(&key, seq_no, &value), key_hash(&key));
            self.model.insert((key, MAX_SEQ_NO - seq_no), value);
        }
    }

    #[track_caller]
    fn check_walk(&self) {
        let mut cursor = self.memtable.cursor();
        let Ok(()) = cursor.seek_first();
        for ((key, age), value) in &self.model {
            let expected = Entry::put(key, MAX_SEQ_NO - age, value);
            assert_eq!(cursor.entry(), Some(expected), "of {} entries", self.model.len());
            let Ok(()) = cursor.next();
        }
        assert_eq!(cursor.entry(), None);
    }
}

#[test]
fn the_first_walk_finds_everything_in_order_and_so_does_every_later_one() {
    for (seed, keys) in (0..).zip(Keys::ALL) {
        for before in [0, 1, 15, 16, 17, 31, 32, 33, 63, 64, 65, 1000, 16_384, 40_000] {
            let (memtable, model, rng) = (memtable(16 << 20), Model::new(), Rng(seed));
            let mut late = Late { memtable, model, rng, keys };
            late.insert(before);
            late.check_walk();
            for more in [0, 1, 1, 15, 16, 17, 300] {
                late.insert(more);
                late.check_walk();
            }
            late.memtable.freeze();
            late.check_walk();
            while late.memtable.organize() {}
            late.check_walk();
        }
    }
}

#[test]
fn an_old_version_is_found_among_many_that_nobody_has_walked_over() {
    let memtable = memtable(8 << 20);
    let (key, hash) = (b"k", key_hash(b"k"));
    for seq_no in 1..=5000 {
        memtable.writer().insert(Entry::put(key, seq_no, &seq_no.to_le_bytes()), hash);
        let other = seq_no.to_be_bytes();
        memtable.writer().insert(Entry::put(&other, seq_no, b""), key_hash(&other));
    }
    for seq_no in [1, 2, 17, 1000, 4983, 4984, 5000] {
        let expected = Entry::put(key, seq_no, &seq_no.to_le_bytes()).seq_no;
        let found = memtable.get(key, hash, seq_no).map(|entry| entry.seq_no);
        assert_eq!(found, Some(expected));
    }
    assert_eq!(memtable.get(key, hash, 0), None);
}

#[test]
fn walks_that_begin_beside_the_writer_see_all_that_was_published() {
    const WRITES: u64 = 200_000;
    let memtable = memtable(64 << 20);
    let visible = AtomicU64::new(0);
    let key = |number: u64| number.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes();
    std::thread::scope(|scope| {
        for reader in 0..2_u64 {
            let (memtable, visible) = (&memtable, &visible);
            scope.spawn(move || {
                // Not before a tail is long.
                for from in [3_000 + reader, 40_000, 41_000, WRITES] {
                    while visible.load(Ordering::Acquire) < from {
                        std::thread::yield_now();
                    }
                    let seen = visible.load(Ordering::Acquire);
                    let mut cursor = memtable.cursor();
                    let Ok(()) = cursor.seek_first();
                    let (mut found, mut last) = (0, None);
                    while let Some(entry) = cursor.entry() {
                        assert_eq!(entry.key, key(entry.seq_no));
                        assert!(last < Some(entry.key.to_vec()), "in order, and once");
                        found += u64::from(entry.seq_no <= seen);
                        last = Some(entry.key.to_vec());
                        let Ok(()) = cursor.next();
                    }
                    assert_eq!(found, seen);
                }
            });
        }
        for seq_no in 1..=WRITES {
            let key = key(seq_no);
            memtable.writer().insert(Entry::put(&key, seq_no, b"v"), key_hash(&key));
            visible.store(seq_no, Ordering::Release);
        }
    });
}
