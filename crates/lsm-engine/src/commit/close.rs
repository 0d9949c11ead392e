//! The end of the order: the log's closing frame.

use lsm_wal::{Pending, PreparedSegment};

use super::{Commit, Order};
use crate::error::Result;
use crate::sync::atomic::Ordering;
use crate::waiter::Goal;

impl Commit {
    /// Ends the log with a closing frame and makes it durable: in the segment that `fresh` gives, if
    /// it gives one. `refuse` is called under the write mutex: whatever it does, no write comes after
    /// the closing frame.
    pub(crate) fn close(
        &self,
        refuse: impl FnOnce(),
        fresh: impl FnOnce() -> Option<PreparedSegment>,
    ) -> Result<()> {
        {
            let _order = self.lock_order();
            refuse();
        }
        // Order: every frame is on the disk before the closing one is written.
        self.reach(Goal::Durable(self.appended()))?;
        // The frame that ended a segment has no number, and nothing may have come after it.
        self.sync_after(|_| Ok(()))?;
        if let Some(segment) = fresh() {
            self.sync_after(|order| self.rotate(order, segment).map(drop))?;
        }
        let through = self.sync_after(|order| {
            let through = order.log().next_seq_no() - 1;
            order.log().append_close();
            Ok(through)
        })?;
        self.written.store(through, Ordering::Release);
        self.durable.store(through, Ordering::Release);
        self.publish(&mut self.lock_order());
        Ok(())
    }

    /// Appends what `append` does under the write mutex, and makes it durable.
    fn sync_after<T>(&self, append: impl FnOnce(&mut Order) -> Result<T>) -> Result<T> {
        let (mut pending, appended) = {
            let mut order = self.lock_order();
            let appended = append(&mut order)?;
            (order.log().take_pending(Pending::Sync), appended)
        };
        pending.write().and_then(|()| pending.sync()).map_err(|error| self.poison_with(error))?;
        self.lock_order().log().note_written(&mut pending);
        Ok(appended)
    }
}
