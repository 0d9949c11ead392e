//! A directory filled with what a cut holds, so that it opens as a database: files linked or copied,
//! memtables written as tables, an empty log, a manifest.

use std::io::ErrorKind as IoErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lsm_compaction::Retention;
use lsm_io::checksum::{Xxh3, xxh3};
use lsm_io::{Identity, OpenMode, SharedFile};
use lsm_manifest::{Manifest, ManifestEdit, ManifestState};
use lsm_version::VersionEdit;
use lsm_wal::{Log, Pending, PreparedSegment};

use super::cut::{Cut, CutFile};
use super::{CheckpointProgress, CheckpointReport};
use crate::error::{Error, ErrorKind, Result};
use crate::flush::flush_edit;
use crate::keyspace::KeyspaceCore;
use crate::limiter::{LimitedFile, Priority};
use crate::older::Older;
use crate::outputs::Workshop;
use crate::recover::apply;
use crate::shared::Shared;
use crate::write_memtable::write_memtable;

/// The copy's log holds nothing but that it is closed, and is never written again.
const SEGMENT_BYTES: u64 = 256;
/// What a checkpoint without tables takes at most: log, manifest, `CURRENT`.
const FIXED_BYTES: u64 = 64 << 10;
/// What a table's record takes in the manifest at most, beside its bounds.
const RECORD_BYTES: u64 = 192;
/// And what it takes for each blob file that it refers to, the file's own record included.
const SHARE_BYTES: u64 = 128;
/// What a table written from memory takes at most: for an entry beside its key and value, and for
/// the table itself.
const ENTRY_BYTES: u64 = 32;
const TABLE_BYTES: u64 = 32 << 10;
/// Bytes copied at once.
const CHUNK_BYTES: usize = 1 << 20;

/// A copy being made.
pub(super) struct Copy<'a> {
    shared: &'a Shared,
    dir: &'a Path,
    cut: Cut,
    database_id: u128,
    file_numbers: AtomicU64,
    pub(super) report: CheckpointReport,
    bytes_total: u64,
    progress: &'a mut dyn FnMut(CheckpointProgress),
}

impl<'a> Copy<'a> {
    pub(super) fn new(
        shared: &'a Shared,
        dir: &'a Path,
        cut: Cut,
        progress: &'a mut dyn FnMut(CheckpointProgress),
    ) -> Self {
        let random = &shared.options.env.random;
        // Not the source's, even where the source of randomness stands still.
        let other = xxh3(&shared.database_id.to_le_bytes());
        let database_id = u128::from(random() ^ other) << 64 | u128::from(random());
        let memtables = cut.memtables();
        let bytes_total = cut.files.iter().map(CutFile::bytes).sum::<u64>()
            + memtables.iter().map(|(_, memtable)| memtable.data_bytes() as u64).sum::<u64>();
        let report = CheckpointReport { seq_no: cut.seq_no, ..CheckpointReport::default() };
        let file_numbers = AtomicU64::new(cut.next_file_number);
        Self { shared, dir, cut, database_id, file_numbers, report, bytes_total, progress }
    }

    /// Step 4. Returns the files that could not be linked.
    pub(super) fn link_files(&mut self, copy_tables: bool) -> Result<Vec<CutFile>> {
        let mut unlinked = Vec::new();
        for file in self.cut.files.clone() {
            let name = file.name();
            let (source, target) = (self.shared.dir.join(&name), self.dir.join(&name));
            let linked = match copy_tables {
                true => false,
                false => match self.shared.fs.hard_link(&source, &target) {
                    Err(error) if error.io_kind().is_some_and(calls_for_a_copy) => false,
                    linked => linked.map(|()| true)?,
                },
            };
            self.report.tables += u64::from(matches!(file, CutFile::Table(_)));
            if linked {
                self.report.bytes_linked += file.bytes();
                self.note_file();
            } else {
                unlinked.push(file);
            }
        }
        Ok(unlinked)
    }

    /// Whether all that is still to be written finds room.
    pub(super) fn check_room(&self, unlinked: &[CutFile]) -> Result<()> {
        let copied: u64 = unlinked.iter().map(CutFile::bytes).sum();
        let mut needed = FIXED_BYTES + copied;
        for (_, memtable) in self.cut.memtables() {
            needed += memtable.data_bytes() as u64;
            needed += memtable.entries() as u64 * ENTRY_BYTES + TABLE_BYTES;
        }
        for file in &self.cut.files {
            let CutFile::Table(table) = file else { continue };
            let record = table.record();
            needed += (record.lower.len() + record.upper.len()) as u64 + RECORD_BYTES;
            needed += record.blobs.len() as u64 * SHARE_BYTES;
        }
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

    /// Copies a file, whole or not at all: what is damaged is no backup of anything.
    pub(super) fn copy_file(&mut self, file: &CutFile) -> Result<()> {
        let (name, bytes) = (file.name(), file.bytes());
        // Whoever reads beside a writer may find the name gone, but holds the file.
        let source = match file.file_if_open() {
            Some(open) => open,
            None => self.shared.fs.open(&self.shared.dir.join(&name), OpenMode::Read)?,
        };
        let checksum_told = file.checksum();
        let file = self.shared.fs.open(&self.dir.join(&name), OpenMode::CreateNew)?;
        let limiter = Arc::clone(&self.shared.limiter);
        let target: SharedFile = Arc::new(LimitedFile::new(file, limiter, Priority::Compaction));
        let mut checksum = Xxh3::new();
        let mut buffer = vec![0; CHUNK_BYTES];
        let mut offset = 0;
        while offset < bytes {
            let rest = usize::try_from(bytes - offset).unwrap_or(CHUNK_BYTES);
            let chunk = &mut buffer[..rest.min(CHUNK_BYTES)];
            source.read_at(offset, chunk)?;
            checksum.update(chunk);
            target.write_at(offset, chunk)?;
            offset += chunk.len() as u64;
        }
        if checksum.finish() != checksum_told {
            let reason = "the file's checksum is not the one in the manifest";
            return Err(lsm_io::Error::corrupt(source.path(), 0, reason).into());
        }
        target.sync()?;
        self.shared.stats.checkpoint_bytes.add(bytes);
        self.report.bytes_copied += bytes;
        self.note_file();
        Ok(())
    }

    /// Step 5: what the tables do not hold yet, by keyspace.
    pub(super) fn write_memtables(&mut self) -> Result<Vec<(u32, VersionEdit)>> {
        let mut edits = Vec::new();
        for (core, memtable) in self.cut.memtables() {
            let workshop = Workshop {
                fs: &self.shared.fs,
                dir: self.dir.to_owned(),
                database_id: self.database_id,
                file_numbers: &self.file_numbers,
                limiter: Arc::clone(&self.shared.limiter),
                created_ms: self.cut.database_time_ms,
                options: &self.shared.options,
                writers: 1,
                // A sync that fails here says nothing of the source's directory.
                commit: None,
            };
            // Nobody has a snapshot of the copy.
            let retention = Retention::new(Vec::new(), self.cut.database_time_ms);
            let older = self.older(&core, &edits);
            let written = write_memtable(&workshop, &core, &memtable, retention, &older)?;
            if !written.records().is_empty() {
                edits.push((core.id, flush_edit(&written)));
            }
            self.shared.stats.note_checkpoint(&written);
            self.report.bytes_written += written.blobs().iter().map(|blob| blob.bytes).sum::<u64>();
            for record in written.keep() {
                self.report.bytes_written += record.bytes;
                self.note_file();
                self.report.tables += 1;
            }
        }
        Ok(edits)
    }

    /// What is older than the next memtable of a keyspace.
    fn older(&self, core: &KeyspaceCore, written: &[(u32, VersionEdit)]) -> Older {
        let keyspaces = &self.cut.keyspaces;
        let index = keyspaces.binary_search_by_key(&core.id, |keyspace| keyspace.core.id);
        let mut older =
            index.map_or(Older::Unknown, |index| Older::of(&keyspaces[index].tree.version));
        for (_, edit) in written.iter().filter(|(id, _)| *id == core.id) {
            let records: Vec<_> = edit.added.iter().map(|(_, table)| Arc::clone(table)).collect();
            older.extend(&records);
        }
        older
    }

    /// Step 6, behind a log that is closed and empty.
    pub(super) fn write_manifest(&mut self, written: Vec<(u32, VersionEdit)>) -> Result<()> {
        let (fs, dir) = (&self.shared.fs, self.dir);
        let mut state = ManifestState::new(self.database_id);
        let mut edit = ManifestEdit::default();
        for keyspace in &self.cut.keyspaces {
            let (id, name) = (keyspace.core.id, keyspace.core.name.clone());
            edit.create_keyspaces.push((id, name, keyspace.options.clone(), self.cut.seq_no));
            let operator = keyspace.core.options().merge_operator.clone();
            edit.takes_operands.extend(operator.map(|_| id));
            edit.tables.push((id, keyspace.tree.version.as_edit()));
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

    fn note_file(&mut self) {
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
