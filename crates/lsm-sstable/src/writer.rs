//! Writing a table: entries in order in, one durable file out.
//!
//! 1. Entries gather in a block; when the next would make it too long, the block is appended to the
//!    chunk in the making, compressed if that pays, its checksum behind it.
//! 2. Full chunks are written and hashed.
//! 3. At the end come filter, range deletes, properties, index and footer, and one sync.
//!
//! Nothing is allocated for an entry, and nothing is read back. After an error the file is of no
//! use: whoever wanted it removes it and starts anew.

use std::cmp::Ordering;
use std::{fmt, io};

use lsm_bloom::FilterBuilder;
use lsm_entry::{Entry, Fragments, MAX_KEY_BYTES, RangeDelete, SeqNo, ValueKind, compare_internal};
use lsm_io::{ChunkWriter, Error, FooterHead, Identity, Result, SEAL_BYTES, Sealer, SharedFile};

use crate::block::BlockBuilder;
use crate::compression::{COMPRESSED_VALUE_BYTES_MAX, Compressor, Method};
use crate::footer::{FEATURE_BLOBS, FEATURE_LZ4, FEATURE_ZSTD, Footer, SectionHandle};
use crate::index::IndexBuilder;
use crate::range_deletes::{self, BOUND_BYTES_MAX};
use crate::summary::{TableSummary, Tally};
use crate::{TableInfo, TableOptions, TableProperties};

/// Blocks that are read in place start at the beginning of a cache line.
const LINE_BYTES: u64 = 64;
/// A block that would lie across a page boundary is moved up to it, if that wastes no more than
/// this: then a read of it translates one address, not two.
const PAGE_GAP_BYTES_MAX: u64 = 256;
const PAGE_BYTES: u64 = 4096;

const BLOCK_BYTES_MIN: usize = 256;
const BLOCK_BYTES_MAX: usize = 1 << 20;
/// Longest value that fits in a block, whose length is stored in four bytes.
const VALUE_BYTES_MAX: usize = u32::MAX as usize - (4 << 20);

/// Writes one table.
pub struct TableWriter {
    out: ChunkWriter,
    identity: Identity,
    sealer: Sealer,
    options: TableOptions,
    info: TableInfo,
    block: BlockBuilder,
    /// Where a block is built that may be compressed.
    plain: Vec<u8>,
    compressor: Option<Compressor>,
    index: IndexBuilder,
    filter: Option<FilterBuilder>,
    range_deletes: Fragments,
    tally: Tally,
    last_key: Vec<u8>,
    last_seq_no: SeqNo,
    features: u64,
}

impl TableWriter {
    /// Writes into `file`, which is new and empty. The `identity` is what the table will be opened
    /// with; the default one will do for a table that belongs to no database.
    pub fn new(
        file: SharedFile,
        identity: Identity,
        mut options: TableOptions,
        info: TableInfo,
    ) -> Self {
        options.block_bytes = options.block_bytes.clamp(BLOCK_BYTES_MIN, BLOCK_BYTES_MAX);
        Self {
            out: ChunkWriter::new(file, options.chunk_bytes),
            identity,
            sealer: Sealer::new(identity),
            block: BlockBuilder::default(),
            plain: Vec::new(),
            compressor: Compressor::new(options.compression),
            index: IndexBuilder::default(),
            filter: options.filter_bits_per_key.map(FilterBuilder::new),
            range_deletes: Fragments::default(),
            tally: Tally::default(),
            last_key: Vec::new(),
            last_seq_no: 0,
            features: 0,
            options,
            info,
        }
    }

    /// Adds the next entry, whose key has this [`key_hash`](lsm_entry::key_hash).
    ///
    /// # Errors
    /// `Io` when a chunk could not be written; of kind `InvalidInput` when the key or the value is
    /// longer than the format can say. `Corrupt` when the entry does not follow the one before in
    /// internal order, or is a range delete: what is merged here came from files that may lie.
    #[inline]
    pub fn add(&mut self, entry: Entry<'_>, hash: u64) -> Result<()> {
        let is_first = self.tally.entries() == 0;
        let is_new_key = is_first || self.last_key != entry.key;
        if !is_first {
            let order = compare_internal(&self.last_key, self.last_seq_no, entry.key, entry.seq_no);
            if order != Ordering::Less {
                return Err(self.misplaced("entries must come in strictly ascending order"));
            }
        }
        if entry.kind() == ValueKind::RangeDelete {
            return Err(self.misplaced("a range delete among the entries"));
        }
        if entry.key.len() > MAX_KEY_BYTES || entry.value.len() > VALUE_BYTES_MAX {
            return Err(self.invalid("key or value is longer than a table can hold"));
        }
        if !self.block.is_empty()
            && (!self.block.has_room()
                || self.block.bytes_with(&entry) + SEAL_BYTES > self.options.block_bytes)
        {
            self.finish_block()?;
        }
        self.block.push(&entry, hash);
        self.tally.count(&entry);
        if is_new_key {
            self.last_key.clear();
            self.last_key.extend_from_slice(entry.key);
            if let Some(filter) = &mut self.filter {
                filter.add(hash);
            }
        }
        self.last_seq_no = entry.seq_no;
        Ok(())
    }

    /// Adds a range delete: the keys from `lower` (inclusive) to `upper` (exclusive) are gone. They
    /// may come in any order, and need not touch the entries' keys. Each has an end.
    ///
    /// # Errors
    /// `Io` of kind `InvalidInput` when a bound is longer than [what follows](lsm_entry::bound_after)
    /// the longest key.
    pub fn add_range_delete(&mut self, lower: &[u8], upper: &[u8], seq_no: SeqNo) -> Result<()> {
        if lower.len() > BOUND_BYTES_MAX || upper.len() > BOUND_BYTES_MAX {
            return Err(self.invalid("bound is longer than a key can be"));
        }
        // One that covers nothing says nothing.
        if lower < upper {
            let (lower, upper) = (lower.to_vec(), upper.to_vec());
            self.range_deletes.insert(RangeDelete { lower, upper, seq_no });
        }
        Ok(())
    }

    /// Roughly how long the file would be if it were finished now.
    pub fn estimated_bytes(&self) -> u64 {
        let filter_bytes = self
            .options
            .filter_bits_per_key
            .map_or(0, |bits| (self.tally.entries() as f64 * f64::from(bits) / 8.0) as u64);
        let pending_bytes = self.block.entries_bytes() + self.index.estimated_bytes();
        self.out.position() + filter_bytes + pending_bytes as u64
    }

    /// How many entries were added.
    pub fn entries(&self) -> u64 {
        self.tally.entries()
    }

    /// The key of the entry added last.
    pub fn last_key(&self) -> Option<&[u8]> {
        (self.tally.entries() > 0).then_some(self.last_key.as_slice())
    }

    /// Writes the rest of the file and makes it durable.
    ///
    /// # Errors
    /// `Io`; the file is then of no use.
    pub fn finish(mut self) -> Result<TableSummary> {
        if !self.block.is_empty() {
            self.finish_block()?;
        }
        let stored_bytes = self.out.position();
        self.out.cache_rest();
        self.range_deletes.iter().for_each(|fragment| self.tally.count_range_deletes(fragment));

        let filter = match self.filter.take() {
            Some(filter) if !filter.is_empty() => {
                // Its lines are the last part of a filter: it ends where a cache line does.
                let filter = filter.finish();
                self.out.align_end(filter.len() as u64, LINE_BYTES);
                self.write_section(&filter)?
            }
            _ => SectionHandle::default(),
        };
        let range_deletes = if self.range_deletes.is_empty() {
            SectionHandle::default()
        } else {
            self.write_section(&range_deletes::encode(&self.range_deletes))?
        };
        let properties = TableProperties {
            info: std::mem::take(&mut self.info),
            stored_bytes,
            blocks: self.index.blocks() as u64,
            block_bytes: self.options.block_bytes as u64,
            compression: self.options.compression.to_string(),
            filter_bits_per_key: self.options.filter_bits_per_key,
            ..std::mem::take(&mut self.tally).into_properties(&self.last_key)
        };
        let properties_section = self.write_section(&properties.encode())?;
        let index = self.write_section(&self.index.finish())?;
        let blobs = if properties.blobs.is_empty() { 0 } else { FEATURE_BLOBS };
        let features = self.features | blobs;
        let footer = Footer {
            head: FooterHead {
                features_to_read: features,
                features_to_write: features,
                identity: self.identity,
            },
            filter,
            range_deletes,
            properties: properties_section,
            index,
        };
        let encoded = footer.encode(self.out.position());
        self.out.buffer.extend_from_slice(&encoded);
        let (bytes, checksum) = self.out.finish()?;
        Ok(TableSummary::new(bytes, checksum, &properties))
    }

    fn finish_block(&mut self) -> Result<()> {
        // The last key is that of the block, which was filled by every entry so far.
        let (offset, method, bytes, stats) = match &mut self.compressor {
            None => {
                let expected_bytes = (self.block.bytes() + SEAL_BYTES) as u64;
                align_plain_block(&mut self.out, expected_bytes);
                let (offset, at) = (self.out.position(), self.out.buffer.len());
                let (stats, _) = self.block.finish(&mut self.out.buffer);
                (offset, Method::Plain, self.out.buffer.len() - at, stats)
            }
            Some(compressor) => {
                let is_small = self.block.largest_value_bytes() <= COMPRESSED_VALUE_BYTES_MAX;
                self.plain.clear();
                let (stats, body_bytes) = self.block.finish(&mut self.plain);
                let body = &self.plain[..body_bytes];
                let compressed =
                    if is_small { compressor.compress(body, self.plain.len()) } else { None };
                let (method, stored) = compressed.unwrap_or((Method::Plain, &self.plain));
                if method == Method::Plain {
                    self.out.align(LINE_BYTES);
                }
                let offset = self.out.position();
                self.out.buffer.extend_from_slice(stored);
                (offset, method, stored.len(), stats)
            }
        };
        self.features |= match method {
            Method::Plain => 0,
            Method::Lz4 => FEATURE_LZ4,
            Method::Zstd => FEATURE_ZSTD,
        };
        self.append_seal(offset, bytes);
        if !self.index.push(offset, method, bytes as u32, &self.last_key, stats) {
            return Err(self.invalid("last keys of the blocks are longer than a table can hold"));
        }
        self.out.settle()
    }

    fn write_section(&mut self, section: &[u8]) -> Result<SectionHandle> {
        let handle = SectionHandle { offset: self.out.position(), bytes: section.len() as u64 };
        self.out.buffer.extend_from_slice(section);
        self.append_seal(handle.offset, section.len());
        self.out.settle()?;
        Ok(handle)
    }

    /// Appends the checksum of the last `bytes` bytes, which start at `offset` in the file.
    fn append_seal(&mut self, offset: u64, bytes: usize) {
        let buffer = &mut self.out.buffer;
        let seal = self.sealer.seal(offset, &buffer[buffer.len() - bytes..]);
        buffer.extend_from_slice(&seal.to_le_bytes());
        debug_assert_eq!(offset + (bytes + SEAL_BYTES) as u64, self.out.position());
    }

    #[cold]
    fn misplaced(&self, reason: &'static str) -> Error {
        let reason = format!("{reason}: what this table is written from is damaged");
        Error::corrupt(self.out.file().path(), self.out.position(), reason)
    }

    fn invalid(&self, reason: &'static str) -> Error {
        let source = io::Error::new(io::ErrorKind::InvalidInput, reason);
        Error::io("add to", self.out.file().path(), source)
    }
}

impl fmt::Debug for TableWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TableWriter")
            .field("path", &self.out.file().path())
            .field("entries", &self.entries())
            .finish_non_exhaustive()
    }
}

/// Moves `out` on to where a plain block of `bytes`, its checksum included, should start.
fn align_plain_block(out: &mut ChunkWriter, bytes: u64) {
    out.align(LINE_BYTES);
    let left_in_page = PAGE_BYTES - out.position() % PAGE_BYTES;
    if left_in_page < bytes && bytes <= PAGE_BYTES && left_in_page <= PAGE_GAP_BYTES_MAX {
        out.align(PAGE_BYTES);
    }
}
