//! The end of the file, read when a table is opened: everything but the blocks.
//!
//! Each section is verified, and the index and the properties are decoded, before anything else is
//! believed. Sections stay where they are: in the mapped file, or in the one piece they were read in.

use std::ops::Range;
use std::path::Path;

use lsm_bloom::{Filter, FilterLine, FilterShape};
use lsm_entry::{Fragments, MAX_SEQ_NO, SeqNo};
use lsm_io::{Error, Identity, Mapping, Result, Sealer, SharedFile};

use crate::TableProperties;
use crate::footer::{FOOTER_BYTES, Footer, SectionHandle};
use crate::index::{IndexMemory, TableIndex};
use crate::pinned::{Backing, PinnedSlice};
use crate::range_deletes;

/// What an open table knows before it has read a block.
#[derive(Debug)]
pub(crate) struct Tail {
    pub(crate) footer: Footer,
    pub(crate) footer_offset: u64,
    pub(crate) properties: TableProperties,
    pub(crate) range_deletes: Fragments,
    pub(crate) filter: Option<StoredFilter>,
    pub(crate) index: TableIndex,
    /// Length of the sections, if they were read and not mapped.
    held_bytes: usize,
}

/// A filter whose header has been read.
#[derive(Debug)]
pub(crate) struct StoredFilter {
    bytes: PinnedSlice,
    shape: FilterShape,
}

impl StoredFilter {
    #[inline]
    pub(crate) fn line(&self, hash: u64) -> Option<FilterLine<'_>> {
        self.shape.line(&self.bytes, hash)
    }
}

/// The sections, as they are stored.
struct Sections<'a> {
    path: &'a Path,
    sealer: Sealer,
    start: u64,
    bytes: PinnedSlice,
}

impl Tail {
    /// Reads the tail of a table that is `bytes` long and was written with the identity `expected`.
    pub(crate) fn read(
        file: &SharedFile,
        mapping: Option<&Mapping>,
        expected: Identity,
        bytes: u64,
        memory: IndexMemory,
    ) -> Result<Self> {
        let path = file.path();
        let actual = mapping.map_or_else(|| file.len(), |mapping| Ok(mapping.len() as u64))?;
        if actual != bytes {
            let reason = format!("the file is {actual} bytes long, not {bytes}");
            return Err(Error::corrupt(path, actual.min(bytes), reason));
        }
        let footer_offset = footer_offset(path, bytes)?;
        let footer = read_range(file, mapping, footer_offset..bytes)?;
        let footer = Footer::decode(&footer, path, footer_offset)?;
        if footer.head.identity != expected {
            let reason = wrong_identity(footer.head.identity, expected);
            return Err(Error::corrupt(path, footer_offset, reason));
        }
        let start = footer.sections_start();
        let bytes = read_range(file, mapping, start..footer_offset)?;
        let sections = Sections { path, sealer: Sealer::new(expected), start, bytes };
        let properties = Self::decode_properties(&footer, &sections)?;
        Self::decode(footer, footer_offset, properties, &sections, memory)
    }

    /// Reads as much as a repair needs: a filter is left out, and damaged properties are empty.
    pub(crate) fn read_damaged(file: &SharedFile, expected: Identity) -> Result<Self> {
        let (path, bytes) = (file.path(), file.len()?);
        let mut footer = Self::read_footer(file)?;
        if footer.head.identity != expected {
            let reason = wrong_identity(footer.head.identity, expected);
            return Err(Error::corrupt(path, 0, reason));
        }
        let footer_offset = footer_offset(path, bytes)?;
        let start = footer.sections_start();
        let bytes = read_range(file, None, start..footer_offset)?;
        let sections = Sections { path, sealer: Sealer::new(expected), start, bytes };
        footer.filter = SectionHandle::default();
        let largest_entry_bytes = footer_offset;
        let properties = Self::decode_properties(&footer, &sections)
            .unwrap_or(TableProperties { largest_entry_bytes, ..TableProperties::default() });
        Self::decode(footer, footer_offset, properties, &sections, IndexMemory::Held)
    }

    /// The properties of a table of which nothing is known.
    pub(crate) fn read_properties(file: &SharedFile) -> Result<TableProperties> {
        let footer = Self::read_footer(file)?;
        let handle = footer.properties;
        let bytes = read_range(file, None, handle.offset..handle.end())?;
        let sealer = Sealer::new(footer.head.identity);
        let sections = Sections { path: file.path(), sealer, start: handle.offset, bytes };
        Self::decode_properties(&footer, &sections)
    }

    /// The footer of a table of which nothing is known.
    pub(crate) fn read_footer(file: &SharedFile) -> Result<Footer> {
        let (path, bytes) = (file.path(), file.len()?);
        let offset = footer_offset(path, bytes)?;
        Footer::decode(&read_range(file, None, offset..bytes)?, path, offset)
    }

    /// Counts the sequence numbers from `first`; returns by how much they are above those that are
    /// stored.
    pub(crate) fn count_from(&mut self, first: SeqNo, path: &Path) -> Result<u64> {
        let properties = &mut self.properties;
        let shift = first.checked_sub(properties.seq_no_min);
        let last = shift.and_then(|shift| properties.seq_no_max.checked_add(shift));
        let (Some(shift), Some(last)) = (shift, last.filter(|last| *last <= MAX_SEQ_NO)) else {
            let reason = format!(
                "its sequence numbers are {} to {}, and cannot be counted from {first}",
                properties.seq_no_min, properties.seq_no_max
            );
            return Err(Error::corrupt(path, self.footer.properties.offset, reason));
        };
        (properties.seq_no_min, properties.seq_no_max) = (first, last);
        self.range_deletes = self.range_deletes.counted_from(shift);
        Ok(shift)
    }

    /// Bytes of memory held.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.held_bytes + self.index.memory_bytes() + self.range_deletes.memory_bytes()
    }

    fn decode_properties(footer: &Footer, sections: &Sections<'_>) -> Result<TableProperties> {
        let handle = footer.properties;
        TableProperties::decode(&sections.open(handle)?)
            .map_err(|malformed| malformed.at(sections.path, handle.offset))
    }

    fn decode(
        footer: Footer,
        footer_offset: u64,
        properties: TableProperties,
        sections: &Sections<'_>,
        memory: IndexMemory,
    ) -> Result<Self> {
        let (path, handle) = (sections.path, footer.range_deletes);
        let range_deletes = if handle.is_absent() {
            Fragments::default()
        } else {
            range_deletes::decode(&sections.open(handle)?)
                .map_err(|malformed| malformed.at(path, handle.offset))?
        };

        let handle = footer.filter;
        let filter = if handle.is_absent() {
            None
        } else {
            let bytes = sections.open(handle)?;
            let shape =
                Filter::parse(&bytes).map(|filter| filter.shape()).map_err(|malformed| {
                    let offset = handle.offset + malformed.offset as u64;
                    Error::corrupt(path, offset, malformed.reason)
                })?;
            Some(StoredFilter { bytes, shape })
        };

        let handle = footer.index;
        let index = TableIndex::decode(sections.open(handle)?, footer.sections_start(), memory)
            .map_err(|malformed| malformed.at(path, handle.offset))?;
        let held_bytes = sections.bytes.memory_bytes();
        Ok(Self { footer, footer_offset, properties, range_deletes, filter, index, held_bytes })
    }
}

impl Sections<'_> {
    /// The section, verified.
    fn open(&self, handle: SectionHandle) -> Result<PinnedSlice> {
        // Invariant: the footer's handles were checked to lie one behind the other before it.
        let (start, end) = (handle.offset - self.start, handle.end() - self.start);
        let sealed = self.bytes.slice(start as usize..end as usize);
        if self.sealer.open(handle.offset, &sealed).is_none() {
            let reason = "section checksum does not match";
            return Err(Error::corrupt(self.path, handle.offset, reason));
        }
        Ok(sealed.slice(0..handle.bytes as usize))
    }
}

/// Bytes of the file that lie within it.
fn read_range(
    file: &SharedFile,
    mapping: Option<&Mapping>,
    range: Range<u64>,
) -> Result<PinnedSlice> {
    let (start, end) = (range.start as usize, range.end as usize);
    if let Some(mapping) = mapping {
        return Ok(PinnedSlice::new(Backing::Mapped(mapping.clone()), start..end));
    }
    let mut bytes = vec![0; end - start];
    file.read_at(range.start, &mut bytes)?;
    let length = bytes.len();
    Ok(PinnedSlice::new(Backing::Held(bytes.into()), 0..length))
}

fn footer_offset(path: &Path, bytes: u64) -> Result<u64> {
    bytes
        .checked_sub(FOOTER_BYTES as u64)
        .ok_or_else(|| Error::corrupt(path, 0, "the file is too short for a table"))
}

fn wrong_identity(found: Identity, expected: Identity) -> String {
    format!(
        "this is table {} of database {:032x}, not table {} of {:032x}",
        found.file_number, found.database_id, expected.file_number, expected.database_id
    )
}
