//! Logical records: the entries of a batch, concatenated as the log stores them.
//!
//! ```text
//! | KeyLen (4B) | ValLen (4B) | Type (1B) | Key (K) | Value (V, empty for a tombstone) |
//! ```
//! Integers are little-endian. A record of type `0x3F` selects the keyspace of those that follow;
//! its key is the keyspace's number in 4 bytes. Format: docs/formats/log.md

use crate::{Malformed, Tag};

/// The record type that selects a keyspace.
pub const KEYSPACE_SELECTOR: u8 = 0x3F;

/// Bytes of a record before its key.
pub const RECORD_HEADER_BYTES: usize = 9;

/// One logical record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record<'a> {
    /// Entries that follow belong to this keyspace.
    Keyspace(u32),
    /// An entry; its sequence number follows from its place in the batch.
    Entry {
        /// What it does, and how its value is to be read.
        tag: Tag,
        /// The user key.
        key: &'a [u8],
        /// The value as stored.
        value: &'a [u8],
    },
}

/// Appends an entry's record. Key and value are at most 4 GiB each, which callers check.
pub fn encode_entry(out: &mut Vec<u8>, tag: Tag, key: &[u8], value: &[u8]) {
    encode(out, tag.as_byte(), key, &[value]);
}

/// Appends an entry's record whose value expires at `expires_at_ms`, milliseconds since 1970.
pub fn encode_expiring(out: &mut Vec<u8>, tag: Tag, expires_at_ms: u64, key: &[u8], value: &[u8]) {
    let pieces = [&expires_at_ms.to_le_bytes(), value];
    encode(out, tag.with_expiry().as_byte(), key, &pieces);
}

/// Appends the record that selects keyspace `id`.
pub fn encode_keyspace(out: &mut Vec<u8>, id: u32) {
    encode(out, KEYSPACE_SELECTOR, &id.to_le_bytes(), &[]);
}

/// A record whose value is `pieces`, one after the other.
#[inline]
fn encode(out: &mut Vec<u8>, kind: u8, key: &[u8], pieces: &[&[u8]]) {
    let length = |bytes: usize| u32::try_from(bytes).expect("checked by the caller").to_le_bytes();
    let value_bytes = pieces.iter().map(|piece| piece.len()).sum();
    out.reserve(RECORD_HEADER_BYTES + key.len() + value_bytes);
    out.extend_from_slice(&length(key.len()));
    out.extend_from_slice(&length(value_bytes));
    out.push(kind);
    out.extend_from_slice(key);
    pieces.iter().for_each(|piece| out.extend_from_slice(piece));
}

/// The records of a batch's payload, in order. After something malformed it ends.
///
/// ```
/// use lsm_entry::{Record, Records, Tag, encode_entry};
///
/// let mut payload = Vec::new();
/// encode_entry(&mut payload, Tag::PUT, b"key", b"value");
/// let records: Result<Vec<_>, _> = Records::new(&payload).collect();
/// assert_eq!(records?, [Record::Entry { tag: Tag::PUT, key: b"key", value: b"value" }]);
/// # Ok::<(), lsm_entry::Malformed>(())
/// ```
#[derive(Clone, Debug)]
pub struct Records<'a> {
    payload: &'a [u8],
    offset: usize,
}

impl<'a> Records<'a> {
    /// Reads `payload` from its start.
    pub fn new(payload: &'a [u8]) -> Self {
        Self { payload, offset: 0 }
    }

    #[inline]
    fn step(&mut self) -> Result<Record<'a>, Malformed> {
        let rest = &self.payload[self.offset..];
        let malformed = |reason| Malformed { offset: self.offset, reason };
        let Some((header, rest)) = rest.split_first_chunk::<RECORD_HEADER_BYTES>() else {
            return Err(malformed("a record's header is cut off"));
        };
        let [k0, k1, k2, k3, v0, v1, v2, v3, kind] = *header;
        let key_bytes = u32::from_le_bytes([k0, k1, k2, k3]) as usize;
        let value_bytes = u32::from_le_bytes([v0, v1, v2, v3]) as usize;
        let Some((key, rest)) = rest.split_at_checked(key_bytes) else {
            return Err(malformed("a record's key is cut off"));
        };
        let Some(value) = rest.get(..value_bytes) else {
            return Err(malformed("a record's value is cut off"));
        };
        let record = if kind == KEYSPACE_SELECTOR {
            match (<[u8; 4]>::try_from(key), value) {
                (Ok(id), []) => Record::Keyspace(u32::from_le_bytes(id)),
                _ => return Err(malformed("a keyspace selector has another shape")),
            }
        } else {
            let tag = Tag::from_byte(kind).ok_or_else(|| malformed("unknown record type"))?;
            if key.len() > crate::MAX_KEY_BYTES {
                return Err(malformed("a key is longer than any may be"));
            }
            if tag.has_expiry() && value.len() < 8 {
                return Err(malformed("a value is too short for its expiry time"));
            }
            Record::Entry { tag, key, value }
        };
        self.offset += RECORD_HEADER_BYTES + key_bytes + value_bytes;
        Ok(record)
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, Malformed>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.offset == self.payload.len() {
            return None;
        }
        let step = self.step();
        if step.is_err() {
            self.offset = self.payload.len();
        }
        Some(step)
    }
}

/// Reads arbitrary bytes as a payload; what can be read must encode to the same bytes again.
#[doc(hidden)]
pub fn fuzz_records(data: &[u8]) {
    let mut encoded = Vec::new();
    for record in Records::new(data) {
        match record {
            Ok(Record::Keyspace(id)) => encode_keyspace(&mut encoded, id),
            Ok(Record::Entry { tag, key, value }) => encode_entry(&mut encoded, tag, key, value),
            Err(_) => break,
        }
    }
    assert_eq!(encoded, data[..encoded.len()]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_laid_out_as_the_format_page_says() {
        let mut payload = Vec::new();
        encode_keyspace(&mut payload, 2);
        encode_entry(&mut payload, Tag::PUT, b"k", b"val");
        let expected = [
            4, 0, 0, 0, 0, 0, 0, 0, 0x3F, 2, 0, 0, 0, // selects keyspace 2
            1, 0, 0, 0, 3, 0, 0, 0, 1, b'k', b'v', b'a', b'l',
        ];
        assert_eq!(payload, expected);
    }

    #[test]
    fn an_expiry_stands_before_the_value_and_counts_in_its_length() {
        let mut payload = Vec::new();
        encode_expiring(&mut payload, Tag::PUT, 0x0102, b"k", b"v");
        let expected = [1, 0, 0, 0, 9, 0, 0, 0, 0x41, b'k', 2, 1, 0, 0, 0, 0, 0, 0, b'v'];
        assert_eq!(payload, expected);
        let records: Vec<_> = Records::new(&payload).collect();
        let value = &payload[10..];
        assert_eq!(records, [Ok(Record::Entry { tag: Tag::PUT.with_expiry(), key: b"k", value })]);
    }

    #[test]
    fn every_cut_is_noticed_or_falls_between_records() {
        let mut payload = Vec::new();
        encode_entry(&mut payload, Tag::PUT, b"key", b"value");
        let boundary = payload.len();
        encode_entry(&mut payload, Tag::DELETE, b"key", b"");
        for length in 0..payload.len() {
            let whole = Records::new(&payload[..length]).all(|record| record.is_ok());
            assert_eq!(whole, length == 0 || length == boundary, "{length} bytes");
        }
    }
}
