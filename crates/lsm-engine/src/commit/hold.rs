//! A commit that stays unseen until what it stands for is there.
//!
//! Whatever is ordered behind it stays unseen as long; so it is held for as short as can be.

use lsm_entry::SeqNo;

use super::{Commit, Order};
use crate::options::Durability;
use crate::sync::MutexGuard;
use crate::sync::atomic::Ordering;

/// The right to hold a commit back: one at a time has it.
pub(crate) struct HoldTurn<'a> {
    commit: &'a Commit,
    _turn: MutexGuard<'a, ()>,
}

/// Keeps `visible` below a commit. Dropped, it lets it go.
pub(crate) struct Hold<'a> {
    turn: HoldTurn<'a>,
    seq_no: SeqNo,
}

impl Commit {
    /// Waits for the right to hold a commit back.
    pub(crate) fn hold_turn(&self) -> HoldTurn<'_> {
        HoldTurn { commit: self, _turn: self.holding.lock().expect("no holder panicked") }
    }

    /// The commit that is held back, if one is.
    pub(crate) fn held(&self) -> Option<SeqNo> {
        Some(self.held.load(Ordering::Acquire)).filter(|held| *held != 0)
    }

    /// The newest number up to which everything that was ordered is also where readers look.
    pub(crate) fn settled(&self) -> SeqNo {
        // Order: what is appended before what is held, for a commit is held before it counts as
        // appended.
        let appended = self.appended();
        self.held().map_or(appended, |held| appended.min(held - 1))
    }
}

impl<'a> HoldTurn<'a> {
    /// Holds back the commit `seq_no`, which has just been appended and asks for the disk.
    pub(crate) fn hold(self, order: &mut Order, seq_no: SeqNo) -> Hold<'a> {
        let commit = self.commit;
        // Order: it is held before it counts as appended (see `settled`).
        commit.held.store(seq_no, Ordering::Release);
        commit.appended.store(seq_no, Ordering::Release);
        commit.wanted_durable.fetch_max(seq_no, Ordering::AcqRel);
        order.note_commit(seq_no, Durability::Disk);
        Hold { turn: self, seq_no }
    }
}

impl Hold<'_> {
    pub(crate) fn seq_no(&self) -> SeqNo {
        self.seq_no
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        let commit = self.turn.commit;
        {
            let mut order = commit.lock_order();
            commit.held.store(0, Ordering::Release);
            commit.publish(&mut order);
        }
        commit.wake_reached();
        commit.followers.call();
    }
}
