//! Emptying the directory of a database. The directory stays.

use std::path::Path;

use lsm_io::{DirEntry, Fs, LockOutcome, StdFs};
use lsm_manifest::{FileKind, file_name, parse_file_name};

use crate::exit::{Exit, Failure};

/// The one directory inside a database's: files that a recovery set aside.
const LOST: &str = "lost";

/// The first that a database has not put there, of what a directory holds.
pub(crate) fn find_foreign(listing: &[DirEntry]) -> Option<&DirEntry> {
    listing.iter().find(|DirEntry { name, is_dir, .. }| {
        if *is_dir { name != LOST } else { parse_file_name(name).0 == FileKind::Other }
    })
}

/// Removes all of `listing`, a database and nothing else, from `dir`, under the database's lock.
///
/// # Errors
/// `Busy` if somebody has it open; `Io`.
pub(crate) fn empty(dir: &Path, listing: &[DirEntry]) -> Result<(), Failure> {
    let (lock, current) = (file_name(FileKind::Lock, 0), file_name(FileKind::Current, 0));
    let holder = format!("process {}", std::process::id());
    let _guard = match StdFs.try_lock(&dir.join(&lock), &holder)? {
        LockOutcome::Acquired(guard) => guard,
        LockOutcome::HeldBy(holder) => {
            let dir = dir.display();
            let message = format!("{dir} is open already, held by {holder}");
            return Err(Failure::new(Exit::Busy, message));
        }
    };
    // Order: without this one there is no database, whatever else a crash leaves.
    if listing.iter().any(|entry| entry.name == current) {
        StdFs.remove_file(&dir.join(&current))?;
        StdFs.sync_dir(dir)?;
    }
    for entry in listing.iter().filter(|entry| entry.name != current && entry.name != lock) {
        let path = dir.join(&entry.name);
        if entry.is_dir { StdFs.remove_dir_all(&path)? } else { StdFs.remove_file(&path)? }
    }
    Ok(StdFs.remove_file(&dir.join(&lock))?)
}
