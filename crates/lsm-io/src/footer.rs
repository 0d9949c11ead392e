//! The last bytes of a file that never changes: what it is, in which format, what a program must know
//! to read it, and who it is, before the few numbers that only its kind has.
//!
//! | at | bytes | what |
//! |---|---|---|
//! | 0 | 8 | magic |
//! | 8 | 4 | format version |
//! | 12 | 4 | zero |
//! | 16 | 8 | features needed to read |
//! | 24 | 8 | features needed to write |
//! | 32 | 24 | birth identity |
//! | 56 | 8 each | numbers of the kind |
//! | behind | 8 | checksum of the bytes before |

use std::path::Path;

use crate::bytes::{ByteReader, put_u32, put_u64};
use crate::{Error, Identity, Malformed, Result, SEAL_BYTES, Sealer};

/// Where the version is.
const VERSION_AT: usize = 8;
/// Where the birth identity is.
const IDENTITY_AT: usize = 32;
/// Bytes before the numbers of the kind.
const HEAD_BYTES: usize = IDENTITY_AT + Identity::BYTES;

/// No format has this many versions: a higher number is damage.
const VERSION_MAX: u32 = 0xFFFF;

const WRONG_CHECKSUM: &str = "footer checksum does not match";

/// A kind of file that ends with a footer.
///
/// ```
/// use lsm_io::{FooterHead, FooterKind};
///
/// const JOURNAL: FooterKind =
///     FooterKind { magic: *b"JOURNALS", name: "journal", version: 1, features_known: 0 };
/// let footer = JOURNAL.encode(&FooterHead::default(), [17], 4096);
/// assert_eq!(footer.len(), FooterKind::bytes(1));
///
/// let (_, [entries]) = JOURNAL.decode(&footer, "a.journal".as_ref(), 4096)?;
/// assert_eq!(entries, 17);
/// assert!(JOURNAL.decode::<1>(&footer, "a.journal".as_ref(), 0).is_err(), "not its place");
/// # Ok::<(), lsm_io::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct FooterKind {
    /// What the footer begins with.
    pub magic: [u8; 8],
    /// What messages call such a file: "table".
    pub name: &'static str,
    /// The version of the format that this program writes, and the only one that it reads.
    pub version: u32,
    /// The features, a bit each, that this program can read.
    pub features_known: u64,
}

/// What a footer says whatever the kind of its file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FooterHead {
    /// Features, a bit each, without which the file must not be interpreted.
    pub features_to_read: u64,
    /// Features, a bit each, without which nothing may be written beside it.
    pub features_to_write: u64,
    /// Who the file is.
    pub identity: Identity,
}

impl FooterKind {
    /// Length of a footer with so many numbers of its kind.
    pub const fn bytes(numbers: usize) -> usize {
        HEAD_BYTES + 8 * numbers + SEAL_BYTES
    }

    /// The encoded form, which will stand at `offset`.
    pub fn encode<const N: usize>(
        &self,
        head: &FooterHead,
        numbers: [u64; N],
        offset: u64,
    ) -> Vec<u8> {
        let mut out = Vec::with_capacity(Self::bytes(N));
        out.extend_from_slice(&self.magic);
        put_u32(&mut out, self.version);
        put_u32(&mut out, 0);
        put_u64(&mut out, head.features_to_read);
        put_u64(&mut out, head.features_to_write);
        out.extend_from_slice(&head.identity.to_bytes());
        numbers.iter().for_each(|&number| put_u64(&mut out, number));
        let seal = Sealer::new(head.identity).seal(offset, &out);
        put_u64(&mut out, seal);
        out
    }

    /// Reads the footer of `path`, found at `offset`: the last bytes of the file.
    ///
    /// # Errors
    /// `Corrupt` if it is damaged, of another kind or place, or of a version or with features that
    /// this program cannot read.
    pub fn decode<const N: usize>(
        &self,
        footer: &[u8],
        path: &Path,
        offset: u64,
    ) -> Result<(FooterHead, [u64; N])> {
        let corrupt = |reason: String| Error::corrupt(path, offset, reason);
        let lift = |malformed: Malformed| malformed.at(path, offset);
        let (name, known) = (self.name, self.features_known);
        let mut reader = ByteReader::new(footer);
        if reader.array::<8>().map_err(lift)? != self.magic {
            return Err(corrupt(format!("the file does not end like a {name}")));
        }
        let version = reader.u32().map_err(lift)?;
        // Order: the version before the rest, which another version may have moved, the checksum too.
        if version != self.version {
            if !self.is_newer(version, footer, offset) {
                return Err(corrupt(WRONG_CHECKSUM.into()));
            }
            let reads = self.version;
            return Err(corrupt(format!(
                "{name} format is version {version}, this program reads version {reads}"
            )));
        }
        let (zero_at, zero) = (reader, reader.u32().map_err(lift)?);
        if zero != 0 {
            return Err(lift(zero_at.malformed("footer has unknown bits set")));
        }
        let head = FooterHead {
            features_to_read: reader.u64().map_err(lift)?,
            features_to_write: reader.u64().map_err(lift)?,
            identity: Identity::from_bytes(&reader.array().map_err(lift)?),
        };
        let mut numbers = [0; N];
        for number in &mut numbers {
            *number = reader.u64().map_err(lift)?;
        }
        if Sealer::new(head.identity).open(offset, footer).is_none() {
            return Err(corrupt(WRONG_CHECKSUM.into()));
        }
        if head.features_to_read & !known != 0 {
            let needed = head.features_to_read;
            return Err(corrupt(format!(
                "{name} needs features {needed:#x} to be read, this program knows {known:#x}"
            )));
        }
        Ok((head, numbers))
    }

    /// Whether another version has written the footer, and not damage to one of ours: no version is so
    /// high, or the footer would be whole with our version in it.
    fn is_newer(&self, version: u32, footer: &[u8], offset: u64) -> bool {
        let mut ours = footer.to_vec();
        ours[VERSION_AT..][..4].copy_from_slice(&self.version.to_le_bytes());
        let identity = ours.get(IDENTITY_AT..).and_then(|rest| rest.first_chunk());
        let sealer = identity.map(|bytes| Sealer::new(Identity::from_bytes(bytes)));
        let is_ours = sealer.is_some_and(|sealer| sealer.open(offset, &ours).is_some());
        (self.version..=VERSION_MAX).contains(&version) && !is_ours
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: FooterKind =
        FooterKind { magic: *b"LSMTESTS", name: "test file", version: 1, features_known: 2 };

    fn head(features_to_read: u64) -> FooterHead {
        let identity = Identity { database_id: 5, file_number: 9 };
        FooterHead { features_to_read, features_to_write: 0, identity }
    }

    fn decode(footer: &[u8]) -> Result<(FooterHead, [u64; 2])> {
        KIND.decode(footer, Path::new("7.test"), 1000)
    }

    #[track_caller]
    fn check_refused(footer: &[u8], reason: &str) {
        let refusal = decode(footer).expect_err("refused").to_string();
        assert!(refusal.contains(reason), "{refusal}");
    }

    #[test]
    fn a_footer_is_read_back() {
        let encoded = KIND.encode(&head(2), [3, 4], 1000);
        assert_eq!(encoded.len(), FooterKind::bytes(2));
        assert_eq!(decode(&encoded).expect("valid"), (head(2), [3, 4]));
    }

    #[test]
    fn every_damaged_bit_is_told_as_damage_and_every_other_length_is_refused() {
        let whole = KIND.encode(&head(2), [3, 4], 1000);
        for bit in 0..whole.len() * 8 {
            let mut damaged = whole.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let refusal = decode(&damaged).expect_err("refused").to_string();
            assert!(!refusal.contains("this program"), "bit {bit}: {refusal}");
        }
        for length in 0..whole.len() {
            assert!(decode(&whole[..length]).is_err(), "{length} bytes");
        }
        assert!(decode(&[&whole[..], b"more"].concat()).is_err(), "longer");
        assert!(KIND.decode::<2>(&whole, Path::new("7.test"), 1001).is_err(), "not its place");
    }

    #[test]
    fn what_this_program_does_not_know_is_refused_by_name() {
        let unknown = KIND.encode(&head(3), [3, 4], 1000);
        check_refused(&unknown, "test file needs features 0x3 to be read, this program knows 0x2");
        let other = FooterKind { magic: *b"LSMOTHER", ..KIND }.encode(&head(2), [3, 4], 1000);
        check_refused(&other, "does not end like a test file");
    }

    #[test]
    fn another_version_is_told_from_damage_wherever_its_checksum_is() {
        let next = FooterKind { version: 2, ..KIND };
        let told = "test file format is version 2, this program reads version 1";
        check_refused(&next.encode(&head(2), [3, 4], 1000), told);
        let mut moved = next.encode(&head(2), [3, 4], 1000);
        moved[16..].fill(7);
        check_refused(&moved, told);
        // What a write leaves that was torn behind the magic is no version.
        for torn in [0, 0xFF] {
            moved[8..].fill(torn);
            check_refused(&moved, WRONG_CHECKSUM);
        }
    }
}
