//! A merge that several threads carry out, a slice of its keys each.
//!
//! ```text
//!   the owner      offer ── slice 0 ── slice 2 ──── wait ── join ── edit
//!   who has time         └── slice 1 ── slice 3 ────┘
//! ```
//!
//! The owner is the thread that entered the plan. It takes slices until none is left, so that it needs
//! nobody, and waits for those who took others. With [`Spawn::Manual`](crate::Spawn) it is alone.

mod prepare;

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use lsm_compaction::{MergeError, MergeStats, Plan, Retention, Slice, merge};
use lsm_entry::MergingCursor;

use crate::error::{Error, Result};
use crate::outputs::{OutputSpec, Outputs, WrittenTables};
use crate::run_cursor::RunCursor;
use crate::shared::Shared;
use crate::source::Source;
use crate::view::Tree;

/// Merges that have slices left for whoever has time.
#[derive(Debug, Default)]
pub(crate) struct OfferedJobs(Mutex<Vec<Arc<MergeJob>>>);

/// One merge: what is read, what is kept, and how far it is.
pub(crate) struct MergeJob {
    plan: Plan,
    inputs: Arc<Tree>,
    retention: Retention,
    spec: OutputSpec,
    /// Whether tombstones of the inputs stay as old as they were.
    hands_on_age: bool,
    slices: Vec<Slice>,
    progress: Mutex<Progress>,
    /// Somebody has stopped working on it.
    left: Condvar,
}

/// What a slice has become.
type Part = (MergeStats, WrittenTables);

#[derive(Default)]
struct Progress {
    /// Slices that somebody has taken.
    taken: usize,
    at_work: usize,
    /// By slice.
    parts: Vec<Option<Part>>,
    /// Why it cannot succeed any more.
    error: Option<Error>,
}

/// Who holds it works on a slice. Dropped without a part to show, it fails the job.
struct AtWork<'a> {
    job: &'a MergeJob,
    slice: usize,
    part: Option<Part>,
}

impl OfferedJobs {
    fn offer(&self, job: &Arc<MergeJob>) {
        self.0.lock().expect("no holder panicked").push(Arc::clone(job));
    }

    fn withdraw(&self, job: &Arc<MergeJob>) {
        self.0.lock().expect("no holder panicked").retain(|offered| !Arc::ptr_eq(offered, job));
    }

    fn first_unfinished(&self) -> Option<Arc<MergeJob>> {
        let jobs = self.0.lock().expect("no holder panicked");
        jobs.iter().find(|job| job.has_slices_left()).cloned()
    }
}

impl MergeJob {
    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().expect("no holder panicked")
    }

    fn has_slices_left(&self) -> bool {
        let progress = self.progress();
        progress.error.is_none() && progress.taken < self.slices.len()
    }

    fn has_failed(&self) -> bool {
        self.progress().error.is_some()
    }

    /// Takes the next slice; `None` if there is none left, or no use in it.
    fn take(&self) -> Option<AtWork<'_>> {
        let mut progress = self.progress();
        if progress.error.is_some() || progress.taken == self.slices.len() {
            return None;
        }
        let slice = progress.taken;
        progress.taken += 1;
        progress.at_work += 1;
        Some(AtWork { job: self, slice, part: None })
    }

    /// Waits until nobody works on it, and puts together what has been written.
    fn join(&self) -> Result<Part> {
        let progress = self.progress();
        let still_running = |progress: &mut Progress| progress.at_work > 0;
        let waited = self.left.wait_while(progress, still_running);
        let mut progress = waited.expect("no holder panicked");
        // Taken out before anything else: if it failed, what was written is removed here and now.
        let parts = std::mem::take(&mut progress.parts);
        // It stays, so that nobody takes another slice.
        if let Some(error) = &progress.error {
            return Err(error.clone());
        }
        let joined = parts.into_iter().flatten().reduce(|(mut stats, mut written), behind| {
            stats += behind.0;
            written.append(behind.1);
            (stats, written)
        });
        Ok(joined.expect("there is a slice, and none has failed"))
    }
}

impl AtWork<'_> {
    fn fail(&self, error: Error) {
        // The first is the reason; the others stopped because of it.
        self.job.progress().error.get_or_insert(error);
    }
}

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        let mut progress = self.job.progress();
        progress.at_work -= 1;
        match self.part.take() {
            Some(part) => progress.parts[self.slice] = Some(part),
            None => drop(progress.error.get_or_insert_with(Error::closed)),
        }
        self.job.left.notify_all();
    }
}

impl fmt::Debug for MergeJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MergeJob")
            .field("reason", &self.plan.reason)
            .field("slices", &self.slices)
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// Carries a merge out, together with threads that have nothing else to do.
    pub(crate) fn merge_together(&self, job: MergeJob) -> Result<WrittenTables> {
        let job = Arc::new(job);
        let helpers = job.slices.len() - 1;
        if helpers > 0 {
            self.compaction.offered.offer(&job);
            (0..helpers).for_each(|_| self.background.wake_compaction());
        }
        while self.merge_next_slice(&job) {}
        let joined = job.join();
        self.compaction.offered.withdraw(&job);
        let (stats, written) = joined?;
        self.stats.note_compaction(&job.plan, &stats, &written);
        Ok(written)
    }

    /// Helps with merges of others as long as there is something to do.
    pub(crate) fn help_merges(&self) {
        while let Some(job) = self.compaction.offered.first_unfinished() {
            self.merge_next_slice(&job);
        }
    }

    /// Merges a slice that nobody has taken; `false` if there is none.
    fn merge_next_slice(&self, job: &MergeJob) -> bool {
        let Some(mut at_work) = job.take() else { return false };
        match self.merge_slice(job, &job.slices[at_work.slice]) {
            Ok(part) => at_work.part = Some(part),
            Err(error) => at_work.fail(error),
        }
        true
    }

    fn merge_slice(&self, job: &MergeJob, slice: &Slice) -> Result<Part> {
        let inputs = &job.inputs;
        let sources = (0..inputs.runs.len())
            .map(|run| Source::Run(RunCursor::new(Arc::clone(inputs), run).for_merge()))
            .collect();
        let mut cursor = MergingCursor::new(sources);
        let mut outputs = Outputs::new(self.workshop(), job.spec.clone());
        if job.hands_on_age {
            outputs.hand_on_age(job.plan.tables());
        }
        let should_stop =
            || self.background.is_stopping() || self.commit.poison().is_some() || job.has_failed();
        let mut retention = job.retention.clone();
        let merged =
            merge(&mut cursor, &job.plan, slice, &mut retention, &mut outputs, &should_stop);
        let stats = merged.map_err(|error| match error {
            MergeError::Read(error) | MergeError::Write(error) => Error::from(error),
            MergeError::Stopped => Error::closed(),
        })?;
        Ok((stats, outputs.finish()?))
    }
}
