//! The bytes that a read returns.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use lsm_blob::BlobValue;
use lsm_sstable::PinnedSlice;

/// Values up to this long are copied out of their block; longer ones share it.
pub(crate) const COPY_BYTES_MAX: usize = 4096;

/// A key or a value that a read returned: a byte slice that is cheap to clone.
///
/// Up to 4 KiB it is a copy; above, it shares the block it was found in, which stays in memory (or
/// mapped) as long as the slice lives. A value that lies in a blob file is never copied.
#[derive(Clone)]
pub struct Slice(Repr);

/// A value that a read returned.
pub type Value = Slice;
/// A key that a scan returned.
pub type Key = Slice;

#[derive(Clone)]
enum Repr {
    Owned(Arc<[u8]>),
    Shared(PinnedSlice),
    Blob(BlobValue),
}

impl Slice {
    pub(crate) fn copied(bytes: &[u8]) -> Self {
        Self(Repr::Owned(bytes.into()))
    }

    pub(crate) fn shared(pinned: PinnedSlice) -> Self {
        Self(Repr::Shared(pinned))
    }

    pub(crate) fn blob(value: BlobValue) -> Self {
        Self(Repr::Blob(value))
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Repr::Owned(bytes) => bytes,
            Repr::Shared(pinned) => pinned,
            Repr::Blob(value) => value,
        }
    }
}

impl Deref for Slice {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl AsRef<[u8]> for Slice {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl fmt::Debug for Slice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.as_bytes().escape_ascii())
    }
}

impl Eq for Slice {}

impl PartialEq for Slice {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl PartialEq<[u8]> for Slice {
    fn eq(&self, other: &[u8]) -> bool {
        self.as_bytes() == other
    }
}

impl PartialEq<&[u8]> for Slice {
    fn eq(&self, other: &&[u8]) -> bool {
        self.as_bytes() == *other
    }
}

impl<const N: usize> PartialEq<&[u8; N]> for Slice {
    fn eq(&self, other: &&[u8; N]) -> bool {
        self.as_bytes() == other.as_slice()
    }
}

impl PartialEq<&str> for Slice {
    fn eq(&self, other: &&str) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl PartialEq<Vec<u8>> for Slice {
    fn eq(&self, other: &Vec<u8>) -> bool {
        self.as_bytes() == other.as_slice()
    }
}

impl PartialOrd for Slice {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Slice {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl std::hash::Hash for Slice {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl From<Slice> for Vec<u8> {
    fn from(slice: Slice) -> Self {
        slice.as_bytes().to_vec()
    }
}
