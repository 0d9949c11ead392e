//! Moments that must stay readable: sequence numbers, and the times at which what expires is judged.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use lsm_compaction::ReadTimes;
use lsm_entry::{Fragments, MAX_SEQ_NO, SeqNo, VecCursor};

use crate::commit::Commit;
use crate::db::Handle;
use crate::error::Result;
use crate::iter::Iter;
use crate::keyspace::Keyspace;
use crate::read_only::Moment;
use crate::reads::{Reads, Scan};
use crate::scan::EntryCursor;
use crate::shared::Shared;
use crate::sync::Mutex;
use crate::value::Value;
use crate::view::View;

/// No write has such a large number: they are for what a transaction has not written yet.
pub(crate) const OWN_SEQ_NO_MIN: SeqNo = MAX_SEQ_NO - u32::MAX as SeqNo;

/// The sequence numbers at which snapshots and scans read, counted.
///
/// The lock is held for a few instructions only, never over a file operation, so taking a snapshot
/// waits for nobody.
#[derive(Debug, Default)]
pub(crate) struct SnapshotList {
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    /// Ascending, each number once. One that enters is mostly the last there, and soon leaves again.
    readers: VecDeque<(SeqNo, Readers)>,
    /// Merges under way that may change values of the present.
    filtering: usize,
}

/// Values are being filtered for as long as it lives.
#[derive(Debug)]
pub(crate) struct Filtering<'a>(&'a SnapshotList);

impl Drop for Filtering<'_> {
    fn drop(&mut self) {
        self.0.counts.lock().expect("no holder panicked").filtering -= 1;
    }
}

/// Those who read at one number.
#[derive(Debug)]
struct Readers {
    count: usize,
    /// The earliest of their times. One who has none sees nothing that expires.
    time_ms: u64,
    /// When they were first met by whoever looks for old ones; taking a snapshot asks for no time.
    met_ms: Option<u64>,
}

impl SnapshotList {
    /// Enters the newest visible sequence number.
    ///
    /// Order: `visible` is read under the lock in which a merge copies the list. Read before, a
    /// merge could copy the list in between and drop what this snapshot is about to see.
    /// `time_ms` is asked after that: whoever sees a value that expires has a time. Says, too, whether
    /// values are being filtered: then the number alone does not keep them.
    pub(crate) fn enter(
        &self,
        commit: &Commit,
        time_ms: impl FnOnce() -> Option<u64>,
    ) -> (SeqNo, Option<u64>, bool) {
        let mut counts = self.counts.lock().expect("no holder panicked");
        let seq_no = commit.visible();
        let time_ms = time_ms();
        count_in(&mut counts.readers, seq_no, time_ms);
        (seq_no, time_ms, counts.filtering > 0)
    }

    /// A merge that filters values begins; the list is copied for it afterwards.
    pub(crate) fn begin_filtering(&self) -> Filtering<'_> {
        self.counts.lock().expect("no holder panicked").filtering += 1;
        Filtering(self)
    }

    /// Enters a moment that somebody keeps readable already.
    pub(crate) fn enter_again(&self, seq_no: SeqNo, time_ms: Option<u64>) {
        count_in(&mut self.counts.lock().expect("no holder panicked").readers, seq_no, time_ms);
    }

    pub(crate) fn leave(&self, seq_no: SeqNo) {
        let counts = &mut self.counts.lock().expect("no holder panicked").readers;
        if let Ok(place) = place_of(counts, seq_no) {
            let (_, readers) = &mut counts[place];
            readers.count -= 1;
            if readers.count == 0 {
                counts.remove(place);
            }
        }
    }

    /// Meets those who came since it was last called; returns for how long the oldest has been known.
    pub(crate) fn meet(&self, now_ms: u64) -> Option<u64> {
        let mut counts = self.counts.lock().expect("no holder panicked");
        // Numbers only grow: below one that is known already all are.
        let readers = counts.readers.iter_mut().rev().map(|(_, readers)| readers);
        let new = readers.take_while(|readers| readers.met_ms.is_none());
        new.for_each(|readers| readers.met_ms = Some(now_ms));
        let (_, oldest) = counts.readers.front()?;
        Some(oldest.met_ms.map_or(0, |met_ms| now_ms.saturating_sub(met_ms)))
    }

    /// All of them, ascending.
    pub(crate) fn copy(&self) -> Vec<SeqNo> {
        let counts = self.counts.lock().expect("no holder panicked");
        counts.readers.iter().map(|(seq_no, _)| *seq_no).collect()
    }

    /// All of them, and at what times they read; `now_ms` is the present.
    ///
    /// Order: `now_ms` was asked for before the list is copied, and whoever enters asks for the time
    /// under the lock. So whoever is not in the copy reads at this time or later.
    pub(crate) fn read_times(&self, now_ms: u64) -> ReadTimes {
        let counts = self.counts.lock().expect("no holder panicked");
        let times = counts.readers.iter().map(|(seq_no, readers)| (*seq_no, readers.time_ms));
        ReadTimes::new(times.collect(), now_ms)
    }
}

/// Where a number is among those that are read at, or where it belongs.
fn place_of(
    readers: &VecDeque<(SeqNo, Readers)>,
    seq_no: SeqNo,
) -> std::result::Result<usize, usize> {
    match readers.back() {
        Some((last, _)) if *last == seq_no => Ok(readers.len() - 1),
        Some((last, _)) if *last > seq_no => readers.binary_search_by_key(&seq_no, |it| it.0),
        _ => Err(readers.len()),
    }
}

fn count_in(counts: &mut VecDeque<(SeqNo, Readers)>, seq_no: SeqNo, time_ms: Option<u64>) {
    let place = place_of(counts, seq_no).unwrap_or_else(|place| {
        counts.insert(place, (seq_no, Readers { count: 0, time_ms: u64::MAX, met_ms: None }));
        place
    });
    let (_, readers) = &mut counts[place];
    readers.count += 1;
    readers.time_ms = readers.time_ms.min(time_ms.unwrap_or(u64::MAX));
}

/// A moment of the database that stays readable, over all its keyspaces.
///
/// It holds no file and no memtable: what it costs is that merges keep the versions it sees. (In a
/// database opened read-only, whose writer does not know of it, it does hold them, and so does one that
/// is taken while a [compaction filter](crate::CompactionFilter) is at work.)
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
    /// The time at which what expires is judged; `None` if nothing that is seen does.
    pub(crate) time_ms: Option<u64>,
    /// What is read at that number where the list does not keep all of it: in a database opened
    /// read-only, and where values were being filtered as it was entered.
    pub(crate) held: Option<Arc<Moment>>,
    /// What a transaction has written to the keyspace that is read, and reads over the rest, told by
    /// its numbers: from [`OWN_SEQ_NO_MIN`] on.
    pub(crate) own: Option<OwnWrites>,
}

/// What a transaction has written to one keyspace.
#[derive(Clone, Debug)]
pub(crate) struct OwnWrites {
    /// Its puts, deletes and merges.
    pub(crate) entries: VecCursor,
    /// Its range deletes, under the others; `None`: it has none.
    pub(crate) range_deletes: Option<Arc<Fragments>>,
}

impl Registered {
    pub(crate) fn now(db: &Arc<Handle>) -> Self {
        let shared = &db.shared;
        let held = if shared.is_read_only { shared.moment.load_full() } else { None };
        let (seq_no, time_ms) = match &held {
            Some(held) => {
                let time_ms = shared.reading_time_ms();
                shared.snapshots.enter_again(held.seq_no, time_ms);
                (held.seq_no, time_ms)
            }
            None => {
                let entered = shared.snapshots.enter(&shared.commit, || shared.reading_time_ms());
                let (seq_no, time_ms, is_filtering) = entered;
                if is_filtering {
                    return Self::holding(db, seq_no, time_ms);
                }
                (seq_no, time_ms)
            }
        };
        Self { db: Arc::clone(db), seq_no, time_ms, held, own: None }
    }

    /// Entered while values are being filtered (see `value_filter.rs`).
    #[cold]
    fn holding(db: &Arc<Handle>, seq_no: SeqNo, time_ms: Option<u64>) -> Self {
        let shared = &db.shared;
        let nothing = Arc::new(View::empty(&shared.tables));
        let held = Moment::new(seq_no, &shared.keyspaces.load(), nothing);
        Self { db: Arc::clone(db), seq_no, time_ms, held: Some(Arc::new(held)), own: None }
    }

    /// Whether it reads from views of its own.
    #[inline]
    pub(crate) fn holds(&self) -> bool {
        self.held.is_some()
    }

    /// Whether an entry with this number is seen.
    #[inline]
    pub(crate) fn sees(&self, seq_no: SeqNo) -> bool {
        seq_no <= self.seq_no || seq_no >= OWN_SEQ_NO_MIN
    }

    /// Where the newest entry that is seen may stand among the versions of its key.
    #[inline]
    pub(crate) fn newest(&self) -> SeqNo {
        if self.own.is_some() { MAX_SEQ_NO } else { self.seq_no }
    }
}

impl Clone for Registered {
    fn clone(&self) -> Self {
        self.db.shared.snapshots.enter_again(self.seq_no, self.time_ms);
        Self {
            db: Arc::clone(&self.db),
            seq_no: self.seq_no,
            time_ms: self.time_ms,
            held: self.held.clone(),
            own: self.own.clone(),
        }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.db.shared.snapshots.leave(self.seq_no);
    }
}

impl Snapshot {
    pub(crate) fn new(db: &Arc<Handle>) -> Self {
        Self(Arc::new(Registered::now(db)))
    }

    /// The newest sequence number that it sees.
    pub fn seq_no(&self) -> SeqNo {
        self.0.seq_no
    }

    /// The same moment of another keyspace than the default one. Reads fail with `Invalid` if it is
    /// a keyspace of another database.
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
        let shared = &self.0.db.shared;
        shared.get(&shared.default_keyspace, key.as_ref(), Some(&self.0))
    }

    fn get_with<R>(
        &self,
        key: impl AsRef<[u8]>,
        visit: impl FnOnce(&[u8]) -> R,
    ) -> Result<Option<R>> {
        let shared = &self.0.db.shared;
        shared.get_with(&shared.default_keyspace, key.as_ref(), Some(&self.0), visit)
    }

    fn multi_get<K: AsRef<[u8]>>(&self, keys: &[K]) -> Result<Vec<Option<Value>>> {
        let shared = &self.0.db.shared;
        shared.multi_get(&shared.default_keyspace, keys, Some(&self.0))
    }

    fn scan(&self, scan: Scan) -> Iter {
        Iter::new(Registered::clone(&self.0), &self.0.db.shared.default_keyspace, scan)
    }

    fn cursor(&self) -> EntryCursor {
        EntryCursor::new(Registered::clone(&self.0), &self.0.db.shared.default_keyspace)
    }
}

/// A snapshot of one keyspace; see [`Snapshot::within`].
#[derive(Clone, Copy, Debug)]
pub struct SnapshotWithin<'a> {
    snapshot: &'a Snapshot,
    keyspace: &'a Keyspace,
}

impl SnapshotWithin<'_> {
    fn moment(&self) -> &Registered {
        &self.snapshot.0
    }

    /// The database, if the keyspace is one of its own.
    fn shared(&self) -> Result<&Shared> {
        let shared = &self.moment().db.shared;
        shared.check_own(self.keyspace.core())?;
        Ok(shared)
    }
}

impl Reads for SnapshotWithin<'_> {
    fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Value>> {
        self.shared()?.get(self.keyspace.core(), key.as_ref(), Some(self.moment()))
    }

    fn get_with<R>(
        &self,
        key: impl AsRef<[u8]>,
        visit: impl FnOnce(&[u8]) -> R,
    ) -> Result<Option<R>> {
        self.shared()?.get_with(self.keyspace.core(), key.as_ref(), Some(self.moment()), visit)
    }

    fn multi_get<K: AsRef<[u8]>>(&self, keys: &[K]) -> Result<Vec<Option<Value>>> {
        self.shared()?.multi_get(self.keyspace.core(), keys, Some(self.moment()))
    }

    fn scan(&self, scan: Scan) -> Iter {
        Iter::new(self.moment().clone(), self.keyspace.core(), scan)
    }

    fn cursor(&self) -> EntryCursor {
        EntryCursor::new(self.moment().clone(), self.keyspace.core())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::background::Bell;

    #[test]
    fn numbers_are_kept_for_as_long_as_somebody_reads_at_them() {
        let list = SnapshotList::default();
        let mut entered: Vec<SeqNo> = Vec::new();
        let mut word = 1_u64;
        for round in 0..2000 {
            word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let choice = (word >> 33) as usize;
            if choice % 5 < 2 && !entered.is_empty() {
                list.leave(entered.swap_remove(choice / 5 % entered.len()));
            } else if entered.len() < 20 {
                // Mostly the present; now and then a moment that is kept already, or was once.
                let seq_no = round / 4 - (choice / 5 % 3 * 7).min(round / 4);
                list.enter_again(seq_no as SeqNo, None);
                entered.push(seq_no as SeqNo);
            }
            let mut expected = entered.clone();
            expected.sort_unstable();
            expected.dedup();
            assert_eq!(list.copy(), expected, "round {round}");
        }
    }

    #[test]
    fn a_number_is_taken_under_the_lock_under_which_merges_copy_the_list() {
        let commit = Commit::new(None, 1, 0, Bell::new(1), Arc::default());
        let list = SnapshotList::default();
        let entered = std::thread::scope(|scope| {
            // A merge is copying the list while a snapshot is taken and a write becomes visible.
            let copying = list.counts.lock().expect("no holder panicked");
            let snapshot = scope.spawn(|| list.enter(&commit, || None).0);
            std::thread::sleep(Duration::from_millis(50));
            commit.show_through(2, 2);
            drop(copying);
            snapshot.join().expect("no panic")
        });
        assert_eq!(entered, 2, "the copy lacks it, so it must not see what the merge may drop");
    }
}
