//! Whether a keyspace is read while it is written: only then are its new tables worth a place in the page
//! cache (docs/decisions/0038-what-nobody-reads-goes-past-the-page-cache.md), and few runs worth their merging
//! (docs/decisions/0042-what-nobody-reads-is-merged-late.md).
//!
//! ```text
//!   sealed         sealed         now
//!   ──┬───── memtable ─┬─ memtable ─┬──
//!     └──────── lookups, here ──────┘
//! ```

use std::sync::atomic::{AtomicU64, Ordering};

use lsm_compaction::Traffic;

use crate::keyspace::KeyspaceCore;
use crate::shared::Shared;

/// One lookup for so much that was written, and a keyspace is read.
const BYTES_A_LOOKUP: u64 = 64 << 10;

/// How many lookups there had been when memtables were sealed.
#[derive(Debug, Default)]
pub(crate) struct Readership {
    at_last_seal: AtomicU64,
    at_seal_before: AtomicU64,
    /// How large the last memtable was.
    sealed_bytes: AtomicU64,
}

impl Readership {
    /// A memtable of so many bytes is sealed, after so many lookups. Called under the write mutex.
    pub(crate) fn note_seal(&self, lookups: u64, bytes: u64) {
        let before = self.at_last_seal.swap(lookups, Ordering::Relaxed);
        self.at_seal_before.store(before, Ordering::Relaxed);
        self.sealed_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Whether there is somebody who reads, after so many lookups.
    pub(crate) fn is_there(&self, lookups: u64) -> bool {
        let since = lookups.saturating_sub(self.at_seal_before.load(Ordering::Relaxed));
        since >= (self.sealed_bytes.load(Ordering::Relaxed) / BYTES_A_LOOKUP).max(1)
    }
}

impl Shared {
    /// What a keyspace is used for by now.
    pub(crate) fn traffic(&self, core: &KeyspaceCore, now_ms: u64) -> Traffic {
        if self.rest.has_come(self.commit.appended(), now_ms) {
            Traffic::Rest
        } else if core.is_read() {
            Traffic::WritesAndReads
        } else {
            Traffic::WritesAlone
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMTABLE_BYTES: u64 = 100 * BYTES_A_LOOKUP;

    #[test]
    fn few_lookups_are_nobody_and_many_are_remembered_for_a_memtable() {
        let readership = Readership::default();
        readership.note_seal(0, MEMTABLE_BYTES);
        assert!(!readership.is_there(99));
        assert!(readership.is_there(100));
        readership.note_seal(100, MEMTABLE_BYTES);
        assert!(readership.is_there(100), "they came before the last seal");
        readership.note_seal(100, MEMTABLE_BYTES);
        assert!(!readership.is_there(199), "nobody has come for a memtable");
        assert!(readership.is_there(200));
    }

    #[test]
    fn nobody_reads_what_has_not_been_read_however_little_was_written() {
        let readership = Readership::default();
        assert!(!readership.is_there(0));
        assert!(readership.is_there(1));
    }
}
