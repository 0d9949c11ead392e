//! How long a leader waits for company before it syncs.

use std::time::Duration;

use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Instant, thread};

/// Whoever has not come after this long does something else.
const GATHER_MAX: Duration = Duration::from_millis(1);

/// Whoever would have to stay awake for longer sleeps at once.
const AWAKE_MAX: Duration = Duration::from_micros(600);

/// How large groups are, and how long their syncs take.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// Commits that wait for a sync, and that no round has taken yet.
    arrived: AtomicU64,
    /// How many the last round has taken.
    last_group: AtomicU64,
    /// How long a sync takes, smoothed.
    sync_nanos: AtomicU64,
}

impl Pace {
    /// One more commit waits for a sync.
    pub(crate) fn arrive(&self) {
        self.arrived.fetch_add(1, Ordering::Relaxed);
    }

    /// Gives those whom the last round has woken the time to join this one, up to half a sync: two
    /// syncs for half a group each cost more than one for the whole, and waiting for it. A single
    /// writer, whose group is himself, never waits.
    pub(crate) fn gather(&self) {
        let expected = self.last_group.load(Ordering::Relaxed);
        if expected <= 1 {
            return;
        }
        let half_a_sync = Duration::from_nanos(self.sync_nanos.load(Ordering::Relaxed) / 2);
        let patience = half_a_sync.min(GATHER_MAX);
        let begun = Instant::now();
        while self.arrived.load(Ordering::Relaxed) < expected && begun.elapsed() < patience {
            thread::yield_now();
        }
    }

    /// How long it is worth to wait awake for a round: two syncs of a disk on which that is not long.
    pub(crate) fn patience(&self) -> Duration {
        let two_syncs = Duration::from_nanos(self.sync_nanos.load(Ordering::Relaxed) * 2);
        if two_syncs <= AWAKE_MAX { two_syncs } else { Duration::ZERO }
    }

    /// A round takes whoever has arrived.
    pub(crate) fn take(&self) {
        self.last_group.store(self.arrived.swap(0, Ordering::Relaxed), Ordering::Relaxed);
    }

    pub(crate) fn note_sync(&self, took: Duration) {
        let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let known = self.sync_nanos.load(Ordering::Relaxed);
        self.sync_nanos.store(known - known / 8 + took / 8, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn nobody_stays_awake_for_a_slow_disk() {
        let pace = Pace::default();
        assert_eq!(pace.patience(), Duration::ZERO, "nothing is known yet");
        let learn = |sync: Duration| (0..100).for_each(|_| pace.note_sync(sync));
        learn(Duration::from_micros(100));
        let patience = pace.patience();
        assert!((150..=200).contains(&patience.as_micros()), "{patience:?}");
        learn(Duration::from_millis(5));
        assert_eq!(pace.patience(), Duration::ZERO);
    }
}
