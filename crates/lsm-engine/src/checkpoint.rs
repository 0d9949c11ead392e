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
//! Step 2 is in `checkpoint/cut.rs`, steps 4 to 6 are in `checkpoint/copy.rs`.
//!
//! Order: 2 before 4, for only what is held stays; 3 before 7; 5 before 6 before 7. A crash before
//! 7 leaves the target as it was, and beside it what the next checkpoint to it throws away.

mod copy;
mod cut;

use std::path::Path;
use std::time::{Duration, Instant};

use lsm_entry::SeqNo;

use crate::db::Db;
use crate::error::Result;
use crate::shared::Shared;
use crate::spans::span;
use crate::unfinished::{Unfinished, check_free, check_outside};
use crate::waiter::Goal;
use copy::Copy;

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
}
