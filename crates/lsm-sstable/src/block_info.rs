//! What can be told of a block without reading it.

use lsm_entry::SeqNo;

use crate::index::{BlockHandle, TableIndex};

/// One block as the index knows it: for people who look into a table, and for skipping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockInfo<'a> {
    /// Its place among the table's blocks, from 0.
    pub number: usize,
    /// Where it starts in the file.
    pub offset: u64,
    /// Its length there, without its checksum.
    pub stored_bytes: u64,
    /// How it is compressed: "none", "lz4" or "zstd".
    pub compression: &'static str,
    /// The key of its last entry.
    pub last_key: &'a [u8],
    /// How many entries it holds.
    pub entries: u32,
    /// How many of them are tombstones.
    pub tombstones: u32,
    /// Smallest sequence number in it.
    pub seq_no_min: SeqNo,
    /// Largest sequence number in it.
    pub seq_no_max: SeqNo,
    /// Earliest expiry in it; `None` if nothing expires.
    pub expiry_min_ms: Option<u64>,
    /// Latest expiry; `None` if some entry never expires.
    pub expiry_max_ms: Option<u64>,
}

impl<'a> BlockInfo<'a> {
    /// `number` is below the number of blocks.
    pub(crate) fn of(index: &'a TableIndex, number: usize, seq_no_shift: u64) -> Self {
        let stats = index.stats(number);
        let handle = index.handle(number);
        let expires = |expiry_ms: u64| (expiry_ms != u64::MAX).then_some(expiry_ms);
        Self {
            number,
            offset: handle.map_or(0, BlockHandle::offset),
            stored_bytes: handle.map_or(0, |handle| u64::from(handle.bytes)),
            compression: handle.map_or("none", |handle| handle.method().name()),
            last_key: index.last_key(number),
            entries: stats.entries,
            tombstones: stats.tombstones,
            seq_no_min: stats.seq_no_min.saturating_add(seq_no_shift),
            seq_no_max: stats.seq_no_max.saturating_add(seq_no_shift),
            expiry_min_ms: expires(stats.expiry_min_ms),
            expiry_max_ms: expires(stats.expiry_max_ms),
        }
    }
}
