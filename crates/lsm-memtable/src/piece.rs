//! A sorted part of a memtable: digests and positions, in internal order.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::ops::Range;

use lsm_entry::{compare_internal, digest};

use crate::arena::{Arena, Position};
use crate::prefetch;
use crate::prefix::{Probe, Rebase, Standing};

/// Slots from one fence to the next.
const FENCE_DISTANCE: usize = 32;

/// Entries in internal order. Immutable.
pub(crate) struct Piece {
    /// How many bytes all its keys share, with each other and with the first key of the memtable.
    prefix_bytes: usize,
    slots: Box<[Slot]>,
    /// The digest of every [`FENCE_DISTANCE`]th slot: few enough to stay in the cache, so that a
    /// search misses it once or twice, not once a step.
    fences: Box<[u64]>,
}

/// The digest of a key after the piece's prefix, beside the position of the entry: what moves and
/// compares slots looks at an entry only where digests are equal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot {
    pub(crate) digest: u64,
    pub(crate) position: Position,
}

impl Piece {
    /// The piece of slots in any order.
    pub(crate) fn of_any(arena: &Arena, prefix_bytes: usize, mut slots: Vec<Slot>) -> Self {
        // Digests alone first, which takes no branch, nor a look at any entry.
        slots.sort_unstable_by_key(|slot| slot.digest);
        for alike in slots.chunk_by_mut(|one, next| one.digest == next.digest) {
            alike.sort_unstable_by(|one, other| compare_entries(arena, one, other));
        }
        Self::sorted(prefix_bytes, slots)
    }

    /// The piece of slots in order.
    pub(crate) fn sorted(prefix_bytes: usize, slots: Vec<Slot>) -> Self {
        let fences = slots.iter().step_by(FENCE_DISTANCE).map(|slot| slot.digest);
        // A short piece needs none.
        let fences =
            if slots.len() <= 2 * FENCE_DISTANCE { Box::default() } else { fences.collect() };
        Self { prefix_bytes, slots: slots.into(), fences }
    }

    /// The piece of entries in any order, whose keys share `prefix_bytes` bytes.
    pub(crate) fn gathered(arena: &Arena, prefix_bytes: usize, positions: &[Position]) -> Self {
        let slot = |&position: &Position| Slot {
            digest: digest(arena.entry(position).key, prefix_bytes),
            position,
        };
        Self::of_any(arena, prefix_bytes, positions.iter().map(slot).collect())
    }

    /// The piece of this one's entries and of another's, which share the prefix.
    pub(crate) fn merged_with(&self, arena: &Arena, other: &Self) -> Self {
        Self::sorted(self.prefix_bytes, merge(arena, &self.slots, &other.slots))
    }

    /// One piece of several, under a prefix that is no longer than theirs. Those at the end are merged
    /// first, for they are the shortest.
    pub(crate) fn merged(
        arena: &Arena,
        first_key: &[u8],
        prefix_bytes: usize,
        pieces: &[&Self],
    ) -> Self {
        let mut merged = Cow::Borrowed(&[][..]);
        for piece in pieces.iter().rev() {
            let slots = piece.rebased(first_key, prefix_bytes);
            merged = if merged.is_empty() { slots } else { merge(arena, &slots, &merged).into() };
        }
        Self::sorted(prefix_bytes, merged.into_owned())
    }

    /// Its slots as they are under a prefix that is no longer than its own.
    fn rebased(&self, first_key: &[u8], prefix_bytes: usize) -> Cow<'_, [Slot]> {
        if self.prefix_bytes == prefix_bytes {
            return Cow::Borrowed(&self.slots);
        }
        let rebase = self.rebase(first_key, prefix_bytes);
        let rebased =
            |&Slot { digest, position }: &Slot| Slot { digest: rebase.apply(digest), position };
        self.slots.iter().map(rebased).collect()
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// How its digests become those after a prefix of `prefix_bytes`.
    pub(crate) fn rebase(&self, first_key: &[u8], prefix_bytes: usize) -> Rebase {
        Rebase::new(first_key, self.prefix_bytes, prefix_bytes)
    }

    #[inline]
    pub(crate) fn slot(&self, index: usize) -> Option<&Slot> {
        self.slots.get(index)
    }

    /// Index of the first entry at or after an internal key; the piece's length if there is none.
    pub(crate) fn seek(&self, arena: &Arena, probe: &Probe<'_>) -> usize {
        self.seek_within(arena, probe, self.narrow(probe))
    }

    /// Between which slots the first entry at or after an internal key is, or behind the last of them; begins loading
    /// them.
    pub(crate) fn narrow(&self, probe: &Probe<'_>) -> Range<usize> {
        let wanted = match probe.standing(self.prefix_bytes) {
            Standing::Below => return 0..0,
            Standing::Above => return self.len()..self.len(),
            Standing::Among(digest) => digest,
        };
        if self.fences.is_empty() {
            return 0..self.len();
        }
        let fence = self.fences.partition_point(|fence| *fence < wanted);
        let start = fence.saturating_sub(1) * FENCE_DISTANCE;
        let end = (fence * FENCE_DISTANCE).min(self.len());
        const SLOTS_A_LINE: usize = prefetch::LINE_BYTES / size_of::<Slot>();
        prefetch::for_loads(&raw const self.slots[start], (end - start).div_ceil(SLOTS_A_LINE));
        start..end
    }

    /// The index of [`seek`](Self::seek), which is known to be one of these or the one behind them.
    pub(crate) fn seek_within(
        &self,
        arena: &Arena,
        probe: &Probe<'_>,
        within: Range<usize>,
    ) -> usize {
        let Standing::Among(wanted) = probe.standing(self.prefix_bytes) else {
            return within.start;
        };
        let start = within.start + self.slots[within].partition_point(|slot| slot.digest < wanted);
        if self.slot(start).is_none_or(|slot| slot.digest != wanted) {
            return start;
        }
        // Versions of the key, or keys that begin alike for longer than the digest is.
        let smaller = self.slots[start..].partition_point(|slot| {
            slot.digest == wanted && compare_with(arena, slot, probe).is_lt()
        });
        start + smaller
    }

    /// Index of the last entry at or before an internal key, given that of the first at or after it; beyond every
    /// index if there is none.
    pub(crate) fn at_or_before(&self, arena: &Arena, probe: &Probe<'_>, index: usize) -> usize {
        let is_exact = self.slot(index).is_some_and(|slot| {
            probe.standing(self.prefix_bytes) == Standing::Among(slot.digest)
                && compare_with(arena, slot, probe).is_eq()
        });
        if is_exact { index } else { index.wrapping_sub(1) }
    }

    /// Bytes that it takes.
    pub(crate) fn allocated_bytes(&self) -> usize {
        size_of::<Self>() + size_of_val(&*self.slots) + size_of_val(&*self.fences)
    }
}

/// The slots of two sorted runs, in order. A step takes no branch that depends on which of the two is
/// next, and a third of the instructions of a sort that finds the runs first.
fn merge(arena: &Arena, mut one: &[Slot], mut other: &[Slot]) -> Vec<Slot> {
    let mut merged = Vec::with_capacity(one.len() + other.len());
    // Keys that come in order, up or down, give runs that do not meet.
    if is_below(one, other) {
        merged.extend_from_slice(one);
        one = &[];
    } else if is_below(other, one) {
        merged.extend_from_slice(other);
        other = &[];
    }
    while let ([first, ..], [second, ..]) = (one, other) {
        let is_second = if first.digest == second.digest {
            compare_entries(arena, second, first).is_lt()
        } else {
            second.digest < first.digest
        };
        merged.push(if is_second { *second } else { *first });
        one = &one[usize::from(!is_second)..];
        other = &other[usize::from(is_second)..];
    }
    merged.extend_from_slice(one);
    merged.extend_from_slice(other);
    merged
}

/// Whether all of a sorted run is before all of another, by the digests alone.
#[inline]
fn is_below(one: &[Slot], other: &[Slot]) -> bool {
    match (one.last(), other.first()) {
        (Some(last), Some(first)) => last.digest < first.digest,
        _ => false,
    }
}

/// The order of two entries whose digests do not tell: never inlined, so that those which do need few
/// registers.
#[inline(never)]
fn compare_entries(arena: &Arena, one: &Slot, other: &Slot) -> Ordering {
    arena.entry(one.position).compare(&arena.entry(other.position))
}

fn compare_with(arena: &Arena, slot: &Slot, probe: &Probe<'_>) -> Ordering {
    let entry = arena.entry(slot.position);
    compare_internal(entry.key, entry.seq_no, probe.key, probe.seq_no)
}

impl fmt::Debug for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Piece")
            .field("entries", &self.len())
            .field("prefix_bytes", &self.prefix_bytes)
            .finish()
    }
}
