//! The difference between two versions.

use std::sync::Arc;

use crate::{BlobRecord, RunId, TableRecord};

/// Where a table stands in the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// The level, 0 to `LEVELS - 1`.
    pub level: usize,
    /// The run within it.
    pub run: RunId,
}

/// Tables that come and go together. A table in both lists moves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VersionEdit {
    /// File numbers that are live no more at the place named.
    pub removed: Vec<(Place, u64)>,
    /// Tables that become live, and where.
    pub added: Vec<(Place, Arc<TableRecord>)>,
    /// Blob files to which the added tables are the first to refer. They are live for as long as any
    /// table refers to them.
    pub blobs: Vec<Arc<BlobRecord>>,
}
