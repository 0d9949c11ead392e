//! The last bytes of a table: a footer as of other files, which says where the table's sections are.
//!
//! | at | bytes | what |
//! |---|---|---|
//! | 0 | 56 | magic `LSMTABLE`, version, features, birth identity: see [`FooterKind`] |
//! | 56 | 64 | handles of filter, range deletes, properties, index: offset 8, length 8 |
//! | 120 | 8 | checksum of the 120 bytes before |

use std::path::Path;

use lsm_io::{Error, FooterHead, FooterKind, Result, SEAL_BYTES};

/// Length of the footer.
pub(crate) const FOOTER_BYTES: usize = FooterKind::bytes(8);
/// The version of the format that this program writes, and the newest it reads.
pub const FORMAT_VERSION: u32 = 1;

/// The table holds blocks compressed with lz4.
pub(crate) const FEATURE_LZ4: u64 = 1;
/// The table holds blocks compressed with zstd.
pub(crate) const FEATURE_ZSTD: u64 = 2;
/// The table refers to values in blob files.
pub(crate) const FEATURE_BLOBS: u64 = 4;

const KIND: FooterKind = FooterKind {
    magic: *b"LSMTABLE",
    name: "table",
    version: FORMAT_VERSION,
    features_known: FEATURE_LZ4 | FEATURE_ZSTD | FEATURE_BLOBS,
};

/// What is said of tables with zstd blocks by a program that was built without it.
const WITHOUT_ZSTD: &str = "table needs features 0x2 to be read: its blocks are compressed with zstd, \
     and this program is built without it; build it with the feature lsm-engine/zstd";

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
    pub(crate) head: FooterHead,
    pub(crate) filter: SectionHandle,
    pub(crate) range_deletes: SectionHandle,
    pub(crate) properties: SectionHandle,
    pub(crate) index: SectionHandle,
}

impl Footer {
    /// The encoded form, which will stand at `offset`.
    pub(crate) fn encode(&self, offset: u64) -> Vec<u8> {
        let sections = self.sections().map(|section| [section.offset, section.bytes]);
        let numbers = std::array::from_fn::<_, 8, _>(|n| sections[n / 2][n % 2]);
        KIND.encode(&self.head, numbers, offset)
    }

    /// Reads the footer of `path`, found at `offset`: the last bytes of the file.
    pub(crate) fn decode(bytes: &[u8], path: &Path, offset: u64) -> Result<Self> {
        let (head, numbers) = KIND.decode::<8>(bytes, path, offset)?;
        if !cfg!(feature = "zstd") && head.features_to_read & FEATURE_ZSTD != 0 {
            return Err(Error::corrupt(path, offset, WITHOUT_ZSTD));
        }
        let section = |at: usize| SectionHandle { offset: numbers[at], bytes: numbers[at + 1] };
        let footer = Self {
            head,
            filter: section(0),
            range_deletes: section(2),
            properties: section(4),
            index: section(6),
        };
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
            head: FooterHead::default(),
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
    fn features_that_this_program_does_not_know_are_refused() {
        let head = FooterHead { features_to_read: 1 << 40, ..FooterHead::default() };
        check_refused(Footer { head, ..footer() }, "table needs features 0x1000");
    }

    #[test]
    fn a_table_with_zstd_blocks_is_read_or_refused_by_the_name_of_what_is_missing() {
        let head = FooterHead { features_to_read: FEATURE_ZSTD, ..FooterHead::default() };
        let footer = Footer { head, ..footer() };
        if cfg!(feature = "zstd") {
            let read = Footer::decode(&footer.encode(1000), Path::new("7.sst"), 1000);
            assert_eq!(read.expect("valid"), footer);
        } else {
            check_refused(footer, "table needs features 0x2 to be read");
            check_refused(footer, "build it with the feature lsm-engine/zstd");
        }
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
