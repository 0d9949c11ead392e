//! Whether writing pauses: what saves space alone is worth its merging then. While tables keep coming,
//! the next of them would have the same merged again.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use lsm_entry::SeqNo;

/// Nothing was written for so long: writing pauses.
const PAUSE_MS: u64 = 1000;

/// How long nothing was written, by database time, and who waits for all work to be done.
#[derive(Debug, Default)]
pub(crate) struct Rest {
    newest: AtomicU64,
    since_ms: AtomicU64,
    is_told: AtomicBool,
    settling: AtomicUsize,
}

/// Somebody who waits for all work to be done, until dropped.
#[derive(Debug)]
pub(crate) struct Settling<'a>(&'a Rest);

impl Rest {
    /// Takes note of the newest number that was written by now. Whether a pause begins: once for each.
    pub(crate) fn look(&self, newest: SeqNo, now_ms: u64) -> bool {
        if self.newest.swap(newest, Ordering::Relaxed) != newest {
            self.since_ms.store(now_ms, Ordering::Relaxed);
            self.is_told.store(false, Ordering::Relaxed);
        }
        self.is_pause(newest, now_ms) && !self.is_told.swap(true, Ordering::Relaxed)
    }

    /// Whether writing pauses, or somebody waits for all that is to be done in a pause.
    pub(crate) fn has_come(&self, newest: SeqNo, now_ms: u64) -> bool {
        self.settling.load(Ordering::Relaxed) > 0 || self.is_pause(newest, now_ms)
    }

    /// Whether writing pauses.
    pub(crate) fn is_pause(&self, newest: SeqNo, now_ms: u64) -> bool {
        self.newest.load(Ordering::Relaxed) == newest
            && now_ms.saturating_sub(self.since_ms.load(Ordering::Relaxed)) >= PAUSE_MS
    }

    /// From now on somebody waits.
    pub(crate) fn settle(&self) -> Settling<'_> {
        self.settling.fetch_add(1, Ordering::Relaxed);
        Settling(self)
    }
}

impl Drop for Settling<'_> {
    fn drop(&mut self) {
        self.0.settling.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_begins_a_second_after_the_last_write_and_is_told_once() {
        let rest = Rest::default();
        assert!(!rest.look(7, 5_000));
        assert!(!rest.look(7, 5_999) && !rest.has_come(7, 5_999));
        assert!(rest.has_come(7, 6_000));
        assert!(rest.look(7, 6_000));
        assert!(!rest.look(7, 9_000), "told once");
        assert!(!rest.has_come(8, 9_000), "something was written since the last look");
        assert!(!rest.look(8, 9_000));
        assert!(rest.look(8, 10_000), "the next pause");
    }

    #[test]
    fn whoever_settles_waits_for_no_pause() {
        let rest = Rest::default();
        rest.look(1, 0);
        let (one, other) = (rest.settle(), rest.settle());
        drop(one);
        assert!(rest.has_come(2, 0));
        drop(other);
        assert!(!rest.has_come(2, 0));
    }
}
