//! The path of a close: it leaves a database that the next open has little to read of.
//!
//! 1. Stop background work; flush what is in memory. Where nothing was written at all, the files are
//!    still as the last close has left them (`begin.rs`), and that is all.
//! 2. Refuse writes, and make everything durable.
//! 3. Where much was written to the current segment of the log, go on in a fresh one: a log is read
//!    from its beginning, and what stands in it is in tables by now.
//! 4. End the log with a closing frame, durably.
//! 5. Say in the manifest where the log begins, and what time it is (`lease.rs`), and in `CURRENT` that
//!    the manifest is whole.
//! 6. Where a keyspace has a `tombstone_age_limit_ms`, remove the segments before that.
//!
//! Order: 2 before 4 before 5 before 6. After a close every bit of log and manifest counts.

use std::sync::atomic::Ordering;

use lsm_manifest::{Manifest, ManifestEdit};
use lsm_wal::PreparedSegment;

use crate::error::Result;
use crate::shared::Shared;

/// A manifest that is longer than this is begun anew when the database is closed.
const MANIFEST_KEPT_BYTES: u64 = 16 << 10;

/// The most that the next open should have to read of the log: 1 MiB takes it a millisecond.
const LOG_KEPT_BYTES: u64 = 1 << 20;

impl Shared {
    /// Closes once; whoever comes second waits for the first, and does nothing.
    pub(crate) fn close(&self) -> Result<()> {
        // Invariant: held until the log has its closing frame, behind which nothing may come.
        let mut lock = self.lock.lock().expect("no holder panicked");
        if self.closed.load(Ordering::Acquire) {
            return Ok(());
        }
        self.background.stop();
        let result = match self.commit.poison() {
            Some(poison) => Err(poison.clone()),
            None if self.is_read_only => Ok(()),
            None => self.shut(),
        };
        self.closed.store(true, Ordering::Release);
        // Order: a reader who keeps the time may be at it, until the directory is another's.
        drop(self.manifest.lock().expect("no holder panicked").take());
        self.commit.followers.call();
        drop(lock.take());
        drop(lock);
        // Last, and under no lock: listeners may still look at the database.
        self.events.close();
        result
    }

    /// Leaves the database so that the next open has nothing to recover.
    fn shut(&self) -> Result<()> {
        if self.is_closed_unbegun() {
            return Ok(());
        }
        self.begin()?;
        let flushed: Result<()> =
            self.live_keyspaces().iter().try_for_each(|core| self.flush_keyspace(core));
        let refuse = || self.closed.store(true, Ordering::Release);
        self.commit.close(refuse, || self.short_segment())?;
        let mut manifest = self.manifest.lock().expect("no holder panicked");
        if let Some(mut manifest) = manifest.take() {
            let edit = self.log_start_edit(&manifest);
            self.keep_last_time(&mut manifest, edit)?;
            // The next open reads the snapshot alone, not the edits that led to it.
            if manifest.bytes() > MANIFEST_KEPT_BYTES
                && let Err(error) = manifest.roll(self.new_file_number())
                && manifest.is_poisoned()
            {
                return Err(error.into());
            }
            manifest.close()?;
        }
        drop(manifest);
        self.part_with_closed_log();
        // What could not be flushed is in the log, and the next open flushes it.
        flushed
    }

    /// A segment for the closing frame alone, if the current one is long.
    fn short_segment(&self) -> Option<PreparedSegment> {
        let kept_bytes = LOG_KEPT_BYTES.min(self.options.log_segment_bytes / 2);
        let is_short = self.commit.lock_order().log().current_bytes() <= kept_bytes;
        // What was deleted does not stay behind in it, where that has a limit.
        let must_go = self.shortest_age_limit_ms().is_some() && self.segment_in_use().is_some();
        if is_short && !must_go || self.reserve.is_full() {
            return None;
        }
        // Best effort: without it the next open reads more.
        self.take_first_segment().ok()
    }

    /// What tells the manifest where the log begins that the next open reads, unless it says so already.
    pub(crate) fn log_start_edit(&self, manifest: &Manifest) -> Option<ManifestEdit> {
        let (_, start) = self.log_start(&mut self.commit.lock_order(), &[]);
        let start = start.filter(|start| start.number != manifest.state().log_number)?;
        Some(ManifestEdit {
            log_number: Some(start.number),
            log_first_seq_no: Some(start.first_seq_no),
            last_seq_no: Some(self.commit.durable()),
            ..ManifestEdit::default()
        })
    }
}
