//! Gaps noted by who deletes, so that the first scan is as fast as those after it (see `gaps.rs`).
//!
//! Every so many deletes of a keyspace, the one that has just been acknowledged looks around its key:
//! back over what is dead to the last gap or to what lives, and forth. In a queue that is what was popped
//! since it was last done. A few keys are looked at for each delete, in the long run; and where neighbours
//! live, two.
//!
//! Others may write meanwhile. So the keyspace is watched, from a moment on at which every write has its
//! number, and the reader stands behind that moment: what it does not see, the watch has noted. Where
//! writes of before are still on their way to the disk, a later delete looks.

use std::sync::atomic::Ordering;

use lsm_entry::{Record, Records, Tag};

use crate::batch::{DEFAULT_KEYSPACE, WriteBatch};
use crate::keyspace::Keyspace;
use crate::scan::EntryCursor;
use crate::snapshot::Registered;

/// Deletes after which one looks.
const SWEEP_DELETES: u64 = 512;
/// Deletes after which one looks again whether it is time, once there is a watch.
const RETRY_DELETES: u64 = 16;
/// Entries that it steps over at most, each way: those of some hundred deletes more than were made since.
const SWEEP_ENTRIES_MAX: u32 = 4096;

impl Keyspace {
    /// `key` was deleted, and that is visible.
    #[inline]
    pub(crate) fn sweep_after_delete(&self, key: &[u8]) {
        let deletes = self.core.deletes.fetch_add(1, Ordering::Relaxed) + 1;
        if deletes.is_multiple_of(RETRY_DELETES) {
            self.sweep_if_due(deletes, key);
        }
    }

    /// A batch was written to this keyspace, the default one, and others, and is visible.
    pub(crate) fn sweep_after_batch(&self, batch: &WriteBatch) {
        if !batch.has_deletes {
            return;
        }
        let mut id = DEFAULT_KEYSPACE;
        for record in Records::new(&batch.payload) {
            match record.expect("this batch was encoded here") {
                Record::Keyspace(selected) => id = selected,
                Record::Entry { tag, key, .. } if tag == Tag::DELETE => {
                    let handles = batch.stretches.iter().filter(|stretch| stretch.keyspace == id);
                    let handle = handles.filter_map(|stretch| stretch.handle.as_ref()).next();
                    handle.unwrap_or(self).sweep_after_delete(key);
                }
                Record::Entry { .. } => {}
            }
        }
    }

    fn sweep_if_due(&self, deletes: u64, key: &[u8]) {
        let gaps = &self.core.gaps;
        if deletes.is_multiple_of(SWEEP_DELETES) && !gaps.is_watched() {
            let commit = &self.db.shared.commit;
            gaps.begin_watch(&commit.lock_order(), commit.appended());
        }
        if let Some(since) = gaps.watched_since() {
            self.sweep(key, since);
        }
    }

    /// Looks around `key`, if everything that was written up to `since` is visible.
    #[cold]
    fn sweep(&self, key: &[u8], since: u64) {
        let moment = Registered::now(&self.db);
        if moment.seq_no < since {
            return;
        }
        let mut cursor = EntryCursor::new(moment.clone(), self.core.hold());
        // Who cannot read notes nothing.
        let found = cursor.dead_around(key, SWEEP_ENTRIES_MAX).ok().flatten();
        let order = self.db.shared.commit.lock_order();
        self.core.gaps.end_watch(&order, found, &moment);
    }
}
