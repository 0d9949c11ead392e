//! The only code here that knows how a table is made.

use std::sync::Arc;

use lsm_entry::{OwnedEntry, SeqNo, Tag, key_hash};
use lsm_io::{Fs, Identity, OpenMode, Result, SharedFile, SimFs};
use lsm_sstable::{
    BlockCache, Compression, ReadMode, Table, TableInfo, TableOptions, TableSummary, TableWriter,
};

pub(crate) const IDENTITY: Identity = Identity { database_id: 0xDA7A, file_number: 7 };
pub(crate) const PATH: &str = "000007.sst";

/// A table on a disk of its own.
pub(crate) struct Disk {
    pub(crate) fs: SimFs,
    pub(crate) summary: TableSummary,
}

impl Disk {
    pub(crate) fn write(entries: &[OwnedEntry], options: TableOptions) -> Self {
        Self::write_with(entries, &[], options)
    }

    pub(crate) fn write_with(
        entries: &[OwnedEntry],
        range_deletes: &[(&[u8], &[u8], SeqNo)],
        options: TableOptions,
    ) -> Self {
        let fs = SimFs::new(0);
        let file = fs.open(PATH.as_ref(), OpenMode::CreateNew).expect("a new file");
        let mut writer = TableWriter::new(file, IDENTITY, options, TableInfo::default());
        for entry in entries {
            writer.add(entry.as_entry(), key_hash(&entry.key)).expect("written");
        }
        for (lower, upper, seq_no) in range_deletes {
            writer.add_range_delete(lower, upper, *seq_no).expect("written");
        }
        let summary = writer.finish().expect("written");
        Self { fs, summary }
    }

    pub(crate) fn file(&self) -> SharedFile {
        self.fs.open(PATH.as_ref(), OpenMode::Read).expect("the file is there")
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.fs.read_file(PATH)
    }

    pub(crate) fn open(&self, mode: ReadMode) -> Result<Arc<Table>> {
        Table::open(self.file(), IDENTITY, self.summary.bytes, mode)
    }
}

/// Every way to read: in place, through a cache that holds everything, a little, and nothing; in place
/// where the system reads nothing ahead; and where the index is read in place, too.
pub(crate) fn modes() -> [ReadMode; 6] {
    let small = ReadMode::Cached(BlockCache::new(2000));
    let in_part = ReadMode::MappedInPart(BlockCache::new(1 << 20));
    let with_index = ReadMode::MappedWithIndex(BlockCache::new(1 << 20));
    [mapped(), cached(), small, ReadMode::Cached(BlockCache::new(0)), in_part, with_index]
}

pub(crate) fn mapped() -> ReadMode {
    ReadMode::Mapped(BlockCache::new(1 << 20))
}

pub(crate) fn cached() -> ReadMode {
    ReadMode::Cached(BlockCache::new(1 << 20))
}

pub(crate) fn compressions() -> Vec<Compression> {
    vec![
        Compression::None,
        Compression::Lz4,
        #[cfg(feature = "zstd")]
        Compression::Zstd(1),
    ]
}

/// Blocks so small that few entries fill many.
pub(crate) fn small_blocks(compression: Compression) -> TableOptions {
    TableOptions { block_bytes: 256, compression, chunk_bytes: 1024, ..TableOptions::default() }
}

pub(crate) fn put(key: impl AsRef<[u8]>, seq_no: SeqNo, value: impl AsRef<[u8]>) -> OwnedEntry {
    let (key, value) = (key.as_ref().to_vec(), value.as_ref().to_vec());
    OwnedEntry { key, seq_no, tag: Tag::PUT, value }
}

/// A splitmix64 generator.
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^ (word >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}
