//! What looks unwise among options that are all acceptable.

use std::fmt;

use lsm_compaction::CompactionPolicy;
use lsm_sstable::Compression;
use lsm_wal::RecoveryMode;

use super::{Durability, KeyspaceOptions, MIB, Options, ReadMode};

/// An option that looks unwise. It is accepted all the same.
///
/// ```
/// use lsm_engine::{Durability, Options};
///
/// let options = Options { durability: Durability::Memory, ..Options::default() };
/// for finding in options.lint() {
///     eprintln!("{finding}");
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LintFinding {
    /// The option's name.
    pub option: &'static str,
    /// Its value.
    pub value: String,
    /// What is unwise about it.
    pub reason: String,
    /// What to do.
    pub advice: &'static str,
}

impl fmt::Display for LintFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { option, value, reason, advice } = self;
        write!(f, "option {option} is {value}: {reason}; {advice}")
    }
}

/// What options are held against.
#[derive(Clone, Copy, Debug)]
struct Machine {
    memory_limit_bytes: Option<u64>,
    processors: usize,
}

/// Findings as they come up.
#[derive(Debug, Default)]
struct Findings(Vec<LintFinding>);

impl Findings {
    #[allow(clippy::needless_pass_by_value)] // Numbers and names, as they are at hand.
    fn add(
        &mut self,
        option: &'static str,
        value: impl ToString,
        reason: impl Into<String>,
        advice: &'static str,
    ) {
        let (value, reason) = (value.to_string(), reason.into());
        self.0.push(LintFinding { option, value, reason, advice });
    }
}

impl Options {
    /// What looks unwise, why, and what to do; empty for the defaults. Unlike what an open refuses,
    /// all of it works.
    pub fn lint(&self) -> Vec<LintFinding> {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        self.lint_on(Machine { memory_limit_bytes: lsm_io::memory_limit_bytes(), processors })
    }

    fn lint_on(&self, machine: Machine) -> Vec<LintFinding> {
        let mut findings = Findings::default();
        self.lint_memory(machine, &mut findings);
        self.lint_log(&mut findings);
        self.lint_background(machine, &mut findings);
        findings.0.extend(self.keyspace.lint());
        findings.0
    }

    fn lint_memory(&self, machine: Machine, findings: &mut Findings) {
        if let Some(limit) = machine.memory_limit_bytes
            && self.memory_bytes > limit / 2
        {
            findings.add(
                "memory_bytes",
                self.memory_bytes,
                format!(
                    "this process may use {limit} bytes in all, and needs memory beside the budget: \
                     the allocator's, the program's own, the log's buffers, and mapped files"
                ),
                "take a quarter of the limit, as the default does",
            );
        }
        if let Some(bytes) = self.cache_bytes
            && bytes > self.cache_part_bytes()
        {
            findings.add(
                "cache_bytes",
                bytes,
                format!(
                    "no more than seven eighths of memory_bytes ({}) are used",
                    self.memory_bytes
                ),
                "raise memory_bytes or lower cache_bytes",
            );
        }
        if self.read_mode == ReadMode::Cached && self.effective_cache_bytes() < 8 * MIB {
            findings.add(
                "cache_bytes",
                self.effective_cache_bytes(),
                "with read_mode Cached every block that is read passes through the cache, and few fit",
                "raise memory_bytes or cache_bytes, or read mapped files",
            );
        }
        let Some(bytes) = self.memtable_bytes else { return };
        let part = self.memtables_part_bytes();
        if bytes > part / 3 {
            findings.add(
                "memtable_bytes",
                bytes,
                format!(
                    "memtables may take {part} bytes together, index and order included, so they are \
                     sealed before they are full, and writes wait for flushes"
                ),
                "raise memory_bytes to eight times memtable_bytes, or lower memtable_bytes",
            );
        } else if bytes < MIB {
            findings.add(
                "memtable_bytes",
                bytes,
                "each flush writes a small table, and merging many of them costs more than it saves",
                "leave it to be derived from memory_bytes",
            );
        }
    }

    fn lint_log(&self, findings: &mut Findings) {
        match self.durability {
            Durability::Disk => {}
            Durability::Os => findings.add(
                "durability",
                "Os",
                "a power cut takes back writes that were acknowledged",
                "keep Disk, and choose less for the writes that can do with less",
            ),
            Durability::Memory => findings.add(
                "durability",
                "Memory",
                "a killed process takes back writes that were acknowledged",
                "keep Disk, and choose less for the writes that can do with less",
            ),
        }
        let memtable_bytes = self.effective_memtable_bytes();
        if self.log_bytes_max < 2 * memtable_bytes {
            findings.add(
                "log_bytes_max",
                self.log_bytes_max,
                format!(
                    "memtables of {memtable_bytes} bytes are flushed for the log's sake, half full"
                ),
                "take at least four times the size of a memtable",
            );
        }
        if self.log_bytes_max < 2 * self.log_segment_bytes {
            findings.add(
                "log_bytes_max",
                self.log_bytes_max,
                format!(
                    "a segment of {} bytes is released only as a whole, so the log is always over its \
                     limit",
                    self.log_segment_bytes
                ),
                "take at least four segments, or shorter ones",
            );
        }
        if let Some(age_ms) = self.changes_retention_ms
            && self.changes_retention_bytes == 0
        {
            findings.add(
                "changes_retention_ms",
                age_ms,
                "changes_retention_bytes is 0, so nothing is kept for followers, however young",
                "set changes_retention_bytes to what the disk can spare",
            );
        }
        if matches!(self.recovery, RecoveryMode::Salvage) {
            findings.add(
                "recovery",
                "Salvage",
                "each open skips what is damaged in the log and goes on without it",
                "open once with it, look at recovery_report().losses, and go back to Default",
            );
        }
        if self.reserve_bytes == Some(0) {
            findings.add(
                "reserve_bytes",
                0,
                "on a full disk not even deletes find room",
                "leave it to be derived",
            );
        }
    }

    fn lint_background(&self, machine: Machine, findings: &mut Findings) {
        if self.background_threads > 2 * machine.processors.max(1) {
            findings.add(
                "background_threads",
                self.background_threads,
                format!(
                    "there are {} processors, and merges keep one busy each",
                    machine.processors
                ),
                "take as many as there are processors",
            );
        }
        if let Some(rate) = self.write_rate_bytes_per_second
            && rate < 8 * MIB
        {
            findings.add(
                "write_rate_bytes_per_second",
                rate,
                "flushes share it with merges, which write each byte several times: writes wait once a \
                 fraction of this comes in",
                "take ten times the rate of writes that is to be borne",
            );
        }
        if let Some(interval_ms) = self.flush_interval_ms
            && interval_ms < 1000
        {
            findings.add(
                "flush_interval_ms",
                interval_ms,
                "a table a moment for each keyspace has to be merged with all the others",
                "take a minute or more: what is in the log is safe already",
            );
        }
    }
}

impl KeyspaceOptions {
    /// What looks unwise, why, and what to do; empty for the defaults.
    pub fn lint(&self) -> Vec<LintFinding> {
        let mut findings = Findings::default();
        match self.filter_bits_per_key {
            None => findings.add(
                "filter_bits_per_key",
                "none",
                "a read of a key looks into every run that may hold it",
                "take 10 bits, unless the keyspace is only ever scanned",
            ),
            Some(bits) if bits < 5.0 => findings.add(
                "filter_bits_per_key",
                bits,
                "a filter of so few bits says perhaps to more than one key in ten that is not there",
                "take 10 bits",
            ),
            Some(bits) if bits > 20.0 => findings.add(
                "filter_bits_per_key",
                bits,
                "beyond 20 bits filters cost memory and are hardly ever wrong before it",
                "take 10 to 16 bits",
            ),
            Some(_) => {}
        }
        if let Some(bytes) = self.blob_threshold_bytes
            && bytes < 512
        {
            findings.add(
                "blob_threshold_bytes",
                bytes,
                "a reference and a checksum take 32 bytes, and a read goes to a second place",
                "take 1 KiB or more",
            );
        }
        if self.block_bytes > 64 << 10 {
            findings.add(
                "block_bytes",
                self.block_bytes,
                "a point read brings in and checks a whole block",
                "take 4 to 16 KiB, or 32 KiB where compression matters more than reads",
            );
        } else if self.block_bytes < 1 << 10 {
            findings.add(
                "block_bytes",
                self.block_bytes,
                "the index has an entry for each block, and becomes a large part of the table",
                "take 4 KiB",
            );
        }
        if let Some(first) = self.compression.first()
            && !matches!(first, Compression::None | Compression::Lz4)
        {
            findings.add(
                "compression",
                *first,
                "the first level is written while writers wait for it, and is soon merged away",
                "begin the list with none or lz4",
            );
        }
        let is_fifo = matches!(self.compaction, CompactionPolicy::Fifo(_));
        if let Some(limit_ms) = self.tombstone_age_limit_ms {
            let name = "tombstone_age_limit_ms";
            if is_fifo {
                findings.add(
                    name,
                    limit_ms,
                    "with the FIFO policy nothing is merged for the sake of what was deleted",
                    "take another policy, or give FIFO an age_max_ms",
                );
            } else if limit_ms < 60_000 {
                findings.add(
                    name,
                    limit_ms,
                    "a few deletes are enough to have whole ranges written anew each time it passes",
                    "take the longest time that whoever asked for it allows, hours or days",
                );
            }
        }
        let table_bytes = self.compaction.table_bytes();
        if table_bytes < MIB && !is_fifo {
            findings.add(
                "compaction",
                &self.compaction,
                format!(
                    "tables of {table_bytes} bytes cost a file and an entry in the manifest each"
                ),
                "take tables of 16 to 64 MiB",
            );
        }
        findings.0
    }
}

#[cfg(test)]
mod tests {
    use lsm_compaction::{FifoOptions, LeveledOptions};

    use super::*;

    const MACHINE: Machine = Machine { memory_limit_bytes: Some(4 << 30), processors: 2 };

    fn defaults() -> Options {
        Options { memory_bytes: 512 * MIB, ..Options::default() }
    }

    /// Lints the defaults with a change, which should be found under this name, once.
    #[track_caller]
    fn check_found(option: &str, change: impl FnOnce(&mut Options)) {
        let mut options = defaults();
        change(&mut options);
        options.check().expect("acceptable");
        let found = options.lint_on(MACHINE);
        let names: Vec<_> = found.iter().map(|finding| finding.option).collect();
        assert_eq!(names, [option], "{found:#?}");
    }

    #[test]
    fn nothing_is_unwise_about_the_defaults() {
        assert_eq!(defaults().lint_on(MACHINE), []);
        let unlimited = Machine { memory_limit_bytes: None, processors: 1 };
        assert_eq!(defaults().lint_on(unlimited), []);
    }

    #[test]
    fn what_is_unwise_about_memory_is_found() {
        check_found("memory_bytes", |options| options.memory_bytes = 3 << 30);
        check_found("cache_bytes", |options| options.cache_bytes = Some(500 * MIB));
        check_found("cache_bytes", |options| {
            options.read_mode = ReadMode::Cached;
            options.cache_bytes = Some(MIB);
        });
        check_found("memtable_bytes", |options| options.memtable_bytes = Some(128 * MIB));
        check_found("memtable_bytes", |options| options.memtable_bytes = Some(4 << 10));
    }

    #[test]
    fn what_is_unwise_about_the_log_is_found() {
        check_found("durability", |options| options.durability = Durability::Os);
        check_found("durability", |options| options.durability = Durability::Memory);
        check_found("log_bytes_max", |options| {
            (options.log_segment_bytes, options.log_bytes_max) = (MIB, 100 * MIB);
        });
        check_found("log_bytes_max", |options| options.log_segment_bytes = 512 * MIB);
        check_found("recovery", |options| options.recovery = RecoveryMode::Salvage);
        check_found("reserve_bytes", |options| options.reserve_bytes = Some(0));
        check_found("changes_retention_ms", |options| options.changes_retention_ms = Some(1000));
    }

    #[test]
    fn what_is_unwise_about_work_in_the_background_is_found() {
        check_found("background_threads", |options| options.background_threads = 16);
        check_found("write_rate_bytes_per_second", |options| {
            options.write_rate_bytes_per_second = Some(MIB);
        });
        check_found("flush_interval_ms", |options| options.flush_interval_ms = Some(10));
    }

    #[test]
    fn what_is_unwise_about_a_keyspace_is_found() {
        check_found("filter_bits_per_key", |options| options.keyspace.filter_bits_per_key = None);
        for bits in [2.0, 40.0] {
            check_found("filter_bits_per_key", |options| {
                options.keyspace.filter_bits_per_key = Some(bits);
            });
        }
        check_found("block_bytes", |options| options.keyspace.block_bytes = 256 << 10);
        check_found("block_bytes", |options| options.keyspace.block_bytes = 256);
        check_found("blob_threshold_bytes", |options| {
            options.keyspace.blob_threshold_bytes = Some(100);
        });
        check_found("tombstone_age_limit_ms", |options| {
            options.keyspace.tombstone_age_limit_ms = Some(50);
        });
        check_found("tombstone_age_limit_ms", |options| {
            options.keyspace.compaction = CompactionPolicy::Fifo(FifoOptions::default());
            options.keyspace.tombstone_age_limit_ms = Some(86_400_000);
        });
        check_found("compaction", |options| {
            let leveled = LeveledOptions { table_bytes: 64 << 10, ..LeveledOptions::default() };
            options.keyspace.compaction = CompactionPolicy::Leveled(leveled);
        });
    }

    #[test]
    fn a_finding_names_option_value_reason_and_advice() {
        let mut options = defaults();
        options.reserve_bytes = Some(0);
        let found = options.lint_on(MACHINE);
        let expected = "option reserve_bytes is 0: on a full disk not even deletes find room; leave \
                        it to be derived";
        assert_eq!(found[0].to_string(), expected);
    }
}
