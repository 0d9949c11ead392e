//! The end of all writing: a sync failed that must not be tried again.
//!
//! What a failed sync of a file has dropped is that file's; whoever holds the log or the manifest
//! knows that it failed before anybody can build on it. A directory is everybody's: a failed sync may
//! have dropped the names of other threads' files too, and the next one reports success for them. So
//! the database's directory is synced by one thread at a time, and never again after a failure.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lsm_io::{DirEntry, Fs, LockOutcome, OpenMode, SharedFile, SharedFs};

use crate::error::{Error, ErrorKind};
use crate::events::{Event, Events};
use crate::sync::{Mutex, OnceLock};

/// Why the database takes no writes any more, if so.
#[derive(Debug, Default)]
pub(crate) struct Poison {
    cause: OnceLock<Error>,
    events: Arc<Events>,
}

impl Poison {
    pub(crate) fn new(events: Arc<Events>) -> Self {
        Self { cause: OnceLock::new(), events }
    }

    pub(crate) fn events(&self) -> &Arc<Events> {
        &self.events
    }

    pub(crate) fn get(&self) -> Option<&Error> {
        self.cause.get()
    }

    /// Makes the database read-only until it is reopened. The first cause stays.
    pub(crate) fn set(&self, cause: &Error) {
        let message = format!("the database is read-only until it is reopened: {cause}");
        let error = Error::new(ErrorKind::ReadOnly, message);
        if self.cause.set(error.clone()).is_ok() {
            self.events.tell(|| Event::Poisoned { error });
        }
    }
}

/// The file system on which a database lives, with syncs of its directory one at a time, and none
/// after one that failed.
#[derive(Debug)]
pub(crate) struct NamesOnce {
    fs: SharedFs,
    dir: PathBuf,
    poison: Arc<Poison>,
    /// Held during a sync of the directory; whether one has failed.
    has_failed: Mutex<bool>,
}

impl NamesOnce {
    pub(crate) fn shared(fs: &SharedFs, dir: &Path, poison: &Arc<Poison>) -> SharedFs {
        Arc::new(Self {
            fs: Arc::clone(fs),
            dir: dir.to_owned(),
            poison: Arc::clone(poison),
            has_failed: Mutex::new(false),
        })
    }
}

impl Fs for NamesOnce {
    fn sync_dir(&self, dir: &Path) -> lsm_io::Result<()> {
        if dir != self.dir {
            return self.fs.sync_dir(dir);
        }
        let mut has_failed = self.has_failed.lock().expect("no sync panicked");
        if *has_failed {
            let source = std::io::Error::other("an earlier sync of the directory failed");
            return Err(lsm_io::Error::dir_sync(dir, source));
        }
        self.fs.sync_dir(dir).inspect_err(|error| {
            *has_failed = true;
            // Order: the database is read-only before another thread can sync these names, find
            // nothing left to do, and rely on them.
            self.poison.set(&Error::new(ErrorKind::Io, error.to_string()));
        })
    }

    fn open(&self, path: &Path, mode: OpenMode) -> lsm_io::Result<SharedFile> {
        self.fs.open(path, mode)
    }

    fn open_direct(&self, path: &Path, mode: OpenMode) -> lsm_io::Result<SharedFile> {
        self.fs.open_direct(path, mode)
    }

    fn list(&self, dir: &Path) -> lsm_io::Result<Vec<DirEntry>> {
        self.fs.list(dir)
    }

    fn exists(&self, path: &Path) -> lsm_io::Result<bool> {
        self.fs.exists(path)
    }

    fn create_dir_all(&self, dir: &Path) -> lsm_io::Result<()> {
        self.fs.create_dir_all(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> lsm_io::Result<()> {
        self.fs.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> lsm_io::Result<()> {
        self.fs.remove_file(path)
    }

    fn remove_dir_all(&self, dir: &Path) -> lsm_io::Result<()> {
        self.fs.remove_dir_all(dir)
    }

    fn hard_link(&self, from: &Path, to: &Path) -> lsm_io::Result<()> {
        self.fs.hard_link(from, to)
    }

    fn try_lock(&self, path: &Path, holder: &str) -> lsm_io::Result<LockOutcome> {
        self.fs.try_lock(path, holder)
    }

    fn available_bytes(&self, dir: &Path) -> lsm_io::Result<u64> {
        self.fs.available_bytes(dir)
    }
}
