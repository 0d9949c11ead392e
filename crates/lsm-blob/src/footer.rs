//! The last bytes of a blob file: what it is, who it is, and how much is in it.
//!
//! | at | bytes | what |
//! |---|---|---|
//! | 0 | 8 | magic, `LSMBLOBS` |
//! | 8 | 4 | format version, 1 |
//! | 12 | 4 | zero |
//! | 16 | 8 | features needed to read |
//! | 24 | 8 | features needed to write |
//! | 32 | 24 | birth identity |
//! | 56 | 8 | how many values there are |
//! | 64 | 8 | how long they are together |
//! | 72 | 8 | checksum of the 72 bytes before |

use std::path::Path;

use lsm_io::bytes::{ByteReader, put_u32, put_u64};
use lsm_io::{Error, Identity, Malformed, Result, Sealer};

/// Length of the footer.
pub(crate) const FOOTER_BYTES: usize = 80;
/// The version of the format that this build writes, and the newest it reads.
pub const FORMAT_VERSION: u32 = 1;

const MAGIC: [u8; 8] = *b"LSMBLOBS";
/// What this build can read: nothing beyond the first version.
const FEATURES_KNOWN: u64 = 0;

/// What the footer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Footer {
    pub(crate) features_to_read: u64,
    pub(crate) features_to_write: u64,
    pub(crate) identity: Identity,
    pub(crate) values: u64,
    pub(crate) value_bytes: u64,
}

impl Footer {
    /// The encoded form, which will stand at `offset`.
    pub(crate) fn encode(&self, offset: u64) -> Vec<u8> {
        let mut out = Vec::with_capacity(FOOTER_BYTES);
        out.extend_from_slice(&MAGIC);
        put_u32(&mut out, FORMAT_VERSION);
        put_u32(&mut out, 0);
        put_u64(&mut out, self.features_to_read);
        put_u64(&mut out, self.features_to_write);
        out.extend_from_slice(&self.identity.to_bytes());
        put_u64(&mut out, self.values);
        put_u64(&mut out, self.value_bytes);
        let seal = Sealer::new(self.identity).seal(offset, &out);
        put_u64(&mut out, seal);
        out
    }

    /// Reads the footer of `path`, found at `offset`: the last bytes of the file.
    pub(crate) fn decode(bytes: &[u8], path: &Path, offset: u64) -> Result<Self> {
        let decoded = Self::decode_fields(bytes).map_err(|malformed| malformed.at(path, offset))?;
        let (version, footer) = decoded;
        // Order: the version before the checksum, whose place another version may have moved.
        if version != FORMAT_VERSION {
            let reason = format!(
                "blob file format is version {version}, this program reads version {FORMAT_VERSION}"
            );
            return Err(Error::corrupt(path, offset, reason));
        }
        if Sealer::new(footer.identity).open(offset, bytes).is_none() {
            return Err(Error::corrupt(path, offset, "footer checksum does not match"));
        }
        if footer.features_to_read & !FEATURES_KNOWN != 0 {
            let reason = format!(
                "blob file needs features {:#x} to be read, this build knows {FEATURES_KNOWN:#x}",
                footer.features_to_read
            );
            return Err(Error::corrupt(path, offset, reason));
        }
        Ok(footer)
    }

    fn decode_fields(bytes: &[u8]) -> std::result::Result<(u32, Self), Malformed> {
        let mut reader = ByteReader::new(bytes);
        if reader.array::<8>()? != MAGIC {
            return Err(Malformed { offset: 0, reason: "the file does not end like a blob file" });
        }
        let version = reader.u32()?;
        let zero = reader.u32()?;
        if version == FORMAT_VERSION && zero != 0 {
            return Err(Malformed { offset: 12, reason: "footer has unknown bits set" });
        }
        let footer = Self {
            features_to_read: reader.u64()?,
            features_to_write: reader.u64()?,
            identity: Identity::from_bytes(&reader.array()?),
            values: reader.u64()?,
            value_bytes: reader.u64()?,
        };
        Ok((version, footer))
    }
}
