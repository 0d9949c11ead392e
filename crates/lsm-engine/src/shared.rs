//! What every handle and every thread of one open database shares.

use std::collections::HashMap;
use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use arc_swap::ArcSwapOption;
use lsm_entry::SeqNo;
use lsm_io::{LockGuard, SharedFs};
use lsm_manifest::{Manifest, ManifestEdit};
use lsm_memtable::{Memtable, MemtableOptions};
use lsm_wal::SegmentInfo;

use crate::background::Background;
use crate::begin::Beginning;
use crate::budget::Budget;
use crate::commit::{Commit, Order};
use crate::compact::CompactionState;
use crate::error::{Error, ErrorKind, Result};
use crate::events::Events;
use crate::expiry::Expiry;
use crate::history::History;
use crate::keyspace::KeyspaceCore;
use crate::limiter::RateLimiter;
use crate::options::Options;
use crate::pressure::PressureGate;
use crate::read_only::Moment;
use crate::recovery_report::RecoveryReport;
use crate::reserve::Reserve;
use crate::residue::Residue;
use crate::rest::Rest;
use crate::samples::Samples;
use crate::segments::Segments;
use crate::snapshot::SnapshotList;
use crate::spread::Spread;
use crate::stats::Stats;
use crate::sync::ArcSwap;
use crate::sync::atomic::AtomicBool;
use crate::tables::TableStore;
use crate::view::{Tree, View};
use crate::waiter::Goal;

/// One open database.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) dir: PathBuf,
    pub(crate) fs: SharedFs,
    pub(crate) database_id: u128,
    /// Mixed into every memtable's index, so that nobody outside can make keys collide.
    pub(crate) hash_seed: u64,
    pub(crate) commit: Commit,
    pub(crate) segments: Segments,
    pub(crate) history: History,
    pub(crate) residue: Residue,
    /// `None` in a database opened read-only, and before the beginning.
    pub(crate) manifest: Mutex<Option<Manifest>>,
    pub(crate) beginning: Beginning,
    pub(crate) keyspaces: ArcSwap<HashMap<u32, Arc<KeyspaceCore>>>,
    pub(crate) default_keyspace: Spread<KeyspaceCore>,
    pub(crate) snapshots: SnapshotList,
    pub(crate) expiry: Expiry,
    pub(crate) tables: Arc<TableStore>,
    pub(crate) budget: Arc<Budget>,
    pub(crate) file_numbers: AtomicU64,
    pub(crate) compaction: CompactionState,
    pub(crate) rest: Rest,
    pub(crate) pressure: PressureGate,
    pub(crate) limiter: Arc<RateLimiter>,
    pub(crate) background: Background,
    pub(crate) stats: Stats,
    pub(crate) samples: Samples,
    pub(crate) events: Arc<Events>,
    pub(crate) reserve: Reserve,
    pub(crate) report: RecoveryReport,
    pub(crate) is_read_only: bool,
    /// What a database opened read-only shows; `None` in one that is written.
    pub(crate) moment: ArcSwapOption<Moment>,
    pub(crate) closed: AtomicBool,
    /// Held as long as the database is open; its mutex by whoever closes it.
    pub(crate) lock: Mutex<Option<Box<dyn LockGuard>>>,
}

impl Shared {
    /// The next number for a file; never reused.
    pub(crate) fn new_file_number(&self) -> u64 {
        debug_assert!(self.beginning.is_over(), "nothing is made before the beginning");
        self.file_numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// Database time: never goes back, even where the clock does.
    pub(crate) fn database_time_ms(&self) -> u64 {
        self.commit.database_time_ms(self.options.env.now_ms())
    }

    /// An empty memtable with room for at least `data_bytes`.
    pub(crate) fn new_memtable(&self, data_bytes: u64) -> Arc<Memtable> {
        let options = self.options.memtable_options(self.hash_seed, data_bytes);
        Arc::new(Memtable::with_spare(options, &self.budget.spare))
    }

    /// Whether writes can be taken at all; sees to it that the database has begun.
    ///
    /// Not to be called with the manifest or the order locked, unless it was called before.
    pub(crate) fn check_writable(&self) -> Result<()> {
        self.check_open()?;
        if self.is_read_only {
            return Err(Error::new(ErrorKind::ReadOnly, "the database was opened read-only"));
        }
        self.check_not_poisoned()?;
        self.begin()
    }

    pub(crate) fn check_not_poisoned(&self) -> Result<()> {
        self.commit.poison().map_or(Ok(()), |poison| Err(poison.clone()))
    }

    /// The manifest, locked: whoever holds it decides what the next version is. Who comes first begins
    /// it.
    ///
    /// # Errors
    /// `ReadOnly` if the database was opened so; `Closed`; those of the [beginning](Self::begin).
    pub(crate) fn lock_manifest(&self) -> Result<ManifestGuard<'_>> {
        let mut guard = self.manifest.lock().expect("no holder panicked");
        if guard.is_none() {
            if self.is_read_only {
                return Err(Error::new(ErrorKind::ReadOnly, "the database was opened read-only"));
            }
            self.check_open()?;
            *guard = Some(self.begin_with_manifest()?);
        }
        Ok(ManifestGuard(guard))
    }

    /// Manifest and order, locked at a moment at which memtables and trees hold all that was ordered.
    ///
    /// # Errors
    /// `ReadOnly` if the database was opened so, or has become so.
    pub(crate) fn lock_settled(
        &self,
    ) -> Result<(ManifestGuard<'_>, crate::sync::MutexGuard<'_, Order>)> {
        loop {
            let manifest = self.lock_manifest()?;
            let order = self.commit.lock_order();
            let Some(held) = self.commit.held() else { return Ok((manifest, order)) };
            drop((manifest, order));
            self.commit.reach(Goal::Visible(held))?;
        }
    }

    /// Makes an edit durable. After a failed sync the database becomes read-only, for nobody knows
    /// what the manifest holds; any other failure leaves it as it was.
    pub(crate) fn append_edit(&self, manifest: &mut Manifest, edit: ManifestEdit) -> Result<()> {
        let leased_until_ms = manifest.state().leased_until_ms;
        self.append_edit_leasing(manifest, edit, leased_until_ms)
    }

    /// The same for whoever gives the time a lease (see `lease.rs`), or takes one back: else there is the
    /// one that there was.
    pub(crate) fn append_edit_leasing(
        &self,
        manifest: &mut Manifest,
        mut edit: ManifestEdit,
        leased_until_ms: u64,
    ) -> Result<()> {
        edit.next_file_number = Some(self.file_numbers.load(Ordering::Relaxed));
        let time_ms = self.database_time_ms();
        edit.database_time_ms = Some(time_ms);
        edit.leased_until_ms = (leased_until_ms > time_ms).then_some(leased_until_ms);
        let bytes_before = manifest.bytes();
        let number = self.with_reserve(|| {
            let appended = manifest.append(edit.clone());
            appended.map_err(|error| self.judge_manifest(manifest, error))
        })?;
        self.commit.note_manifest_edit(number);
        self.expiry.lease.note_known(time_ms.max(leased_until_ms));
        self.stats.manifest_bytes.add(manifest.bytes().saturating_sub(bytes_before));
        if manifest.should_roll() {
            match manifest.roll(self.new_file_number()) {
                Ok(()) => drop(self.stats.manifest_bytes.add(manifest.bytes())),
                // The edit is durable all the same. If the manifest goes on, the next edit tries
                // again.
                Err(error) => drop(self.judge_manifest(manifest, error)),
            }
        }
        Ok(())
    }

    fn judge_manifest(&self, manifest: &Manifest, error: lsm_io::Error) -> Error {
        let error = Error::from(error);
        if manifest.is_poisoned() {
            self.commit.set_poison(&error);
        }
        error
    }

    /// Publishes what the manifest now says of a keyspace, without the memtables in `flushed`.
    ///
    /// Invariant: called under the manifest's lock, so views follow each other as edits do.
    pub(crate) fn publish_tree(
        &self,
        manifest: &Manifest,
        core: &KeyspaceCore,
        flushed: &[Arc<Memtable>],
    ) {
        let Some(state) = manifest.state().keyspace(core.id) else { return };
        self.expiry.note_version(&state.version);
        let before = Arc::clone(&core.view.load().tree);
        let tree = Arc::new(Tree::new(Arc::clone(&state.version), Some(&before), &self.tables));
        core.swap_view(|view| view.with_tree(Arc::clone(&tree), flushed));
        self.update_pressure();
    }

    /// Every keyspace that is not dropped.
    pub(crate) fn live_keyspaces(&self) -> Vec<Arc<KeyspaceCore>> {
        let keyspaces = self.keyspaces.load();
        let mut cores: Vec<_> = keyspaces.values().filter(|c| !c.is_dropped()).cloned().collect();
        cores.sort_unstable_by_key(|core| core.id);
        cores
    }

    /// The oldest sequence number that is in memory only, not counting `flushed`; what the log
    /// holds below it is in tables. Keyspaces whose drop is not durable yet count: a crash may
    /// bring them back.
    ///
    /// Invariant: called under the write mutex, so that nothing is inserted meanwhile.
    pub(crate) fn first_unflushed(&self, order: &mut Order, flushed: &[Arc<Memtable>]) -> SeqNo {
        let keyspaces = self.keyspaces.load();
        let in_memory = keyspaces.values().filter_map(|core| core.unflushed(flushed));
        in_memory.map(|(first, _)| first).min().unwrap_or_else(|| order.log().next_seq_no())
    }

    /// The same, and the first segment that a replay still needs, or the current one.
    pub(crate) fn log_start(
        &self,
        order: &mut Order,
        flushed: &[Arc<Memtable>],
    ) -> (SeqNo, Option<SegmentInfo>) {
        let first_unflushed = self.first_unflushed(order, flushed);
        let segments = order.log().segments();
        let needed = segments.iter().find(|segment| segment.end_seq_no > first_unflushed);
        (first_unflushed, needed.or(segments.last()).copied())
    }
}

/// The manifest of a writable database, locked.
pub(crate) struct ManifestGuard<'a>(MutexGuard<'a, Option<Manifest>>);

impl Deref for ManifestGuard<'_> {
    type Target = Manifest;

    fn deref(&self) -> &Manifest {
        self.0.as_ref().expect("checked when it was locked")
    }
}

impl DerefMut for ManifestGuard<'_> {
    fn deref_mut(&mut self) -> &mut Manifest {
        self.0.as_mut().expect("checked when it was locked")
    }
}

impl View {
    /// The view of a keyspace just opened.
    pub(crate) fn opened(active: Arc<Memtable>, tree: Tree) -> Self {
        Self { active, sealed: Vec::new(), tree: Arc::new(tree) }
    }

    /// The view of a keyspace in which nothing was ever written.
    pub(crate) fn empty(tables: &Arc<TableStore>) -> Self {
        let active = Memtable::new(MemtableOptions { capacity_bytes: 0, hash_seed: 0 });
        Self::opened(Arc::new(active), Tree::new(Arc::default(), None, tables))
    }
}
