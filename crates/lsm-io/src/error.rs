//! What can go wrong between memory and disk.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::path::{Path, PathBuf};
use std::{fmt, io};

/// The two ways in which the world fails below the engine.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused: "could not sync 000012.log: no space left on device".
    Io {
        /// What was tried, as a verb that fits "could not …": "sync", "rename", "read".
        action: &'static str,
        /// The file or directory it was tried on.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The bytes are there but wrong: "000007.sst at byte 4096: block checksum does not match".
    Corrupt {
        /// The damaged file.
        path: PathBuf,
        /// Where in it the damage was noticed.
        offset: u64,
        /// What is wrong there.
        reason: Cow<'static, str>,
    },
}

/// The result of an operation on files.
pub type Result<T> = std::result::Result<T, Error>;

/// What is said of [`Fs::sync_dir`](crate::Fs::sync_dir) when it fails.
pub(crate) const SYNC_DIR: &str = "sync the names in";

impl Error {
    /// The operating system failed to make the names in `dir` durable.
    pub fn dir_sync(dir: &Path, source: io::Error) -> Self {
        Self::io(SYNC_DIR, dir, source)
    }

    /// Whether names in a directory could not be made durable. Like any failed sync it must not be
    /// tried again: the next one may report success for names that are lost.
    pub fn is_failed_dir_sync(&self) -> bool {
        matches!(self, Self::Io { action, .. } if *action == SYNC_DIR)
    }

    /// The operating system refused `action` on `path`.
    pub fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { action, path: path.to_owned(), source }
    }

    /// The bytes of `path` at `offset` are wrong.
    pub fn corrupt(path: &Path, offset: u64, reason: impl Into<Cow<'static, str>>) -> Self {
        Self::Corrupt { path: path.to_owned(), offset, reason: reason.into() }
    }

    /// The kind of the operating system's error, if it was the operating system.
    pub fn io_kind(&self) -> Option<io::ErrorKind> {
        match self {
            Self::Io { source, .. } => Some(source.kind()),
            Self::Corrupt { .. } => None,
        }
    }

    /// Whether the disk, or a quota on it, is full.
    pub fn is_no_space(&self) -> bool {
        matches!(self.io_kind(), Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
    }

    /// Whether the bytes, not the operating system, are at fault.
    pub fn is_corrupt(&self) -> bool {
        matches!(self, Self::Corrupt { .. })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { action, path, source } => {
                write!(f, "could not {action} {}: {source}", path.display())
            }
            Self::Corrupt { path, offset, reason } => {
                write!(f, "{} at byte {offset}: {reason}", path.display())
            }
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::Corrupt { .. } => None,
        }
    }
}
