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
//! Steps 4 to 6 are carried out in `copy.rs`, 1 and 7 in `unfinished.rs`.
//!
//! Order: 2 before 4, for only what is held stays; 3 before 7; 5 before 6 before 7. A crash before
//! 7 leaves the target as it was, and beside it what the next checkpoint to it throws away.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use lsm_entry::SeqNo;
use lsm_memtable::Memtable;

use crate::commit::Goal;
use crate::copy::Copy;
use crate::db::Db;
use crate::error::{Error, Result};
use crate::keyspace::KeyspaceCore;
use crate::shared::Shared;
use crate::tables::LiveTable;
use crate::unfinished::{Unfinished, check_free};
use crate::view::Tree;

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
    /// Bytes of tables that it shares with its source.
    pub bytes_linked: u64,
    /// Bytes of tables that were copied.
    pub bytes_copied: u64,
    /// Bytes of tables that were written from what was in memory.
    pub bytes_written: u64,
    /// How long it took.
    pub elapsed: Duration,
}

/// How far a checkpoint has come.
#[derive(Clone, Copy, Debug)]
pub struct CheckpointProgress {
    /// Bytes of tables linked, copied or written so far.
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
pub(crate) struct Cut {
    pub(crate) seq_no: SeqNo,
    pub(crate) database_time_ms: u64,
    /// Above the number of every table.
    pub(crate) next_file_number: u64,
    pub(crate) keyspaces: BTreeMap<u32, CutKeyspace>,
}

/// A keyspace at that moment.
pub(crate) struct CutKeyspace {
    pub(crate) core: Arc<KeyspaceCore>,
    pub(crate) options: String,
    pub(crate) tree: Arc<Tree>,
    /// Those with something in them that the tree has not, oldest first. Nothing is written to them.
    pub(crate) memtables: Vec<Arc<Memtable>>,
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
        let copy = Copy::new(self, unfinished.dir(), cut, progress);
        let mut report = copy.make(options.copy_tables)?;
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
            let manifest = self.lock_manifest()?;
            let known = self.keyspaces.load();
            let mut order = self.commit.lock_order();
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
        let tables = keyspaces.values().flat_map(|keyspace| keyspace.tree.tables());
        let highest = tables.map(|table| table.record().number).max().unwrap_or(0);
        let next_file_number = self.file_numbers.load(Ordering::Relaxed).max(highest + 1);
        let database_time_ms = self.database_time_ms();
        Ok(Cut { seq_no, database_time_ms, next_file_number, keyspaces })
    }
}

impl Cut {
    pub(crate) fn tables(&self) -> impl Iterator<Item = &Arc<LiveTable>> {
        self.keyspaces.values().flat_map(|keyspace| keyspace.tree.tables())
    }

    pub(crate) fn memtables(&self) -> impl Iterator<Item = (&Arc<KeyspaceCore>, &Arc<Memtable>)> {
        let keyspaces = self.keyspaces.values();
        keyspaces.flat_map(|keyspace| keyspace.memtables.iter().map(|it| (&keyspace.core, it)))
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
