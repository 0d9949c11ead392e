//! The path of a compaction.
//!
//! 1. Ask the policy for a plan that overlaps no running one.
//! 2. Copy the snapshot list: what the plan's inputs hold is visible already, so a snapshot taken
//!    later sees the newest version of each key, which is kept. The present is asked for with it: a
//!    snapshot taken later finds expired what has expired then.
//! 3. A move or a drop is an edit alone. A merge (`merge_job.rs`) reads the inputs in order and writes
//!    what retention keeps into tables, which are synced, then their directory.
//! 4. Append the edit to the manifest.
//! 5. Publish the view. The inputs' files go when the last view that holds them does.
//!
//! Order: 2 after 1, 3 before 4, 4 before 5.

use std::collections::{BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lsm_compaction::{
    Action, CompactionPolicy, Plan, PlanInput, RangePlan, RunningPlan, plan_blobs, plan_collapse,
    plan_covered, plan_expired, plan_ingest, plan_overdue_blobs, plan_range, plan_tombstones,
};
use lsm_entry::Fragments;
use lsm_manifest::ManifestEdit;
use lsm_version::{Place, TableRecord, VersionEdit};

use crate::age_limit::AgeLimit;
use crate::error::{Error, ErrorKind, Result};
use crate::events::Event;
use crate::keyspace::KeyspaceCore;
use crate::merge_job::OfferedJobs;
use crate::outputs::WrittenTables;
use crate::reads::Scan;
use crate::shared::Shared;
use crate::spans::span;
use crate::view::Tree;

/// What stands in the way of new plans, by keyspace.
#[derive(Debug, Default)]
pub(crate) struct CompactionState {
    running: Mutex<HashMap<u32, Plans>>,
    /// Numbers of tables that went without being read.
    dropped: Mutex<BTreeSet<u64>>,
    /// Merges that others may help with.
    pub(crate) offered: OfferedJobs,
}

#[derive(Debug, Default)]
struct Plans {
    next_id: u64,
    /// Those that are being carried out.
    running: Vec<(u64, RunningPlan)>,
    /// Those that met damage: trying again would not mend it, so their inputs are left alone until
    /// the database is opened anew, and the rest of the tree is kept in shape around them.
    hopeless: Vec<(RunningPlan, Error)>,
}

/// A plan that is entered as running, taken back when dropped.
pub(crate) struct PlanTicket<'a> {
    state: &'a CompactionState,
    keyspace: u32,
    id: u64,
}

impl Plans {
    fn in_the_way(&self) -> Vec<RunningPlan> {
        let running = self.running.iter().map(|(_, plan)| plan);
        running.chain(self.hopeless.iter().map(|(plan, _)| plan)).cloned().collect()
    }
}

impl CompactionState {
    /// Enters a plan as running in its keyspace.
    fn enter(&self, keyspace: u32, plans: &mut Plans, plan: RunningPlan) -> PlanTicket<'_> {
        let id = plans.next_id;
        plans.next_id += 1;
        plans.running.push((id, plan));
        PlanTicket { state: self, keyspace, id }
    }

    /// Forgets a keyspace that was dropped.
    pub(crate) fn forget(&self, keyspace: u32) {
        self.running.lock().expect("no planner panicked").remove(&keyspace);
    }

    /// How many plans are being carried out.
    pub(crate) fn running(&self) -> usize {
        let running = self.running.lock().expect("no planner panicked");
        running.values().map(|plans| plans.running.len()).sum()
    }

    /// Fails if nothing runs that a waiting plan could wait for.
    fn check_hope(&self, keyspace: u32) -> Result<()> {
        let running = self.running.lock().expect("no planner panicked");
        match running.get(&keyspace) {
            Some(Plans { running, hopeless, .. }) if running.is_empty() => {
                hopeless.first().map_or(Ok(()), |(_, error)| Err(error.clone()))
            }
            _ => Ok(()),
        }
    }
}

impl CompactionState {
    /// The plan's tables go. As long as a reader holds their files, every table written is to name
    /// them: a repair that finds such a file must not bring back what it holds, though the range
    /// delete that covered it be gone as well.
    fn note_dropped(&self, plan: &Plan) {
        let numbers = plan.tables().map(|table| table.number);
        self.dropped.lock().expect("no holder panicked").extend(numbers);
    }

    /// Adds the tables that went so.
    pub(crate) fn add_dropped(&self, numbers: &mut BTreeSet<u64>) {
        numbers.extend(&*self.dropped.lock().expect("no holder panicked"));
    }

    /// Of the tables that went so, only these are still there.
    pub(crate) fn forget_dropped_but(&self, there: &BTreeSet<u64>) {
        self.dropped.lock().expect("no holder panicked").retain(|number| there.contains(number));
    }
}

impl PlanTicket<'_> {
    /// Leaves the plan's inputs alone from now on.
    fn give_up(&self, plan: RunningPlan, error: &Error) {
        let mut running = self.state.running.lock().expect("no planner panicked");
        let plans = running.entry(self.keyspace).or_default();
        plans.hopeless.push((plan, error.clone()));
    }
}

impl Drop for PlanTicket<'_> {
    fn drop(&mut self) {
        let mut running = self.state.running.lock().expect("no planner panicked");
        if let Some(plans) = running.get_mut(&self.keyspace) {
            plans.running.retain(|(id, _)| *id != self.id);
        }
    }
}

impl Shared {
    /// Carries out one plan of whichever keyspace has one. Background work; `false` if none has. A
    /// keyspace that fails does not keep the others from their turn.
    pub(crate) fn compact_step(&self) -> Result<bool> {
        // First: whoever offers a merge waits for it, and a plan of one's own takes longer than a slice.
        self.help_merges();
        let mut first_error = None;
        for core in self.live_keyspaces() {
            match self.compact_keyspace_once(&core) {
                Ok(true) => return Ok(true),
                Ok(false) => {}
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        first_error.map_or(Ok(false), Err)
    }

    fn compact_keyspace_once(&self, core: &KeyspaceCore) -> Result<bool> {
        let options = core.options();
        let planned = self.enter_plan(core, |tree, running| {
            let version = &tree.version;
            let times = self.snapshots.read_times(self.database_time_ms());
            let (snapshots, now_ms) = (times.snapshots(), times.now_ms());
            // Before all others: they cost an edit, and what they drop need not be merged.
            let gone = plan_covered(version, running, snapshots, &covering(tree))
                .or_else(|| plan_expired(version, running, &times));
            if gone.is_some() {
                return gone;
            }
            let traffic = self.traffic(core, now_ms);
            let input = PlanInput { version, running, snapshots, now_ms, traffic };
            let policy = &options.compaction;
            let is_fifo = matches!(policy, CompactionPolicy::Fifo(_));
            if !is_fifo {
                let limit = AgeLimit::of(&options, version);
                let table_bytes = policy.table_bytes();
                let planned = plan_tombstones(&input, limit.tombstones_ms, table_bytes);
                let planned = planned.or_else(|| {
                    let written_by_ms = limit.blobs_written_by(now_ms);
                    plan_overdue_blobs(version, running, table_bytes, written_by_ms)
                });
                if planned.is_some() {
                    return planned;
                }
            }
            let planned = policy.as_policy().plan(&input);
            let planned = planned.or_else(|| {
                if !policy.keeps_one_run() {
                    return None;
                }
                let lookups = core.lookups.total();
                let since = lookups - core.lookups_merged.load(Ordering::Relaxed);
                let plan = plan_collapse(&input, since, policy.table_bytes())?;
                core.lookups_merged.store(lookups, Ordering::Relaxed);
                Some(plan)
            });
            // What a FIFO keyspace holds goes whole, in its time, and counts by its age.
            if planned.is_some() || is_fifo {
                return planned;
            }
            plan_blobs(version, running, policy.table_bytes())
        });
        let Some((plan, tree, ticket)) = planned else { return Ok(false) };
        self.begin()?;
        // Another thread may find a plan that does not overlap this one.
        self.background.wake_compaction();
        let result = self.carry_out(core, &plan, &tree);
        if let Err(error) = &result
            && error.kind() == ErrorKind::Corrupt
        {
            ticket.give_up(plan.as_running(), error);
            self.events.tell(|| Event::TablesSetAside {
                keyspace: core.name.clone(),
                tables: plan.tables().map(|table| table.number).collect(),
                error: error.clone(),
            });
        }
        drop(ticket);
        self.background.wake_compaction();
        result.map(|()| true)
    }

    /// Merges everything in the range down to the deepest level.
    pub(crate) fn compact_range(&self, core: &KeyspaceCore, scan: &Scan) -> Result<()> {
        self.check_writable()?;
        self.flush_keyspace(core)?;
        self.with_reserve(|| self.merge_range(core, scan))
    }

    fn merge_range(&self, core: &KeyspaceCore, scan: &Scan) -> Result<()> {
        let (lower, upper) = (scan.lower_key(), scan.upper_key());
        let table_bytes = core.options().compaction.table_bytes();
        loop {
            self.check_writable()?;
            let mut must_wait = false;
            let planned = self.enter_plan(core, |tree, running| {
                match plan_range(&tree.version, running, &lower, upper.as_deref(), table_bytes) {
                    RangePlan::Merge(plan) => Some(*plan),
                    RangePlan::Wait => {
                        must_wait = true;
                        None
                    }
                    RangePlan::Nothing => None,
                }
            });
            match planned {
                Some((plan, tree, _ticket)) => return self.carry_out(core, &plan, &tree),
                // A running plan is in the way: it ends by itself, unless it is hopeless.
                None if must_wait => {
                    self.compaction.check_hope(core.id)?;
                    std::thread::sleep(Duration::from_millis(1));
                }
                None => return Ok(()),
            }
        }
    }

    pub(crate) fn is_compacting_anything(&self) -> bool {
        self.live_keyspaces().iter().any(|core| self.is_compacting(core))
    }

    fn is_compacting(&self, core: &KeyspaceCore) -> bool {
        let running = self.compaction.running.lock().expect("no planner panicked");
        running.get(&core.id).is_some_and(|plans| !plans.running.is_empty())
    }

    /// Makes a plan and enters it as running, in one step, so that no two plans overlap.
    fn enter_plan(
        &self,
        core: &KeyspaceCore,
        make: impl FnOnce(&Tree, &[RunningPlan]) -> Option<Plan>,
    ) -> Option<(Plan, Arc<Tree>, PlanTicket<'_>)> {
        let mut running = self.compaction.running.lock().expect("no planner panicked");
        let plans = running.entry(core.id).or_default();
        // Order: the view is loaded under the lock, so it shows what every ended plan has done.
        let tree = Arc::clone(&core.view.load().tree);
        let plan = make(&tree, &plans.in_the_way())?;
        let ticket = self.compaction.enter(core.id, plans, plan.as_running());
        Some((plan, tree, ticket))
    }

    /// Finds places for ingested tables, and keeps plans away from there, and from them, for as long
    /// as the tickets live.
    pub(crate) fn enter_ingest(
        &self,
        core: &KeyspaceCore,
        tables: &[Arc<TableRecord>],
    ) -> (Vec<Place>, Vec<PlanTicket<'_>>) {
        let mut running = self.compaction.running.lock().expect("no planner panicked");
        let plans = running.entry(core.id).or_default();
        let version = Arc::clone(&core.view.load().tree.version);
        let policy = core.options().compaction.clone();
        let in_the_way = plans.in_the_way();
        let fresh = self.new_file_number();
        let planned = plan_ingest(&policy, &version, &in_the_way, tables, fresh);
        let enter = |plan| self.compaction.enter(core.id, plans, plan);
        (planned.places, planned.running.into_iter().map(enter).collect())
    }

    fn carry_out(&self, core: &KeyspaceCore, plan: &Plan, tree: &Arc<Tree>) -> Result<()> {
        span!(DEBUG, "compaction", keyspace = core.name.as_str(), reason = plan.reason.as_str());
        let began = Instant::now();
        let is_merge = matches!(plan.action, Action::Merge);
        let filter = core.value_filter().filter(|_| is_merge);
        // Order: before the snapshots are copied, until the tree is published (see value_filter.rs).
        let filtering = filter.as_ref().map(|_| self.snapshots.begin_filtering());
        let written = match plan.action {
            Action::Drop | Action::Move => None,
            Action::Merge => {
                let job = self.prepare_merge(core, plan, tree, filter)?;
                Some(self.merge_together(job)?)
            }
        };
        let added: Vec<_> = match (&written, plan.action) {
            (Some(written), _) => written.records().to_vec(),
            (None, Action::Move) => plan.tables().cloned().collect(),
            (None, _) => Vec::new(),
        };
        let removed = plan.inputs.iter().flat_map(|input| {
            let place = Place { level: input.level, run: input.run };
            input.tables.iter().map(move |table| (place, table.number))
        });
        let edit = VersionEdit {
            removed: removed.collect(),
            added: added.iter().map(|table| (plan.output, Arc::clone(table))).collect(),
            blobs: written.iter().flat_map(WrittenTables::blobs).cloned().collect(),
        };
        let mut manifest = self.lock_manifest()?;
        self.check_writable()?;
        if core.is_dropped() {
            return Ok(());
        }
        if plan.action == Action::Drop {
            self.compaction.note_dropped(plan);
        }
        let edit = ManifestEdit { tables: vec![(core.id, edit)], ..ManifestEdit::default() };
        match written {
            Some(written) => drop(self.append_tables(&mut manifest, edit, written)?),
            None => self.append_edit(&mut manifest, edit)?,
        }
        self.publish_tree(&manifest, core, &[]);
        drop(filtering);
        drop(manifest);
        if is_merge {
            self.hand_cache_over(core, plan, tree, &added);
        }
        self.samples.compaction.record(began.elapsed());
        self.events.tell(|| Event::Compacted {
            keyspace: core.name.clone(),
            reason: plan.reason.to_string(),
            level: plan.output.level,
            tables_in: plan.tables().count(),
            bytes_in: plan.tables().map(|table| table.bytes).sum(),
            tables_out: added.len(),
            bytes_out: added.iter().map(|table| table.bytes).sum(),
        });
        Ok(())
    }

    /// About how many bytes the tables in the range take, with the large values to which they refer.
    pub(crate) fn approximate_size(&self, core: &KeyspaceCore, scan: &Scan) -> u64 {
        let (lower, upper) = (scan.lower_key(), scan.upper_key());
        let view = core.view.load();
        let mut bytes = 0;
        for table in view.tree.tables() {
            let record = table.record();
            let is_below = upper.as_ref().is_some_and(|upper| record.lower > *upper);
            if record.upper < lower || is_below {
                continue;
            }
            let is_inside =
                record.lower >= lower && upper.as_ref().is_none_or(|upper| record.upper <= *upper);
            // A table that hangs over an end counts half: blocks are not opened to ask.
            let large: u64 = record.blobs.iter().map(|share| share.value_bytes).sum();
            let whole = record.bytes + large;
            bytes += if is_inside { whole } else { whole / 2 };
        }
        bytes
    }
}

impl Scan {
    /// The smallest key that may be in the range.
    pub(crate) fn lower_key(&self) -> Vec<u8> {
        match &self.lower {
            Bound::Unbounded => Vec::new(),
            Bound::Included(key) | Bound::Excluded(key) => key.clone(),
        }
    }

    /// The largest key that may be in the range; `None`: there is no end.
    pub(crate) fn upper_key(&self) -> Option<Vec<u8>> {
        match &self.upper {
            Bound::Unbounded => None,
            Bound::Included(key) | Bound::Excluded(key) => Some(key.clone()),
        }
    }
}

/// The range deletes of a tree, and where each lies. A table that cannot be opened is passed over:
/// whoever reads it reports that.
fn covering(tree: &Tree) -> Vec<(Place, &Fragments)> {
    let places = tree.version.runs().map(|(level, run)| Place { level, run: run.id });
    let with_ranges = places.zip(&tree.runs).flat_map(|(place, run)| {
        run.ranged.iter().filter_map(move |table| {
            let fragments = run.tables[*table].range_deletes().ok().flatten()?;
            Some((place, fragments))
        })
    });
    with_ranges.collect()
}
