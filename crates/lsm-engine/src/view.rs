//! What one read holds still: memtables and a version with its open tables.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::slice;
use std::sync::Arc;

use lsm_entry::{SeqNo, begins_with, common_prefix, digest};
use lsm_memtable::Memtable;
use lsm_version::Version;

use crate::blobs::BlobFiles;
use crate::tables::{LiveTable, TableStore};

/// Everything that a read of one keyspace looks at, immutable, swapped as a whole.
#[derive(Debug)]
pub(crate) struct View {
    /// Takes writes.
    pub(crate) active: Arc<Memtable>,
    /// Wait to be flushed, newest first.
    pub(crate) sealed: Vec<Arc<Memtable>>,
    pub(crate) tree: Arc<Tree>,
}

impl View {
    /// The oldest and the newest sequence number that are in memory only, if any are.
    pub(crate) fn unflushed(&self) -> Option<(SeqNo, SeqNo)> {
        let memtables = self.sealed.iter().rev().chain(std::iter::once(&self.active));
        let ranges = memtables.filter_map(|memtable| memtable.seq_no_range());
        ranges.reduce(|(first, last), range| (first.min(range.0), last.max(range.1)))
    }

    /// The same with the active memtable sealed and `active` in its place.
    pub(crate) fn with_sealed(&self, active: Arc<Memtable>) -> Self {
        let mut sealed = Vec::with_capacity(self.sealed.len() + 1);
        sealed.push(Arc::clone(&self.active));
        sealed.extend(self.sealed.iter().cloned());
        Self { active, sealed, tree: Arc::clone(&self.tree) }
    }

    /// The same with another tree and without the sealed memtables in `flushed`.
    pub(crate) fn with_tree(&self, tree: Arc<Tree>, flushed: &[Arc<Memtable>]) -> Self {
        let is_flushed =
            |memtable: &&Arc<Memtable>| !flushed.iter().any(|done| Arc::ptr_eq(done, memtable));
        let sealed = self.sealed.iter().filter(is_flushed).cloned().collect();
        Self { active: Arc::clone(&self.active), sealed, tree }
    }
}

/// A version and a handle for each of its tables.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) version: Arc<Version>,
    /// Every run, newest first.
    pub(crate) runs: Vec<LiveRun>,
    /// Where its tables' large values lie.
    pub(crate) blobs: BlobFiles,
}

impl Tree {
    /// The tree of `version`, taking over from `before` the handles of tables that stay.
    pub(crate) fn new(
        version: Arc<Version>,
        before: Option<&Self>,
        store: &Arc<TableStore>,
    ) -> Self {
        let mut known: HashMap<u64, &Arc<LiveTable>> = HashMap::new();
        for run in before.iter().flat_map(|tree| &tree.runs) {
            known.extend(run.tables.iter().map(|table| (table.record().number, table)));
        }
        let mut runs = Vec::new();
        for (level, run) in version.runs() {
            let tables = run.tables.iter().map(|record| match known.remove(&record.number) {
                Some(table) => Arc::clone(table),
                None => Arc::new(LiveTable::new(Arc::clone(record), Arc::clone(store))),
            });
            runs.push(LiveRun::new(level, tables.collect()));
        }
        // What is left over is named by no version from here on.
        known.values().for_each(|table| table.mark_replaced());
        let blobs = BlobFiles::new(&version, before.map(|before| &before.blobs), store);
        Self { version, runs, blobs }
    }

    /// The handle of table `number`.
    pub(crate) fn table(&self, number: u64) -> Option<&Arc<LiveTable>> {
        self.tables().find(|table| table.record().number == number)
    }

    /// Whether no run older than `run` can hold a key in `lower..=upper`.
    pub(crate) fn has_nothing_older(&self, run: usize, lower: &[u8], upper: &[u8]) -> bool {
        self.runs[run + 1..].iter().all(|older| {
            let first = older.tables.get(older.seek(lower));
            first.is_none_or(|table| upper < table.record().lower.as_slice())
        })
    }

    /// When the oldest tombstone, or range delete, in its tables was written at the earliest.
    pub(crate) fn oldest_tombstone_ms(&self) -> Option<u64> {
        let records = self.tables().map(|table| table.record());
        let with_tombstones = records.filter(|it| it.tombstones + it.range_deletes > 0);
        with_tombstones.map(|record| record.created_ms).min()
    }

    /// When the oldest blob file that holds garbage was written.
    pub(crate) fn oldest_garbage_ms(&self) -> Option<u64> {
        let with_garbage = self.version.blobs().filter(|blob| blob.garbage_bytes() > 0);
        with_garbage.map(|blob| blob.record.created_ms).min()
    }

    pub(crate) fn tables(&self) -> LiveTables<'_> {
        LiveTables { runs: self.runs.iter(), rest: [].iter() }
    }
}

/// Every table of a tree. No chain of adapters, for the reason that [`lsm_version::Tables`] is none.
pub(crate) struct LiveTables<'a> {
    runs: slice::Iter<'a, LiveRun>,
    rest: slice::Iter<'a, Arc<LiveTable>>,
}

impl<'a> Iterator for LiveTables<'a> {
    type Item = &'a Arc<LiveTable>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(table) = self.rest.next() {
                return Some(table);
            }
            self.rest = self.runs.next()?.tables.iter();
        }
    }
}

/// Tables with disjoint ranges, in key order, and what finds one of them fast.
#[derive(Debug)]
pub(crate) struct LiveRun {
    pub(crate) level: usize,
    pub(crate) tables: Vec<Arc<LiveTable>>,
    /// What all bounds of the run begin with.
    prefix: Vec<u8>,
    /// Digest of each table's upper bound after the prefix: one flat array to search.
    fences: Vec<u64>,
    /// The same of each lower bound.
    starts: Vec<u64>,
    /// Places of the tables that hold range deletes, ascending.
    pub(crate) ranged: Vec<usize>,
}

impl LiveRun {
    pub(crate) fn new(level: usize, tables: Vec<Arc<LiveTable>>) -> Self {
        let prefix = match (tables.first(), tables.last()) {
            (Some(first), Some(last)) => {
                let (lower, upper) = (&first.record().lower, &last.record().upper);
                lower[..common_prefix(lower, upper)].to_vec()
            }
            _ => Vec::new(),
        };
        let fences = tables.iter().map(|t| digest(&t.record().upper, prefix.len())).collect();
        let starts = tables.iter().map(|t| digest(&t.record().lower, prefix.len())).collect();
        let has_range_deletes = |&place: &usize| tables[place].record().range_deletes > 0;
        let ranged = (0..tables.len()).filter(has_range_deletes).collect();
        Self { level, tables, prefix, fences, starts, ranged }
    }

    /// Index of the first table whose upper bound is at or above `key`.
    pub(crate) fn seek(&self, key: &[u8]) -> usize {
        match self.digest_of(key) {
            Ok(wanted) => self.seek_digest(key, wanted),
            Err(Ordering::Less) => 0,
            Err(_) => self.tables.len(),
        }
    }

    /// The one table that may hold `key`.
    #[inline]
    pub(crate) fn find(&self, key: &[u8]) -> Option<&Arc<LiveTable>> {
        // A key that does not begin as all bounds do lies outside of them.
        let wanted = self.digest_of(key).ok()?;
        let index = self.seek_digest(key, wanted);
        let table = self.tables.get(index)?;
        let is_above = match self.starts.get(index)?.cmp(&wanted) {
            Ordering::Less => true,
            Ordering::Equal => table.record().lower.as_slice() <= key,
            Ordering::Greater => false,
        };
        is_above.then_some(table)
    }

    /// The digest of what follows the prefix, or how keys stand to the bounds that do not begin with it.
    #[inline(always)]
    fn digest_of(&self, key: &[u8]) -> Result<u64, Ordering> {
        if begins_with(key, &self.prefix) {
            return Ok(digest(key, self.prefix.len()));
        }
        Err(key.cmp(self.prefix.as_slice()))
    }

    #[inline(always)]
    fn seek_digest(&self, key: &[u8], wanted: u64) -> usize {
        let mut index = self.fences.partition_point(|&fence| fence < wanted);
        // Equal digests leave the rest of the key to decide.
        while self.fences.get(index) == Some(&wanted)
            && self.tables[index].record().upper.as_slice() < key
        {
            index += 1;
        }
        index
    }
}
