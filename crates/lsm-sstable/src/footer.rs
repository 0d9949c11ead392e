//! The last bytes of a table: what it is, who it is, and where its sections are.
//!
//! | at | bytes | what |
//! |---|---|---|
//! | 0 | 8 | magic, `LSMTABLE` |
//! | 8 | 4 | format version, 1 |
//! | 12 | 4 | zero |
//! | 16 | 8 | features needed to read |
//! | 24 | 8 | features needed to write |
//! | 32 | 24 | birth identity |
//! | 56 | 64 | handles of filter, range deletes, properties, index: offset 8, length 8 |
//! | 120 | 8 | checksum of the 120 bytes before |

use std::path::Path;

use lsm_io::bytes::{ByteReader, put_u32, put_u64};
use lsm_io::{Error, Identity, Malformed, Result, SEAL_BYTES, Sealer};

/// Length of the footer.
pub(crate) const FOOTER_BYTES: usize = 128;
/// The version of the format that this build writes, and the newest it reads.
pub const FORMAT_VERSION: u32 = 1;

const MAGIC: [u8; 8] = *b"LSMTABLE";

/// The table holds blocks compressed with lz4.
pub(crate) const FEATURE_LZ4: u64 = 1;
/// The table holds blocks compressed with zstd.
pub(crate) const FEATURE_ZSTD: u64 = 2;
/// The table refers to values in blob files.
pub(crate) const FEATURE_BLOBS: u64 = 4;
/// What this build can read.
const FEATURES_KNOWN: u64 =
    FEATURE_LZ4 | FEATURE_BLOBS | if cfg!(feature = "zstd") { FEATURE_ZSTD } else { 0 };

/// Where a section is; its checksum follows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SectionHandle {
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
}

impl SectionHandle {
    /// Where the section's checksum ends.
    pub(crate) fn end(self) -> u64 {
        self.offset.saturating_add(self.bytes).saturating_add(SEAL_BYTES as u64)
    }

    /// Whether there is no such section: the table has no filter, say.
    pub(crate) fn is_absent(self) -> bool {
        self == Self::default()
    }
}

/// What the footer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Footer {
    pub(crate) features_to_read: u64,
    pub(crate) features_to_write: u64,
    pub(crate) identity: Identity,
    pub(crate) filter: SectionHandle,
    pub(crate) range_deletes: SectionHandle,
    pub(crate) properties: SectionHandle,
    pub(crate) index: SectionHandle,
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
        for handle in self.sections() {
            put_u64(&mut out, handle.offset);
            put_u64(&mut out, handle.bytes);
        }
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
                "table format is version {version}, this build reads version {FORMAT_VERSION}"
            );
            return Err(Error::corrupt(path, offset, reason));
        }
        if Sealer::new(footer.identity).open(offset, bytes).is_none() {
            return Err(Error::corrupt(path, offset, "footer checksum does not match"));
        }
        let unknown = footer.features_to_read & !FEATURES_KNOWN;
        if unknown != 0 {
            let reason = format!(
                "table needs features {:#x} to be read, this build knows {FEATURES_KNOWN:#x}",
                footer.features_to_read
            );
            return Err(Error::corrupt(path, offset, reason));
        }
        footer.check_sections(offset).map_err(|reason| Error::corrupt(path, offset, reason))?;
        Ok(footer)
    }

    /// The sections in the order in which they lie in the file.
    pub(crate) fn sections(&self) -> [SectionHandle; 4] {
        [self.filter, self.range_deletes, self.properties, self.index]
    }

    /// Where the first section starts, and so the last block has ended.
    pub(crate) fn sections_start(&self) -> u64 {
        let present = self.sections().into_iter().filter(|section| !section.is_absent());
        present.map(|section| section.offset).min().unwrap_or(0)
    }

    fn decode_fields(bytes: &[u8]) -> std::result::Result<(u32, Self), Malformed> {
        let mut reader = ByteReader::new(bytes);
        if reader.array::<8>()? != MAGIC {
            return Err(Malformed { offset: 0, reason: "the file does not end like a table" });
        }
        let version = reader.u32()?;
        let zero = reader.u32()?;
        let (features_to_read, features_to_write) = (reader.u64()?, reader.u64()?);
        let identity = Identity::from_bytes(&reader.array()?);
        let mut section = || -> std::result::Result<SectionHandle, Malformed> {
            Ok(SectionHandle { offset: reader.u64()?, bytes: reader.u64()? })
        };
        let (filter, range_deletes) = (section()?, section()?);
        let (properties, index) = (section()?, section()?);
        if version == FORMAT_VERSION && zero != 0 {
            return Err(Malformed { offset: 12, reason: "footer has unknown bits set" });
        }
        let footer = Self {
            features_to_read,
            features_to_write,
            identity,
            filter,
            range_deletes,
            properties,
            index,
        };
        Ok((version, footer))
    }

    /// Sections lie one behind the other, and the last ends where the footer starts.
    fn check_sections(&self, footer_offset: u64) -> std::result::Result<(), &'static str> {
        if self.properties.is_absent() || self.index.is_absent() {
            return Err("table has no properties or no index");
        }
        let mut end = 0;
        for section in self.sections().into_iter().filter(|section| !section.is_absent()) {
            if section.offset < end || section.end() > footer_offset {
                return Err("sections overlap or reach into the footer");
            }
            end = section.end();
        }
        if end == footer_offset { Ok(()) } else { Err("the index does not end at the footer") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn footer() -> Footer {
        Footer {
            features_to_read: 0,
            features_to_write: 0,
            identity: Identity { database_id: 5, file_number: 9 },
            filter: SectionHandle { offset: 640, bytes: 64 },
            range_deletes: SectionHandle::default(),
            properties: SectionHandle { offset: 712, bytes: 80 },
            index: SectionHandle { offset: 800, bytes: 192 },
        }
    }

    #[track_caller]
    fn check_refused(footer: Footer, reason: &str) {
        let refusal = Footer::decode(&footer.encode(1000), Path::new("7.sst"), 1000);
        let refusal = refusal.expect_err("refused").to_string();
        assert!(refusal.contains(reason), "{refusal}");
    }

    #[test]
    fn a_footer_is_read_back() {
        let encoded = footer().encode(1000);
        assert_eq!(encoded.len(), FOOTER_BYTES);
        assert_eq!(Footer::decode(&encoded, Path::new("7.sst"), 1000).expect("valid"), footer());
        assert_eq!(footer().sections_start(), 640);
        assert!(Footer::decode(&encoded, Path::new("7.sst"), 1001).is_err(), "not its place");
    }

    #[test]
    fn what_this_build_does_not_know_is_refused_by_name() {
        check_refused(Footer { features_to_read: 1 << 40, ..footer() }, "needs features 0x1000");
        let mut newer = footer().encode(1000);
        newer[8] = 2;
        let refusal = Footer::decode(&newer, Path::new("7.sst"), 1000).expect_err("refused");
        assert!(refusal.to_string().contains("version 2, this build reads version 1"), "{refusal}");
    }

    #[test]
    fn sections_out_of_place_are_refused() {
        let section = |offset, bytes| SectionHandle { offset, bytes };
        check_refused(Footer { index: section(800, 193), ..footer() }, "into the footer");
        check_refused(Footer { index: section(800, 191), ..footer() }, "does not end at");
        check_refused(Footer { filter: section(640, 65), ..footer() }, "overlap");
        check_refused(Footer { filter: section(u64::MAX, u64::MAX), ..footer() }, "overlap");
        check_refused(Footer { properties: SectionHandle::default(), ..footer() }, "no properties");
    }
}
