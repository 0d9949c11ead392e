//! What threads share: from the standard library and arc-swap, or, in a build with `--cfg loom`, from
//! loom, which tries every interleaving and every value that an unsynchronised load may return.
//!
//! Whatever one thread writes and another reads in this crate comes from here, so that
//! `tests/loom` explores the very code that ships.

#[cfg(not(loom))]
pub(crate) use {
    arc_swap::ArcSwap,
    std::sync::{Mutex, MutexGuard, OnceLock, atomic},
};

#[cfg(loom)]
pub(crate) use {
    crate::modelled::{ArcSwap, OnceLock},
    loom::sync::{Mutex, MutexGuard, atomic},
};
