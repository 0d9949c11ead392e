//! Moments that must stay readable: sequence numbers, and the times at which what expires is judged.

use std::collections::{BTreeMap, VecDeque};
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
use crate::spread::{Held, Spread};
use crate::stats::{LANES, lane};
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{Mutex, MutexGuard};
use crate::value::Value;
use crate::view::View;

/// No write has such a large number: they are for what a transaction has not written yet.
pub(crate) const OWN_SEQ_NO_MIN: SeqNo = MAX_SEQ_NO - u32::MAX as SeqNo;

/// Lanes among which readers are spread; a few are enough to try every interleaving.
const READER_LANES: usize = if cfg!(loom) { 2 } else { LANES };

/// The sequence numbers at which snapshots and scans read, counted.
///
/// Each lane of threads counts for itself, so that two of them do not wait for each other's cache line.
/// A lock is held for a few instructions only, never over a file operation, so taking a snapshot
/// waits for nobody.
#[derive(Debug, Default)]
pub(crate) struct SnapshotList {
    lanes: [Lane; READER_LANES],
    /// Merges under way that may change values of the present.
    filtering: AtomicUsize,
}

/// The readers of one lane. Two cache lines, for processors bring them in by pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Lane {
    /// Ascending, each number once. One that enters is mostly the last there, and soon leaves again.
    readers: Mutex<VecDeque<(SeqNo, Readers)>>,
}

type LockedLane<'a> = MutexGuard<'a, VecDeque<(SeqNo, Readers)>>;

/// What a reader has entered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entered {
    seq_no: SeqNo,
    time_ms: Option<u64>,
    lane: usize,
}

/// Values are being filtered for as long as it lives.
#[derive(Debug)]
pub(crate) struct Filtering<'a>(&'a SnapshotList);

impl Drop for Filtering<'_> {
    fn drop(&mut self) {
        self.0.filtering.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Those who read at one number.
#[derive(Clone, Copy, Debug)]
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
    /// Order: `visible` is read under the lock in which a merge copies the lane. Read before, a
    /// merge could copy the lane in between and drop what this snapshot is about to see. Whoever enters
    /// after that sees at least what was visible when the merge began to copy, whatever the lane.
    /// `time_ms` is asked after that: whoever sees a value that expires has a time. Says, too, whether
    /// values are being filtered: then the number alone does not keep them.
    pub(crate) fn enter(
        &self,
        commit: &Commit,
        time_ms: impl FnOnce() -> Option<u64>,
    ) -> (Entered, bool) {
        let lane = lane() % READER_LANES;
        let mut readers = self.lock(lane);
        let seq_no = commit.visible();
        let time_ms = time_ms();
        count_in(&mut readers, seq_no, time_ms);
        // Order: under the lock. A merge that has not met this reader in its copy has counted before.
        let is_filtering = self.filtering.load(Ordering::Acquire) > 0;
        (Entered { seq_no, time_ms, lane }, is_filtering)
    }

    /// A merge that filters values begins; the list is copied for it afterwards.
    pub(crate) fn begin_filtering(&self) -> Filtering<'_> {
        self.filtering.fetch_add(1, Ordering::AcqRel);
        Filtering(self)
    }

    /// Enters a moment that somebody keeps readable already.
    pub(crate) fn enter_again(&self, seq_no: SeqNo, time_ms: Option<u64>) -> Entered {
        self.enter_lane(lane() % READER_LANES, seq_no, time_ms)
    }

    fn enter_lane(&self, lane: usize, seq_no: SeqNo, time_ms: Option<u64>) -> Entered {
        count_in(&mut self.lock(lane), seq_no, time_ms);
        Entered { seq_no, time_ms, lane }
    }

    /// Leaves the lane in which the number was entered.
    pub(crate) fn leave(&self, lane: usize, seq_no: SeqNo) {
        let mut lane = self.lock(lane);
        if let Ok(place) = place_of(&lane, seq_no) {
            let (_, readers) = &mut lane[place];
            readers.count -= 1;
            if readers.count == 0 {
                lane.remove(place);
            }
        }
    }

    /// Meets those who came since it was last called; returns for how long the oldest has been known.
    pub(crate) fn meet(&self, now_ms: u64) -> Option<u64> {
        let meet = |lane: &mut LockedLane<'_>| {
            // Numbers only grow: below one that is known already all are.
            let readers = lane.iter_mut().rev().map(|(_, readers)| readers);
            let new = readers.take_while(|readers| readers.met_ms.is_none());
            new.for_each(|readers| readers.met_ms = Some(now_ms));
            lane.front().map(|(seq_no, oldest)| (*seq_no, oldest.met_ms.unwrap_or(now_ms)))
        };
        let (_, met_ms) = self.lock_all().iter_mut().filter_map(meet).min()?;
        Some(now_ms.saturating_sub(met_ms))
    }

    /// All of them, ascending.
    pub(crate) fn copy(&self) -> Vec<SeqNo> {
        self.by_number().into_keys().collect()
    }

    /// All of them, and at what times they read; `now_ms` is the present.
    ///
    /// Order: `now_ms` was asked for before the list is copied, and whoever enters asks for the time
    /// under the lock. So whoever is not in the copy reads at this time or later.
    pub(crate) fn read_times(&self, now_ms: u64) -> ReadTimes {
        ReadTimes::new(self.by_number().into_iter().collect(), now_ms)
    }

    /// The earliest time of each number.
    ///
    /// Order: all lanes are locked before one is copied. A moment that is kept by somebody of another lane from
    /// now on enters that one before it leaves its own: copied in between it would be in neither.
    fn by_number(&self) -> BTreeMap<SeqNo, u64> {
        let mut earliest = BTreeMap::new();
        let lanes = self.lock_all();
        for lane in &lanes {
            for (seq_no, readers) in lane.iter() {
                let time_ms = earliest.entry(*seq_no).or_insert(readers.time_ms);
                *time_ms = readers.time_ms.min(*time_ms);
            }
        }
        earliest
    }

    fn lock(&self, lane: usize) -> LockedLane<'_> {
        self.lanes[lane].readers.lock().expect("no holder panicked")
    }

    /// Nobody else holds two of them.
    fn lock_all(&self) -> [LockedLane<'_>; READER_LANES] {
        std::array::from_fn(|lane| self.lock(lane))
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
    pub(crate) db: Held<Handle>,
    pub(crate) seq_no: SeqNo,
    /// The time at which what expires is judged; `None` if nothing that is seen does.
    pub(crate) time_ms: Option<u64>,
    /// Where in the list it is.
    lane: usize,
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
    pub(crate) fn now(db: &Spread<Handle>) -> Self {
        let db = db.hold();
        let shared = &db.shared;
        if shared.is_read_only
            && let Some(held) = shared.moment.load_full()
        {
            let time_ms = shared.reading_time_ms();
            let entered = shared.snapshots.enter_again(held.seq_no, time_ms);
            return Self::new(db, entered, Some(held));
        }
        let (entered, is_filtering) =
            shared.snapshots.enter(&shared.commit, || shared.reading_time_ms());
        let held = is_filtering.then(|| Self::hold(shared, entered.seq_no));
        Self::new(db, entered, held)
    }

    fn new(db: Held<Handle>, entered: Entered, held: Option<Arc<Moment>>) -> Self {
        let Entered { seq_no, time_ms, lane } = entered;
        Self { db, seq_no, time_ms, lane, held, own: None }
    }

    /// What is read by one who entered while values are being filtered (see `value_filter.rs`).
    #[cold]
    fn hold(shared: &Shared, seq_no: SeqNo) -> Arc<Moment> {
        let nothing = Arc::new(View::empty(&shared.tables));
        Arc::new(Moment::new(seq_no, &shared.keyspaces.load(), nothing))
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
        let entered = self.db.shared.snapshots.enter_again(self.seq_no, self.time_ms);
        let mut again = Self::new(self.db.clone(), entered, self.held.clone());
        again.own.clone_from(&self.own);
        again
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.db.shared.snapshots.leave(self.lane, self.seq_no);
    }
}

impl Snapshot {
    pub(crate) fn new(db: &Spread<Handle>) -> Self {
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
        Iter::new(Registered::clone(&self.0), self.0.db.shared.default_keyspace.hold(), scan)
    }

    fn cursor(&self) -> EntryCursor {
        EntryCursor::new(Registered::clone(&self.0), self.0.db.shared.default_keyspace.hold())
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
        Iter::new(self.moment().clone(), self.keyspace.core.hold(), scan)
    }

    fn cursor(&self) -> EntryCursor {
        EntryCursor::new(self.moment().clone(), self.keyspace.core.hold())
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
        let mut entered: Vec<Entered> = Vec::new();
        let mut word = 1_u64;
        for round in 0..2000 {
            word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let choice = (word >> 33) as usize;
            if choice % 5 < 2 && !entered.is_empty() {
                let Entered { lane, seq_no, .. } = entered.swap_remove(choice / 5 % entered.len());
                list.leave(lane, seq_no);
            } else if entered.len() < 20 {
                // Mostly the present; now and then a moment that is kept already, or was once.
                let seq_no = round / 4 - (choice / 5 % 3 * 7).min(round / 4);
                let lane = choice % READER_LANES;
                entered.push(list.enter_lane(lane, seq_no as SeqNo, None));
            }
            let mut expected: Vec<SeqNo> = entered.iter().map(|entered| entered.seq_no).collect();
            expected.sort_unstable();
            expected.dedup();
            assert_eq!(list.copy(), expected, "round {round}");
        }
    }

    #[test]
    fn a_moment_that_changes_its_lane_while_the_list_is_copied_is_in_the_copy() {
        const SEQ_NO: SeqNo = 7;
        let list = SnapshotList::default();
        list.enter_lane(READER_LANES - 1, SEQ_NO, None);
        let copy = std::thread::scope(|scope| {
            // The copy has come as far as to the second lane.
            let second = list.lock(1);
            let copy = scope.spawn(|| list.copy());
            std::thread::sleep(Duration::from_millis(50));
            scope.spawn(|| {
                list.enter_lane(0, SEQ_NO, None);
                list.leave(READER_LANES - 1, SEQ_NO);
            });
            std::thread::sleep(Duration::from_millis(50));
            drop(second);
            copy.join().expect("no panic")
        });
        assert_eq!(copy, [SEQ_NO]);
    }

    #[test]
    fn a_number_is_taken_under_the_lock_under_which_merges_copy_the_list() {
        let commit = Commit::new(None, 1, 0, Bell::new(1), Arc::default());
        let list = SnapshotList::default();
        let entered = std::thread::scope(|scope| {
            // A merge is copying the list while a snapshot is taken and a write becomes visible.
            let copying: Vec<_> = (0..READER_LANES).map(|lane| list.lock(lane)).collect();
            let snapshot = scope.spawn(|| list.enter(&commit, || None).0.seq_no);
            std::thread::sleep(Duration::from_millis(50));
            commit.show_through(2, 2);
            drop(copying);
            snapshot.join().expect("no panic")
        });
        assert_eq!(entered, 2, "the copy lacks it, so it must not see what the merge may drop");
    }
}
