//! Large values on their way into tables: into a blob file, leaving a reference behind.
//!
//! A blob file belongs to the table in the making: it is ended, and durable, before its table is.
//! So a table that is whole refers to nothing that is not.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use lsm_blob::{BlobSummary, BlobWriter};
use lsm_entry::{BlobRef, Entry, ValueKind};
use lsm_io::{Identity, OpenMode, Result, SharedFile};
use lsm_manifest::{FileKind, file_name};
use lsm_version::BlobRecord;

use super::Workshop;
use crate::blobs::BlobFiles;
use crate::limiter::{LimitedFile, Priority};

/// A blob file that has grown to this is ended, and another is begun.
const BLOB_FILE_BYTES: u64 = 256 << 20;
/// Bytes of an expiry, which stays with the reference.
const EXPIRY_BYTES: usize = 8;

/// Where the inputs' values lie, and from which files they are to be moved.
#[derive(Clone)]
pub(crate) struct Moving {
    pub(crate) files: BlobFiles,
    pub(crate) numbers: BTreeSet<u64>,
}

/// Takes large values out of entries.
pub(super) struct Separator {
    threshold_bytes: Option<u64>,
    moving: Option<Moving>,
    priority: Priority,
    created_ms: u64,
    current: Option<(u64, BlobWriter)>,
    finished: Vec<Arc<BlobRecord>>,
    /// What stands in the table in the place of the last value.
    stored: Vec<u8>,
}

impl Separator {
    pub(super) fn new(
        threshold_bytes: Option<u64>,
        moving: Option<Moving>,
        priority: Priority,
        created_ms: u64,
    ) -> Self {
        let moving = moving.filter(|moving| !moving.numbers.is_empty());
        let (current, finished, stored) = (None, Vec::new(), Vec::new());
        Self { threshold_bytes, moving, priority, created_ms, current, finished, stored }
    }

    /// Whether an entry goes into the table as it is.
    #[inline]
    pub(super) fn passes(&self, entry: &Entry<'_>) -> bool {
        if entry.tag.is_blob() {
            return self.moving.is_none();
        }
        // Merge operands are read by merges, which would have to fetch them.
        let is_large =
            self.threshold_bytes.is_some_and(|bytes| entry.user_value().len() as u64 >= bytes);
        !is_large || entry.kind() != ValueKind::Put
    }

    /// What goes into the table for an entry that does not pass. `begun` is told of files.
    pub(super) fn separate<'a>(
        &'a mut self,
        shop: &Workshop<'_>,
        entry: Entry<'a>,
        begun: &mut Vec<PathBuf>,
    ) -> Result<Entry<'a>> {
        let expiry_bytes = if entry.tag.has_expiry() { EXPIRY_BYTES } else { 0 };
        let expiry = entry.value.get(..expiry_bytes).unwrap_or_default();
        let moved = match (entry.tag.is_blob(), &self.moving) {
            (false, _) => None,
            (true, Some(moving)) if is_moved(moving, &entry) => {
                Some(moving.files.load(entry.blob().flatten())?)
            }
            (true, _) => return Ok(entry),
        };
        let value = moved.as_deref().unwrap_or(entry.user_value());
        self.stored.clear();
        self.stored.extend_from_slice(expiry);
        let tag = entry.tag.without_blob();
        if self.threshold_bytes.is_none_or(|bytes| (value.len() as u64) < bytes) {
            // The threshold was raised since the value was written.
            self.stored.extend_from_slice(value);
            return Ok(Entry { tag, value: &self.stored, ..entry });
        }
        if self.current.as_ref().is_some_and(|(_, writer)| writer.bytes() >= BLOB_FILE_BYTES) {
            self.end_file(shop)?;
        }
        if self.current.is_none() {
            self.current = Some(begin(shop, self.priority, begun)?);
        }
        let (file, writer) = self.current.as_mut().expect("begun above");
        let offset = writer.add(value)?;
        let place = BlobRef { file: *file, offset, bytes: value.len() as u32 };
        self.stored.extend_from_slice(&place.to_bytes());
        Ok(Entry { tag: tag.with_blob(), value: &self.stored, ..entry })
    }

    /// Makes the blob file in the making durable.
    pub(super) fn end_file(&mut self, shop: &Workshop<'_>) -> Result<()> {
        let Some((number, writer)) = self.current.take() else { return Ok(()) };
        let BlobSummary { bytes, checksum, values, value_bytes } = writer.finish()?;
        self.finished.push(Arc::new(BlobRecord {
            number,
            birth_database_id: shop.database_id,
            bytes,
            checksum,
            values,
            value_bytes,
            created_ms: self.created_ms,
        }));
        Ok(())
    }

    /// The files that were written.
    pub(super) fn into_records(self) -> Vec<Arc<BlobRecord>> {
        self.finished
    }
}

fn is_moved(moving: &Moving, entry: &Entry<'_>) -> bool {
    // What is no reference stays: whoever reads it is told.
    entry.blob().flatten().is_some_and(|place| moving.numbers.contains(&place.file))
}

fn begin(
    shop: &Workshop<'_>,
    priority: Priority,
    begun: &mut Vec<PathBuf>,
) -> Result<(u64, BlobWriter)> {
    let number = shop.file_numbers.fetch_add(1, Ordering::Relaxed);
    let path = shop.dir.join(file_name(FileKind::Blob, number));
    let file = shop.fs.open(&path, OpenMode::CreateNew)?;
    begun.push(path);
    let file: SharedFile = Arc::new(LimitedFile::new(file, Arc::clone(&shop.limiter), priority));
    let identity = Identity { database_id: shop.database_id, file_number: number };
    Ok((number, BlobWriter::new(file, identity)))
}
