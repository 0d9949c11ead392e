//! What a cursor stands on, kept for the next cursor of the thread.
//!
//! To put together what a short scan reads takes as long as to read it: memory for each source, and a count for
//! whatever they hold, which threads that scan at once take from each other. So a cursor leaves its stand
//! with the keyspace, one for each lane of threads, and the next one there takes in only what was put
//! since.
//!
//! Invariant: a stand that nobody uses is over the present view. It holds no block, and what it holds of
//! the order of a memtable is as old as its last use.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use lsm_entry::MergingCursor;

use crate::keyspace::KeyspaceCore;
use crate::snapshot::Registered;
use crate::source::{Source, merge_view};
use crate::stats::{LANES, lane};
use crate::sync::{ArcSwap, Mutex};
use crate::view::View;

/// A view, and what is read of it.
#[derive(Debug)]
pub(crate) struct Stand {
    pub(super) view: Arc<View>,
    pub(super) merged: MergingCursor<Source>,
    /// Blocks of which everything has expired by then are passed over unread: as much of the moment's
    /// time as was known when the sources were made.
    pub(super) gone_by_ms: Option<u64>,
    /// Whether the active memtable is among the sources: it is not while it is empty.
    has_active: bool,
    /// Memory for a key.
    key: Vec<u8>,
}

impl Stand {
    fn new(view: Arc<View>, moment: &Registered, gone_by_ms: Option<u64>) -> Self {
        let has_active = !view.active.is_empty();
        let merged = merge_view(&view, moment, gone_by_ms);
        Self { view, merged, gone_by_ms, has_active, key: Vec::new() }
    }

    /// Sees to it that it is as one made now for a reader of the present; `false` if it cannot be.
    fn renew(&mut self, present: &Arc<View>, gone_by_ms: Option<u64>) -> bool {
        let active = &self.view.active;
        Arc::ptr_eq(&self.view, present)
            && self.gone_by_ms == gone_by_ms
            && self.has_active != active.is_empty()
            && active.range_deletes().is_none()
            && self.merged.sources_mut().iter_mut().all(Source::renew)
    }

    /// Lets go of what others may want to have back; `false` if it cannot be used again.
    fn rest(&mut self) -> bool {
        self.merged.sources_mut().iter_mut().all(Source::rest)
    }
}

/// The stands that cursors have left, at most one for each lane.
#[derive(Debug, Default)]
pub(crate) struct SpareStands {
    lanes: [Lane; LANES],
}

/// Two cache lines, for processors bring them in by pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Lane {
    spare: Mutex<Option<Box<Stand>>>,
}

impl SpareStands {
    fn take(&self) -> Option<Box<Stand>> {
        self.lanes[lane()].spare.lock().expect("no holder panicked").take()
    }

    /// Keeps a stand if it is over the present view.
    fn put(&self, stand: Box<Stand>, present: &ArcSwap<View>) {
        let mut spare = self.lanes[lane()].spare.lock().expect("no holder panicked");
        // Order: under the lock. Whoever swaps the view takes all locks afterwards.
        if Arc::ptr_eq(&stand.view, &present.load()) {
            let _before = spare.replace(stand);
        }
    }

    /// The view was swapped: lets go of the one before.
    pub(crate) fn clear(&self) {
        for lane in &self.lanes {
            let spare = lane.spare.lock().expect("no holder panicked").take();
            drop(spare);
        }
    }
}

/// The stand of a cursor, left behind when that is dropped.
pub(super) struct OwnStand {
    /// Always there, until it is left.
    stand: Option<Box<Stand>>,
    /// Whether the next one may use it.
    is_common: bool,
}

impl OwnStand {
    /// One over what `moment` reads now.
    ///
    /// Order: the moment is registered, then the view is loaded.
    pub(super) fn now(core: &KeyspaceCore, moment: &Registered, gone_by_ms: Option<u64>) -> Self {
        if let Some(held) = &moment.held {
            let view = Arc::clone(held.view(core.id));
            return Self::over(view, moment, gone_by_ms);
        }
        let is_common = moment.own.is_none();
        let spare = if is_common { core.spare_stands.take() } else { None };
        let spare = spare.and_then(|mut spare| {
            let is_as_new = spare.renew(&core.view.load(), gone_by_ms);
            is_as_new.then_some(spare)
        });
        let stand = spare
            .unwrap_or_else(|| Box::new(Stand::new(core.view.load_full(), moment, gone_by_ms)));
        Self { stand: Some(stand), is_common }
    }

    /// One over a view that is not the present one, perhaps.
    pub(super) fn over(view: Arc<View>, moment: &Registered, gone_by_ms: Option<u64>) -> Self {
        let stand = Box::new(Stand::new(view, moment, gone_by_ms));
        Self { stand: Some(stand), is_common: false }
    }

    /// Another one in its place.
    pub(super) fn replace(
        &mut self,
        view: Arc<View>,
        moment: &Registered,
        gone_by_ms: Option<u64>,
    ) {
        **self = Stand::new(view, moment, gone_by_ms);
    }

    /// Memory for a key, of the cursor that had it before.
    pub(super) fn take_key(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.key)
    }

    /// Leaves it to the next cursor of this thread, with memory for a key.
    pub(super) fn leave(&mut self, core: &KeyspaceCore, key: &mut Vec<u8>) {
        if let Some(mut stand) = self.stand.take().filter(|_| self.is_common)
            && stand.rest()
        {
            stand.key = std::mem::take(key);
            core.spare_stands.put(stand, &core.view);
        }
    }
}

impl Deref for OwnStand {
    type Target = Stand;

    #[inline]
    fn deref(&self) -> &Stand {
        self.stand.as_deref().expect("a cursor has one until it is dropped")
    }
}

impl DerefMut for OwnStand {
    #[inline]
    fn deref_mut(&mut self) -> &mut Stand {
        self.stand.as_deref_mut().expect("a cursor has one until it is dropped")
    }
}

#[cfg(test)]
mod tests {
    use crate::{Db, Reads};

    fn spares(db: &Db) -> usize {
        let lanes = &db.default_keyspace().core().spare_stands.lanes;
        lanes.iter().filter(|lane| lane.spare.lock().expect("no holder panicked").is_some()).count()
    }

    fn opened() -> (tempfile::TempDir, Db) {
        let dir = tempfile::tempdir().expect("a directory");
        let db = Db::open(dir.path()).expect("opens");
        db.put("a", "1").expect("writes");
        (dir, db)
    }

    #[test]
    fn a_cursor_that_is_dropped_leaves_its_stand_until_the_view_is_another() {
        let (_dir, db) = opened();
        drop(db.cursor());
        assert_eq!(spares(&db), 1);
        let cursor = db.cursor();
        assert_eq!(spares(&db), 0, "it stands there");
        let another = db.cursor();
        drop((cursor, another));
        assert_eq!(spares(&db), 1, "one is enough");
        let late = db.cursor();
        drop(db.cursor());
        db.flush().expect("flushes");
        assert_eq!(spares(&db), 0, "nothing holds the memtable any more");
        drop(late);
        assert_eq!(spares(&db), 0, "nor does what comes back late");
    }

    #[test]
    fn what_was_written_since_is_read_from_the_stand_of_before() {
        let (_dir, db) = opened();
        db.flush().expect("flushes");
        for (round, key) in (0..).zip(["b", "c", "d"]) {
            assert_eq!(db.iter().count(), 1 + round);
            db.put(key, "2").expect("writes");
        }
        assert_eq!(db.iter().count(), 4);
        db.delete_range("a".."c").expect("writes");
        assert_eq!(db.iter().count(), 2);
        assert_eq!(db.iter().count(), 2);
    }

    #[test]
    fn what_a_transaction_has_written_is_left_to_nobody() {
        let (_dir, db) = opened();
        drop(db.cursor());
        let transaction = db.transaction();
        transaction.put("b", "2");
        assert_eq!(transaction.iter().count(), 2, "nor does it stand where others stood");
        assert_eq!((spares(&db), db.iter().count()), (1, 1));
    }

    #[test]
    fn a_stand_taken_before_the_view_was_swapped_is_of_no_use() {
        let (_dir, db) = opened();
        drop(db.cursor());
        let core = db.default_keyspace().core();
        let mut taken = core.spare_stands.take().expect("it was left");
        assert!(taken.renew(&core.view.load(), None));
        db.flush().expect("flushes");
        assert!(!taken.renew(&core.view.load(), None));
    }
}
