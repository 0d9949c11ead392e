//! A sorted part of a memtable: digests and positions, in internal order.

use std::cmp::Ordering;

use lsm_entry::{SeqNo, common_prefix, compare_internal, digest};

use crate::arena::{Arena, Position};

/// Entries in internal order. Immutable.
#[derive(Debug)]
pub(crate) struct Piece {
    /// How many bytes all its keys have in common.
    prefix_bytes: usize,
    /// Digest of each key after the prefix, beside the entry's position: a search looks at an entry
    /// only where digests are equal.
    slots: Box<[PieceSlot]>,
}

#[derive(Clone, Copy, Debug)]
struct PieceSlot {
    digest: u64,
    position: Position,
}

/// The order of two entries whose digests after one prefix are known.
#[inline]
fn compare(arena: &Arena, one: &PieceSlot, other: &PieceSlot) -> Ordering {
    one.digest.cmp(&other.digest).then_with(|| {
        arena.entry(one.position).compare(&arena.entry(other.position))
    })
}

impl Piece {
    /// The piece of these entries, in any order.
    pub(crate) fn sorted(arena: &Arena, positions: &[Position]) -> Self {
        let mut keys = positions.iter().map(|position| arena.entry(*position).key);
        let first = keys.next().unwrap_or(&[]);
        let prefix_bytes = keys.fold(first.len(), |shared, key| shared.min(common_prefix(first, key)));
        let slot = |position: &Position| {
            let digest = digest(arena.entry(*position).key, prefix_bytes);
            PieceSlot { digest, position: *position }
        };
        let mut slots: Vec<PieceSlot> = positions.iter().map(slot).collect();
        slots.sort_unstable_by(|one, other| compare(arena, one, other));
        Self { prefix_bytes, slots: slots.into() }
    }

    /// One piece of several.
    pub(crate) fn merged(arena: &Arena, pieces: &[&Self]) -> Self {
        let mut keys = pieces.iter().flat_map(|piece| [piece.first_key(arena), piece.last_key(arena)]);
        let first = keys.next().flatten().unwrap_or(&[]);
        let prefix_bytes =
            keys.flatten().fold(first.len(), |shared, key| shared.min(common_prefix(first, key)));
        let mut slots = Vec::with_capacity(pieces.iter().map(|piece| piece.len()).sum());
        for piece in pieces {
            let start = slots.len();
            slots.extend_from_slice(&piece.slots);
            if piece.prefix_bytes != prefix_bytes {
                for slot in &mut slots[start..] {
                    slot.digest = digest(arena.entry(slot.position).key, prefix_bytes);
                }
            }
        }
        // The standard sort finds the sorted pieces and merges them.
        slots.sort_by(|one, other| compare(arena, one, other));
        Self { prefix_bytes, slots: slots.into() }
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn position(&self, index: usize) -> Option<Position> {
        self.slots.get(index).map(|slot| slot.position)
    }

    pub(crate) fn first_key<'a>(&self, arena: &'a Arena) -> Option<&'a [u8]> {
        self.slots.first().map(|slot| arena.entry(slot.position).key)
    }

    pub(crate) fn last_key<'a>(&self, arena: &'a Arena) -> Option<&'a [u8]> {
        self.slots.last().map(|slot| arena.entry(slot.position).key)
    }

    /// Index of the first entry at or after an internal key.
    pub(crate) fn seek(&self, arena: &Arena, key: &[u8], seq_no: SeqNo) -> usize {
        let Some(first) = self.first_key(arena) else { return 0 };
        let prefix = &first[..self.prefix_bytes];
        if !key.starts_with(prefix) {
            return if key < prefix { 0 } else { self.len() };
        }
        let wanted = digest(key, self.prefix_bytes);
        let start = self.slots.partition_point(|slot| slot.digest < wanted);
        let equal = self.slots[start..].partition_point(|slot| {
            slot.digest == wanted && {
                let entry = arena.entry(slot.position);
                compare_internal(entry.key, entry.seq_no, key, seq_no).is_lt()
            }
        });
        start + equal
    }

    /// Bytes that it takes.
    pub(crate) fn allocated_bytes(&self) -> usize {
        self.slots.len() * size_of::<PieceSlot>()
    }
}
