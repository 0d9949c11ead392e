//! What the tree knows of a table without opening it.

use lsm_entry::{BlobShare, Expiring, SeqNo};

/// The numbers by which the manifest knows a table: all that a policy or an open needs.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct TableRecord {
    /// The present file number: `NNNNNN.sst`.
    pub number: u64,
    /// The database in which it was written (differs after a checkpoint or an ingest).
    pub birth_database_id: u128,
    /// Its file number there.
    pub birth_number: u64,
    /// Length of the file.
    pub bytes: u64,
    /// xxh3 of the whole file.
    pub checksum: u64,
    /// Smallest user key, range deletes included.
    pub lower: Vec<u8>,
    /// Largest user key (inclusive), range deletes included.
    pub upper: Vec<u8>,
    /// Smallest sequence number in it.
    pub seq_no_min: SeqNo,
    /// Largest sequence number in it.
    pub seq_no_max: SeqNo,
    /// How many entries it holds.
    pub entries: u64,
    /// How many of them are tombstones.
    pub tombstones: u64,
    /// How many range deletes it holds.
    pub range_deletes: u64,
    /// Most tombstones found in any stretch of 128 entries.
    pub densest_tombstones: u32,
    /// Key and value bytes before encoding and compression.
    pub raw_bytes: u64,
    /// Earliest expiry of an entry in milliseconds since 1970; `None` if nothing expires.
    pub expiry_min_ms: Option<u64>,
    /// Latest expiry; `None` if some entry never expires (or the table is empty).
    pub expiry_max_ms: Option<u64>,
    /// Of which entries `expiry_min_ms` tells, where others stay; `None` as well for a table of an earlier
    /// writer, which did not count them.
    pub expiring: Option<Expiring>,
    /// Database time at which it was written, in milliseconds since 1970.
    pub created_ms: u64,
    /// To how much of which blob files its entries refer, by file number.
    pub blobs: Vec<BlobShare>,
}

impl TableRecord {
    /// Whether `key` lies between the bounds.
    #[inline]
    pub fn covers(&self, key: &[u8]) -> bool {
        self.lower.as_slice() <= key && key <= self.upper.as_slice()
    }

    /// Whether any key lies in both the table and `lower..=upper`.
    pub fn overlaps(&self, lower: &[u8], upper: &[u8]) -> bool {
        self.lower.as_slice() <= upper && lower <= self.upper.as_slice()
    }
}
