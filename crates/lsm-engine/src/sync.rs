//! What threads share on the way of a write to whoever reads it: from the standard library and
//! arc-swap, or, in a build with `--cfg loom`, from loom, which tries every interleaving and every
//! value that an unsynchronised load may return.
//!
//! The commit queue, the three positions, views and snapshots are made of these, so that
//! `tests/loom` explores the very code that ships.

#[cfg(not(loom))]
pub(crate) use {
    arc_swap::{ArcSwap, Guard},
    std::sync::{Mutex, MutexGuard, OnceLock, atomic},
    std::thread,
    std::time::Instant,
};

#[cfg(loom)]
pub(crate) use {
    loom::sync::{Mutex, MutexGuard, atomic},
    loom::thread,
    lsm_memtable::modelled::{ArcSwap, Guard, Instant, OnceLock},
};
