//! Which tables are live.

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::sync::Arc;

use crate::blobs::Blobs;
use crate::{BlobUse, Place, Runs, TableRecord, Tables, VersionEdit};

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

impl Run {
    /// The one table whose bounds hold `key`. Binary search.
    pub fn find(&self, key: &[u8]) -> Option<&Arc<TableRecord>> {
        let index = self.tables.partition_point(|table| table.upper.as_slice() < key);
        self.tables.get(index).filter(|table| table.lower.as_slice() <= key)
    }

    /// The tables that share a key with `lower..=upper`. Binary search.
    pub fn overlapping(&self, lower: &[u8], upper: &[u8]) -> &[Arc<TableRecord>] {
        let first = self.tables.partition_point(|table| table.upper.as_slice() < lower);
        let rest = &self.tables[first..];
        let count = rest.partition_point(|table| table.lower.as_slice() <= upper);
        &rest[..count]
    }

    /// Bytes of its tables.
    pub fn bytes(&self) -> u64 {
        self.tables.iter().map(|table| table.bytes).sum()
    }
}

/// The runs at one depth, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Level {
    /// Newest first (descending ids). Leveled levels below 0 hold at most one.
    pub runs: Vec<Run>,
}

impl Level {
    /// Bytes of its tables.
    pub fn bytes(&self) -> u64 {
        self.runs.iter().map(Run::bytes).sum()
    }

    fn place(&mut self, id: RunId, table: Arc<TableRecord>) {
        // Descending ids: newest first.
        let index = self.runs.partition_point(|run| run.id > id);
        if self.runs.get(index).is_none_or(|run| run.id != id) {
            self.runs.insert(index, Run { id, tables: Vec::new() });
        }
        self.runs[index].tables.push(table);
    }
}

/// The tables of one keyspace that are live, immutable.
///
/// Invariant: for one key, an entry in an earlier run (a smaller level, or the same level and a
/// newer run) has a larger sequence number than any in a later run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    levels: [Level; LEVELS],
    blobs: Blobs,
}

/// Why an edit does not fit a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EditError {
    /// The edit removes a table that is not at the place it names.
    NotThere {
        /// The table.
        number: u64,
        /// Where it was said to be.
        place: Place,
    },
    /// The edit adds a table that is live already.
    AlreadyThere {
        /// The table.
        number: u64,
    },
    /// The edit names a level that no tree has.
    NoSuchLevel {
        /// The level.
        level: usize,
    },
    /// A table's lower bound lies above its upper one.
    InvertedBounds {
        /// The table.
        number: u64,
    },
    /// A table refers to a blob file that is not there.
    NoSuchBlob {
        /// The blob file.
        number: u64,
        /// The table.
        table: u64,
    },
    /// The edit adds a blob file that is live already.
    BlobAlreadyThere {
        /// The blob file.
        number: u64,
    },
    /// Tables refer to more of a blob file than is in it.
    MoreThanThereIs {
        /// The blob file.
        number: u64,
        /// The table that refers to too much.
        table: u64,
    },
    /// Two tables of one run share a key.
    Overlap {
        /// Where they are.
        place: Place,
        /// The one with the smaller lower bound; the smaller number if they have one bound.
        first: u64,
        /// The other.
        second: u64,
    },
}

impl fmt::Display for EditError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotThere { number, place } => {
                write!(f, "table {number} is not in level {}, run {}", place.level, place.run)
            }
            Self::AlreadyThere { number } => write!(f, "table {number} is live already"),
            Self::NoSuchLevel { level } => {
                write!(f, "level {level}; levels are 0 to {}", LEVELS - 1)
            }
            Self::InvertedBounds { number } => {
                write!(f, "the lower bound of table {number} lies above its upper one")
            }
            Self::NoSuchBlob { number, table } => {
                write!(f, "table {table} refers to blob file {number}, which is not there")
            }
            Self::BlobAlreadyThere { number } => write!(f, "blob file {number} is live already"),
            Self::MoreThanThereIs { number, table } => {
                write!(f, "table {table} refers to more of blob file {number} than is in it")
            }
            Self::Overlap { place, first, second } => write!(
                f,
                "tables {first} and {second} overlap in level {}, run {}",
                place.level, place.run
            ),
        }
    }
}

impl std::error::Error for EditError {}

impl Version {
    /// The version without tables.
    pub fn empty() -> Self {
        Self { levels: Default::default(), blobs: Blobs::default() }
    }

    /// All levels, level 0 first.
    pub fn levels(&self) -> &[Level; LEVELS] {
        &self.levels
    }

    /// One level; panics beyond the last.
    pub fn level(&self, level: usize) -> &Level {
        &self.levels[level]
    }

    /// Every run with its level, newest first.
    pub fn runs(&self) -> Runs<'_> {
        Runs::of(&self.levels)
    }

    /// Every table with its place, newest run first.
    pub fn tables(&self) -> Tables<'_> {
        Tables::of(self.runs())
    }

    /// The run at a place.
    pub fn run(&self, place: Place) -> Option<&Run> {
        self.levels.get(place.level)?.runs.iter().find(|run| run.id == place.run)
    }

    /// Bytes of all tables.
    pub fn bytes(&self) -> u64 {
        self.levels.iter().map(Level::bytes).sum()
    }

    /// Bytes of the tables of one level.
    pub fn level_bytes(&self, level: usize) -> u64 {
        self.levels[level].bytes()
    }

    /// The blob files to which tables refer, by number.
    pub fn blobs(&self) -> impl Iterator<Item = &BlobUse> {
        self.blobs.iter()
    }

    /// Bytes of the blob files to which tables refer.
    pub fn blob_bytes(&self) -> u64 {
        self.blobs().map(|blob| blob.record.bytes).sum()
    }

    /// A blob file to which tables refer.
    pub fn blob(&self, number: u64) -> Option<&BlobUse> {
        self.blobs.get(number)
    }

    /// Whether there are no tables.
    pub fn is_empty(&self) -> bool {
        self.levels.iter().all(|level| level.runs.is_empty())
    }

    /// The one edit that leads from the empty version to this one.
    pub fn as_edit(&self) -> VersionEdit {
        VersionEdit {
            added: self.tables().map(|(place, table)| (place, Arc::clone(table))).collect(),
            blobs: self.blobs().map(|blob| Arc::clone(&blob.record)).collect(),
            ..VersionEdit::default()
        }
    }

    /// The version after an edit.
    ///
    /// # Errors
    /// Says how the edit does not fit; this version is unchanged either way.
    pub fn apply(&self, edit: &VersionEdit) -> Result<Self, EditError> {
        let mut version = self.clone();
        for &(place, number) in &edit.removed {
            version.remove(place, number)?;
        }
        for blob in &edit.blobs {
            version.blobs.add(blob)?;
        }
        let mut live: HashSet<u64> = version.tables().map(|(_, table)| table.number).collect();
        // Sorted, so that of several overlaps always the same one is told.
        let mut touched = BTreeSet::new();
        for (place, table) in &edit.added {
            let number = table.number;
            if table.lower > table.upper {
                return Err(EditError::InvertedBounds { number });
            }
            if !live.insert(number) {
                return Err(EditError::AlreadyThere { number });
            }
            let level = version
                .levels
                .get_mut(place.level)
                .ok_or(EditError::NoSuchLevel { level: place.level })?;
            level.place(place.run, Arc::clone(table));
            version.blobs.refer(table)?;
            touched.insert(*place);
        }
        version.blobs.drop_dead();
        for place in touched {
            version.sort_run(place)?;
        }
        for level in &mut version.levels {
            level.runs.retain(|run| !run.tables.is_empty());
        }
        Ok(version)
    }

    fn remove(&mut self, place: Place, number: u64) -> Result<(), EditError> {
        let not_there = EditError::NotThere { number, place };
        let level = self.levels.get_mut(place.level).ok_or(not_there.clone())?;
        let run = level.runs.iter_mut().find(|run| run.id == place.run);
        let run = run.ok_or(not_there.clone())?;
        let index = run.tables.iter().position(|table| table.number == number);
        let table = run.tables.remove(index.ok_or(not_there)?);
        self.blobs.release(&table);
        Ok(())
    }

    fn sort_run(&mut self, place: Place) -> Result<(), EditError> {
        let runs = &mut self.levels[place.level].runs;
        let Some(run) = runs.iter_mut().find(|run| run.id == place.run) else { return Ok(()) };
        // By number where bounds are equal: such tables overlap, and are told in the same order
        // whichever came first.
        run.tables
            .sort_by(|one, other| (&one.lower, one.number).cmp(&(&other.lower, other.number)));
        for pair in run.tables.windows(2) {
            if pair[0].upper >= pair[1].lower {
                let (first, second) = (pair[0].number, pair[1].number);
                return Err(EditError::Overlap { place, first, second });
            }
        }
        Ok(())
    }
}

impl Default for Version {
    fn default() -> Self {
        Self::empty()
    }
}
