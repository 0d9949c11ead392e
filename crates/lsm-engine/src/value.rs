//! The bytes that a read returns.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use lsm_blob::BlobValue;
use lsm_sstable::PinnedSlice;

/// Values up to this long are copied out of their block; longer ones share it.
pub(crate) const COPY_BYTES_MAX: usize = 4096;

/// Keys and values up to this long lie in the slice itself.
const INLINE_BYTES: usize = 118;

/// A key or a value that a read returned: a byte slice that is cheap to clone.
///
/// Up to 118 bytes lie in the slice itself, and nothing is allocated for them. Up to 4 KiB it is a
/// copy; above, it shares the block it was found in, which stays in memory (or mapped) as long as the
/// slice lives. A value that lies in a blob file is never copied.
#[derive(Clone)]
pub struct Slice(Repr);

/// A value that a read returned.
pub type Value = Slice;
/// A key that a scan returned.
pub type Key = Slice;

#[derive(Clone)]
enum Repr {
    Inline { length: u8, bytes: [u8; INLINE_BYTES] },
    Owned(Arc<[u8]>),
    Shared(PinnedSlice),
    Blob(BlobValue),
}

impl Slice {
    #[inline]
    pub(crate) fn copied(copied: &[u8]) -> Self {
        if copied.len() > INLINE_BYTES {
            return Self(Repr::Owned(copied.into()));
        }
        // Filled where it is returned: bytes that were put together elsewhere would be copied again.
        let mut slice = Self(Repr::Inline { length: copied.len() as u8, bytes: [0; INLINE_BYTES] });
        if let Repr::Inline { bytes, .. } = &mut slice.0 {
            bytes[..copied.len()].copy_from_slice(copied);
        }
        slice
    }

    pub(crate) fn shared(pinned: PinnedSlice) -> Self {
        Self(Repr::Shared(pinned))
    }

    pub(crate) fn blob(value: BlobValue) -> Self {
        Self(Repr::Blob(value))
    }

    /// The bytes.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Repr::Inline { length, bytes } => bytes.get(..usize::from(*length)).unwrap_or_default(),
            Repr::Owned(bytes) => bytes,
            Repr::Shared(pinned) => pinned,
            Repr::Blob(value) => value,
        }
    }
}

impl Deref for Slice {
    type Target = [u8];

    #[inline]
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_is_what_was_copied_wherever_that_lies() {
        for length in [0, 1, INLINE_BYTES - 1, INLINE_BYTES, INLINE_BYTES + 1, 255, 256, 5000] {
            let bytes: Vec<u8> = (0..length).map(|place| place as u8 | 1).collect();
            let slice = Slice::copied(&bytes);
            assert_eq!(slice, bytes);
            assert_eq!(slice.clone(), slice);
            let is_inline = matches!(slice.0, Repr::Inline { .. });
            assert_eq!(is_inline, length <= INLINE_BYTES, "{length} bytes");
        }
    }

    #[test]
    fn a_slice_takes_no_more_than_its_bytes_and_their_length() {
        assert_eq!(size_of::<Option<Slice>>(), INLINE_BYTES + 2);
    }
}
