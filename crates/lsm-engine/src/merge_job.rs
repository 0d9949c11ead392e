//! A merge that several threads carry out, a slice of its keys each.
//!
//! ```text
//!   the owner      offer ── slice 0 ── slice 2 ──── wait ── join ── edit
//!   who has time         └── slice 1 ── slice 3 ────┘
//! ```
//!
//! The owner is the thread that entered the plan. It takes slices until none is left, so that it needs
//! nobody, and waits for those who took others. With [`Spawn::Manual`](crate::Spawn) it is alone.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use lsm_compaction::{
    CompactionFilter, CompactionPolicy, MergeError, MergeStats, Plan, Retention, Sample, Slice,
    blobs_to_move, merge,
};
use lsm_entry::{Entry, Fragments, MergingCursor};
use lsm_manifest::{FileKind, parse_file_name};
use lsm_sstable::Origin;

use crate::age_limit::AgeLimit;
use crate::error::{Error, Result};
use crate::keyspace::KeyspaceCore;
use crate::limiter::Priority;
use crate::outputs::{Moving, OutputSpec, Outputs, WrittenTables};
use crate::run_cursor::RunCursor;
use crate::shared::Shared;
use crate::source::Source;
use crate::view::{LiveRun, Tree};

/// Keys that a table is sampled at: slices differ by less than so great a part of their tables.
const SAMPLES_PER_TABLE: usize = 32;

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
    /// Merges a plan's inputs, together with threads that have nothing else to do.
    pub(crate) fn merge_inputs(
        &self,
        core: &KeyspaceCore,
        plan: &Plan,
        tree: &Tree,
        filter: Option<Arc<dyn CompactionFilter>>,
    ) -> Result<WrittenTables> {
        let job = Arc::new(self.merge_job(core, plan, tree, filter)?);
        let helpers = job.slices.len() - 1;
        if helpers > 0 {
            self.compaction.offered.offer(&job);
            (0..helpers).for_each(|_| self.background.wake_compaction());
        }
        while self.merge_next_slice(&job) {}
        let joined = job.join();
        self.compaction.offered.withdraw(&job);
        let (stats, written) = joined?;
        self.stats.note_compaction(plan, &stats, &written);
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
            .map(|run| Source::Run(RunCursor::new(Arc::clone(inputs), run)))
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

    fn merge_job(
        &self,
        core: &KeyspaceCore,
        plan: &Plan,
        tree: &Tree,
        filter: Option<Arc<dyn CompactionFilter>>,
    ) -> Result<MergeJob> {
        let options = core.options();
        let inputs = Arc::new(input_tree(plan, tree)?);
        let written_by_ms =
            AgeLimit::of(&options, &tree.version).blobs_written_by(self.database_time_ms());
        let spec = OutputSpec {
            keyspace_id: core.id,
            keyspace_name: core.name.clone(),
            options: Arc::clone(&options),
            level: plan.output.level,
            origin: Origin::Compaction,
            made_from: plan.tables().map(|table| table.number).collect(),
            ancestors: self.ancestors(&inputs)?,
            priority: Priority::Compaction,
            moving: Some(Moving {
                files: tree.blobs.clone(),
                numbers: blobs_to_move(&tree.version, written_by_ms),
            }),
        };
        let files = tree.blobs.clone();
        // Damage is told to whoever reads the key; a merge leaves what it cannot read as it is.
        let fetch = move |entry: &Entry<'_>| Some(files.load(entry.blob()?).ok()?.to_vec());
        let times = self.snapshots.read_times(self.database_time_ms());
        let retention = Retention::at(times)
            .with_range_deletes(range_deletes(&inputs)?)
            .folding(core.operator())
            .filtering(filter)
            .fetching(Arc::new(fetch));
        // The FIFO policy goes by the time when a table was written, and merges nothing for its tombstones.
        let is_fifo = matches!(options.compaction, CompactionPolicy::Fifo(_));
        let slices = self.slices(plan, &inputs)?;
        let parts = slices.iter().map(|_| None).collect();
        Ok(MergeJob {
            plan: plan.clone(),
            inputs,
            retention,
            spec,
            hands_on_age: options.tombstone_age_limit_ms.is_some() && !is_fifo,
            slices,
            progress: Mutex::new(Progress { parts, ..Progress::default() }),
            left: Condvar::new(),
        })
    }

    /// As many slices as there are threads that merge, but none that would not fill a table.
    fn slices(&self, plan: &Plan, inputs: &Tree) -> Result<Vec<Slice>> {
        let tables = plan.input_bytes() / plan.output_table_bytes.max(1);
        let count = self.options.background_threads.min(tables.try_into().unwrap_or(usize::MAX));
        let mut samples = Vec::new();
        if count > 1 {
            for live in inputs.tables() {
                let table = live.table()?;
                let blocks = table.blocks().len();
                let stride = blocks.div_ceil(SAMPLES_PER_TABLE).max(1);
                let bytes = live.record().bytes * stride as u64 / blocks.max(1) as u64;
                let sampled = table.blocks().skip(stride - 1).step_by(stride);
                samples.extend(sampled.map(|block| Sample { key: block.last_key.to_vec(), bytes }));
            }
        }
        Ok(Slice::cut(samples, count))
    }

    /// Files that the inputs were made of, if they are still there because some reader holds them. By
    /// induction, every one of a table's sources that can be met beside it is named in it.
    fn ancestors(&self, inputs: &Tree) -> Result<Vec<u64>> {
        let mut ancestors = BTreeSet::new();
        for input in inputs.tables() {
            ancestors.extend(input.table()?.properties().info.sources());
        }
        self.compaction.add_dropped(&mut ancestors);
        if ancestors.is_empty() {
            return Ok(Vec::new());
        }
        let listing = self.fs.list(&self.dir)?;
        let there = listing.iter().map(|entry| parse_file_name(&entry.name));
        let there: BTreeSet<u64> =
            there.filter(|(kind, _)| *kind == FileKind::Table).map(|(_, number)| number).collect();
        self.compaction.forget_dropped_but(&there);
        Ok(ancestors.intersection(&there).copied().collect())
    }
}

/// The range deletes of all tables of a tree, as one.
fn range_deletes(tree: &Tree) -> Result<Fragments> {
    let mut joined = Fragments::default();
    for live in tree.tables() {
        if let Some(fragments) = live.range_deletes()? {
            fragments.range_deletes().into_iter().for_each(|range| joined.insert(range));
        }
    }
    Ok(joined)
}

/// A tree of just the plan's inputs, sharing the open tables of the one it was made from.
fn input_tree(plan: &Plan, tree: &Tree) -> Result<Tree> {
    let mut runs = Vec::with_capacity(plan.inputs.len());
    for input in &plan.inputs {
        let mut tables = Vec::with_capacity(input.tables.len());
        for record in &input.tables {
            let table = tree.table(record.number).ok_or_else(|| {
                Error::corrupt(format!("plan names table {} which is not live", record.number))
            })?;
            tables.push(Arc::clone(table));
        }
        runs.push(LiveRun::new(input.level, tables));
    }
    Ok(Tree { version: Arc::clone(&tree.version), runs, blobs: tree.blobs.clone() })
}
