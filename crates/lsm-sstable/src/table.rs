//! An open table: what it takes to read one, and point reads.
//!
//! Opening reads the tail of the file (filter, range deletes, properties, index, footer), verifies
//! it and keeps the index; blocks are verified as they are first touched.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use lsm_bloom::Filter;
use lsm_entry::{Entry, SeqNo, Tag};
use lsm_io::{Error, Identity, Result, SharedFile};

use crate::block::Lookup;
use crate::block_info::BlockInfo;
use crate::footer::{FOOTER_BYTES, Footer, SectionHandle};
use crate::index::TableIndex;
use crate::pinned::{Backing, PinnedSlice};
use crate::range_deletes::{self, RangeDelete};
use crate::seal::Sealer;
use crate::source::{BlockSource, HeldBlock, ReadMode};
use crate::{TableCursor, TableProperties};

/// One immutable sorted file, open for reading. Shared by as many threads as like.
pub struct Table {
    footer: Footer,
    footer_offset: u64,
    properties: TableProperties,
    range_deletes: Vec<RangeDelete>,
    filter: Option<PinnedSlice>,
    index: TableIndex,
    source: BlockSource,
    /// What the tail takes in memory, if it was read and not mapped.
    tail_bytes: usize,
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
        let (mapping, cache) = match mode {
            ReadMode::Mapped(cache) => (Some(file.map()?), cache),
            ReadMode::Cached(cache) => (None, cache),
        };
        let path = file.path();
        let actual = mapping.as_ref().map_or_else(|| file.len(), |map| Ok(map.len() as u64))?;
        if actual != bytes {
            let reason = format!("the file is {actual} bytes long, not {bytes}");
            return Err(Error::corrupt(path, actual.min(bytes), reason));
        }
        let Some(footer_offset) = bytes.checked_sub(FOOTER_BYTES as u64) else {
            return Err(Error::corrupt(path, 0, "the file is too short for a table"));
        };

        let read = |range: Range<u64>| -> Result<PinnedSlice> {
            let (start, end) = (range.start as usize, range.end as usize);
            if let Some(mapping) = &mapping {
                return Ok(PinnedSlice::new(Backing::Mapped(mapping.clone()), start..end));
            }
            let mut held = vec![0; end - start];
            file.read_at(range.start, &mut held)?;
            Ok(PinnedSlice::new(Backing::Held(held.into()), 0..end - start))
        };
        let footer = Footer::decode(&read(footer_offset..bytes)?, path, footer_offset)?;
        if footer.identity != expected {
            return Err(Error::corrupt(path, footer_offset, wrong_identity(footer, expected)));
        }

        let sealer = Sealer::new(expected);
        let tail_start = footer.sections_start();
        let tail = read(tail_start..footer_offset)?;
        let section = |handle: SectionHandle| -> Result<PinnedSlice> {
            // Invariant: the footer's handles lie one behind the other within the tail.
            let start = (handle.offset - tail_start) as usize;
            let sealed = tail.slice(start..(handle.end() - tail_start) as usize);
            if sealer.open(handle.offset, &sealed).is_none() {
                return Err(Error::corrupt(path, handle.offset, "section checksum does not match"));
            }
            Ok(sealed.slice(0..handle.bytes as usize))
        };
        let properties = section(footer.properties)?;
        let properties = TableProperties::decode(&properties)
            .map_err(|malformed| malformed.at(path, footer.properties.offset))?;
        let range_deletes = if footer.range_deletes.is_absent() {
            Vec::new()
        } else {
            range_deletes::decode(&section(footer.range_deletes)?)
                .map_err(|malformed| malformed.at(path, footer.range_deletes.offset))?
        };
        let filter = if footer.filter.is_absent() {
            None
        } else {
            let filter = section(footer.filter)?;
            check_filter(&filter).map_err(|reason| {
                Error::corrupt(path, footer.filter.offset, reason)
            })?;
            Some(filter)
        };
        let index = TableIndex::decode(section(footer.index)?, tail_start)
            .map_err(|malformed| malformed.at(path, footer.index.offset))?;
        let tail_bytes = tail.memory_bytes();
        let largest_entry_bytes = properties.largest_entry_bytes;
        let blocks = index.blocks();
        let source = BlockSource::new(
            Arc::clone(&file),
            sealer,
            mapping,
            cache,
            blocks,
            largest_entry_bytes,
        );
        Ok(Arc::new(Self {
            footer,
            footer_offset,
            properties,
            range_deletes,
            filter,
            index,
            source,
            tail_bytes,
        }))
    }

    /// The identity that the table in `file` was written with, for whoever cannot know it: a repair
    /// that finds files without a manifest.
    ///
    /// # Errors
    /// `Corrupt` when it is no table; `Io` when it could not be read.
    pub fn read_identity(file: &SharedFile) -> Result<Identity> {
        let path = file.path();
        let Some(offset) = file.len()?.checked_sub(FOOTER_BYTES as u64) else {
            return Err(Error::corrupt(path, 0, "the file is too short for a table"));
        };
        let mut footer = [0; FOOTER_BYTES];
        file.read_at(offset, &mut footer)?;
        Ok(Footer::decode(&footer, path, offset)?.identity)
    }

    /// Whether the table may hold `key`'s hash: `false` is certain. Without a filter always `true`.
    #[inline]
    pub fn may_contain(&self, hash: u64) -> bool {
        let Some(filter) = &self.filter else { return true };
        Filter::parse(filter).map_or(true, |filter| filter.may_contain(hash))
    }

    /// Asks for the part of the filter that [`may_contain`](Self::may_contain) will look at, without
    /// waiting for it.
    #[inline]
    pub fn prefetch(&self, hash: u64) {
        if let Some(filter) = &self.filter
            && let Ok(filter) = Filter::parse(filter)
        {
            filter.prefetch(hash);
        }
    }

    /// Finds the newest entry of `key`, whose [`key_hash`](lsm_entry::key_hash) is `hash`, with a
    /// sequence number up to `seq_no`. Does not ask the filter: with many tables, all are asked
    /// before any is read.
    ///
    /// # Errors
    /// `Corrupt` or `Io`, for this range of keys; others stay readable.
    pub fn get(self: &Arc<Self>, key: &[u8], hash: u64, seq_no: SeqNo) -> Result<Option<Found>> {
        let Some((held, position)) = self.find(key, hash, seq_no)? else { return Ok(None) };
        let view = self.source.view(&held);
        let (Entry { seq_no, tag, .. }, (key, value)) =
            (view.entry(position), view.entry_ranges(position));
        Ok(Some(Found { block: self.source.pin(&held), key, value, seq_no, tag }))
    }

    /// The same as [`get`](Self::get), handing the entry to `visit` where it lies: nothing is
    /// allocated, and a mapped table counts no reference either.
    ///
    /// # Errors
    /// See [`get`](Self::get).
    #[inline]
    pub fn get_with<R>(
        &self,
        key: &[u8],
        hash: u64,
        seq_no: SeqNo,
        visit: impl FnOnce(Entry<'_>) -> R,
    ) -> Result<Option<R>> {
        let found = self.find(key, hash, seq_no)?;
        Ok(found.map(|(held, position)| visit(self.source.view(&held).entry(position))))
    }

    /// A cursor over the entries.
    pub fn cursor(self: &Arc<Self>) -> TableCursor {
        TableCursor::new(Arc::clone(self))
    }

    /// What the table says about itself.
    pub fn properties(&self) -> &TableProperties {
        &self.properties
    }

    /// The range deletes, in ascending order of their lower bound.
    pub fn range_deletes(&self) -> &[RangeDelete] {
        &self.range_deletes
    }

    /// The identity it was written with.
    pub fn identity(&self) -> Identity {
        self.footer.identity
    }

    /// Length of the file.
    pub fn bytes(&self) -> u64 {
        self.footer_offset + FOOTER_BYTES as u64
    }

    /// Memory held by the open table, apart from cached blocks and from what is mapped.
    pub fn memory_bytes(&self) -> u64 {
        let range_deletes = self.range_deletes.iter();
        let range_deletes: usize =
            range_deletes.map(|range| size_of_val(range) + range.lower.len() + range.upper.len()).sum();
        let held = self.index.memory_bytes() + self.tail_bytes + range_deletes;
        (size_of::<Self>() + held) as u64
    }

    /// What the index knows of the blocks, in order.
    pub fn blocks(&self) -> impl ExactSizeIterator<Item = BlockInfo<'_>> {
        (0..self.index.blocks()).map(|number| BlockInfo::of(&self.index, number))
    }

    /// The block in which `key` would be, if any.
    pub fn find_block(&self, key: &[u8]) -> Option<BlockInfo<'_>> {
        let number = self.index.find(key);
        (number < self.index.blocks()).then(|| BlockInfo::of(&self.index, number))
    }

    pub(crate) fn footer(&self) -> (&Footer, u64) {
        (&self.footer, self.footer_offset)
    }

    pub(crate) fn filter(&self) -> Option<&[u8]> {
        self.filter.as_deref()
    }

    pub(crate) fn index(&self) -> &TableIndex {
        &self.index
    }

    #[inline]
    pub(crate) fn source(&self) -> &BlockSource {
        &self.source
    }

    /// Block `number`, if there are so many.
    #[inline]
    pub(crate) fn fetch(&self, number: usize) -> Result<Option<HeldBlock>> {
        let Some(handle) = self.index.handle(number) else { return Ok(None) };
        self.source.fetch(number, handle).map(Some)
    }

    /// The first block that may hold the first entry at or after (`key`, `seq_no`).
    #[inline]
    pub(crate) fn locate(&self, key: &[u8], seq_no: SeqNo) -> usize {
        let number = self.index.find(key);
        if seq_no >= self.properties.seq_no_max { number } else { self.skip_newer(number, key, seq_no) }
    }

    /// Passes over blocks that end with `key` and hold nothing as old as `seq_no`.
    fn skip_newer(&self, mut number: usize, key: &[u8], seq_no: SeqNo) -> usize {
        while number < self.index.blocks()
            && self.index.stats(number).seq_no_min > seq_no
            && self.index.last_key(number) == key
        {
            number += 1;
        }
        number
    }

    #[inline]
    fn find(&self, key: &[u8], hash: u64, seq_no: SeqNo) -> Result<Option<(HeldBlock, usize)>> {
        let mut number = self.locate(key, seq_no);
        while let Some(held) = self.fetch(number)? {
            match self.source.view(&held).find(key, hash, seq_no) {
                Lookup::At(position) => return Ok(Some((held, position))),
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
            .field("entries", &self.properties.entries)
            .finish_non_exhaustive()
    }
}

fn wrong_identity(footer: Footer, expected: Identity) -> String {
    let Identity { database_id, file_number } = footer.identity;
    format!(
        "this is table {file_number} of database {database_id:032x}, not table {} of {:032x}",
        expected.file_number, expected.database_id
    )
}

fn check_filter(section: &[u8]) -> std::result::Result<(), &'static str> {
    Filter::parse(section).map(|_| ()).map_err(|malformed| malformed.reason)
}
