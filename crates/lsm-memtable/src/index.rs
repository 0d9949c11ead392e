//! From a key's hash to its newest version: open addressing in segments that never move.
//!
//! A slot holds 16 bits of the hash and the 48-bit position of the newest version; 0 is empty. A
//! segment that is full is followed by a longer one, four in all, and each key keeps the slot that
//! it got with its first version. So nothing is ever copied, and a reader needs no more than an
//! acquire load.

use std::fmt;
use std::sync::Arc;

use crate::arena::Position;
use crate::memory::{Memory, is_long};
use crate::prefetch;
use crate::spare::SpareMemory;
use crate::sync::OnceLock;
use crate::sync::atomic::{AtomicU64, Ordering};

const SEGMENTS: usize = 4;
/// Keys in the first segment, which is all that a quiet memtable has.
const FIRST_SEGMENT_KEYS: usize = 192;
/// The bits of a slot that hold the position; the others hold bits of the hash.
const POSITION_BITS: u64 = (1 << 48) - 1;

/// The hash index of a memtable. One writer; readers need only acquire loads.
pub(crate) struct Index {
    segments: [OnceLock<Memory<AtomicU64>>; SEGMENTS],
    /// How many keys each segment takes before the next is begun.
    segment_keys: [usize; SEGMENTS],
    seed: u64,
    /// Where slots come from and go to, if they can.
    spare: Option<Arc<SpareMemory>>,
}

/// Where the writer stands. Each index has one.
#[derive(Debug, Default)]
pub(crate) struct IndexEnd {
    segment: usize,
    /// Keys in that segment.
    keys: usize,
}

/// Where a key's slot is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    segment: usize,
    slot: usize,
}

impl Index {
    /// An index with room for `keys_max` keys. `seed` is mixed into every hash, so that nobody
    /// outside knows which keys fall together.
    pub(crate) fn new(keys_max: usize, seed: u64, spare: Option<Arc<SpareMemory>>) -> Self {
        let mut left = keys_max;
        let mut take = |keys: usize| {
            let keys = keys.min(left);
            left -= keys;
            keys
        };
        // Each segment is begun when its length is in proportion to what the memtable holds by
        // then, and few of the keys of a full memtable lie outside the last.
        let segment_keys =
            [take(FIRST_SEGMENT_KEYS), take(keys_max / 128), take(keys_max / 8), take(usize::MAX)];
        Self { segments: std::array::from_fn(|_| OnceLock::new()), segment_keys, seed, spare }
    }

    /// The newest version of the key with this hash that `look` recognises: what `look` made of it,
    /// and where its slot is.
    #[inline]
    pub(crate) fn find<T>(
        &self,
        hash: u64,
        mut look: impl FnMut(Position) -> Option<T>,
    ) -> Option<(Place, T)> {
        let mixed = self.mix(hash);
        // The newest segment first: it is the longest, and holds most keys.
        for (segment, slots) in self.segments.iter().enumerate().rev() {
            let Some(slots) = slots.get() else { continue };
            let mut slot = home(slots.len(), mixed);
            loop {
                let bits = slots[slot].load(Ordering::Acquire);
                let Some(position) = Position::from_bits(bits & POSITION_BITS) else { break };
                if bits & !POSITION_BITS == tag(mixed)
                    && let Some(found) = look(position)
                {
                    return Some((Place { segment, slot }, found));
                }
                slot = following(slots.len(), slot);
            }
        }
        None
    }

    /// Publishes a newer version of a key that has a slot.
    #[inline]
    pub(crate) fn replace(&self, place: Place, hash: u64, position: Position) {
        let slots = self.segments[place.segment].get().expect("the slot was found in it");
        let bits = tag(self.mix(hash)) | position.to_bits();
        // Order: the bytes of the entry before its position, hence the release.
        slots[place.slot].store(bits, Ordering::Release);
    }

    /// Publishes the first version of a key.
    ///
    /// # Panics
    /// If all keys that there is room for are there.
    #[inline]
    pub(crate) fn insert(&self, end: &mut IndexEnd, hash: u64, position: Position) {
        while end.keys == self.segment_keys[end.segment] {
            end.segment += 1;
            end.keys = 0;
            assert!(end.segment < SEGMENTS, "has_room bounds the number of keys");
        }
        let slots = self.segments[end.segment].get_or_init(|| self.new_segment(end.segment));
        let mixed = self.mix(hash);
        let mut slot = home(slots.len(), mixed);
        while slots[slot].load(Ordering::Relaxed) != 0 {
            slot = following(slots.len(), slot);
        }
        end.keys += 1;
        // Order: as in `replace`.
        slots[slot].store(tag(mixed) | position.to_bits(), Ordering::Release);
    }

    #[cold]
    fn new_segment(&self, segment: usize) -> Memory<AtomicU64> {
        let count = self.slots_of(segment);
        let Some(spare) = &self.spare else { return Memory::blank_touched(count) };
        if is_long::<AtomicU64>(self.slots_of(following_segment(segment))) {
            spare.note_shortage();
        }
        spare.take_slots(count).unwrap_or_else(|| Memory::blank_touched(count))
    }

    /// How many slots a segment has.
    fn slots_of(&self, segment: usize) -> usize {
        slot_count(segment, self.segment_keys[segment])
    }

    /// Has long segments made: the one that this index needs next, and those that the next index needs before anybody
    /// may have the time for it; `false` if there was nothing to do.
    pub(crate) fn prepare(&self) -> bool {
        let newest = self.segments.iter().rposition(|slots| slots.get().is_some());
        let (Some(newest), Some(spare)) = (newest, &self.spare) else { return false };
        let soonest_first = (0..=following_segment(newest)).rev();
        let made = soonest_first
            .map(|segment| self.slots_of(segment))
            .filter(|&slots| is_long::<AtomicU64>(slots) && spare.stock_slots(slots));
        made.count() > 0
    }

    /// Begins loading the slots of a hash.
    #[inline]
    pub(crate) fn prefetch(&self, hash: u64) {
        for slots in self.segments.iter().rev().filter_map(OnceLock::get) {
            prefetch::for_loads(&slots[home(slots.len(), self.mix(hash))], 1);
        }
    }

    /// Bytes of the segments made so far.
    pub(crate) fn allocated_bytes(&self) -> usize {
        self.segments.iter().filter_map(OnceLock::get).map(|slots| size_of_val(&**slots)).sum()
    }

    #[inline]
    fn mix(&self, hash: u64) -> u64 {
        (hash ^ self.seed).wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }
}

/// The segment that is needed next; behind the last, that of another index.
fn following_segment(segment: usize) -> usize {
    (segment + 1).min(SEGMENTS - 1)
}

/// Slots for the keys of a segment: at least one is never taken, so that every search ends. Of the
/// last, which is most of the index, up to three quarters are; of the others three in five, for they
/// stay full as long as the memtable lives, and whoever looks for what is not there passes through all
/// of them: 4 slots in each, not 9.
fn slot_count(segment: usize, keys: usize) -> usize {
    let spare = if segment + 1 == SEGMENTS { keys / 3 } else { keys / 3 * 2 };
    keys + spare + 8
}

/// The slot at which a search begins: the upper bits of the hash, scaled.
#[inline]
fn home(slots: usize, mixed: u64) -> usize {
    ((u128::from(mixed) * slots as u128) >> 64) as usize
}

#[inline]
fn following(slots: usize, slot: usize) -> usize {
    if slot + 1 == slots { 0 } else { slot + 1 }
}

/// The 16 bits that a slot keeps, in place: from the middle of the hash, on which the slot at which
/// its search begins hardly depends.
#[inline]
fn tag(mixed: u64) -> u64 {
    (mixed << 24) & !POSITION_BITS
}

/// What is long enough to be worth it is left to the memtables that come.
#[cfg(not(loom))]
impl Drop for Index {
    fn drop(&mut self) {
        let Some(spare) = &self.spare else { return };
        for slots in self.segments.iter_mut().filter_map(OnceLock::take) {
            spare.keep_slots(slots);
        }
    }
}

impl fmt::Debug for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slots = self.segments.iter().filter_map(OnceLock::get).map(|slots| slots.len());
        f.debug_struct("Index").field("segment_slots", &slots.collect::<Vec<_>>()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn position(number: u64) -> Position {
        Position::from_bits(number).expect("not 0")
    }

    /// A hash of so few bits that many keys share it, and that the tags never help.
    fn poor_hash(key: u64) -> u64 {
        key % 7
    }

    /// Holds an index against its safe twin, a hash map. Versions of key `k` have the positions
    /// `k + 1000 * n`.
    #[track_caller]
    fn check_against_map(keys: u64, hash: impl Fn(u64) -> u64) {
        let index = Index::new(keys as usize, 42, None);
        let mut end = IndexEnd::default();
        let mut twin = HashMap::new();
        for step in 1..=4 * keys {
            let key = 1 + step * step % keys;
            let found = index.find(hash(key), |p| (p.to_bits() % 1_000_000 == key).then_some(p));
            assert_eq!(found.map(|(_, position)| position), twin.get(&key).copied());
            let newest = position(key + 1_000_000 * step);
            match found {
                Some((place, _)) => index.replace(place, hash(key), newest),
                None => index.insert(&mut end, hash(key), newest),
            }
            twin.insert(key, newest);
        }
    }

    #[test]
    fn the_newest_version_is_found_as_in_a_map() {
        check_against_map(10, |key| key.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        check_against_map(20_000, |key| key.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    }

    #[test]
    fn keys_with_one_hash_are_told_apart() {
        check_against_map(300, poor_hash);
    }

    #[test]
    fn exactly_as_many_keys_fit_as_there_is_room_for() {
        for keys_max in [1, 191, 192, 193, 1000, 30_000] {
            let index = Index::new(keys_max, 0, None);
            let mut end = IndexEnd::default();
            for key in 1..=keys_max as u64 {
                index.insert(&mut end, key, position(key));
            }
            assert!(index.find(1, |p| (p == position(1)).then_some(())).is_some());
            let one_more = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                index.insert(&mut end, 0, position(1));
            }));
            assert!(one_more.is_err());
        }
    }

    #[test]
    fn segments_come_into_being_as_they_are_needed() {
        let index = Index::new(1 << 20, 0, None);
        let mut end = IndexEnd::default();
        assert_eq!(index.allocated_bytes(), 0);
        index.insert(&mut end, 1, position(1));
        assert!(index.allocated_bytes() < 4 << 10);
        for key in 2..=20_000 {
            index.insert(&mut end, key << 40, position(key));
        }
        assert!(index.allocated_bytes() < 2 << 20);
    }

    #[cfg(not(loom))]
    #[test]
    fn long_segments_are_made_ready_for_this_index_and_the_next() {
        let spare = SpareMemory::new(64 << 20);
        let index = Index::new(1 << 20, 0, Some(Arc::clone(&spare)));
        let bytes_of = |segment| 8 * index.slots_of(segment);
        assert!(!index.prepare(), "nothing has begun");
        let (mut end, mut keys) = (IndexEnd::default(), 1_u64..);
        let mut kept_after = |newest: usize, kept: usize| {
            while index.segments[newest].get().is_none() {
                index.insert(&mut end, keys.next().expect("endless") << 40, position(1));
            }
            assert_eq!(index.prepare(), newest > 0, "segment {newest}");
            assert!(!index.prepare(), "once is enough");
            assert_eq!(spare.bytes(), kept, "segment {newest}");
        };
        kept_after(0, 0);
        kept_after(1, bytes_of(2));
        // The one that was ready has been taken.
        kept_after(2, bytes_of(2) + bytes_of(3));
        kept_after(3, bytes_of(2) + bytes_of(3));
    }
}
