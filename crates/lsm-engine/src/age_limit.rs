//! Within which time what was deleted has to leave the disk.
//!
//! A large value goes in two steps: its reference, with the tombstone that hides it, in a merge; then its
//! bytes, when the blob file is written anew. Where a keyspace has blob files, each step has half of the
//! limit. Garbage counts as old as the file that it lies in, for nobody notes when it became garbage.

use lsm_compaction::{CompactionPolicy, is_overdue};
use lsm_version::Version;

use crate::options::KeyspaceOptions;
use crate::view::Tree;

/// What a keyspace's limit asks of its tables and blob files.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct AgeLimit {
    pub(crate) tombstones_ms: Option<u64>,
    blobs_ms: Option<u64>,
}

impl AgeLimit {
    pub(crate) fn of(options: &KeyspaceOptions, version: &Version) -> Self {
        match options.tombstone_age_limit_ms {
            // What a FIFO keyspace holds goes whole, in its time.
            Some(_) if matches!(options.compaction, CompactionPolicy::Fifo(_)) => Self::default(),
            Some(limit_ms) if version.blobs().next().is_some() => {
                let half_ms = Some((limit_ms / 2).max(1));
                Self { tombstones_ms: half_ms, blobs_ms: half_ms }
            }
            limit_ms => Self { tombstones_ms: limit_ms, blobs_ms: None },
        }
    }

    /// Garbage in a blob file that was written then, or before, is to go.
    pub(crate) fn blobs_written_by(self, now_ms: u64) -> Option<u64> {
        self.blobs_ms.map(|blobs_ms| now_ms.saturating_sub(blobs_ms))
    }

    /// Whether something has lain in a tree's tables, or their blob files, for too long.
    pub(crate) fn is_exceeded(self, tree: &Tree, now_ms: u64) -> bool {
        let is_old = |oldest_ms| {
            self.tombstones_ms.is_some_and(|limit_ms| now_ms.saturating_sub(oldest_ms) >= limit_ms)
        };
        let written_by_ms = self.blobs_written_by(now_ms);
        tree.oldest_tombstone_ms().is_some_and(is_old)
            || tree.version.blobs().any(|blob| is_overdue(blob, written_by_ms))
    }
}
