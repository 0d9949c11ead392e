//! The path from a directory to an open database.
//!
//! 1. Lock the directory against a second writer.
//! 2. Read the manifest: which tables are live, how far each keyspace is flushed, where the log
//!    begins. No `CURRENT` and only files of an unfinished creation: an empty database.
//! 3. One listing: every live table is there with its length. Contents are checked when first
//!    touched.
//! 4. Replay the log into memtables, writing them out as tables where they outgrow their budget.
//! 5. Write what is left as tables too: from here on the log is not needed. A sync of the old
//!    segments would prove nothing about bytes that an earlier, failed sync may have lost.
//! 6. Prepare a fresh log segment and write a fresh manifest that names it, the tables, and how
//!    far they reach; the swap of `CURRENT` is the moment at which recovery has happened.
//! 7. What nothing names goes, last, after every check has passed: large files by the log's thread,
//!    once the database is open.
//!
//! After a clean close there was nothing to replay: then 6, and all of 7, is left for later (`begin.rs`).
//!
//! Order: 5 before 6 before 7. Until `CURRENT` is swapped nothing old was touched, so a crash at
//! any step leaves the same recovery to be done again; and a failure at any step removes what 4, 5
//! and 6 have written.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

use lsm_io::{DirEntry, SharedFs};
use lsm_manifest::{
    FileKind, KeyspaceState, Manifest, ManifestEdit, ManifestState, file_name, parse_file_name,
};
use lsm_memtable::Memtable;
use lsm_wal::{FrameKind, FrameReader, FrameStep, RecoveryMode};

use crate::attempt::Attempt;
use crate::background::{Background, Bell};
use crate::batch::DEFAULT_KEYSPACE;
use crate::begin::{Beginning, Fresh, Left};
use crate::commit::Commit;
use crate::directory::{lock_directory, prepare_directory};
use crate::env::Spawn;
use crate::error::{Error, ErrorKind, Result};
use crate::events::Events;
use crate::expiry::Expiry;
use crate::flush::flush_edit;
use crate::gaps::Gaps;
use crate::history::History;
use crate::keyspace::KeyspaceCore;
use crate::lease::time_behind_lease;
use crate::limiter::RateLimiter;
use crate::options::{KeyspaceOptions, Options};
use crate::orphans::{Parting, part_with_orphans};
use crate::outputs::WrittenTables;
use crate::poison::{NamesOnce, Poison};
use crate::pressure::PressureGate;
use crate::readership::Readership;
use crate::recovery_report::RecoveryReport;
use crate::replay::{Recovery, Replayed, replay_log};
use crate::reserve::Reserve;
use crate::residue::Residue;
use crate::scan::SpareStands;
use crate::segments::Segments;
use crate::shared::Shared;
use crate::spans::span;
use crate::spread::Spread;
use crate::stats::{Counter, Stats};
use crate::sync::ArcSwap;
use crate::tables::TableStore;
use crate::view::{Tree, View};

/// The name of the keyspace that every database has.
pub(crate) const DEFAULT_KEYSPACE_NAME: &str = "default";

/// Opens, creating where the options allow it.
pub(crate) fn open(dir: &Path, mut options: Options) -> Result<Arc<Shared>> {
    span!(INFO, "open", directory = dir.display().to_string());
    let began = Instant::now();
    options.check()?;
    let events = Events::of(&options)?;
    let poison = Arc::new(Poison::new(events));
    let fs = NamesOnce::shared(&options.env.fs, dir, &poison);
    options.env.fs = Arc::clone(&fs);
    prepare_directory(&fs, dir, options.create_if_missing)?;
    let lock = lock_directory(&fs, dir)?;
    let attempt = || {
        let listing = fs.list(dir)?;
        let mut report = RecoveryReport::default();
        let found = find_state(&fs, dir, &listing, &options, &mut report)?;
        recover(dir, options.clone(), found, &listing, report, Arc::clone(&poison), began)
    };
    let reserve = dir.join(file_name(FileKind::Reserve, 0));
    let shared = match attempt() {
        // On a full disk what the log holds becomes tables in the place of the reserve.
        Err(error) if error.kind() == ErrorKind::NoSpace && fs.remove_file(&reserve).is_ok() => {
            let shared = attempt().map_err(Error::naming_repair)?;
            shared.note_no_space(&error);
            shared
        }
        attempted => attempted.map_err(Error::naming_repair)?,
    };
    *shared.lock.lock().expect("nobody else has it yet") = Some(lock);
    Background::start(&shared)?;
    Ok(shared)
}

/// What the manifest says, or would say of a new database.
struct FoundState {
    state: ManifestState,
    /// Whether the last process closed it, by the manifest's account.
    closed_cleanly: bool,
    /// The manifest's number, and where its last edit ends.
    manifest: (u64, u64),
}

fn find_state(
    fs: &SharedFs,
    dir: &Path,
    listing: &[DirEntry],
    options: &Options,
    report: &mut RecoveryReport,
) -> Result<FoundState> {
    let has_current = listing.iter().any(|entry| entry.name == file_name(FileKind::Current, 0));
    if has_current {
        let read = Manifest::read(fs, dir)?;
        check_features(dir, read.unknown_features_to_write)?;
        if let Some(offset) = read.cut {
            let name = file_name(FileKind::Manifest, read.number);
            let reason = "the manifest ends in bytes that are no edit";
            if options.recovery == RecoveryMode::Absolute {
                return Err(lsm_io::Error::corrupt(&dir.join(name), offset, reason).into());
            }
            report.manifest_cut = Some(format!("{name} at byte {offset}: {reason}"));
        }
        check_files_present(dir, &read.state, listing)?;
        let manifest = (read.number, read.bytes);
        return Ok(FoundState { state: read.state, closed_cleanly: read.closed_cleanly, manifest });
    }
    check_unfinished_creation(fs, dir, listing)?;
    report.created = true;
    let random = &options.env.random;
    let database_id = u128::from(random()) << 64 | u128::from(random());
    let mut state = ManifestState::new(database_id);
    let name = DEFAULT_KEYSPACE_NAME.to_owned();
    let create = ManifestEdit {
        create_keyspaces: vec![(DEFAULT_KEYSPACE, name, options.keyspace.to_string(), 0)],
        ..ManifestEdit::default()
    };
    apply(&mut state, &create)?;
    Ok(FoundState { state, closed_cleanly: true, manifest: (0, 0) })
}

/// A newer program may have written what this one can read but would not keep.
fn check_features(dir: &Path, unknown: u64) -> Result<()> {
    if unknown == 0 {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "{} needs features {unknown:#x} to be written, which this program does not know; open it \
         read-only, or with a newer program",
        dir.display()
    )))
}

/// Without `CURRENT` a directory may hold what an unfinished creation left, and nothing else.
fn check_unfinished_creation(fs: &SharedFs, dir: &Path, listing: &[DirEntry]) -> Result<()> {
    let lost_current = |name: &str| {
        let reason = format!(
            "CURRENT, which names the manifest, is not there, but {name} is; `lsm repair` can \
             rebuild it"
        );
        lsm_io::Error::corrupt(&dir.join(file_name(FileKind::Current, 0)), 0, reason).into()
    };
    for entry in listing {
        match parse_file_name(&entry.name).0 {
            FileKind::Table | FileKind::Blob => return Err(lost_current(&entry.name)),
            FileKind::Log if holds_batch(fs, &dir.join(&entry.name)) => {
                return Err(lost_current(&entry.name));
            }
            _ => {}
        }
    }
    Ok(())
}

fn holds_batch(fs: &SharedFs, path: &Path) -> bool {
    // A segment that cannot be read at all was not finished, so nothing was ever appended to it.
    let Ok(mut reader) = FrameReader::open(fs, path, None) else { return false };
    matches!(reader.next(), Ok(FrameStep::Frame(frame)) if frame.kind == FrameKind::BATCH)
}

/// Every table and blob file that the manifest names is there, whole. None of them is opened.
pub(crate) fn check_files_present(
    dir: &Path,
    state: &ManifestState,
    listing: &[DirEntry],
) -> Result<()> {
    let present: HashMap<&str, u64> =
        listing.iter().map(|entry| (entry.name.as_str(), entry.bytes)).collect();
    let check = |kind, number, bytes| {
        let name = file_name(kind, number);
        let path = dir.join(&name);
        match present.get(name.as_str()) {
            Some(&found) if found == bytes => Ok(()),
            Some(&found) => {
                let reason = format!("the file should have {bytes} bytes");
                Err(lsm_io::Error::corrupt(&path, found, reason))
            }
            None => {
                let what = if kind == FileKind::Blob { "blob file" } else { "table" };
                let reason = format!("the {what} is in the manifest but not in the directory");
                Err(lsm_io::Error::corrupt(&path, 0, reason))
            }
        }
    };
    for keyspace in &state.keyspaces {
        for (_, record) in keyspace.version.tables() {
            check(FileKind::Table, record.number, record.bytes)?;
        }
        for blob in keyspace.version.blobs() {
            check(FileKind::Blob, blob.record.number, blob.record.bytes)?;
        }
    }
    Ok(())
}

/// Takes an edit over into a state that is no manifest's yet.
pub(crate) fn apply(state: &mut ManifestState, edit: &ManifestEdit) -> Result<()> {
    state
        .apply(edit)
        .map_err(|error| Error::corrupt(format!("the manifest contradicts itself: {error}")))
}

pub(crate) fn new_core(state: &KeyspaceState, view: View) -> Result<Arc<KeyspaceCore>> {
    let options = KeyspaceOptions::parse(&state.options)?;
    // What no caller may ask for must not come from a manifest either.
    options.check().map_err(|error| {
        Error::corrupt(format!("the saved options of keyspace \"{}\": {error}", state.name))
    })?;
    let (ttl_ms, operator) = (options.ttl_ms.unwrap_or(0), options.merge_operator.clone());
    let core = Arc::new(KeyspaceCore {
        id: state.id,
        name: state.name.clone(),
        view: ArcSwap::from_pointee(view),
        spare_stands: SpareStands::default(),
        options: Mutex::new(Arc::new(options)),
        ttl_ms: AtomicU64::new(ttl_ms),
        operator: OnceLock::new(),
        has_long_chain: false.into(),
        dropped: false.into(),
        flushing: Mutex::default(),
        lookups: Counter::default(),
        lookups_merged: AtomicU64::new(0),
        readership: Readership::default(),
        active_since_ms: AtomicU64::new(0),
        is_swamp: false.into(),
        gaps: Gaps::default(),
        deletes: AtomicU64::new(0),
    });
    // Of this library's own operators the name is enough.
    if let Some(operator) = &operator {
        core.set_operator(operator);
    }
    Ok(core)
}

fn recover(
    dir: &Path,
    options: Options,
    found: FoundState,
    listing: &[DirEntry],
    mut report: RecoveryReport,
    poison: Arc<Poison>,
    began: Instant,
) -> Result<Arc<Shared>> {
    let fs = Arc::clone(&options.env.fs);
    let FoundState { mut state, closed_cleanly, manifest } = found;
    let found_ms = state.database_time_ms;
    if state.keyspace(DEFAULT_KEYSPACE).is_none() {
        return Err(Error::corrupt("the manifest has no default keyspace"));
    }
    let (garbage_sender, garbage) = crossbeam_channel::unbounded();
    let tables = TableStore::new(dir, &options, garbage_sender.clone());
    let highest = listing.iter().map(|entry| parse_file_name(&entry.name).1).max().unwrap_or(0);
    let first_number = state.next_file_number.max(highest + 1);
    let attempt = Attempt::new(&fs, dir, first_number);
    let mut recovery = Recovery {
        dir,
        options: &options,
        database_id: state.database_id,
        hash_seed: (options.env.random)(),
        file_numbers: AtomicU64::new(first_number),
        limiter: RateLimiter::new(options.write_rate_bytes_per_second),
        now_ms: options.env.now_ms().max(state.database_time_ms),
        next_keyspace_id: state.next_keyspace_id,
        manifest,
        may_write: true,
        entries: 0,
        unweighed_bytes: 0,
        ingests_noted: Default::default(),
        stop_at: None,
        made_from: Vec::new(),
    };
    let mut keyspaces = Vec::new();
    for keyspace in &state.keyspaces {
        let tree = Tree::new(Arc::clone(&keyspace.version), None, &tables);
        let memtable_options = options.memtable_options(recovery.hash_seed, 0);
        let active = Memtable::with_spare(memtable_options, &tables.budget.spare);
        let core = new_core(keyspace, View::opened(Arc::new(active), tree))?;
        let memtable = recovery.new_memtable(0);
        keyspaces.push(Replayed::new(core, keyspace.flushed_through, memtable));
    }
    let mut history = History::new(options.changes_retention());
    let mut edit = ManifestEdit::default();
    let given = options.keyspace.merge_operator.as_ref();
    // None has a lower number.
    let default = &keyspaces[0].core;
    let filter = options.keyspace.compaction_filter.as_ref();
    let takes_operator = default.take_operator(given, options.without_operators)?;
    let takes_filter = default.take_filter(filter, options.without_operators)?;
    if takes_operator || takes_filter {
        let mut taken = (*default.options()).clone();
        if takes_operator {
            taken = taken.with_operator(given);
        }
        if takes_filter {
            taken = taken.with_filter(filter);
        }
        taken.check()?;
        edit.set_options.push((DEFAULT_KEYSPACE, taken.to_string()));
        *default.options.lock().expect("no holder panicked") = Arc::new(taken);
    }
    // Said before the first operand can be written, so that no older program takes one for something else.
    let taking = keyspaces.iter().filter(|keyspace| {
        let is_said = state.keyspace(keyspace.core.id).is_some_and(|state| state.takes_operands);
        !is_said && keyspace.core.options().merge_operator.is_some()
    });
    edit.takes_operands.extend(taking.map(|keyspace| keyspace.core.id));
    let mut is_log_read_for_nothing = false;
    if !report.created {
        let log = replay_log(&mut recovery, &state, &mut keyspaces, closed_cleanly)?;
        let last = log.next_seq_no.map_or(0, |next| next.saturating_sub(1));
        state.last_seq_no = state.last_seq_no.max(last);
        report.note_log(&log, recovery.entries);
        is_log_read_for_nothing =
            log.closed_cleanly && log.losses.is_empty() && recovery.entries == 0;
        if log.losses.is_empty() {
            history.find(&fs, dir, listing, &state, log.segments, recovery.now_ms);
        }
    }
    // No number is given out twice, whatever the log has lost.
    state.last_seq_no = state.newest_seq_no();

    // Step 5: what is left becomes tables, and one edit makes all of them part of the database.
    let stats = Stats::default();
    for keyspace in &mut keyspaces {
        let id = keyspace.core.id;
        recovery.write_out(keyspace)?;
        let is_empty = |written: &&WrittenTables| written.records().is_empty();
        for written in keyspace.tables.iter().filter(|written| !is_empty(written)) {
            stats.note_recovery(written);
            report.tables_written += written.records().len();
            edit.tables.push((id, flush_edit(written)));
        }
        if !keyspace.tables.is_empty() {
            edit.flushed_through.push((id, state.last_seq_no));
        }
    }

    // Late, for that took time as well. What went into tables was judged by a time that has been.
    recovery.now_ms = time_behind_lease(&options.env, recovery.now_ms, state.leased_until_ms);

    // Step 6: a fresh segment and a fresh manifest. A state that would not change can wait for them.
    let was_left_whole = closed_cleanly && !report.created && report.manifest_cut.is_none();
    let is_unchanged = was_left_whole && is_log_read_for_nothing && edit == ManifestEdit::default();
    let (begun, state) = if is_unchanged {
        (None, state)
    } else {
        let (numbers, now_ms) = (&recovery.file_numbers, recovery.now_ms);
        let fresh = Fresh::prepare(&fs, dir, &options, numbers, state, edit, now_ms)?;
        // From here on `CURRENT` may name a manifest that names them.
        for keyspace in &mut keyspaces {
            keyspace.tables.drain(..).for_each(|written| drop(written.keep()));
        }
        let (log, manifest) = fresh.start(&fs, dir)?;
        let state = manifest.state().clone();
        (Some((log, manifest)), state)
    };
    attempt.succeeded();
    let expiry = Expiry::default();
    expiry.lease.note_known(state.database_time_ms.max(state.leased_until_ms));
    state.keyspaces.iter().for_each(|keyspace| expiry.note_version(&keyspace.version));

    let mut live = HashMap::new();
    for keyspace in keyspaces {
        let view = keyspace.core.view.load_full();
        let state = state.keyspace(keyspace.core.id).expect("no open drops a keyspace");
        let version = Arc::clone(&state.version);
        let tree = Arc::new(Tree::new(version, Some(&view.tree), &tables));
        keyspace.core.swap_view(|view| view.with_tree(Arc::clone(&tree), &[]));
        live.insert(keyspace.core.id, keyspace.core);
    }
    let default_keyspace = Arc::clone(&live[&DEFAULT_KEYSPACE]);
    // Order: an operator's name is saved before its first operand can be written.
    if let Some(operator) = &options.keyspace.merge_operator {
        default_keyspace.set_operator(operator);
    }

    // Step 7: what nothing names goes last. The listing is older than log and manifest.
    let needed = |kind, number| match kind {
        FileKind::Log => history.holds(number),
        FileKind::Manifest => false,
        FileKind::Table => live.values().any(|core| core.view.load().tree.table(number).is_some()),
        FileKind::Blob => live.values().any(|core| core.view.load().tree.blobs.contains(number)),
        FileKind::Temp => false,
        _ => true,
    };
    let parting =
        Parting { has_threads: options.env.spawn == Spawn::Threads, has_begun: begun.is_some() };
    let orphans = part_with_orphans(&fs, dir, listing, parting, needed, &mut report);
    let residue = if live.values().any(|core| core.options().age_limit_ms().is_some()) {
        Residue::inherited(&fs, dir, &state, found_ms, &orphans.segments, &history)
    } else {
        Residue::default()
    };
    for file in orphans.garbage {
        garbage_sender.send(file).expect("who receives it is made below");
    }

    let last_seq_no = state.last_seq_no;
    report.last_seq_no = last_seq_no;
    report.elapsed = began.elapsed();
    report.note_memory(&options);
    let (log, manifest) = begun.unzip();
    let log_thread = Bell::new(1);
    let reserve = listing.iter().find(|entry| parse_file_name(&entry.name).0 == FileKind::Reserve);
    let reserve_bytes = reserve.map_or(0, |entry| entry.bytes);
    let events = Arc::clone(poison.events());
    let commit = Commit::new(log, last_seq_no, recovery.now_ms, log_thread.clone(), poison);
    commit.note_manifest_edit(state.edit_number);
    let beginning = match &manifest {
        Some(_) => Beginning::over(),
        None => Beginning::left(Left { state, old_files: orphans.others }),
    };
    let Recovery { database_id, hash_seed, file_numbers, limiter, .. } = recovery;
    let compaction_threads = options.background_threads;
    let shared = Arc::new(Shared {
        dir: dir.to_owned(),
        fs,
        database_id,
        hash_seed,
        commit,
        segments: Segments::with_released(orphans.segments),
        history,
        residue,
        manifest: Mutex::new(manifest),
        beginning,
        keyspaces: ArcSwap::from_pointee(live),
        default_keyspace: Spread::new(&default_keyspace),
        snapshots: Default::default(),
        expiry,
        budget: Arc::clone(&tables.budget),
        tables,
        file_numbers,
        compaction: Default::default(),
        rest: Default::default(),
        pressure: PressureGate::new(),
        limiter,
        background: Background::new(compaction_threads, log_thread, garbage),
        stats,
        samples: Default::default(),
        events,
        reserve: Reserve::new(reserve_bytes),
        report,
        is_read_only: false,
        moment: Default::default(),
        closed: false.into(),
        lock: Mutex::default(),
        options,
    });
    shared.update_pressure();
    Ok(shared)
}
