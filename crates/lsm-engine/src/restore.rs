//! The path of a restore: a checkpoint takes the place of a database.
//!
//! 1. Claim the place: nobody has the database open that is there; a swap that was cut short is
//!    undone.
//! 2. Read every byte of the checkpoint and check it.
//! 3. Copy it into a directory beside the place, as a checkpoint of the checkpoint: with a database
//!    id of its own, whole and durable before it counts.
//! 4. Swap the directories (`swap.rs`). The old one is kept aside, unless the caller has no use for
//!    it.
//!
//! Order: 2 before 3 before 4. Until 4 nothing that was there is touched.

use std::io::ErrorKind as IoErrorKind;
use std::path::{Path, PathBuf};

use lsm_io::SharedFs;
use lsm_manifest::Manifest;

use crate::checkpoint::{CheckpointOptions, CheckpointProgress, CheckpointReport};
use crate::db::Db;
use crate::env::Env;
use crate::error::{Error, Result};
use crate::options::{Options, ReadMode};
use crate::recover::check_files_present;
use crate::swap::{Swap, no_database_at};
use crate::unfinished::{Unfinished, check_outside};
use crate::verify::{VerifyOptions, VerifyProgress, VerifyReport};

/// How a restore is done.
#[derive(Clone, Debug)]
pub struct RestoreOptions {
    /// Copies every table instead of linking it: more time and room, for a database that shares no
    /// file with its backup, so that no damage to one is damage to both.
    pub copy_tables: bool,
    /// Keeps the database that was there, as `NAME.replaced` beside the new one. Without it, it is
    /// removed once the new one is in place, durably.
    pub keep_replaced: bool,
    /// Files and randomness.
    pub env: Env,
}

impl Default for RestoreOptions {
    fn default() -> Self {
        Self { copy_tables: false, keep_replaced: true, env: Env::default() }
    }
}

/// What a restore did.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct RestoreReport {
    /// What was read and checked of the checkpoint.
    pub verified: VerifyReport,
    /// What was made of it.
    pub restored: CheckpointReport,
    /// Where the database is that was there before, if one was and is still kept.
    pub replaced: Option<PathBuf>,
}

/// How far a restore has come.
#[derive(Clone, Copy, Debug)]
pub enum RestoreProgress {
    /// It checks the checkpoint.
    Verify(VerifyProgress),
    /// It makes the new database.
    Copy(CheckpointProgress),
}

/// Puts the database in `checkpoint` in the place `target`, where one may be already: that one is
/// kept as `NAME.replaced` beside it. The checkpoint stays as it is.
///
/// Every byte of the checkpoint is checked first, and nothing is touched if any is wrong. At
/// whatever call a crash comes, `target` opens as the old database or as the new one.
///
/// ```
/// use lsm_engine::{Db, Reads};
///
/// # let temp = tempfile::tempdir()?;
/// # let (path, backup) = (temp.path().join("my.db"), temp.path().join("monday"));
/// let db = Db::open(&path)?;
/// db.put("user:1", "Ada")?;
/// db.checkpoint(&backup)?;
/// db.delete("user:1")?;
/// db.close()?;
///
/// lsm_engine::restore(&backup, &path)?;
/// assert!(Db::open(&path)?.contains_key("user:1")?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// `Corrupt` if the checkpoint is damaged, with the first damage; `Invalid` if it is no database, if
/// `target` holds something else, or if `NAME.replaced` is there already; `Busy` if `target` is
/// open; `NoSpace` with what is needed and what there is; `Io`.
pub fn restore(checkpoint: impl AsRef<Path>, target: impl AsRef<Path>) -> Result<RestoreReport> {
    restore_with(checkpoint, target, &RestoreOptions::default(), |_| {})
}

/// Restores with options, telling how far it has come after each table.
///
/// # Errors
/// See [`restore`].
pub fn restore_with(
    checkpoint: impl AsRef<Path>,
    target: impl AsRef<Path>,
    options: &RestoreOptions,
    mut progress: impl FnMut(RestoreProgress),
) -> Result<RestoreReport> {
    let (checkpoint, target) = (checkpoint.as_ref(), target.as_ref());
    let fs = &options.env.fs;
    check_outside(checkpoint, target)?;
    check_outside(target, checkpoint)?;
    let swap = Swap::claim(fs, target)?;
    check_present(fs, checkpoint)?;
    let source = Db::open_read_only_with(
        checkpoint,
        Options {
            // A mapped file on a failing disk would end the process.
            read_mode: ReadMode::Cached,
            env: options.env.clone(),
            ..Options::default()
        },
    )?;
    let verified = source
        .verify_with(&VerifyOptions::default(), |told| progress(RestoreProgress::Verify(told)))?;
    check_clean(checkpoint, &verified)?;
    let made = Unfinished::begin(fs, target)?;
    let how = CheckpointOptions { copy_tables: options.copy_tables };
    let told = &mut |told| progress(RestoreProgress::Copy(told));
    let restored = source.shared().copy_to(&made, &how, told)?;
    let mut replaced = swap.put(made)?;
    if !options.keep_replaced
        && let Some(dir) = &replaced
        && fs.remove_dir_all(dir).is_ok()
    {
        replaced = None;
    }
    Ok(RestoreReport { verified, restored, replaced })
}

/// Every file that the checkpoint's manifest names is there with its length: what is not will not
/// come, as it might where a writer is at work.
fn check_present(fs: &SharedFs, checkpoint: &Path) -> Result<()> {
    let read = Manifest::read(fs, checkpoint).map_err(|error| match error.io_kind() {
        Some(IoErrorKind::NotFound | IoErrorKind::NotADirectory) => no_database_at(fs, checkpoint),
        _ => error.into(),
    })?;
    check_files_present(checkpoint, &read.state, &fs.list(checkpoint)?)
}

fn check_clean(checkpoint: &Path, verified: &VerifyReport) -> Result<()> {
    let Some(first) = verified.damage.first() else { return Ok(()) };
    let more = match verified.damage.len() {
        1 => String::new(),
        count => format!(" (and {} more)", count - 1),
    };
    Err(Error::corrupt(format!(
        "{} is damaged and was not restored: {} at byte {}: {}{more}",
        checkpoint.display(),
        first.path.display(),
        first.offset,
        first.reason
    )))
}
