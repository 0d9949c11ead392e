//! One who waits for the order of writes to come further: a thread that sleeps, or a task.

use std::task::Waker;
use std::time::Duration;

use lsm_entry::SeqNo;

use crate::sync::Instant;
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

/// Giving way takes longer where others want the processor; so often it may.
const SLOW_YIELD: Duration = Duration::from_micros(20);
const SLOW_MAX: u32 = 3;

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

    /// Waits until it is told something: awake for `patience`, as long as that costs nobody else his
    /// processor, then asleep.
    pub(crate) fn wait(&self, patience: Duration) -> Told {
        self.stay_awake(patience);
        loop {
            match self.state.load(Ordering::Acquire) {
                WAITING => thread::park(),
                DONE => return Told::Done,
                _ => return Told::Lead,
            }
        }
    }

    /// To be woken takes about as long as a fast disk takes for a sync.
    fn stay_awake(&self, patience: Duration) {
        let begun = Instant::now();
        let (mut last, mut slow) = (Duration::ZERO, 0);
        while self.state.load(Ordering::Acquire) == WAITING && last < patience && slow < SLOW_MAX {
            thread::yield_now();
            let now = begun.elapsed();
            slow += u32::from(now - last > SLOW_YIELD);
            last = now;
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn whoever_waits_is_told_awake_or_asleep() {
        for patience in [Duration::ZERO, Duration::from_micros(50), Duration::from_secs(60)] {
            for what in [Told::Done, Told::Lead] {
                let waiter = Arc::new(Waiter::this_thread(Goal::Visible(1)));
                let told = std::thread::spawn({
                    let waiter = Arc::clone(&waiter);
                    move || {
                        std::thread::sleep(Duration::from_millis(2));
                        waiter.tell(what);
                    }
                });
                assert_eq!(waiter.wait(patience), what, "{patience:?}");
                told.join().expect("did not panic");
            }
        }
    }
}
