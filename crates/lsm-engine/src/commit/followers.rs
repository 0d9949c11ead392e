//! Those who wait for the next change that is durable: threads, and tasks.
//!
//! Nobody who writes waits for them: a round that has synced asks whether there are any, and wakes them.

use std::sync::atomic::{AtomicUsize, Ordering, fence};
use std::sync::{Condvar, Mutex};
use std::task::Waker;
use std::time::{Duration, Instant};

/// How long a thread sleeps at once.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

#[derive(Debug, Default)]
pub(crate) struct Followers {
    waiting: AtomicUsize,
    tasks: Mutex<Vec<Waker>>,
    called: Condvar,
}

impl Followers {
    /// Wakes everybody who waits. One load, where nobody does.
    pub(crate) fn call(&self) {
        // Order: what happened is there before it is asked who waits for it. A follower says that it
        // waits before it looks what is there, so one of the two sees the other.
        fence(Ordering::SeqCst);
        if self.waiting.load(Ordering::Relaxed) == 0 {
            return;
        }
        let tasks = {
            let mut tasks = self.tasks.lock().expect("no waiter panicked");
            self.waiting.fetch_sub(tasks.len(), Ordering::Relaxed);
            std::mem::take(&mut *tasks)
        };
        self.called.notify_all();
        // Under no lock: a task may run on right here.
        tasks.into_iter().for_each(Waker::wake);
    }

    /// Waits until `is_there`, at most until `deadline`; whether it is.
    pub(crate) fn wait(&self, deadline: Instant, is_there: impl Fn() -> bool) -> bool {
        let mut tasks = self.tasks.lock().expect("no waiter panicked");
        self.announce();
        let found = loop {
            if is_there() {
                break true;
            }
            let patience = deadline.saturating_duration_since(Instant::now()).min(LOOK_AGAIN);
            if patience.is_zero() {
                break false;
            }
            let waited = self.called.wait_timeout(tasks, patience);
            tasks = waited.expect("no waiter panicked").0;
        };
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        found
    }

    /// Has a task woken at the next call; `false`: it `is_there` already, and perhaps nobody calls.
    pub(crate) fn wake_unless(&self, waker: &Waker, is_there: impl Fn() -> bool) -> bool {
        let mut tasks = self.tasks.lock().expect("no waiter panicked");
        // One that was polled for another reason waits already.
        if !tasks.iter().any(|task| task.will_wake(waker)) {
            tasks.push(waker.clone());
            self.announce();
        }
        !is_there()
    }

    fn announce(&self) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }
}
