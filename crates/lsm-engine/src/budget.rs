//! One budget for what a database keeps in memory: how it is divided, counted and kept.
//!
//! ```text
//!   memory_bytes  ├───── memtables ─────┼───── cache ─────┬─ filters, indexes, cursors ─┤
//!                 └─ what is not cache ─┘└─ cache_bytes, less what lies to the right ───┘
//! ```
//!
//! | kind | counted | kept within its part by |
//! |---|---|---|
//! | memtables | every few hundred KiB of writes, under the write mutex | sealing the largest early; then writes wait |
//! | cache | by the cache itself | evicting |
//! | filters, indexes | when a table is opened or closed | a smaller cache, then smaller memtables; then indexes stay in their files |
//! | cursors | when one is made or dropped, by estimate | the same |
//! | open blob files, large values read from them | when one is opened, read or dropped | the same |
//! | memtables that only readers hold | with the memtables | the same |
//! | what flushed memtables leave to the next | by itself, one memtable at most | giving it back to the system, also when writing pauses |
//!
//! All keyspaces share the memtables' part, so many of them need no more memory than one.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use lsm_memtable::{Memtable, SpareMemory};
use lsm_sstable::BlockCache;

use crate::commit::Order;
use crate::keyspace::KeyspaceCore;
use crate::options::{Options, ReadMode};
use crate::shared::Shared;
use crate::stats::Counter;

/// What a cursor keeps for each of its sources, about, beside a block.
const CURSOR_SOURCE_BYTES: u64 = 512;
/// The block that a cursor holds of each source where blocks are not mapped, about.
const CURSOR_BLOCK_BYTES: u64 = 4096;
/// What an entry in a memtable takes beside its bytes in the batch, about.
pub(crate) const ENTRY_OVERHEAD_BYTES: u64 = 48;
/// Memtables are weighed each time that so small a part of theirs has been written.
const WEIGHINGS: u64 = 64;
const WEIGHED_BYTES_MIN: u64 = 4 << 10;
/// The cache keeps a part of its own of this much, and memtables one of theirs.
const CACHE_KEPT: u64 = 16;
const MEMTABLES_KEPT: u64 = 4;
/// And this part of all that these leave is for what cannot be refused.
const ROOM_KEPT: u64 = 8;

/// What one database keeps in memory.
#[derive(Debug)]
pub(crate) struct Budget {
    memory_bytes: u64,
    /// The most that memtables may take, and the most that the cache may.
    memtables_part: u64,
    cache_part: u64,
    cache: Arc<BlockCache>,
    /// Filters and indexes of open tables.
    table_bytes: AtomicU64,
    /// Made less dropped; either may be counted by another thread, so only the sum means something.
    cursor_bytes: Counter,
    cursor_source_bytes: u64,
    /// Open blob files, and values that were read from them and that somebody holds.
    blob_bytes: Arc<AtomicU64>,
    /// Those that were sealed and that somebody still holds.
    sealed: Mutex<Vec<Weak<Memtable>>>,
    /// Bytes of those that no view needs any more, when they were last counted.
    held_bytes: AtomicU64,
    /// What flushed memtables leave to those that come.
    pub(crate) spare: Arc<SpareMemory>,
}

/// What takes memory now, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryMetrics {
    /// The budget for all of it: [`Options::memory_bytes`].
    pub budget_bytes: u64,
    /// The most that this process may use, if the system tells: its container's limit, or what the
    /// machine has.
    pub limit_bytes: Option<u64>,
    /// Memtables that take writes: entries, index and order, with what is set aside for more.
    pub active_memtable_bytes: u64,
    /// Sealed memtables that wait to be flushed.
    pub sealed_memtable_bytes: u64,
    /// Memtables that are flushed already, but that some reader still holds.
    pub held_memtable_bytes: u64,
    /// What flushed memtables have left to the next.
    pub spare_memtable_bytes: u64,
    /// The most that memtables may take together, at present.
    pub memtable_bytes_max: u64,
    /// Blocks in the cache.
    pub cache_bytes: u64,
    /// The most that these may take, at present.
    pub cache_bytes_max: u64,
    /// Filters and indexes of open tables, as far as they are not mapped.
    pub table_bytes: u64,
    /// Open cursors and iterators, by estimate.
    pub cursor_bytes: u64,
    /// Open blob files, and large values that were read from them and that somebody holds, as far as
    /// they are not mapped.
    pub blob_bytes: u64,
}

impl MemoryMetrics {
    /// All of it together.
    pub fn total_bytes(&self) -> u64 {
        self.active_memtable_bytes
            + self.sealed_memtable_bytes
            + self.held_memtable_bytes
            + self.spare_memtable_bytes
            + self.cache_bytes
            + self.table_bytes
            + self.cursor_bytes
            + self.blob_bytes
    }
}

impl Budget {
    pub(crate) fn new(options: &Options) -> Arc<Self> {
        let cache_part = options.cache_part_bytes();
        let cursor_block_bytes = match options.read_mode {
            ReadMode::Mapped => 0,
            ReadMode::Cached => CURSOR_BLOCK_BYTES,
        };
        Arc::new(Self {
            memory_bytes: options.memory_bytes,
            memtables_part: options.memtables_part_bytes(),
            cache_part,
            cache: BlockCache::new(cache_part),
            table_bytes: AtomicU64::new(0),
            cursor_bytes: Counter::default(),
            cursor_source_bytes: CURSOR_SOURCE_BYTES + cursor_block_bytes,
            blob_bytes: Arc::default(),
            sealed: Mutex::default(),
            held_bytes: AtomicU64::new(0),
            spare: SpareMemory::new(options.spare_memtable_bytes()),
        })
    }

    pub(crate) fn cache(&self) -> &Arc<BlockCache> {
        &self.cache
    }

    /// The most that memtables may take together: their part, less what lies beside the cache and
    /// does not fit there.
    pub(crate) fn memtable_bytes_max(&self) -> u64 {
        let beyond = self.beside_cache().saturating_sub(self.cache_part - self.cache_kept());
        self.memtables_part.saturating_sub(beyond).max(self.memtables_part / MEMTABLES_KEPT)
    }

    /// Whether the index of one more table may be held in memory. Beyond the cache and the memtables'
    /// part, which have given up what they can by then, nothing is held that need not be: what is left
    /// of the budget is for tables that are opened at the same time, and for what is held besides.
    pub(crate) fn has_room_for_indexes(&self) -> bool {
        let kept = self.cache_kept() + self.memtables_part / MEMTABLES_KEPT;
        let room = self.memory_bytes.saturating_sub(kept);
        self.beside_cache() < room - room / ROOM_KEPT
    }

    /// After how many written bytes memtables are weighed again.
    pub(crate) fn weighed_bytes(&self) -> u64 {
        (self.memtables_part / WEIGHINGS).max(WEIGHED_BYTES_MIN)
    }

    pub(crate) fn table_opened(&self, bytes: u64) {
        self.table_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.balance();
    }

    pub(crate) fn table_closed(&self, bytes: u64) {
        self.table_bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.balance();
    }

    /// What blob files take, to be counted by whoever opens and reads them.
    pub(crate) fn blob_bytes(&self) -> &Arc<AtomicU64> {
        &self.blob_bytes
    }

    /// A cursor over so many sources is there; whoever drops it says so with the number returned.
    pub(crate) fn cursor_opened(&self, sources: usize) -> u64 {
        let bytes = self.cursor_source_bytes * sources as u64;
        self.cursor_bytes.add(bytes);
        bytes
    }

    pub(crate) fn cursor_closed(&self, bytes: u64) {
        self.cursor_bytes.add(bytes.wrapping_neg());
    }

    /// A memtable was sealed: it counts until nobody holds it.
    fn memtable_sealed(&self, memtable: &Arc<Memtable>) {
        let mut sealed = self.lock_sealed();
        sealed.retain(|memtable| memtable.strong_count() > 0);
        sealed.push(Arc::downgrade(memtable));
    }

    /// Counts what only readers hold, beside `waiting_bytes` of memtables that wait to be flushed.
    fn count_held(&self, waiting_bytes: u64) {
        let sealed = self.lock_sealed();
        let alive = sealed.iter().filter_map(Weak::upgrade);
        let bytes: u64 = alive.map(|memtable| memtable.allocated_bytes() as u64).sum();
        self.held_bytes.store(bytes.saturating_sub(waiting_bytes), Ordering::Relaxed);
    }

    fn lock_sealed(&self) -> MutexGuard<'_, Vec<Weak<Memtable>>> {
        self.sealed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What shares the cache's part with it.
    fn beside_cache(&self) -> u64 {
        self.table_bytes.load(Ordering::Relaxed)
            + self.cursor_bytes()
            + self.blob_bytes.load(Ordering::Relaxed)
            + self.held_bytes.load(Ordering::Relaxed)
    }

    fn cursor_bytes(&self) -> u64 {
        // Between the looks at two stripes a cursor may have been made on one and dropped on the other.
        u64::try_from(self.cursor_bytes.total().cast_signed()).unwrap_or(0)
    }

    fn cache_kept(&self) -> u64 {
        self.cache_part / CACHE_KEPT
    }

    /// Gives the cache what the others leave of its part.
    fn balance(&self) {
        let left = self.cache_part.saturating_sub(self.beside_cache()).max(self.cache_kept());
        // A cache that is a little too small or too large is not worth a look at each of its shards.
        let now = self.cache.capacity_bytes();
        if left.abs_diff(now) > self.cache_part / 256 {
            self.cache.set_capacity(left);
        }
    }

    /// Keeps nothing for memtables to come that those which are there may need.
    fn balance_spare(&self, memtables: MemtableBytes) {
        let held = self.held_bytes.load(Ordering::Relaxed) + self.spare.bytes() as u64;
        if memtables.active + memtables.sealed + held > self.memtable_bytes_max() {
            self.spare.release();
        }
    }
}

/// What memtables take that views need.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct MemtableBytes {
    pub(crate) active: u64,
    pub(crate) sealed: u64,
}

impl MemtableBytes {
    fn of(cores: &[Arc<KeyspaceCore>]) -> Self {
        let mut bytes = Self::default();
        for core in cores {
            let view = core.view.load();
            bytes.active += view.active.allocated_bytes() as u64;
            bytes.sealed += view.sealed.iter().map(|m| m.allocated_bytes() as u64).sum::<u64>();
        }
        bytes
    }
}

impl Shared {
    /// Puts `fresh` in place of a keyspace's active memtable, which is sealed behind it. Called
    /// under the write mutex.
    pub(crate) fn seal_behind(&self, core: &KeyspaceCore, fresh: &Arc<Memtable>) {
        self.budget.memtable_sealed(&core.view.load().active);
        core.seal(fresh);
        self.update_pressure();
        self.background.wake_flush();
    }

    /// A write has been taken; weighs what memtables take, now and then.
    #[inline]
    pub(crate) fn note_taken(&self, order: &mut Order, payload_bytes: usize, records: u64) {
        order.unweighed_bytes += payload_bytes as u64 + ENTRY_OVERHEAD_BYTES * records;
        if order.unweighed_bytes >= self.budget.weighed_bytes() {
            order.unweighed_bytes = 0;
            self.weigh();
        }
    }

    /// Sees to it that memtables that take writes leave half of the memtables' part to those that
    /// wait to be flushed: the largest are sealed early. Called under the write mutex.
    #[cold]
    fn weigh(&self) {
        let mut filled: Vec<_> = self
            .live_keyspaces()
            .into_iter()
            .filter_map(|core| {
                let active = core.view.load().active.clone();
                (!active.is_empty()).then(|| (active.allocated_bytes() as u64, core))
            })
            .collect();
        let mut bytes: u64 = filled.iter().map(|(bytes, _)| bytes).sum();
        let limit = self.budget.memtable_bytes_max() / 2;
        filled.sort_unstable_by_key(|(bytes, core)| (*bytes, core.id));
        while bytes > limit
            && let Some((largest, core)) = filled.pop()
        {
            self.seal(&core);
            bytes -= largest;
        }
        self.update_pressure();
    }

    /// What memtables take, with the cache's size adapted to it.
    pub(crate) fn weigh_memtables(&self, cores: &[Arc<KeyspaceCore>]) -> MemtableBytes {
        let bytes = MemtableBytes::of(cores);
        self.budget.count_held(bytes.sealed);
        self.budget.balance();
        self.budget.balance_spare(bytes);
        bytes
    }

    /// What takes memory now.
    pub(crate) fn memory_metrics(&self) -> MemoryMetrics {
        let memtables = self.weigh_memtables(&self.live_keyspaces());
        let budget = &self.budget;
        MemoryMetrics {
            budget_bytes: budget.memory_bytes,
            limit_bytes: self.report.memory_limit_bytes,
            active_memtable_bytes: memtables.active,
            sealed_memtable_bytes: memtables.sealed,
            held_memtable_bytes: budget.held_bytes.load(Ordering::Relaxed),
            spare_memtable_bytes: budget.spare.bytes() as u64,
            memtable_bytes_max: budget.memtable_bytes_max(),
            cache_bytes: budget.cache.used_bytes(),
            cache_bytes_max: budget.cache.capacity_bytes(),
            table_bytes: budget.table_bytes.load(Ordering::Relaxed),
            cursor_bytes: budget.cursor_bytes(),
            blob_bytes: budget.blob_bytes.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(memory_bytes: u64) -> Arc<Budget> {
        Budget::new(&Options { memory_bytes, ..Options::default() })
    }

    #[test]
    fn what_tables_and_cursors_take_the_cache_gives_up() {
        let budget = budget(64 << 20);
        assert_eq!(budget.cache.capacity_bytes(), 32 << 20);
        budget.table_opened(8 << 20);
        assert_eq!(budget.cache.capacity_bytes(), 24 << 20);
        let cursors: Vec<u64> = (0..1024).map(|_| budget.cursor_opened(8)).collect();
        budget.balance();
        assert_eq!(budget.cache.capacity_bytes(), 20 << 20);
        cursors.into_iter().for_each(|bytes| budget.cursor_closed(bytes));
        budget.table_closed(8 << 20);
        assert_eq!(budget.cache.capacity_bytes(), 32 << 20);
        assert_eq!(budget.memtable_bytes_max(), 32 << 20, "its part is as it was");
    }

    #[test]
    fn what_the_cache_cannot_give_up_memtables_do() {
        let budget = budget(64 << 20);
        budget.table_opened(40 << 20);
        assert_eq!(budget.cache.capacity_bytes(), 2 << 20);
        assert_eq!(budget.memtable_bytes_max(), (32 - 10) << 20);
        budget.table_opened(1 << 40);
        assert_eq!(budget.memtable_bytes_max(), 8 << 20, "something is left to write into");
    }

    #[test]
    fn indexes_stay_in_their_files_where_the_others_have_given_up_what_they_can() {
        let budget = budget(64 << 20);
        budget.table_opened(40 << 20);
        assert!(budget.has_room_for_indexes());
        budget.table_opened(8 << 20);
        assert!(!budget.has_room_for_indexes());
        let taken = budget.beside_cache() + budget.cache_kept() + budget.memtable_bytes_max();
        assert!(taken <= 64 << 20, "{taken} bytes");
        budget.table_closed(8 << 20);
        assert!(budget.has_room_for_indexes());
    }

    #[test]
    fn a_memtable_that_a_reader_holds_still_counts() {
        let budget = budget(64 << 20);
        let memtable = Arc::new(Memtable::new(lsm_memtable::MemtableOptions::default()));
        let bytes = memtable.allocated_bytes() as u64;
        budget.memtable_sealed(&memtable);
        budget.count_held(bytes);
        assert_eq!(budget.beside_cache(), 0, "it waits to be flushed, and counts as such");
        budget.count_held(0);
        assert_eq!(budget.beside_cache(), bytes);
        drop(memtable);
        budget.count_held(0);
        assert_eq!(budget.beside_cache(), 0);
    }
}
