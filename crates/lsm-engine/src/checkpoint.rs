//! The path of a checkpoint: a copy on disk that opens as a database, made while writes go on.
//!
//! 1. Claim the directory in the making, `NAME.unfinished` beside the target.
//! 2. Cut: under the manifest's lock and the write mutex, at memory speed, seal what is in memory
//!    and take hold of every keyspace's view. That is one moment of the one order, over all
//!    keyspaces; what is held cannot go, whatever flushes and compactions do meanwhile.
//! 3. Wait until the log is durable, and `visible` has passed, that moment.
//! 4. Give every table of the views a second name in the directory; those that cannot be linked
//!    are to be copied. No byte was written so far: is there room for the rest?
//! 5. Copy those, and write what the memtables hold as tables of level 0. The log is never linked,
//!    for its segments are written over: the copy begins a log of its own, closed and empty.
//! 6. Write a manifest with a database id of the copy's own, and `CURRENT`, last.
//! 7. Give the directory its name, and make the name durable.
//!
//! Order: 2 before 4, for only what is held stays; 3 before 7; 5 before 6 before 7. A crash before
//! 7 leaves the target as it was, and beside it what the next checkpoint to it throws away.

use std::collections::BTreeMap;
use std::io::ErrorKind as IoErrorKind;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use lsm_compaction::Retention;
use lsm_entry::SeqNo;
use lsm_io::checksum::{Xxh3, xxh3};
use lsm_io::{Identity, OpenMode, SharedFile};
use lsm_manifest::{FileKind, Manifest, ManifestEdit, ManifestState, file_name};
use lsm_memtable::Memtable;
use lsm_version::VersionEdit;
use lsm_wal::{Log, Pending, PreparedSegment};

use crate::blobs::HeldBlobFile;
use crate::db::Db;
use crate::error::{Error, ErrorKind, Result};
use crate::flush::{Older, flush_edit, write_memtable};
use crate::keyspace::KeyspaceCore;
use crate::limiter::{LimitedFile, Priority};
use crate::outputs::Workshop;
use crate::recover::apply;
use crate::shared::Shared;
use crate::spans::span;
use crate::tables::LiveTable;
use crate::unfinished::{Unfinished, check_free};
use crate::view::Tree;
use crate::waiter::Goal;

/// The copy's log holds nothing but that it is closed, and is never written again.
const SEGMENT_BYTES: u64 = 256;
/// What a checkpoint without tables takes at most: log, manifest, `CURRENT`.
const FIXED_BYTES: u64 = 64 << 10;
/// What a table's record takes in the manifest at most, beside its bounds.
const RECORD_BYTES: u64 = 192;
/// And what it takes for each blob file that it refers to, the file's own record included.
const SHARE_BYTES: u64 = 128;
/// What a table written from memory takes at most: for an entry beside its key and value, and for
/// the table itself.
const ENTRY_BYTES: u64 = 32;
const TABLE_BYTES: u64 = 32 << 10;
/// Bytes copied at once.
const CHUNK_BYTES: usize = 1 << 20;

/// How a checkpoint is made.
#[derive(Clone, Debug, Default)]
pub struct CheckpointOptions {
    /// Copies every table instead of linking it: more time and room, for a copy that shares no file
    /// with the database, so that no damage to one is damage to both.
    pub copy_tables: bool,
}

/// What was made, by a checkpoint or a restore.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct CheckpointReport {
    /// The moment that it holds: every write up to this sequence number, and none after it.
    pub seq_no: SeqNo,
    /// Tables in it.
    pub tables: u64,
    /// Bytes of tables and blob files that it shares with its source.
    pub bytes_linked: u64,
    /// Bytes of those that were copied.
    pub bytes_copied: u64,
    /// Bytes of those that were written from what was in memory.
    pub bytes_written: u64,
    /// How long it took.
    pub elapsed: Duration,
}

/// How far a checkpoint has come.
#[derive(Clone, Copy, Debug)]
pub struct CheckpointProgress {
    /// Bytes of files linked, copied or written so far.
    pub bytes: u64,
    /// About how many there will be.
    pub bytes_total: u64,
}

impl Db {
    /// Makes a copy of the database in the directory `dir`, which must not exist or be empty. It
    /// opens as a database of its own: tables are linked where the file system can, so it takes
    /// little time and room, and what becomes of either is nothing to the other.
    ///
    /// It holds one moment of all keyspaces, batches whole. Reads and writes go on meanwhile. A
    /// checkpoint that fails is removed again; one that is cut short by a crash lies beside the
    /// target as `NAME.unfinished`, and the next one to the same target replaces it.
    ///
    /// ```
    /// use lsm_engine::{Db, Reads};
    ///
    /// # let temp = tempfile::tempdir()?;
    /// # let (path, backup) = (temp.path().join("my.db"), temp.path().join("monday"));
    /// let db = Db::open(path)?;
    /// db.put("user:1", "Ada")?;
    /// db.checkpoint(&backup)?;
    /// db.delete("user:1")?;
    ///
    /// let copy = Db::open(&backup)?;
    /// assert_eq!(copy.get("user:1")?.as_deref(), Some(&b"Ada"[..]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// `Invalid` if `dir` is in use, `Busy` if another checkpoint to it is being made, `NoSpace` with
    /// what is needed and what there is, `ReadOnly` after a failed sync, `Corrupt` if a table that is
    /// copied is damaged, `Io`.
    pub fn checkpoint(&self, dir: impl AsRef<Path>) -> Result<CheckpointReport> {
        self.checkpoint_with(dir, &CheckpointOptions::default(), |_| {})
    }

    /// Makes a checkpoint with options, telling how far it has come after each table.
    ///
    /// # Errors
    /// See [`checkpoint`](Self::checkpoint).
    pub fn checkpoint_with(
        &self,
        dir: impl AsRef<Path>,
        options: &CheckpointOptions,
        mut progress: impl FnMut(CheckpointProgress),
    ) -> Result<CheckpointReport> {
        span!(INFO, "checkpoint", directory = dir.as_ref().display().to_string());
        let shared = self.shared();
        shared.check_open()?;
        check_outside(dir.as_ref(), &shared.dir)?;
        check_free(&shared.fs, dir.as_ref())?;
        let unfinished = Unfinished::begin(&shared.fs, dir.as_ref())?;
        let report = shared.copy_to(&unfinished, options, &mut progress)?;
        unfinished.finish()?;
        Ok(report)
    }
}

/// One moment of a database: everything that a copy of it holds.
struct Cut {
    seq_no: SeqNo,
    database_time_ms: u64,
    /// Above the number of every file.
    next_file_number: u64,
    keyspaces: BTreeMap<u32, CutKeyspace>,
}

struct CutKeyspace {
    core: Arc<KeyspaceCore>,
    options: String,
    tree: Arc<Tree>,
    /// Those with something in them that the tree has not, oldest first. Nothing is written to them.
    memtables: Vec<Arc<Memtable>>,
}

impl Shared {
    /// Fills a directory in the making with a copy of the database as it is now: steps 2 to 6.
    pub(crate) fn copy_to(
        &self,
        unfinished: &Unfinished,
        options: &CheckpointOptions,
        progress: &mut dyn FnMut(CheckpointProgress),
    ) -> Result<CheckpointReport> {
        let began = Instant::now();
        let cut = self.cut()?;
        if !self.is_read_only {
            // Order: what a copy holds was acknowledged, and no power cut takes it from its source.
            self.commit.reach(Goal::Durable(cut.seq_no))?;
            self.commit.reach(Goal::Visible(cut.seq_no))?;
        }
        let mut copy = Copy::new(self, unfinished.dir(), cut, progress);
        let unlinked = copy.link_files(options.copy_tables)?;
        copy.check_room(&unlinked)?;
        for file in &unlinked {
            copy.copy_file(file)?;
        }
        let edits = copy.write_memtables()?;
        copy.write_manifest(edits)?;
        let mut report = copy.report;
        report.elapsed = began.elapsed();
        Ok(report)
    }

    /// Step 2. Writers wait for as long as it takes to swap a few pointers.
    fn cut(&self) -> Result<Cut> {
        let mut keyspaces = BTreeMap::new();
        let seq_no = if self.is_read_only {
            // Held against a refresh in between.
            let _turn = self.manifest.lock().expect("no holder panicked");
            let moment = self.moment.load_full().expect("a read-only database shows a moment");
            for core in self.live_keyspaces() {
                let view = moment.view(core.id);
                let memtables = view.sealed.iter().rev().chain([&view.active]).cloned().collect();
                let tree = Arc::clone(&view.tree);
                let options = core.options().to_string();
                keyspaces.insert(core.id, CutKeyspace { core, options, tree, memtables });
            }
            moment.seq_no
        } else {
            self.check_writable()?;
            // What the manifest names counts: a keyspace whose drop is not durable yet is there.
            let (manifest, mut order) = self.lock_settled()?;
            let known = self.keyspaces.load();
            for (id, state) in &manifest.state().keyspaces {
                let core = known.get(id).cloned().expect("what the manifest names is open");
                self.seal(&core);
                let view = core.view.load();
                let memtables = view.sealed.iter().rev().cloned().collect();
                let tree = Arc::clone(&view.tree);
                let options = state.options.clone();
                drop(view);
                keyspaces.insert(*id, CutKeyspace { core, options, tree, memtables });
            }
            order.log().next_seq_no() - 1
        };
        for keyspace in keyspaces.values_mut() {
            keyspace.memtables.retain(|memtable| !memtable.is_empty());
        }
        let files = keyspaces.values().flat_map(|keyspace| files(&keyspace.tree));
        let highest = files.map(|file| file.number()).max().unwrap_or(0);
        let next_file_number = self.file_numbers.load(Ordering::Relaxed).max(highest + 1);
        let database_time_ms = self.database_time_ms();
        Ok(Cut { seq_no, database_time_ms, next_file_number, keyspaces })
    }
}

/// A copy being made.
struct Copy<'a> {
    shared: &'a Shared,
    dir: &'a Path,
    cut: Cut,
    database_id: u128,
    file_numbers: AtomicU64,
    report: CheckpointReport,
    bytes_total: u64,
    progress: &'a mut dyn FnMut(CheckpointProgress),
}

impl<'a> Copy<'a> {
    fn new(
        shared: &'a Shared,
        dir: &'a Path,
        cut: Cut,
        progress: &'a mut dyn FnMut(CheckpointProgress),
    ) -> Self {
        let random = &shared.options.env.random;
        // Not the source's, even where the source of randomness stands still.
        let other = xxh3(&shared.database_id.to_le_bytes());
        let database_id = u128::from(random() ^ other) << 64 | u128::from(random());
        let files = cut.files().map(|file| file.bytes());
        let memtables = cut.memtables().map(|(_, memtable)| memtable.data_bytes() as u64);
        let bytes_total = files.chain(memtables).sum();
        let report = CheckpointReport { seq_no: cut.seq_no, ..CheckpointReport::default() };
        let file_numbers = AtomicU64::new(cut.next_file_number);
        Self { shared, dir, cut, database_id, file_numbers, report, bytes_total, progress }
    }

    /// Step 4. Returns the files that could not be linked.
    fn link_files(&mut self, copy_tables: bool) -> Result<Vec<CutFile>> {
        let mut unlinked = Vec::new();
        for file in self.cut.files().collect::<Vec<_>>() {
            let name = file.name();
            let (source, target) = (self.shared.dir.join(&name), self.dir.join(&name));
            let linked = match copy_tables {
                true => false,
                false => match self.shared.fs.hard_link(&source, &target) {
                    Err(error) if error.io_kind().is_some_and(calls_for_a_copy) => false,
                    linked => linked.map(|()| true)?,
                },
            };
            self.report.tables += u64::from(matches!(file, CutFile::Table(_)));
            if linked {
                self.report.bytes_linked += file.bytes();
                self.note_file();
            } else {
                unlinked.push(file);
            }
        }
        Ok(unlinked)
    }

    /// Whether all that is still to be written finds room.
    fn check_room(&self, unlinked: &[CutFile]) -> Result<()> {
        let copied: u64 = unlinked.iter().map(CutFile::bytes).sum();
        let written = self.cut.memtables().map(|(_, memtable)| {
            memtable.data_bytes() as u64 + memtable.entries() as u64 * ENTRY_BYTES + TABLE_BYTES
        });
        let records = self.cut.tables().map(|table| {
            let record = table.record();
            let shares = record.blobs.len() as u64 * SHARE_BYTES;
            (record.lower.len() + record.upper.len()) as u64 + RECORD_BYTES + shares
        });
        let needed = FIXED_BYTES + copied + written.chain(records).sum::<u64>();
        let available = self.shared.fs.available_bytes(self.dir)?;
        if needed <= available {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::NoSpace,
            format!(
                "a copy in {} needs {needed} bytes, {copied} of them for tables that cannot be \
                 linked; {available} are available",
                self.dir.display()
            ),
        ))
    }

    /// Copies a file, whole or not at all: what is damaged is no backup of anything.
    fn copy_file(&mut self, file: &CutFile) -> Result<()> {
        let (name, bytes) = (file.name(), file.bytes());
        // Whoever reads beside a writer may find the name gone, but holds the file.
        let source = match file.file_if_open() {
            Some(open) => open,
            None => self.shared.fs.open(&self.shared.dir.join(&name), OpenMode::Read)?,
        };
        let checksum_told = file.checksum();
        let file = self.shared.fs.open(&self.dir.join(&name), OpenMode::CreateNew)?;
        let limiter = Arc::clone(&self.shared.limiter);
        let target: SharedFile = Arc::new(LimitedFile::new(file, limiter, Priority::Compaction));
        let mut checksum = Xxh3::new();
        let mut buffer = vec![0; CHUNK_BYTES];
        let mut offset = 0;
        while offset < bytes {
            let rest = usize::try_from(bytes - offset).unwrap_or(CHUNK_BYTES);
            let chunk = &mut buffer[..rest.min(CHUNK_BYTES)];
            source.read_at(offset, chunk)?;
            checksum.update(chunk);
            target.write_at(offset, chunk)?;
            offset += chunk.len() as u64;
        }
        if checksum.finish() != checksum_told {
            let reason = "the file's checksum is not the one in the manifest";
            return Err(lsm_io::Error::corrupt(source.path(), 0, reason).into());
        }
        target.sync()?;
        self.report.bytes_copied += bytes;
        self.note_file();
        Ok(())
    }

    /// Step 5: what the tables do not hold yet, by keyspace.
    fn write_memtables(&mut self) -> Result<Vec<(u32, VersionEdit)>> {
        let mut edits = Vec::new();
        let memtables: Vec<(Arc<KeyspaceCore>, Arc<Memtable>)> =
            self.cut.memtables().map(|(core, it)| (Arc::clone(core), Arc::clone(it))).collect();
        for (core, memtable) in memtables {
            let workshop = Workshop {
                fs: &self.shared.fs,
                dir: self.dir.to_owned(),
                database_id: self.database_id,
                file_numbers: &self.file_numbers,
                limiter: Arc::clone(&self.shared.limiter),
                created_ms: self.cut.database_time_ms,
                // A sync that fails here says nothing of the source's directory.
                commit: None,
            };
            // Nobody has a snapshot of the copy.
            let retention = Retention::new(Vec::new(), self.cut.database_time_ms);
            let older = self.older(&core, &edits);
            let written = write_memtable(workshop, &core, &memtable, retention, &older)?;
            if !written.records().is_empty() {
                edits.push((core.id, flush_edit(&written)));
            }
            self.report.bytes_written += written.blobs().iter().map(|blob| blob.bytes).sum::<u64>();
            for record in written.keep() {
                self.report.bytes_written += record.bytes;
                self.note_file();
                self.report.tables += 1;
            }
        }
        Ok(edits)
    }

    /// What is older than the next memtable of a keyspace.
    fn older(&self, core: &KeyspaceCore, written: &[(u32, VersionEdit)]) -> Older {
        let tree = self.cut.keyspaces.get(&core.id).map(|keyspace| &keyspace.tree);
        let mut older = tree.map_or(Older::Unknown, |tree| Older::of(&tree.version));
        for (_, edit) in written.iter().filter(|(id, _)| *id == core.id) {
            let records: Vec<_> = edit.added.iter().map(|(_, table)| Arc::clone(table)).collect();
            older.extend(&records);
        }
        older
    }

    /// Step 6, behind a log that is closed and empty.
    fn write_manifest(&mut self, written: Vec<(u32, VersionEdit)>) -> Result<()> {
        let (fs, dir) = (&self.shared.fs, self.dir);
        let mut state = ManifestState::new(self.database_id);
        let mut edit = ManifestEdit::default();
        for (&id, keyspace) in &self.cut.keyspaces {
            let name = keyspace.core.name.clone();
            edit.create_keyspaces.push((id, name, keyspace.options.clone(), self.cut.seq_no));
            edit.tables.push((id, keyspace.tree.version.as_edit()));
        }
        edit.tables.extend(written);
        let segment_number = self.file_numbers.fetch_add(1, Ordering::Relaxed);
        let manifest_number = self.file_numbers.fetch_add(1, Ordering::Relaxed);
        edit.log_number = Some(segment_number);
        edit.log_first_seq_no = Some(self.cut.seq_no + 1);
        edit.next_file_number = Some(self.file_numbers.load(Ordering::Relaxed));
        edit.last_seq_no = Some(self.cut.seq_no);
        edit.database_time_ms = Some(self.cut.database_time_ms);
        apply(&mut state, &edit)?;

        let identity = Identity { database_id: self.database_id, file_number: segment_number };
        let segment = PreparedSegment::prepare(fs, dir, identity, SEGMENT_BYTES, None)?;
        let mut log = Log::start(segment, self.cut.seq_no + 1);
        log.append_close();
        let mut closing = log.take_pending(Pending::Sync);
        closing.write()?;
        closing.sync()?;
        // Order: the log, and every name in the directory, are durable before `CURRENT` is there; the
        // manifest's start syncs the directory in between.
        Ok(Manifest::start(fs, dir, manifest_number, state)?.close()?)
    }

    fn note_file(&mut self) {
        let CheckpointReport { bytes_linked, bytes_copied, bytes_written, .. } = self.report;
        let bytes = bytes_linked + bytes_copied + bytes_written;
        let bytes_total = self.bytes_total.max(bytes);
        (self.progress)(CheckpointProgress { bytes, bytes_total });
    }
}

impl Cut {
    fn tables(&self) -> impl Iterator<Item = &Arc<LiveTable>> {
        self.keyspaces.values().flat_map(|keyspace| keyspace.tree.tables())
    }

    /// Every file that the copy shares with its source, or has a copy of.
    fn files(&self) -> impl Iterator<Item = CutFile> {
        self.keyspaces.values().flat_map(|keyspace| files(&keyspace.tree))
    }

    fn memtables(&self) -> impl Iterator<Item = (&Arc<KeyspaceCore>, &Arc<Memtable>)> {
        let keyspaces = self.keyspaces.values();
        keyspaces.flat_map(|keyspace| keyspace.memtables.iter().map(|it| (&keyspace.core, it)))
    }
}

/// A file of the cut, held so that it stays.
enum CutFile {
    Table(Arc<LiveTable>),
    Blob(Arc<HeldBlobFile>),
}

/// Blob files before the tables that refer to them.
fn files(tree: &Tree) -> impl Iterator<Item = CutFile> {
    let blobs = tree.blobs.iter().map(|file| CutFile::Blob(Arc::clone(file)));
    blobs.chain(tree.tables().map(|table| CutFile::Table(Arc::clone(table))))
}

impl CutFile {
    fn number(&self) -> u64 {
        match self {
            Self::Table(table) => table.record().number,
            Self::Blob(file) => file.record().number,
        }
    }

    fn name(&self) -> String {
        let kind = match self {
            Self::Table(_) => FileKind::Table,
            Self::Blob(_) => FileKind::Blob,
        };
        file_name(kind, self.number())
    }

    fn bytes(&self) -> u64 {
        match self {
            Self::Table(table) => table.record().bytes,
            Self::Blob(file) => file.record().bytes,
        }
    }

    fn checksum(&self) -> u64 {
        match self {
            Self::Table(table) => table.record().checksum,
            Self::Blob(file) => file.record().checksum,
        }
    }

    fn file_if_open(&self) -> Option<SharedFile> {
        match self {
            Self::Table(table) => table.table_if_open().map(|table| table.file().clone()),
            Self::Blob(file) => file.file_if_open().map(|file| file.file().clone()),
        }
    }
}

/// Refuses a copy of a database in the database's own directory, which goes where that goes.
pub(crate) fn check_outside(copy: &Path, database: &Path) -> Result<()> {
    if !absolute(copy).starts_with(absolute(database)) {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "{} lies in {}, a database, which a copy of it must not",
        copy.display(),
        database.display()
    )))
}

/// A path from the root, without "." and "..".
fn absolute(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).components() {
        match component {
            Component::ParentDir => drop(plain.pop()),
            component => plain.push(component),
        }
    }
    plain
}

/// Whether a link that failed so says no more than that this table cannot be linked: it lies on
/// another file system, on one without links, has as many as it may have, or has lost its name to a
/// writer beside whom this process only reads.
fn calls_for_a_copy(kind: IoErrorKind) -> bool {
    matches!(
        kind,
        IoErrorKind::CrossesDevices
            | IoErrorKind::Unsupported
            | IoErrorKind::PermissionDenied
            | IoErrorKind::TooManyLinks
            | IoErrorKind::NotFound
    )
}
