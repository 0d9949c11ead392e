//! Looking inside: counters, the shape of the tree, the history of a key, the path of a read.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use lsm_compaction::Pressure;
use lsm_entry::{Cursor, Entry, Fragments, MAX_SEQ_NO, SeqNo, ValueKind, key_hash};
use lsm_memtable::Memtable;
use lsm_version::LEVELS;

use crate::budget::MemoryMetrics;
use crate::db::Db;
use crate::error::{Error, Result};
use crate::keyspace::Keyspace;
use crate::tables::LiveTable;
use crate::value::Slice;
use crate::view::View;

/// What the engine counted since it was opened, and how it stands now.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Metrics {
    /// The newest sequence number in the log's buffer.
    pub appended: SeqNo,
    /// The newest sequence number on disk.
    pub durable: SeqNo,
    /// The newest sequence number that reads see.
    pub visible: SeqNo,
    /// Point reads, each key of a `multi_get` counted, and seeks, in keyspaces that are not dropped.
    pub lookups: u64,
    /// Tables whose filter said "perhaps" for a key that they did not hold.
    pub filter_false_positives: u64,
    /// Puts and deletes taken into the order.
    pub entries_written: u64,
    /// Key and value bytes of those.
    pub user_bytes_written: u64,
    /// Bytes written to the log, zero-filling of new segments apart.
    pub log_bytes_written: u64,
    /// Rounds in which the log was written; group commit shows as fewer rounds than writes.
    pub log_rounds: u64,
    /// Rounds that synced.
    pub log_syncs: u64,
    /// Bytes of zeros written to make log segments ready, ahead of their use.
    pub log_bytes_filled: u64,
    /// Log segments made of the files of old ones.
    pub log_segments_recycled: u64,
    /// Bytes of log segments that a replay would read.
    pub log_bytes: u64,
    /// Memtables flushed.
    pub flushes: u64,
    /// Bytes of the tables that flushes wrote.
    pub flush_bytes_written: u64,
    /// Bulk loads that became part of a keyspace.
    pub ingests: u64,
    /// Bytes of the tables that they brought.
    pub ingest_bytes_written: u64,
    /// Merges carried out.
    pub compactions: u64,
    /// Bytes of tables that merges read.
    pub compaction_bytes_read: u64,
    /// Bytes of tables that merges wrote.
    pub compaction_bytes_written: u64,
    /// Entries that merges dropped: shadowed, deleted or expired.
    pub entries_dropped: u64,
    /// Bytes that memtables have allocated.
    pub memtable_bytes: u64,
    /// Sealed memtables that wait to be flushed.
    pub sealed_memtables: usize,
    /// What takes memory, within one budget.
    pub memory: MemoryMetrics,
    /// Bytes in the block cache.
    pub cache_bytes: u64,
    /// Blocks found in the cache, and not found.
    pub cache_hits: u64,
    /// Blocks that had to be read into the cache.
    pub cache_misses: u64,
    /// Tables opened.
    pub tables_opened: u64,
    /// Snapshots and scans registered.
    pub snapshots: usize,
    /// The oldest of them.
    pub oldest_snapshot: Option<SeqNo>,
    /// What writes feel, and why.
    pub pressure: Pressure,
    /// Milliseconds that writes spent waiting for flushes and compactions.
    pub stall_ms: u64,
    /// Failures of background work.
    pub background_errors: u64,
    /// The last of them, if the work has not succeeded since.
    pub last_background_error: Option<Error>,
    /// Why the database takes no more writes, if so.
    pub poison: Option<Error>,
    /// Why nothing but deletes is accepted for want of room on the disk, if so.
    pub no_space: Option<Error>,
    /// Bytes of room kept in reserve for when the disk is full.
    pub reserve_bytes: u64,
    /// The tree, level by level, all keyspaces together.
    pub levels: Vec<LevelMetrics>,
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

impl Metrics {
    /// Bytes written to log and tables for each byte that users wrote; 0 before the first write.
    pub fn write_amplification(&self) -> f64 {
        let written =
            self.log_bytes_written + self.flush_bytes_written + self.compaction_bytes_written;
        if self.user_bytes_written == 0 {
            0.0
        } else {
            written as f64 / self.user_bytes_written as f64
        }
    }

    /// Bytes of all live tables.
    pub fn table_bytes(&self) -> u64 {
        self.levels.iter().map(|level| level.bytes).sum()
    }
}

impl Db {
    /// What was counted since it was opened, and how it stands now. Cheap.
    pub fn metrics(&self) -> Metrics {
        let shared = self.shared();
        let (stats, commit) = (&shared.stats, &shared.commit);
        let mut levels = vec![LevelMetrics::default(); LEVELS];
        let (mut memtable_bytes, mut sealed_memtables, mut lookups) = (0, 0, 0);
        for core in shared.live_keyspaces() {
            let view = core.view.load();
            sealed_memtables += view.sealed.len();
            lookups += core.lookups.total();
            let memtables = std::iter::once(&view.active).chain(&view.sealed);
            memtable_bytes += memtables.map(|m| m.allocated_bytes() as u64).sum::<u64>();
            for run in &view.tree.runs {
                let level = &mut levels[run.level];
                level.runs += 1;
                level.tables += run.tables.len();
                for table in &run.tables {
                    let record = table.record();
                    level.bytes += record.bytes;
                    level.entries += record.entries;
                    level.tombstones += record.tombstones;
                    level.range_deletes += record.range_deletes;
                    level.raw_bytes += record.raw_bytes;
                }
            }
        }
        while levels.last().is_some_and(|level| level.tables == 0) {
            levels.pop();
        }
        let log_bytes = if shared.is_read_only { 0 } else { shared.log_bytes() };
        let snapshots = shared.snapshots.copy();
        let cache = shared.budget.cache();
        Metrics {
            appended: commit.appended(),
            durable: commit.durable(),
            visible: commit.visible(),
            lookups,
            filter_false_positives: stats.filter_false_positives.total(),
            entries_written: stats.entries_written.total(),
            user_bytes_written: stats.user_bytes_written.total(),
            log_bytes_written: commit.log_bytes.load(Ordering::Relaxed),
            log_rounds: commit.rounds.load(Ordering::Relaxed),
            log_syncs: commit.syncs.load(Ordering::Relaxed),
            log_bytes_filled: shared.segments.filled_bytes.load(Ordering::Relaxed),
            log_segments_recycled: shared.segments.recycled.load(Ordering::Relaxed),
            log_bytes,
            flushes: stats.flushes.total(),
            flush_bytes_written: stats.flush_bytes.total(),
            ingests: stats.ingests.total(),
            ingest_bytes_written: stats.ingest_bytes.total(),
            compactions: stats.compactions.total(),
            compaction_bytes_read: stats.compaction_bytes_read.total(),
            compaction_bytes_written: stats.compaction_bytes_written.total(),
            entries_dropped: stats.entries_dropped.total(),
            memtable_bytes,
            sealed_memtables,
            memory: shared.memory_metrics(),
            cache_bytes: cache.used_bytes(),
            cache_hits: cache.hits(),
            cache_misses: cache.misses(),
            tables_opened: shared.tables.opened.load(Ordering::Relaxed),
            snapshots: snapshots.len(),
            oldest_snapshot: snapshots.first().copied(),
            pressure: shared.pressure.present(),
            stall_ms: shared.pressure.stalled_ns.load(Ordering::Relaxed) / 1_000_000,
            background_errors: stats.background_errors.total(),
            last_background_error: shared.background.last_error(),
            poison: commit.poison().cloned(),
            no_space: shared.no_room(),
            reserve_bytes: shared.reserve.bytes(),
            levels,
        }
    }
}

/// The tables of a keyspace, as they lie over the key space.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Every run, newest first.
    pub runs: Vec<RunShape>,
}

/// One run of a tree.
#[derive(Clone, Debug)]
pub struct RunShape {
    /// The level it lies in.
    pub level: usize,
    /// Its tables, in key order.
    pub tables: Vec<TableShape>,
}

/// One table of a run.
#[derive(Clone, Debug)]
pub struct TableShape {
    /// Its file number.
    pub number: u64,
    /// Its smallest key.
    pub lower: Vec<u8>,
    /// Its largest key.
    pub upper: Vec<u8>,
    /// Its file's length.
    pub bytes: u64,
    /// Its entries.
    pub entries: u64,
    /// How many of them are tombstones.
    pub tombstones: u64,
    /// Its range deletes, cut at each other's bounds.
    pub range_deletes: u64,
}

/// Where an entry was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the memtable that takes writes.
    ActiveMemtable,
    /// In the n-th sealed memtable, 0 the newest.
    SealedMemtable(usize),
    /// In a table.
    Table {
        /// The level it lies in.
        level: usize,
        /// Its file number.
        number: u64,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ActiveMemtable => f.write_str("active memtable"),
            Self::SealedMemtable(index) => write!(f, "sealed memtable {index}"),
            Self::Table { level, number } => write!(f, "level {level}, table {number:06}"),
        }
    }
}

/// One version of a key, wherever it lies.
#[derive(Clone, Debug)]
pub struct KeyVersion {
    /// When it was written, in the one order.
    pub seq_no: SeqNo,
    /// What it does.
    pub kind: ValueKind,
    /// Its value; empty for a tombstone; of a range delete the first key beyond it, empty if there is
    /// none.
    pub value: Slice,
    /// Where it lies.
    pub place: Place,
}

/// The path that one read takes, step by step.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// What was looked at, in order; the last step found the key, if any did.
    pub steps: Vec<ExplainStep>,
    /// The value, if there is one.
    pub value: Option<Slice>,
}

/// One place that a read looked at.
#[derive(Clone, Debug)]
pub struct ExplainStep {
    /// Where it looked.
    pub place: Place,
    /// What came of it, in words.
    pub outcome: String,
    /// How long it took, in nanoseconds.
    pub elapsed_ns: u64,
}

impl Keyspace {
    /// The tables as they lie over the key space.
    pub fn shape(&self) -> Shape {
        let view = self.core.view.load();
        let table = |live: &Arc<LiveTable>| {
            let record = live.record();
            TableShape {
                number: record.number,
                lower: record.lower.clone(),
                upper: record.upper.clone(),
                bytes: record.bytes,
                entries: record.entries,
                tombstones: record.tombstones,
                range_deletes: record.range_deletes,
            }
        };
        let runs = view.tree.runs.iter().map(|run| RunShape {
            level: run.level,
            tables: run.tables.iter().map(table).collect(),
        });
        Shape { runs: runs.collect() }
    }

    /// Every version of `key` that is still there, newest first, visible or not, and the range deletes
    /// that cover it.
    ///
    /// # Errors
    /// `Corrupt`, `Io`, `Closed`, `Invalid`.
    pub fn history(&self, key: impl AsRef<[u8]>) -> Result<Vec<KeyVersion>> {
        self.db.shared.check_readable(&self.core)?;
        let key = key.as_ref();
        let mut versions = Vec::new();
        let mut note = |entry: &Entry<'_>, place: &Place| {
            versions.push(KeyVersion {
                seq_no: entry.seq_no,
                kind: entry.kind(),
                value: Slice::copied(entry.user_value()),
                place: place.clone(),
            });
        };
        let covering = |fragments: &Fragments, place: &Place| -> Vec<KeyVersion> {
            let Some(fragment) = fragments.find(key) else { return Vec::new() };
            let version = |seq_no: &SeqNo| KeyVersion {
                seq_no: *seq_no,
                kind: ValueKind::RangeDelete,
                value: Slice::copied(fragment.upper()),
                place: place.clone(),
            };
            fragment.seq_nos().iter().map(version).collect()
        };
        let view = self.core.view.load_full();
        let mut range_deletes = Vec::new();
        for (place, memtable) in memtables(&view) {
            if let Some(fragments) = memtable.range_deletes() {
                range_deletes.append(&mut covering(&fragments, &place));
            }
            let mut cursor = memtable.cursor();
            let Ok(()) = cursor.seek(key, MAX_SEQ_NO);
            while let Some(entry) = cursor.entry().filter(|entry| entry.key == key) {
                note(&entry, &place);
                let Ok(()) = cursor.next();
            }
        }
        for run in &view.tree.runs {
            let Some(live) = run.find(key) else { continue };
            let place = Place::Table { level: run.level, number: live.record().number };
            if let Some(fragments) = live.range_deletes()? {
                range_deletes.append(&mut covering(fragments, &place));
            }
            let mut cursor = live.table()?.cursor();
            cursor.seek(key, MAX_SEQ_NO)?;
            while let Some(entry) = cursor.entry().filter(|entry| entry.key == key) {
                note(&entry, &place);
                cursor.next()?;
            }
        }
        versions.append(&mut range_deletes);
        versions.sort_by_key(|version| std::cmp::Reverse(version.seq_no));
        versions.dedup_by_key(|version| version.seq_no);
        Ok(versions)
    }

    /// The path that a `get` of `key` takes now, with the time each step took.
    ///
    /// # Errors
    /// `Corrupt`, `Io`, `Closed`, `Invalid`.
    pub fn explain(&self, key: impl AsRef<[u8]>) -> Result<Explanation> {
        let shared = &self.db.shared;
        shared.check_readable(&self.core)?;
        let key = key.as_ref();
        let view = self.core.view.load_full();
        let seq_no = shared.commit.visible();
        let hash = key_hash(key);
        let mut explanation = Explanation { steps: Vec::new(), value: None };
        for (place, memtable) in memtables(&view) {
            let began = Instant::now();
            let cover = memtable.cover(key, seq_no);
            let entry = memtable.get(key, hash, seq_no).filter(|entry| entry.seq_no >= cover);
            let absent = if cover > 0 { describe_cover(cover) } else { "not there".into() };
            let outcome = entry.as_ref().map_or(absent, describe);
            explanation.note(place, outcome, began);
            if entry.is_none() && cover > 0 {
                return Ok(explanation);
            }
            if let Some(entry) = entry {
                explanation.value = shared.resolve(&entry).map(Slice::copied);
                return Ok(explanation);
            }
        }
        for run in &view.tree.runs {
            let Some(live) = run.find(key) else { continue };
            let place = Place::Table { level: run.level, number: live.record().number };
            let began = Instant::now();
            let table = live.table()?;
            let cover = live.cover(key, seq_no)?;
            let may_contain = table.may_contain(hash);
            let newer = |entry: &Entry<'_>| entry.seq_no >= cover;
            let found = match may_contain {
                false => None,
                true => table.get_with(key, hash, seq_no, |entry| {
                    newer(&entry)
                        .then(|| (describe(&entry), shared.resolve(&entry).map(Slice::copied)))
                })?,
            };
            let found = found.flatten();
            if found.is_none() && cover > 0 {
                explanation.note(place, describe_cover(cover), began);
                return Ok(explanation);
            }
            if !may_contain {
                explanation.note(place, "filter says no".into(), began);
                continue;
            }
            match found {
                Some((outcome, value)) => {
                    explanation.note(place, format!("filter says perhaps; {outcome}"), began);
                    explanation.value = value;
                    return Ok(explanation);
                }
                None => {
                    let outcome = "filter says perhaps, wrongly: one block read for nothing";
                    explanation.note(place, outcome.into(), began);
                }
            }
        }
        Ok(explanation)
    }
}

impl Explanation {
    fn note(&mut self, place: Place, outcome: String, began: Instant) {
        let elapsed_ns = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.steps.push(ExplainStep { place, outcome, elapsed_ns });
    }
}

fn describe(entry: &Entry<'_>) -> String {
    format!("found {:?} with sequence number {}", entry.kind(), entry.seq_no)
}

fn describe_cover(cover: SeqNo) -> String {
    format!("range delete with sequence number {cover} covers it")
}

/// The memtables of a view, newest first.
fn memtables(view: &View) -> impl Iterator<Item = (Place, &Arc<Memtable>)> {
    let sealed = view.sealed.iter().enumerate();
    let sealed = sealed.map(|(index, memtable)| (Place::SealedMemtable(index), memtable));
    std::iter::once((Place::ActiveMemtable, &view.active)).chain(sealed)
}
