//! One writer, readers beside it, and somebody who organizes: whoever has seen a sequence number
//! published sees every entry up to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lsm_entry::{Cursor, Entry, MAX_SEQ_NO, SeqNo, key_hash};
use lsm_memtable::Memtable;

use crate::support::{Rng, memtable};

/// Keys take turns: with the sequence number `s`, key number `s % KEYS` is written.
const KEYS: SeqNo = 30_011;
const WRITES: SeqNo = 330_000;

/// In scattered order of numbers, so that neighbours in time are none in order.
fn key(number: SeqNo) -> Vec<u8> {
    format!("key/{:08x}", scatter(number)).into_bytes()
}

fn scatter(number: SeqNo) -> u32 {
    // An odd factor: no two numbers meet.
    (number as u32).wrapping_mul(0x9E37_79B1)
}

/// The newest version of a key up to a sequence number, if there is one.
fn newest(number: SeqNo, seq_no: SeqNo) -> Option<SeqNo> {
    let newest = seq_no.checked_sub((seq_no + KEYS - number) % KEYS)?;
    (newest > 0).then_some(newest)
}

/// The numbers of all keys in the order of the keys.
fn numbers_in_order() -> Vec<SeqNo> {
    let mut numbers: Vec<SeqNo> = (0..KEYS).collect();
    numbers.sort_by_key(|number| scatter(*number));
    numbers
}

fn write(memtable: &Memtable, published: &AtomicU64) {
    let mut writer = memtable.writer();
    for seq_no in 1..=WRITES {
        let key = key(seq_no % KEYS);
        writer.insert(Entry::put(&key, seq_no, &seq_no.to_le_bytes()), key_hash(&key));
        published.store(seq_no, Ordering::Release);
    }
}

/// Reads single keys until everything is written.
fn read_points(memtable: &Memtable, published: &AtomicU64) {
    let mut rng = Rng(1);
    loop {
        let seen = published.load(Ordering::Acquire);
        for _ in 0..20 {
            let number = rng.next() % KEYS;
            // As of now, or as of some moment before.
            let seq_no = if rng.below(2) == 0 { seen } else { rng.next() % (seen + 1) };
            let key = key(number);
            let found = memtable.get(&key, key_hash(&key), seq_no);
            assert_eq!(found.map(|entry| entry.seq_no), newest(number, seq_no));
            if let Some(entry) = found {
                assert_eq!((entry.key, entry.value), (&key[..], &entry.seq_no.to_le_bytes()[..]));
            }
        }
        if seen == WRITES {
            break;
        }
    }
}

/// Walks over some neighbouring keys with a new cursor each time, until everything is written.
fn read_ranges(memtable: &Arc<Memtable>, published: &AtomicU64) {
    let numbers = numbers_in_order();
    let mut rng = Rng(2);
    loop {
        let seen = published.load(Ordering::Acquire);
        let mut cursor = memtable.cursor();
        let start = rng.below(numbers.len() - 20);
        let Ok(()) = cursor.seek(&key(numbers[start]), MAX_SEQ_NO);
        for number in &numbers[start..start + 20] {
            let mut expected = newest(*number, seen);
            let key = key(*number);
            while let Some(entry) = cursor.entry().filter(|entry| entry.key == key) {
                // What came since is seen or not; what was there is, to the last version.
                if entry.seq_no <= seen {
                    assert_eq!(Some(entry.seq_no), expected);
                    assert_eq!(entry.value, entry.seq_no.to_le_bytes());
                    expected = entry.seq_no.checked_sub(KEYS).filter(|seq_no| *seq_no > 0);
                }
                let Ok(()) = cursor.next();
            }
            assert_eq!(expected, None, "a version of key {number} was not seen at {seen}");
        }
        if seen == WRITES {
            break;
        }
    }
}

#[test]
fn readers_see_all_that_was_published_before_they_began() {
    let memtable = memtable(64 << 20);
    let published = AtomicU64::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| write(&memtable, &published));
        scope.spawn(|| read_points(&memtable, &published));
        scope.spawn(|| read_ranges(&memtable, &published));
        scope.spawn(|| {
            while published.load(Ordering::Acquire) < WRITES {
                memtable.organize();
                std::thread::yield_now();
            }
            memtable.freeze();
            while memtable.organize() {}
        });
    });
    // And at rest everything is there, once.
    let mut cursor = memtable.cursor();
    let Ok(()) = cursor.seek_first();
    let mut count = 0;
    for number in numbers_in_order() {
        let mut expected = newest(number, WRITES);
        while let Some(seq_no) = expected {
            assert_eq!(cursor.entry().map(|entry| entry.seq_no), Some(seq_no));
            expected = seq_no.checked_sub(KEYS).filter(|seq_no| *seq_no > 0);
            let Ok(()) = cursor.next();
            count += 1;
        }
    }
    assert_eq!((count, cursor.entry()), (WRITES, None));
}

#[test]
fn what_a_point_read_saw_is_seen_by_cursors_made_afterwards() {
    const WRITES: SeqNo = 200_000;
    let memtable = memtable(64 << 20);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut writer = memtable.writer();
            (1..=WRITES)
                .for_each(|seq_no| writer.insert(Entry::delete(b"k", seq_no), key_hash(b"k")));
        });
        scope.spawn(|| {
            let newest =
                || memtable.get(b"k", key_hash(b"k"), MAX_SEQ_NO).map(|entry| entry.seq_no);
            loop {
                // Nobody published it: it is seen as soon as it is there.
                let seen = newest();
                let mut cursor = memtable.cursor();
                let Ok(()) = cursor.seek_first();
                assert!(cursor.entry().map(|entry| entry.seq_no) >= seen);
                if seen == Some(WRITES) {
                    break;
                }
            }
        });
    });
}

#[test]
fn cursors_and_what_they_borrow_outlive_the_memtable() {
    let memtable = memtable(1 << 20);
    memtable.writer().insert(Entry::put(b"k", 1, b"v"), key_hash(b"k"));
    let mut cursor = memtable.cursor();
    drop(memtable);
    let Ok(()) = cursor.seek_first();
    let reader = std::thread::spawn(move || cursor.entry().map(|entry| entry.value.to_vec()));
    assert_eq!(reader.join().expect("reads"), Some(b"v".to_vec()));
}
