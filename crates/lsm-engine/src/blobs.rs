//! Values that lie in blob files: found by the references that tables hold in their place.
//!
//! A file is opened when it is first read from, and removed after the last view that held it is
//! gone, if no table of the next version refers to it. Nobody else decides about it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use lsm_blob::{BlobFile, BlobValue};
use lsm_entry::BlobRef;
use lsm_io::{Error, Identity, OpenMode, Result};
use lsm_manifest::{FileKind, file_name};
use lsm_version::{BlobRecord, Version};

use crate::options::ReadMode;
use crate::tables::TableStore;

/// A blob file that some view holds.
#[derive(Debug)]
pub(crate) struct HeldBlobFile {
    record: Arc<BlobRecord>,
    store: Arc<TableStore>,
    opened: OnceLock<BlobFile>,
    replaced: AtomicBool,
}

impl HeldBlobFile {
    pub(crate) fn record(&self) -> &Arc<BlobRecord> {
        &self.record
    }

    /// The open file.
    pub(crate) fn file(&self) -> Result<&BlobFile> {
        match self.opened.get() {
            Some(file) => Ok(file),
            None => self.open(),
        }
    }

    /// The open file, if somebody has read from it.
    pub(crate) fn file_if_open(&self) -> Option<&BlobFile> {
        self.opened.get()
    }

    #[cold]
    fn open(&self) -> Result<&BlobFile> {
        let record = &self.record;
        let path = self.store.dir.join(file_name(FileKind::Blob, record.number));
        let file = self.store.fs.open(&path, OpenMode::Read)?;
        let mode = match self.store.read_mode {
            ReadMode::Mapped => lsm_blob::ReadMode::Mapped,
            ReadMode::Cached => lsm_blob::ReadMode::Read,
        };
        let opened = BlobFile::open(file, identity_of(record), record.bytes, mode)?;
        // Two readers may both open it; one of the two handles is dropped again.
        Ok(self.opened.get_or_init(|| opened))
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
    files: BTreeMap<u64, Arc<HeldBlobFile>>,
}

impl BlobFiles {
    /// Those of `version`, taking over from `before` the handles of files that stay.
    pub(crate) fn new(version: &Version, before: Option<&Self>, store: &Arc<TableStore>) -> Self {
        let known = |number| before.and_then(|before| before.files.get(&number));
        let files: BTreeMap<_, _> = version
            .blobs()
            .map(|blob| {
                let number = blob.record.number;
                let fresh = || {
                    Arc::new(HeldBlobFile {
                        record: Arc::clone(&blob.record),
                        store: Arc::clone(store),
                        opened: OnceLock::new(),
                        replaced: AtomicBool::new(false),
                    })
                };
                (number, known(number).map_or_else(fresh, Arc::clone))
            })
            .collect();
        let gone = before.iter().flat_map(|before| &before.files);
        for (_, file) in gone.filter(|(number, _)| !files.contains_key(number)) {
            file.mark_replaced();
        }
        Self { dir: store.dir.clone(), files }
    }

    /// Every file, by number.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<HeldBlobFile>> {
        self.files.values()
    }

    /// Whether file `number` is among them.
    pub(crate) fn contains(&self, number: u64) -> bool {
        self.files.contains_key(&number)
    }

    /// The value to which an entry refers, given what [`Entry::blob`](lsm_entry::Entry::blob) says.
    #[cold]
    pub(crate) fn load(&self, place: Option<BlobRef>) -> Result<BlobValue> {
        let Some(place) = place else {
            let reason = "a table refers to a large value with bytes that are no reference";
            return Err(Error::corrupt(&self.dir, 0, reason));
        };
        let Some(held) = self.files.get(&place.file) else {
            let path = self.dir.join(file_name(FileKind::Blob, place.file));
            let reason = "a table refers to a value in a blob file that is not live";
            return Err(Error::corrupt(&path, place.offset, reason));
        };
        held.file()?.get(place.offset, place.bytes)
    }
}
