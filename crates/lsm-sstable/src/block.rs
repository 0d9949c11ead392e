//! A block: some dozens of entries side by side, as a structure of arrays.
//!
//! One byte of each key's hash is enough to find a key (32 compared at once), eight or four bytes
//! of the key to find its place in order; whole keys and values lie contiguous, so that what is
//! returned is a slice of the block. Nothing is decoded but the 32 bytes of the header.
//!
//! | part | bytes | there |
//! |---|---|---|
//! | header | 32 | always |
//! | tags | 1 an entry: the top byte of the key's hash | always |
//! | sequence numbers | 0 to 7 an entry: how far above the header's | unless all are equal |
//! | kinds | 1 an entry | unless all are equal |
//! | key lengths | 2 an entry | unless all are equal |
//! | ends | 2 or 4 an entry: where each ends | unless all are of one length |
//! | entries | key, then value | always |
//! | zeros | up to a multiple of 8 | |
//! | digests | 4 or 8 an entry: the key's bytes behind the block's common prefix | not on disk if compressed |
//!
//! Format: docs/formats/table.md

mod encode;
mod layout;
mod view;

pub(crate) use encode::{BlockBuilder, BlockStats};
pub(crate) use layout::BlockLayout;
pub(crate) use view::{BlockView, Lookup};

/// Length of a block's header.
pub(crate) const HEADER_BYTES: usize = 32;
/// The layout described above.
pub(crate) const LAYOUT_VERSION: u8 = 1;
/// Most entries in a block: their count is stored in two bytes.
pub(crate) const BLOCK_ENTRIES_MAX: usize = u16::MAX as usize;

/// The entries are of many lengths: `ends` is there.
const FLAG_ENDS: u8 = 1;
/// Each end takes four bytes, not two.
const FLAG_WIDE_ENDS: u8 = 2;
/// The keys are of many lengths: `key lengths` is there.
const FLAG_KEY_LENGTHS: u8 = 4;
/// The entries are of many kinds: `kinds` is there.
const FLAG_KINDS: u8 = 8;
/// Each digest takes eight bytes, not four.
const FLAG_WIDE_DIGESTS: u8 = 16;
/// No two entries are of one key: whoever walks the block need not compare neighbours.
const FLAG_DISTINCT_KEYS: u8 = 32;
const FLAGS: u8 = FLAG_ENDS
    | FLAG_WIDE_ENDS
    | FLAG_KEY_LENGTHS
    | FLAG_KINDS
    | FLAG_WIDE_DIGESTS
    | FLAG_DISTINCT_KEYS;

/// The byte of a key's hash that stands for it among a block's tags.
#[inline]
pub(crate) fn hash_tag(hash: u64) -> u8 {
    (hash >> 56) as u8
}
