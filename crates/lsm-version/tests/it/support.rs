//! The only code here that knows how tables and edits are made.

use std::sync::Arc;

use lsm_version::{BlobShare, Place, RunId, TableRecord, VersionEdit};

/// A table of 100 bytes, which pictures show by its bounds alone.
pub(crate) fn table(number: u64, lower: &str, upper: &str) -> Arc<TableRecord> {
    table_of(number, lower, upper, 100)
}

pub(crate) fn table_of(number: u64, lower: &str, upper: &str, bytes: u64) -> Arc<TableRecord> {
    let (lower, upper) = (lower.into(), upper.into());
    Arc::new(TableRecord { number, lower, upper, bytes, ..TableRecord::default() })
}

/// A table that refers to one value of blob file 9.
pub(crate) fn referring(number: u64, bounds: [&str; 2], value_bytes: u64) -> Arc<TableRecord> {
    let blobs = vec![BlobShare { file: 9, values: 1, value_bytes }];
    let [lower, upper] = bounds;
    Arc::new(TableRecord { blobs, ..(*table(number, lower, upper)).clone() })
}

pub(crate) fn place(level: usize, run: RunId) -> Place {
    Place { level, run }
}

pub(crate) fn add(added: &[(Place, Arc<TableRecord>)]) -> VersionEdit {
    VersionEdit { added: added.to_vec(), ..VersionEdit::default() }
}

pub(crate) fn remove(removed: &[(Place, u64)]) -> VersionEdit {
    VersionEdit { removed: removed.to_vec(), ..VersionEdit::default() }
}
