//! The one thing that flows through memtable, table and merge.

use std::cmp::Ordering;

use crate::{Tag, ValueKind};

/// Position of a write in the one order of all writes. 56 bits are used.
pub type SeqNo = u64;

/// The largest sequence number; as a read position it means "everything".
pub const MAX_SEQ_NO: SeqNo = (1 << 56) - 1;

/// The longest user key, in bytes.
pub const MAX_KEY_BYTES: usize = 65_535;

/// An entry, borrowed from wherever it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The user key: any bytes, 0 to [`MAX_KEY_BYTES`] of them.
    pub key: &'a [u8],
    /// When it was written, in the one order.
    pub seq_no: SeqNo,
    /// What it does, and how `value` is to be read.
    pub tag: Tag,
    /// The value as stored: with its expiry in front where the tag says so; empty for a tombstone.
    pub value: &'a [u8],
}

impl<'a> Entry<'a> {
    /// A plain put.
    pub const fn put(key: &'a [u8], seq_no: SeqNo, value: &'a [u8]) -> Self {
        Self { key, seq_no, tag: Tag::PUT, value }
    }

    /// A tombstone.
    pub const fn delete(key: &'a [u8], seq_no: SeqNo) -> Self {
        Self { key, seq_no, tag: Tag::DELETE, value: &[] }
    }

    /// What the entry does.
    #[inline]
    pub const fn kind(&self) -> ValueKind {
        self.tag.kind()
    }

    /// When the value expires, in milliseconds since 1970, if ever.
    #[inline]
    pub fn expires_at_ms(&self) -> Option<u64> {
        if !self.tag.has_expiry() {
            return None;
        }
        self.value.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
    }

    /// The value as the user gave it, without the expiry.
    #[inline]
    pub fn user_value(&self) -> &'a [u8] {
        if self.tag.has_expiry() { self.value.get(8..).unwrap_or(&[]) } else { self.value }
    }

    /// The order of entries: see [`compare_internal`].
    #[inline]
    pub fn compare(&self, other: &Entry<'_>) -> Ordering {
        compare_internal(self.key, self.seq_no, other.key, other.seq_no)
    }
}

/// The order of internal keys: user key ascending by unsigned bytes, then newest first.
#[inline]
pub fn compare_internal(key: &[u8], seq_no: SeqNo, other: &[u8], other_seq_no: SeqNo) -> Ordering {
    key.cmp(other).then_with(|| other_seq_no.cmp(&seq_no))
}

/// The one key hash: computed once an operation, used by the memtable's index, every filter and
/// every block's tags.
#[inline]
pub fn key_hash(key: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(key)
}
