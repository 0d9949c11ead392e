//! What a user may choose for each keyspace.

use lsm_compaction::CompactionPolicy;
use lsm_sstable::Compression;

use super::at_least;
use crate::error::{Error, Result};
use crate::operator::Operator;
use crate::value_filter::ValueFilter;

/// The least `blob_threshold_bytes`: a shorter value takes less room than a blob file's share of it.
const BLOB_THRESHOLD_BYTES_MIN: u64 = 64;

/// How one keyspace is kept. Saved with the database.
///
/// ```
/// use lsm_engine::{Compression, Db, KeyspaceOptions};
///
/// # let dir = tempfile::tempdir()?;
/// let db = Db::open(dir.path())?;
/// let options = KeyspaceOptions {
///     compression: vec![Compression::None, Compression::Lz4], // Level 0 is read and merged soon.
///     ttl_ms: Some(24 * 3600 * 1000),
///     ..KeyspaceOptions::default()
/// };
/// let sessions = db.keyspace_with("sessions", options.clone())?;
/// sessions.set_options(KeyspaceOptions { ttl_ms: None, ..options })?; // Live.
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct KeyspaceOptions {
    /// Which tables are merged when (default: leveled).
    pub compaction: CompactionPolicy,
    /// Compression per level, from level 0 on; the last one given holds for deeper levels. Empty:
    /// none anywhere. Zstd takes the feature `zstd` of this crate, which is off by default: a program
    /// built without it does not open a database that asks for it, and reads no table that has it.
    pub compression: Vec<Compression>,
    /// Filter bits per key (default 10, 1 to 64); `None`: no filters. 10 bits give about one false
    /// positive in a hundred.
    pub filter_bits_per_key: Option<f32>,
    /// Size of a data block in bytes, before compression (default 4096, 256 to 1 MiB). More: better
    /// compression and a smaller index, and more to read for one entry.
    pub block_bytes: u32,
    /// How long a put is kept that does not say ([`put_ttl`](crate::Keyspace::put_ttl) does), in
    /// milliseconds, at least 1, from when it is written; `None`: for ever. A change holds for later
    /// puts.
    pub ttl_ms: Option<u64>,
    /// What merge operands come to; `None`: none are accepted. Its name is saved, and it stays: it has
    /// to be given whenever the keyspace is opened, unless it is one of this library's.
    pub merge_operator: Option<Operator>,
    /// What merges ask about each value that they copy and that no snapshot sees; `None`: nothing. Its
    /// name is saved, and it has to be given whenever the keyspace is opened; it can be changed, and
    /// taken away. Large values in blob files are read for it, unless it goes by the key. Of merge
    /// operands it is told what they come to.
    pub compaction_filter: Option<ValueFilter>,
    /// Values of so many bytes or more are kept apart from their keys, in blob files, once they are
    /// flushed: merges then move 20 bytes for each instead of the value. `None` (the default): none
    /// are. Lower saves more writing; higher saves reads a jump from the key to the value. At least
    /// 64; below 1 KiB little is gained. Merge operands always stay with their keys.
    pub blob_threshold_bytes: Option<u64>,
    /// Milliseconds, at least 1, after which what was deleted has left the disk, tombstones included;
    /// `None`: when merges come by. Half of it may pass in memory, that of other keyspaces as well, for they share
    /// the log, which is held to it, too; then the range of an overdue table is merged to
    /// the bottom, whatever that costs. A snapshot that sees what was deleted keeps it, and so does a history
    /// of changes that was asked for; what a FIFO keyspace holds goes by that policy alone.
    pub tombstone_age_limit_ms: Option<u64>,
}

impl Default for KeyspaceOptions {
    fn default() -> Self {
        Self {
            compaction: CompactionPolicy::default(),
            compression: Vec::new(),
            filter_bits_per_key: Some(10.0),
            block_bytes: 4096,
            ttl_ms: None,
            merge_operator: None,
            compaction_filter: None,
            blob_threshold_bytes: None,
            tombstone_age_limit_ms: None,
        }
    }
}

impl KeyspaceOptions {
    /// The compression of tables at `level`.
    pub fn compression_at(&self, level: usize) -> Compression {
        let last = self.compression.last().copied().unwrap_or(Compression::None);
        self.compression.get(level).copied().unwrap_or(last)
    }

    /// The same with this merge operator.
    pub(crate) fn with_operator(&self, operator: Option<&Operator>) -> Self {
        Self { merge_operator: operator.cloned(), ..self.clone() }
    }

    /// The same with this compaction filter.
    pub(crate) fn with_filter(&self, filter: Option<&ValueFilter>) -> Self {
        Self { compaction_filter: filter.cloned(), ..self.clone() }
    }

    pub(crate) fn check(&self) -> Result<()> {
        if !(256..=1 << 20).contains(&self.block_bytes) {
            return Err(Error::invalid(format!(
                "option block_bytes is {}; 256 to 1048576 are accepted",
                self.block_bytes
            )));
        }
        if let Some(bits) = self.filter_bits_per_key
            && !(1.0..=64.0).contains(&bits)
        {
            return Err(Error::invalid(format!(
                "option filter_bits_per_key is {bits}; 1 to 64 are accepted, or none"
            )));
        }
        if let Some(ttl) = self.ttl_ms {
            at_least("ttl_ms", ttl, 1)?;
        }
        if let Some(limit_ms) = self.tombstone_age_limit_ms {
            at_least("tombstone_age_limit_ms", limit_ms, 1)?;
        }
        self.merge_operator.as_ref().map_or(Ok(()), Operator::check)?;
        self.compaction_filter.as_ref().map_or(Ok(()), ValueFilter::check)?;
        if let Some(bytes) = self.blob_threshold_bytes {
            at_least("blob_threshold_bytes", bytes, BLOB_THRESHOLD_BYTES_MIN)?;
        }
        // Each table costs a file, and a place in memory and manifest.
        at_least("table_bytes", self.compaction.table_bytes(), 4 << 10)
    }
}
