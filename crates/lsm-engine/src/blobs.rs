//! Values that lie in blob files: found by the references that tables hold in their place.
//!
//! A file is opened when it is first read from, and removed after the last view that held it is
//! gone, if no table of the next version refers to it. Nobody else decides about it. There may be many:
//! of those that are open one that was not read from lately is closed for the next.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

use arc_swap::ArcSwapOption;
use lsm_blob::{BlobFile, BlobValue};
use lsm_entry::BlobRef;
use lsm_io::{Error, Identity, OpenMode, Result, SharedFile};
use lsm_manifest::{FileKind, file_name};
use lsm_version::{BlobRecord, Version};

use crate::options::ReadMode;
use crate::tables::TableStore;

/// How many blob files are open at once.
const OPEN_MAX: usize = 256;
/// What an open blob file takes, about.
const OPEN_BYTES: u64 = 512;

/// A blob file that some view holds.
#[derive(Debug)]
pub(crate) struct HeldBlobFile {
    record: Arc<BlobRecord>,
    store: Arc<TableStore>,
    opened: ArcSwapOption<OpenBlob>,
    /// Whether it was read from since somebody looked for a file to close.
    was_read: AtomicBool,
    replaced: AtomicBool,
}

/// An open blob file, which counts for as long as somebody reads from it.
#[derive(Debug)]
struct OpenBlob {
    file: BlobFile,
    counted: Arc<AtomicU64>,
}

impl OpenBlob {
    fn new(file: BlobFile, counted: &Arc<AtomicU64>) -> Arc<Self> {
        counted.fetch_add(OPEN_BYTES, Ordering::Relaxed);
        let file = file.counting(Arc::clone(counted));
        Arc::new(Self { file, counted: Arc::clone(counted) })
    }
}

impl Drop for OpenBlob {
    fn drop(&mut self) {
        self.counted.fetch_sub(OPEN_BYTES, Ordering::Relaxed);
    }
}

/// The blob files that are open, in the order in which one is looked for that can be closed.
#[derive(Debug, Default)]
pub(crate) struct OpenBlobs(Mutex<VecDeque<Weak<HeldBlobFile>>>);

impl OpenBlobs {
    /// Enters a file that was opened; closes others if there are too many. Each that was read from
    /// lately is passed over once.
    fn enter(&self, file: &Arc<HeldBlobFile>, opened: Arc<OpenBlob>) {
        let mut open = self.0.lock().expect("no holder panicked");
        if file.opened.load().is_some() {
            // Two readers have both opened it; one of the two handles is dropped again.
            return;
        }
        file.opened.store(Some(opened));
        open.push_back(Arc::downgrade(file));
        if open.len() > OPEN_MAX {
            open.retain(|file| file.strong_count() > 0);
        }
        let mut passes = open.len();
        while open.len() > OPEN_MAX
            && let Some(oldest) = open.pop_front()
        {
            let Some(file) = oldest.upgrade() else { continue };
            if passes > 0 && file.was_read.swap(false, Ordering::Relaxed) {
                passes -= 1;
                open.push_back(oldest);
            } else {
                file.opened.store(None);
            }
        }
    }
}

impl HeldBlobFile {
    pub(crate) fn record(&self) -> &Arc<BlobRecord> {
        &self.record
    }

    fn get(self: &Arc<Self>, place: BlobRef) -> Result<BlobValue> {
        if !self.was_read.load(Ordering::Relaxed) {
            self.was_read.store(true, Ordering::Relaxed);
        }
        if let Some(opened) = &*self.opened.load() {
            return opened.file.get(place.offset, place.bytes);
        }
        let opened = self.open()?;
        self.store.open_blobs.enter(self, Arc::clone(&opened));
        opened.file.get(place.offset, place.bytes)
    }

    /// Opens it for as long as anybody holds it: its name may go meanwhile.
    pub(crate) fn keep_open(&self) -> Result<()> {
        if self.opened.load().is_none() {
            self.opened.store(Some(self.open()?));
        }
        Ok(())
    }

    /// The file, if it is open.
    pub(crate) fn file_if_open(&self) -> Option<SharedFile> {
        self.opened.load().as_ref().map(|opened| opened.file.file().clone())
    }

    fn open(&self) -> Result<Arc<OpenBlob>> {
        let record = &self.record;
        let path = self.store.dir.join(file_name(FileKind::Blob, record.number));
        let file = self.store.fs.open(&path, OpenMode::Read)?;
        let mode = match self.store.read_mode {
            ReadMode::Mapped => lsm_blob::ReadMode::Mapped,
            ReadMode::Cached => lsm_blob::ReadMode::Read,
        };
        let file = BlobFile::open(file, identity_of(record), record.bytes, mode)?;
        Ok(OpenBlob::new(file, self.store.budget.blob_bytes()))
    }

    /// No version refers to the file any more: whoever drops the last handle has it removed.
    pub(crate) fn mark_replaced(&self) {
        self.replaced.store(true, Ordering::Release);
    }
}

impl Drop for HeldBlobFile {
    fn drop(&mut self) {
        if self.replaced.load(Ordering::Acquire) {
            self.store.dispose(FileKind::Blob, self.record.number);
        }
    }
}

/// Who a blob file was born as.
pub(crate) fn identity_of(record: &BlobRecord) -> Identity {
    Identity { database_id: record.birth_database_id, file_number: record.number }
}

/// The blob files to which a version's tables refer.
#[derive(Clone, Debug)]
pub(crate) struct BlobFiles {
    dir: PathBuf,
    /// By number.
    files: Vec<Arc<HeldBlobFile>>,
}

impl BlobFiles {
    /// Those of `version`, taking over from `before` the handles of files that stay.
    pub(crate) fn new(version: &Version, before: Option<&Self>, store: &Arc<TableStore>) -> Self {
        let mut files = Vec::new();
        for blob in version.blobs() {
            let known = before.and_then(|before| before.get(blob.record.number));
            let fresh = || {
                Arc::new(HeldBlobFile {
                    record: Arc::clone(&blob.record),
                    store: Arc::clone(store),
                    opened: ArcSwapOption::empty(),
                    was_read: AtomicBool::new(false),
                    replaced: AtomicBool::new(false),
                })
            };
            files.push(known.map_or_else(fresh, Arc::clone));
        }
        debug_assert!(files.is_sorted_by_key(|file| file.record.number));
        let files = Self { dir: store.dir.clone(), files };
        for file in before.map_or(&[][..], |before| &before.files) {
            if !files.contains(file.record.number) {
                file.mark_replaced();
            }
        }
        files
    }

    /// Every file, by number.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<HeldBlobFile>> {
        self.files.iter()
    }

    /// Whether file `number` is among them.
    pub(crate) fn contains(&self, number: u64) -> bool {
        self.get(number).is_some()
    }

    fn get(&self, number: u64) -> Option<&Arc<HeldBlobFile>> {
        let index = self.files.binary_search_by_key(&number, |file| file.record.number);
        Some(&self.files[index.ok()?])
    }

    /// The value to which an entry refers, given what [`Entry::blob`](lsm_entry::Entry::blob) says.
    #[cold]
    pub(crate) fn load(&self, place: Option<BlobRef>) -> Result<BlobValue> {
        let Some(place) = place else {
            let reason = "a table refers to a large value with bytes that are no reference";
            return Err(Error::corrupt(&self.dir, 0, reason));
        };
        let Some(held) = self.get(place.file) else {
            let path = self.dir.join(file_name(FileKind::Blob, place.file));
            let reason = "a table refers to a value in a blob file that is not live";
            return Err(Error::corrupt(&path, place.offset, reason));
        };
        held.get(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Db, Env, KeyspaceOptions, Options, Reads};

    fn open(read_mode: ReadMode) -> Db {
        let env = Env::simulated(lsm_io::SimFs::new(1).shared());
        let keyspace =
            KeyspaceOptions { blob_threshold_bytes: Some(64), ..KeyspaceOptions::default() };
        let options =
            Options { memory_bytes: 4 << 20, read_mode, keyspace, env, ..Options::default() };
        Db::open_with("db", options).expect("opens")
    }

    fn blob_bytes(db: &Db) -> u64 {
        db.metrics().memory.blob_bytes
    }

    #[test]
    fn no_more_blob_files_are_open_than_may_be_and_all_are_read() {
        let db = open(ReadMode::Mapped);
        let keys = || 0..OPEN_MAX as u32 + 20;
        for n in keys() {
            db.put(n.to_be_bytes(), [n as u8; 100]).expect("writes");
            db.flush().expect("flushes");
        }
        assert_eq!((db.metrics().blobs.files, blob_bytes(&db)), (OPEN_MAX + 20, 0));
        for round in 0..3 {
            for n in keys() {
                let value = db.get(n.to_be_bytes()).expect("reads");
                assert_eq!(value.as_deref(), Some(&[n as u8; 100][..]), "round {round}");
            }
            assert_eq!(blob_bytes(&db), OPEN_MAX as u64 * OPEN_BYTES);
        }
    }

    #[test]
    fn a_value_that_is_not_mapped_counts_for_as_long_as_somebody_holds_it() {
        let db = open(ReadMode::Cached);
        db.put("key", vec![1; 100_000]).expect("writes");
        db.flush().expect("flushes");
        let value = db.get("key").expect("reads").expect("is there");
        assert!(blob_bytes(&db) > 100_000);
        assert!(db.metrics().memory.total_bytes() > 100_000);
        drop(value);
        assert_eq!(blob_bytes(&db), OPEN_BYTES);
        db.delete("key").expect("deletes");
        db.compact_range::<&str>(..).expect("merges");
        assert_eq!(blob_bytes(&db), 0, "the file went");
    }
}
