//! Memory of memtables that are gone, for those that come.
//!
//! Fresh memory costs more than it seems: the system clears each page when it is first touched, and a
//! guest may have to get it from its host. A memtable of 64 MiB takes 19,000 pages.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::memory::{Cell, Memory};
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Shorter pieces are left to the allocator, which keeps such itself.
const PIECE_BYTES_MIN: usize = 64 << 10;

/// Memory that memtables have left behind, up to a limit. Made once, and handed to every memtable that
/// is to live from it and to leave its own.
///
/// ```
/// use lsm_entry::{Entry, key_hash};
/// use lsm_memtable::{Memtable, MemtableOptions, SpareMemory};
///
/// let spare = SpareMemory::new(64 << 20);
/// let options = MemtableOptions { capacity_bytes: 4 << 20, ..MemtableOptions::default() };
/// let memtable = Memtable::with_spare(options, &spare);
/// for seq_no in 1..=10_000_u64 {
///     let key = seq_no.to_be_bytes();
///     memtable.writer().insert(Entry::put(&key, seq_no, &[7; 100]), key_hash(&key));
/// }
/// assert_eq!(spare.bytes(), 0);
/// drop(memtable);
/// assert!(spare.bytes() > 1_000_000);
/// spare.release();
/// assert_eq!(spare.bytes(), 0);
/// ```
pub struct SpareMemory {
    bytes_max: usize,
    kept: Mutex<Kept>,
    /// A memtable has begun a piece that is followed by a long one.
    is_short: AtomicBool,
}

#[derive(Default)]
struct Kept {
    bytes: usize,
    chunks: Vec<Memory<Cell>>,
    /// Of indexes, all of them 0.
    slots: Vec<Memory<AtomicU64>>,
}

impl SpareMemory {
    /// Keeps up to `bytes_max` bytes.
    pub fn new(bytes_max: usize) -> Arc<Self> {
        Arc::new(Self { bytes_max, kept: Mutex::default(), is_short: AtomicBool::new(false) })
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How much is kept now.
    pub fn bytes(&self) -> usize {
        self.kept().bytes
    }

    /// Gives back to the allocator what is kept: worth it where nothing is written for a while.
    pub fn release(&self) {
        // Freed once the lock is.
        let kept = std::mem::take(&mut *self.kept());
        drop(kept);
    }

    /// Whether a memtable will soon need a long piece of memory, and nobody was told yet: time to
    /// prepare it ([`Memtable::prepare_entries`](crate::Memtable::prepare_entries) and
    /// [`prepare_index`](crate::Memtable::prepare_index)). Costs one load.
    #[inline]
    pub fn take_shortage(&self) -> bool {
        self.is_short.load(Ordering::Relaxed) && self.is_short.swap(false, Ordering::Relaxed)
    }

    pub(crate) fn note_shortage(&self) {
        self.is_short.store(true, Ordering::Relaxed);
    }

    /// Sees to it that a chunk of so many bytes is kept if it may; `false` if there was nothing to do.
    pub(crate) fn stock_chunk(&self, bytes: usize) -> bool {
        let is_there = |kept: &Kept| kept.chunks.iter().any(|chunk| chunk.len() == bytes);
        let is_wanted = self.lacks(bytes, is_there);
        // Made without the lock, for it takes a while.
        if is_wanted {
            self.keep_chunk(Memory::ready(bytes));
        }
        is_wanted
    }

    /// The same for so many slots.
    pub(crate) fn stock_slots(&self, count: usize) -> bool {
        let bytes = size_of::<AtomicU64>() * count;
        let is_there = |kept: &Kept| kept.slots.iter().any(|slots| slots.len() == count);
        let is_wanted = self.lacks(bytes, is_there);
        if is_wanted {
            self.keep_blank_slots(Memory::ready(count));
        }
        is_wanted
    }

    /// Whether there is no such piece, but room for its bytes.
    fn lacks(&self, bytes: usize, is_there: impl Fn(&Kept) -> bool) -> bool {
        let kept = self.kept();
        self.has_room(&kept, bytes) && !is_there(&kept)
    }

    /// A chunk of exactly so many bytes, with whatever was in it.
    pub(crate) fn take_chunk(&self, bytes: usize) -> Option<Memory<Cell>> {
        let mut kept = self.kept();
        let place = kept.chunks.iter().position(|chunk| chunk.len() == bytes)?;
        kept.bytes -= bytes;
        Some(kept.chunks.swap_remove(place))
    }

    /// Exactly so many slots, all of them 0.
    pub(crate) fn take_slots(&self, count: usize) -> Option<Memory<AtomicU64>> {
        let mut kept = self.kept();
        let place = kept.slots.iter().position(|slots| slots.len() == count)?;
        kept.bytes -= size_of::<AtomicU64>() * count;
        Some(kept.slots.swap_remove(place))
    }

    /// Whether there is room for a piece of so many bytes.
    fn has_room(&self, kept: &Kept, bytes: usize) -> bool {
        bytes >= PIECE_BYTES_MIN && kept.bytes + bytes <= self.bytes_max
    }

    pub(crate) fn keep_chunk(&self, chunk: Memory<Cell>) {
        let mut kept = self.kept();
        if self.has_room(&kept, chunk.len()) {
            kept.bytes += chunk.len();
            kept.chunks.push(chunk);
        }
    }

    #[cfg(not(loom))]
    pub(crate) fn keep_slots(&self, slots: Memory<AtomicU64>) {
        let bytes = size_of_val(&*slots);
        if !self.has_room(&self.kept(), bytes) {
            return;
        }
        // Not under the lock, for it takes a while.
        slots.iter().for_each(|slot| slot.store(0, Ordering::Relaxed));
        self.keep_blank_slots(slots);
    }

    fn keep_blank_slots(&self, slots: Memory<AtomicU64>) {
        let bytes = size_of_val(&*slots);
        let mut kept = self.kept();
        if self.has_room(&kept, bytes) {
            kept.bytes += bytes;
            kept.slots.push(slots);
        }
    }
}

/// The sizes alone.
impl fmt::Debug for SpareMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.bytes();
        f.debug_struct("SpareMemory")
            .field("bytes", &bytes)
            .field("bytes_max", &self.bytes_max)
            .finish_non_exhaustive()
    }
}
