//! One who waits for the order of writes to come further: a thread that sleeps, or a task.

use std::task::Waker;

use lsm_entry::SeqNo;

use crate::sync::atomic::{AtomicU8, Ordering};
use crate::sync::thread::{self, Thread};

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Goal {
    /// The commit is seen by reads (and so as durable as it asked to be).
    Visible(SeqNo),
    /// The order is on the disk up to here.
    Durable(SeqNo),
    /// The order is with the operating system up to here.
    Written(SeqNo),
}

/// What one who waits is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// There is nothing to wait for any more: the goal is reached, or never will be.
    Done,
    /// Lead the next round.
    Lead,
}

#[derive(Debug)]
pub(crate) struct Waiter {
    pub(crate) goal: Goal,
    /// [`WAITING`] until it is told something.
    state: AtomicU8,
    wake: Wake,
}

#[derive(Debug)]
enum Wake {
    Thread(Thread),
    Task(Waker),
}

const WAITING: u8 = 0;
const DONE: u8 = 1;
const LEAD: u8 = 2;

impl Waiter {
    /// This thread, which is going to [`wait`](Self::wait).
    pub(crate) fn this_thread(goal: Goal) -> Self {
        Self::new(goal, Wake::Thread(thread::current()))
    }

    pub(crate) fn task(goal: Goal, waker: &Waker) -> Self {
        Self::new(goal, Wake::Task(waker.clone()))
    }

    fn new(goal: Goal, wake: Wake) -> Self {
        Self { goal, state: AtomicU8::new(WAITING), wake }
    }

    /// Only a thread can lead.
    pub(crate) fn can_lead(&self) -> bool {
        matches!(self.wake, Wake::Thread(_))
    }

    pub(crate) fn tell(&self, what: Told) {
        let state = match what {
            Told::Done => DONE,
            Told::Lead => LEAD,
        };
        self.state.store(state, Ordering::Release);
        match &self.wake {
            Wake::Thread(thread) => thread.unpark(),
            Wake::Task(waker) => waker.wake_by_ref(),
        }
    }

    /// Sleeps until it is told something.
    pub(crate) fn wait(&self) -> Told {
        loop {
            match self.state.load(Ordering::Acquire) {
                WAITING => thread::park(),
                DONE => return Told::Done,
                _ => return Told::Lead,
            }
        }
    }
}
