//! Where a command writes to, and what of that was not there before.
//!
//! A command that is refused leaves nothing behind: a keyspace that it created is dropped again, and
//! so is a whole database. What was not there cannot hold anything of anybody's, since no other
//! process writes to it meanwhile.

use std::fs;
use std::path::{Path, PathBuf};

use lsm_engine::{Db, Keyspace, destroy};
use lsm_io::{Fs, StdFs};

use crate::emptying::{empty, find_foreign};
use crate::exit::Failure;

/// A keyspace that is open for writing.
pub(crate) struct Destination {
    pub(crate) db: Db,
    pub(crate) keyspace: Keyspace,
    new: New,
}

/// What was created for the command.
enum New {
    Nothing,
    Keyspace,
    Database(Directory),
}

impl Destination {
    /// A keyspace that is there.
    pub(crate) fn found(db: Db, keyspace: Keyspace) -> Self {
        Self { db, keyspace, new: New::Nothing }
    }

    /// The keyspace `name` of the database in `dir`, which `open` opens; each is created if it is not
    /// there.
    pub(crate) fn create(
        dir: &Path,
        name: &str,
        open: impl FnOnce() -> Result<Db, Failure>,
    ) -> Result<Self, Failure> {
        let directory = Directory::look(dir);
        let db = open()?;
        let is_known = db.keyspaces().iter().any(|known| known == name);
        let new = match (db.recovery_report().created, is_known) {
            (true, _) => New::Database(directory),
            (false, false) => New::Keyspace,
            (false, true) => New::Nothing,
        };
        match db.keyspace(name) {
            Ok(keyspace) => Ok(Self { db, keyspace, new }),
            Err(error) => {
                let failure = Failure::from(error);
                Err(match new {
                    New::Database(directory) => remove_database(db, &directory, failure),
                    _ => failure,
                })
            }
        }
    }

    /// Something was written: what was created stays, whatever comes.
    pub(crate) fn keep(&mut self) {
        self.new = New::Nothing;
    }

    /// Ends the work. If it has failed, what was created for it goes again.
    pub(crate) fn close<T>(self, outcome: Result<T, Failure>) -> Result<T, Failure> {
        let Self { db, keyspace, new } = self;
        match (outcome, new) {
            (Ok(value), _) => {
                drop(keyspace);
                db.close()?;
                Ok(value)
            }
            (Err(failure), New::Nothing) => Err(failure),
            (Err(failure), New::Keyspace) => {
                let name = keyspace.name().to_owned();
                Err(match db.drop_keyspace(keyspace).and_then(|()| db.close()) {
                    Ok(()) => failure,
                    Err(error) => failure.adding(format!("keyspace \"{name}\" is left: {error}")),
                })
            }
            (Err(failure), New::Database(directory)) => {
                drop(keyspace);
                Err(remove_database(db, &directory, failure))
            }
        }
    }
}

/// Removes a database that was created in vain, because of `failure`.
fn remove_database(db: Db, directory: &Directory, failure: Failure) -> Failure {
    // Whatever it says: there is nothing in it to be lost.
    let _ = db.close();
    match directory.restore() {
        Ok(()) => failure,
        Err(_) => {
            let dir = directory.path.display();
            failure.adding(format!("an empty database is left in {dir}"))
        }
    }
}

/// How a directory was before a database was created in it.
struct Directory {
    path: PathBuf,
    was_there: bool,
    /// The directories above it that were not there, the lowest first.
    missing: Vec<PathBuf>,
}

impl Directory {
    fn look(path: &Path) -> Self {
        let above = path.ancestors().skip(1);
        let is_missing = |dir: &&Path| !dir.as_os_str().is_empty() && !dir.exists();
        let missing = above.take_while(is_missing).map(Path::to_owned).collect();
        Self { path: path.to_owned(), was_there: path.exists(), missing }
    }

    /// Makes it so again; nobody has the database open any more.
    fn restore(&self) -> Result<(), Failure> {
        if self.was_there {
            // It may be somebody's working directory, or reached by a link: it stays the same one.
            let listing = StdFs.list(&self.path)?;
            return match find_foreign(&listing) {
                Some(foreign) => Err(Failure::usage(&foreign.name)),
                None => empty(&self.path, &listing),
            };
        }
        destroy(&self.path)?;
        for dir in &self.missing {
            // In a directory where somebody else has put something meanwhile, that stays.
            if fs::remove_dir(dir).is_err() {
                break;
            }
        }
        Ok(())
    }
}
