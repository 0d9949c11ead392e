//! An open table, and point reads from it.
//!
//! A point read walks the fence tree to the one block that can hold the key, compares the block's
//! tags with the key's, 32 at once, and then as a rule one key: three waits for memory, the last two
//! in the block itself.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use lsm_bloom::FilterLine;
use lsm_entry::{Entry, Fragments, SeqNo, Tag, ValueKind};
use lsm_io::{DirectReader, Identity, Result, Sealer, SharedFile};

use crate::block::{BlockView, Lookup};
use crate::block_info::BlockInfo;
use crate::footer::FOOTER_BYTES;
use crate::index::{IndexMemory, TableIndex};
use crate::pinned::PinnedSlice;
use crate::source::{BlockSource, HeldBlock, ReadMode};
use crate::tail::Tail;
use crate::{TableCursor, TableProperties};

/// One immutable sorted file, open for reading. Shared by as many threads as like.
pub struct Table {
    pub(crate) tail: Tail,
    pub(crate) source: BlockSource,
}

/// An entry that a point read found, with what it lies in kept alive.
#[derive(Clone, Debug)]
pub struct Found {
    block: PinnedSlice,
    key: Range<usize>,
    value: Range<usize>,
    seq_no: SeqNo,
    tag: Tag,
}

/// An entry that a point read found, lent by the table where that can be.
#[derive(Clone, Debug)]
pub enum Lent<'t> {
    /// It lies in the mapped file, for as long as the table is held. Nothing was counted for it.
    InPlace(Entry<'t>),
    /// It lies in a block that was read, and is kept with the entry.
    Kept(Found),
}

/// How far a point read comes in a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Touched {
    /// To the filter, which says no.
    Filter,
    /// To a block, in which it finds an entry of this kind, or none.
    Block(Option<ValueKind>),
}

impl Lent<'_> {
    /// The entry.
    #[inline]
    pub fn entry(&self) -> Entry<'_> {
        match self {
            Self::InPlace(entry) => *entry,
            Self::Kept(found) => found.entry(),
        }
    }
}

impl Found {
    /// The entry.
    pub fn entry(&self) -> Entry<'_> {
        Entry {
            key: self.block.get(self.key.clone()).unwrap_or_default(),
            seq_no: self.seq_no,
            tag: self.tag,
            value: self.block.get(self.value.clone()).unwrap_or_default(),
        }
    }

    /// The entry's value (as stored, a leading expiry included), sharing the block or the mapping
    /// it lies in.
    pub fn pin_value(&self) -> PinnedSlice {
        self.block.slice(self.value.clone())
    }

    /// The value as the user gave it, without the expiry, sharing the block or the mapping.
    pub fn pin_user_value(&self) -> PinnedSlice {
        let value = self.pin_value();
        let start = if self.tag.has_expiry() { size_of::<u64>().min(value.len()) } else { 0 };
        value.slice(start..value.len())
    }
}

impl Table {
    /// Opens the table in `file`, which was written with the identity `expected` and is `bytes`
    /// long.
    ///
    /// # Errors
    /// `Corrupt` when the file is not that table, is damaged in its tail, or needs a newer build;
    /// `Io` when it could not be read.
    pub fn open(
        file: SharedFile,
        expected: Identity,
        bytes: u64,
        mode: ReadMode,
    ) -> Result<Arc<Self>> {
        Self::open_counting(file, expected, bytes, mode, None)
    }

    /// The same, counting the table's sequence numbers from `first_seq_no`, whatever the smallest one
    /// is that was written: for entries that get their place in an order after they were written.
    ///
    /// # Errors
    /// Those of [`open`](Self::open), and `Corrupt` when the table's numbers would have to be counted
    /// down, or beyond what a sequence number can be.
    pub fn open_from(
        file: SharedFile,
        expected: Identity,
        bytes: u64,
        mode: ReadMode,
        first_seq_no: SeqNo,
    ) -> Result<Arc<Self>> {
        Self::open_counting(file, expected, bytes, mode, Some(first_seq_no))
    }

    fn open_counting(
        file: SharedFile,
        expected: Identity,
        bytes: u64,
        mode: ReadMode,
        first_seq_no: Option<SeqNo>,
    ) -> Result<Arc<Self>> {
        let is_in_part = matches!(mode, ReadMode::MappedInPart(_) | ReadMode::MappedWithIndex(_));
        let index_memory = match mode {
            ReadMode::MappedWithIndex(_) => IndexMemory::InPlace,
            _ => IndexMemory::Held,
        };
        let (mapping, cache) = match mode {
            ReadMode::Mapped(cache)
            | ReadMode::MappedInPart(cache)
            | ReadMode::MappedWithIndex(cache) => (Some(file.map()?), cache),
            ReadMode::Cached(cache) => (None, cache),
        };
        let mut tail = Tail::read(&file, mapping.as_ref(), expected, bytes, index_memory)?;
        let seq_no_shift = match first_seq_no {
            Some(first) => tail.count_from(first, file.path())?,
            None => 0,
        };
        let source = BlockSource::new(
            file,
            mapping,
            Sealer::new(expected),
            cache,
            tail.index.blocks(),
            tail.properties.largest_entry_bytes,
        );
        let source = source.shifted(seq_no_shift);
        // Not before the tail was read, which is one piece, and all that an open needs.
        let source = if is_in_part { source.in_part() } else { source.in_whole() };
        Ok(Arc::new(Self { tail, source }))
    }

    /// The file it is read from: all of its bytes, as long as the table is held, whatever becomes of
    /// its name.
    pub fn file(&self) -> &SharedFile {
        self.source.file()
    }

    /// The identity that the table in `file` was written with, for whoever cannot know it: a repair
    /// that finds files without a manifest.
    ///
    /// # Errors
    /// `Corrupt` when it is no table; `Io` when it could not be read.
    pub fn read_identity(file: &SharedFile) -> Result<Identity> {
        Ok(Tail::read_footer(file)?.head.identity)
    }

    /// Whether the table may hold `key`'s hash: `false` is certain. Without a filter always `true`.
    #[inline]
    pub fn may_contain(&self, hash: u64) -> bool {
        self.filter_line(hash).is_none_or(|line| line.may_contain(hash))
    }

    /// The part of the filter that decides about `hash`; `None` without a filter. Whoever asks many
    /// tables finds the lines of all, has them loaded, and then asks: so their cache misses overlap.
    #[inline]
    pub fn filter_line(&self, hash: u64) -> Option<FilterLine<'_>> {
        self.tail.filter.as_ref()?.line(hash)
    }

    /// Finds the newest entry of `key`, whose [`key_hash`](lsm_entry::key_hash) is `hash`, with a
    /// sequence number up to `seq_no`. Does not ask the filter: with many tables, all are asked
    /// before any is read.
    ///
    /// # Errors
    /// `Corrupt` or `Io`, for this range of keys; others stay readable.
    pub fn get(&self, key: &[u8], hash: u64, seq_no: SeqNo) -> Result<Option<Found>> {
        self.get_kept(self.locate(key, seq_no), key, hash, seq_no)
    }

    /// The same as [`get`](Self::get), lending the entry where it lies in the mapped file: nothing is
    /// allocated then, nor a reference counted.
    ///
    /// # Errors
    /// See [`get`](Self::get).
    #[inline(never)]
    pub fn get_lent(&self, key: &[u8], hash: u64, seq_no: SeqNo) -> Result<Option<Lent<'_>>> {
        let number = self.locate(key, seq_no);
        if let Some((bytes, layout)) = self.source.in_place(&self.tail.index, number)? {
            match BlockView::new(bytes, &layout).find(key, hash, seq_no) {
                Lookup::At(_, entry) => return Ok(Some(Lent::InPlace(entry))),
                Lookup::Absent => return Ok(None),
                Lookup::GoesOn => {}
            }
        }
        // Behind the last block, in one that cannot be read in place, or in one that follows.
        self.get_kept(number, key, hash, seq_no).map(|found| found.map(Lent::Kept))
    }

    /// What keeps `lent` beyond the table: a part of an entry that [`get_lent`](Self::get_lent) gave
    /// [in place](Lent::InPlace). `None` if it is none.
    pub fn pin_lent(&self, lent: &[u8]) -> Option<PinnedSlice> {
        self.source.pin_lent(lent)
    }

    /// How far a [`get`](Self::get) comes that asks the filter first: for whoever counts what reads
    /// touch. Never inlined, so that the reads themselves are as they would be without it.
    ///
    /// # Errors
    /// See [`get`](Self::get).
    #[inline(never)]
    pub fn touch(&self, key: &[u8], hash: u64, seq_no: SeqNo) -> Result<Touched> {
        if !self.may_contain(hash) {
            return Ok(Touched::Filter);
        }
        let found = self.get_lent(key, hash, seq_no)?;
        Ok(Touched::Block(found.map(|lent| lent.entry().kind())))
    }

    /// A cursor over the entries.
    pub fn cursor(self: &Arc<Self>) -> TableCursor {
        TableCursor::new(Arc::clone(self))
    }

    /// What the table says about itself.
    pub fn properties(&self) -> &TableProperties {
        &self.tail.properties
    }

    /// The range deletes, cut at each other's bounds.
    #[inline]
    pub fn range_deletes(&self) -> &Fragments {
        &self.tail.range_deletes
    }

    /// The identity it was written with.
    pub fn identity(&self) -> Identity {
        self.tail.footer.head.identity
    }

    /// Length of the file.
    pub fn bytes(&self) -> u64 {
        self.tail.footer_offset + FOOTER_BYTES as u64
    }

    /// Memory held by the open table, apart from cached blocks and from what is mapped.
    pub fn memory_bytes(&self) -> u64 {
        (size_of::<Self>() + self.tail.memory_bytes()) as u64
    }

    /// What the index knows of the blocks, in order.
    pub fn blocks(&self) -> impl ExactSizeIterator<Item = BlockInfo<'_>> {
        (0..self.tail.index.blocks()).map(|number| self.block_info(number))
    }

    /// The block in which `key` would be, if any.
    pub fn find_block(&self, key: &[u8]) -> Option<BlockInfo<'_>> {
        let number = self.tail.index.find(key);
        (number < self.tail.index.blocks()).then(|| self.block_info(number))
    }

    fn block_info(&self, number: usize) -> BlockInfo<'_> {
        BlockInfo::of(&self.tail.index, number, self.source.seq_no_shift())
    }

    pub(crate) fn tail(&self) -> &Tail {
        &self.tail
    }

    #[inline]
    pub(crate) fn index(&self) -> &TableIndex {
        &self.tail.index
    }

    #[inline]
    pub(crate) fn source(&self) -> &BlockSource {
        &self.source
    }

    /// Block `number`, if there are so many.
    #[inline]
    pub(crate) fn fetch(&self, number: usize) -> Result<Option<HeldBlock>> {
        self.source.fetch(&self.tail.index, number)
    }

    /// The same for whoever walks over the table once.
    pub(crate) fn fetch_in_passing(&self, number: usize) -> Result<Option<HeldBlock>> {
        self.source.fetch_in_passing(&self.tail.index, number)
    }

    /// The same, read by `reader` of the table's file.
    pub(crate) fn fetch_by(
        &self,
        reader: &mut DirectReader,
        number: usize,
    ) -> Result<Option<HeldBlock>> {
        self.source.fetch_by(reader, &self.tail.index, number)
    }

    /// Whether reading the table waits for no disk: a guess.
    pub fn is_in_memory(&self) -> bool {
        self.source.file().is_in_memory()
    }

    /// Whether any block of it ever went into the cache.
    pub fn is_cached(&self) -> bool {
        self.source.is_cached()
    }

    /// The first block that may hold the first entry at or after (`key`, `seq_no`).
    #[inline]
    pub(crate) fn locate(&self, key: &[u8], seq_no: SeqNo) -> usize {
        let number = self.tail.index.find(key);
        if seq_no >= self.tail.properties.seq_no_max {
            number
        } else {
            self.skip_newer(number, key, seq_no)
        }
    }

    /// Passes over blocks that end with `key` and hold nothing as old as `seq_no`.
    fn skip_newer(&self, mut number: usize, key: &[u8], seq_no: SeqNo) -> usize {
        let seq_no = seq_no.checked_sub(self.source.seq_no_shift());
        while number < self.tail.index.blocks()
            && seq_no.is_none_or(|seq_no| self.tail.index.stats(number).seq_no_min > seq_no)
            && self.tail.index.last_key(number) == key
        {
            number += 1;
        }
        number
    }

    /// Finds an entry in block `number` or those that follow it, and keeps the block.
    fn get_kept(
        &self,
        mut number: usize,
        key: &[u8],
        hash: u64,
        seq_no: SeqNo,
    ) -> Result<Option<Found>> {
        while let Some(held) = self.fetch(number)? {
            let view = self.source.view(&held);
            match view.find(key, hash, seq_no) {
                Lookup::At(position, Entry { seq_no, tag, .. }) => {
                    let (key, value) = view.entry_ranges(position);
                    return Ok(Some(Found {
                        block: self.source.pin(&held),
                        key,
                        value,
                        seq_no,
                        tag,
                    }));
                }
                Lookup::Absent => return Ok(None),
                Lookup::GoesOn => number += 1,
            }
        }
        Ok(None)
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table")
            .field("path", &self.source.file().path())
            .field("entries", &self.tail.properties.entries)
            .finish_non_exhaustive()
    }
}
