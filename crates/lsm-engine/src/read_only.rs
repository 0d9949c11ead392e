//! Opening for reading what another process may be writing: no lock, no change to the directory.
//!
//! The writer goes on meanwhile, so a file can vanish or be written over between the manifest and
//! the file that it names. Whatever is found so is looked at again, from the manifest on; only what
//! stays wrong is reported.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use lsm_entry::SeqNo;
use lsm_manifest::Manifest;
use lsm_sstable::BlockCache;

use crate::background::{Background, Bell};
use crate::batch::DEFAULT_KEYSPACE;
use crate::commit::Commit;
use crate::error::{Error, ErrorKind, Result};
use crate::keyspace::KeyspaceCore;
use crate::limiter::RateLimiter;
use crate::options::Options;
use crate::pressure::PressureGate;
use crate::recover::{RecoveryReport, new_core};
use crate::replay::{Recovery, Replayed, replay_log};
use crate::shared::Shared;
use crate::tables::TableStore;
use crate::view::{Tree, View};

/// How often a state that does not fit together is read anew before it counts as damaged.
const ATTEMPTS: u32 = 20;
/// How long to wait before reading anew.
const PAUSE: Duration = Duration::from_millis(5);

/// What one look at the directory shows.
struct Moment {
    keyspaces: HashMap<u32, Arc<KeyspaceCore>>,
    database_id: u128,
    last_seq_no: SeqNo,
    database_time_ms: u64,
    next_file_number: u64,
    report: RecoveryReport,
}

/// Opens without a lock and without writing.
pub(crate) fn open(dir: &Path, options: Options) -> Result<Arc<Shared>> {
    options.check()?;
    let fs = Arc::clone(&options.env.fs);
    // Nobody listens for garbage: the files are the writer's.
    let (garbage_sender, garbage) = crossbeam_channel::unbounded();
    let tables = Arc::new(TableStore {
        fs: Arc::clone(&fs),
        dir: dir.to_owned(),
        cache: BlockCache::new(options.effective_cache_bytes()),
        read_mode: options.read_mode,
        garbage: garbage_sender,
        opened: AtomicU64::new(0),
    });
    let hash_seed = (options.env.random)();
    let moment = look(dir, &options, &tables, hash_seed)?;
    let default_keyspace = moment
        .keyspaces
        .get(&DEFAULT_KEYSPACE)
        .cloned()
        .ok_or_else(|| Error::corrupt("the manifest has no default keyspace"))?;
    let log_thread = Bell::new(1);
    Ok(Arc::new(Shared {
        dir: dir.to_owned(),
        fs,
        database_id: moment.database_id,
        hash_seed,
        commit: Commit::new(None, moment.last_seq_no, moment.database_time_ms, log_thread.clone()),
        segments: Default::default(),
        manifest: Mutex::new(None),
        keyspaces: ArcSwap::from_pointee(moment.keyspaces),
        default_keyspace,
        snapshots: Default::default(),
        tables,
        file_numbers: AtomicU64::new(moment.next_file_number),
        compaction: Default::default(),
        pressure: PressureGate::new(),
        limiter: RateLimiter::new(None),
        background: Background::new(options.background_threads, log_thread, garbage),
        stats: Default::default(),
        report: moment.report,
        is_read_only: true,
        closed: false.into(),
        lock: Mutex::new(None),
        options,
    }))
}

/// Moves an open read-only database on to the present.
pub(crate) fn refresh(shared: &Shared) -> Result<()> {
    shared.check_open()?;
    if !shared.is_read_only {
        return Err(Error::invalid("refresh is for a database opened read-only"));
    }
    let moment = look(&shared.dir, &shared.options, &shared.tables, shared.hash_seed)?;
    let mut keyspaces = HashMap::new();
    for (id, fresh) in moment.keyspaces {
        // Handles hold the cores, so a core that is known takes over the fresh view.
        let core = match shared.keyspaces.load().get(&id) {
            Some(known) => {
                known.view.store(fresh.view.load_full());
                Arc::clone(known)
            }
            None => fresh,
        };
        keyspaces.insert(id, core);
    }
    shared.keyspaces.store(Arc::new(keyspaces));
    // Order: the views before the sequence number, as a writer does it.
    shared.commit.show_through(moment.last_seq_no);
    Ok(())
}

fn look(dir: &Path, options: &Options, tables: &Arc<TableStore>, hash_seed: u64) -> Result<Moment> {
    let mut attempt = 1;
    loop {
        match look_once(dir, options, tables, hash_seed) {
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

fn look_once(
    dir: &Path,
    options: &Options,
    tables: &Arc<TableStore>,
    hash_seed: u64,
) -> Result<Moment> {
    let began = Instant::now();
    let fs = &options.env.fs;
    let read = Manifest::read(fs, dir).map_err(|error| match error.io_kind() {
        Some(std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {
            Error::invalid(format!("there is no database at {}", dir.display()))
        }
        _ => error.into(),
    })?;
    let state = read.state;
    let mut recovery = Recovery {
        dir,
        options,
        database_id: state.database_id,
        hash_seed,
        file_numbers: AtomicU64::new(state.next_file_number),
        limiter: RateLimiter::new(None),
        now_ms: options.env.now_ms().max(state.database_time_ms),
        next_keyspace_id: state.next_keyspace_id,
        may_write: false,
        entries: 0,
    };
    let mut replayed = BTreeMap::new();
    for (&id, keyspace) in &state.keyspaces {
        let tree = Tree::new(Arc::clone(&keyspace.version), None, tables);
        // A table is opened now, while it is there: the writer may remove it at any time, and an
        // open file outlives its name.
        for live in tree.tables() {
            match live.table() {
                // Damage is told by the reads that meet it; the others go on.
                Err(error) if error.is_corrupt() => {}
                opened => drop(opened?),
            }
        }
        replayed.insert(
            id,
            Replayed {
                core: new_core(keyspace, View::opened(recovery.new_memtable(0), tree))?,
                flushed_through: keyspace.flushed_through,
                memtable: recovery.new_memtable(0),
                sealed: Vec::new(),
                tables: Vec::new(),
            },
        );
    }
    let log = replay_log(&mut recovery, &state, &mut replayed, false)?;
    let last = log.next_seq_no.map_or(0, |next| next.saturating_sub(1));
    let mut report = RecoveryReport::default();
    report.note_log(&log, recovery.entries);
    let mut keyspaces = HashMap::new();
    for (id, keyspace) in replayed {
        let tree = Arc::clone(&keyspace.core.view.load().tree);
        let view = View { active: keyspace.memtable, sealed: keyspace.sealed, tree };
        keyspace.core.view.store(Arc::new(view));
        keyspaces.insert(id, keyspace.core);
    }
    report.last_seq_no = state.last_seq_no.max(last);
    report.elapsed = began.elapsed();
    Ok(Moment {
        keyspaces,
        database_id: state.database_id,
        last_seq_no: report.last_seq_no,
        database_time_ms: recovery.now_ms,
        next_file_number: state.next_file_number,
        report,
    })
}
