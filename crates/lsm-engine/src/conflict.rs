//! What a transaction has read, and whether others have changed it since.
//!
//! Everything that was ever ordered, up to an ingest on its way, is in the memtables and tables of the
//! present view, seen by readers or not, so the question "has this key changed since number N?" is a read of its newest
//! version. Tables and memtables whose newest number is not above N are not asked at all: mostly
//! only the active memtable is, at memory speed.
//!
//! A range delete changes every key that it covers, whether it was there or not.
//!
//! A key that was written and removed again in the meantime may have left no trace. That is no
//! conflict: what the transaction saw, that there was nothing, is true again.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Bound;
use std::sync::{Arc, Mutex};

use lsm_entry::{Cursor, Fragments, MAX_SEQ_NO, SeqNo, key_hash};

use crate::error::{Error, Result};
use crate::iter::SeenRange;
use crate::keyspace::KeyspaceCore;
use crate::reads::Scan;
use crate::run_cursor::RunCursor;
use crate::view::View;

/// What was read of one keyspace.
#[derive(Debug)]
pub(crate) struct ReadSet {
    pub(crate) core: Arc<KeyspaceCore>,
    pub(crate) keys: BTreeSet<Vec<u8>>,
    pub(crate) ranges: Vec<Arc<Mutex<SeenRange>>>,
}

/// The first change found that a transaction did not see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Conflict {
    pub(crate) keyspace: String,
    pub(crate) key: Vec<u8>,
    /// The number of the change.
    pub(crate) seq_no: SeqNo,
}

impl ReadSet {
    pub(crate) fn new(core: &Arc<KeyspaceCore>) -> Self {
        Self { core: Arc::clone(core), keys: BTreeSet::new(), ranges: Vec::new() }
    }

    /// A change of what was read with a number above `seen`.
    ///
    /// # Errors
    /// `Corrupt`, `Io`: it cannot be known. `Invalid`: the keyspace was dropped.
    pub(crate) fn conflict_above(&self, seen: SeqNo) -> Result<Option<Conflict>> {
        let view = self.core.view.load_full();
        // Order: the view before the flag, for a drop sets the flag before it empties the view.
        if self.core.is_dropped() {
            return Err(self.core.dropped_error());
        }
        for key in &self.keys {
            if let Some(seq_no) = newest_above(&view, key, seen)? {
                return Ok(Some(self.conflict(key, seq_no)));
            }
        }
        for range in &self.ranges {
            let parts = range.lock().expect("no holder panicked").parts();
            for part in &parts {
                if let Some((key, seq_no)) = change_within(&view, part, seen)? {
                    return Ok(Some(self.conflict(&key, seq_no)));
                }
            }
        }
        Ok(None)
    }

    fn conflict(&self, key: &[u8], seq_no: SeqNo) -> Conflict {
        Conflict { keyspace: self.core.name.clone(), key: key.to_vec(), seq_no }
    }
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (key, keyspace) = (self.key.escape_ascii(), &self.keyspace);
        write!(f, "key \"{key}\" of keyspace \"{keyspace}\" was changed since it was read")
    }
}

impl From<Conflict> for Error {
    fn from(conflict: Conflict) -> Self {
        Self::conflict(conflict)
    }
}

/// The number of the newest version of `key`, or of a range delete that covers it, if that is above
/// `seen`.
fn newest_above(view: &View, key: &[u8], seen: SeqNo) -> Result<Option<SeqNo>> {
    let hash = key_hash(key);
    for memtable in std::iter::once(&view.active).chain(&view.sealed) {
        if memtable.seq_no_range().is_some_and(|(_, last)| last > seen) {
            let entry = memtable.get(key, hash, MAX_SEQ_NO).map_or(0, |entry| entry.seq_no);
            let newest = entry.max(memtable.cover(key, MAX_SEQ_NO));
            if newest > 0 {
                return Ok((newest > seen).then_some(newest));
            }
        }
    }
    for live in view.tree.runs.iter().filter_map(|run| run.find(key)) {
        if live.record().seq_no_max > seen {
            let found = live.table()?.get_lent(key, hash, MAX_SEQ_NO)?;
            let entry = found.map_or(0, |lent| lent.entry().seq_no);
            let newest = entry.max(live.cover(key, MAX_SEQ_NO)?);
            if newest > 0 {
                return Ok((newest > seen).then_some(newest));
            }
        }
    }
    Ok(None)
}

/// A key in `range` with a version, or under a range delete, whose number is above `seen`.
fn change_within(view: &View, range: &Scan, seen: SeqNo) -> Result<Option<(Vec<u8>, SeqNo)>> {
    for memtable in std::iter::once(&view.active).chain(&view.sealed) {
        if memtable.seq_no_range().is_some_and(|(_, last)| last > seen) {
            let change = change_in(&mut memtable.cursor(), range, seen);
            let change = change.unwrap_or_else(|never| match never {}).or_else(|| {
                memtable.range_deletes().and_then(|fragments| delete_in(&fragments, range, seen))
            });
            if change.is_some() {
                return Ok(change);
            }
        }
    }
    for (index, run) in view.tree.runs.iter().enumerate() {
        if run.tables.iter().any(|live| live.record().seq_no_max > seen) {
            let mut cursor = RunCursor::new(Arc::clone(&view.tree), index);
            if let Some(change) = change_in(&mut cursor, range, seen)? {
                return Ok(Some(change));
            }
        }
        for live in run.ranged.iter().map(|table| &run.tables[*table]) {
            if live.record().seq_no_max > seen
                && let Some(fragments) = live.range_deletes()?
                && let Some(change) = delete_in(fragments, range, seen)
            {
                return Ok(Some(change));
            }
        }
    }
    Ok(None)
}

/// A key of `range` that a range delete above `seen` covers.
fn delete_in(fragments: &Fragments, range: &Scan, seen: SeqNo) -> Option<(Vec<u8>, SeqNo)> {
    let (lower, upper) = range.half_open()?;
    let newer =
        fragments.overlapping(&lower, &upper).find(|fragment| fragment.seq_nos()[0] > seen)?;
    Some((newer.lower().max(&lower).to_vec(), newer.seq_nos()[0]))
}

fn change_in<C: Cursor>(
    cursor: &mut C,
    range: &Scan,
    seen: SeqNo,
) -> std::result::Result<Option<(Vec<u8>, SeqNo)>, C::Error> {
    match &range.lower {
        Bound::Unbounded => cursor.seek_first()?,
        Bound::Included(lower) | Bound::Excluded(lower) => cursor.seek(lower, MAX_SEQ_NO)?,
    }
    while let Some(entry) = cursor.entry() {
        let is_beyond = match &range.upper {
            Bound::Unbounded => false,
            Bound::Included(upper) => entry.key > upper.as_slice(),
            Bound::Excluded(upper) => entry.key >= upper.as_slice(),
        };
        if is_beyond {
            break;
        }
        let is_before = matches!(&range.lower, Bound::Excluded(lower) if entry.key == lower);
        if entry.seq_no > seen && !is_before {
            return Ok(Some((entry.key.to_vec(), entry.seq_no)));
        }
        cursor.next()?;
    }
    Ok(None)
}
