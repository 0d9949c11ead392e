//! The database and the keyspace that a command works on.

use std::path::{Path, PathBuf};

use clap::Args;
use lsm_engine::{Db, Keyspace, Options};

use crate::destination::Destination;
use crate::exit::Failure;

/// The keyspace that every database has.
pub(crate) const DEFAULT_KEYSPACE: &str = "default";

/// Where to look.
#[derive(Args, Clone, Debug)]
pub(crate) struct Target {
    /// The database's directory
    #[arg(long, value_name = "DIR")]
    pub(crate) db: PathBuf,
    /// The keyspace [default: default]
    #[arg(long, value_name = "NAME")]
    pub(crate) keyspace: Option<String>,
}

impl Target {
    /// Opens the keyspace beside whoever is writing: no lock, no change to the directory.
    pub(crate) fn read(&self) -> Result<(Db, Keyspace), Failure> {
        let db = open_read_only(&self.db)?;
        let keyspace = find_keyspace(&db, &self.db, self.keyspace_name())?;
        Ok((db, keyspace))
    }

    /// Opens the keyspace for writing; database and keyspace are there already.
    pub(crate) fn write(&self) -> Result<(Db, Keyspace), Failure> {
        let db = Db::open_with(&self.db, Options { create_if_missing: false, ..options() })?;
        let keyspace = find_keyspace(&db, &self.db, self.keyspace_name())?;
        Ok((db, keyspace))
    }

    /// Opens the keyspace for writing; database and keyspace are created if they are not there, and
    /// go again if nothing comes of it.
    pub(crate) fn create(&self) -> Result<Destination, Failure> {
        let open = || Ok(Db::open_with(&self.db, options())?);
        Destination::create(&self.db, self.keyspace_name(), open)
    }

    pub(crate) fn keyspace_name(&self) -> &str {
        self.keyspace.as_deref().unwrap_or(DEFAULT_KEYSPACE)
    }
}

/// Any database can be looked into, whoever's merge operators its keyspaces have.
fn options() -> Options {
    Options { without_operators: true, ..Options::default() }
}

/// Opens a database beside whoever is writing.
pub(crate) fn open_read_only(dir: &Path) -> Result<Db, Failure> {
    Ok(Db::open_read_only_with(dir, options())?)
}

/// A keyspace that is there.
pub(crate) fn find_keyspace(db: &Db, dir: &Path, name: &str) -> Result<Keyspace, Failure> {
    let names = db.keyspaces();
    if !names.iter().any(|known| known == name) {
        return Err(Failure::usage(format!(
            "there is no keyspace \"{name}\" in {}; it has: {}",
            dir.display(),
            names.join(", ")
        )));
    }
    Ok(db.keyspace(name)?)
}
