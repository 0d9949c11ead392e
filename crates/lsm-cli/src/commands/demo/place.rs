//! Where the demo puts its database. Nothing that is there already goes without a yes.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use lsm_io::{Fs, StdFs};

use crate::emptying::{empty, find_foreign};
use crate::exit::Failure;
use crate::question::Consent;
use crate::temporary;

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
    if let Some(foreign) = find_foreign(&listing) {
        return Err(Failure::usage(format!(
            "{} belongs to something else: it holds {}; a new directory, or a database to replace, \
             is accepted",
            dir.display(),
            foreign.name
        )));
    }
    consent.ask(&format!("Replace the database in {}?", dir.display()))?;
    empty(dir, &listing)
}
