//! A range of a keyspace as tables of its own, at one moment, and tables brought in again.
//!
//! Large values stand in them beside their keys.
//!
//! An export is a directory of tables, in the order of their names, that share no key. Each can be
//! read with lsm-sstable alone, and [`ingest_tables`](Keyspace::ingest_tables) brings them into any
//! keyspace of any database. Nothing else lies in it. The directory gets its name when all of it is durable.

use std::ops::{Bound, RangeBounds};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use lsm_compaction::TableSink;
use lsm_entry::{Cursor, Entry, SeqNo, ValueKind, key_hash};
use lsm_io::OpenMode;
use lsm_sstable::{BlockCache, Origin, ReadMode, Table};
use lsm_version::LEVELS;

use crate::error::{Error, Result};
use crate::ingest::IngestReport;
use crate::keyspace::Keyspace;
use crate::limiter::Priority;
use crate::options::KeyspaceOptions;
use crate::outputs::{OutputSpec, Outputs, Workshop};
use crate::reads::Scan;
use crate::scan::EntryCursor;
use crate::snapshot::Registered;
use crate::unfinished::{Unfinished, check_free, check_outside};

/// Blocks of a table that is brought in are read once.
const CACHE_BYTES: u64 = 1 << 20;

/// What an export wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExportReport {
    /// The moment it shows.
    pub seq_no: SeqNo,
    /// How many entries.
    pub entries: u64,
    /// In which tables, in the order of their keys.
    pub tables: Vec<PathBuf>,
    /// Bytes of those.
    pub bytes: u64,
    /// From its beginning to its end.
    pub elapsed: Duration,
}

impl Keyspace {
    /// Writes what a reader sees of `range` at one moment as tables into the directory `dir`, which
    /// is not there yet, or empty. Reads and writes go on meanwhile.
    ///
    /// A value keeps its expiry. One that operands were merged with is written as what it comes to at
    /// that moment, for good, even where the value below them was to expire.
    ///
    /// ```
    /// # use lsm_engine::{Db, Reads};
    /// # let dir = tempfile::tempdir()?;
    /// # let (db, other) = (Db::open(dir.path().join("a"))?, Db::open(dir.path().join("b"))?);
    /// db.default_keyspace().ingest([("a", "1"), ("b", "2"), ("c", "3")])?;
    /// let export = db.default_keyspace().export("b".., dir.path().join("tables"))?;
    /// other.default_keyspace().ingest_tables(&export.tables)?;
    /// assert_eq!(other.iter().count(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// `Invalid` if `dir` is there and not empty, or lies in the database; those of a scan; `NoSpace`,
    /// `Io`. Nothing is at `dir` then.
    pub fn export<K: AsRef<[u8]>>(
        &self,
        range: impl RangeBounds<K>,
        dir: impl AsRef<Path>,
    ) -> Result<ExportReport> {
        let (began, dir, shared) = (Instant::now(), dir.as_ref(), &self.db.shared);
        shared.check_readable(&self.core)?;
        check_outside(dir, &shared.dir)?;
        check_free(&shared.fs, dir)?;
        let unfinished = Unfinished::begin(&shared.fs, dir)?;
        let file_numbers = AtomicU64::new(1);
        let options = self.core.options();
        let table_bytes = options.compaction.table_bytes();
        let workshop = Workshop {
            fs: &shared.fs,
            dir: unfinished.dir().to_owned(),
            database_id: shared.database_id,
            file_numbers: &file_numbers,
            limiter: Arc::clone(&shared.limiter),
            created_ms: shared.database_time_ms(),
            options: &shared.options,
            writers: 1,
            // A sync that fails here says nothing of the database's directory.
            commit: None,
        };
        let spec = OutputSpec {
            keyspace_id: self.core.id,
            keyspace_name: self.core.name.clone(),
            options: Arc::new(KeyspaceOptions { blob_threshold_bytes: None, ..(*options).clone() }),
            level: LEVELS - 1,
            origin: Origin::Ingest,
            made_from: Vec::new(),
            ancestors: Vec::new(),
            priority: Priority::Compaction,
            past_cache: true,
            moving: None,
        };
        let mut outputs = Outputs::new(workshop, spec);
        let mut cursor = EntryCursor::new(Registered::now(&self.db), self.core.hold());
        let seq_no = cursor.seq_no();
        let scan = Scan::range(range);
        match &scan.lower {
            Bound::Unbounded => cursor.seek_first()?,
            Bound::Included(lower) => cursor.seek(lower)?,
            Bound::Excluded(lower) => {
                cursor.seek(lower)?;
                if cursor.key() == Some(lower) {
                    cursor.next()?;
                }
            }
        }
        while let (Some(key), Some((tag, value))) = (cursor.key(), cursor.stored()) {
            let is_beyond = match &scan.upper {
                Bound::Unbounded => false,
                Bound::Included(upper) => key > upper.as_slice(),
                Bound::Excluded(upper) => key >= upper.as_slice(),
            };
            if is_beyond {
                break;
            }
            if outputs.table_bytes() >= table_bytes {
                outputs.cut()?;
            }
            let value = &*value;
            outputs.add(Entry { key, seq_no, tag, value }, key_hash(key))?;
            cursor.next()?;
        }
        let written = outputs.finish()?;
        shared.stats.note_export(&written);
        let records = written.keep();
        unfinished.finish_without_lock()?;
        let name =
            |number| dir.join(lsm_manifest::file_name(lsm_manifest::FileKind::Table, number));
        Ok(ExportReport {
            seq_no,
            entries: records.iter().map(|record| record.entries).sum(),
            tables: records.iter().map(|record| name(record.number)).collect(),
            bytes: records.iter().map(|record| record.bytes).sum(),
            elapsed: began.elapsed(),
        })
    }

    /// Brings the entries of tables in at once, all of them or none: of an [`export`](Self::export), or
    /// written with lsm-sstable. The tables share no key, and each holds a key once; what numbers and
    /// what keyspace they were written with does not matter. Puts, with an expiry or without, and
    /// deletes are accepted.
    ///
    /// Every byte is checked before anything is written, and nothing of what a file says about itself
    /// is believed. The files are read, and stay as they are.
    ///
    /// # Errors
    /// `Corrupt` if a file is no table or is damaged, `Invalid` for entries that are not accepted, a
    /// key that comes twice (it is named), and if no table is given; those of
    /// [`BulkLoad::finish`](crate::BulkLoad::finish).
    pub fn ingest_tables<P: AsRef<Path>>(
        &self,
        tables: impl IntoIterator<Item = P>,
    ) -> Result<IngestReport> {
        let mut checked = Vec::new();
        for path in tables {
            checked.push(self.open_whole(path.as_ref())?);
        }
        if checked.is_empty() {
            return Err(Error::invalid("no table was given to bring in"));
        }
        let lower = |table: &Arc<Table>| table.properties().lower.clone();
        checked.sort_by_cached_key(lower);
        let mut load = self.bulk_load()?;
        for table in checked {
            let mut cursor = table.cursor();
            cursor.seek_first()?;
            while let Some(entry) = cursor.entry() {
                if !is_accepted(&entry) {
                    let of_large =
                        if entry.tag.is_blob() { " of a value in a blob file" } else { "" };
                    return Err(Error::invalid(format!(
                        "{} holds a {:?}{of_large} of key \"{}\"; puts and deletes can be brought in",
                        table.file().path().display(),
                        entry.kind(),
                        entry.key.escape_ascii()
                    )));
                }
                load.add(entry.tag, entry.key, entry.value)?;
                cursor.next()?;
            }
        }
        load.finish()
    }

    /// Opens a table that nobody vouches for, and reads every byte of it.
    fn open_whole(&self, path: &Path) -> Result<Arc<Table>> {
        let file = self.db.shared.fs.open(path, OpenMode::Read)?;
        let (identity, bytes) = (Table::read_identity(&file)?, file.len()?);
        // Not mapped: whoever else has the file may cut it short.
        let mode = ReadMode::Cached(BlockCache::new(CACHE_BYTES));
        let table = Table::open(file, identity, bytes, mode)?;
        table.verify()?;
        if !table.range_deletes().is_empty() {
            return Err(Error::invalid(format!(
                "{} holds range deletes; puts and deletes can be brought in",
                path.display()
            )));
        }
        Ok(table)
    }
}

fn is_accepted(entry: &Entry<'_>) -> bool {
    // A reference leads into a file of another database.
    matches!(entry.kind(), ValueKind::Put | ValueKind::Delete) && !entry.tag.is_blob()
}
