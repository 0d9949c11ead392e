//! What the engine counted since it was opened, and how it stands now.

use std::sync::atomic::Ordering;
use std::time::Duration;

use lsm_compaction::{Pressure, PressureCause};
use lsm_entry::SeqNo;
use lsm_version::{LEVELS, Version};

use crate::budget::MemoryMetrics;
use crate::db::Db;
use crate::error::Error;
use crate::events::Work;
use crate::samples::{PathTimes, TouchMetrics};
use crate::shared::Shared;
use crate::view::Tree;

/// What the engine counted since it was opened, and how it stands now. [`Db::metrics`] takes it, and
/// [`to_prometheus`](Self::to_prometheus) writes it down.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Metrics {
    // The order of writes, and the log.
    /// The newest sequence number in the log's buffer.
    pub appended: SeqNo,
    /// The newest sequence number up to which everything is on disk, in the log or in tables.
    pub durable: SeqNo,
    /// The newest sequence number that reads see.
    pub visible: SeqNo,
    /// The sequence number up to which everything is in tables.
    pub flushed: SeqNo,
    /// Commits that wait for a write or a sync of the log that is under way.
    pub commits_waiting: usize,
    /// Rounds in which the log was written; group commit shows as fewer rounds than writes.
    pub log_rounds: u64,
    /// Rounds that synced.
    pub log_syncs: u64,
    /// Log segments made of the files of old ones.
    pub log_segments_recycled: u64,
    /// Bytes of log segments that a replay would read.
    pub log_bytes: u64,

    // What users asked for.
    /// Point reads, each key of a `multi_get` counted, and seeks, in keyspaces that are not dropped.
    pub lookups: u64,
    /// Puts and deletes taken into the order.
    pub entries_written: u64,
    /// Key and value bytes of those.
    pub user_bytes_written: u64,
    /// How long reads, writes, syncs and background work took.
    pub times: PathTimes,

    // Bytes written to the disk, by cause.
    /// To the log, zero-filling of new segments apart.
    pub log_bytes_written: u64,
    /// Zeros, to make log segments ready ahead of their use.
    pub log_bytes_filled: u64,
    /// Tables by flushes.
    pub flush_bytes_written: u64,
    /// Tables by the open itself, of what it found in the log.
    pub recovery_bytes_written: u64,
    /// Tables of bulk loads.
    pub ingest_bytes_written: u64,
    /// Tables by merges.
    pub compaction_bytes_written: u64,
    /// Files of checkpoints, those that were linked apart.
    pub checkpoint_bytes_written: u64,
    /// Tables of exports.
    pub export_bytes_written: u64,
    /// Edits to manifests, and new ones.
    pub manifest_bytes_written: u64,

    // Work in the background.
    /// Memtables flushed.
    pub flushes: u64,
    /// Bulk loads that became part of a keyspace.
    pub ingests: u64,
    /// Merges carried out.
    pub compactions: u64,
    /// Bytes of tables that merges read.
    pub compaction_bytes_read: u64,
    /// Entries that merges dropped: shadowed, deleted or expired.
    pub entries_dropped: u64,
    /// Sealed memtables that wait to be flushed.
    pub sealed_memtables: usize,
    /// Plans that are being carried out.
    pub compactions_running: usize,
    /// Bytes that wait to be merged, of all keyspaces.
    pub compaction_debt_bytes: u64,
    /// Files of dead tables that wait to be removed.
    pub files_to_remove: usize,
    /// Processor time of threads in the background, where the system tells.
    pub cpu: CpuTimes,
    /// Failures of background work.
    pub background_errors: u64,
    /// The last of them, if the work has not succeeded since.
    pub last_background_error: Option<Error>,

    // What writes feel.
    /// What they feel now, and why.
    pub pressure: Pressure,
    /// Milliseconds that writes spent waiting for flushes and compactions.
    pub stall_ms: u64,
    /// The same by what they waited for.
    pub stalls: [StallMetrics; PressureCause::ALL.len()],
    /// Why the database takes no more writes, if so.
    pub poison: Option<Error>,
    /// Why nothing but deletes is accepted for want of room on the disk, if so.
    pub no_space: Option<Error>,
    /// Bytes of room kept in reserve for when the disk is full.
    pub reserve_bytes: u64,

    // What compaction filters did.
    /// Values that they took away.
    pub filter_removed: u64,
    /// Values that they put others in the place of.
    pub filter_replaced: u64,
    /// Values that stay because a filter panicked, or gave a value that is too long.
    pub filter_failures: u64,

    // Reads beyond memory.
    /// Tables whose filter said "perhaps" for a key that they did not hold.
    pub filter_false_positives: u64,
    /// Entries that scans stepped over because they do not count: older versions, tombstones, what was
    /// written later. Counted when a scan ends.
    pub entries_passed: u64,
    /// Milliseconds since the oldest tombstone in a table was written, at most; `None`: there is none.
    /// In keyspaces with a `tombstone_age_limit_ms` it is kept through merges, and there is one as long as
    /// files of the log may hold what was deleted.
    pub oldest_tombstone_age_ms: Option<u64>,
    /// Milliseconds since the oldest blob file with garbage was written: no large value that nobody
    /// finds any more has been garbage for longer. `None`: there is none.
    pub oldest_blob_garbage_age_ms: Option<u64>,
    /// Tables and blocks that point reads touch.
    pub touched: TouchMetrics,
    /// Blocks found in the cache.
    pub cache_hits: u64,
    /// Blocks that had to be read into the cache.
    pub cache_misses: u64,
    /// Tables opened.
    pub tables_opened: u64,

    // What is kept.
    /// What takes memory, within one budget.
    pub memory: MemoryMetrics,
    /// Snapshots and scans registered.
    pub snapshots: usize,
    /// The oldest of them.
    pub oldest_snapshot: Option<SeqNo>,
    /// How long that has been there, in milliseconds, to within a quarter of a second: taking a snapshot
    /// asks no clock.
    pub oldest_snapshot_age_ms: Option<u64>,
    /// The tree, level by level, all keyspaces together.
    pub levels: Vec<LevelMetrics>,
    /// Bytes at the deepest level of each keyspace, where nothing is shadowed.
    pub bottom_bytes: u64,
    /// Blob files, all keyspaces together.
    pub blobs: BlobMetrics,
    /// Bytes of blob files that flushes, merges and bulk loads wrote; counted among theirs, too.
    pub blob_bytes_written: u64,
}

/// What lies in blob files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlobMetrics {
    /// Files.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Values to which tables refer.
    pub live_values: u64,
    /// Bytes of those.
    pub live_bytes: u64,
    /// Bytes of values to which no table refers any more.
    pub garbage_bytes: u64,
}

/// What lies at one level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LevelMetrics {
    /// Runs.
    pub runs: usize,
    /// Tables in them.
    pub tables: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Their entries.
    pub entries: u64,
    /// How many of those are tombstones.
    pub tombstones: u64,
    /// Range deletes, cut at each other's bounds.
    pub range_deletes: u64,
    /// Key and value bytes before encoding.
    pub raw_bytes: u64,
}

/// Writes that were held up for one cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StallMetrics {
    /// What they waited for.
    pub cause: PressureCause,
    /// How many were slowed or stopped.
    pub writes: u64,
    /// How long, all together.
    pub waited: Duration,
}

/// Processor time of work in the background.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CpuTimes {
    /// Of keeping the log.
    pub log: Duration,
    /// Of flushes.
    pub flush: Duration,
    /// Of compactions.
    pub compaction: Duration,
}

impl Metrics {
    /// Bytes written to log, tables and blob files for each byte that users wrote; 0 before the first
    /// write.
    pub fn write_amplification(&self) -> f64 {
        let written =
            self.log_bytes_written + self.flush_bytes_written + self.compaction_bytes_written;
        ratio(written, self.user_bytes_written)
    }

    /// Bytes of all tables and blob files for each byte at the deepest levels and each live one in blob
    /// files, which is about what a reader sees; 0 where there is no table. `lsm stats --count` measures it exactly, reading everything.
    pub fn space_amplification(&self) -> f64 {
        ratio(self.table_bytes() + self.blobs.bytes, self.bottom_bytes + self.blobs.live_bytes)
    }

    /// Bytes of all live tables.
    pub fn table_bytes(&self) -> u64 {
        self.levels.iter().map(|level| level.bytes).sum()
    }

    /// The part of blocks that were found in the cache; 0 before the first was looked for. Blocks of
    /// mapped, uncompressed tables are not looked for there.
    pub fn cache_hit_ratio(&self) -> f64 {
        ratio(self.cache_hits, self.cache_hits + self.cache_misses)
    }

    /// How many records a power cut would take: what the log has in its buffer or with the operating
    /// system only.
    pub fn records_not_durable(&self) -> u64 {
        self.appended.saturating_sub(self.durable)
    }

    /// How many durable records are in no table yet, so that an open would replay them.
    pub fn records_not_flushed(&self) -> u64 {
        self.durable.saturating_sub(self.flushed)
    }

    /// How many records were written after the oldest snapshot: the most that merges may have to
    /// keep old versions for.
    pub fn records_behind_oldest_snapshot(&self) -> u64 {
        self.oldest_snapshot.map_or(0, |oldest| self.visible.saturating_sub(oldest))
    }
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

impl Db {
    /// What was counted since it was opened, and how it stands now. Cheap.
    pub fn metrics(&self) -> Metrics {
        Metrics::of(self.shared())
    }
}

impl Metrics {
    fn of(shared: &Shared) -> Self {
        let (stats, commit) = (&shared.stats, &shared.commit);
        // Order: before it is asked what lies in memory. What is appended later is not in tables.
        let appended = commit.appended();
        let trees = Trees::of(shared);
        let flushed = trees.first_unflushed.map_or(appended, |first| first - 1);
        let snapshots = shared.snapshots.copy();
        let cache = shared.budget.cache();
        let stalls = shared.pressure.stalls();
        Self {
            appended,
            durable: commit.durable().max(flushed),
            visible: commit.visible(),
            flushed,
            commits_waiting: commit.waiting(),
            log_rounds: commit.rounds.load(Ordering::Relaxed),
            log_syncs: commit.syncs.load(Ordering::Relaxed),
            log_segments_recycled: shared.segments.recycled.load(Ordering::Relaxed),
            log_bytes: commit.segments_bytes(),
            lookups: trees.lookups,
            entries_written: stats.entries_written.total(),
            user_bytes_written: stats.user_bytes_written.total(),
            times: shared.samples.times(&commit.sync_times),
            log_bytes_written: commit.log_bytes.load(Ordering::Relaxed),
            log_bytes_filled: shared.segments.filled_bytes.load(Ordering::Relaxed),
            flush_bytes_written: stats.flush_bytes.total(),
            recovery_bytes_written: stats.recovery_bytes.total(),
            ingest_bytes_written: stats.ingest_bytes.total(),
            compaction_bytes_written: stats.compaction_bytes_written.total(),
            checkpoint_bytes_written: stats.checkpoint_bytes.total(),
            export_bytes_written: stats.export_bytes.total(),
            manifest_bytes_written: stats.manifest_bytes.total(),
            flushes: stats.flushes.total(),
            ingests: stats.ingests.total(),
            compactions: stats.compactions.total(),
            compaction_bytes_read: stats.compaction_bytes_read.total(),
            entries_dropped: stats.entries_dropped.total(),
            sealed_memtables: trees.sealed_memtables,
            compactions_running: shared.compaction.running(),
            compaction_debt_bytes: trees.debt_bytes,
            files_to_remove: shared.background.files_to_remove(),
            cpu: CpuTimes {
                log: stats.cpu_time(Work::Log),
                flush: stats.cpu_time(Work::Flush),
                compaction: stats.cpu_time(Work::Compaction),
            },
            background_errors: stats.background_errors.total(),
            last_background_error: shared.background.last_error(),
            pressure: shared.pressure.present(),
            stall_ms: stalls.iter().map(|stall| stall.waited).sum::<Duration>().as_millis() as u64,
            stalls,
            poison: commit.poison().cloned(),
            no_space: shared.no_room(),
            reserve_bytes: shared.reserve.bytes(),
            filter_false_positives: stats.filter_false_positives.total(),
            filter_removed: stats.filter_removed.total(),
            filter_replaced: stats.filter_replaced.total(),
            filter_failures: stats.filter_failures.total(),
            entries_passed: stats.entries_passed.total(),
            oldest_tombstone_age_ms: oldest_tombstone_age_ms(shared),
            oldest_blob_garbage_age_ms: oldest_age_ms(shared, Tree::oldest_garbage_ms),
            touched: shared.samples.touched(),
            cache_hits: cache.hits(),
            cache_misses: cache.misses(),
            tables_opened: shared.tables.opened.load(Ordering::Relaxed),
            memory: shared.memory_metrics(),
            snapshots: snapshots.len(),
            oldest_snapshot: snapshots.first().copied(),
            oldest_snapshot_age_ms: shared.snapshots.meet(shared.database_time_ms()),
            levels: trees.levels,
            bottom_bytes: trees.bottom_bytes,
            blobs: trees.blobs,
            blob_bytes_written: stats.blob_bytes.total(),
        }
    }
}

/// The age of the oldest tombstone in a table, or of what one has deleted in the log.
fn oldest_tombstone_age_ms(shared: &Shared) -> Option<u64> {
    let in_tables = oldest_age_ms(shared, Tree::oldest_tombstone_ms);
    let in_log = shared.oldest_residue_ms();
    let in_log = in_log.map(|since_ms| shared.database_time_ms().saturating_sub(since_ms));
    in_tables.max(in_log)
}

/// The age of the oldest of something, wherever it is.
fn oldest_age_ms(shared: &Shared, oldest_ms: impl Fn(&Tree) -> Option<u64>) -> Option<u64> {
    let cores = shared.live_keyspaces();
    let oldest = cores.into_iter().filter_map(|core| oldest_ms(&core.view.load().tree)).min();
    oldest.map(|oldest_ms| shared.database_time_ms().saturating_sub(oldest_ms))
}

impl BlobMetrics {
    fn note(&mut self, version: &Version) {
        for blob in version.blobs() {
            self.files += 1;
            self.bytes += blob.record.bytes;
            self.live_values += blob.live.values;
            self.live_bytes += blob.live.value_bytes;
            self.garbage_bytes += blob.garbage_bytes();
        }
    }
}

/// What all keyspaces come to.
struct Trees {
    levels: Vec<LevelMetrics>,
    bottom_bytes: u64,
    blobs: BlobMetrics,
    debt_bytes: u64,
    sealed_memtables: usize,
    lookups: u64,
    first_unflushed: Option<SeqNo>,
}

impl Trees {
    fn of(shared: &Shared) -> Self {
        let mut trees = Self {
            levels: vec![LevelMetrics::default(); LEVELS],
            bottom_bytes: 0,
            blobs: BlobMetrics::default(),
            debt_bytes: 0,
            sealed_memtables: 0,
            lookups: 0,
            first_unflushed: None,
        };
        for core in shared.live_keyspaces() {
            let view = core.view.load();
            trees.sealed_memtables += view.sealed.len();
            trees.lookups += core.lookups.total();
            let first = view.unflushed().map(|(first, _)| first);
            trees.first_unflushed = trees.first_unflushed.into_iter().chain(first).min();
            let policy = &core.options().compaction;
            let traffic = shared.traffic(&core, shared.database_time_ms());
            trees.debt_bytes += policy.as_policy().debt_bytes(&view.tree.version, traffic);
            let bottom = view.tree.runs.iter().map(|run| run.level).max();
            trees.blobs.note(&view.tree.version);
            for run in &view.tree.runs {
                let level = &mut trees.levels[run.level];
                level.runs += 1;
                level.tables += run.tables.len();
                for table in &run.tables {
                    let record = table.record();
                    level.bytes += record.bytes;
                    level.entries += record.entries;
                    level.tombstones += record.tombstones;
                    level.range_deletes += record.range_deletes;
                    level.raw_bytes += record.raw_bytes;
                    trees.bottom_bytes += if bottom == Some(run.level) { record.bytes } else { 0 };
                }
            }
        }
        while trees.levels.last().is_some_and(|level| level.tables == 0) {
            trees.levels.pop();
        }
        trees
    }
}
