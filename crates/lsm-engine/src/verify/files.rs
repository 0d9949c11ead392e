//! What is checked of each file, whoever asks.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lsm_blob::BlobFile;
use lsm_entry::Records;
use lsm_io::{Error, Identity, OpenMode, Result, SharedFile, SharedFs};
use lsm_manifest::{FileKind, file_name};
use lsm_sstable::{BlockCache, Origin, ReadMode, Table};
use lsm_version::{BlobRecord, TableRecord};
use lsm_wal::{FRAME_HEADER_BYTES, FrameKind, FrameRef};

use super::{Damage, VerifyReport};
use crate::blobs::identity_of;
use crate::limiter::{LimitedFile, Priority, RateLimiter};

/// A verification reads past every cache.
const CACHE_BYTES: u64 = 1 << 20;

/// The files of one directory, read no faster than they may be.
pub(crate) struct Files<'a> {
    pub(crate) fs: &'a SharedFs,
    pub(crate) dir: &'a Path,
    pub(crate) limiter: Arc<RateLimiter>,
}

impl Files<'_> {
    pub(crate) fn path(&self, kind: FileKind, number: u64) -> PathBuf {
        self.dir.join(file_name(kind, number))
    }

    fn open(&self, path: &Path) -> Result<SharedFile> {
        let file = self.fs.open(path, OpenMode::Read)?;
        Ok(Arc::new(LimitedFile::new(file, Arc::clone(&self.limiter), Priority::Compaction)))
    }

    /// Opens a table anew, so that nothing a reader has in memory stands in for what is on disk.
    pub(crate) fn open_table(
        &self,
        number: u64,
        identity: Identity,
        bytes: u64,
    ) -> Result<Arc<Table>> {
        let path = self.path(FileKind::Table, number);
        let mode = ReadMode::Cached(BlockCache::new(CACHE_BYTES));
        Table::open(self.open(&path)?, identity, bytes, mode)
    }

    /// Opens a blob file anew.
    pub(crate) fn open_blob(
        &self,
        number: u64,
        identity: Identity,
        bytes: u64,
    ) -> Result<BlobFile> {
        let file = self.open(&self.path(FileKind::Blob, number))?;
        BlobFile::open(file, identity, bytes, lsm_blob::ReadMode::Read)
    }

    /// Reads a blob file whole and holds it against what the manifest says of it.
    pub(crate) fn check_blob(&self, record: &BlobRecord) -> Result<()> {
        let path = self.path(FileKind::Blob, record.number);
        let opened = self.open_blob(record.number, identity_of(record), record.bytes);
        let found = opened.map_err(|error| named_missing(&path, "blob file", error))?.verify()?;
        let agree = [
            ("checksum", found.checksum == record.checksum),
            ("number of values", found.values == record.values),
            ("length of all values", found.value_bytes == record.value_bytes),
        ];
        check_agreement(&path, "blob file", &agree)
    }

    /// Reads a table whole and holds it against what the manifest says of it.
    pub(crate) fn check_table(&self, record: &TableRecord) -> Result<()> {
        let path = self.path(FileKind::Table, record.number);
        let identity =
            Identity { database_id: record.birth_database_id, file_number: record.birth_number };
        let opened = self.open_table(record.number, identity, record.bytes);
        let table = opened.map_err(|error| named_missing(&path, "table", error))?;
        let found = table.verify()?;
        let properties = table.properties();
        // What was ingested got its numbers after it was written.
        let (smallest, largest) = match properties.info.origin {
            Origin::Ingest => (record.seq_no_min, record.seq_no_max),
            _ => (properties.seq_no_min, properties.seq_no_max),
        };
        let agree = [
            ("checksum", found.checksum == record.checksum),
            ("number of entries", found.entries == record.entries),
            ("number of tombstones", properties.tombstones == record.tombstones),
            ("smallest key", properties.lower == record.lower),
            ("largest key", properties.upper == record.upper),
            ("smallest sequence number", smallest == record.seq_no_min),
            ("largest sequence number", largest == record.seq_no_max),
            ("share of blob files", properties.blobs == record.blobs),
        ];
        check_agreement(&path, "table", &agree)
    }

    /// Takes a frame of the log into account; its checksum holds already. Checks that a batch's
    /// records fill it.
    pub(crate) fn check_frame(&self, frame: &FrameRef<'_>) -> Result<()> {
        self.limiter.pay(FRAME_HEADER_BYTES + frame.payload.len(), Priority::Compaction);
        if frame.kind != FrameKind::BATCH {
            return Ok(());
        }
        let path = self.path(FileKind::Log, frame.segment);
        let mut records = 0;
        for record in Records::new(frame.payload) {
            record.map_err(|malformed| {
                let start = frame.offset + (FRAME_HEADER_BYTES + malformed.offset) as u64;
                Error::corrupt(&path, start, malformed.reason)
            })?;
            records += 1;
        }
        if records != u64::from(frame.count) {
            let reason =
                format!("the batch holds {records} records, its frame says {}", frame.count);
            return Err(Error::corrupt(&path, frame.offset, reason));
        }
        Ok(())
    }
}

fn named_missing(path: &Path, what: &str, error: Error) -> Error {
    match error.io_kind() {
        Some(ErrorKind::NotFound) => {
            let reason = format!("the {what} is in the manifest but not in the directory");
            Error::corrupt(path, 0, reason)
        }
        _ => error,
    }
}

fn check_agreement(path: &Path, file: &str, agree: &[(&str, bool)]) -> Result<()> {
    match agree.iter().find(|(_, is_same)| !is_same) {
        Some((what, _)) => {
            let reason = format!("the {file}'s {what} is not the one in the manifest");
            Err(Error::corrupt(path, 0, reason))
        }
        None => Ok(()),
    }
}

impl VerifyReport {
    /// Takes corruption into the report; any other failure is the caller's.
    pub(crate) fn note<T>(&mut self, result: Result<T>) -> crate::Result<Option<T>> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(Error::Corrupt { path, offset, reason }) => {
                self.damage.push(Damage { path, offset, reason: reason.into_owned() });
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Takes a blob file into account, whole or damaged.
    pub(crate) fn note_blob(
        &mut self,
        record: &BlobRecord,
        checked: Result<()>,
    ) -> crate::Result<()> {
        self.files += 1;
        self.bytes += record.bytes;
        self.note(checked).map(drop)
    }

    /// Takes a table into account, whole or damaged.
    pub(crate) fn note_table(
        &mut self,
        record: &TableRecord,
        checked: Result<()>,
    ) -> crate::Result<()> {
        self.files += 1;
        self.bytes += record.bytes;
        if self.note(checked)?.is_some() {
            self.entries += record.entries;
        }
        Ok(())
    }
}
