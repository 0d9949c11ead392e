//! What a table is made of and for: the choices of whoever writes one.

use std::fmt;

/// How blocks are compressed. A block that does not shrink by an eighth is stored as it is, and so
/// is one that holds a value above 1 MiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Compression {
    /// Not at all: blocks can be read in place from a mapped file.
    #[default]
    None,
    /// LZ4: fast both ways.
    Lz4,
    /// Zstandard at this level: smaller. Negative levels trade size for speed. There with the feature
    /// `zstd`, without which tables that hold such blocks are refused too.
    #[cfg(feature = "zstd")]
    Zstd(i32),
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Lz4 => f.write_str("lz4"),
            #[cfg(feature = "zstd")]
            Self::Zstd(level) => write!(f, "zstd({level})"),
        }
    }
}

/// How a table is laid out.
#[derive(Clone, Debug, PartialEq)]
pub struct TableOptions {
    /// Bytes in a block before compression, checksum included; 256 B to 1 MiB, others are brought into that range.
    /// More helps compression and scans and shrinks the index, less helps point reads. An entry
    /// that is larger gets a block of its own.
    pub block_bytes: usize,
    /// How blocks are compressed. More compression buys space with processor time on every block
    /// that is not cached.
    pub compression: Compression,
    /// Bits of the filter for each key: 10 let about 1 in 100 absent keys through, more cost
    /// memory; `None` leaves the filter out, for tables where nobody asks for absent keys.
    pub filter_bits_per_key: Option<f32>,
    /// The file is written in pieces of this many bytes, at offsets that are multiples of it, so
    /// that the page cache can hold it in large pages. Less costs memory while writing.
    pub chunk_bytes: usize,
}

impl Default for TableOptions {
    fn default() -> Self {
        Self {
            block_bytes: 4096,
            compression: Compression::None,
            filter_bits_per_key: Some(10.0),
            chunk_bytes: 2 << 20,
        }
    }
}

/// What made a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Origin {
    /// A memtable was written out.
    #[default]
    Flush = 0,
    /// Tables were merged.
    Compaction = 1,
    /// Somebody built it outside the database.
    Ingest = 2,
    /// A repair wrote anew what it found: in damaged tables, in the log, in tables without an order.
    Repair = 3,
}

impl Origin {
    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Flush),
            1 => Some(Self::Compaction),
            2 => Some(Self::Ingest),
            3 => Some(Self::Repair),
            _ => None,
        }
    }
}

/// Where a table comes from: kept in its properties for whoever repairs a database from tables
/// alone. The default is that of a table used by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableInfo {
    /// The keyspace whose entries it holds.
    pub keyspace_id: u32,
    /// That keyspace's name.
    pub keyspace_name: String,
    /// What made it.
    pub origin: Origin,
    /// The numbers of the files it was made from, so that a repair never brings back an input
    /// beside its output.
    pub made_from: Vec<u64>,
    /// The numbers of files that those were made from in turn, if they were still there when this one
    /// was made: a reader may hold a file long after it was replaced.
    pub ancestors: Vec<u64>,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: u64,
}

impl TableInfo {
    /// The numbers of all files that must not be used beside this one.
    pub fn sources(&self) -> impl Iterator<Item = u64> {
        self.made_from.iter().chain(&self.ancestors).copied()
    }
}
