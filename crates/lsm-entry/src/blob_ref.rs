//! Where a value lies that is too large for a table: the reference that stands in its place.
//!
//! ```text
//! | file number (8B) | offset (8B) | length (4B) |
//! ```
//! Integers are little-endian. Format: docs/formats/blob.md

use crate::Entry;

/// Where a value lies in a blob file. The file's own checksum, which is bound to file and offset,
/// tells whether what is found there is the value that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BlobRef {
    /// The blob file's number, which it keeps for ever.
    pub file: u64,
    /// Where the value is in it.
    pub offset: u64,
    /// How long the value is.
    pub bytes: u32,
}

impl BlobRef {
    /// Length of the encoded form.
    pub const BYTES: usize = 20;

    /// The encoded form.
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut out = [0; Self::BYTES];
        out[..8].copy_from_slice(&self.file.to_le_bytes());
        out[8..16].copy_from_slice(&self.offset.to_le_bytes());
        out[16..].copy_from_slice(&self.bytes.to_le_bytes());
        out
    }

    /// Reads the encoded form; `None` if it has another length.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; Self::BYTES] = bytes.try_into().ok()?;
        let word = |at: usize| {
            u64::from_le_bytes(bytes[at..at + 8].try_into().expect("a range of eight bytes"))
        };
        let length = bytes.last_chunk::<4>().expect("longer than that");
        Some(Self { file: word(0), offset: word(8), bytes: u32::from_le_bytes(*length) })
    }
}

/// How much of a blob file something refers to: an entry, a table, or all tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlobShare {
    /// The blob file's number.
    pub file: u64,
    /// How many values.
    pub values: u64,
    /// How long they are together.
    pub value_bytes: u64,
}

impl Entry<'_> {
    /// Where the entry's value lies, if it is not in the entry; `Some(None)`: what should tell is no
    /// reference.
    #[inline]
    pub fn blob(&self) -> Option<Option<BlobRef>> {
        if !self.tag.is_blob() {
            return None;
        }
        Some(BlobRef::from_bytes(self.user_value()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tag;

    #[test]
    fn a_reference_is_laid_out_as_the_format_page_says() {
        let place = BlobRef { file: 7, offset: 0x28, bytes: 0x1000 };
        let bytes = place.to_bytes();
        assert_eq!(bytes, [7, 0, 0, 0, 0, 0, 0, 0, 0x28, 0, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0]);
        assert_eq!(BlobRef::from_bytes(&bytes), Some(place));
        assert_eq!(BlobRef::from_bytes(&bytes[1..]), None);
    }

    #[test]
    fn an_expiry_stands_before_the_reference() {
        let place = BlobRef { file: 1, offset: 2, bytes: 3 };
        let value = [&77_u64.to_le_bytes()[..], &place.to_bytes()].concat();
        let tag = Tag::PUT.with_expiry().with_blob();
        let entry = Entry { key: b"k", seq_no: 1, tag, value: &value };
        assert_eq!(entry.blob(), Some(Some(place)));
        assert_eq!(entry.expires_at_ms(), Some(77));
        assert_eq!(Entry { tag: Tag::PUT, ..entry }.blob(), None);
        assert_eq!(Entry { value: &value[..9], ..entry }.blob(), Some(None));
    }
}
