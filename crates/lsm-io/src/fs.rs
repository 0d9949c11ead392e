//! The seam between storage code and the machine: what may be done with files and directories.
//!
//! Everything above reaches files through these traits, so the same code runs on the real disk
//! ([`StdFs`](crate::StdFs)) and on a simulated one that can crash ([`SimFs`](crate::SimFs)).

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use crate::{Mapping, Result};

/// A file system as every layer above sees it.
pub type SharedFs = Arc<dyn Fs>;
/// An open file as every layer above sees it.
pub type SharedFile = Arc<dyn File>;
/// A file mapped to be stored into, as every layer above sees it.
pub type SharedStores = Arc<dyn Stores>;

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// The file exists and is only read.
    Read,
    /// The file exists and is read and written.
    ReadWrite,
    /// The file must not exist; it is created, empty, to be read and written.
    CreateNew,
}

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// The bare file name.
    pub name: String,
    /// The file's length in bytes (0 for a directory).
    pub bytes: u64,
    /// Whether it is a directory.
    pub is_dir: bool,
}

/// What came of an attempt to lock a directory's lock file.
#[derive(Debug)]
pub enum LockOutcome {
    /// The lock is held until the guard is dropped, or its process dies.
    Acquired(Box<dyn LockGuard>),
    /// Somebody else holds it: the text that they left in the file, often "process 4711".
    HeldBy(String),
}

impl LockOutcome {
    /// A holder's text is a line; of a longer lock file, which is not ours, no more goes into an
    /// error message.
    pub(crate) const HOLDER_BYTES_MAX: usize = 256;

    /// Somebody else holds the lock, and these are the file's bytes.
    pub(crate) fn held_by(text: &[u8]) -> Self {
        let text = &text[..text.len().min(Self::HOLDER_BYTES_MAX)];
        Self::HeldBy(String::from_utf8_lossy(text).trim().to_owned())
    }
}

/// Holds a lock file; dropping it releases the lock.
pub trait LockGuard: fmt::Debug + Send + Sync {}

/// Files and directories of one machine, real or simulated.
///
/// Durability follows POSIX at its worst: written bytes survive a power cut only after
/// [`File::sync`], and a name that was created, renamed or removed only after [`Fs::sync_dir`] of
/// its directory.
pub trait Fs: fmt::Debug + Send + Sync + 'static {
    /// Opens a file.
    ///
    /// # Errors
    /// `Io` with the operating system's kind: `NotFound`, `AlreadyExists` (for `CreateNew`), ...
    fn open(&self, path: &Path, mode: OpenMode) -> Result<SharedFile>;

    /// The same for a file that is written, or read, once, and that nobody is expected to read soon: what
    /// is transferred in multiples of [`DIRECT_ALIGNMENT`](crate::DIRECT_ALIGNMENT) goes past the page
    /// cache where the system can do that. It is as durable as otherwise, after a sync.
    ///
    /// # Errors
    /// Those of [`open`](Self::open).
    fn open_direct(&self, path: &Path, mode: OpenMode) -> Result<SharedFile>;

    /// The names in a directory, sorted.
    ///
    /// # Errors
    /// `Io`; kind `NotFound` if the directory is not there.
    fn list(&self, dir: &Path) -> Result<Vec<DirEntry>>;

    /// Whether something, file or directory, has this name.
    ///
    /// # Errors
    /// `Io` when the operating system cannot tell.
    fn exists(&self, path: &Path) -> Result<bool>;

    /// Creates a directory and those above it; one that is there already is fine.
    ///
    /// # Errors
    /// `Io`; kind `NotADirectory` or `AlreadyExists` if a file is in the way.
    fn create_dir_all(&self, dir: &Path) -> Result<()>;

    /// Gives a file another name, replacing what had it.
    ///
    /// # Errors
    /// `Io`.
    fn rename(&self, from: &Path, to: &Path) -> Result<()>;

    /// Removes a file's name; open handles keep reading.
    ///
    /// # Errors
    /// `Io`; kind `NotFound` if there is none.
    fn remove_file(&self, path: &Path) -> Result<()>;

    /// Removes a directory and everything in it.
    ///
    /// # Errors
    /// `Io`; kind `NotFound` if there is none.
    fn remove_dir_all(&self, dir: &Path) -> Result<()>;

    /// Gives a file a second name.
    ///
    /// # Errors
    /// `Io`; kind `CrossesDevices` when the two names are on different file systems.
    fn hard_link(&self, from: &Path, to: &Path) -> Result<()>;

    /// Makes the names in a directory durable.
    ///
    /// # Errors
    /// `Io`. After a failed sync ([`Error::is_failed_dir_sync`](crate::Error::is_failed_dir_sync))
    /// nothing about the directory's names may be assumed, and it must not be tried again.
    fn sync_dir(&self, dir: &Path) -> Result<()>;

    /// Takes the exclusive lock on `path`, creating the file if needed and writing `holder` into
    /// it; never waits.
    ///
    /// # Errors
    /// `Io`. That somebody else holds the lock is no error but [`LockOutcome::HeldBy`].
    fn try_lock(&self, path: &Path, holder: &str) -> Result<LockOutcome>;

    /// Bytes that an unprivileged user may still write below `dir`.
    ///
    /// # Errors
    /// `Io`.
    fn available_bytes(&self, dir: &Path) -> Result<u64>;
}

/// An open file. All methods take `&self` and may be called from any thread; there is no cursor.
#[allow(clippy::len_without_is_empty)] // A file's length may fail; its emptiness is nobody's question.
pub trait File: fmt::Debug + Send + Sync {
    /// The name under which it was opened.
    fn path(&self) -> &Path;

    /// Its length in bytes.
    ///
    /// # Errors
    /// `Io`.
    fn len(&self) -> Result<u64>;

    /// Fills `buffer` from `offset`.
    ///
    /// # Errors
    /// `Io`; kind `UnexpectedEof` when the file ends before the buffer is full.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()>;

    /// Writes all of `bytes` at `offset`, extending the file where needed.
    ///
    /// # Errors
    /// `Io`; part of the bytes may have been written.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()>;

    /// The same, through the page cache also where the file was opened for transfers past it: for what whoever
    /// opens the file reads first.
    ///
    /// # Errors
    /// Those of [`write_at`](Self::write_at).
    fn write_at_cached(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.write_at(offset, bytes)
    }

    /// Makes bytes and length durable (`fdatasync`).
    ///
    /// # Errors
    /// `Io`. A failed sync must never be retried: the system may have dropped the bytes and will
    /// then report success (see docs/fault-model.md).
    fn sync(&self) -> Result<()>;

    /// Writes all of `bytes` over others that the file has at `offset`, and makes them durable, without
    /// waiting for what else was written to the file: that may be durable afterwards, or not.
    ///
    /// # Errors
    /// Those of [`write_at`](Self::write_at) and [`sync`](Self::sync).
    fn write_through(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.write_at(offset, bytes)?;
        self.sync()
    }

    /// Cuts or extends (with zeros) to `bytes`.
    ///
    /// # Errors
    /// `Io`.
    fn set_len(&self, bytes: u64) -> Result<()>;

    /// The whole file, as it is now, as read-only memory. The file must not change afterwards.
    ///
    /// # Errors
    /// `Io`.
    fn map(&self) -> Result<Mapping>;

    /// Whether most of the file is in the page cache, so that reading it waits for no disk: a guess. Yes
    /// where nobody can tell.
    fn is_in_memory(&self) -> bool {
        true
    }

    /// The file as memory to store into; what was stored is as safe as what was written, and
    /// [`sync`](Self::sync) makes it durable. `None` where overwriting may need room on the disk: a
    /// disk that is full could not be told of otherwise than by killing the process.
    ///
    /// # Errors
    /// `Io`.
    fn map_for_stores(&self) -> Result<Option<SharedStores>>;
}

/// Memory that the operating system keeps the same as a file. Storing is as good as writing, at a
/// tenth of the price: it takes no system call.
pub trait Stores: fmt::Debug + Send + Sync {
    /// Copies `bytes` to `offset`. The caller sees to it that nobody else stores there meanwhile.
    ///
    /// # Errors
    /// `Io`; kind `InvalidInput` beyond the length that the file had when it was mapped.
    fn store(&self, offset: u64, bytes: &[u8]) -> Result<()>;
}
