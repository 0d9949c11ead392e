//! Who waits for a position to come further, and who of them leads.
//!
//! One thread at a time *leads* a [round](Commit::lead). Whoever arrives meanwhile is ordered, appended
//! and inserted unseen, and joins the next one (group commit). The leader is a waiting caller, so a
//! single writer needs no hand-off; where only tasks wait, the log's own thread leads.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;

use super::Commit;
use crate::error::Result;
use crate::sync::atomic::Ordering;
use crate::waiter::{Goal, Told, Waiter};

/// Who waits, and whether somebody leads.
#[derive(Debug, Default)]
pub(super) struct Queue {
    leading: bool,
    waiting: VecDeque<Arc<Waiter>>,
}

impl Commit {
    /// Waits until `goal` is reached, leading a round of writing and syncing if nobody does.
    ///
    /// # Errors
    /// `ReadOnly` when the database was poisoned first.
    pub(crate) fn reach(&self, goal: Goal) -> Result<()> {
        if let Goal::Durable(through) = goal {
            self.wanted_durable.fetch_max(through, Ordering::AcqRel);
        }
        loop {
            if self.is_reached(goal) {
                return Ok(());
            }
            let waiter = {
                let mut queue = self.queue.lock().expect("no waiter panicked");
                if let Some(poison) = self.poison() {
                    return Err(poison.clone());
                }
                if self.is_reached(goal) {
                    return Ok(());
                }
                if queue.leading {
                    let waiter = Arc::new(Waiter::this_thread(goal));
                    queue.waiting.push_back(Arc::clone(&waiter));
                    Some(waiter)
                } else {
                    queue.leading = true;
                    None
                }
            };
            if waiter.is_some_and(|waiter| waiter.wait(self.pace.patience()) == Told::Done) {
                continue;
            }
            self.lead();
        }
    }

    /// Registers a task to be woken when `goal` is reached; `true` if it is reached already, or
    /// never will be. The caller sees to it that somebody leads.
    pub(crate) fn wake_at(&self, goal: Goal, waker: &Waker) -> bool {
        let mut queue = self.queue.lock().expect("no waiter panicked");
        if self.is_reached(goal) || self.poison().is_some() {
            return true;
        }
        queue.waiting.push_back(Arc::new(Waiter::task(goal, waker)));
        false
    }

    pub(crate) fn is_reached(&self, goal: Goal) -> bool {
        match goal {
            Goal::Visible(through) => self.visible() >= through,
            Goal::Durable(through) => self.durable() >= through,
            Goal::Written(through) => self.written.load(Ordering::Acquire) >= through,
        }
    }

    /// Has this thread lead, unless somebody does already; says whether it does.
    pub(super) fn take_lead(&self) -> bool {
        let mut queue = self.queue.lock().expect("no waiter panicked");
        let is_free = !queue.leading && self.poison().is_none();
        queue.leading |= is_free;
        is_free
    }

    /// Wakes everybody whose goal is reached.
    pub(super) fn wake_reached(&self) {
        let mut done = Vec::new();
        {
            let mut queue = self.queue.lock().expect("no waiter panicked");
            queue.waiting.retain(|waiter| {
                let is_reached = self.is_reached(waiter.goal);
                if is_reached {
                    done.push(Arc::clone(waiter));
                }
                !is_reached
            });
        }
        for waiter in done {
            waiter.tell(Told::Done);
        }
    }

    /// Wakes everybody: nothing is reached any more.
    pub(super) fn wake_all(&self) {
        let waiting: Vec<_> = {
            let mut queue = self.queue.lock().expect("no waiter panicked");
            queue.waiting.drain(..).collect()
        };
        for waiter in waiting {
            waiter.tell(Told::Done);
        }
    }

    /// Ends this thread's lead: the first who still waits leads next, the others are woken after it.
    pub(super) fn hand_over(&self) {
        let mut done = Vec::new();
        {
            let mut queue = self.queue.lock().expect("no waiter panicked");
            let poisoned = self.poison().is_some();
            let mut next = None;
            for waiter in std::mem::take(&mut queue.waiting) {
                if poisoned || self.is_reached(waiter.goal) {
                    done.push(waiter);
                } else if next.is_none() && waiter.can_lead() {
                    next = Some(waiter);
                } else {
                    queue.waiting.push_back(waiter);
                }
            }
            queue.leading = next.is_some();
            match next {
                Some(next) => next.tell(Told::Lead),
                // Tasks cannot lead.
                None if !queue.waiting.is_empty() => self.log_thread.ring(),
                None => {}
            }
        }
        for waiter in done {
            waiter.tell(Told::Done);
        }
    }

    /// How many wait.
    pub(crate) fn waiting(&self) -> usize {
        self.queue.lock().expect("no waiter panicked").waiting.len()
    }

    /// Whether commits are to become visible and nobody leads, so that the log's own thread has to.
    pub(crate) fn needs_leader(&self) -> bool {
        let queue = self.queue.lock().expect("no waiter panicked");
        !queue.leading && (!queue.waiting.is_empty() || self.visible() < self.appended())
    }
}
