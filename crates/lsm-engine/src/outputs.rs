//! Tables in the making: what a flush, a merge or a recovery writes before an edit names it.
//!
//! Order: a table's blob files are durable before it is, and both before the edit.

mod separate;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lsm_compaction::TableSink;
use lsm_entry::{Entry, RangeDelete, SeqNo};
use lsm_io::{Identity, OpenMode, SharedFile, SharedFs, WriteBehind};
use lsm_manifest::{FileKind, Manifest, ManifestEdit, file_name};
use lsm_sstable::{Origin, TableInfo, TableOptions, TableSummary, TableWriter};
use lsm_version::{BlobRecord, TableRecord};

pub(crate) use self::separate::Moving;
use self::separate::Separator;
use crate::commit::Commit;
use crate::env::Spawn;
use crate::error::Result;
use crate::limiter::{LimitedFile, Priority, RateLimiter};
use crate::options::{KeyspaceOptions, Options};
use crate::shared::Shared;

/// Where tables are written, under which numbers, and how fast.
#[derive(Clone)]
pub(crate) struct Workshop<'a> {
    pub(crate) fs: &'a SharedFs,
    pub(crate) dir: PathBuf,
    pub(crate) database_id: u128,
    pub(crate) file_numbers: &'a AtomicU64,
    pub(crate) limiter: Arc<RateLimiter>,
    pub(crate) created_ms: u64,
    pub(crate) options: &'a Options,
    /// How many threads may write one memtable, a slice of its keys each.
    pub(crate) writers: usize,
    /// Where it is told that a sync of the directory failed; `None` during recovery, which then
    /// fails as a whole.
    pub(crate) commit: Option<&'a Commit>,
}

impl Workshop<'_> {
    fn sync_names(&self) -> Result<()> {
        let synced = self.fs.sync_dir(&self.dir);
        synced.map_err(|error| match self.commit {
            Some(commit) => commit.judge(error),
            None => error.into(),
        })
    }
}

impl Shared {
    pub(crate) fn workshop(&self) -> Workshop<'_> {
        debug_assert!(self.beginning.is_over(), "nothing is made before the beginning");
        Workshop {
            fs: &self.fs,
            dir: self.dir.clone(),
            database_id: self.database_id,
            file_numbers: &self.file_numbers,
            limiter: Arc::clone(&self.limiter),
            created_ms: self.database_time_ms(),
            options: &self.options,
            writers: 1,
            commit: Some(&self.commit),
        }
    }

    /// Makes an edit durable by which `written` becomes part of the database.
    pub(crate) fn append_tables(
        &self,
        manifest: &mut Manifest,
        edit: ManifestEdit,
        written: WrittenTables,
    ) -> Result<Vec<Arc<TableRecord>>> {
        let appended = self.append_edit(manifest, edit);
        if appended.is_err() && !manifest.is_poisoned() {
            return appended.map(|()| Vec::new());
        }
        // After a failed sync the manifest may name them, for all we know: the next open finds out.
        let records = written.keep();
        appended.map(|()| records)
    }
}

/// What the outputs of one job have in common.
#[derive(Clone)]
pub(crate) struct OutputSpec {
    pub(crate) keyspace_id: u32,
    pub(crate) keyspace_name: String,
    pub(crate) options: Arc<KeyspaceOptions>,
    pub(crate) level: usize,
    pub(crate) origin: Origin,
    pub(crate) made_from: Vec<u64>,
    pub(crate) ancestors: Vec<u64>,
    pub(crate) priority: Priority,
    /// Whether they go past the page cache: nobody is expected to read them soon.
    pub(crate) past_cache: bool,
    /// Values that are to lie elsewhere from now on.
    pub(crate) moving: Option<Moving>,
}

/// Writes the tables of one job. Dropped before [`finish`](Self::finish), it removes them all:
/// a table whose write or sync failed is thrown away and built anew.
pub(crate) struct Outputs<'a> {
    workshop: Workshop<'a>,
    spec: OutputSpec,
    current: Option<(u64, TableWriter)>,
    finished: Vec<Arc<TableRecord>>,
    separator: Separator,
    files: BegunFiles,
}

/// Tables that are whole and durable, and that no edit names yet. Unless they are
/// [kept](Self::keep), their files are removed.
pub(crate) struct WrittenTables {
    records: Vec<Arc<TableRecord>>,
    blobs: Vec<Arc<BlobRecord>>,
    files: BegunFiles,
}

impl WrittenTables {
    pub(crate) fn records(&self) -> &[Arc<TableRecord>] {
        &self.records
    }

    /// The blob files that were written for them.
    pub(crate) fn blobs(&self) -> &[Arc<BlobRecord>] {
        &self.blobs
    }

    /// Adds tables whose keys lie behind these.
    pub(crate) fn append(&mut self, mut behind: Self) {
        self.records.append(&mut behind.records);
        self.blobs.append(&mut behind.blobs);
        self.files.paths.append(&mut behind.files.paths);
    }

    /// Their entries, which were written under numbers of no meaning, all have the number `seq_no`.
    pub(crate) fn number(&mut self, seq_no: SeqNo) {
        for record in &mut self.records {
            let record = Arc::make_mut(record);
            (record.seq_no_min, record.seq_no_max) = (seq_no, seq_no);
        }
    }

    /// They are part of the database from now on.
    pub(crate) fn keep(mut self) -> Vec<Arc<TableRecord>> {
        self.files.paths.clear();
        std::mem::take(&mut self.records)
    }
}

/// Every file that a job has begun; what is in it when it is dropped is removed.
struct BegunFiles {
    fs: SharedFs,
    paths: Vec<PathBuf>,
}

impl Drop for BegunFiles {
    fn drop(&mut self) {
        for path in &self.paths {
            // Best effort: what stays behind is removed as an orphan by the next open.
            let _ = self.fs.remove_file(path);
        }
    }
}

impl<'a> Outputs<'a> {
    pub(crate) fn new(workshop: Workshop<'a>, mut spec: OutputSpec) -> Self {
        let files = BegunFiles { fs: Arc::clone(workshop.fs), paths: Vec::new() };
        let threshold_bytes = spec.options.blob_threshold_bytes;
        // A blob file is as young as it is, whatever age its table takes over.
        let (moving, created_ms) = (spec.moving.take(), workshop.created_ms);
        let separator = Separator::new(threshold_bytes, moving, spec.priority, created_ms);
        Self { workshop, spec, current: None, finished: Vec::new(), separator, files }
    }

    /// Tombstones of the inputs stay as old as they were: the tables count as written then.
    pub(crate) fn hand_on_age<'t>(&mut self, inputs: impl Iterator<Item = &'t Arc<TableRecord>>) {
        let with_tombstones = inputs.filter(|table| table.tombstones + table.range_deletes > 0);
        let oldest_ms = with_tombstones.map(|table| table.created_ms).min();
        let created_ms = &mut self.workshop.created_ms;
        *created_ms = oldest_ms.map_or(*created_ms, |oldest_ms| oldest_ms.min(*created_ms));
    }

    /// Everything written and durable, names included: the tables may enter the manifest.
    pub(crate) fn finish(mut self) -> Result<WrittenTables> {
        self.cut()?;
        if !self.finished.is_empty() {
            // Order: names durable before the edit that uses them.
            self.workshop.sync_names()?;
        }
        let blobs = self.separator.into_records();
        Ok(WrittenTables { records: self.finished, blobs, files: self.files })
    }

    fn begin(&mut self) -> lsm_io::Result<&mut TableWriter> {
        if self.current.is_none() {
            let shop = &self.workshop;
            let number = shop.file_numbers.fetch_add(1, Ordering::Relaxed);
            let path = shop.dir.join(file_name(FileKind::Table, number));
            let past_cache = self.spec.past_cache && shop.options.may_go_past_cache();
            let mut file = match past_cache {
                true => shop.fs.open_direct(&path, OpenMode::CreateNew)?,
                false => shop.fs.open(&path, OpenMode::CreateNew)?,
            };
            self.files.paths.push(path);
            // Past the cache the disk itself is waited for.
            if past_cache && shop.options.env.spawn == Spawn::Threads {
                file = Arc::new(WriteBehind::new(file));
            }
            let limiter = Arc::clone(&shop.limiter);
            let file: SharedFile = Arc::new(LimitedFile::new(file, limiter, self.spec.priority));
            let identity = Identity { database_id: shop.database_id, file_number: number };
            let options = TableOptions {
                block_bytes: self.spec.options.block_bytes as usize,
                compression: self.spec.options.compression_at(self.spec.level),
                filter_bits_per_key: self.spec.options.filter_bits_per_key,
                ..TableOptions::default()
            };
            let info = TableInfo {
                keyspace_id: self.spec.keyspace_id,
                keyspace_name: self.spec.keyspace_name.clone(),
                origin: self.spec.origin,
                made_from: self.spec.made_from.clone(),
                ancestors: self.spec.ancestors.clone(),
                created_ms: shop.created_ms,
            };
            self.current = Some((number, TableWriter::new(file, identity, options, info)));
        }
        let (_, writer) = self.current.as_mut().expect("begun above");
        Ok(writer)
    }

    #[cold]
    fn add_large(&mut self, entry: Entry<'_>, hash: u64) -> lsm_io::Result<()> {
        self.begin()?;
        let (_, writer) = self.current.as_mut().expect("begun above");
        let begun = &mut self.files.paths;
        writer.add(self.separator.separate(&self.workshop, entry, begun)?, hash)
    }

    fn record(&self, number: u64, summary: TableSummary) -> Arc<TableRecord> {
        let database_id = self.workshop.database_id;
        let identity = Identity { database_id, file_number: number };
        Arc::new(record_of(number, identity, summary, self.workshop.created_ms))
    }
}

/// What the manifest says of the table in file `number`, born as `identity`.
pub(crate) fn record_of(
    number: u64,
    identity: Identity,
    summary: TableSummary,
    created_ms: u64,
) -> TableRecord {
    TableRecord {
        number,
        birth_database_id: identity.database_id,
        birth_number: identity.file_number,
        bytes: summary.bytes,
        checksum: summary.checksum,
        lower: summary.lower,
        upper: summary.upper,
        seq_no_min: summary.seq_no_min,
        seq_no_max: summary.seq_no_max,
        entries: summary.entries,
        tombstones: summary.tombstones,
        range_deletes: summary.range_deletes,
        densest_tombstones: summary.densest_tombstones,
        raw_bytes: summary.raw_bytes,
        expiry_min_ms: summary.expiry_min_ms,
        expiry_max_ms: summary.expiry_max_ms,
        expiring: summary.expiring,
        created_ms,
        blobs: summary.blobs,
    }
}

impl TableSink for Outputs<'_> {
    type Error = lsm_io::Error;

    #[inline]
    fn add(&mut self, entry: Entry<'_>, hash: u64) -> lsm_io::Result<()> {
        if !self.separator.passes(&entry) {
            return self.add_large(entry, hash);
        }
        match &mut self.current {
            Some((_, writer)) => writer.add(entry, hash),
            None => self.begin()?.add(entry, hash),
        }
    }

    fn add_range_delete(&mut self, range_delete: &RangeDelete) -> lsm_io::Result<()> {
        let RangeDelete { lower, upper, seq_no } = range_delete;
        self.begin()?.add_range_delete(lower, upper, *seq_no)
    }

    #[inline]
    fn table_bytes(&self) -> u64 {
        self.current.as_ref().map_or(0, |(_, writer)| writer.estimated_bytes())
    }

    fn cut(&mut self) -> lsm_io::Result<()> {
        if let Some((number, writer)) = self.current.take() {
            // Order: what the table refers to is durable before it.
            self.separator.end_file(&self.workshop)?;
            let summary = writer.finish()?;
            let record = self.record(number, summary);
            self.finished.push(record);
        }
        Ok(())
    }
}
