//! The value of a cursor's entry while it lies in a blob file.
//!
//! It is fetched as the cursor comes to stand at the entry; a cursor that wants keys alone fetches
//! none. A memtable holds every value whole, so this concerns tables only.

use lsm_blob::BlobValue;
use lsm_entry::BlobRef;

use crate::blobs::BlobFiles;
use crate::error::Result;
use crate::value::Slice;

/// The large value at which a cursor stands, if it stands at one.
#[derive(Debug)]
pub(super) struct Large {
    value: Option<BlobValue>,
    is_wanted: bool,
}

impl Large {
    /// None yet; each will be fetched.
    pub(super) fn wanted() -> Self {
        Self { value: None, is_wanted: true }
    }

    /// None yet; none will be fetched, and each seems empty.
    pub(super) fn unwanted() -> Self {
        Self { value: None, is_wanted: false }
    }

    /// None yet; each will be fetched if each is here.
    pub(super) fn alike(&self) -> Self {
        Self { value: None, is_wanted: self.is_wanted }
    }

    /// Fetches the value of an entry, given what [`Entry::blob`](lsm_entry::Entry::blob) says of it.
    pub(super) fn fetch(&mut self, files: &BlobFiles, place: Option<BlobRef>) -> Result<()> {
        self.value = None;
        if self.is_wanted {
            self.value = Some(files.load(place)?);
        }
        Ok(())
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.value.as_deref().unwrap_or_default()
    }

    /// The value, for longer than the cursor stays.
    pub(super) fn shared(&self) -> Slice {
        self.value.clone().map_or_else(|| Slice::copied(b""), Slice::blob)
    }
}
