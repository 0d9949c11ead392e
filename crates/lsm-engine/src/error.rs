//! What a caller can act on.

use std::convert::Infallible;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use lsm_entry::SeqNo;

use crate::conflict::Conflict;

/// The result of an operation on a database.
pub type Result<T> = std::result::Result<T, Error>;

/// An operation failed: what a caller can do about it ([`kind`](Error::kind)) and what happened, in
/// words (`Display`), which name the file, option, key or keyspace.
///
/// ```
/// use lsm_engine::{Db, ErrorKind};
///
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("my.db");
/// let first = Db::open(&path)?;
/// let error = Db::open(&path).expect_err("one process has it open");
/// match error.kind() {
///     ErrorKind::Busy => println!("try again later: {error}"),
///     ErrorKind::Corrupt => println!("look at docs/operations/repair.md: {error}"),
///     _ => return Err(error.into()),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    message: String,
    retry_after: Option<Duration>,
    outcome_unknown: bool,
    oldest_change: Option<SeqNo>,
    conflict: Option<Conflict>,
}

/// What a caller can act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The operating system refused. Look at the message; trying again may help.
    Io,
    /// Bytes on disk are wrong; the message names file and offset. Other keys keep working.
    Corrupt,
    /// The request cannot be met as asked: an option, a key or a path is unacceptable.
    Invalid,
    /// Somebody else has the database open, or a deadline passed. Try again later.
    Busy,
    /// A transaction met a change made by another: [`conflicting_key`](Error::conflicting_key) of
    /// [`conflicting_keyspace`](Error::conflicting_keyspace).
    Conflict,
    /// Merge operands of a key do not come to a value: the keyspace's merge operator refuses them, or
    /// was not given. What is stored stays as it is.
    Merge,
    /// The database takes no writes: opened so, or after a failed sync until it is reopened.
    ReadOnly,
    /// The database was closed.
    Closed,
    /// The disk is full. Free space, and writes go on by themselves; deletes, flushes and compactions
    /// work meanwhile, from what is kept in reserve.
    NoSpace,
    /// Changes were asked for that the log does not go back to any more;
    /// [`oldest_change`](Error::oldest_change) says how far it does. Copy what is there, and follow
    /// from then on.
    HistoryGone,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            retry_after: None,
            outcome_unknown: false,
            oldest_change: None,
            conflict: None,
        }))
    }

    /// The history of changes begins with `oldest` only.
    pub(crate) fn history_gone(wanted: SeqNo, oldest: SeqNo) -> Self {
        let message = format!(
            "change {wanted} is not in the log any more; the oldest that is there is {oldest}"
        );
        let mut error = Self::new(ErrorKind::HistoryGone, message);
        error.0.oldest_change = Some(oldest);
        error
    }

    /// Others have changed what a transaction read.
    pub(crate) fn conflict(conflict: Conflict) -> Self {
        let mut error = Self::new(ErrorKind::Conflict, conflict.to_string());
        error.0.conflict = Some(conflict);
        error
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    pub(crate) fn corrupt(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Corrupt, message)
    }

    pub(crate) fn closed() -> Self {
        Self::new(ErrorKind::Closed, "the database is closed")
    }

    pub(crate) fn busy(message: impl Into<String>, retry_after: Option<Duration>) -> Self {
        let mut error = Self::new(ErrorKind::Busy, message);
        error.0.retry_after = retry_after;
        error
    }

    /// Says that the write may or may not be there after a restart.
    pub(crate) fn with_unknown_outcome(mut self) -> Self {
        if !self.0.outcome_unknown {
            self.0.outcome_unknown = true;
            self.0.message.push_str("; the outcome of this write is unknown until the next open");
        }
        self
    }

    /// Names the way out of damage that keeps a database from being opened.
    pub(crate) fn naming_repair(mut self) -> Self {
        if self.0.kind == ErrorKind::Corrupt && !self.0.message.contains("repair") {
            self.0.message.push_str("; `lsm repair` can make a database of what is whole");
        }
        self
    }

    /// What a caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// For `Busy`: when another attempt may succeed.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// For `HistoryGone`: the oldest sequence number whose change is still there.
    pub fn oldest_change(&self) -> Option<SeqNo> {
        self.0.oldest_change
    }

    /// For `Conflict`: the key that others have changed since it was read, or one in a range that was.
    ///
    /// ```
    /// # use lsm_engine::{Db, Reads};
    /// # let dir = tempfile::tempdir()?;
    /// # let db = Db::open(dir.path())?;
    /// let tx = db.transaction();
    /// tx.get("count")?;
    /// tx.put("count", "1");
    /// db.put("count", "7")?;
    /// let error = tx.commit().expect_err("somebody else was first");
    /// assert_eq!(error.conflicting_key(), Some(&b"count"[..]));
    /// assert_eq!(error.conflicting_keyspace(), Some("default"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn conflicting_key(&self) -> Option<&[u8]> {
        self.0.conflict.as_ref().map(|conflict| conflict.key.as_slice())
    }

    /// For `Conflict`: the name of the keyspace in which that key lies.
    pub fn conflicting_keyspace(&self) -> Option<&str> {
        self.0.conflict.as_ref().map(|conflict| conflict.keyspace.as_str())
    }

    /// Whether the write that failed may nevertheless be found after the next open, because its
    /// frame had reached the log.
    pub fn is_outcome_unknown(&self) -> bool {
        self.0.outcome_unknown
    }
}

impl From<lsm_io::Error> for Error {
    fn from(error: lsm_io::Error) -> Self {
        let kind = if error.is_corrupt() {
            ErrorKind::Corrupt
        } else if error.is_no_space() {
            ErrorKind::NoSpace
        } else {
            ErrorKind::Io
        };
        Self::new(kind, error.to_string())
    }
}

impl From<Infallible> for Error {
    /// Memory cannot fail, so what reads it and what reads files can be one.
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

impl From<Error> for lsm_io::Error {
    /// Lets an engine error pass through a lower layer's callback.
    fn from(error: Error) -> Self {
        let kind = match error.kind() {
            ErrorKind::NoSpace => std::io::ErrorKind::StorageFull,
            _ => std::io::ErrorKind::Other,
        };
        Self::io(
            "replay the log into",
            Path::new("tables"),
            std::io::Error::new(kind, error.to_string()),
        )
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.0.kind, self.0.message)
    }
}

impl std::error::Error for Error {}
