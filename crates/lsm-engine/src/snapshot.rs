//! Sequence numbers that must stay readable.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use lsm_entry::SeqNo;

use crate::commit::Commit;
use crate::db::Handle;
use crate::error::Result;
use crate::keyspace::Keyspace;
use crate::reads::{Reads, Scan};
use crate::scan::{EntryCursor, Iter};
use crate::value::Value;

/// The sequence numbers at which snapshots and scans read, counted.
///
/// The lock is held for a few instructions only, never over a file operation, so taking a snapshot
/// waits for nobody.
#[derive(Debug, Default)]
pub(crate) struct SnapshotList {
    counts: Mutex<BTreeMap<SeqNo, usize>>,
}

impl SnapshotList {
    /// Enters the newest visible sequence number.
    ///
    /// Order: `visible` is read under the lock in which a merge copies the list. Read before, a
    /// merge could copy the list in between and drop what this snapshot is about to see.
    pub(crate) fn enter(&self, commit: &Commit) -> SeqNo {
        let mut counts = self.counts.lock().expect("no holder panicked");
        let seq_no = commit.visible();
        *counts.entry(seq_no).or_default() += 1;
        seq_no
    }

    /// Enters a sequence number that somebody keeps entered already.
    pub(crate) fn enter_again(&self, seq_no: SeqNo) {
        *self.counts.lock().expect("no holder panicked").entry(seq_no).or_default() += 1;
    }

    pub(crate) fn leave(&self, seq_no: SeqNo) {
        let mut counts = self.counts.lock().expect("no holder panicked");
        if let Some(count) = counts.get_mut(&seq_no) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&seq_no);
            }
        }
    }

    /// All of them, ascending.
    pub(crate) fn copy(&self) -> Vec<SeqNo> {
        self.counts.lock().expect("no holder panicked").keys().copied().collect()
    }
}

/// A moment of the database that stays readable, over all its keyspaces.
///
/// It holds no file and no memtable: what it costs is that merges keep the versions it sees.
/// Cheap to clone; the moment is released with the last clone.
///
/// ```
/// # use lsm_engine::{Db, Reads};
/// # let dir = tempfile::tempdir()?;
/// # let db = Db::open(dir.path())?;
/// db.put("key", "before")?;
/// let snapshot = db.snapshot();
/// db.put("key", "after")?;
/// assert_eq!(snapshot.get("key")?.as_deref(), Some(&b"before"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Snapshot(Arc<Registered>);

/// An entry in the snapshot list, taken back when dropped.
pub(crate) struct Registered {
    pub(crate) db: Arc<Handle>,
    pub(crate) seq_no: SeqNo,
}

impl Registered {
    pub(crate) fn now(db: Arc<Handle>) -> Self {
        let seq_no = db.shared.snapshots.enter(&db.shared.commit);
        Self { db, seq_no }
    }

    pub(crate) fn again(db: Arc<Handle>, seq_no: SeqNo) -> Self {
        db.shared.snapshots.enter_again(seq_no);
        Self { db, seq_no }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.db.shared.snapshots.leave(self.seq_no);
    }
}

impl Snapshot {
    pub(crate) fn new(db: Arc<Handle>) -> Self {
        Self(Arc::new(Registered::now(db)))
    }

    /// The newest sequence number that it sees.
    pub fn seq_no(&self) -> SeqNo {
        self.0.seq_no
    }

    /// The same moment of another keyspace than the default one.
    pub fn within<'a>(&'a self, keyspace: &'a Keyspace) -> SnapshotWithin<'a> {
        SnapshotWithin { snapshot: self, keyspace }
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").field("seq_no", &self.seq_no()).finish()
    }
}

impl Reads for Snapshot {
    fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Value>> {
        let db = &self.0.db;
        db.shared.get(&db.shared.default_keyspace, key.as_ref(), Some(self.0.seq_no))
    }

    fn multi_get<K: AsRef<[u8]>>(&self, keys: &[K]) -> Result<Vec<Option<Value>>> {
        let db = &self.0.db;
        db.shared.multi_get(&db.shared.default_keyspace, keys, Some(self.0.seq_no))
    }

    fn scan(&self, scan: Scan) -> Iter {
        let db = &self.0.db;
        Iter::new(db, &db.shared.default_keyspace, Some(self.0.seq_no), scan)
    }

    fn cursor(&self) -> EntryCursor {
        let db = &self.0.db;
        EntryCursor::new(db, &db.shared.default_keyspace, Some(self.0.seq_no))
    }
}

/// A snapshot of one keyspace; see [`Snapshot::within`].
#[derive(Clone, Copy, Debug)]
pub struct SnapshotWithin<'a> {
    snapshot: &'a Snapshot,
    keyspace: &'a Keyspace,
}

impl Reads for SnapshotWithin<'_> {
    fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Value>> {
        let shared = &self.snapshot.0.db.shared;
        shared.get(self.keyspace.core(), key.as_ref(), Some(self.snapshot.seq_no()))
    }

    fn multi_get<K: AsRef<[u8]>>(&self, keys: &[K]) -> Result<Vec<Option<Value>>> {
        let shared = &self.snapshot.0.db.shared;
        shared.multi_get(self.keyspace.core(), keys, Some(self.snapshot.seq_no()))
    }

    fn scan(&self, scan: Scan) -> Iter {
        let seq_no = Some(self.snapshot.seq_no());
        Iter::new(&self.snapshot.0.db, self.keyspace.core(), seq_no, scan)
    }

    fn cursor(&self) -> EntryCursor {
        let seq_no = Some(self.snapshot.seq_no());
        EntryCursor::new(&self.snapshot.0.db, self.keyspace.core(), seq_no)
    }
}
