//! Who was told that a value has expired is told the same ever after, and no reader waits for it for long.
//!
//! A reader is told that a value is over only once a time is *known* at or after its expiry, which is to
//! say that the manifest holds one. So it stays so whenever a crash comes, and wherever the clock is set.
//! For readers not to wait for that each time, the time is *leased*: the manifest says that they may have
//! been told of the next [`LEASE_MS`] as well.
//!
//! ```text
//!         told at once │           │ not over yet
//!   ───────────────────┼───────────┼──────────────┬───────►  time
//!                     now       an expiry       known, by the lease
//! ```
//!
//! Who finds something that has expired behind the lease's end writes the next lease, for all who come
//! meanwhile. The log's thread writes it ahead for as long as somebody goes by it; else it ends by itself.
//! A close takes it back. So only after a crash an open may find one that is under way. It waits for its
//! end, for no value is to expire early either: not where the clock is right.
//!
//! Why so: docs/decisions/0035-the-time-is-leased.md

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use lsm_manifest::{Manifest, ManifestEdit};

use crate::env::Env;
use crate::error::{ErrorKind, Result};
use crate::expiry::NEVER_MS;
use crate::shared::Shared;

/// How far ahead of the clock readers may be told what has expired. As long as values are found expired
/// all the time, so often the manifest is written, and an open waits for so long after a crash: longer
/// spares the disk a sync, shorter spares whoever opens, or refreshes a database opened read-only.
const LEASE_MS: u64 = 200;
/// What is left of a lease when the log's thread writes the next: a sync is mostly done in less.
const RENEW_MS: u64 = 50;

/// Up to when readers may be told what has expired.
#[derive(Debug, Default)]
pub(crate) struct Lease {
    /// What expired by then they may be told: the manifest holds this time, or leases it.
    known_ms: AtomicU64,
    /// The latest expiry that a reader found to be over and not known to be.
    noticed_ms: AtomicU64,
    /// Whether a reader was told of something that no time before the last lease would have covered.
    is_used: AtomicBool,
}

impl Lease {
    /// Of a database opened for reading only: it goes by its own clock, and keeps nothing.
    pub(crate) fn for_ever() -> Self {
        Self { known_ms: NEVER_MS.into(), ..Self::default() }
    }

    /// The manifest holds this time, or leases it.
    pub(crate) fn note_known(&self, time_ms: u64) {
        self.known_ms.fetch_max(time_ms, Ordering::AcqRel);
    }

    /// A reader's time, or what is known of it: what has expired by then may be passed over unasked.
    pub(crate) fn known_by(&self, time_ms: Option<u64>) -> Option<u64> {
        time_ms.map(|time_ms| time_ms.min(self.known_ms.load(Ordering::Acquire)))
    }

    fn is_known(&self, time_ms: u64) -> bool {
        time_ms <= self.known_ms.load(Ordering::Acquire)
    }

    /// Whether a reader found something expired and could not make that known.
    pub(crate) fn is_behind(&self) -> bool {
        !self.is_known(self.noticed_ms.load(Ordering::Acquire))
    }

    /// When the next lease is due: never, if nobody has gone by this one.
    fn renewal_ms(&self) -> u64 {
        match self.is_used.load(Ordering::Relaxed) {
            true => self.known_ms.load(Ordering::Acquire).saturating_sub(RENEW_MS),
            false => NEVER_MS,
        }
    }

    /// Lets nobody be told from here on: whoever finds something expired waits for the manifest.
    fn end(&self) {
        self.known_ms.store(0, Ordering::Release);
    }
}

impl Shared {
    /// Whether a reader may be told that what expired at `expires_at_ms`, which is over, is gone: once
    /// that is known.
    pub(crate) fn tell(&self, expires_at_ms: u64) -> bool {
        let known_ms = self.expiry.lease.known_ms.load(Ordering::Acquire);
        if expires_at_ms > known_ms {
            return self.make_known(expires_at_ms);
        }
        if expires_at_ms > known_ms.saturating_sub(LEASE_MS)
            && !self.expiry.lease.is_used.load(Ordering::Relaxed)
        {
            self.expiry.lease.is_used.store(true, Ordering::Relaxed);
            // For it to know when to renew the lease.
            self.background.wake_log();
        }
        true
    }

    /// Makes known that what expired at `expires_at_ms` is over. A reader is told so as well where
    /// that fails, for so it is; but not behind a close, which has kept the last time that there is.
    #[cold]
    #[inline(never)]
    fn make_known(&self, expires_at_ms: u64) -> bool {
        self.expiry.lease.noticed_ms.fetch_max(expires_at_ms, Ordering::AcqRel);
        let made_known = self.lease_time_unless(|lease| lease.is_known(expires_at_ms));
        made_known.map_or_else(|error| error.kind() != ErrorKind::Closed, |_| true)
    }

    /// Writes a lease into the manifest if one is due, or if a reader could not; `false` if there was no
    /// need.
    pub(crate) fn keep_time(&self) -> Result<bool> {
        let is_kept =
            |lease: &Lease| !lease.is_behind() && self.database_time_ms() < lease.renewal_ms();
        if is_kept(&self.expiry.lease) { Ok(false) } else { self.lease_time_unless(is_kept) }
    }

    /// Writes a lease, unless somebody else has done so meanwhile: all who come at once share one.
    fn lease_time_unless(&self, is_done: impl FnOnce(&Lease) -> bool) -> Result<bool> {
        self.check_not_poisoned()?;
        let mut manifest = self.lock_manifest()?;
        if is_done(&self.expiry.lease) {
            return Ok(false);
        }
        self.check_not_poisoned()?;
        let leased_until_ms = self.database_time_ms().saturating_add(LEASE_MS);
        self.append_edit_leasing(&mut manifest, ManifestEdit::default(), leased_until_ms)?;
        self.expiry.lease.is_used.store(false, Ordering::Relaxed);
        Ok(true)
    }

    /// For how long the log's thread may rest for all that the lease needs.
    pub(crate) fn until_renewal(&self) -> Duration {
        match self.expiry.lease.renewal_ms() {
            NEVER_MS => Duration::MAX,
            // Nothing is kept any more.
            _ if self.commit.poison().is_some() => Duration::MAX,
            due_ms => Duration::from_millis(due_ms.saturating_sub(self.database_time_ms()).max(1)),
        }
    }

    /// The last edit of this life: `edit`, if there is anything to say beside the time up to which readers
    /// were told what has expired.
    pub(crate) fn keep_last_time(
        &self,
        manifest: &mut Manifest,
        edit: Option<ManifestEdit>,
    ) -> Result<()> {
        // Order: nobody is told by the lease any more before the last time is asked for. Who asked for
        // theirs before that reads at a time that is kept here; who asks later finds nothing known, and
        // waits for the manifest.
        self.expiry.lease.end();
        let last_ms = self.database_time_ms();
        let (kept_ms, leased_until_ms) =
            (manifest.state().database_time_ms, manifest.state().leased_until_ms);
        let is_due = leased_until_ms > last_ms || self.expiry.is_used() && last_ms > kept_ms;
        let kept = match edit {
            None if !is_due => Ok(()),
            edit => self.append_edit_leasing(manifest, edit.unwrap_or_default(), 0),
        };
        self.expiry.lease.note_known(last_ms);
        kept
    }
}

/// What time it is for whoever opens a database in which readers may have been told of everything up to
/// `leased_until_ms`; but for that it would be what the clock shows, or `told_ms` if that is later.
///
/// A clock that is just behind that time may be right, or set back a little. So it is waited for: then the
/// time is right either way. One that is further behind was set back, and one that does not move is waited
/// for no longer than a lease takes.
pub(crate) fn time_behind_lease(env: &Env, told_ms: u64, leased_until_ms: u64) -> u64 {
    let mut patience_ms = LEASE_MS;
    loop {
        let clock_ms = env.now_ms();
        let behind_ms = leased_until_ms.saturating_sub(clock_ms.max(told_ms));
        if behind_ms == 0 || patience_ms == 0 || leased_until_ms - clock_ms > LEASE_MS {
            return clock_ms.max(told_ms).max(leased_until_ms);
        }
        let wait_ms = behind_ms.min(patience_ms);
        (env.wait)(Duration::from_millis(wait_ms));
        patience_ms -= wait_ms;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use lsm_io::{SimFs, once};

    use super::*;
    use crate::{Db, Options, Reads, Step};

    #[test]
    fn the_logs_thread_rests_until_a_lease_that_somebody_goes_by_is_nearly_over() {
        let fs = SimFs::new(0);
        let clock = Arc::new(AtomicU64::new(1000));
        let told = Arc::clone(&clock);
        let clocked = Arc::new(move || told.load(Ordering::Relaxed));
        let env = Env { clock: clocked, ..Env::simulated(fs.shared()) };
        let db = Db::open_with("db", Options { env, ..Options::default() }).expect("opens");
        db.put_ttl("a", "1", Duration::from_millis(1)).expect("puts");
        db.put_ttl("b", "1", Duration::from_millis(51)).expect("puts");
        assert_eq!(db.shared().until_renewal(), Duration::MAX);
        clock.store(1001, Ordering::Relaxed);
        assert_eq!(db.get("a").expect("reads"), None);
        assert_eq!(db.shared().until_renewal(), Duration::MAX, "nobody goes by it yet");
        clock.store(1051, Ordering::Relaxed);
        assert_eq!(db.get("b").expect("reads"), None);
        assert_eq!(db.shared().until_renewal(), Duration::from_millis(LEASE_MS - RENEW_MS - 50));
        clock.store(1001 + LEASE_MS, Ordering::Relaxed);
        fs.fail(once().sync_of("*.manifest"));
        db.step(Step::Log).expect_err("cannot renew it");
        assert_eq!(db.shared().until_renewal(), Duration::MAX, "nothing is kept any more");
    }
}
