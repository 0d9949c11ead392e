//! What this machine makes of the crate's claims, beside a lock-free skip list of the same entries.
//!
//! `cargo run --release -p lsm-memtable --example memtable_figures [entries]`
//!
//! 16-byte keys in random order, 100-byte values, one thread. Nanoseconds an operation.

use std::cmp::Reverse;
use std::error::Error;
use std::hint::black_box;
use std::ops::Bound;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_skiplist::SkipMap;
use lsm_entry::{Cursor, Entry, MAX_SEQ_NO, key_hash};
use lsm_memtable::{Memtable, MemtableOptions};

const VALUE: [u8; 100] = [42; 100];
/// Entries of a scan from a random key.
const SCAN_ENTRIES: usize = 50;
/// Length at which a small skip list is replaced by a new one.
const SMALL_LIST_ENTRIES: usize = 4000;

type Key = [u8; 16];
/// A key, and its newest version first.
type InternalKey = (Box<[u8]>, Reverse<u64>);

fn main() -> Result<(), Box<dyn Error>> {
    let count = std::env::args().nth(1).map_or(Ok(500_000), |count| count.parse())?;
    let mut words = Words(1);
    let keys: Vec<Key> = (0..count).map(|_| words.key()).collect();
    let absent: Vec<Key> = (0..count).map(|_| words.key()).collect();
    let probes: Vec<Key> = (0..count).map(|_| keys[words.below(count)]).collect();
    println!("{count} entries");
    measure_memtable("memtable, random keys", &keys, &probes, &absent);
    let mut sorted = keys.clone();
    sorted.sort_unstable();
    measure_memtable("memtable, ascending keys", &sorted, &probes, &absent);
    // Order: the small lists before the large one. What that leaves to the allocator, a million
    // freed blocks, would be sorted on the time of whoever comes next.
    measure_small_skip_lists(&keys, &probes);
    measure_skip_list(&keys, &probes, &absent);
    Ok(())
}

fn measure_memtable(title: &str, keys: &[Key], probes: &[Key], absent: &[Key]) {
    println!("{title}");
    let capacity_bytes = keys.len() * 192 + (64 << 10);
    let memtable =
        Arc::new(Memtable::new(MemtableOptions { capacity_bytes, ..MemtableOptions::default() }));
    let mut slowest = Duration::ZERO;
    let start = Instant::now();
    let mut writer = memtable.writer();
    for (keys, seq_no) in keys.chunks(16).zip((1..).step_by(16)) {
        let start = Instant::now();
        for (key, seq_no) in keys.iter().zip(seq_no..) {
            writer.insert(Entry::put(key, seq_no, &VALUE), key_hash(key));
        }
        slowest = slowest.max(start.elapsed());
    }
    drop(writer);
    print("insert", start, keys.len());
    println!("  {:<34}{slowest:>10.1?}", "slowest 16 insertions");
    let mib = memtable.allocated_bytes() as f64 / f64::from(1 << 20);
    let data_mib = memtable.data_bytes() as f64 / f64::from(1 << 20);
    println!("  {:<34}{mib:>8.1} of {data_mib:.1} MiB of keys and values", "memory");

    let get = |key: &Key| memtable.get(key, key_hash(key), MAX_SEQ_NO).map(|entry| entry.value[0]);
    measure("get, present", probes, |key| assert!(get(key).is_some()));
    measure("get, absent", absent, |key| assert!(get(key).is_none()));
    measure_order("as inserted", &memtable, probes);
    let start = Instant::now();
    while memtable.organize() {}
    print("organize, per entry", start, keys.len());
    measure_order("organized", &memtable, probes);
    memtable.freeze();
    let start = Instant::now();
    while memtable.organize() {}
    print("organize frozen, per entry", start, keys.len());
    measure_order("frozen", &memtable, probes);
    let start = Instant::now();
    drop(memtable);
    print("drop, per entry", start, keys.len());
}

/// What depends on how far the order is organized.
fn measure_order(state: &str, memtable: &Arc<Memtable>, probes: &[Key]) {
    let probes = &probes[..probes.len() / 10];
    measure(&format!("{state}: make a cursor"), probes, |_| {
        black_box(memtable.cursor());
    });
    measure(&format!("{state}: cursor and seek"), probes, |key| {
        let mut cursor = memtable.cursor();
        let Ok(()) = cursor.seek(key, MAX_SEQ_NO);
        assert!(cursor.entry().is_some());
    });
    measure(&format!("{state}: cursor, seek, {SCAN_ENTRIES} entries"), probes, |key| {
        let mut cursor = memtable.cursor();
        let Ok(()) = cursor.seek(key, MAX_SEQ_NO);
        for _ in 0..SCAN_ENTRIES {
            black_box(cursor.entry().map(|entry| entry.value[0]));
            let Ok(()) = cursor.next();
        }
    });
    let mut cursor = memtable.cursor();
    let start = Instant::now();
    let Ok(()) = cursor.seek_first();
    while let Some(entry) = cursor.entry() {
        black_box(entry.value[0]);
        let Ok(()) = cursor.next();
    }
    print(&format!("{state}: next"), start, memtable.entries());
    let start = Instant::now();
    let Ok(()) = cursor.seek_last();
    while let Some(entry) = cursor.entry() {
        black_box(entry.value[0]);
        let Ok(()) = cursor.prev();
    }
    print(&format!("{state}: prev"), start, memtable.entries());
}

/// Order alone, kept by a skip list that is replaced before it outgrows the cache. Its keys are two
/// words and its values none, so it does the least that a skip list can do.
fn measure_small_skip_lists(keys: &[Key], probes: &[Key]) {
    println!("small skip lists of {SMALL_LIST_ENTRIES} entries, order alone");
    let digest = |key: &Key| u64::from_be_bytes(*key.first_chunk().expect("16 bytes"));
    let mut slowest = Duration::ZERO;
    let start = Instant::now();
    let mut list = SkipMap::new();
    let mut pieces: Vec<Vec<(u64, u64)>> = Vec::new();
    for (keys, positions) in keys.chunks(16).zip((1_u64..).step_by(16)) {
        let start = Instant::now();
        for (key, position) in keys.iter().zip(positions..) {
            list.insert((digest(key), position), ());
        }
        if list.len() >= SMALL_LIST_ENTRIES {
            pieces.push(std::mem::take(&mut list).into_iter().map(|(slot, ())| slot).collect());
        }
        slowest = slowest.max(start.elapsed());
    }
    print("insert", start, keys.len());
    println!("  {:<34}{slowest:>10.1?}", "slowest 16 insertions");
    black_box(pieces);

    // What the list adds to a cursor's work when it is half full, beside what pieces add.
    let list: SkipMap<(u64, u64), ()> =
        keys.iter().take(SMALL_LIST_ENTRIES / 2).map(|key| ((digest(key), 0), ())).collect();
    let probes = &probes[..probes.len() / 10];
    measure("seek in a half full list", probes, |key| {
        black_box(list.lower_bound(Bound::Included(&(digest(key), 0))));
    });
    let start = Instant::now();
    for entry in &list {
        black_box(entry.key());
    }
    print("next in a half full list", start, list.len());
    let start = Instant::now();
    for entry in list.iter().rev() {
        black_box(entry.key());
    }
    print("prev in a half full list", start, list.len());
}

/// The usual memtable: one skip list of owned keys and values.
fn measure_skip_list(keys: &[Key], probes: &[Key], absent: &[Key]) {
    println!("skip list, random keys");
    let list: SkipMap<InternalKey, Box<[u8]>> = SkipMap::new();
    let start = Instant::now();
    for (key, seq_no) in keys.iter().zip(1..) {
        list.insert((key.as_slice().into(), Reverse(seq_no)), VALUE.as_slice().into());
    }
    print("insert", start, keys.len());
    let seek = |key: &Key| {
        list.lower_bound(Bound::Included(&(key.as_slice().into(), Reverse(MAX_SEQ_NO))))
    };
    let get = |key: &Key| seek(key).is_some_and(|found| *found.key().0 == *key);
    measure("get, present", probes, |key| assert!(get(key)));
    measure("get, absent", absent, |key| assert!(!get(key)));
    let some = &probes[..probes.len() / 10];
    measure("seek", some, |key| assert!(seek(key).is_some()));
    measure(&format!("seek, {SCAN_ENTRIES} entries"), some, |key| {
        let mut entry = seek(key);
        for _ in 0..SCAN_ENTRIES {
            entry = entry.and_then(|entry| {
                black_box(entry.value()[0]);
                entry.next()
            });
        }
    });
    let start = Instant::now();
    for entry in &list {
        black_box(entry.value()[0]);
    }
    print("next", start, keys.len());
    let start = Instant::now();
    drop(list);
    print("drop, per entry", start, keys.len());
}

fn measure(what: &str, keys: &[Key], mut operation: impl FnMut(&Key)) {
    let start = Instant::now();
    for key in keys {
        operation(key);
    }
    print(what, start, keys.len());
}

fn print(what: &str, start: Instant, operations: usize) {
    let nanoseconds = start.elapsed().as_nanos() as f64 / operations.max(1) as f64;
    println!("  {what:<38}{nanoseconds:>8.1} ns");
}

/// Numbers that look random and are the same in every run.
struct Words(u64);

impl Words {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let word = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let word = (word ^ word >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^ word >> 31
    }

    fn key(&mut self) -> Key {
        (u128::from(self.next()) << 64 | u128::from(self.next())).to_be_bytes()
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
}
