//! Reading every byte of a database and checking it, beside whoever works on it.
//!
//! To see what is checked of each file, open `verify/files.rs`; of an open database, whose memory is
//! a witness too, `verify/open.rs`; of a directory, `verify/directory.rs`.

mod directory;
mod files;
mod open;

use std::path::{Path, PathBuf};

use crate::env::Env;
use crate::error::Result;

pub(crate) use self::files::Files;

/// What a verification found.
#[derive(Clone, Debug, Default)]
pub struct VerifyReport {
    /// Files read.
    pub files: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Entries in tables, checked for their order.
    pub entries: u64,
    /// Everything that is wrong.
    pub damage: Vec<Damage>,
    /// What is worth knowing and no damage.
    pub remarks: Vec<String>,
}

impl VerifyReport {
    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.damage.is_empty()
    }
}

/// Something wrong in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The damaged file.
    pub path: PathBuf,
    /// Where in it, in bytes.
    pub offset: u64,
    /// What is wrong.
    pub reason: String,
}

/// How far a verification has come.
#[derive(Clone, Copy, Debug)]
pub struct VerifyProgress {
    /// Bytes checked so far.
    pub bytes: u64,
    /// Bytes of all tables.
    pub bytes_total: u64,
}

/// How a verification is made.
#[derive(Clone, Debug, Default)]
pub struct VerifyOptions {
    /// Most bytes a second to read; `None`: no limit. Less leaves the disk to others.
    pub bytes_per_second: Option<u64>,
    /// Check the tables of this keyspace only; `None`: of all.
    pub keyspace: Option<String>,
    /// Files of a database that is not open. Leave it alone outside tests.
    pub env: Env,
}

/// Reads every byte of every file that the database in directory `path` names, and checks it. No
/// lock is taken and nothing is changed: another process may be writing. A database that is too
/// damaged to be opened is checked as far as it can be.
///
/// ```
/// use lsm_engine::{Db, verify};
///
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("my.db");
/// let db = Db::open(&path)?;
/// db.put("user:1", "Ada")?;
/// db.close()?;
/// assert!(verify(&path)?.is_clean());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// `Invalid` if there is no database; `Io` where the operating system refuses. Damage is no error but
/// part of the report.
pub fn verify(path: impl AsRef<Path>) -> Result<VerifyReport> {
    verify_with(path, &VerifyOptions::default(), |_| {})
}

/// Verifies with options, telling how far it has come after each table.
///
/// # Errors
/// Those of [`verify`], and `Invalid` for a keyspace that is not there.
pub fn verify_with(
    path: impl AsRef<Path>,
    options: &VerifyOptions,
    mut progress: impl FnMut(VerifyProgress),
) -> Result<VerifyReport> {
    directory::verify(path.as_ref(), options, &mut progress)
}
