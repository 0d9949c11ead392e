//! Filling a directory with a copy of one moment of a database: steps 4 to 6 of a checkpoint.
//!
//! Tables are linked or copied, memtables are written as tables, and a log and a manifest of the
//! copy's own are put beside them. The steps, and their order: `checkpoint.rs`.

use std::io::ErrorKind as IoErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lsm_compaction::Retention;
use lsm_io::checksum::{Xxh3, xxh3};
use lsm_io::{Identity, OpenMode, SharedFile};
use lsm_manifest::{FileKind, Manifest, ManifestEdit, ManifestState, file_name};
use lsm_memtable::Memtable;
use lsm_version::VersionEdit;
use lsm_wal::{Log, Pending, PreparedSegment};

use crate::checkpoint::{CheckpointProgress, CheckpointReport, Cut};
use crate::error::{Error, ErrorKind, Result};
use crate::flush::{flush_edit, write_memtable};
use crate::keyspace::KeyspaceCore;
use crate::limiter::{LimitedFile, Priority};
use crate::outputs::Workshop;
use crate::recover::apply;
use crate::shared::Shared;
use crate::tables::LiveTable;

/// The copy's log holds nothing but that it is closed, and is never written again.
const SEGMENT_BYTES: u64 = 256;
/// What a checkpoint without tables takes at most: log, manifest, `CURRENT`.
const FIXED_BYTES: u64 = 64 << 10;
/// What a table's record takes in the manifest at most, beside its bounds.
const RECORD_BYTES: u64 = 192;
/// What a table written from memory takes at most: for an entry beside its key and value, and for
/// the table itself.
const ENTRY_BYTES: u64 = 32;
const TABLE_BYTES: u64 = 32 << 10;
/// Bytes copied at once.
const CHUNK_BYTES: usize = 1 << 20;

/// A copy being made.
pub(crate) struct Copy<'a> {
    shared: &'a Shared,
    dir: &'a Path,
    cut: Cut,
    database_id: u128,
    file_numbers: AtomicU64,
    report: CheckpointReport,
    bytes_total: u64,
    progress: &'a mut dyn FnMut(CheckpointProgress),
}

impl<'a> Copy<'a> {
    pub(crate) fn new(
        shared: &'a Shared,
        dir: &'a Path,
        cut: Cut,
        progress: &'a mut dyn FnMut(CheckpointProgress),
    ) -> Self {
        let random = &shared.options.env.random;
        // Not the source's, even where the source of randomness stands still.
        let other = xxh3(&shared.database_id.to_le_bytes());
        let database_id = u128::from(random() ^ other) << 64 | u128::from(random());
        let tables = cut.tables().map(|table| table.record().bytes);
        let memtables = cut.memtables().map(|(_, memtable)| memtable.data_bytes() as u64);
        let bytes_total = tables.chain(memtables).sum();
        let report = CheckpointReport { seq_no: cut.seq_no, ..CheckpointReport::default() };
        let file_numbers = AtomicU64::new(cut.next_file_number);
        Self { shared, dir, cut, database_id, file_numbers, report, bytes_total, progress }
    }

    /// Makes it; until the last step there is no `CURRENT`.
    pub(crate) fn make(mut self, copy_tables: bool) -> Result<CheckpointReport> {
        let unlinked = self.link_tables(copy_tables)?;
        self.check_room(&unlinked)?;
        for table in &unlinked {
            self.copy_table(table)?;
        }
        let written = self.write_memtables()?;
        self.write_manifest(written)?;
        Ok(self.report)
    }

    /// Step 4. Returns the tables that could not be linked.
    fn link_tables(&mut self, copy_tables: bool) -> Result<Vec<Arc<LiveTable>>> {
        let mut unlinked = Vec::new();
        let tables: Vec<_> = self.cut.tables().cloned().collect();
        for table in tables {
            let record = table.record();
            let source = self.shared.tables.path(record.number);
            let target = self.dir.join(file_name(FileKind::Table, record.number));
            let linked = match copy_tables {
                true => false,
                false => match self.shared.fs.hard_link(&source, &target) {
                    Err(error) if error.io_kind().is_some_and(calls_for_a_copy) => false,
                    linked => linked.map(|()| true)?,
                },
            };
            if linked {
                self.report.bytes_linked += record.bytes;
                self.note_table();
            } else {
                unlinked.push(table);
            }
        }
        Ok(unlinked)
    }

    /// Whether all that is still to be written finds room.
    fn check_room(&self, unlinked: &[Arc<LiveTable>]) -> Result<()> {
        let copied: u64 = unlinked.iter().map(|table| table.record().bytes).sum();
        let written = self.cut.memtables().map(|(_, memtable)| {
            memtable.data_bytes() as u64 + memtable.entries() as u64 * ENTRY_BYTES + TABLE_BYTES
        });
        let records = self.cut.tables().map(|table| {
            let record = table.record();
            (record.lower.len() + record.upper.len()) as u64 + RECORD_BYTES
        });
        let needed = FIXED_BYTES + copied + written.chain(records).sum::<u64>();
        let available = self.shared.fs.available_bytes(self.dir)?;
        if needed <= available {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::NoSpace,
            format!(
                "a copy in {} needs {needed} bytes, {copied} of them for tables that cannot be \
                 linked; {available} are available",
                self.dir.display()
            ),
        ))
    }

    /// Copies a table, whole or not at all: what is damaged is no backup of anything.
    fn copy_table(&mut self, table: &LiveTable) -> Result<()> {
        let record = table.record();
        let name = file_name(FileKind::Table, record.number);
        // Whoever reads beside a writer may find the name gone, but holds the file.
        let source = match table.table_if_open() {
            Some(open) => SharedFile::clone(open.file()),
            None => self.shared.fs.open(&self.shared.tables.path(record.number), OpenMode::Read)?,
        };
        let file = self.shared.fs.open(&self.dir.join(&name), OpenMode::CreateNew)?;
        let limiter = Arc::clone(&self.shared.limiter);
        let target: SharedFile = Arc::new(LimitedFile::new(file, limiter, Priority::Compaction));
        let mut checksum = Xxh3::new();
        let mut buffer = vec![0; CHUNK_BYTES];
        let mut offset = 0;
        while offset < record.bytes {
            let rest = usize::try_from(record.bytes - offset).unwrap_or(CHUNK_BYTES);
            let chunk = &mut buffer[..rest.min(CHUNK_BYTES)];
            source.read_at(offset, chunk)?;
            checksum.update(chunk);
            target.write_at(offset, chunk)?;
            offset += chunk.len() as u64;
        }
        if checksum.finish() != record.checksum {
            let reason = "the file's checksum is not the one in the manifest";
            return Err(lsm_io::Error::corrupt(source.path(), 0, reason).into());
        }
        target.sync()?;
        self.report.bytes_copied += record.bytes;
        self.note_table();
        Ok(())
    }

    /// Step 5: what the tables do not hold yet, by keyspace.
    fn write_memtables(&mut self) -> Result<Vec<(u32, VersionEdit)>> {
        let mut edits = Vec::new();
        let memtables: Vec<(Arc<KeyspaceCore>, Arc<Memtable>)> =
            self.cut.memtables().map(|(core, it)| (Arc::clone(core), Arc::clone(it))).collect();
        for (core, memtable) in memtables {
            let workshop = Workshop {
                fs: &self.shared.fs,
                dir: self.dir.to_owned(),
                database_id: self.database_id,
                file_numbers: &self.file_numbers,
                limiter: Arc::clone(&self.shared.limiter),
                created_ms: self.cut.database_time_ms,
                // A sync that fails here says nothing of the source's directory.
                commit: None,
            };
            // Nobody has a snapshot of the copy.
            let retention = Retention::new(Vec::new(), self.cut.database_time_ms);
            let records = write_memtable(workshop, &core, &memtable, retention)?.keep();
            if !records.is_empty() {
                edits.push((core.id, flush_edit(&records)));
            }
            for record in records {
                self.report.bytes_written += record.bytes;
                self.note_table();
            }
        }
        Ok(edits)
    }

    /// Step 6, behind a log that is closed and empty.
    fn write_manifest(&mut self, written: Vec<(u32, VersionEdit)>) -> Result<()> {
        let (fs, dir) = (&self.shared.fs, self.dir);
        let mut state = ManifestState::new(self.database_id);
        let mut edit = ManifestEdit::default();
        for (&id, keyspace) in &self.cut.keyspaces {
            let name = keyspace.core.name.clone();
            edit.create_keyspaces.push((id, name, keyspace.options.clone(), self.cut.seq_no));
            let tables = keyspace.tree.version.tables();
            let added = tables.map(|(place, record)| (place, Arc::clone(record))).collect();
            edit.tables.push((id, VersionEdit { removed: Vec::new(), added }));
        }
        edit.tables.extend(written);
        let segment_number = self.file_numbers.fetch_add(1, Ordering::Relaxed);
        let manifest_number = self.file_numbers.fetch_add(1, Ordering::Relaxed);
        edit.log_number = Some(segment_number);
        edit.log_first_seq_no = Some(self.cut.seq_no + 1);
        edit.next_file_number = Some(self.file_numbers.load(Ordering::Relaxed));
        edit.last_seq_no = Some(self.cut.seq_no);
        edit.database_time_ms = Some(self.cut.database_time_ms);
        apply(&mut state, &edit)?;

        let identity = Identity { database_id: self.database_id, file_number: segment_number };
        let segment = PreparedSegment::prepare(fs, dir, identity, SEGMENT_BYTES, None)?;
        let mut log = Log::start(segment, self.cut.seq_no + 1);
        log.append_close();
        let mut closing = log.take_pending(Pending::Sync);
        closing.write()?;
        closing.sync()?;
        // Order: the log, and every name in the directory, are durable before `CURRENT` is there; the
        // manifest's start syncs the directory in between.
        Ok(Manifest::start(fs, dir, manifest_number, state)?.close()?)
    }

    fn note_table(&mut self) {
        self.report.tables += 1;
        let CheckpointReport { bytes_linked, bytes_copied, bytes_written, .. } = self.report;
        let bytes = bytes_linked + bytes_copied + bytes_written;
        let bytes_total = self.bytes_total.max(bytes);
        (self.progress)(CheckpointProgress { bytes, bytes_total });
    }
}

/// Whether a link that failed so says no more than that this table cannot be linked: it lies on
/// another file system, on one without links, has as many as it may have, or has lost its name to a
/// writer beside whom this process only reads.
fn calls_for_a_copy(kind: IoErrorKind) -> bool {
    matches!(
        kind,
        IoErrorKind::CrossesDevices
            | IoErrorKind::Unsupported
            | IoErrorKind::PermissionDenied
            | IoErrorKind::TooManyLinks
            | IoErrorKind::NotFound
    )
}
