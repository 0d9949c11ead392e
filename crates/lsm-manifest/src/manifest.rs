//! The writing end: each edit is durable when `append` returns.

use std::path::{Path, PathBuf};

use lsm_io::{Error, Identity, Result, SharedFs};
use lsm_wal::{FrameKind, FrameWriter};

use crate::codec::encode;
use crate::current::Current;
use crate::edit::ManifestEdit;
use crate::file_name::{FileKind, file_name};
use crate::read::{ManifestRead, read};
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
    /// An append failed: what the file holds is not known any more.
    is_poisoned: bool,
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

    /// Begins a manifest with all of `state`, and makes it the one that `CURRENT` names. Until that
    /// last step the one before holds.
    ///
    /// # Errors
    /// `Io`.
    pub fn start(fs: &SharedFs, dir: &Path, number: u64, state: ManifestState) -> Result<Self> {
        let (writer, snapshot_bytes) = begin(fs, dir, number, &state)?;
        let (fs, dir) = (SharedFs::clone(fs), dir.to_owned());
        Ok(Self { fs, dir, writer, number, snapshot_bytes, state, is_poisoned: false })
    }

    /// Makes an edit durable and applies it; returns its number.
    ///
    /// # Errors
    /// `Io`; from then on every append fails. An edit that contradicts the state is refused as
    /// `Corrupt` before anything is written, and the manifest stays usable.
    #[allow(clippy::needless_pass_by_value)]
    pub fn append(&mut self, edit: ManifestEdit) -> Result<u64> {
        let path = self.path();
        if self.is_poisoned {
            let reason = std::io::Error::other("an earlier write or sync failed");
            return Err(Error::io("append to", &path, reason));
        }
        let mut state = self.state.clone();
        let end = self.writer.bytes();
        state.apply(&edit).map_err(|error| Error::corrupt(&path, end, error.to_string()))?;
        let number = state.edit_number;
        self.is_poisoned = true;
        self.writer.append(EDIT, 0, number, 1, &encode(&edit))?;
        // Order: the edit is durable before anybody acts on it.
        self.writer.sync()?;
        self.is_poisoned = false;
        self.state = state;
        Ok(number)
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
    /// `Io`; from then on every append fails.
    pub fn roll(&mut self, number: u64) -> Result<()> {
        let old = self.path();
        self.is_poisoned = true;
        let (writer, snapshot_bytes) = begin(&self.fs, &self.dir, number, &self.state)?;
        self.writer = writer;
        self.snapshot_bytes = snapshot_bytes;
        self.number = number;
        self.is_poisoned = false;
        // Order: CURRENT names the new one before the old one goes.
        self.fs.remove_file(&old)
    }

    /// Writes into `CURRENT` that the manifest is whole: from then on every bit of it counts.
    ///
    /// # Errors
    /// `Io`.
    pub fn close(self) -> Result<()> {
        if self.is_poisoned {
            return Ok(());
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
