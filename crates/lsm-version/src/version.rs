//! Which tables are live.

use std::sync::Arc;

use crate::TableRecord;

/// How many levels a tree has, level 0 included.
pub const LEVELS: usize = 7;

/// Identifies a run within its level and tells its age: a larger number is newer.
pub type RunId = u64;

/// Tables with disjoint key ranges, in key order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Its name and age in the level.
    pub id: RunId,
    /// The tables, ascending, disjoint by user key.
    pub tables: Vec<Arc<TableRecord>>,
}

/// The runs at one depth, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Level {
    /// Newest first (descending ids). Leveled levels below 0 hold at most one.
    pub runs: Vec<Run>,
}

/// The tables of one keyspace that are live, immutable.
///
/// Invariant: for one key, an entry in an earlier run (a smaller level, or the same level and a
/// newer run) has a larger sequence number than any in a later run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    levels: [Level; LEVELS],
}
