//! What a user may choose. A dozen settings that matter; everything else is derived from them.
//!
//! Here are those of a database. Those of a keyspace are in `options/keyspace.rs`, and the form in which
//! they are saved in `options/saved.rs`; those of a write in `options/write.rs`. An option has its line
//! in `options/listing.rs`, which reads what it does from the comments.

mod keyspace;
mod lint;
mod listing;
mod saved;
mod write;

use lsm_memtable::MemtableOptions;

pub use lsm_compaction::CompactionPolicy;
pub use lsm_sstable::Compression;
pub use lsm_wal::RecoveryMode;

pub use self::keyspace::KeyspaceOptions;
pub use self::lint::LintFinding;
pub use self::listing::OptionRow;
pub use self::saved::fuzz_options;
pub use self::write::{Durability, WriteOptions};

use crate::env::{Env, Spawn};
use crate::error::{Error, Result};
use crate::events::Listener;
use crate::history::Retention;
use crate::reserve::RESERVE_BYTES_MIN;

const MIB: u64 = 1 << 20;
/// The smallest budget with which tables go past the page cache.
const PAST_CACHE_MEMORY_BYTES_MIN: u64 = 128 * MIB;

/// Where the blocks of uncompressed tables are read from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadMode {
    /// From files mapped into memory: no lookup, no copy. The operating system ends the process
    /// when a mapped file cannot be read.
    #[default]
    Mapped,
    /// Read into the block cache; a read error is an error like any other.
    Cached,
}

/// How a database behaves. Checked once, when it is opened: the error names the option, its value and
/// what is accepted.
///
/// ```
/// use lsm_engine::{Db, Durability, Options};
///
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("my.db");
/// let options = Options {
///     memory_bytes: 64 << 20,
///     durability: Durability::Os, // Writes survive a killed process, and a power cut once synced.
///     ..Options::default()
/// };
/// let db = Db::open_with(path, options)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Options {
    /// Create the database if there is none (default: yes).
    pub create_if_missing: bool,
    /// One budget for memtables, block cache, filters, indexes and cursors together, in bytes
    /// (default 512 MiB, or a quarter of what the container allows or the machine has if that is
    /// less; at least 4 MiB). Mapped tables live in the operating system's cache and do not count.
    pub memory_bytes: u64,
    /// Size at which a memtable is sealed; earlier where memory is short. More: fewer, larger flushes
    /// and less write amplification. `None`: an eighth of `memory_bytes`, at most 64 MiB. At least
    /// 4 KiB.
    pub memtable_bytes: Option<u64>,
    /// The most bytes that the block cache takes, with filters, indexes and cursors, at most seven
    /// eighths of `memory_bytes`; memtables have the rest. `None`: half of `memory_bytes`.
    pub cache_bytes: Option<u64>,
    /// When a write is acknowledged unless it says otherwise (default `Disk`).
    pub durability: Durability,
    /// Threads that compact (default 2, 1 to 64). One more flushes, one keeps the log. A merge of several
    /// tables is divided between all that have nothing else to do.
    pub background_threads: usize,
    /// Most bytes a second that flushes and compactions may write together, at least 64 KiB; `None`:
    /// no limit. A flush goes before a compaction. Changeable live
    /// ([`Db::set_write_rate`](crate::Db::set_write_rate)).
    pub write_rate_bytes_per_second: Option<u64>,
    /// Size of a log segment in bytes (default 64 MiB, at least 64 KiB).
    pub log_segment_bytes: u64,
    /// When the log grows beyond this many bytes, the keyspace that holds its oldest segment is flushed
    /// (default 512 MiB, at least `log_segment_bytes`). More: fewer flushes of keyspaces that are
    /// seldom written, and more to replay after a crash.
    pub log_bytes_max: u64,
    /// Bytes of log segments that are kept for followers ([`Db::changes`](crate::Db::changes)) beyond
    /// those that recovery needs (default 0). The disk holds at most so much more, a segment apart;
    /// they are given up while it is full. Changeable live.
    pub changes_retention_bytes: u64,
    /// How long a segment is kept for followers, within `changes_retention_bytes`, in milliseconds from
    /// when recovery has no need of it any more, or, of one that an opening found, from when the next
    /// one was begun; `None`: as long as there is room. Changeable live.
    pub changes_retention_ms: Option<u64>,
    /// Age in milliseconds, at least 1, at which a memtable is flushed although it is not full; `None`:
    /// never.
    pub flush_interval_ms: Option<u64>,
    /// Where blocks of uncompressed tables are read from.
    pub read_mode: ReadMode,
    /// Map log segments and store into them, instead of calling the operating system for each
    /// commit that does not wait for the disk; as safe, and several times faster (default: yes).
    /// Without effect on file systems that may need room to overwrite.
    pub map_log: bool,
    /// What recovery does about damage in the log (default: it cuts what a crash has torn at its end,
    /// and refuses to open where durable data is damaged).
    pub recovery: RecoveryMode,
    /// Open keyspaces also where their merge operators and compaction filters are not given, as tools
    /// do that read any database (default: no). Reads that meet merge operands fail with `Merge` then;
    /// flushes and merges leave operands as they are, and filter nothing.
    pub without_operators: bool,
    /// Options of the default keyspace, and of others opened without their own.
    pub keyspace: KeyspaceOptions,
    /// Bytes kept on the disk, as a file `RESERVE`, for when it is full: deletes, flushes and
    /// compactions go on with it. `None`: a little more than the log takes, at most one memtable and
    /// 384 KiB. `Some`: the same, but at most so much; 0 keeps none.
    pub reserve_bytes: Option<u64>,
    /// Is told what happens inside, from the opening on; [`Db::on_event`](crate::Db::on_event) adds
    /// more of them.
    pub listener: Option<Listener>,
    /// Files, clock, randomness and threads. Leave it alone outside tests.
    pub env: Env,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            create_if_missing: true,
            memory_bytes: default_memory_bytes(lsm_io::memory_limit_bytes()),
            memtable_bytes: None,
            cache_bytes: None,
            durability: Durability::Disk,
            background_threads: 2,
            write_rate_bytes_per_second: None,
            log_segment_bytes: 64 * MIB,
            log_bytes_max: 512 * MIB,
            changes_retention_bytes: 0,
            changes_retention_ms: None,
            flush_interval_ms: None,
            read_mode: ReadMode::Mapped,
            map_log: true,
            recovery: RecoveryMode::Default,
            without_operators: false,
            keyspace: KeyspaceOptions::default(),
            reserve_bytes: None,
            listener: None,
            env: Env::default(),
        }
    }
}

impl Options {
    /// The size at which a memtable is sealed, chosen or derived, in bytes.
    pub fn effective_memtable_bytes(&self) -> u64 {
        let derived = (self.memory_bytes / 8).min(self.memtables_part_bytes() / 4);
        self.memtable_bytes.unwrap_or(derived.clamp(64 << 10, 64 * MIB))
    }

    /// How much of the log is kept for followers.
    pub(crate) fn changes_retention(&self) -> Retention {
        let (bytes_max, age_ms_max) = (self.changes_retention_bytes, self.changes_retention_ms);
        Retention { bytes_max, age_ms_max }
    }

    /// How a memtable is sized that has room for at least `data_bytes`.
    pub(crate) fn memtable_options(&self, hash_seed: u64, data_bytes: u64) -> MemtableOptions {
        let capacity = self.effective_memtable_bytes().max(data_bytes);
        let capacity_bytes = usize::try_from(capacity).unwrap_or(usize::MAX);
        MemtableOptions { capacity_bytes, hash_seed }
    }

    /// Whether tables may go past the page cache: where there is memory for what that takes beside the budget, some 40
    /// MiB with all threads at work. In a simulation it takes none, and everything is to be tried.
    pub(crate) fn may_go_past_cache(&self) -> bool {
        self.env.spawn != Spawn::Threads || self.memory_bytes >= PAST_CACHE_MEMORY_BYTES_MIN
    }

    /// What flushed memtables may leave to the next: the memory of one, its index included.
    pub(crate) fn spare_memtable_bytes(&self) -> usize {
        usize::try_from(self.effective_memtable_bytes() / 4 * 5).unwrap_or(usize::MAX)
    }

    /// The part of `memory_bytes` that the cache takes, with what belongs to open tables and cursors.
    pub(crate) fn cache_part_bytes(&self) -> u64 {
        self.effective_cache_bytes().min(self.memory_bytes / 8 * 7)
    }

    /// The part of `memory_bytes` that memtables take, those of all keyspaces together.
    pub(crate) fn memtables_part_bytes(&self) -> u64 {
        self.memory_bytes - self.cache_part_bytes()
    }

    /// The block cache's size, chosen or derived, in bytes.
    pub fn effective_cache_bytes(&self) -> u64 {
        self.cache_bytes.unwrap_or(self.memory_bytes / 2)
    }

    /// The largest reserve, in bytes.
    pub(crate) fn reserve_bytes_max(&self) -> u64 {
        let derived = self.effective_memtable_bytes() + RESERVE_BYTES_MIN;
        self.reserve_bytes.map_or(derived, |bytes| bytes.min(derived))
    }

    /// The largest batch, in bytes of encoded records.
    pub(crate) fn batch_bytes_max(&self) -> u64 {
        (self.memory_bytes / 4).clamp(1, 1 << 31)
    }

    pub(crate) fn check(&self) -> Result<()> {
        at_least("memory_bytes", self.memory_bytes, 4 * MIB)?;
        at_least("log_segment_bytes", self.log_segment_bytes, 64 << 10)?;
        at_least("log_bytes_max", self.log_bytes_max, self.log_segment_bytes)?;
        if let Some(bytes) = self.memtable_bytes {
            at_least("memtable_bytes", bytes, 4 << 10)?;
        }
        check_write_rate(self.write_rate_bytes_per_second)?;
        if let Some(interval) = self.flush_interval_ms {
            at_least("flush_interval_ms", interval, 1)?;
        }
        if !(1..=64).contains(&self.background_threads) {
            return Err(Error::invalid(format!(
                "option background_threads is {}; 1 to 64 are accepted",
                self.background_threads
            )));
        }
        self.keyspace.check()
    }
}

/// A quarter of what this process may use is a share that leaves the program it is embedded in, and
/// the operating system's cache, most of it.
fn default_memory_bytes(limit_bytes: Option<u64>) -> u64 {
    limit_bytes.map_or(512 * MIB, |limit| (limit / 4).clamp(4 * MIB, 512 * MIB))
}

/// Refuses a rate at which nothing would come to its end.
pub(crate) fn check_write_rate(bytes_per_second: Option<u64>) -> Result<()> {
    let check = |rate| at_least("write_rate_bytes_per_second", rate, 64 << 10);
    bytes_per_second.map_or(Ok(()), check)
}

fn at_least(field: &str, value: u64, minimum: u64) -> Result<()> {
    if value >= minimum {
        return Ok(());
    }
    Err(Error::invalid(format!("option {field} is {value}; at least {minimum} is accepted")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_container_has_a_small_budget() {
        assert_eq!(default_memory_bytes(None), 512 * MIB);
        assert_eq!(default_memory_bytes(Some(64 << 30)), 512 * MIB);
        assert_eq!(default_memory_bytes(Some(256 * MIB)), 64 * MIB);
        assert_eq!(default_memory_bytes(Some(MIB)), 4 * MIB);
    }

    #[test]
    fn an_unacceptable_option_is_named_with_its_value() {
        let options = Options { memory_bytes: 17, ..Options::default() };
        let message = options.check().unwrap_err().to_string();
        assert_eq!(message, "option memory_bytes is 17; at least 4194304 is accepted");
    }
}
