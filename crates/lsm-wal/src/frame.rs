//! The frame: one checksummed, whole append.
//!
//! ```text
//! +----------------+----------------+----------------+----------------+
//! | CRC32 (4B)     | Length (4B)    | Header (16B)   | Payload (N)    |
//! +----------------+----------------+----------------+----------------+
//! Header:  | Type (1B) | Flags (1B) | Reserved (2B) | SeqStart (8B) | Count (4B) |
//! ```
//!
//! The checksum is fed the payload, then the length, the header, and the segment's salt: so the
//! payload can be hashed before the frame has its place in the order, and a frame of another
//! segment never validates here. Format: docs/formats/log.md

use lsm_io::checksum::{crc32, crc32_continued};

/// Bytes of a frame before its payload.
pub const FRAME_HEADER_BYTES: usize = 24;
/// The longest payload, in bytes. A frame whose length says more is bad.
pub const MAX_PAYLOAD_BYTES: u32 = u32::MAX - 64;
/// The longest text that may stand in a mark beside its number. Short, so that the search for marks
/// never has to hash much to find out that something only looks like one.
pub const MARK_EXTRA_BYTES_MAX: usize = 248;

/// Bytes of a mark's own number, and of the whole payload of a closing frame.
pub(crate) const NUMBER_BYTES: usize = 8;
/// Where sequence numbers end: they have 56 bits.
const SEQ_NO_END: u64 = 1 << 56;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FrameKind(pub u8);

impl FrameKind {
    /// Logical records, applied together.
    pub const BATCH: Self = Self(1);
    /// How far the log was known durable.
    pub const MARK: Self = Self(2);
    /// The end of a segment: the next one's number, or 0 after a clean close.
    pub const CLOSE: Self = Self(3);
    /// Who the file is; its first frame.
    pub const IDENTITY: Self = Self(4);
    /// Something that happened in the one order and is no entry.
    pub const NOTE: Self = Self(5);
    /// The first kind to which other users of frames may give a meaning.
    pub const USER: Self = Self(64);

    /// Whether it is for the log's user: batches, notes and users' own kinds. These take sequence
    /// numbers; the others stand between them.
    pub fn takes_seq_no(self) -> bool {
        matches!(self, Self::BATCH | Self::NOTE) || self.0 >= Self::USER.0
    }
}

/// A frame as it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameRef<'a> {
    /// What it is.
    pub kind: FrameKind,
    /// Flags; none are defined yet.
    pub flags: u8,
    /// The sequence number of its first record; the next one, for a frame without records.
    pub seq_start: u64,
    /// How many sequence numbers it takes.
    pub count: u32,
    /// Its bytes.
    pub payload: &'a [u8],
    /// The number of the file it stands in.
    pub segment: u64,
    /// Where in that file it begins.
    pub offset: u64,
}

impl FrameRef<'_> {
    /// The sequence number after its last.
    pub fn seq_end(&self) -> u64 {
        // No overflow: both were checked against 56 bits when the frame was read.
        self.seq_start + u64::from(self.count)
    }

    /// Where in its file the next frame begins.
    pub fn end(&self) -> u64 {
        self.offset + (FRAME_HEADER_BYTES + self.payload.len()) as u64
    }

    /// Of a closing frame: the segment in which the log goes on; `None` at the log's end.
    pub fn next_segment(&self) -> Option<u64> {
        Some(self.number()).filter(|number| *number != 0)
    }

    /// The number with which the payload of a mark or a closing frame begins.
    pub(crate) fn number(&self) -> u64 {
        self.payload.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }
}

/// The checksum of a payload, taken before the frame is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PayloadHash(u32);

/// Hashes a payload. The costly part of appending, done outside any lock.
pub fn hash_payload(payload: &[u8]) -> PayloadHash {
    PayloadHash(crc32(payload))
}

/// What stands before a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: FrameKind,
    pub(crate) seq_start: u64,
    pub(crate) count: u32,
    pub(crate) length: u32,
    checksum: u32,
}

impl Header {
    /// # Panics
    /// If readers would call such a frame bad: it must never be written.
    pub(crate) fn new(kind: FrameKind, seq_start: u64, count: u32, length: usize) -> Self {
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        let header = Self { kind, seq_start, count, length, checksum: 0 };
        if let Err(reason) = header.check() {
            panic!("a frame is written as it must be read: {reason}: {header:?}");
        }
        header
    }

    /// Appends the encoded header, checksum included.
    #[inline]
    pub(crate) fn encode(&self, hash: PayloadHash, salt: u64, out: &mut Vec<u8>) {
        let mut bytes = [0; FRAME_HEADER_BYTES];
        let fields = self.fields();
        bytes[..4].copy_from_slice(&checksum(hash, &fields, salt).to_le_bytes());
        bytes[4..].copy_from_slice(&fields);
        out.extend_from_slice(&bytes);
    }

    fn fields(&self) -> [u8; 20] {
        let mut fields = [0; 20];
        fields[..4].copy_from_slice(&self.length.to_le_bytes());
        fields[4] = self.kind.0;
        fields[8..16].copy_from_slice(&self.seq_start.to_le_bytes());
        fields[16..].copy_from_slice(&self.count.to_le_bytes());
        fields
    }

    /// Reads a header; nothing in it is to be trusted before [`validates`](Self::validates).
    pub(crate) fn decode(bytes: &[u8; FRAME_HEADER_BYTES]) -> Result<Self, &'static str> {
        let [c0, c1, c2, c3, l0, l1, l2, l3, kind, flags, r0, r1, rest @ ..] = *bytes;
        let [s0, s1, s2, s3, s4, s5, s6, s7, n0, n1, n2, n3] = rest;
        let header = Self {
            kind: FrameKind(kind),
            seq_start: u64::from_le_bytes([s0, s1, s2, s3, s4, s5, s6, s7]),
            count: u32::from_le_bytes([n0, n1, n2, n3]),
            length: u32::from_le_bytes([l0, l1, l2, l3]),
            checksum: u32::from_le_bytes([c0, c1, c2, c3]),
        };
        if [flags, r0, r1] != [0; 3] {
            return Err("the frame has unknown flags");
        }
        header.check()?;
        Ok(header)
    }

    /// Type, length, count and sequence number agree with each other.
    fn check(&self) -> Result<(), &'static str> {
        if self.seq_start > SEQ_NO_END - u64::from(self.count) {
            return Err("the frame's sequence numbers have more than 56 bits");
        }
        if self.length > MAX_PAYLOAD_BYTES {
            return Err("the frame's length is beyond every limit");
        }
        let length = self.length as usize;
        let agrees = match self.kind {
            kind if kind.takes_seq_no() => self.count > 0,
            FrameKind::MARK => {
                let lengths = NUMBER_BYTES..=NUMBER_BYTES + MARK_EXTRA_BYTES_MAX;
                self.count == 0 && lengths.contains(&length)
            }
            FrameKind::CLOSE => self.count == 0 && length == NUMBER_BYTES,
            FrameKind::IDENTITY => self.count == 0 && self.seq_start == 0,
            _ => return Err("the frame's type is unknown"),
        };
        if agrees { Ok(()) } else { Err("the frame's type, length and count do not agree") }
    }

    /// Whether header and payload are what was written, and written here.
    pub(crate) fn validates(&self, payload: &[u8], salt: u64) -> bool {
        checksum(hash_payload(payload), &self.fields(), salt) == self.checksum
    }

    /// Bytes of the whole frame.
    pub(crate) fn frame_bytes(&self) -> u64 {
        FRAME_HEADER_BYTES as u64 + u64::from(self.length)
    }

    /// The frame that begins at `offset` of a file, once it was found to be valid.
    pub(crate) fn frame<'a>(&self, payload: &'a [u8], segment: u64, offset: u64) -> FrameRef<'a> {
        let Self { kind, seq_start, count, .. } = *self;
        FrameRef { kind, flags: 0, seq_start, count, payload, segment, offset }
    }
}

/// One run over 28 bytes: this part is done under the log's lock.
#[inline]
pub(crate) fn checksum(hash: PayloadHash, fields: &[u8; 20], salt: u64) -> u32 {
    let mut tail = [0; 28];
    tail[..20].copy_from_slice(fields);
    tail[20..].copy_from_slice(&salt.to_le_bytes());
    crc32_continued(hash.0, &tail)
}

/// Appends a whole frame.
pub(crate) fn encode_frame(header: &Header, payload: &[u8], salt: u64, out: &mut Vec<u8>) {
    header.encode(hash_payload(payload), salt, out);
    out.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT: u64 = 0x5A17;

    fn encoded(kind: FrameKind, seq_start: u64, count: u32, payload: &[u8]) -> Vec<u8> {
        let header = Header::new(kind, seq_start, count, payload.len());
        let mut bytes = Vec::new();
        encode_frame(&header, payload, SALT, &mut bytes);
        bytes
    }

    fn decode(bytes: &[u8]) -> Result<(Header, bool), &'static str> {
        let (header, payload) = bytes.split_first_chunk().expect("a whole header");
        let header = Header::decode(header)?;
        let is_whole = header.length as usize == payload.len();
        Ok((header, is_whole && header.validates(payload, SALT)))
    }

    #[test]
    fn the_checksum_is_fed_payload_length_header_and_salt() {
        let bytes = encoded(FrameKind::BATCH, 7, 2, b"payload");
        let mut fed = b"payload".to_vec();
        fed.extend_from_slice(&bytes[4..24]);
        fed.extend_from_slice(&SALT.to_le_bytes());
        assert_eq!(bytes[..4], crc32(&fed).to_le_bytes());
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let bytes = encoded(FrameKind::BATCH, 7, 2, b"payload");
        assert!(decode(&bytes).expect("decodes").1);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(!decode(&flipped).is_ok_and(|(_, valid)| valid), "bit {bit}");
        }
    }

    #[test]
    fn a_frame_validates_under_its_own_salt_only() {
        let bytes = encoded(FrameKind::BATCH, 7, 2, b"payload");
        let (header, payload) = bytes.split_first_chunk().expect("a whole header");
        let header = Header::decode(header).expect("decodes");
        assert!(header.validates(payload, SALT));
        assert!(!header.validates(payload, SALT + 1));
    }

    #[track_caller]
    fn check_refused(change: impl Fn(&mut Vec<u8>), reason: &str) {
        let mut bytes = encoded(FrameKind::BATCH, 7, 2, b"payload");
        change(&mut bytes);
        assert_eq!(decode(&bytes), Err(reason));
    }

    #[test]
    fn what_no_writer_writes_is_no_header() {
        check_refused(|bytes| bytes[8] = 0, "the frame's type is unknown");
        check_refused(|bytes| bytes[8] = 6, "the frame's type is unknown");
        check_refused(|bytes| bytes[8] = 63, "the frame's type is unknown");
        for reserved in 9..12 {
            check_refused(|bytes| bytes[reserved] = 1, "the frame has unknown flags");
        }
        let beyond = "the frame's sequence numbers have more than 56 bits";
        check_refused(|bytes| bytes[19] = 1, beyond);
        check_refused(|bytes| bytes[12..19].fill(0xFF), beyond);
        check_refused(|bytes| bytes[4..8].fill(0xFF), "the frame's length is beyond every limit");
        let differ = "the frame's type, length and count do not agree";
        check_refused(|bytes| bytes[20..24].fill(0), differ);
        check_refused(|bytes| bytes[8] = FrameKind::MARK.0, differ);
        check_refused(|bytes| bytes[8] = FrameKind::CLOSE.0, differ);
        check_refused(|bytes| bytes[8] = FrameKind::IDENTITY.0, differ);
    }

    #[test]
    fn the_last_sequence_number_has_56_bits() {
        let last = SEQ_NO_END - 1;
        assert!(decode(&encoded(FrameKind::BATCH, last, 1, b"")).expect("decodes").1);
        assert!(std::panic::catch_unwind(|| Header::new(FrameKind::BATCH, last, 2, 0)).is_err());
    }
}
