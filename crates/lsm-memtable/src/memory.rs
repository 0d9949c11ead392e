//! Memory for arenas and indexes, blank at first: short pieces from the allocator, long ones from the system.
//!
//! The system clears a page when it is first touched, and a guest may have to get it from its host. So whoever
//! can makes long pieces [ready](Memory::ready) before they are needed, and in *large pages* (2 MiB, where the
//! system has such): in small ones what lies as far apart as the entries of a memtable is slow to be
//! found, for its addresses are not in the processor's table of pages. What nobody made ready comes in small
//! pages, for a large one may take milliseconds.
#![allow(unsafe_code)] // One of the few files that may: zero as a value of atomics and cells.

use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::ops::Deref;
use std::ptr::NonNull;

use crate::sync::atomic::AtomicU64;

/// Pieces from here on come from the system itself.
#[cfg(not(loom))]
const LONG_BYTES: usize = 1 << 20;
#[cfg(not(loom))]
const LARGE_PAGE_BYTES: usize = 2 << 20;
#[cfg(not(loom))]
const PAGE_BYTES: usize = 4 << 10;

/// A byte that is written once, by one thread, while others may look at its neighbours.
pub(crate) type Cell = UnsafeCell<MaybeUninit<u8>>;

/// What memory may hold.
///
/// # Safety
/// Zero bits must be a value of the type, which must need no drop.
pub(crate) unsafe trait Blank {
    /// The value of zero bits.
    #[cfg(loom)]
    fn blank() -> Self;
}

// SAFETY: every bit pattern is a value of an integer. (Loom's own is not made of zero bits, but by `blank`.)
unsafe impl Blank for AtomicU64 {
    #[cfg(loom)]
    fn blank() -> Self {
        Self::new(0)
    }
}

// SAFETY: anything at all is a value of `MaybeUninit`.
unsafe impl Blank for Cell {
    #[cfg(loom)]
    fn blank() -> Self {
        Self::new(MaybeUninit::uninit())
    }
}

/// So many `T`, at first of zero bits.
pub(crate) struct Memory<T> {
    // Invariant: `count` values of `T`, for as long as `owner` lives.
    start: NonNull<T>,
    count: usize,
    owner: Owner,
}

/// Who gives the memory back.
enum Owner {
    /// `Memory` itself, to the allocator.
    Allocator,
    /// The mapping, to the system.
    #[cfg(not(loom))]
    System(#[allow(dead_code)] memmap2::MmapMut),
}

// SAFETY: it owns its values, as a boxed slice does.
unsafe impl<T: Send> Send for Memory<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Memory<T> {}

impl<T: Blank> Memory<T> {
    /// So many values of zero bits.
    pub(crate) fn blank(count: usize) -> Self {
        #[cfg(not(loom))]
        if is_long::<T>(count)
            && let Some(memory) = Self::of_system(count)
        {
            return memory;
        }
        let values = NonNull::from(Box::leak(blank_values::<T>(count)));
        Self { start: values.cast(), count, owner: Owner::Allocator }
    }

    /// The same for values that are loaded before they are stored: of short pieces every page is there already.
    /// A page that is loaded first is one of zeros that all share, and is changed for another at the first
    /// store, of which all processors are told.
    pub(crate) fn blank_touched(count: usize) -> Self {
        let memory = Self::blank(count);
        if let Owner::Allocator = memory.owner {
            memory.touch();
        }
        memory
    }

    /// The same, of which every page is there already if it is long, and a large one if the system has such.
    pub(crate) fn ready(count: usize) -> Self {
        let memory = Self::blank(count);
        #[cfg(not(loom))]
        if let Owner::System(map) = &memory.owner {
            // A system that does not know them gives small pages.
            #[cfg(target_os = "linux")]
            let _ = map.advise(memmap2::Advice::HugePage);
            memory.touch();
        }
        memory
    }

    /// Has the system give every page. By stores: to ask for all at once (`MADV_POPULATE_WRITE`) locks the whole
    /// address space meanwhile, and then a writer that allocates waits for the host.
    fn touch(&self) {
        #[cfg(not(loom))]
        for at in (0..self.count * size_of::<T>()).step_by(PAGE_BYTES) {
            // Volatile: a compiler knows that there is a 0 already.
            // SAFETY: inside of the piece, whose zero bits are values, and of which nobody else knows yet.
            unsafe { self.start.cast::<u8>().add(at).write_volatile(0) };
        }
    }

    /// The same from the system; `None` if it gives none.
    #[cfg(not(loom))]
    fn of_system(count: usize) -> Option<Self> {
        let bytes = count * size_of::<T>();
        let is_larger = bytes >= LARGE_PAGE_BYTES;
        // Of a length that is a multiple of it, every page can be a large one.
        let whole = if is_larger { bytes.next_multiple_of(LARGE_PAGE_BYTES) } else { bytes };
        let mut map = memmap2::MmapMut::map_anon(whole).ok()?;
        // Fresh pages are zero, and begin where any type may.
        let start = NonNull::new(map.as_mut_ptr().cast())?;
        Some(Self { start, count, owner: Owner::System(map) })
    }
}

/// Whether so many values come from the system itself.
#[cfg(not(loom))]
pub(crate) fn is_long<T>(count: usize) -> bool {
    count * size_of::<T>() >= LONG_BYTES
}

/// Nothing is long where loom watches.
#[cfg(loom)]
pub(crate) fn is_long<T>(_count: usize) -> bool {
    false
}

#[cfg(not(loom))]
fn blank_values<T: Blank>(count: usize) -> Box<[T]> {
    // SAFETY: zero bits are a value.
    unsafe { Box::<[T]>::new_zeroed_slice(count).assume_init() }
}

/// What loom watches is made value by value.
#[cfg(loom)]
fn blank_values<T: Blank>(count: usize) -> Box<[T]> {
    (0..count).map(|_| T::blank()).collect()
}

impl<T> Deref for Memory<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: see the invariant; values are changed through cells and atomics alone.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.count) }
    }
}

impl<T> Drop for Memory<T> {
    fn drop(&mut self) {
        match self.owner {
            Owner::Allocator => {
                let values = std::ptr::slice_from_raw_parts_mut(self.start.as_ptr(), self.count);
                // SAFETY: it was leaked from such a box, and nobody refers to it any more.
                drop(unsafe { Box::from_raw(values) });
            }
            #[cfg(not(loom))]
            Owner::System(_) => {}
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;

    #[test]
    fn pieces_of_any_length_are_blank_and_hold_what_is_stored() {
        let long = LONG_BYTES / size_of::<AtomicU64>();
        let lengths = [0, 1, 100, long - 1, long, long + 1, 3 * long, 2 * long - 1];
        let makers = [Memory::<AtomicU64>::blank, Memory::blank_touched, Memory::ready];
        for (count, make) in lengths.into_iter().flat_map(|count| makers.map(|make| (count, make)))
        {
            let memory = make(count);
            assert_eq!(memory.len(), count);
            assert!(memory.iter().all(|word| word.load(Ordering::Relaxed) == 0), "{count}");
            for (place, word) in memory.iter().enumerate() {
                word.store(place as u64 + 1, Ordering::Relaxed);
            }
            let sum: u64 = memory.iter().map(|word| word.load(Ordering::Relaxed)).sum();
            assert_eq!(sum, (1..=count as u64).sum());
        }
    }
}
