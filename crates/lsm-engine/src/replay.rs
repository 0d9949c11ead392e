//! Reading the log back: every batch that no table holds yet goes into memtables again.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use lsm_compaction::Retention;
use lsm_entry::{Entry, Record, Records, SeqNo, key_hash};
use lsm_io::SharedFs;
use lsm_manifest::{FileKind, ManifestState, file_name};
use lsm_memtable::Memtable;
use lsm_sstable::Origin;
use lsm_wal::{FRAME_HEADER_BYTES, FrameKind, FrameRef, LogReport, RecoveryMode};

use crate::batch::DEFAULT_KEYSPACE;
use crate::budget::ENTRY_OVERHEAD_BYTES;
use crate::error::Result;
use crate::keyspace::KeyspaceCore;
use crate::limiter::RateLimiter;
use crate::note::Note;
use crate::older::Older;
use crate::options::Options;
use crate::outputs::{Workshop, WrittenTables};
use crate::spans::span;
use crate::write_memtable::write_memtable_of;

/// A keyspace under recovery: what the log brings for it.
pub(crate) struct Replayed {
    pub(crate) core: Arc<KeyspaceCore>,
    pub(crate) flushed_through: SeqNo,
    pub(crate) memtable: Arc<Memtable>,
    /// Full memtables that stay in memory, newest first, where no table may be written.
    pub(crate) sealed: Vec<Arc<Memtable>>,
    /// Removed again, if the database cannot be opened after all.
    pub(crate) tables: Vec<WrittenTables>,
}

impl Replayed {
    /// A keyspace into which nothing was replayed yet.
    pub(crate) fn new(
        core: Arc<KeyspaceCore>,
        flushed_through: SeqNo,
        memtable: Arc<Memtable>,
    ) -> Self {
        Self { core, flushed_through, memtable, sealed: Vec::new(), tables: Vec::new() }
    }

    /// Where keyspace `id` is, if it is there, among those of a database, which are in the order of
    /// their numbers.
    pub(crate) fn find(keyspaces: &[Self], id: u32) -> Option<usize> {
        keyspaces.binary_search_by_key(&id, |keyspace| keyspace.core.id).ok()
    }

    /// What is older than its memtable.
    fn older(&self) -> Older {
        let mut older = Older::of(&self.core.view.load().tree.version);
        self.tables.iter().for_each(|written| older.extend(written.records()));
        older
    }
}

/// What a replay needs beside the keyspaces.
pub(crate) struct Recovery<'a> {
    pub(crate) dir: &'a Path,
    pub(crate) options: &'a Options,
    pub(crate) database_id: u128,
    pub(crate) hash_seed: u64,
    pub(crate) file_numbers: AtomicU64,
    pub(crate) limiter: Arc<RateLimiter>,
    pub(crate) now_ms: u64,
    pub(crate) next_keyspace_id: u32,
    /// The number of the manifest that was read, and where its last edit ends.
    pub(crate) manifest: (u64, u64),
    /// Whether memtables that outgrow their budget become tables, or stay in memory.
    pub(crate) may_write: bool,
    pub(crate) entries: u64,
    /// About how much memtables have grown since they were last weighed, in bytes.
    pub(crate) unweighed_bytes: u64,
    /// Ingests that the log tells of, and not that they did not happen.
    pub(crate) ingests_noted: BTreeSet<SeqNo>,
    /// Nothing is taken from here on: for whoever reads beside a writer that is busy with an ingest.
    pub(crate) stop_at: Option<SeqNo>,
    /// For a repair: the segments that its tables are made of. Empty: they are flushed like others.
    pub(crate) made_from: Vec<u64>,
}

impl Recovery<'_> {
    /// An empty memtable for entries of the log, with room for at least `data_bytes`.
    pub(crate) fn new_memtable(&self, data_bytes: u64) -> Arc<Memtable> {
        let options = self.options.memtable_options(self.hash_seed, data_bytes);
        // What becomes a table before anybody reads needs no index, and is sorted once.
        let is_only_written_out = self.may_write;
        let new = if is_only_written_out { Memtable::gathering } else { Memtable::new };
        Arc::new(new(options))
    }

    pub(crate) fn workshop(&self) -> Workshop<'_> {
        Workshop {
            fs: &self.options.env.fs,
            dir: self.dir.to_owned(),
            database_id: self.database_id,
            file_numbers: &self.file_numbers,
            limiter: Arc::clone(&self.limiter),
            created_ms: self.now_ms,
            options: self.options,
            // Nobody has anything else to do before a database is open.
            writers: self.options.background_threads,
            commit: None,
        }
    }

    /// Applies one batch to the memtables.
    pub(crate) fn replay_batch(
        &mut self,
        keyspaces: &mut [Replayed],
        frame: &FrameRef<'_>,
    ) -> lsm_io::Result<()> {
        let corrupt = |reason: String| {
            let path = self.dir.join(file_name(FileKind::Log, frame.segment));
            lsm_io::Error::corrupt(&path, frame.offset, reason)
        };
        if self.stop_at.is_some_and(|stop_at| frame.seq_start >= stop_at) {
            return Ok(());
        }
        let mut current = Replayed::find(keyspaces, DEFAULT_KEYSPACE);
        let mut seq_no = frame.seq_start;
        let mut entries = 0;
        for record in Records::new(frame.payload) {
            let record = record.map_err(|malformed| corrupt(malformed.to_string()))?;
            match record {
                Record::Keyspace(id) if id >= self.next_keyspace_id => {
                    let (number, bytes) = self.manifest;
                    let manifest = file_name(FileKind::Manifest, number);
                    return Err(corrupt(format!(
                        "keyspace {id} was never created, as {manifest} has it, which ends at byte \
                         {bytes}"
                    )));
                }
                Record::Keyspace(id) => current = Replayed::find(keyspaces, id),
                Record::Entry { tag, key, value } => {
                    // A keyspace that is not there any more was dropped later in the order.
                    let keyspace = current.map(|index| &mut keyspaces[index]);
                    if let Some(keyspace) = keyspace.filter(|it| seq_no > it.flushed_through) {
                        let entry = Entry { key, seq_no, tag, value };
                        // Where this fails, the log is not to blame.
                        self.insert(keyspace, &entry)?;
                        entries += 1;
                    }
                }
            }
            seq_no += 1;
        }
        if seq_no - frame.seq_start != u64::from(frame.count) {
            return Err(corrupt(format!("the batch should have {} records", frame.count)));
        }
        self.entries += entries;
        self.unweighed_bytes +=
            frame.payload.len() as u64 + ENTRY_OVERHEAD_BYTES * u64::from(frame.count);
        if self.may_write && self.unweighed_bytes >= self.options.memtables_part_bytes() / 64 {
            self.unweighed_bytes = 0;
            // Where this fails, the log is not to blame.
            self.weigh(keyspaces)?;
        }
        Ok(())
    }

    /// Writes out the largest memtables where those of all keyspaces together take too much.
    fn weigh(&self, keyspaces: &mut [Replayed]) -> Result<()> {
        let bytes = |keyspace: &Replayed| keyspace.memtable.allocated_bytes() as u64;
        loop {
            let filled = || keyspaces.iter().filter(|keyspace| !keyspace.memtable.is_empty());
            if filled().map(bytes).sum::<u64>() <= self.options.memtables_part_bytes() / 2 {
                return Ok(());
            }
            let filled = keyspaces.iter_mut().filter(|keyspace| !keyspace.memtable.is_empty());
            if let Some(largest) = filled.max_by_key(|keyspace| bytes(keyspace)) {
                self.write_out(largest)?;
            }
        }
    }

    /// Notes say what happened when; the manifest says what holds.
    fn replay_note(&mut self, frame: &FrameRef<'_>) -> lsm_io::Result<()> {
        let note = Note::decode(frame.payload).map_err(|malformed| {
            let path = self.dir.join(file_name(FileKind::Log, frame.segment));
            malformed.at(&path, frame.offset + FRAME_HEADER_BYTES as u64)
        })?;
        match note {
            Some(Note::Ingest(_)) => drop(self.ingests_noted.insert(frame.seq_start)),
            Some(Note::Void(seq_no)) => drop(self.ingests_noted.remove(&seq_no)),
            Some(Note::Reserved) | None => {}
        }
        Ok(())
    }

    /// The first ingest whose tables a reader beside a writer cannot see yet, although it sees the
    /// note.
    pub(crate) fn first_unsettled(&self, state: &ManifestState) -> Option<SeqNo> {
        self.ingests_noted.iter().find(|noted| !state.has_ingested(**noted)).copied()
    }

    fn insert(&self, keyspace: &mut Replayed, entry: &Entry<'_>) -> Result<()> {
        let bytes = entry.key.len() + entry.value.len();
        if !keyspace.memtable.has_room(1, bytes) {
            if self.may_write {
                self.write_out(keyspace)?;
            } else {
                let fresh = self.new_memtable(0);
                keyspace.sealed.insert(0, std::mem::replace(&mut keyspace.memtable, fresh));
            }
            if !keyspace.memtable.has_room(1, bytes) {
                keyspace.memtable = self.new_memtable(bytes as u64 * 2 + (64 << 10));
            }
        }
        keyspace.memtable.writer().insert(*entry, key_hash(entry.key));
        Ok(())
    }

    /// Turns what a keyspace holds in memory into tables, so that a log of any length is replayed
    /// within the memory of one memtable.
    pub(crate) fn write_out(&self, keyspace: &mut Replayed) -> Result<()> {
        if keyspace.memtable.is_empty() {
            return Ok(());
        }
        let retention = Retention::new(Vec::new(), self.now_ms);
        let is_repair = !self.made_from.is_empty();
        let origin = if is_repair { Origin::Repair } else { Origin::Flush };
        let older = if is_repair { Older::Unknown } else { keyspace.older() };
        let written = write_memtable_of(
            &self.workshop(),
            &keyspace.core,
            &keyspace.memtable,
            retention,
            &older,
            origin,
            self.made_from.clone(),
        )?;
        keyspace.tables.push(written);
        keyspace.memtable = self.new_memtable(0);
        Ok(())
    }
}

/// Replays the log that the manifest names, checking both against each other.
pub(crate) fn replay_log(
    recovery: &mut Recovery<'_>,
    state: &ManifestState,
    keyspaces: &mut [Replayed],
    closed_cleanly: bool,
) -> Result<LogReport> {
    span!(INFO, "replay");
    let fs = &recovery.options.env.fs;
    let (dir, mode, manifest) = (recovery.dir, recovery.options.recovery, recovery.manifest);
    let mut visit = |frame: FrameRef<'_>| match frame.kind {
        FrameKind::BATCH => recovery.replay_batch(keyspaces, &frame),
        FrameKind::NOTE => recovery.replay_note(&frame),
        _ => Ok(()),
    };
    let log = visit_log(fs, dir, state, manifest, closed_cleanly, mode, &mut visit)?;
    // Database time never goes back, and the log may know more of it than the manifest does.
    let known_ms = log.mark.as_ref().and_then(|mark| time_of_mark(&mark.extra)).unwrap_or(0);
    recovery.now_ms = recovery.now_ms.max(known_ms);
    Ok(log)
}

/// The database time that a mark tells behind the last edit of the manifest.
pub(crate) fn time_of_mark(extra: &[u8]) -> Option<u64> {
    extra.get(8..)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}

/// Shows `visit` every frame of the log that a manifest names, whose number and end `manifest` is, and
/// holds the two against each other.
pub(crate) fn visit_log(
    fs: &SharedFs,
    dir: &Path,
    state: &ManifestState,
    manifest: (u64, u64),
    closed_cleanly: bool,
    mode: RecoveryMode,
    visit: &mut dyn FnMut(FrameRef<'_>) -> lsm_io::Result<()>,
) -> lsm_io::Result<LogReport> {
    let (database_id, first_seq_no) = (state.database_id, Some(state.log_first_seq_no));
    let log = lsm_wal::replay(fs, dir, database_id, state.log_number, first_seq_no, mode, visit)?;
    check_log_report(dir, state, manifest, &log, closed_cleanly, mode)?;
    Ok(log)
}

/// Holds what the log turned out to be against what the manifest knows of it, whose number and end
/// `manifest` is.
fn check_log_report(
    dir: &Path,
    state: &ManifestState,
    manifest: (u64, u64),
    log: &LogReport,
    closed_cleanly: bool,
    mode: RecoveryMode,
) -> lsm_io::Result<()> {
    let path = dir.join(file_name(FileKind::Log, state.log_number));
    if closed_cleanly && !log.closed_cleanly {
        // After a clean close every bit counts.
        let reason = "the database was closed, but the log does not end with its closing frame";
        return Err(lsm_io::Error::corrupt(&path, log.bytes, reason));
    }
    // The manifest never tells of more than was durable. A log that ends before that has lost
    // acknowledged data, although nothing in the log itself may prove it.
    let end = log.next_seq_no.unwrap_or(state.log_first_seq_no);
    if end <= state.last_seq_no && mode != RecoveryMode::Salvage {
        let number = log.segments.last().map_or(state.log_number, |segment| segment.number);
        let reason = format!(
            "the log ends before sequence number {end}, but the manifest knows of durable data up to {}",
            state.last_seq_no
        );
        let path = dir.join(file_name(FileKind::Log, number));
        let offset = log.cut.as_ref().map_or(0, |cut| cut.offset);
        return Err(lsm_io::Error::corrupt(&path, offset, reason));
    }
    let known_edit = log.mark.as_ref().and_then(|mark| mark.extra.first_chunk());
    if let Some(edit) = known_edit.map(|bytes| u64::from_le_bytes(*bytes))
        && edit > state.edit_number
    {
        let (number, bytes) = manifest;
        let reason = format!(
            "the manifest ends with edit {}, but the log knows of edit {edit}",
            state.edit_number
        );
        let path = dir.join(file_name(FileKind::Manifest, number));
        return Err(lsm_io::Error::corrupt(&path, bytes, reason));
    }
    Ok(())
}
