//! One immutable sorted file: written once, sought in for ever.

mod block;
mod block_info;
mod cache;
mod chunk;
mod compression;
mod cursor;
mod fence_tree;
mod footer;
#[doc(hidden)]
pub mod fuzz;
mod index;
mod options;
mod pinned;
mod properties;
mod range_deletes;
mod seal;
mod simd;
mod source;
mod summary;
mod table;
mod verify;
mod writer;

pub use block_info::BlockInfo;
pub use cache::BlockCache;
pub use cursor::TableCursor;
pub use footer::FORMAT_VERSION;
pub use options::{Compression, Origin, TableInfo, TableOptions};
pub use pinned::PinnedSlice;
pub use properties::TableProperties;
pub use range_deletes::RangeDelete;
pub use source::ReadMode;
pub use summary::TableSummary;
pub use table::{Found, Table};
pub use verify::VerifyReport;
pub use writer::TableWriter;
