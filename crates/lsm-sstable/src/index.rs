//! The section that finds and describes the blocks.
//!
//! Held in memory, where there is room: the fence tree, and a handle of 16 bytes for each block
//! (together 25 bytes, 0.6 % of the data). The last keys and the numbers of each block stay in the
//! section, which is the mapped file where there is one; point reads touch them only when digests are
//! equal. Where there is no room, the section is searched as it lies: a dozen steps that each wait for memory.
//!
//! | at | bytes | what |
//! |---|---|---|
//! | 0 | 4 | how many blocks, n |
//! | 4 | 1 | width of the sequence numbers below: 0, 4 or 8 |
//! | 5 | 1 | 1 if expiry ranges are there, else 0 |
//! | 6 | 2 | zero |
//! | 8 | 8 | smallest sequence number of the table |
//! | 16 | 16 n | handles: offset 7, method 1, stored bytes 4, end of the last key 4 |
//! | | 4 n | entries 2, tombstones 2 |
//! | | 2 w n | smallest, largest sequence number, above the table's smallest |
//! | | 16 n | earliest, latest expiry |
//! | | rest | last keys, one behind the other |

mod encode;
mod stored;

use std::cmp::Ordering;

use lsm_entry::{SeqNo, common_prefix, digest};
use lsm_io::bytes::ByteReader;
use lsm_io::{Malformed, SEAL_BYTES};

pub(crate) use encode::IndexBuilder;
use stored::StoredHandles;

use crate::block::BlockStats;
use crate::compare::compare_prefix;
use crate::compression::Method;
use crate::fence_tree::FenceTree;
use crate::pinned::PinnedSlice;

const HEADER_BYTES: usize = 16;
const HANDLE_BYTES: usize = 16;
const COUNTS_BYTES: usize = 4;
const EXPIRIES_BYTES: usize = 16;

/// Where a block starts, and how it is compressed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BlockPlace(u64);

impl BlockPlace {
    /// The method is in the top byte, the offset in the rest.
    const OFFSET_BITS: u32 = 56;

    fn new(offset: u64, method: Method) -> Self {
        Self(offset | (u64::from(method as u8) << Self::OFFSET_BITS))
    }

    #[inline]
    pub(crate) fn offset(self) -> u64 {
        self.0 & ((1 << Self::OFFSET_BITS) - 1)
    }

    #[inline]
    pub(crate) fn is_plain(self) -> bool {
        self.0 >> Self::OFFSET_BITS == Method::Plain as u64
    }
}

/// Where a block is, and how it is stored. Its checksum follows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BlockHandle {
    pub(crate) place: BlockPlace,
    pub(crate) bytes: u32,
}

impl BlockHandle {
    #[inline]
    pub(crate) fn offset(self) -> u64 {
        self.place.offset()
    }

    pub(crate) fn method(self) -> Method {
        // Invariant: methods were checked as the index was decoded.
        Method::from_byte((self.place.0 >> BlockPlace::OFFSET_BITS) as u8).unwrap_or(Method::Plain)
    }

    /// Where the block's checksum ends.
    pub(crate) fn end(self) -> u64 {
        self.offset() + u64::from(self.bytes) + SEAL_BYTES as u64
    }
}

/// How long a block is, and where its last key ends among the last keys.
#[derive(Clone, Copy, Debug)]
struct Extent {
    bytes: u32,
    key_end: u32,
}

/// Whether an index has memory of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IndexMemory {
    /// What finds a block fast is held in memory.
    Held,
    /// Nothing is: the section is searched where it lies.
    InPlace,
}

/// What finds a block fast.
#[derive(Debug)]
struct Held {
    /// Where each block starts, by its last key.
    places: FenceTree<BlockPlace>,
    /// Apart from the places: a point read in a mapped file needs no more than these.
    extents: Box<[Extent]>,
}

/// The index of an open table.
#[derive(Debug)]
pub(crate) struct TableIndex {
    /// `None`: the section is searched where it lies.
    held: Option<Held>,
    blocks: usize,
    /// What all last keys start with; digests are of what follows.
    prefix: Box<[u8]>,
    section: PinnedSlice,
    seq_base: SeqNo,
    seq_bytes: usize,
    counts_at: usize,
    seqs_at: usize,
    expiries_at: Option<usize>,
    keys_at: usize,
}

impl TableIndex {
    /// Reads and checks the section. Blocks must lie in the first `data_end` bytes of the file.
    pub(crate) fn decode(
        section: PinnedSlice,
        data_end: u64,
        memory: IndexMemory,
    ) -> Result<Self, Malformed> {
        let bytes: &[u8] = &section;
        let mut reader = ByteReader::new(bytes);
        let blocks = reader.u32()? as usize;
        let (seq_bytes, has_expiries) = (usize::from(reader.u8()?), reader.u8()?);
        if !matches!(seq_bytes, 0 | 4 | 8) || has_expiries > 1 || reader.u16()? != 0 {
            return Err(Malformed { offset: 4, reason: "index header has unknown bits set" });
        }
        let seq_base = reader.u64()?;

        let each = HANDLE_BYTES + COUNTS_BYTES + 2 * seq_bytes;
        let each = each + if has_expiries == 1 { EXPIRIES_BYTES } else { 0 };
        // Checked before anything is allocated: a count that the section cannot hold goes no further.
        let keys_at = blocks.checked_mul(each).and_then(|bytes| bytes.checked_add(HEADER_BYTES));
        let Some(keys) = keys_at.and_then(|at| bytes.get(at..)) else {
            return Err(Malformed { offset: 0, reason: "index ends inside its blocks" });
        };
        let keys_at = bytes.len() - keys.len();
        let stored = StoredHandles::of(bytes, blocks);
        stored.check(keys, keys_at, data_end)?;
        let counts_at = HEADER_BYTES + blocks * HANDLE_BYTES;
        let seqs_at = counts_at + blocks * COUNTS_BYTES;
        let expiries_at = (has_expiries == 1).then_some(seqs_at + blocks * 2 * seq_bytes);

        let (first, last) = (stored.key(keys, 0), stored.key(keys, blocks.saturating_sub(1)));
        let prefix: Box<[u8]> = first[..common_prefix(first, last)].into();
        let held = (memory == IndexMemory::Held).then(|| Held::new(stored, keys, prefix.len()));
        Ok(Self {
            held,
            blocks,
            prefix,
            seq_base,
            seq_bytes,
            counts_at,
            seqs_at,
            expiries_at,
            keys_at,
            section,
        })
    }

    /// How many blocks there are.
    #[inline]
    pub(crate) fn blocks(&self) -> usize {
        self.blocks
    }

    /// Where block `number` starts.
    #[inline]
    pub(crate) fn place(&self, number: usize) -> Option<BlockPlace> {
        match &self.held {
            Some(held) => held.places.beside(number),
            None => self.stored_handle(number).map(|(place, _)| place),
        }
    }

    /// Where block `number` is, and how long.
    #[inline]
    pub(crate) fn handle(&self, number: usize) -> Option<BlockHandle> {
        let (place, extent) = match &self.held {
            Some(held) => (held.places.beside(number)?, *held.extents.get(number)?),
            None => self.stored_handle(number)?,
        };
        Some(BlockHandle { place, bytes: extent.bytes })
    }

    /// The first block whose last key is not below `key`; the number of blocks if there is none.
    #[inline]
    pub(crate) fn find(&self, key: &[u8]) -> usize {
        let prefix_bytes = self.prefix.len();
        match compare_prefix(key, &self.prefix) {
            Ordering::Less => return 0,
            Ordering::Greater => return self.blocks,
            Ordering::Equal => {}
        }
        let Some(held) = &self.held else { return self.find_among(key, 0, self.blocks) };
        let wanted = digest(key, prefix_bytes);
        let lower = held.places.rank(wanted);
        if held.places.holds(lower, wanted) {
            self.find_among_ties(held, key, lower, wanted)
        } else {
            lower
        }
    }

    /// The same among the blocks from `lower` on whose digest is `wanted`.
    #[cold]
    fn find_among_ties(&self, held: &Held, key: &[u8], lower: usize, wanted: u64) -> usize {
        let above = wanted.checked_add(1);
        let upper = above.map_or(self.blocks, |above| held.places.rank(above));
        self.find_among(key, lower, upper)
    }

    /// The same among the blocks from `lower` up to `upper`, by whole keys.
    #[cold]
    fn find_among(&self, key: &[u8], mut lower: usize, mut upper: usize) -> usize {
        while lower < upper {
            let middle = lower.midpoint(upper);
            if self.last_key(middle) < key {
                lower = middle + 1;
            } else {
                upper = middle;
            }
        }
        lower
    }

    /// The key of the last entry of block `number`.
    pub(crate) fn last_key(&self, number: usize) -> &[u8] {
        let keys = self.section.get(self.keys_at..).unwrap_or_default();
        match &self.held {
            Some(held) => {
                let end = |number: usize| held.extents.get(number).map(|extent| extent.key_end);
                key_between(keys, number, end)
            }
            None => self.stored().key(keys, number),
        }
    }

    #[cold]
    fn stored_handle(&self, number: usize) -> Option<(BlockPlace, Extent)> {
        self.stored().get(number)
    }

    /// The handles as they are stored.
    fn stored(&self) -> StoredHandles<'_> {
        StoredHandles::of(&self.section, self.blocks)
    }

    /// The numbers of block `number`.
    pub(crate) fn stats(&self, number: usize) -> BlockStats {
        let counts = self.u32_at(self.counts_at + COUNTS_BYTES * number);
        let seq_no = |index: usize| {
            let at = self.seqs_at + (2 * number + index) * self.seq_bytes;
            self.seq_base.saturating_add(match self.seq_bytes {
                0 => 0,
                4 => u64::from(self.u32_at(at)),
                _ => self.u64_at(at),
            })
        };
        let expiry = |index: usize| match self.expiries_at {
            Some(at) => self.u64_at(at + EXPIRIES_BYTES * number + 8 * index),
            None => u64::MAX,
        };
        BlockStats {
            entries: counts & 0xFFFF,
            tombstones: counts >> 16,
            seq_no_min: seq_no(0),
            seq_no_max: seq_no(1),
            expiry_min_ms: expiry(0),
            expiry_max_ms: expiry(1),
        }
    }

    /// Bytes of memory held.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.prefix.len() + self.held.as_ref().map_or(0, Held::memory_bytes)
    }

    fn u32_at(&self, at: usize) -> u32 {
        let number = self.section.get(at..).and_then(<[u8]>::first_chunk::<4>);
        number.map_or(0, |number| u32::from_le_bytes(*number))
    }

    fn u64_at(&self, at: usize) -> u64 {
        let number = self.section.get(at..).and_then(<[u8]>::first_chunk::<8>);
        number.map_or(0, |number| u64::from_le_bytes(*number))
    }
}

impl Held {
    /// Of checked handles; digests are of what follows the first `prefix_bytes` of a key.
    fn new(stored: StoredHandles<'_>, keys: &[u8], prefix_bytes: usize) -> Self {
        let (places, extents): (Vec<_>, Vec<_>) = stored.iter().unzip();
        let last_keys = (0..places.len()).map(|number| stored.key(keys, number));
        let digests = last_keys.map(|key| digest(key, prefix_bytes));
        let fences: Vec<(u64, BlockPlace)> = digests.zip(places).collect();
        Self { places: FenceTree::new(&fences), extents: extents.into() }
    }

    fn memory_bytes(&self) -> usize {
        self.places.memory_bytes() + size_of_val(&*self.extents)
    }
}

/// The key of block `number` among the last keys, given where each ends.
fn key_between(keys: &[u8], number: usize, end: impl Fn(usize) -> Option<u32>) -> &[u8] {
    let end = |number: usize| end(number).unwrap_or(0) as usize;
    let start = number.checked_sub(1).map_or(0, end);
    keys.get(start..end(number)).unwrap_or_default()
}
