//! What one attempt to open a database has written: gone again if the attempt fails.
//!
//! A recovery writes tables, a segment and a manifest under fresh numbers. They count once `CURRENT`
//! names the manifest; until then they only take room, which a full disk or a supervisor that opens
//! again and again would run out of.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lsm_io::SharedFs;
use lsm_manifest::{FileKind, Manifest, parse_file_name};

/// Dropped before it has [succeeded](Self::succeeded), it removes what was written.
pub(crate) struct Attempt {
    fs: SharedFs,
    dir: PathBuf,
    /// Whatever has this number or a higher one was written by this attempt.
    first_number: u64,
    has_succeeded: bool,
}

impl Attempt {
    /// Begins, in a locked directory where no file has `first_number` or a higher one.
    pub(crate) fn new(fs: &SharedFs, dir: &Path, first_number: u64) -> Self {
        Self { fs: Arc::clone(fs), dir: dir.to_owned(), first_number, has_succeeded: false }
    }

    /// What was written is the database from now on.
    pub(crate) fn succeeded(mut self) {
        self.has_succeeded = true;
    }

    fn remove_all(&self) -> lsm_io::Result<()> {
        for entry in self.fs.list(&self.dir)? {
            let is_written = match parse_file_name(&entry.name) {
                (FileKind::Log | FileKind::Table | FileKind::Blob | FileKind::Manifest, number) => {
                    number >= self.first_number
                }
                (kind, _) => kind == FileKind::Temp,
            };
            if is_written {
                self.fs.remove_file(&self.dir.join(&entry.name))?;
            }
        }
        Ok(())
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if self.has_succeeded {
            return;
        }
        // Order: nothing goes before it is certain that `CURRENT` leads to none of it. If it was
        // swapped, even if its directory could not be synced, all stays for the next open.
        let current = Manifest::current(&self.fs, &self.dir);
        if current.is_ok_and(|number| number.is_none_or(|number| number < self.first_number)) {
            // Best effort: what stays behind is removed as an orphan by the next open.
            let _ = self.remove_all();
        }
    }
}
