//! What the tests share: memtables of a size, and numbers that look random.

use std::sync::Arc;

use lsm_memtable::{Memtable, MemtableOptions};

pub(crate) fn options(capacity_bytes: usize) -> MemtableOptions {
    MemtableOptions { capacity_bytes, ..MemtableOptions::default() }
}

pub(crate) fn memtable(capacity_bytes: usize) -> Arc<Memtable> {
    Arc::new(Memtable::new(options(capacity_bytes)))
}

/// A splitmix64 generator.
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^ (word >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}
