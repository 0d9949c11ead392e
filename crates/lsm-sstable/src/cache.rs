//! Decoded blocks in memory, shared by all tables, within one budget of bytes.
//!
//! Each shard is a CLOCK: blocks stand in a circle, a hit marks its block, and when room is needed
//! a hand goes round, taking the mark off those that have one and evicting those that have not. A
//! block starts unmarked, so that a scan, which meets each once, pushes out little but itself.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::block::BlockLayout;
use crate::simd;
use crate::source::FRONT_LINES;

/// Shards of a large cache; a small one has fewer, so that blocks fit into a shard.
const SHARDS_MAX: u64 = 16;
const SHARD_BYTES_MIN: u64 = 512 << 10;
/// What a cached block takes beside its bytes: its handle, its slot, its place in the map.
const OVERHEAD_BYTES: u64 = 192;

/// A block as it is read: whole, checked, with its layout.
#[derive(Debug)]
pub(crate) struct CachedBlock {
    bytes: Vec<u8>,
    layout: BlockLayout,
}

impl CachedBlock {
    pub(crate) fn new(bytes: Vec<u8>, layout: BlockLayout) -> Self {
        Self { bytes, layout }
    }

    /// The memory of a block that nobody reads any more.
    pub(crate) fn into_memory(self: Arc<Self>) -> Option<Vec<u8>> {
        Arc::into_inner(self).map(|block| block.bytes)
    }

    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    #[inline]
    pub(crate) fn layout(&self) -> &BlockLayout {
        &self.layout
    }
}

/// A cache of blocks, for any number of tables. Made once and handed to every
/// [`Table::open`](crate::Table::open).
///
/// The blocks of a table that is closed stay until the hand comes round to them, unless they were
/// [handed over](crate::hand_over) to the tables that it was merged into.
#[derive(Debug)]
pub struct BlockCache {
    shards: Box<[Mutex<Shard>]>,
    capacity_bytes: AtomicU64,
}

/// A block of one open table: tables are numbered as they are opened, in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlockKey {
    pub(crate) table: u64,
    pub(crate) block: u32,
}

#[derive(Debug, Default)]
struct Shard {
    places: HashMap<BlockKey, usize, BuildHasherDefault<KeyHasher>>,
    slots: Vec<Slot>,
    /// Slots that hold nothing.
    vacant: Vec<usize>,
    hand: usize,
    used_bytes: u64,
    hits: u64,
    misses: u64,
}

#[derive(Debug)]
struct Slot {
    key: BlockKey,
    block: Option<Arc<CachedBlock>>,
    /// Where the block's bytes are, to be asked for before its handle is there.
    bytes_at: usize,
    is_marked: bool,
}

impl BlockCache {
    /// A cache of at most `bytes`; with 0 nothing is kept.
    pub fn new(bytes: u64) -> Arc<Self> {
        let shards = (bytes / SHARD_BYTES_MIN).clamp(1, SHARDS_MAX).next_power_of_two();
        let shards = (0..shards).map(|_| Mutex::default()).collect();
        Arc::new(Self { shards, capacity_bytes: AtomicU64::new(bytes) })
    }

    /// How much it may hold.
    pub fn capacity_bytes(&self) -> u64 {
        self.capacity_bytes.load(Ordering::Relaxed)
    }

    /// Changes how much it may hold; if that is less than it holds, blocks go at once.
    pub fn set_capacity(&self, bytes: u64) {
        self.capacity_bytes.store(bytes, Ordering::Relaxed);
        for shard in &self.shards {
            lock(shard).make_room(0, self.shard_bytes());
        }
    }

    /// How much it holds.
    pub fn used_bytes(&self) -> u64 {
        self.shards.iter().map(|shard| lock(shard).used_bytes).sum()
    }

    /// How many reads found their block here.
    pub fn hits(&self) -> u64 {
        self.shards.iter().map(|shard| lock(shard).hits).sum()
    }

    /// How many reads had to bring their block in.
    pub fn misses(&self) -> u64 {
        self.shards.iter().map(|shard| lock(shard).misses).sum()
    }

    /// The block, if it is here.
    #[inline]
    pub(crate) fn get(&self, key: BlockKey) -> Option<Arc<CachedBlock>> {
        let mut shard = lock(self.shard_of(key));
        let Some(place) = shard.places.get(&key).copied() else {
            shard.misses += 1;
            return None;
        };
        shard.hits += 1;
        let slot = shard.slots.get_mut(place)?;
        simd::prefetch_at(slot.bytes_at, FRONT_LINES);
        slot.is_marked = true;
        slot.block.clone()
    }

    /// The block, if it is here, for somebody whose reading says nothing of who will read it again.
    pub(crate) fn peek(&self, key: BlockKey) -> Option<Arc<CachedBlock>> {
        let shard = lock(self.shard_of(key));
        shard.slots.get(*shard.places.get(&key)?)?.block.clone()
    }

    /// Whether the block is here.
    pub(crate) fn contains(&self, key: BlockKey) -> bool {
        lock(self.shard_of(key)).places.contains_key(&key)
    }

    /// Takes the block out, if it is here.
    pub(crate) fn remove(&self, key: BlockKey) -> Option<Arc<CachedBlock>> {
        let mut shard = lock(self.shard_of(key));
        let place = *shard.places.get(&key)?;
        shard.vacate(place)
    }

    /// Where the shard that `key` belongs to is full, a block goes now for the one that is about to be
    /// brought in, which may be decoded into its memory, so that the allocator is not asked; empty where
    /// none has to go, or somebody still reads it.
    pub(crate) fn reclaim(&self, key: BlockKey) -> Vec<u8> {
        let shard_bytes = self.shard_bytes();
        let mut shard = lock(self.shard_of(key));
        let mean_bytes = shard.mean_bytes();
        let evicted = shard.make_room(mean_bytes, shard_bytes);
        shard.prefetch_next();
        drop(shard);
        evicted.and_then(CachedBlock::into_memory).unwrap_or_default()
    }

    /// Keeps the block, if it fits into a shard at all, at the expense of others. If another reader
    /// brought it in meanwhile, that one stays.
    pub(crate) fn insert(&self, key: BlockKey, block: &Arc<CachedBlock>) {
        let (bytes, shard_bytes) = (charge(block), self.shard_bytes());
        if bytes > shard_bytes {
            return;
        }
        let mut shard = lock(self.shard_of(key));
        if shard.places.contains_key(&key) {
            return;
        }
        shard.make_room(bytes, shard_bytes);
        shard.put(key, Arc::clone(block), bytes);
    }

    fn shard_bytes(&self) -> u64 {
        self.capacity_bytes() / self.shards.len() as u64
    }

    #[inline]
    fn shard_of(&self, key: BlockKey) -> &Mutex<Shard> {
        // The map uses the low bits of the same hash, so the shard is chosen by the high ones.
        &self.shards[(key.hash() >> 56) as usize % self.shards.len()]
    }
}

impl Shard {
    /// What a block takes, one with another.
    fn mean_bytes(&self) -> u64 {
        self.used_bytes / self.places.len().max(1) as u64
    }

    /// Evicts until `bytes` more fit into `shard_bytes`; gives the block that went last.
    fn make_room(&mut self, bytes: u64, shard_bytes: u64) -> Option<Arc<CachedBlock>> {
        let mut evicted = None;
        // Two rounds take the mark off every block and then find it without one.
        let mut steps = 2 * self.slots.len();
        while self.used_bytes + bytes > shard_bytes && steps > 0 {
            steps -= 1;
            self.hand = if self.hand + 1 < self.slots.len() { self.hand + 1 } else { 0 };
            if !std::mem::take(&mut self.slots[self.hand].is_marked) {
                evicted = self.vacate(self.hand).or(evicted);
            }
        }
        evicted
    }

    /// Takes out what is in a slot.
    fn vacate(&mut self, place: usize) -> Option<Arc<CachedBlock>> {
        let slot = &mut self.slots[place];
        let block = slot.block.take()?;
        self.places.remove(&slot.key);
        self.vacant.push(place);
        self.used_bytes -= charge(&block);
        Some(block)
    }

    /// Asks for what the eviction that comes next will look at.
    fn prefetch_next(&self) {
        if let Some(block) = self.slots.get(self.hand + 1).and_then(|slot| slot.block.as_ref()) {
            simd::prefetch_at(Arc::as_ptr(block).addr(), 1);
        }
    }

    fn put(&mut self, key: BlockKey, block: Arc<CachedBlock>, bytes: u64) {
        let bytes_at = block.bytes().as_ptr().addr();
        let slot = Slot { key, block: Some(block), bytes_at, is_marked: false };
        let place = match self.vacant.pop() {
            Some(place) => {
                self.slots[place] = slot;
                place
            }
            None => {
                self.slots.push(slot);
                self.slots.len() - 1
            }
        };
        self.places.insert(key, place);
        self.used_bytes += bytes;
    }
}

impl BlockKey {
    #[inline]
    fn hash(self) -> u64 {
        let word = self.table.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ u64::from(self.block);
        let word = (word ^ (word >> 32)).wrapping_mul(0xD6E8_FEB8_6659_FD93);
        word ^ (word >> 32)
    }
}

impl std::hash::Hash for BlockKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(Self::hash(*self));
    }
}

/// Passes on what is a hash already.
#[derive(Debug, Default)]
struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |hash, byte| hash.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

fn charge(block: &CachedBlock) -> u64 {
    block.bytes.capacity() as u64 + OVERHEAD_BYTES
}

/// A thread that panicked while it held a shard left it whole: nothing in between can panic.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use lsm_entry::Entry;

    use super::*;
    use crate::block::BlockBuilder;

    fn block_of(bytes: usize) -> Arc<CachedBlock> {
        let mut builder = BlockBuilder::default();
        builder.push(&Entry::put(b"key", 1, &vec![0; bytes]), 0);
        let mut encoded = Vec::new();
        builder.finish(&mut encoded);
        encoded.shrink_to_fit();
        let layout = BlockLayout::parse(&encoded).expect("a valid block");
        Arc::new(CachedBlock::new(encoded, layout))
    }

    fn key(block: u32) -> BlockKey {
        BlockKey { table: 1, block }
    }

    #[test]
    fn the_budget_is_kept_whatever_is_put_in() {
        let cache = BlockCache::new(100_000);
        let mut word = 1_u64;
        for block in 0..2000 {
            word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            cache.insert(key(block), &block_of((word >> 33) as usize % 9000));
            cache.get(key((word >> 40) as u32 % (block + 1)));
            assert!(cache.used_bytes() <= 100_000, "after {block} blocks");
        }
        assert!(cache.used_bytes() > 80_000, "{} is used", cache.used_bytes());
        cache.set_capacity(20_000);
        assert!(cache.used_bytes() <= 20_000);
        cache.set_capacity(0);
        assert_eq!(cache.used_bytes(), 0);
    }

    #[test]
    fn what_is_asked_for_again_outlives_a_scan() {
        let cache = BlockCache::new(50 * (1000 + 300));
        for block in 0..10 {
            cache.insert(key(block), &block_of(1000));
        }
        for block in 100..400 {
            for hot in 0..10 {
                assert!(cache.get(key(hot)).is_some(), "block {hot} was evicted by the scan");
            }
            cache.insert(key(block), &block_of(1000));
        }
        assert_eq!(cache.hits(), 3000);
        assert!(cache.get(key(100)).is_none());
        assert_eq!(cache.misses(), 1);
    }

    #[test]
    fn a_block_that_has_to_go_leaves_its_memory_unless_somebody_reads_it() {
        let cache = BlockCache::new(5 * (1000 + 300));
        cache.insert(key(0), &block_of(1000));
        assert_eq!(cache.reclaim(key(9)).capacity(), 0, "there is room");
        (1..10).for_each(|block| cache.insert(key(block), &block_of(1000)));
        assert!(cache.reclaim(key(10)).capacity() >= 1000);
        let held: Vec<_> = (0..10).filter_map(|block| cache.get(key(block))).collect();
        assert!(!held.is_empty());
        cache.insert(key(11), &block_of(1000));
        (0..10).for_each(|block| cache.insert(key(20 + block), &held[0]));
        assert_eq!(cache.reclaim(key(12)).capacity(), 0, "all that is there is read");
    }

    #[test]
    fn a_block_can_be_looked_at_without_a_mark_and_taken_out() {
        let cache = BlockCache::new(10_000);
        cache.insert(key(1), &block_of(1000));
        assert!(cache.peek(key(1)).is_some() && cache.contains(key(1)));
        assert!(cache.peek(key(2)).is_none() && !cache.contains(key(2)));
        assert_eq!((cache.hits(), cache.misses()), (0, 0));
        assert!(cache.remove(key(1)).is_some() && cache.remove(key(1)).is_none());
        assert_eq!(cache.used_bytes(), 0);
        cache.insert(key(3), &block_of(1000));
        assert_eq!(lock(&cache.shards[0]).slots.len(), 1, "the slot is used again");
    }

    #[test]
    fn a_block_larger_than_a_shard_is_not_kept() {
        let cache = BlockCache::new(10_000);
        cache.insert(key(1), &block_of(9_000));
        cache.insert(key(2), &block_of(10_001));
        assert!(cache.get(key(1)).is_some());
        assert!(cache.get(key(2)).is_none());
    }
}
