//! Room: what `has_room` promises is kept to the last byte, and what it refuses is refused.

use lsm_entry::{Entry, key_hash};

use crate::support::{Rng, memtable};

/// How long values are.
type Lengths = fn(&mut Rng) -> usize;

const LENGTHS: [(&str, Lengths); 5] = [
    ("none", |_| 0),
    ("short", |rng| rng.below(8)),
    ("usual", |rng| rng.below(300)),
    ("long", |rng| 10_000 + rng.below(60_000)),
    ("all kinds", |rng| {
        let bits = rng.below(18);
        rng.below(1 << bits)
    }),
];

/// Writes batches of `batch` entries with lengths of one kind for as long as there is room for
/// them, then whatever shorter ones still fit. Nothing may panic.
fn fill(capacity_bytes: usize, batch: usize, lengths: Lengths) {
    let memtable = memtable(capacity_bytes);
    let mut rng = Rng(capacity_bytes as u64);
    let mut seq_no = 0;
    let mut shorter = 0;
    while shorter < 20 {
        let entries: Vec<(Vec<u8>, Vec<u8>)> = (0..batch)
            .map(|_| {
                // Some keys are written more than once.
                let length = rng.below(9);
                let key = (rng.next() & 0xFFFF_FFFF).to_le_bytes()[..length].to_vec();
                (key, vec![7; lengths(&mut rng) >> shorter])
            })
            .collect();
        let bytes = entries.iter().map(|(key, value)| key.len() + value.len()).sum();
        if memtable.has_room(batch, bytes) {
            let mut writer = memtable.writer();
            for (key, value) in &entries {
                seq_no += 1;
                writer.insert(Entry::put(key, seq_no, value), key_hash(key));
            }
        } else {
            shorter += 1;
        }
    }
    assert_eq!(memtable.entries() as u64, seq_no);
    assert!(memtable.allocated_bytes() < 3 * capacity_bytes + (16 << 10));
}

#[test]
fn a_memtable_can_be_filled_to_the_brim() {
    for capacity_bytes in [0, 1, 19, 20, 64, 100, 1000, 4096, 5000, 100_000, 3 << 20] {
        for (kind, lengths) in LENGTHS {
            for batch in [1, 7, 100] {
                let outcome = std::panic::catch_unwind(|| fill(capacity_bytes, batch, lengths));
                assert!(outcome.is_ok(), "{capacity_bytes} bytes, batches of {batch}, {kind}");
            }
        }
    }
}

#[test]
fn the_capacity_that_the_documentation_names_suffices() {
    for (entries, value_bytes) in [(1_u64, 0), (1, 1 << 20), (1000, 0), (1000, 100), (50_000, 16)] {
        let value = vec![1; value_bytes];
        let bytes = entries as usize * (8 + value_bytes);
        let memtable = memtable(bytes + 64 * entries as usize);
        assert!(memtable.has_room(entries as usize, bytes), "{entries} entries");
        let mut writer = memtable.writer();
        for number in 0..entries {
            let key = number.to_be_bytes();
            writer.insert(Entry::put(&key, 1, &value), key_hash(&key));
        }
    }
}

#[test]
fn a_quiet_memtable_costs_little() {
    for capacity_bytes in [1 << 20, 64 << 20, 1 << 30] {
        let memtable = memtable(capacity_bytes);
        for number in 0..20_u64 {
            let key = number.to_be_bytes();
            memtable.writer().insert(Entry::put(&key, 1, b"value"), key_hash(&key));
        }
        let bytes = memtable.allocated_bytes();
        assert!(bytes < 16 << 10, "{bytes} bytes of a capacity of {capacity_bytes}");
    }
}

#[test]
fn questions_beyond_all_bounds_are_answered_no() {
    let memtable = memtable(1 << 20);
    assert!(memtable.has_room(0, 0));
    assert!(!memtable.has_room(usize::MAX, 0));
    assert!(!memtable.has_room(0, usize::MAX));
    assert!(!memtable.has_room(usize::MAX, usize::MAX));
}

#[test]
#[should_panic = "asked has_room"]
fn an_insertion_without_room_panics() {
    memtable(100).writer().insert(Entry::put(b"", 1, &[0; 101]), key_hash(b""));
}

#[test]
fn a_frozen_memtable_has_no_room() {
    let memtable = memtable(1 << 20);
    memtable.writer().insert(Entry::put(b"k", 1, b"v"), key_hash(b"k"));
    memtable.freeze();
    assert!(!memtable.has_room(1, 0));
    memtable.freeze(); // Once more changes nothing.
    assert_eq!(memtable.get(b"k", key_hash(b"k"), 1), Some(Entry::put(b"k", 1, b"v")));
}

#[test]
#[should_panic = "asked has_room"]
fn an_insertion_into_a_frozen_memtable_panics() {
    let memtable = memtable(1 << 20);
    memtable.freeze();
    memtable.writer().insert(Entry::put(b"k", 1, b"v"), key_hash(b"k"));
}

#[test]
#[should_panic = "one writer at a time"]
fn a_second_writer_panics() {
    let memtable = memtable(1 << 20);
    let _first = memtable.writer();
    let _second = memtable.writer();
}

#[test]
fn a_writer_may_follow_another() {
    let memtable = memtable(1 << 20);
    drop(memtable.writer());
    memtable.writer().insert(Entry::put(b"k", 1, b"v"), key_hash(b"k"));
    assert_eq!(memtable.entries(), 1);
}

#[test]
fn freezing_waits_for_the_writer() {
    let memtable = memtable(1 << 20);
    let mut writer = memtable.writer();
    std::thread::scope(|scope| {
        scope.spawn(|| memtable.freeze());
        for seq_no in 1..=1000 {
            // Were the memtable frozen in between, this would panic.
            writer.insert(Entry::put(b"k", seq_no, b"v"), key_hash(b"k"));
        }
        drop(writer);
    });
    assert!(!memtable.has_room(1, 0));
    assert_eq!(memtable.entries(), 1000);
}
