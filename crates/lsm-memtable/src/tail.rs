//! The newest entries of a memtable, as they came.

use std::sync::Arc;

use crate::arena::{Arena, Position};
use crate::piece::{Piece, Slot};
use crate::sync::ArcSwap;
use crate::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// So many entries are few enough to be sorted by every cursor that is made.
pub(crate) const SHORT_ENTRIES: usize = if cfg!(loom) { 1 } else { 16 };
/// And so many to be sorted by the writer at once, which takes less than a millisecond, or by the first cursor.
pub(crate) const LONG_ENTRIES_MAX: usize = if cfg!(loom) { 2 } else { 16 << 10 };

/// A number of slots that one writer fills. Once full it does not change any more.
#[derive(Debug)]
pub(crate) struct Tail {
    /// The prefix after which the digests are taken.
    pub(crate) prefix_bytes: usize,
    slots: Box<[TailSlot]>,
    // Invariant: slots below it are written, and never again.
    len: AtomicUsize,
    /// What cursors have sorted of a long one: of the entries that it has, as many as the piece.
    sorted: Option<ArcSwap<Piece>>,
}

#[derive(Debug)]
struct TailSlot {
    digest: AtomicU64,
    position: AtomicU64,
}

impl Tail {
    /// An empty one with so many slots.
    pub(crate) fn new(prefix_bytes: usize, entries: usize) -> Self {
        let slot = |_| TailSlot { digest: AtomicU64::new(0), position: AtomicU64::new(0) };
        let is_long = entries > SHORT_ENTRIES;
        let nothing = || ArcSwap::from_pointee(Piece::sorted(prefix_bytes, Vec::new()));
        Self {
            prefix_bytes,
            slots: (0..entries).map(slot).collect(),
            len: AtomicUsize::new(0),
            sorted: is_long.then(nothing),
        }
    }

    /// Whether there is room for more entries than every cursor could sort.
    #[inline]
    pub(crate) fn is_long(&self) -> bool {
        self.sorted.is_some()
    }

    /// Adds a slot; returns whether it was the last. Only the writer calls it.
    #[inline]
    pub(crate) fn push(&self, slot: Slot) -> bool {
        let len = self.len.load(Ordering::Relaxed);
        self.slots[len].digest.store(slot.digest, Ordering::Relaxed);
        self.slots[len].position.store(slot.position.to_bits(), Ordering::Relaxed);
        // Order: the slot, and the entry it leads to, before the length that covers it.
        self.len.store(len + 1, Ordering::Release);
        len + 1 == self.slots.len()
    }

    /// How many entries are in it now.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len.load(Ordering::Acquire)
    }

    /// What is in it now, oldest first, without the first `from` entries.
    fn slots(&self, from: usize) -> impl Iterator<Item = Slot> + '_ {
        self.slots[from..self.len()].iter().filter_map(|slot| {
            let position = Position::from_bits(slot.position.load(Ordering::Relaxed))?;
            Some(Slot { digest: slot.digest.load(Ordering::Relaxed), position })
        })
    }

    /// What is in it now, in order.
    pub(crate) fn in_order(&self, arena: &Arena) -> Arc<Piece> {
        let Some(sorted) = &self.sorted else { return Arc::new(self.sort(arena, 0)) };
        let before = sorted.load_full();
        let rest = self.sort(arena, before.len());
        if rest.len() == 0 {
            return before;
        }
        let now = Arc::new(before.merged_with(arena, &rest));
        // Another cursor may have sorted more meanwhile: then the next one sorts a little again.
        sorted.store(Arc::clone(&now));
        now
    }

    /// The same of what came after the first `from` entries.
    fn sort(&self, arena: &Arena, from: usize) -> Piece {
        let mut slots = Vec::with_capacity(self.len().saturating_sub(from));
        slots.extend(self.slots(from));
        Piece::of_any(arena, self.prefix_bytes, slots)
    }

    /// Bytes that it takes.
    pub(crate) fn allocated_bytes(&self) -> usize {
        let sorted = self.sorted.as_ref().map_or(0, |sorted| sorted.load().allocated_bytes());
        size_of::<Self>() + size_of_val(&*self.slots) + sorted
    }
}
