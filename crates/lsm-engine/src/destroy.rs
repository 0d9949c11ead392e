//! Removing a database and nothing else.
//!
//! 1. Look: everything in the directory has a name that a database gives.
//! 2. Claim the directory, so that nobody has it open.
//! 3. Remove `CURRENT`, durably: from here on there is no database, whatever stays behind.
//! 4. Remove the rest, then the directory.
//!
//! Order: 3 before 4. A crash in between leaves files that no open takes for a database, and that
//! `destroy` removes when it is asked again.

use std::io::ErrorKind;
use std::path::Path;

use lsm_io::DirEntry;
use lsm_manifest::{FileKind, file_name, parse_file_name};

use crate::directory::{LOST, lock_directory};
use crate::env::Env;
use crate::error::{Error, Result};

/// Removes the database in directory `path` with all its files, `lost/` included, and the directory.
/// One that holds anything else is refused, and nothing is removed.
///
/// ```
/// use lsm_engine::{Db, destroy};
///
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("my.db");
/// Db::open(&path)?.close()?;
/// destroy(&path)?;
/// assert!(!path.exists());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// `Invalid` if there is no database, or if something else is in the directory (it is named); `Busy`
/// if the database is open; `Io`, after which it can be asked again.
pub fn destroy(path: impl AsRef<Path>) -> Result<()> {
    destroy_in(path, &Env::default())
}

/// The same in a world of the caller's choice.
///
/// # Errors
/// Those of [`destroy`].
pub fn destroy_in(path: impl AsRef<Path>, env: &Env) -> Result<()> {
    let (fs, dir) = (&env.fs, path.as_ref());
    let listing = match fs.list(dir) {
        Ok(listing) => listing,
        Err(error) => {
            return Err(match error.io_kind() {
                Some(ErrorKind::NotFound | ErrorKind::NotADirectory) => no_database(dir),
                _ => error.into(),
            });
        }
    };
    check_ours(dir, &listing)?;
    let lock = lock_directory(fs, dir)?;
    // Listed again, now that nobody else makes files here.
    let listing = fs.list(dir)?;
    check_ours(dir, &listing)?;
    let current = file_name(FileKind::Current, 0);
    if listing.iter().any(|entry| entry.name == current) {
        fs.remove_file(&dir.join(&current))?;
        // Order: see the file comment, step 3.
        fs.sync_dir(dir)?;
    }
    for entry in listing.iter().filter(|entry| entry.name != current) {
        let path = dir.join(&entry.name);
        match parse_file_name(&entry.name).0 {
            FileKind::Lock => {}
            _ if entry.is_dir => fs.remove_dir_all(&path)?,
            _ => fs.remove_file(&path)?,
        }
    }
    drop(lock);
    // With the lock file in it, which was held until now.
    fs.remove_dir_all(dir)?;
    match dir.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => Ok(fs.sync_dir(parent)?),
        _ => Ok(()),
    }
}

fn no_database(dir: &Path) -> Error {
    Error::invalid(format!("there is no database at {}", dir.display()))
}

/// Everything is a database's, and there is more than a lock.
fn check_ours(dir: &Path, listing: &[DirEntry]) -> Result<()> {
    let is_ours = |entry: &DirEntry| match parse_file_name(&entry.name).0 {
        FileKind::Other => entry.is_dir && entry.name == LOST,
        _ => !entry.is_dir,
    };
    if let Some(foreign) = listing.iter().find(|entry| !is_ours(entry)) {
        return Err(Error::invalid(format!(
            "{} holds {}, which is no part of a database; nothing was removed",
            dir.display(),
            foreign.name
        )));
    }
    let is_lock = |entry: &DirEntry| parse_file_name(&entry.name).0 == FileKind::Lock;
    if listing.iter().all(is_lock) { Err(no_database(dir)) } else { Ok(()) }
}
