//! What a user may choose. A dozen settings that matter; everything else is derived from them.
//!
//! An option has its line in `options/listing.rs`, which reads what it does from the comments here.

mod lint;
mod listing;

use std::fmt::{self, Write as _};
use std::time::{Duration, Instant};

use lsm_memtable::MemtableOptions;

pub use lsm_compaction::CompactionPolicy;
pub use lsm_sstable::Compression;
pub use lsm_wal::RecoveryMode;

pub use self::lint::LintFinding;
pub use self::listing::OptionRow;

use crate::env::Env;
use crate::error::{Error, Result};
use crate::events::Listener;
use crate::history::Retention;
use crate::operator::Operator;
use crate::reserve::RESERVE_BYTES_MIN;
use crate::value_filter::ValueFilter;

const MIB: u64 = 1 << 20;
/// The least `blob_threshold_bytes`: a shorter value takes less room than a blob file's share of it.
const BLOB_THRESHOLD_BYTES_MIN: u64 = 64;

/// When a write is acknowledged, and so what it survives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Durability {
    /// When its bytes are in the log's buffer. Survives nothing; the order of writes is kept.
    Memory,
    /// When its bytes are with the operating system. Survives a killed process.
    Os,
    /// When the log is synced, shared by all who wait for it. Survives power loss.
    #[default]
    Disk,
}

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

/// How one write is made; the default takes the database's durability and waits without limit.
#[derive(Clone, Copy, Debug, Default)]
pub struct WriteOptions {
    /// When to acknowledge; `None`: as [`Options::durability`] says.
    pub durability: Option<Durability>,
    /// The longest wait for a place in the order, while flushes or compactions lag. Past it the
    /// write fails with `Busy` and nothing is written.
    pub deadline: Option<Duration>,
}

impl WriteOptions {
    /// The default with this durability.
    pub fn durability(durability: Durability) -> Self {
        Self { durability: Some(durability), ..Self::default() }
    }

    /// `None`: the write waits without limit, or so long that it does not matter.
    pub(crate) fn deadline_from_now(&self) -> Option<Instant> {
        self.deadline.and_then(|wait| Instant::now().checked_add(wait))
    }
}

/// How a database behaves. Checked once, when it is opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// Create the database if there is none (default: yes).
    pub create_if_missing: bool,
    /// One budget for memtables, block cache, filters, indexes and cursors together, in bytes
    /// (default 512 MiB, or a quarter of what the container allows or the machine has if that is
    /// less; at least 4 MiB). Mapped tables live in the operating system's cache and do not count.
    pub memory_bytes: u64,
    /// Size at which a memtable is sealed; earlier where memory is short. More: fewer, larger flushes
    /// and less write amplification. `None`: an eighth of `memory_bytes`, at most 64 MiB.
    pub memtable_bytes: Option<u64>,
    /// The most that the block cache takes, with filters, indexes and cursors, at most seven eighths
    /// of `memory_bytes`; memtables have the rest. `None`: half of `memory_bytes`.
    pub cache_bytes: Option<u64>,
    /// When a write is acknowledged unless it says otherwise (default `Disk`).
    pub durability: Durability,
    /// Threads that compact (default 2). One more flushes, one keeps the log.
    pub background_threads: usize,
    /// Most bytes a second that flushes and compactions may write together; `None`: no limit. A
    /// flush goes before a compaction. Changeable live.
    pub write_rate_bytes_per_second: Option<u64>,
    /// Size of a log segment (default 64 MiB, at least 64 KiB).
    pub log_segment_bytes: u64,
    /// When the log grows beyond this, the keyspace that holds its oldest segment is flushed
    /// (default 512 MiB).
    pub log_bytes_max: u64,
    /// Bytes of log segments that are kept for followers ([`Db::changes`](crate::Db::changes)) beyond
    /// those that recovery needs (default 0). The disk holds at most so much more, a segment apart;
    /// they are given up while it is full. Changeable live.
    pub changes_retention_bytes: u64,
    /// How long a segment is kept for followers, within `changes_retention_bytes`, in milliseconds from
    /// when recovery has no need of it any more, or from the opening that found it; `None`: as long as
    /// there is room. Changeable live.
    pub changes_retention_ms: Option<u64>,
    /// Age at which a memtable is flushed although it is not full; `None`: never.
    pub flush_interval_ms: Option<u64>,
    /// Where blocks of uncompressed tables are read from.
    pub read_mode: ReadMode,
    /// Map log segments and store into them, instead of calling the operating system for each
    /// commit that does not wait for the disk; as safe, and several times faster (default: yes).
    /// Without effect on file systems that may need room to overwrite.
    pub map_log: bool,
    /// What recovery does about damage in the log.
    pub recovery: RecoveryMode,
    /// Open keyspaces also where their merge operators and compaction filters are not given, as tools
    /// do that read any database (default: no). Reads that meet merge operands fail with `Merge` then;
    /// flushes and merges leave operands as they are, and filter nothing.
    pub without_operators: bool,
    /// Options of the default keyspace, and of others opened without their own.
    pub keyspace: KeyspaceOptions,
    /// Room kept on the disk, as a file `RESERVE`, for when it is full: deletes, flushes and
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
        if let Some(rate) = self.write_rate_bytes_per_second {
            at_least("write_rate_bytes_per_second", rate, 64 << 10)?;
        }
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

fn at_least(field: &str, value: u64, minimum: u64) -> Result<()> {
    if value >= minimum {
        return Ok(());
    }
    Err(Error::invalid(format!("option {field} is {value}; at least {minimum} is accepted")))
}

/// How one keyspace is kept. Saved with the database.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyspaceOptions {
    /// Which tables are merged when.
    pub compaction: CompactionPolicy,
    /// Compression per level, from level 0 on; the last one given holds for deeper levels. Empty:
    /// none anywhere.
    pub compression: Vec<Compression>,
    /// Filter bits per key; `None`: no filters. 10 bits give about one false positive in a hundred.
    pub filter_bits_per_key: Option<f32>,
    /// Size of a data block before compression (default 4 KiB, 256 bytes to 1 MiB).
    pub block_bytes: u32,
    /// How long a put is kept that does not say ([`put_ttl`](crate::Keyspace::put_ttl) does), in
    /// milliseconds from when it is written; `None`: for ever. A change holds for later puts.
    pub ttl_ms: Option<u64>,
    /// What merge operands come to; `None`: none are accepted. Its name is saved, and it stays: it has
    /// to be given whenever the keyspace is opened, unless it is one of this library's.
    pub merge_operator: Option<Operator>,
    /// What merges ask about each value that they copy and that no snapshot sees; `None`: nothing. Its
    /// name is saved, and it has to be given whenever the keyspace is opened; it can be changed, and
    /// taken away. A keyspace with a filter has no merge operator and no `blob_threshold_bytes`.
    pub compaction_filter: Option<ValueFilter>,
    /// Values of this length or longer are kept apart from their keys, in blob files, once they are
    /// flushed: merges then move 20 bytes for each instead of the value. `None` (the default): none
    /// are. Lower saves more writing; higher saves reads a jump from the key to the value. At least
    /// 64; below 1 KiB little is gained. Merge operands always stay with their keys.
    pub blob_threshold_bytes: Option<u64>,
    /// Milliseconds after which what was deleted has left the disk, tombstones included; `None`: when
    /// merges come by. Half of it may pass in memory; then the range of an overdue table is merged to
    /// the bottom, whatever that costs. A snapshot that sees what was deleted keeps it, and what a
    /// FIFO keyspace holds goes by that policy alone.
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
        if let Some(filter) = &self.compaction_filter {
            filter.check()?;
            let operator = self.merge_operator.as_ref();
            let operator = operator.map(|it| format!("merge_operator is \"{}\"", it.name()));
            let blobs = self.blob_threshold_bytes;
            let blobs = blobs.map(|bytes| format!("blob_threshold_bytes is {bytes}"));
            if let Some(other) = operator.or(blobs) {
                return Err(Error::invalid(format!(
                    "option compaction_filter is \"{}\" and {other}; one of them is accepted",
                    filter.name()
                )));
            }
        }
        if let Some(bytes) = self.blob_threshold_bytes {
            at_least("blob_threshold_bytes", bytes, BLOB_THRESHOLD_BYTES_MIN)?;
        }
        // Each table costs a file, and a place in memory and manifest.
        at_least("table_bytes", self.compaction.table_bytes(), 4 << 10)
    }

    /// Reads the form that `Display` writes.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let mut options = Self::default();
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let (name, value) = line
                .split_once(':')
                .map(|(name, value)| (name.trim(), value.trim()))
                .ok_or_else(|| Error::corrupt(format!("saved option \"{line}\" has no value")))?;
            let wrong = || Error::corrupt(format!("saved option {name} is \"{value}\""));
            match name {
                "compaction" => options.compaction = value.parse().map_err(|_| wrong())?,
                "compression" => {
                    options.compression = value
                        .split_whitespace()
                        .map(parse_compression)
                        .collect::<Option<_>>()
                        .ok_or_else(wrong)?;
                }
                "filter_bits_per_key" => {
                    options.filter_bits_per_key = if value == "none" {
                        None
                    } else {
                        Some(
                            value
                                .parse()
                                .ok()
                                .filter(|bits: &f32| !bits.is_nan())
                                .ok_or_else(wrong)?,
                        )
                    };
                }
                "blob_threshold_bytes" => {
                    options.blob_threshold_bytes = match value {
                        "none" => None,
                        _ => Some(value.parse().map_err(|_| wrong())?),
                    };
                }
                "block_bytes" => options.block_bytes = value.parse().map_err(|_| wrong())?,
                "ttl_ms" => {
                    let ttl = || value.parse().map(Some).map_err(|_| wrong());
                    options.ttl_ms = if value == "none" { None } else { ttl()? };
                }
                "merge_operator" => options.merge_operator = Some(Operator::saved(value)),
                "compaction_filter" => {
                    options.compaction_filter = Some(ValueFilter::saved(value));
                }
                "tombstone_age_limit_ms" => {
                    options.tombstone_age_limit_ms = Some(value.parse().map_err(|_| wrong())?);
                }
                // An option that a newer version wrote and that this one can do without.
                _ => {}
            }
        }
        Ok(options)
    }
}

impl fmt::Display for KeyspaceOptions {
    /// One option a line: the form in which they are saved.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "compaction: {}", self.compaction)?;
        let mut levels = String::new();
        for &level in &self.compression {
            write!(levels, " {}", compression_name(level))?;
        }
        writeln!(f, "compression:{levels}")?;
        match self.filter_bits_per_key {
            Some(bits) => writeln!(f, "filter_bits_per_key: {bits}")?,
            None => writeln!(f, "filter_bits_per_key: none")?,
        }
        writeln!(f, "block_bytes: {}", self.block_bytes)?;
        // Left out where there is none: a keyspace without it is saved as it always was.
        if let Some(bytes) = self.blob_threshold_bytes {
            writeln!(f, "blob_threshold_bytes: {bytes}")?;
        }
        self.ttl_ms.map_or(Ok(()), |ttl| writeln!(f, "ttl_ms: {ttl}"))?;
        if let Some(operator) = &self.merge_operator {
            writeln!(f, "merge_operator: {}", operator.name())?;
        }
        if let Some(filter) = &self.compaction_filter {
            writeln!(f, "compaction_filter: {}", filter.name())?;
        }
        match self.tombstone_age_limit_ms {
            Some(limit_ms) => writeln!(f, "tombstone_age_limit_ms: {limit_ms}"),
            None => Ok(()),
        }
    }
}

/// Reads arbitrary bytes as saved options; what can be read comes back the same.
#[doc(hidden)]
pub fn fuzz_options(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(options) = KeyspaceOptions::parse(text)
    {
        let saved = options.to_string();
        let again = KeyspaceOptions::parse(&saved);
        assert!(again.as_ref().is_ok_and(|again| *again == options), "{saved}: {again:?}");
    }
}

fn compression_name(compression: Compression) -> String {
    match compression {
        Compression::None => "none".into(),
        Compression::Lz4 => "lz4".into(),
        #[allow(unreachable_patterns)] // Without the zstd feature nothing else is left.
        Compression::Zstd(level) => format!("zstd({level})"),
        #[allow(unreachable_patterns)]
        _ => "none".into(),
    }
}

fn parse_compression(name: &str) -> Option<Compression> {
    match name {
        "none" => Some(Compression::None),
        "lz4" => Some(Compression::Lz4),
        _ => {
            let level = name.strip_prefix("zstd(")?.strip_suffix(')')?;
            Some(Compression::Zstd(level.parse().ok()?))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn saved_keyspace_options_read_back_the_same() {
        let options = KeyspaceOptions {
            compression: vec![Compression::None, Compression::Lz4, Compression::Zstd(1)],
            filter_bits_per_key: None,
            block_bytes: 512,
            ttl_ms: Some(3_600_000),
            merge_operator: Some(Operator::saved("somebody's")),
            compaction_filter: Some(ValueFilter::saved("somebody's")),
            blob_threshold_bytes: Some(4096),
            tombstone_age_limit_ms: Some(7),
            ..KeyspaceOptions::default()
        };
        assert_eq!(KeyspaceOptions::parse(&options.to_string()).unwrap(), options);
        let default = KeyspaceOptions::default();
        assert_eq!(KeyspaceOptions::parse(&default.to_string()).unwrap(), default);
    }

    #[test]
    fn saved_options_that_are_no_number_are_refused() {
        let error = KeyspaceOptions::parse("filter_bits_per_key: NaN").unwrap_err();
        assert_eq!(error.to_string(), "saved option filter_bits_per_key is \"NaN\"");
        let largest = "block_bytes: 4294967295";
        assert!(KeyspaceOptions::parse(largest).unwrap().check().is_err());
    }

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
