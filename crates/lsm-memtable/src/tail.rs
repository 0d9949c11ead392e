//! The newest entries of a memtable, as they came.

use crate::arena::Position;
use crate::piece::Slot;
use crate::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// So many entries are few enough to be sorted by every cursor that is made.
pub(crate) const TAIL_ENTRIES: usize = if cfg!(loom) { 2 } else { 16 };

/// Up to [`TAIL_ENTRIES`] slots that one writer fills. Once full it does not change any more.
#[derive(Debug)]
pub(crate) struct Tail {
    /// The prefix after which the digests are taken.
    pub(crate) prefix_bytes: usize,
    digests: [AtomicU64; TAIL_ENTRIES],
    positions: [AtomicU64; TAIL_ENTRIES],
    // Invariant: slots below it are written, and never again.
    len: AtomicUsize,
}

impl Tail {
    pub(crate) fn new(prefix_bytes: usize) -> Self {
        Self {
            prefix_bytes,
            digests: std::array::from_fn(|_| AtomicU64::new(0)),
            positions: std::array::from_fn(|_| AtomicU64::new(0)),
            len: AtomicUsize::new(0),
        }
    }

    /// Adds a slot; returns how many there are. Only the writer calls it.
    #[inline]
    pub(crate) fn push(&self, slot: Slot) -> usize {
        let len = self.len.load(Ordering::Relaxed);
        self.digests[len].store(slot.digest, Ordering::Relaxed);
        self.positions[len].store(slot.position.to_bits(), Ordering::Relaxed);
        // Order: the slot, and the entry it leads to, before the length that covers it.
        self.len.store(len + 1, Ordering::Release);
        len + 1
    }

    /// What is in it now, oldest first.
    pub(crate) fn slots(&self) -> impl Iterator<Item = Slot> + '_ {
        let len = self.len.load(Ordering::Acquire);
        self.digests[..len].iter().zip(&self.positions[..len]).filter_map(|(digest, position)| {
            let position = Position::from_bits(position.load(Ordering::Relaxed))?;
            Some(Slot { digest: digest.load(Ordering::Relaxed), position })
        })
    }
}
