//! A write whose acknowledgement is waited for later.

use crate::spread::Held;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use lsm_entry::SeqNo;

use crate::db::Handle;
use crate::error::{Error, Result};
use crate::waiter::Goal;

/// A write that has its place in the order and is not acknowledged yet.
///
/// A future, and something to [`wait`](Self::wait) for: one thread can keep thousands of durable
/// writes in flight.
#[derive(Debug)]
#[must_use = "the write is acknowledged only when the ticket resolves"]
pub struct Ticket {
    pub(crate) handle: Held<Handle>,
    pub(crate) through: SeqNo,
}

impl Ticket {
    /// Waits until the write is acknowledged; returns its last sequence number.
    ///
    /// # Errors
    /// `ReadOnly` if a sync failed first; the outcome is then unknown.
    pub fn wait(self) -> Result<SeqNo> {
        let goal = Goal::Visible(self.through);
        self.handle.shared.commit.reach(goal).map_err(Error::with_unknown_outcome)?;
        Ok(self.through)
    }

    /// The write's last sequence number.
    pub fn seq_no(&self) -> SeqNo {
        self.through
    }
}

impl Future for Ticket {
    type Output = Result<SeqNo>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let shared = &self.handle.shared;
        let goal = Goal::Visible(self.through);
        if !shared.commit.wake_at(goal, context.waker()) {
            shared.background.wake_log();
            return Poll::Pending;
        }
        Poll::Ready(match shared.commit.poison() {
            Some(poison) if !shared.commit.is_reached(goal) => {
                Err(poison.clone().with_unknown_outcome())
            }
            _ => Ok(self.through),
        })
    }
}
