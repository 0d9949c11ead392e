//! Putting a whole new directory in the place of a database's, so that a crash at any call leaves
//! the old database or the new one to be opened.
//!
//! ```text
//!   before        my.db = old                            my.db.unfinished = new, whole and durable
//!   in between                   my.db.replaced = old    my.db.unfinished = new
//!   after         my.db = new    my.db.replaced = old
//! ```
//! Each row is durable before the next begins. In the middle one `my.db` has no directory: the next
//! open completes the swap, the next restore undoes it and begins anew. Whoever swaps holds the
//! locks of both directories, which go with them under any name.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lsm_io::{DirEntry, LockGuard, SharedFs};
use lsm_manifest::{FileKind, Manifest, parse_file_name};

use crate::directory::{check_ours, lock_directory};
use crate::error::{Error, ErrorKind, Result};
use crate::unfinished::{Unfinished, beside, names_in, parent, unfinished};

/// What the name of a database that was set aside ends with.
const REPLACED: &str = ".replaced";

/// The place of a database that is to be replaced, claimed.
#[derive(Debug)]
pub(crate) struct Swap {
    fs: SharedFs,
    target: PathBuf,
    replaced: PathBuf,
    /// `None`: there is nothing to replace.
    lock: Option<Box<dyn LockGuard>>,
}

impl Swap {
    /// Claims the place, against whoever has the database open and against others who replace it.
    pub(crate) fn claim(fs: &SharedFs, target: &Path) -> Result<Self> {
        let replaced = beside(target, REPLACED)?;
        let listing = names_in(fs, target)?;
        let lock = if !listing.is_empty() {
            if !is_database(&listing) {
                check_ours(target, &listing)?;
            }
            if !names_in(fs, &replaced)?.is_empty() {
                return Err(Error::invalid(format!(
                    "{} is in the way, perhaps set aside by an earlier restore: move it elsewhere, \
                     or remove it, first",
                    replaced.display()
                )));
            }
            Some(lock_directory(fs, target)?)
        } else if find_replaced(fs, target)?.is_some() {
            // A swap was cut short.
            let lock = lock_directory(fs, &replaced)?;
            fs.rename(&replaced, target)?;
            fs.sync_dir(parent(target))?;
            Some(lock)
        } else {
            None
        };
        Ok(Self { fs: Arc::clone(fs), target: target.to_owned(), replaced, lock })
    }

    /// Swaps; returns where the database that was there is now.
    pub(crate) fn put(self, mut made: Unfinished) -> Result<Option<PathBuf>> {
        if self.lock.is_none() {
            made.finish()?;
            return Ok(None);
        }
        let Self { fs, target, replaced, .. } = &self;
        // Order: the new one has a name for good before the old one loses its own.
        fs.sync_dir(parent(target))?;
        fs.rename(target, replaced)?;
        // Order: that the old one is set aside is durable before the new one takes its name. Else a
        // power cut could keep the second step without the first, and the old one had no name.
        let set_aside = fs.sync_dir(parent(target));
        let is_durable = set_aside.is_ok();
        if let Err(error) = set_aside.map_err(Error::from).and_then(|()| made.place()) {
            let undone = fs.rename(replaced, target).and_then(|()| fs.sync_dir(parent(target)));
            if undone.is_err() || !is_durable {
                // A power cut may leave the row in the middle, which takes both of them whole.
                made.keep();
            }
            return Err(error);
        }
        // From here on an open finds the new one, whether this sync succeeds or not.
        fs.sync_dir(parent(target))?;
        Ok(Some(self.replaced))
    }
}

/// Completes a swap that was cut short, where no database is at `target`; `false` if there was none.
pub(crate) fn complete_swap(fs: &SharedFs, target: &Path) -> Result<bool> {
    let Some(replaced) = find_replaced(fs, target)? else { return Ok(false) };
    let made = unfinished(target)?;
    if Manifest::current(fs, &made)?.is_none() {
        return Err(nothing_but(target, &replaced));
    }
    let _lock = lock_directory(fs, &made)?;
    fs.rename(&made, target)?;
    fs.sync_dir(parent(target))?;
    Ok(true)
}

/// Why there is no database at `target`, for whoever may not change that.
pub(crate) fn no_database_at(fs: &SharedFs, target: &Path) -> Error {
    match find_replaced(fs, target) {
        Ok(Some(replaced)) => nothing_but(target, &replaced),
        _ => Error::invalid(format!("there is no database at {}", target.display())),
    }
}

/// The database that a restore of `target` has set aside.
fn find_replaced(fs: &SharedFs, target: &Path) -> Result<Option<PathBuf>> {
    let Ok(replaced) = beside(target, REPLACED) else { return Ok(None) };
    match names_in(fs, &replaced) {
        Ok(listing) => Ok(is_database(&listing).then_some(replaced)),
        // A file.
        Err(error) if error.kind() == ErrorKind::Invalid => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether a directory holds a database, be it one that cannot be opened any more.
fn is_database(listing: &[DirEntry]) -> bool {
    let is_current = |entry: &DirEntry| parse_file_name(&entry.name).0 == FileKind::Current;
    let is_part = |entry: &DirEntry| match entry.is_dir {
        true => entry.name == "lost",
        false => parse_file_name(&entry.name).0 != FileKind::Other,
    };
    listing.iter().any(is_current) || (!listing.is_empty() && listing.iter().all(is_part))
}

fn nothing_but(target: &Path, replaced: &Path) -> Error {
    Error::invalid(format!(
        "there is no database at {}, but a restore has set one aside as {}: rename it to have it \
         back, restore again, or remove it to begin anew",
        target.display(),
        replaced.display()
    ))
}
