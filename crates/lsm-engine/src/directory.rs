//! The directory of a database: made durably, and claimed by one process.

use std::io::ErrorKind;
use std::path::Path;

use lsm_io::{DirEntry, LockGuard, LockOutcome, SharedFs};
use lsm_manifest::{FileKind, file_name, parse_file_name};

use crate::error::{Error, Result};
use crate::swap::{complete_swap, no_database_at};

/// The directory, within a database's, for what was set aside.
pub(crate) const LOST: &str = "lost";

/// Sees to it that there is a directory in which a database is, or may be created, durably.
pub(crate) fn prepare_directory(fs: &SharedFs, dir: &Path, may_create: bool) -> Result<()> {
    if fs.exists(dir)? {
        let listing = fs.list(dir).map_err(|error| match error.io_kind() {
            Some(ErrorKind::NotADirectory) => {
                Error::invalid(format!("{} is a file; a database is a directory", dir.display()))
            }
            _ => error.into(),
        })?;
        if listing.iter().any(|entry| entry.name == file_name(FileKind::Current, 0)) {
            return Ok(());
        }
        if listing.is_empty() && complete_swap(fs, dir)? {
            return Ok(());
        }
        check_ours(dir, &listing)?;
    } else if complete_swap(fs, dir)? {
        return Ok(());
    }
    if !may_create {
        return Err(no_database_at(fs, dir));
    }
    // Order: the directory's own name is durable before anything in it counts.
    make_directory(fs, dir)
}

/// Without `CURRENT` a directory may hold what an unfinished creation left, and nothing else.
pub(crate) fn check_ours(dir: &Path, listing: &[DirEntry]) -> Result<()> {
    let is_foreign =
        |entry: &&DirEntry| entry.is_dir || parse_file_name(&entry.name).0 == FileKind::Other;
    listing.iter().find(is_foreign).map_or(Ok(()), |foreign| {
        Err(Error::invalid(format!(
            "{} belongs to something else: it holds {} and no database",
            dir.display(),
            foreign.name
        )))
    })
}

/// Makes a directory and those missing above it, from the top, each name durable before the next
/// is made. So of those that are there already only the lowest may be what a creation left that was
/// cut short, and its name is made durable too.
pub(crate) fn make_directory(fs: &SharedFs, dir: &Path) -> Result<()> {
    let Some(parent) = dir.parent() else { return Ok(()) };
    if fs.exists(dir)? {
        return match fs.sync_dir(parent) {
            // Where we may not look we have made nothing.
            Err(error) if error.io_kind() == Some(ErrorKind::PermissionDenied) => Ok(()),
            synced => Ok(synced?),
        };
    }
    if !parent.as_os_str().is_empty() {
        make_directory(fs, parent)?;
    }
    fs.create_dir_all(dir)?;
    Ok(fs.sync_dir(parent)?)
}

/// Claims the directory against a second writer.
pub(crate) fn lock_directory(fs: &SharedFs, dir: &Path) -> Result<Box<dyn LockGuard>> {
    let path = dir.join(file_name(FileKind::Lock, 0));
    let holder = format!("process {}", std::process::id());
    match fs.try_lock(&path, &holder)? {
        LockOutcome::Acquired(guard) => Ok(guard),
        LockOutcome::HeldBy(holder) => {
            Err(Error::busy(format!("{} is open already, held by {holder}", dir.display()), None))
        }
    }
}
