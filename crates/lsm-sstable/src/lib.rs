//! One immutable sorted file: written once, sought in for ever.
//!
//! ```
//! use lsm_entry::{Entry, MAX_SEQ_NO, key_hash};
//! use lsm_io::{Fs, Identity, OpenMode, SimFs};
//! use lsm_sstable::{BlockCache, ReadMode, Table, TableInfo, TableOptions, TableWriter};
//!
//! let fs = SimFs::new(0);
//! let file = fs.open("fruit.sst".as_ref(), OpenMode::CreateNew)?;
//! let (identity, info) = (Identity::default(), TableInfo::default());
//! let mut writer = TableWriter::new(file.clone(), identity, TableOptions::default(), info);
//! for (key, value) in [("apple", "red"), ("lemon", "yellow")] {
//!     writer.add(Entry::put(key.as_bytes(), 1, value.as_bytes()), key_hash(key.as_bytes()))?;
//! }
//! let summary = writer.finish()?;
//!
//! let mode = ReadMode::Mapped(BlockCache::new(1 << 20));
//! let table = Table::open(file, identity, summary.bytes, mode)?;
//! let found = table.get(b"lemon", key_hash(b"lemon"), MAX_SEQ_NO)?.expect("it is there");
//! assert_eq!(found.entry().value, b"yellow");
//! # Ok::<(), lsm_io::Error>(())
//! ```
//!
//! To see what lies in a block and how it is searched, open `block.rs`; how the right block is
//! found, `index.rs` and `fence_tree.rs`; how a table is written, `writer.rs`; opened, `tail.rs`; asked
//! for a key, `table.rs`; walked, `cursor.rs` and `read_ahead.rs`; where blocks live, `source.rs` and
//! `cache.rs`, and after a merge `handover.rs`; what is checked of a file, `source.rs` at every touch and `verify.rs` when asked to; what
//! is still read of a damaged one, `salvage.rs`. The bytes are in docs/formats/table.md.

mod block;
mod block_info;
mod cache;
mod compare;
mod compression;
mod cursor;
mod fence_tree;
mod footer;
#[cfg(feature = "fuzz")]
#[doc(hidden)]
pub mod fuzz;
mod handover;
mod index;
mod options;
mod pinned;
mod properties;
mod range_deletes;
mod read_ahead;
mod salvage;
mod simd;
mod source;
mod summary;
mod table;
mod tail;
mod verify;
mod writer;

pub use block_info::BlockInfo;
pub use cache::BlockCache;
pub use cursor::TableCursor;
pub use footer::FORMAT_VERSION;
pub use handover::hand_over;
pub use lsm_bloom::FilterLine;
pub use options::{Compression, Origin, TableInfo, TableOptions};
pub use pinned::PinnedSlice;
pub use properties::TableProperties;
pub use range_deletes::RangeDelete;
pub use source::ReadMode;
pub use summary::TableSummary;
pub use table::{Found, Lent, Table, Touched};
pub use verify::VerifyReport;
pub use writer::TableWriter;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
