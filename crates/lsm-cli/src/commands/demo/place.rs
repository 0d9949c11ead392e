//! Where the demo puts its database. Nothing that is there already goes without a yes.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use lsm_io::{Fs, LockOutcome, StdFs};
use lsm_manifest::{FileKind, file_name, parse_file_name};

use crate::exit::{Exit, Failure};
use crate::question::Consent;
use crate::temporary;

/// The one directory inside a database's: files that a recovery set aside.
const LOST: &str = "lost";

/// An empty directory for the database: the one asked for, or a new one among the temporary files.
pub(super) fn prepare(wanted: Option<&Path>, consent: Consent) -> Result<PathBuf, Failure> {
    match wanted {
        None => temporary::create_dir("lsm-demo-"),
        Some(dir) => {
            clear(dir, consent)?;
            Ok(dir.to_owned())
        }
    }
}

/// Removes the database in `dir`, if there is one and the user agrees.
fn clear(dir: &Path, consent: Consent) -> Result<(), Failure> {
    let listing = match StdFs.list(dir) {
        Ok(listing) => listing,
        Err(error) => match error.io_kind() {
            Some(ErrorKind::NotFound) => return Ok(()),
            Some(ErrorKind::NotADirectory) => {
                let dir = dir.display();
                return Err(Failure::usage(format!("{dir} is a file; a database is a directory")));
            }
            _ => return Err(error.into()),
        },
    };
    if listing.is_empty() {
        return Ok(());
    }
    let belongs = |name: &str, is_dir: bool| {
        if is_dir { name == LOST } else { parse_file_name(name).0 != FileKind::Other }
    };
    if let Some(foreign) = listing.iter().find(|entry| !belongs(&entry.name, entry.is_dir)) {
        return Err(Failure::usage(format!(
            "{} belongs to something else: it holds {}; a new directory, or a database to replace, \
             is accepted",
            dir.display(),
            foreign.name
        )));
    }
    consent.ask(&format!("Replace the database in {}?", dir.display()))?;
    let lock = dir.join(file_name(FileKind::Lock, 0));
    let _guard = match StdFs.try_lock(&lock, &format!("process {}", std::process::id()))? {
        LockOutcome::Acquired(guard) => guard,
        LockOutcome::HeldBy(holder) => {
            let dir = dir.display();
            return Err(Failure::new(
                Exit::Busy,
                format!("{dir} is open already, held by {holder}"),
            ));
        }
    };
    for entry in &listing {
        let path = dir.join(&entry.name);
        if entry.is_dir {
            StdFs.remove_dir_all(&path)?;
        } else if path != lock {
            StdFs.remove_file(&path)?;
        }
    }
    Ok(())
}
