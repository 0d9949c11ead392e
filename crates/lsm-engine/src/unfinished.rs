//! A directory in the making: filled under a name of its own, and given its own when it is whole.
//!
//! A database that lies at `my.db` is made, by a checkpoint or a restore, as `my.db.unfinished`. Its
//! maker holds its lock. Nobody can take one for a whole database: it lies elsewhere, and before its
//! last file, `CURRENT`, it opens as nothing at all. What a crash leaves of one is recognised by the
//! next to make the same, and thrown away; anything else under that name is left alone.

use std::ffi::{OsStr, OsString};
use std::io::ErrorKind as IoErrorKind;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use lsm_io::{DirEntry, LockGuard, SharedFs};
use lsm_manifest::{FileKind, Manifest, file_name, parse_file_name};

use crate::directory::{lock_directory, make_directory};
use crate::error::{Error, Result};

/// What the name of a directory in the making ends with.
const UNFINISHED: &str = ".unfinished";

/// Dropped before it has its [place](Self::place), it is removed.
#[derive(Debug)]
pub(crate) struct Unfinished {
    fs: SharedFs,
    dir: PathBuf,
    target: PathBuf,
    lock: Option<Box<dyn LockGuard>>,
    is_kept: bool,
}

/// The directory that has `target`'s name with this ending.
pub(crate) fn beside(target: &Path, ending: &str) -> Result<PathBuf> {
    let mut name = OsString::from(name_of(target)?);
    name.push(ending);
    Ok(target.with_file_name(name))
}

fn name_of(target: &Path) -> Result<&OsStr> {
    let unnamed = || Error::invalid(format!("{} is no name for a directory", target.display()));
    target.file_name().ok_or_else(unnamed)
}

/// The directory in which `target` is made.
pub(crate) fn unfinished(target: &Path) -> Result<PathBuf> {
    beside(target, UNFINISHED)
}

/// The directory that holds `target`'s name.
pub(crate) fn parent(target: &Path) -> &Path {
    target.parent().unwrap_or(Path::new(""))
}

/// Refuses a target that is there already, unless it is an empty directory.
pub(crate) fn check_free(fs: &SharedFs, target: &Path) -> Result<()> {
    name_of(target)?;
    match names_in(fs, target)?.first() {
        None => Ok(()),
        Some(name) => Err(Error::invalid(format!(
            "{} exists and is not empty: it holds {}",
            target.display(),
            name.name
        ))),
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

/// What is in a directory; nothing, if there is none.
pub(crate) fn names_in(fs: &SharedFs, dir: &Path) -> Result<Vec<DirEntry>> {
    match fs.list(dir) {
        Err(error) => match error.io_kind() {
            Some(IoErrorKind::NotFound) => Ok(Vec::new()),
            Some(IoErrorKind::NotADirectory) => {
                Err(Error::invalid(format!("{} is a file, not a directory", dir.display())))
            }
            _ => Err(error.into()),
        },
        listing => Ok(listing?),
    }
}

impl Unfinished {
    /// Begins to make what is to be `target`, in an empty directory that is claimed against others
    /// who make the same.
    pub(crate) fn begin(fs: &SharedFs, target: &Path) -> Result<Self> {
        let dir = unfinished(target)?;
        if !parent(target).as_os_str().is_empty() {
            make_directory(fs, parent(target))?;
        }
        check_leftover(fs, &dir, &names_in(fs, &dir)?)?;
        fs.create_dir_all(&dir)?;
        let lock = lock_directory(fs, &dir)?;
        let listing = fs.list(&dir)?;
        // Looked at once more, for whoever held the lock until now may have gone on.
        check_leftover(fs, &dir, &listing)?;
        let begun = Self {
            fs: Arc::clone(fs),
            dir,
            target: target.to_owned(),
            lock: Some(lock),
            is_kept: false,
        };
        begun.disown()?;
        let is_lock = |name: &str| name == file_name(FileKind::Lock, 0);
        for entry in listing.iter().filter(|entry| !is_lock(&entry.name)) {
            if fs.exists(&begun.dir.join(&entry.name))? {
                fs.remove_file(&begun.dir.join(&entry.name))?;
            }
        }
        Ok(begun)
    }

    /// Where it is made.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Gives it its place, where nothing or an empty directory is. Whether that is durable, the next
    /// sync of the directory above tells; whatever happens from now on, it stays.
    pub(crate) fn place(&mut self) -> Result<()> {
        self.fs.rename(&self.dir, &self.target)?;
        self.is_kept = true;
        Ok(())
    }

    /// Leaves it as it is, whole: it may be what the next open takes.
    pub(crate) fn keep(&mut self) {
        self.is_kept = true;
    }

    /// Gives it its place, durably or not at all.
    pub(crate) fn finish(mut self) -> Result<()> {
        self.place_durably()
    }

    /// The same for what is no database: its lock does not stay.
    pub(crate) fn finish_without_lock(mut self) -> Result<()> {
        self.place_durably()?;
        // Order: it has its place before its lock goes. Whoever makes the same would else find a lock
        // that nobody holds, and throw away what is whole. A crash in between leaves the lock's file.
        let lock = self.target.join(file_name(FileKind::Lock, 0));
        // Best effort: what was made is whole with it, too.
        let _ = self.fs.remove_file(&lock).and_then(|()| self.fs.sync_dir(&self.target));
        Ok(())
    }

    fn place_durably(&mut self) -> Result<()> {
        self.place()?;
        self.fs.sync_dir(parent(&self.target)).map_err(|error| {
            // Back under the other name, so that nobody finds a half of it while it is removed.
            self.is_kept = self.fs.rename(&self.target, &self.dir).is_err();
            error.into()
        })
    }

    /// Makes sure that what is in it is no database any more, before the first file goes.
    fn disown(&self) -> Result<()> {
        let current = self.dir.join(file_name(FileKind::Current, 0));
        if self.fs.exists(&current)? {
            self.fs.remove_file(&current)?;
            // Order: `CURRENT` is gone for good before what it leads to goes.
            self.fs.sync_dir(&self.dir)?;
        }
        Ok(())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.is_kept && self.disown().is_ok() {
            // Best effort: what stays is thrown away by the next to make the same.
            let _ = self.fs.remove_dir_all(&self.dir);
        }
        drop(self.lock.take());
    }
}

/// Refuses to throw away what may be anything but a directory that was never finished: files of
/// other names, or a database that was ever opened for writing.
fn check_leftover(fs: &SharedFs, dir: &Path, listing: &[DirEntry]) -> Result<()> {
    let in_the_way = |what: &str| {
        Err(Error::invalid(format!(
            "{} is in the way: it holds {what}; move it elsewhere first",
            dir.display()
        )))
    };
    let is_foreign =
        |entry: &&DirEntry| entry.is_dir || parse_file_name(&entry.name).0 == FileKind::Other;
    if let Some(foreign) = listing.iter().find(is_foreign) {
        return in_the_way(&format!("{}, which no unfinished copy does", foreign.name));
    }
    if listing.iter().any(|entry| entry.name == file_name(FileKind::Current, 0)) {
        match Manifest::read(fs, dir) {
            // Every open for writing is counted in the manifest, before anything is written.
            Ok(read) if read.state.writer_epoch == 0 => {}
            Ok(_) => return in_the_way("a database that was in use"),
            Err(error) => return in_the_way(&format!("a database that cannot be read ({error})")),
        }
    }
    Ok(())
}
