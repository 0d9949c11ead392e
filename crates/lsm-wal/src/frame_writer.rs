//! A file of frames that grows, written through: what the manifest is.

use std::path::Path;

use lsm_io::{Identity, OpenMode, Result, SharedFile, SharedFs};

use crate::frame::{FrameKind, Header, encode_frame};
use crate::identity_frame::encode_identity;

/// Appends frames to a file of its own.
#[derive(Debug)]
pub struct FrameWriter {
    file: SharedFile,
    salt: u64,
    bytes: u64,
    scratch: Vec<u8>,
}

impl FrameWriter {
    /// Creates the file, with its identity frame written and synced. The directory is not synced:
    /// the name is the caller's to make durable.
    ///
    /// # Errors
    /// `Io`; kind `AlreadyExists` if there is such a file.
    pub fn create(fs: &SharedFs, path: &Path, identity: Identity) -> Result<Self> {
        let file = fs.open(path, OpenMode::CreateNew)?;
        let frame = encode_identity(identity);
        file.write_at(0, &frame)?;
        // Order: the identity is durable before the first other frame, for without it none is valid.
        file.sync()?;
        let bytes = frame.len() as u64;
        Ok(Self { file, salt: identity.salt(), bytes, scratch: Vec::new() })
    }

    /// Writes a frame at the end of the file.
    ///
    /// # Errors
    /// `Io`; the file may then end in part of a frame, and must not be appended to before that is
    /// [cut off](Self::cut_torn_end).
    ///
    /// # Panics
    /// If readers would call the frame bad: `flags` other than 0 (none are defined), a batch, note or
    /// user's frame with a `count` of 0, sequence numbers beyond 56 bits, a payload longer than
    /// [`MAX_PAYLOAD_BYTES`](crate::MAX_PAYLOAD_BYTES).
    pub fn append(
        &mut self,
        kind: FrameKind,
        flags: u8,
        seq_start: u64,
        count: u32,
        payload: &[u8],
    ) -> Result<()> {
        assert_eq!(flags, 0, "no flags are defined");
        let header = Header::new(kind, seq_start, count, payload.len());
        self.scratch.clear();
        encode_frame(&header, payload, self.salt, &mut self.scratch);
        self.file.write_at(self.bytes, &self.scratch)?;
        self.bytes += self.scratch.len() as u64;
        Ok(())
    }

    /// Cuts off what a failed [`append`](Self::append) has left behind the last whole frame.
    ///
    /// # Errors
    /// `Io`; it may be tried again.
    pub fn cut_torn_end(&self) -> Result<()> {
        self.file.set_len(self.bytes)
    }

    /// Makes everything appended durable.
    ///
    /// # Errors
    /// `Io`; a failed sync must not be retried.
    pub fn sync(&self) -> Result<()> {
        self.file.sync()
    }

    /// Length of the file so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}
