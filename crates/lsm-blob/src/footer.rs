//! The last bytes of a blob file: a footer as of other files, with two numbers of its own.
//!
//! | at | bytes | what |
//! |---|---|---|
//! | 0 | 56 | magic `LSMBLOBS`, version, features, birth identity: see [`FooterKind`] |
//! | 56 | 8 | how many values there are |
//! | 64 | 8 | how long they are together |
//! | 72 | 8 | checksum of the 72 bytes before |

use std::path::Path;

use lsm_io::{FooterHead, FooterKind, Result};

/// Length of the footer.
pub(crate) const FOOTER_BYTES: usize = FooterKind::bytes(2);
/// The version of the format that this program writes, and the newest it reads.
pub const FORMAT_VERSION: u32 = 1;

const KIND: FooterKind = FooterKind {
    magic: *b"LSMBLOBS",
    name: "blob file",
    version: FORMAT_VERSION,
    // Nothing beyond the first version.
    features_known: 0,
};

/// What the footer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Footer {
    pub(crate) head: FooterHead,
    pub(crate) values: u64,
    pub(crate) value_bytes: u64,
}

impl Footer {
    /// The encoded form, which will stand at `offset`.
    pub(crate) fn encode(&self, offset: u64) -> Vec<u8> {
        KIND.encode(&self.head, [self.values, self.value_bytes], offset)
    }

    /// Reads the footer of `path`, found at `offset`: the last bytes of the file.
    pub(crate) fn decode(bytes: &[u8], path: &Path, offset: u64) -> Result<Self> {
        let (head, [values, value_bytes]) = KIND.decode(bytes, path, offset)?;
        Ok(Self { head, values, value_bytes })
    }
}
