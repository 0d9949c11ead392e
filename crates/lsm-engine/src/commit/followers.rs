//! Those who wait for the next change that is durable.
//!
//! Nobody who writes waits for them: a round that has synced asks whether there are any, and wakes them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

/// A call may be missed by somebody who is just about to wait; then it looks again after this.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

#[derive(Debug, Default)]
pub(crate) struct Followers {
    waiting: AtomicUsize,
    lock: Mutex<()>,
    called: Condvar,
}

impl Followers {
    /// Wakes everybody who waits. One load, where nobody does.
    pub(crate) fn call(&self) {
        if self.waiting.load(Ordering::Relaxed) > 0 {
            drop(self.lock.lock().expect("no waiter panicked"));
            self.called.notify_all();
        }
    }

    /// Waits until `is_there`, at most until `deadline`; whether it is.
    pub(crate) fn wait(&self, deadline: Instant, is_there: impl Fn() -> bool) -> bool {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let mut lock = self.lock.lock().expect("no waiter panicked");
        let found = loop {
            if is_there() {
                break true;
            }
            let patience = deadline.saturating_duration_since(Instant::now()).min(LOOK_AGAIN);
            if patience.is_zero() {
                break false;
            }
            let waited = self.called.wait_timeout(lock, patience);
            lock = waited.expect("no waiter panicked").0;
        };
        drop(lock);
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        found
    }
}
