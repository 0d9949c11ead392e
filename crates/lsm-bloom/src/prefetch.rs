//! Asks the processor for a cache line before it is needed.
#![allow(unsafe_code)] // One of the few files that may: the prefetch instruction is an intrinsic.

use crate::probe::Line;

/// Begins loading the cache line in which `line` begins. Never faults, changes nothing.
#[inline]
pub(crate) fn prefetch(line: &Line) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch is a hint: it neither faults nor reads as far as the program can tell, and
    // the address is that of a live reference.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = line;
}
