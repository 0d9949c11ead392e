//! After a merge the cache holds of its outputs what it held of its inputs.

use std::sync::Arc;

use lsm_entry::{Cursor, MAX_SEQ_NO, OwnedEntry, key_hash};
use lsm_sstable::{BlockCache, Compression, ReadMode, Table, hand_over};

use crate::support::{Disk, put, small_blocks};

fn key(number: u32) -> Vec<u8> {
    format!("key{number:06}").into_bytes()
}

fn entries(numbers: impl Iterator<Item = u32>) -> Vec<OwnedEntry> {
    numbers.map(|number| put(key(number), 1, [b'v'; 40])).collect()
}

/// A thousand keys: in two runs, the older one of two tables, and merged into two.
struct Merge {
    cache: Arc<BlockCache>,
    from: Vec<Vec<Arc<Table>>>,
    to: Vec<Arc<Table>>,
}

impl Merge {
    fn new(compression: Compression, mode: fn(Arc<BlockCache>) -> ReadMode) -> Self {
        let cache = BlockCache::new(1 << 20);
        let table = |numbers: Vec<u32>| {
            let disk = Disk::write(&entries(numbers.into_iter()), small_blocks(compression));
            disk.open(mode(Arc::clone(&cache))).expect("opens")
        };
        let newer = table((1..1000).step_by(9).collect());
        let older = |range: std::ops::Range<u32>| table(range.filter(|n| n % 9 != 1).collect());
        let from = vec![vec![newer], vec![older(0..500), older(500..1000)]];
        let to = vec![table((0..300).collect()), table((300..1000).collect())];
        Self { cache, from, to }
    }

    /// How many blocks a read of these keys brings in.
    fn misses(&self, tables: &[Arc<Table>], numbers: std::ops::Range<u32>) -> u64 {
        let before = self.cache.misses();
        for number in numbers {
            let key = key(number);
            let get = |table: &Arc<Table>| table.get(&key, key_hash(&key), MAX_SEQ_NO);
            tables.iter().for_each(|table| drop(get(table).expect("reads")));
        }
        self.cache.misses() - before
    }
}

#[test]
fn what_was_read_of_the_inputs_is_there_of_the_outputs_and_nothing_else() {
    for (compression, mode) in [
        (Compression::Lz4, ReadMode::Mapped as fn(_) -> _),
        (Compression::Lz4, ReadMode::Cached),
        (Compression::None, ReadMode::Cached),
    ] {
        let merge = Merge::new(compression, mode);
        assert!(merge.misses(&merge.from[1], 250..350) > 10);
        let (used, half) = (merge.cache.used_bytes(), merge.from[1][0].blocks().len() as u64);
        let entered = hand_over(&merge.from, &merge.to, || true).expect("handed over");
        assert!((10..half).contains(&entered), "{entered} of some {half}");
        let used_now = merge.cache.used_bytes();
        assert!(used_now * 4 < used * 5 && used_now * 5 > used * 4, "{used}, then {used_now}");
        assert_eq!(merge.misses(&merge.to, 250..350), 0, "{compression}");
        assert!(merge.misses(&merge.to, 400..401) > 0, "was not read before");
        assert!(merge.misses(&merge.from[1], 300..301) > 0, "has left");
    }
}

#[test]
fn of_tables_that_nobody_read_nothing_goes_in() {
    let merge = Merge::new(Compression::Lz4, ReadMode::Mapped);
    assert_eq!(hand_over(&merge.from, &merge.to, || true).expect("handed over"), 0);
    assert_eq!(merge.cache.used_bytes(), 0);
}

#[test]
fn one_cached_block_of_a_sparse_run_warms_its_neighbourhood_alone() {
    let cache = BlockCache::new(1 << 20);
    let table = |numbers: Vec<u32>| {
        let disk = Disk::write(&entries(numbers.into_iter()), small_blocks(Compression::Lz4));
        disk.open(ReadMode::Mapped(Arc::clone(&cache))).expect("opens")
    };
    let from = [vec![table(vec![900])], vec![table((0..900).collect())]];
    let to = [table((0..901).collect())];
    let last = key(900);
    from[0][0].get(&last, key_hash(&last), MAX_SEQ_NO).expect("reads");
    assert_eq!(hand_over(&from, &to, || true).expect("handed over"), 1);
}

#[test]
fn whoever_says_stop_is_obeyed() {
    let merge = Merge::new(Compression::Lz4, ReadMode::Mapped);
    merge.misses(&merge.from[1], 0..1000);
    let used = merge.cache.used_bytes();
    assert_eq!(hand_over(&merge.from, &merge.to, || false).expect("stopped"), 0);
    assert_eq!(merge.cache.used_bytes(), used);
}

#[test]
fn a_walk_in_passing_leaves_the_cache_as_it_is() {
    let merge = Merge::new(Compression::Lz4, ReadMode::Mapped);
    merge.misses(&merge.to, 0..10);
    let (used, hits) = (merge.cache.used_bytes(), merge.cache.hits());
    let misses = merge.cache.misses();
    let mut cursor = merge.to[0].cursor().in_passing();
    cursor.seek_first().expect("reads");
    for number in 0..300 {
        assert_eq!(cursor.key(), Some(&key(number)[..]));
        cursor.next().expect("reads");
    }
    assert!(cursor.key().is_none());
    let now = (merge.cache.used_bytes(), merge.cache.hits(), merge.cache.misses());
    assert_eq!(now, (used, hits, misses));
}
