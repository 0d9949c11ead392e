//! A segment of the log, made ready before it is needed.

use std::path::{Path, PathBuf};

use lsm_io::{Identity, OpenMode, Result, SharedFile, SharedFs};

use crate::identity_frame::{IDENTITY_FRAME_BYTES, encode_identity};

/// Bytes of zeros written at once.
const ZEROS: usize = 1 << 20;

/// A segment that is named, filled and identified, all durably, and holds no frame yet.
///
/// Filled, so that a sync has no metadata to write (half the cost of a sync on a growing file).
/// Identified, so that old bytes of a recycled file never validate.
#[derive(Debug)]
pub struct PreparedSegment {
    pub(crate) file: SharedFile,
    pub(crate) identity: Identity,
    pub(crate) bytes: u64,
}

/// The path of segment `number` in a directory.
pub(crate) fn segment_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:06}.log"))
}

impl PreparedSegment {
    /// Makes a segment of `bytes` bytes (at least what an identity takes), from nothing or from the
    /// file `recycle`, whose name it takes away.
    ///
    /// # Errors
    /// `Io`. What was made so far may stay behind; recovery knows how to ignore it.
    pub fn prepare(
        fs: &SharedFs,
        dir: &Path,
        identity: Identity,
        bytes: u64,
        recycle: Option<&Path>,
    ) -> Result<Self> {
        let bytes = bytes.max(2 * IDENTITY_FRAME_BYTES as u64);
        let path = segment_path(dir, identity.file_number);
        let file = match recycle {
            Some(old) => {
                fs.rename(old, &path)?;
                fs.open(&path, OpenMode::ReadWrite)?
            }
            None => fs.open(&path, OpenMode::CreateNew)?,
        };
        fill(&file, bytes)?;
        file.write_at(0, &encode_identity(identity))?;
        // Order: bytes and name are durable before the first frame can be.
        file.sync()?;
        fs.sync_dir(dir)?;
        Ok(Self { file, identity, bytes })
    }

    /// Its number.
    pub fn number(&self) -> u64 {
        self.identity.file_number
    }

    /// Its length.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// Extends the file to `bytes`, with real zeros: a hole would be filled at the first sync.
fn fill(file: &SharedFile, bytes: u64) -> Result<()> {
    let mut length = file.len()?;
    let zeros = vec![0; ZEROS.min(usize::try_from(bytes).unwrap_or(ZEROS))];
    while length < bytes {
        let chunk = zeros.len().min(usize::try_from(bytes - length).unwrap_or(usize::MAX));
        file.write_at(length, &zeros[..chunk])?;
        length += chunk as u64;
    }
    Ok(())
}
