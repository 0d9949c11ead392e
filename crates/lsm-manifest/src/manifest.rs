//! The writing end: each edit is durable when `append` returns.
//!
//! Only a failed sync is final: the system may have dropped the bytes, and would report success the
//! next time. What a failed write has left of an edit is cut off before anything follows it, so a
//! full disk stops nobody for longer than it is full.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use lsm_io::{Error, Identity, Result, SharedFs};
use lsm_wal::{FrameKind, FrameWriter};

use crate::codec::encode;
use crate::current::{CURRENT_TEMP, Current};
use crate::edit::ManifestEdit;
use crate::file_name::{FileKind, file_name};
use crate::read::{ManifestRead, read, read_number};
use crate::state::ManifestState;

/// The frame with which a manifest begins: everything.
pub(crate) const SNAPSHOT: FrameKind = FrameKind::USER;
/// Each frame after it.
pub(crate) const EDIT: FrameKind = FrameKind(FrameKind::USER.0 + 1);

/// A manifest is begun anew when it is longer than this, and than three times its snapshot.
const ROLL_BYTES: u64 = 256 << 10;

/// The manifest of a database that is open for writing.
#[derive(Debug)]
pub struct Manifest {
    fs: SharedFs,
    dir: PathBuf,
    writer: FrameWriter,
    number: u64,
    snapshot_bytes: u64,
    state: ManifestState,
    end: End,
}

/// What the file ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The last edit.
    Whole,
    /// Perhaps part of an edit whose write failed.
    Torn,
    /// Nobody knows: a sync failed.
    Unknown,
}

impl Manifest {
    /// Reads the manifest that `CURRENT` names, changing nothing.
    ///
    /// # Errors
    /// `Io` of kind `NotFound` if there is no `CURRENT`; `Corrupt` if acknowledged edits are damaged
    /// or the format is newer (both versions are named); `Io`.
    pub fn read(fs: &SharedFs, dir: &Path) -> Result<ManifestRead> {
        read(fs, dir)
    }

    /// Reads the manifest with this number, whatever `CURRENT` names: as far as it is whole
    /// ([`ManifestRead::cut`] says where that ends). For a repair.
    ///
    /// # Errors
    /// `Corrupt` if not even its snapshot can be read, or its edits contradict each other; `Io`.
    pub fn read_number(fs: &SharedFs, dir: &Path, number: u64) -> Result<ManifestRead> {
        read_number(fs, dir, number)
    }

    /// Begins a manifest with all of `state`, and makes it the one that `CURRENT` names. Until that
    /// last step the one before holds.
    ///
    /// # Errors
    /// `Io`. Which manifest holds then, [`current`](Self::current) tells.
    pub fn start(fs: &SharedFs, dir: &Path, number: u64, state: ManifestState) -> Result<Self> {
        let (writer, snapshot_bytes) = begin(fs, dir, number, &state)?;
        let (fs, dir) = (SharedFs::clone(fs), dir.to_owned());
        Ok(Self { fs, dir, writer, number, snapshot_bytes, state, end: End::Whole })
    }

    /// The number of the manifest that `CURRENT` names; `None` if there is no `CURRENT`.
    ///
    /// # Errors
    /// `Corrupt` or `Io`, if it cannot be read.
    pub fn current(fs: &SharedFs, dir: &Path) -> Result<Option<u64>> {
        match Current::read(fs, dir) {
            Err(error) if error.io_kind() == Some(ErrorKind::NotFound) => Ok(None),
            current => Ok(Some(current?.number)),
        }
    }

    /// Makes an edit durable and applies it; returns its number.
    ///
    /// # Errors
    /// `Io`. After a failed write the edit is not there, and the next one may succeed: where the disk
    /// was full, as soon as there is room. After a failed sync nobody knows whether it is there, and
    /// every append fails from then on ([`is_poisoned`](Self::is_poisoned)). An edit that contradicts
    /// the state is refused as `Corrupt` before anything is written.
    #[allow(clippy::needless_pass_by_value)]
    pub fn append(&mut self, edit: ManifestEdit) -> Result<u64> {
        self.check_not_poisoned("append to")?;
        let mut state = self.state.clone();
        let end = self.writer.bytes();
        let fits = state.apply(&edit);
        fits.map_err(|error| Error::corrupt(&self.path(), end, error.to_string()))?;
        // Order: what is left of an edit that failed goes before another one comes.
        self.cut_torn_end()?;
        let number = state.edit_number;
        self.end = End::Torn;
        self.writer.append(EDIT, 0, number, 1, &encode(&edit))?;
        // Order: the edit is durable before anybody acts on it.
        self.end = End::Unknown;
        self.writer.sync()?;
        self.end = End::Whole;
        self.state = state;
        Ok(number)
    }

    fn cut_torn_end(&mut self) -> Result<()> {
        if self.end == End::Torn {
            self.writer.cut_torn_end()?;
            self.end = End::Whole;
        }
        Ok(())
    }

    /// Whether a sync has failed: what the file holds is not known any more, and nothing can be
    /// added to it before it is read anew.
    pub fn is_poisoned(&self) -> bool {
        self.end == End::Unknown
    }

    fn check_not_poisoned(&self, action: &'static str) -> Result<()> {
        if self.is_poisoned() {
            let reason = std::io::Error::other("an earlier sync failed");
            return Err(Error::io(action, &self.path(), reason));
        }
        Ok(())
    }

    /// What all edits so far add up to.
    pub fn state(&self) -> &ManifestState {
        &self.state
    }

    /// Its file number.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Its length.
    pub fn bytes(&self) -> u64 {
        self.writer.bytes()
    }

    /// Whether edits have grown so much that beginning anew pays.
    pub fn should_roll(&self) -> bool {
        self.bytes() > ROLL_BYTES.max(3 * self.snapshot_bytes)
    }

    /// Begins anew under another number, and removes the file before.
    ///
    /// # Errors
    /// `Io`. As long as `CURRENT` names it, the file before goes on, and what was begun is removed;
    /// else every append fails from then on ([`is_poisoned`](Self::is_poisoned)).
    pub fn roll(&mut self, number: u64) -> Result<()> {
        self.check_not_poisoned("begin anew after")?;
        let old = self.path();
        match begin(&self.fs, &self.dir, number, &self.state) {
            Ok((writer, snapshot_bytes)) => {
                (self.writer, self.snapshot_bytes) = (writer, snapshot_bytes);
                (self.number, self.end) = (number, End::Whole);
                // Order: CURRENT names the new one before the old one goes. Best effort: what stays
                // behind is removed by the next recovery.
                let _ = self.fs.remove_file(&old);
                Ok(())
            }
            Err(error) => {
                let is_current = Self::current(&self.fs, &self.dir)
                    .is_ok_and(|current| current == Some(self.number));
                if error.is_failed_dir_sync() || !is_current {
                    self.end = End::Unknown;
                } else {
                    let begun = file_name(FileKind::Manifest, number);
                    let _ = self.fs.remove_file(&self.dir.join(begun));
                    let _ = self.fs.remove_file(&self.dir.join(CURRENT_TEMP));
                }
                Err(error)
            }
        }
    }

    /// Writes into `CURRENT` that the manifest is whole: from then on every bit of it counts.
    ///
    /// # Errors
    /// `Io`.
    pub fn close(mut self) -> Result<()> {
        if self.is_poisoned() {
            return Ok(());
        }
        if self.end == End::Torn {
            self.cut_torn_end()?;
            // Order: the torn end is gone for good before CURRENT says that there is none.
            self.writer.sync()?;
        }
        let closed_bytes = Some(self.bytes());
        Current { number: self.number, closed_bytes }.install(&self.fs, &self.dir)
    }

    fn path(&self) -> PathBuf {
        self.dir.join(file_name(FileKind::Manifest, self.number))
    }
}

/// Writes a manifest that holds all of `state` and makes `CURRENT` name it.
fn begin(
    fs: &SharedFs,
    dir: &Path,
    number: u64,
    state: &ManifestState,
) -> Result<(FrameWriter, u64)> {
    let path = dir.join(file_name(FileKind::Manifest, number));
    let identity = Identity { database_id: state.database_id, file_number: number };
    let mut writer = FrameWriter::create(fs, &path, identity)?;
    writer.append(SNAPSHOT, 0, state.edit_number, 1, &encode(&state.snapshot()))?;
    // Order: the manifest, bytes and name, is durable before CURRENT leads to it.
    writer.sync()?;
    fs.sync_dir(dir)?;
    Current { number, closed_bytes: None }.install(fs, dir)?;
    let bytes = writer.bytes();
    Ok((writer, bytes))
}
