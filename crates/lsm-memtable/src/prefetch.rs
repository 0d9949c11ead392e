//! Cache lines asked for ahead of their use.
#![allow(unsafe_code)] // One of the few files that may: a prefetch is an instruction of its own.

/// Of a cache line.
pub(crate) const LINE_BYTES: usize = 64;

/// Begins loading so many lines from `address` on, wherever that leads.
#[inline]
pub(crate) fn for_loads<T>(address: *const T, lines: usize) {
    #[cfg(target_arch = "x86_64")]
    for line in 0..lines {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let line = address.cast::<i8>().wrapping_add(LINE_BYTES * line);
        // SAFETY: a prefetch is a hint: it neither faults nor reads, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (address, lines);
}

/// The same for what will be stored to: no other processor keeps the lines.
#[inline]
pub(crate) fn for_stores<T>(address: *const T, lines: usize) {
    #[cfg(target_arch = "x86_64")]
    for line in 0..lines {
        use std::arch::x86_64::{_MM_HINT_ET0, _mm_prefetch};
        let line = address.cast::<i8>().wrapping_add(LINE_BYTES * line);
        // SAFETY: as above.
        unsafe { _mm_prefetch::<_MM_HINT_ET0>(line) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (address, lines);
}
