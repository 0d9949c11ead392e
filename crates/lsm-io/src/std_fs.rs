//! The real disk, through the standard library.
//!
//! Reads and writes are positional, so that a file has no cursor that threads could fight over. The
//! standard library's `read_exact_at`, `write_all_at` and `sync_data` complete short transfers and
//! take up interrupted calls again; nothing here needs to.

use std::fs::{self, DirBuilder, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::direct::DirectFile;
use crate::mapping::StoreMapping;
use crate::metadata_sync::{Growth, check_journal};
use crate::write_back;
use crate::write_through::write_through;
use crate::{
    DirEntry, Error, File, Fs, LockGuard, LockOutcome, Mapping, OpenMode, Result, SharedFile,
    SharedFs, SharedStores, space,
};

/// New files are their owner's alone: a database holds whatever its user puts there.
const NEW_FILE_MODE: u32 = 0o600;
/// New directories likewise.
const NEW_DIR_MODE: u32 = 0o700;

/// The file system of this machine.
///
/// ```
/// use lsm_io::{Fs, OpenMode, StdFs};
/// # let temp = tempfile::tempdir().unwrap();
/// # let dir = temp.path();
/// let fs = StdFs::shared();
/// let file = fs.open(&dir.join("greeting"), OpenMode::CreateNew)?;
/// file.write_at(0, b"hello")?;
/// file.sync()?;
/// fs.sync_dir(dir)?; // Only now does the name survive a power cut.
/// # Ok::<(), lsm_io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct StdFs;

impl StdFs {
    /// The real disk behind the handle that every layer takes.
    pub fn shared() -> SharedFs {
        Arc::new(Self)
    }
}

impl StdFs {
    fn open_file(path: &Path, mode: OpenMode) -> Result<StdFile> {
        let mut options = OpenOptions::new();
        options.read(true).mode(NEW_FILE_MODE);
        let action = match mode {
            OpenMode::Read => "open",
            OpenMode::ReadWrite => {
                options.write(true);
                "open"
            }
            OpenMode::CreateNew => {
                options.write(true).create_new(true);
                "create"
            }
        };
        let opened = options.open(path).and_then(|file| {
            let metadata = file.metadata()?;
            // A directory can be opened for reading; say so here rather than at the first read.
            if metadata.is_dir() {
                return Err(io::ErrorKind::IsADirectory.into());
            }
            Ok((file, Growth::of(metadata.len())))
        });
        let (file, growth) = opened.map_err(|source| Error::io(action, path, source))?;
        Ok(StdFile { path: path.to_owned(), file, growth, direct: None })
    }
}

impl Fs for StdFs {
    fn open(&self, path: &Path, mode: OpenMode) -> Result<SharedFile> {
        Ok(Arc::new(Self::open_file(path, mode)?))
    }

    fn open_direct(&self, path: &Path, mode: OpenMode) -> Result<SharedFile> {
        let file = Self::open_file(path, mode)?;
        let direct = DirectFile::open(path, mode);
        Ok(Arc::new(StdFile { direct, ..file }))
    }

    fn list(&self, dir: &Path) -> Result<Vec<DirEntry>> {
        let listed = || -> io::Result<Vec<DirEntry>> {
            let mut entries = Vec::new();
            for entry in fs::read_dir(or_here(dir))? {
                let entry = entry?;
                // Symbolic links are followed. A name that vanished meanwhile is not there.
                let metadata = match fs::metadata(entry.path()) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    answer => answer?,
                };
                let is_dir = metadata.is_dir();
                let bytes = if is_dir { 0 } else { metadata.len() };
                let name = entry.file_name().to_string_lossy().into_owned();
                entries.push(DirEntry { name, bytes, is_dir });
            }
            entries.sort_by(|left, right| left.name.cmp(&right.name));
            Ok(entries)
        };
        listed().map_err(|source| Error::io("list", dir, source))
    }

    fn exists(&self, path: &Path) -> Result<bool> {
        or_here(path).try_exists().map_err(|source| Error::io("look for", path, source))
    }

    fn create_dir_all(&self, dir: &Path) -> Result<()> {
        DirBuilder::new()
            .recursive(true)
            .mode(NEW_DIR_MODE)
            .create(or_here(dir))
            .map_err(|source| Error::io("create", dir, source))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        fs::rename(from, to).map_err(|source| Error::io("rename", from, source))
    }

    fn remove_file(&self, path: &Path) -> Result<()> {
        fs::remove_file(path).map_err(|source| Error::io("remove", path, source))
    }

    fn remove_dir_all(&self, dir: &Path) -> Result<()> {
        fs::remove_dir_all(dir).map_err(|source| Error::io("remove", dir, source))
    }

    fn hard_link(&self, from: &Path, to: &Path) -> Result<()> {
        fs::hard_link(from, to).map_err(|source| Error::io("link", from, source))
    }

    fn sync_dir(&self, dir: &Path) -> Result<()> {
        let opened = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_DIRECTORY)
            .open(or_here(dir))
            .map_err(|source| Error::io("open", dir, source))?;
        opened
            .sync_all()
            .and_then(|()| check_journal(&opened))
            .map_err(|source| Error::dir_sync(dir, source))
    }

    fn try_lock(&self, path: &Path, holder: &str) -> Result<LockOutcome> {
        let attempt = || -> io::Result<LockOutcome> {
            // Not truncated: while somebody else holds the lock, the text in it is theirs.
            let mut file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(NEW_FILE_MODE)
                .open(path)?;
            match file.try_lock() {
                Ok(()) => {
                    file.set_len(0)?;
                    file.write_all(holder.as_bytes())?;
                    Ok(LockOutcome::Acquired(Box::new(StdLock { _file: file })))
                }
                Err(TryLockError::WouldBlock) => {
                    let mut text = Vec::new();
                    let limit = LockOutcome::HOLDER_BYTES_MAX as u64;
                    (&mut file).take(limit).read_to_end(&mut text)?;
                    Ok(LockOutcome::held_by(&text))
                }
                Err(TryLockError::Error(error)) => Err(error),
            }
        };
        attempt().map_err(|source| Error::io("lock", path, source))
    }

    fn available_bytes(&self, dir: &Path) -> Result<u64> {
        space::available_bytes(or_here(dir))
            .map_err(|source| Error::io("find the free space of", dir, source))
    }
}

/// The parent of a bare file name is the empty path, which the operating system does not know.
fn or_here(dir: &Path) -> &Path {
    if dir.as_os_str().is_empty() { Path::new(".") } else { dir }
}

/// An open file of the operating system.
#[derive(Debug)]
struct StdFile {
    path: PathBuf,
    file: fs::File,
    growth: Growth,
    /// For what goes past the page cache.
    direct: Option<DirectFile>,
}

impl StdFile {
    /// Writes past the cache what `direct` can, and the rest through it.
    fn write(&self, offset: u64, bytes: &[u8], direct: Option<&DirectFile>) -> Result<()> {
        let mut cached_from = offset;
        let mut write = || -> io::Result<()> {
            let past_cache = direct.map_or(Ok(0), |direct| direct.write_at(offset, bytes))?;
            cached_from += past_cache as u64;
            self.file.write_all_at(&bytes[past_cache..], cached_from)
        };
        let written = write();
        let end = offset.saturating_add(bytes.len() as u64);
        write_back::follow(&self.file, cached_from..end);
        // Order: after the write, so that no sync takes the note before there is anything to sync.
        self.growth.note_write(end);
        self.failed("write", written)
    }

    fn failed<T>(&self, action: &'static str, outcome: io::Result<T>) -> Result<T> {
        outcome.map_err(|source| Error::io(action, &self.path, source))
    }
}

impl File for StdFile {
    fn path(&self) -> &Path {
        &self.path
    }

    fn len(&self) -> Result<u64> {
        self.failed("find the length of", self.file.metadata().map(|metadata| metadata.len()))
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let mut read = || -> io::Result<()> {
            let past_cache = match &self.direct {
                Some(direct) => direct.read_at(offset, buffer)?,
                None => 0,
            };
            self.file.read_exact_at(&mut buffer[past_cache..], offset + past_cache as u64)
        };
        self.failed("read", read())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.write(offset, bytes, self.direct.as_ref())
    }

    fn write_at_cached(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.write(offset, bytes, None)
    }

    fn sync(&self) -> Result<()> {
        let has_grown = self.growth.take();
        let synced = self.file.sync_data();
        let believed =
            synced.and_then(|()| if has_grown { check_journal(&self.file) } else { Ok(()) });
        self.failed("sync", believed)
    }

    fn write_through(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        // Bytes that make the file longer need its journal, and that one's question.
        let is_over_others = offset.saturating_add(bytes.len() as u64) <= self.len()?;
        if is_over_others && !self.growth.is_noted() {
            let written = write_through(&self.file, offset, bytes);
            if !matches!(&written, Err(error) if error.kind() == io::ErrorKind::Unsupported) {
                return self.failed("write and sync", written);
            }
        }
        self.write_at(offset, bytes)?;
        self.sync()
    }

    fn set_len(&self, bytes: u64) -> Result<()> {
        let set = self.file.set_len(bytes);
        self.growth.note_length(bytes);
        self.failed("set the length of", set)
    }

    fn map(&self) -> Result<Mapping> {
        let mapped = self.file.metadata().and_then(|metadata| {
            // An empty file has nothing to map, and some systems refuse to.
            if metadata.len() == 0 {
                return Ok(Mapping::held(Arc::from([])));
            }
            Mapping::of_file(&self.file)
        });
        self.failed("map", mapped)
    }

    fn is_in_memory(&self) -> bool {
        // Mapped for a moment, to be asked about.
        self.map().is_ok_and(|mapping| mapping.is_in_memory())
    }

    fn map_for_stores(&self) -> Result<Option<SharedStores>> {
        let mapped = space::overwrites_in_place(&self.file).and_then(|is_safe| {
            if !is_safe || self.file.metadata()?.len() == 0 {
                return Ok(None);
            }
            let mapping = StoreMapping::of_file(&self.path, &self.file)?;
            Ok(Some(Arc::new(mapping) as SharedStores))
        });
        self.failed("map", mapped)
    }
}

/// The lock belongs to the open file and ends with it.
#[derive(Debug)]
struct StdLock {
    _file: fs::File,
}

impl LockGuard for StdLock {}
