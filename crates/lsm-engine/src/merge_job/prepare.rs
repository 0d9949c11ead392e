//! Before a merge: what it reads, what it keeps and for whom, what its tables say of themselves, and
//! where it is cut into slices.

use std::collections::BTreeSet;
use std::sync::{Arc, Condvar, Mutex};

use lsm_compaction::{
    CompactionFilter, CompactionPolicy, Plan, Retention, Sample, Slice, blobs_to_move,
};
use lsm_entry::{Entry, Fragments};
use lsm_manifest::{FileKind, parse_file_name};
use lsm_sstable::Origin;

use super::{MergeJob, Progress};
use crate::age_limit::AgeLimit;
use crate::error::{Error, Result};
use crate::keyspace::KeyspaceCore;
use crate::limiter::Priority;
use crate::outputs::{Moving, OutputSpec};
use crate::shared::Shared;
use crate::view::{LiveRun, Tree};

/// Keys that a table is sampled at: slices differ by less than so great a part of their tables.
const SAMPLES_PER_TABLE: usize = 32;

impl Shared {
    /// What a merge of the plan's inputs in `tree` comes to. From here on it keeps what the snapshots
    /// there are now see.
    pub(crate) fn prepare_merge(
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
            past_cache: !core.is_read(),
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
