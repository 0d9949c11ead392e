//! Writing a blob file: values in, one durable file out.
//!
//! Each value stands between its length and a checksum of both. Nothing is read back. After an error
//! the file is of no use: whoever wanted it removes it and starts anew.

use std::{fmt, io};

use lsm_io::bytes::put_u32;
use lsm_io::{ChunkWriter, Error, FooterHead, Identity, Result, SEAL_BYTES, Sealer, SharedFile};

use crate::footer::Footer;

/// Bytes written at once.
const CHUNK_BYTES: usize = 1 << 20;
/// Bytes before a value: its length.
pub(crate) const LENGTH_BYTES: usize = 4;
/// Bytes around a value.
pub(crate) const FRAME_BYTES: usize = LENGTH_BYTES + SEAL_BYTES;

/// Writes one blob file.
pub struct BlobWriter {
    out: ChunkWriter,
    identity: Identity,
    sealer: Sealer,
    values: u64,
    value_bytes: u64,
}

/// What a blob file turned out to be: the numbers by which a manifest knows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlobSummary {
    /// Length of the file.
    pub bytes: u64,
    /// XXH3 of the whole file.
    pub checksum: u64,
    /// How many values are in it.
    pub values: u64,
    /// How long they are together.
    pub value_bytes: u64,
}

impl BlobWriter {
    /// Writes into `file`, which is new and empty. The `identity` is what the file will be opened
    /// with; the default one will do for a file that belongs to no database.
    pub fn new(file: SharedFile, identity: Identity) -> Self {
        let out = ChunkWriter::new(file, CHUNK_BYTES);
        Self { out, identity, sealer: Sealer::new(identity), values: 0, value_bytes: 0 }
    }

    /// Adds a value and says where in the file it is.
    ///
    /// # Errors
    /// `Io` when a chunk could not be written; of kind `InvalidInput` when the value is longer than
    /// the format can say.
    pub fn add(&mut self, value: &[u8]) -> Result<u64> {
        let Ok(bytes) = u32::try_from(value.len()) else {
            let reason = "value is longer than a blob file can hold";
            let source = io::Error::new(io::ErrorKind::InvalidInput, reason);
            return Err(Error::io("add to", self.out.file().path(), source));
        };
        let offset = self.out.position();
        let buffer = &mut self.out.buffer;
        let start = buffer.len();
        buffer.reserve(value.len() + FRAME_BYTES);
        put_u32(buffer, bytes);
        buffer.extend_from_slice(value);
        let seal = self.sealer.seal(offset, &buffer[start..]);
        buffer.extend_from_slice(&seal.to_le_bytes());
        self.values += 1;
        self.value_bytes += u64::from(bytes);
        self.out.settle()?;
        Ok(offset)
    }

    /// How long the file is so far.
    pub fn bytes(&self) -> u64 {
        self.out.position()
    }

    /// Writes the rest and makes the file durable; its name is so once the directory is synced.
    ///
    /// # Errors
    /// `Io`, after which the file is to be thrown away.
    pub fn finish(mut self) -> Result<BlobSummary> {
        let footer = Footer {
            head: FooterHead { identity: self.identity, ..FooterHead::default() },
            values: self.values,
            value_bytes: self.value_bytes,
        };
        let encoded = footer.encode(self.out.position());
        self.out.buffer.extend_from_slice(&encoded);
        let (bytes, checksum) = self.out.finish()?;
        Ok(BlobSummary { bytes, checksum, values: self.values, value_bytes: self.value_bytes })
    }
}

impl fmt::Debug for BlobWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlobWriter")
            .field("path", &self.out.file().path())
            .field("values", &self.values)
            .finish_non_exhaustive()
    }
}
