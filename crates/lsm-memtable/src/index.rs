//! From a key's hash to its newest version: open addressing in segments that never move.
//!
//! A slot holds 16 bits of the hash and the 48-bit position of the newest version; 0 is empty. A
//! full segment is followed by a larger one, four at most, and each key has one slot in one of them.
#![allow(unsafe_code)] // One of the few files that may: lazily zeroed memory, and a prefetch.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::arena::Position;

/// Slots of all segments but the last.
const SEGMENT_SLOTS: [usize; 3] = [256, 8 << 10, 256 << 10];
const SEGMENTS: usize = SEGMENT_SLOTS.len() + 1;
const POSITION_BITS: u64 = (1 << 48) - 1;

/// The hash index of a memtable. One writer; readers need only acquire loads.
#[derive(Debug)]
pub(crate) struct Index {
    segments: [OnceLock<Box<[AtomicU64]>>; SEGMENTS],
    /// Slots of the last segment.
    slots_last: usize,
    seed: u64,
}

/// What the writer knows of the index.
#[derive(Debug, Default)]
pub(crate) struct IndexEnd {
    segment: usize,
    /// Slots taken in that segment.
    taken: usize,
}

/// Where a key's slot is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot {
    segment: usize,
    index: usize,
}

impl Index {
    /// An index with room for `keys` keys. `seed` is mixed into every hash, so that nobody outside
    /// can choose keys that collide.
    pub(crate) fn new(keys: usize, seed: u64) -> Self {
        let slots_last = keys + keys / 3 + 64;
        Self { segments: [const { OnceLock::new() }; SEGMENTS], slots_last, seed }
    }

    /// Slots of a segment. One that would be as large as the last is the last.
    fn slots(&self, segment: usize) -> usize {
        let slots = SEGMENT_SLOTS.get(segment).copied().unwrap_or(self.slots_last);
        slots.min(self.slots_last)
    }

    fn is_last(&self, segment: usize) -> bool {
        self.slots(segment) == self.slots_last
    }

    #[inline]
    fn mix(&self, hash: u64) -> u64 {
        (hash ^ self.seed).wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }

    #[inline]
    fn home(slots: usize, mixed: u64) -> usize {
        ((u128::from(mixed) * slots as u128) >> 64) as usize
    }

    /// The newest version of the key that `is_it` recognises, if the key is there.
    #[inline]
    pub(crate) fn find(
        &self,
        hash: u64,
        mut is_it: impl FnMut(Position) -> bool,
    ) -> Option<(Slot, Position)> {
        let mixed = self.mix(hash);
        let tag = tag_of(mixed);
        // Newest segment first: it is the largest, and holds most keys.
        for (number, segment) in self.segments.iter().enumerate().rev() {
            let Some(slots) = segment.get() else { continue };
            let mut index = Self::home(slots.len(), mixed);
            loop {
                let slot = slots[index].load(Ordering::Acquire);
                let Some(position) = Position::from_bits(slot & POSITION_BITS) else { break };
                if slot & !POSITION_BITS == tag && is_it(position) {
                    return Some((Slot { segment: number, index }, position));
                }
                index += 1;
                if index == slots.len() {
                    index = 0;
                }
            }
        }
        None
    }

    /// Begins loading the slot of a hash.
    #[inline]
    pub(crate) fn prefetch(&self, hash: u64) {
        #[cfg(target_arch = "x86_64")]
        if let Some(slots) = self.segments.iter().rev().find_map(OnceLock::get) {
            let slot = &slots[Self::home(slots.len(), self.mix(hash))];
            // SAFETY: a prefetch is a hint: it neither faults nor reads, and the address is live.
            unsafe {
                use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
                _mm_prefetch::<_MM_HINT_T0>(slot.as_ptr().cast_const().cast());
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = hash;
    }

    /// Publishes a newer version of a key that has a slot.
    #[inline]
    pub(crate) fn replace(&self, slot: Slot, hash: u64, position: Position) {
        let mixed = self.mix(hash);
        let slots = self.segments[slot.segment].get().expect("the slot was found in it");
        let bits = tag_of(mixed) | position.to_bits();
        // Order: the entry's bytes were written before its position is published.
        slots[slot.index].store(bits, Ordering::Release);
    }

    /// Publishes the first version of a key.
    pub(crate) fn insert(&self, end: &mut IndexEnd, hash: u64, position: Position) {
        // A segment takes three quarters of its slots; the last one as many as it must, but one.
        let limit = self.slots(end.segment) / 4 * 3;
        if end.taken >= limit && !self.is_last(end.segment) {
            end.segment += 1;
            end.taken = 0;
        }
        let count = self.slots(end.segment);
        assert!(end.taken + 1 < count, "has_room bounds the number of keys");
        let slots = self.segments[end.segment].get_or_init(|| blank_slots(count));
        let mixed = self.mix(hash);
        let mut index = Self::home(slots.len(), mixed);
        while slots[index].load(Ordering::Relaxed) != 0 {
            index += 1;
            if index == slots.len() {
                index = 0;
            }
        }
        end.taken += 1;
        slots[index].store(tag_of(mixed) | position.to_bits(), Ordering::Release);
    }

    /// Bytes of the segments made so far.
    pub(crate) fn allocated_bytes(&self) -> usize {
        self.segments.iter().filter_map(OnceLock::get).map(|slots| slots.len() * 8).sum()
    }
}

/// The 16 bits that a slot keeps, in place: from the middle of the mixed hash, which the home slot
/// hardly depends on.
#[inline]
fn tag_of(mixed: u64) -> u64 {
    (mixed << 24) & !POSITION_BITS
}

fn blank_slots(count: usize) -> Box<[AtomicU64]> {
    // Zeroed memory of this size comes from the system untouched.
    let slots = Box::into_raw(vec![0u64; count].into_boxed_slice());
    // SAFETY: `AtomicU64` has the layout of `u64`, and the box is not used otherwise.
    unsafe { Box::from_raw(slots as *mut [AtomicU64]) }
}
