//! Gaps: stretches of a keyspace's keys in which nothing lives, whatever tombstones lie there.
//!
//! ```text
//!   a queue, popped at its head     x x x x x x x x x x x x x x x  job  job  job ...  job
//!                                   └──────────── gap ───────────┘
//!   every scan of it                x x x x ·─────────────────────▶ job
//! ```
//!
//! A scan that steps over many dead keys in a row notes where it found nothing, and those after it go
//! on behind that. What is dead stays so until somebody writes: a put or an operand into a gap ends it
//! there, before the write becomes visible. So a gap holds for every reader that stands where its
//! finder stood, or later, and knows nothing of tables and memtables: it outlives flushes and merges.
//!
//! The finder stands at a number, and newer writes may have been inserted that it does not see. Under
//! the write mutex it is known whether there are any. If none is, the gap is known at once. Else it is
//! only *suspected*: writes end it from then on like any other, and once a reader that stands behind
//! all writes of before has found nothing there as well, it is known.
//!
//! Who looks for gaps by design (`sweep.rs`) has the keyspace *watched* from before it reads: what is put
//! meanwhile is noted, so that it knows what its reader did not see, whoever writes beside it.
//!
//! Gaps are kept in memory, a few for each keyspace, and forgotten when the database is closed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lsm_entry::{SeqNo, bound_after};

use crate::commit::Order;
use crate::snapshot::Registered;
use crate::sync::{ArcSwap, Mutex, MutexGuard};

/// Gaps that a keyspace keeps at most.
const GAPS_MAX: usize = 8;
/// Puts that a watch takes note of; with more it ends.
const WATCHED_PUTS_MAX: usize = 4096;

/// The gaps of one keyspace. Whoever changes them holds the write mutex.
#[derive(Debug)]
pub(crate) struct Gaps {
    /// Whether there is any, known or suspected, or somebody watches: all that a write asks where there
    /// is none.
    is_any: AtomicBool,
    is_watched: AtomicBool,
    list: ArcSwap<List>,
    watch: Mutex<Option<Watch>>,
}

/// What is put while somebody looks for a gap.
#[derive(Debug)]
struct Watch {
    /// The newest write when it began.
    appended: SeqNo,
    puts: Vec<Vec<u8>>,
}

#[derive(Clone, Debug, Default)]
struct List {
    /// In order, and apart from each other.
    known: Vec<Arc<Gap>>,
    suspected: Option<Suspected>,
}

/// Keys of which none lives for a reader that stands at `since` or later.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Gap {
    stretch: Stretch,
    since: Standpoint,
}

/// Keys that were dead for a reader who could not see every write that had been made.
#[derive(Clone, Debug)]
struct Suspected {
    stretch: Stretch,
    /// The newest write of that time.
    appended: SeqNo,
}

/// From one key to another, which does not belong to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stretch {
    pub(crate) from: Vec<u8>,
    pub(crate) to: Vec<u8>,
}

/// The moment of a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Standpoint {
    seq_no: SeqNo,
    /// The time at which it judges what expires.
    time_ms: u64,
}

impl Default for Gaps {
    fn default() -> Self {
        Self {
            is_any: false.into(),
            is_watched: false.into(),
            list: ArcSwap::from_pointee(List::default()),
            watch: Mutex::default(),
        }
    }
}

impl Gaps {
    /// Whether a write has to say what it puts.
    #[inline]
    pub(crate) fn is_any(&self) -> bool {
        self.is_any.load(Ordering::Relaxed)
    }

    /// The gap around `key`, if one is known to the reader.
    pub(crate) fn around(&self, key: &[u8], reader: &Registered) -> Option<Arc<Gap>> {
        if !self.is_any() {
            return None;
        }
        let reader = Standpoint::of(reader)?;
        let list = self.list.load();
        let gap = list.known.iter().find(|gap| gap.stretch.contains(key))?;
        gap.since.is_seen_by(reader).then(|| Arc::clone(gap))
    }

    /// A reader has found nothing from one key to another. The caller holds the write mutex, and
    /// `appended` is the newest write.
    pub(crate) fn note(&self, from: &[u8], to: &[u8], reader: &Registered, appended: SeqNo) {
        let Some(finder) = Standpoint::of(reader) else { return };
        let found = Stretch { from: from.to_vec(), to: to.to_vec() };
        let mut list = List::clone(&self.list.load());
        if finder.seq_no >= appended {
            list.know(found, finder);
            list.suspected = None;
        } else {
            list.suspect(found, finder, appended);
        }
        self.set(list);
    }

    /// The end of the last gap that ends at or before `key`, if one is known to the reader.
    pub(crate) fn end_before(&self, key: &[u8], reader: &Registered) -> Option<Vec<u8>> {
        let reader = Standpoint::of(reader)?;
        let list = self.list.load();
        let gap = list.known.iter().rfind(|gap| gap.to() <= key)?;
        gap.since.is_seen_by(reader).then(|| gap.to().to_vec())
    }

    /// The newest write when the present watch began, if there is one.
    pub(crate) fn watched_since(&self) -> Option<SeqNo> {
        self.watch().as_ref().map(|watch| watch.appended)
    }

    /// Whether there is a watch.
    #[inline]
    pub(crate) fn is_watched(&self) -> bool {
        self.is_watched.load(Ordering::Relaxed)
    }

    /// From now on every put is noted. `appended` is the newest write.
    pub(crate) fn begin_watch(&self, _order: &Order, appended: SeqNo) {
        *self.watch() = Some(Watch { appended, puts: Vec::new() });
        self.is_watched.store(true, Ordering::Relaxed);
        self.is_any.store(true, Ordering::Release);
    }

    /// Ends the watch, in which a reader has found nothing in `found`; `None`: there is no such stretch.
    pub(crate) fn end_watch(&self, _order: &Order, found: Option<Stretch>, reader: &Registered) {
        let watch = self.watch().take();
        self.is_watched.store(false, Ordering::Relaxed);
        let mut list = List::clone(&self.list.load());
        if let (Some(watch), Some(found), Some(finder)) = (watch, found, Standpoint::of(reader))
            // All that it did not see has been noted.
            && watch.appended <= finder.seq_no
            && !watch.puts.iter().any(|put| found.contains(put))
        {
            list.know(found, finder);
        }
        self.set(list);
    }

    fn watch(&self) -> MutexGuard<'_, Option<Watch>> {
        self.watch.lock().expect("no holder panicked")
    }

    /// Something is put at `key`. The caller holds the write mutex, and the write is not yet visible.
    pub(crate) fn end_at(&self, key: &[u8]) {
        if self.is_watched() {
            self.note_put(key);
        }
        let list = self.list.load();
        let is_suspected = list.suspected.as_ref().is_some_and(|it| it.stretch.contains(key));
        let known = list.known.iter().position(|gap| gap.stretch.contains(key));
        if !is_suspected && known.is_none() {
            return;
        }
        let mut list = List::clone(&list);
        if is_suspected {
            list.suspected = None;
        }
        if let Some(place) = known {
            list.split(place, key);
        }
        self.set(list);
    }

    /// Anything may have been put anywhere. The caller holds the write mutex.
    pub(crate) fn end_all(&self) {
        *self.watch() = None;
        self.is_watched.store(false, Ordering::Relaxed);
        self.set(List::default());
    }

    /// Takes note of a put for whoever watches.
    fn note_put(&self, key: &[u8]) {
        let mut present = self.watch();
        match &mut *present {
            Some(watch) if watch.puts.len() < WATCHED_PUTS_MAX => watch.puts.push(key.to_vec()),
            // Nobody comes to end it, it seems.
            watch => {
                *watch = None;
                self.is_watched.store(false, Ordering::Relaxed);
            }
        }
    }

    fn set(&self, list: List) {
        let is_any = !list.known.is_empty() || list.suspected.is_some() || self.is_watched();
        self.list.store(Arc::new(list));
        self.is_any.store(is_any, Ordering::Release);
    }
}

impl List {
    /// Nothing lives in the stretch since then: it is one with what was known before around it.
    fn know(&mut self, mut stretch: Stretch, mut since: Standpoint) {
        self.known.retain(|gap| {
            let is_apart = gap.stretch.to < stretch.from || stretch.to < gap.stretch.from;
            if !is_apart {
                stretch = stretch.with(&gap.stretch);
                since = since.later(gap.since);
            }
            is_apart
        });
        let place = self.known.partition_point(|gap| gap.stretch.from < stretch.from);
        self.known.insert(place, Arc::new(Gap { stretch, since }));
        while self.known.len() > GAPS_MAX {
            // The one that was found the longest ago.
            let oldest = (0..self.known.len()).min_by_key(|at| self.known[*at].since.seq_no);
            oldest.map(|at| self.known.remove(at));
        }
    }

    /// What was suspected before all that the finder sees, and is found dead again, is known; the rest
    /// of what was found is suspected.
    fn suspect(&mut self, found: Stretch, finder: Standpoint, appended: SeqNo) {
        let before = self.suspected.take();
        if let Some(suspected) = before
            && let Some(again) = suspected.stretch.shared_with(&found)
        {
            if suspected.appended <= finder.seq_no {
                self.know(again, finder);
            } else {
                // It is not for somebody who stands too early to begin anew.
                self.suspected = Some(suspected);
                return;
            }
        }
        let is_known = self.known.iter().any(|gap| gap.stretch.covers(&found));
        if !is_known {
            self.suspected = Some(Suspected { stretch: found, appended });
        }
    }

    /// `key` lives in the gap at `place`.
    fn split(&mut self, place: usize, key: &[u8]) {
        let gap = self.known.remove(place);
        let Gap { stretch: Stretch { from, to }, since } = &*gap;
        let (before, after) = (from.clone()..key.to_vec(), bound_after(key)..to.clone());
        for half in [after, before] {
            if half.start < half.end && self.known.len() < GAPS_MAX {
                let stretch = Stretch { from: half.start, to: half.end };
                self.known.insert(place, Arc::new(Gap { stretch, since: *since }));
            }
        }
    }
}

impl Gap {
    pub(crate) fn from(&self) -> &[u8] {
        &self.stretch.from
    }

    pub(crate) fn to(&self) -> &[u8] {
        &self.stretch.to
    }
}

impl Stretch {
    fn contains(&self, key: &[u8]) -> bool {
        self.from.as_slice() <= key && key < self.to.as_slice()
    }

    fn covers(&self, other: &Self) -> bool {
        self.from <= other.from && other.to <= self.to
    }

    fn with(&self, other: &Self) -> Self {
        let (from, to) = ((&self.from).min(&other.from), (&self.to).max(&other.to));
        Self { from: from.clone(), to: to.clone() }
    }

    /// What belongs to both.
    fn shared_with(&self, other: &Self) -> Option<Self> {
        let (from, to) = ((&self.from).max(&other.from), (&self.to).min(&other.to));
        (from < to).then(|| Self { from: from.clone(), to: to.clone() })
    }
}

impl Standpoint {
    /// `None` for readers that see other things than what is written: a transaction its own writes, a
    /// moment that is held what was there before values were filtered.
    fn of(reader: &Registered) -> Option<Self> {
        if reader.held.is_some() || reader.own.is_some() {
            return None;
        }
        // Who sees nothing that expires has no time.
        Some(Self { seq_no: reader.seq_no, time_ms: reader.time_ms.unwrap_or(0) })
    }

    fn is_seen_by(self, reader: Self) -> bool {
        self.seq_no <= reader.seq_no && self.time_ms <= reader.time_ms
    }

    fn later(self, other: Self) -> Self {
        Self { seq_no: self.seq_no.max(other.seq_no), time_ms: self.time_ms.max(other.time_ms) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Db;

    /// Whether a stretch from "c" to "m" is a gap afterwards, in which somebody who reads from before
    /// or behind the watch's beginning has found nothing, while a key was put.
    fn is_known(reads_before: bool, put: Option<&str>) -> bool {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(dir.path()).unwrap();
        let (gaps, commit) = (&db.default_keyspace().core().gaps, &db.shared().commit);
        let before = Registered::now(db.handle());
        db.put("z", "").unwrap();
        gaps.begin_watch(&commit.lock_order(), commit.appended());
        let reader = if reads_before { before } else { Registered::now(db.handle()) };
        put.into_iter().for_each(|key| db.put(key, "").unwrap());
        let found = Stretch { from: b"c".to_vec(), to: b"m".to_vec() };
        gaps.end_watch(&commit.lock_order(), Some(found), &reader);
        assert!(!gaps.is_watched());
        gaps.around(b"d", &Registered::now(db.handle())).is_some()
    }

    #[test]
    fn what_is_put_under_a_watch_is_no_part_of_a_gap() {
        assert!(is_known(false, None));
        assert!(is_known(false, Some("b")) && is_known(false, Some("m")), "beside it");
        assert!(!is_known(false, Some("c")) && !is_known(false, Some("l")), "within it");
    }

    #[test]
    fn who_reads_from_before_a_watch_finds_no_gap() {
        assert!(!is_known(true, None), "nobody has noted what it did not see");
    }

    #[test]
    fn a_watch_that_nobody_ends_takes_no_more_than_so_many_puts() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(dir.path()).unwrap();
        let (gaps, commit) = (&db.default_keyspace().core().gaps, &db.shared().commit);
        gaps.begin_watch(&commit.lock_order(), commit.appended());
        for n in 0..=WATCHED_PUTS_MAX {
            assert!(gaps.is_watched());
            let order = commit.lock_order();
            gaps.end_at(&n.to_be_bytes());
            drop(order);
        }
        assert!(!gaps.is_watched());
    }
}
