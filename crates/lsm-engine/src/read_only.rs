//! Opening for reading what another process may be writing: no lock, no change to the directory.
//!
//! The writer goes on meanwhile, so a file can vanish or be written over between the manifest and
//! the file that it names. Whatever is found so is looked at again, from the manifest on; only what
//! stays wrong is reported.
//!
//! A writer keeps the versions that its own snapshots see, not those of other processes. So here a
//! reader holds a whole [`Moment`], number and views of all keyspaces, instead of a number.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use lsm_entry::SeqNo;
use lsm_manifest::Manifest;

use crate::background::{Background, Bell};
use crate::batch::DEFAULT_KEYSPACE;
use crate::begin::Beginning;
use crate::commit::Commit;
use crate::error::{Error, ErrorKind, Result};
use crate::events::Events;
use crate::expiry::Expiry;
use crate::history::History;
use crate::keyspace::KeyspaceCore;
use crate::lease::time_behind_lease;
use crate::limiter::RateLimiter;
use crate::options::Options;
use crate::pressure::PressureGate;
use crate::recover::new_core;
use crate::recovery_report::RecoveryReport;
use crate::replay::{Recovery, Replayed, replay_log};
use crate::reserve::Reserve;
use crate::residue::Residue;
use crate::shared::Shared;
use crate::spread::Spread;
use crate::swap::no_database_at;
use crate::sync::ArcSwap;
use crate::tables::TableStore;
use crate::view::{Tree, View};

/// How often a state that does not fit together is read anew before it counts as damaged.
const ATTEMPTS: u32 = 20;
/// How long to wait before reading anew.
const PAUSE: Duration = Duration::from_millis(5);

/// One state of a database opened read-only, swapped as a whole, so that no read mixes two. Or what a
/// reader of another one holds, who began while values were being filtered (see `value_filter.rs`).
#[derive(Debug)]
pub(crate) struct Moment {
    pub(crate) seq_no: SeqNo,
    views: HashMap<u32, Arc<View>>,
    /// What keyspaces show that were created later.
    nothing: Arc<View>,
}

impl Moment {
    pub(crate) fn new(
        seq_no: SeqNo,
        keyspaces: &HashMap<u32, Arc<KeyspaceCore>>,
        nothing: Arc<View>,
    ) -> Self {
        let views = keyspaces.iter().map(|(&id, core)| (id, core.view.load_full())).collect();
        Self { seq_no, views, nothing }
    }

    /// What keyspace `id` shows.
    pub(crate) fn view(&self, id: u32) -> &Arc<View> {
        self.views.get(&id).unwrap_or(&self.nothing)
    }
}

/// What one look at the directory finds.
struct Found {
    keyspaces: HashMap<u32, Arc<KeyspaceCore>>,
    database_id: u128,
    database_time_ms: u64,
    leased_until_ms: u64,
    next_file_number: u64,
    /// Up to where everything is known to be on disk.
    durable: SeqNo,
    report: RecoveryReport,
}

/// Opens without a lock and without writing.
pub(crate) fn open(dir: &Path, options: Options) -> Result<Arc<Shared>> {
    options.check()?;
    let events = Events::of(&options)?;
    let fs = Arc::clone(&options.env.fs);
    // Nobody listens for garbage: the files are the writer's.
    let (garbage, _) = crossbeam_channel::unbounded();
    let tables = TableStore::new(dir, &options, garbage);
    let hash_seed = (options.env.random)();
    let found = Look { dir, options: &options, tables: &tables, hash_seed, before: None }.look()?;
    let default_keyspace = found
        .keyspaces
        .get(&DEFAULT_KEYSPACE)
        .cloned()
        .ok_or_else(|| Error::corrupt("the manifest has no default keyspace"))?;
    take_operator(&default_keyspace, &options)?;
    let seq_no = found.report.last_seq_no;
    let moment = Moment::new(seq_no, &found.keyspaces, Arc::new(View::empty(&tables)));
    let log_thread = Bell::new(1);
    let commit = Commit::new(
        None,
        found.durable,
        found.database_time_ms,
        log_thread.clone(),
        Arc::default(),
    );
    commit.show_through(seq_no, found.durable);
    let shared = Arc::new(Shared {
        dir: dir.to_owned(),
        fs,
        database_id: found.database_id,
        hash_seed,
        commit,
        segments: Default::default(),
        history: History::new(options.changes_retention()),
        residue: Residue::default(),
        manifest: Mutex::new(None),
        beginning: Beginning::over(),
        keyspaces: ArcSwap::from_pointee(found.keyspaces),
        default_keyspace: Spread::new(&default_keyspace),
        snapshots: Default::default(),
        expiry: Expiry::read_only(),
        budget: Arc::clone(&tables.budget),
        tables,
        file_numbers: AtomicU64::new(found.next_file_number),
        compaction: Default::default(),
        rest: Default::default(),
        pressure: PressureGate::new(),
        limiter: RateLimiter::new(None),
        background: Background::new(
            options.background_threads,
            log_thread,
            crossbeam_channel::never(),
        ),
        stats: Default::default(),
        samples: Default::default(),
        events,
        reserve: Reserve::new(0),
        report: found.report,
        is_read_only: true,
        moment: ArcSwapOption::from_pointee(moment),
        closed: false.into(),
        lock: Mutex::new(None),
        options,
    });
    Ok(shared)
}

/// Moves an open read-only database on to the present.
pub(crate) fn refresh(shared: &Shared) -> Result<()> {
    shared.check_open()?;
    // One at a time: whoever looked later must not be overtaken by whoever looked before.
    let _turn = shared.manifest.lock().expect("no holder panicked");
    let Some(before) = shared.moment.load_full() else {
        return Err(Error::invalid("refresh is for a database opened read-only"));
    };
    let look = Look {
        dir: &shared.dir,
        options: &shared.options,
        tables: &shared.tables,
        hash_seed: shared.hash_seed,
        before: Some(&before),
    };
    let found = look.look()?;
    if found.database_id != shared.database_id {
        return Err(Error::invalid(format!(
            "another database is at {} now; it has to be opened anew",
            shared.dir.display()
        )));
    }
    let seq_no = found.report.last_seq_no;
    let moment = Moment::new(seq_no, &found.keyspaces, Arc::clone(&before.nothing));
    let known = shared.keyspaces.load_full();
    for core in known.values().filter(|core| !found.keyspaces.contains_key(&core.id)) {
        core.dropped.store(true, Ordering::Release);
    }
    let mut keyspaces = HashMap::new();
    for (id, fresh) in &found.keyspaces {
        // Handles hold the cores, so a core that is known goes on.
        keyspaces.insert(*id, Arc::clone(known.get(id).unwrap_or(fresh)));
    }
    shared.keyspaces.store(Arc::new(keyspaces));
    // Order: the time before the moment, which may lack what had expired by then.
    shared.commit.database_time_ms(found.database_time_ms);
    shared.moment.store(Some(Arc::new(moment)));
    // Order: the number before the views, for whoever looks at both outside of reads. Nothing in a
    // view is above the number it came with, so an older view shows the same at a newer one.
    shared.commit.show_through(seq_no, found.durable);
    for (id, fresh) in &found.keyspaces {
        if let Some(core) = known.get(id) {
            core.view.store(fresh.view.load_full());
            core.set_options(fresh.options());
        }
    }
    take_operator(&shared.default_keyspace, &shared.options)
}

/// The default keyspace is opened with the database.
fn take_operator(default_keyspace: &KeyspaceCore, options: &Options) -> Result<()> {
    let (given, may_miss) = (&options.keyspace, options.without_operators);
    default_keyspace.take_operator(given.merge_operator.as_ref(), may_miss)?;
    default_keyspace.take_filter(given.compaction_filter.as_ref(), may_miss).map(drop)
}

/// Damage is told by the reads that meet it; the others go on.
fn unless_damaged<T>(opened: lsm_io::Result<T>) -> Result<()> {
    match opened {
        Err(error) if error.is_corrupt() => Ok(()),
        Err(error) => Err(error.into()),
        Ok(_) => Ok(()),
    }
}

/// What a look at the directory needs.
struct Look<'a> {
    dir: &'a Path,
    options: &'a Options,
    tables: &'a Arc<TableStore>,
    hash_seed: u64,
    /// What was seen last: tables that are open stay so.
    before: Option<&'a Moment>,
}

impl Look<'_> {
    fn look(&self) -> Result<Found> {
        let mut attempt = 1;
        loop {
            match self.look_once() {
                Err(error)
                    if attempt < ATTEMPTS
                        && matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Io) =>
                {
                    attempt += 1;
                    std::thread::sleep(PAUSE);
                }
                result => return result,
            }
        }
    }

    fn look_once(&self) -> Result<Found> {
        // A writer may be busy with an ingest: then the moment before it is shown.
        let mut stop_at = None;
        loop {
            let (mut found, unsettled) = self.look_before(stop_at)?;
            if unsettled == stop_at {
                // Whoever reads the writer's own handle may have been told of that time already.
                let (env, now_ms) = (&self.options.env, found.database_time_ms);
                found.database_time_ms = time_behind_lease(env, now_ms, found.leased_until_ms);
                return Ok(found);
            }
            stop_at = unsettled;
        }
    }

    /// What is there before `stop_at`, and the first ingest that has a note and no tables.
    fn look_before(&self, stop_at: Option<SeqNo>) -> Result<(Found, Option<SeqNo>)> {
        let Self { dir, options, tables, hash_seed, before } = *self;
        let began = Instant::now();
        let fs = &options.env.fs;
        let read = Manifest::read(fs, dir).map_err(|error| match error.io_kind() {
            Some(std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {
                no_database_at(fs, dir)
            }
            _ => error.into(),
        })?;
        let manifest = (read.number, read.bytes);
        let (state, closed_cleanly) = (read.state, read.closed_cleanly);
        let mut recovery = Recovery {
            dir,
            options,
            database_id: state.database_id,
            hash_seed,
            file_numbers: AtomicU64::new(state.next_file_number),
            limiter: RateLimiter::new(None),
            now_ms: options.env.now_ms().max(state.database_time_ms),
            next_keyspace_id: state.next_keyspace_id,
            manifest,
            may_write: false,
            entries: 0,
            unweighed_bytes: 0,
            ingests_noted: Default::default(),
            stop_at,
            made_from: Vec::new(),
        };
        let mut replayed = Vec::new();
        for keyspace in &state.keyspaces {
            let known = before.map(|moment| &*moment.view(keyspace.id).tree);
            let tree = Tree::new(Arc::clone(&keyspace.version), known, tables);
            // A table is opened now, while it is there: the writer may remove it at any time, and an
            // open file outlives its name.
            for live in tree.tables() {
                unless_damaged(live.table())?;
            }
            for held in tree.blobs.iter() {
                unless_damaged(held.keep_open())?;
            }
            let memtable = recovery.new_memtable(0);
            let core = new_core(keyspace, View::opened(Arc::clone(&memtable), tree))?;
            replayed.push(Replayed::new(core, keyspace.flushed_through, memtable));
        }
        let log = replay_log(&mut recovery, &state, &mut replayed, closed_cleanly)?;
        let last = log.next_seq_no.map_or(0, |next| next.saturating_sub(1));
        let mut report = RecoveryReport::default();
        report.note_log(&log, recovery.entries);
        let mut keyspaces = HashMap::new();
        for keyspace in replayed {
            let tree = Arc::clone(&keyspace.core.view.load().tree);
            let view = View { active: keyspace.memtable, sealed: keyspace.sealed, tree };
            keyspace.core.view.store(Arc::new(view));
            keyspaces.insert(keyspace.core.id, keyspace.core);
        }
        let end = stop_at.map_or(SeqNo::MAX, |stop_at| stop_at - 1);
        // Tables may be ahead of the log, in memory that is not this process's.
        report.last_seq_no = state.newest_seq_no().max(last).min(end);
        let marked = log.mark.as_ref().map_or(0, |mark| mark.durable_through);
        let durable = if log.closed_cleanly { last } else { marked };
        let durable = durable.max(state.last_seq_no).min(end);
        let unsettled = recovery.first_unsettled(&state);
        report.elapsed = began.elapsed();
        report.note_memory(self.options);
        let found = Found {
            keyspaces,
            database_id: state.database_id,
            database_time_ms: recovery.now_ms,
            leased_until_ms: state.leased_until_ms,
            next_file_number: state.next_file_number,
            durable,
            report,
        };
        Ok((found, unsettled))
    }
}
