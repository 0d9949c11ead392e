//! The section that finds and describes the blocks.
//!
//! Held in memory: the fence tree, and a handle of 16 bytes for each block (together 25 bytes, 0.6 %
//! of the data). The last keys and the numbers of each block stay in the section, which is the mapped file
//! where there is one; point reads touch them only when digests are equal.
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

use std::cmp::Ordering;

use lsm_entry::{MAX_KEY_BYTES, SeqNo, common_prefix, digest};
use lsm_io::bytes::ByteReader;
use lsm_io::{Malformed, SEAL_BYTES};

pub(crate) use encode::IndexBuilder;

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

/// The handles of all blocks.
#[derive(Debug)]
struct Handles {
    /// Apart from the extents: a point read in a mapped file needs no more than these, and they are
    /// fetched from memory while the tree is still being walked.
    places: Box<[BlockPlace]>,
    extents: Box<[Extent]>,
}

/// The index of an open table.
#[derive(Debug)]
pub(crate) struct TableIndex {
    tree: FenceTree,
    handles: Handles,
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
    pub(crate) fn decode(section: PinnedSlice, data_end: u64) -> Result<Self, Malformed> {
        let bytes: &[u8] = &section;
        let mut reader = ByteReader::new(bytes);
        let count = reader.u32()? as usize;
        let (seq_bytes, has_expiries) = (usize::from(reader.u8()?), reader.u8()?);
        if !matches!(seq_bytes, 0 | 4 | 8) || has_expiries > 1 || reader.u16()? != 0 {
            return Err(Malformed { offset: 4, reason: "index header has unknown bits set" });
        }
        let seq_base = reader.u64()?;

        let each = HANDLE_BYTES + COUNTS_BYTES + 2 * seq_bytes;
        let each = each + if has_expiries == 1 { EXPIRIES_BYTES } else { 0 };
        // Checked before anything is allocated: a count that the section cannot hold goes no further.
        let keys_at = count.checked_mul(each).and_then(|bytes| bytes.checked_add(HEADER_BYTES));
        let Some(keys) = keys_at.and_then(|at| bytes.get(at..)) else {
            return Err(Malformed { offset: 0, reason: "index ends inside its blocks" });
        };
        let keys_at = bytes.len() - keys.len();
        let handles = Handles::decode(&mut reader, count, keys.len(), data_end)?;
        let counts_at = reader.offset();
        let seqs_at = counts_at + count * COUNTS_BYTES;
        let expiries_at = (has_expiries == 1).then_some(seqs_at + count * 2 * seq_bytes);

        let first = key_between(keys, &handles.extents, 0);
        let prefix: Box<[u8]> = match count.checked_sub(1) {
            Some(last) => {
                first[..common_prefix(first, key_between(keys, &handles.extents, last))].into()
            }
            None => Box::default(),
        };
        let digests = digests_of(keys, keys_at, &handles.extents, prefix.len())?;
        let tree = FenceTree::new(&digests);
        Ok(Self {
            tree,
            handles,
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
        self.handles.places.len()
    }

    /// Where block `number` starts.
    #[inline]
    pub(crate) fn place(&self, number: usize) -> Option<BlockPlace> {
        self.handles.places.get(number).copied()
    }

    /// Where block `number` is, and how long.
    #[inline]
    pub(crate) fn handle(&self, number: usize) -> Option<BlockHandle> {
        let (place, extent) = (self.handles.places.get(number)?, self.handles.extents.get(number)?);
        Some(BlockHandle { place: *place, bytes: extent.bytes })
    }

    /// The first block whose last key is not below `key`; the number of blocks if there is none.
    #[inline]
    pub(crate) fn find(&self, key: &[u8]) -> usize {
        let prefix_bytes = self.prefix.len();
        match compare_prefix(key, &self.prefix) {
            Ordering::Less => return 0,
            Ordering::Greater => return self.blocks(),
            Ordering::Equal => {}
        }
        let wanted = digest(key, prefix_bytes);
        let lower = self.tree.rank(wanted, &self.handles.places);
        if self.tree.digest(lower) != Some(wanted) {
            lower
        } else {
            self.find_among_ties(key, lower, wanted)
        }
    }

    /// Among the blocks from `lower` on whose digest is `wanted`, compares whole keys.
    fn find_among_ties(&self, key: &[u8], mut lower: usize, wanted: u64) -> usize {
        let above = wanted.checked_add(1);
        let mut upper =
            above.map_or(self.blocks(), |above| self.tree.rank(above, &self.handles.places));
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
        key_between(
            self.section.get(self.keys_at..).unwrap_or_default(),
            &self.handles.extents,
            number,
        )
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
        self.tree.memory_bytes()
            + size_of_val(&*self.handles.places)
            + size_of_val(&*self.handles.extents)
            + self.prefix.len()
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

impl Handles {
    /// Reads `count` handles, which are there; blocks and keys must ascend.
    fn decode(
        reader: &mut ByteReader<'_>,
        count: usize,
        keys_bytes: usize,
        data_end: u64,
    ) -> Result<Self, Malformed> {
        let (mut places, mut extents) = (Vec::with_capacity(count), Vec::with_capacity(count));
        let (mut block_end, mut last_key_end) = (0_u64, 0_u32);
        for _ in 0..count {
            let offset = reader.offset();
            let malformed = |reason| Malformed { offset, reason };
            let place = BlockPlace(reader.u64()?);
            let (bytes, key_end) = (reader.u32()?, reader.u32()?);
            let handle = BlockHandle { place, bytes };
            if Method::from_byte((place.0 >> BlockPlace::OFFSET_BITS) as u8).is_none() {
                return Err(malformed("block is compressed in an unknown way"));
            }
            if handle.offset() < block_end || handle.end() > data_end {
                return Err(malformed("blocks overlap or reach into the sections"));
            }
            let key_bytes = key_end.checked_sub(last_key_end);
            if key_bytes.is_none_or(|bytes| bytes as usize > MAX_KEY_BYTES) {
                return Err(malformed("a last key is longer than a key can be"));
            }
            (block_end, last_key_end) = (handle.end(), key_end);
            places.push(place);
            extents.push(Extent { bytes, key_end });
        }
        if last_key_end as usize != keys_bytes {
            return Err(Malformed { offset: 0, reason: "index is not as long as its keys" });
        }
        Ok(Self { places: places.into(), extents: extents.into() })
    }
}

/// The digests of the last keys, which must ascend; equal ones are versions of one key.
fn digests_of(
    keys: &[u8],
    keys_at: usize,
    extents: &[Extent],
    prefix_bytes: usize,
) -> Result<Vec<u64>, Malformed> {
    let mut digests = Vec::with_capacity(extents.len());
    let mut before: &[u8] = &[];
    for number in 0..extents.len() {
        let key = key_between(keys, extents, number);
        if key < before {
            return Err(Malformed { offset: keys_at, reason: "last keys are out of order" });
        }
        before = key;
        digests.push(digest(key, prefix_bytes));
    }
    Ok(digests)
}

fn key_between<'a>(keys: &'a [u8], extents: &[Extent], number: usize) -> &'a [u8] {
    let end = |number: usize| extents.get(number).map_or(0, |extent| extent.key_end as usize);
    let start = number.checked_sub(1).map_or(0, end);
    keys.get(start..end(number)).unwrap_or_default()
}
