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
/// The longest payload, in bytes.
pub const MAX_PAYLOAD_BYTES: u32 = u32::MAX - 64;
/// Sequence numbers have 56 bits.
const SEQ_NO_MAX: u64 = (1 << 56) - 1;

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
    /// The first kind that other users of frames may give a meaning.
    pub const USER: Self = Self(64);

    fn is_known(self) -> bool {
        (1..=5).contains(&self.0) || self.0 >= Self::USER.0
    }
}

/// A frame as it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameRef<'a> {
    /// What it is.
    pub kind: FrameKind,
    /// Flags; none are defined yet.
    pub flags: u8,
    /// The sequence number of its first record.
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
        self.seq_start + u64::from(self.count)
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
    pub(crate) flags: u8,
    pub(crate) seq_start: u64,
    pub(crate) count: u32,
    pub(crate) length: u32,
    checksum: u32,
}

impl Header {
    pub(crate) fn new(
        kind: FrameKind,
        flags: u8,
        seq_start: u64,
        count: u32,
        length: usize,
    ) -> Self {
        assert!(length <= MAX_PAYLOAD_BYTES as usize, "payload of {length} bytes");
        assert!(seq_start <= SEQ_NO_MAX, "sequence numbers have 56 bits");
        Self { kind, flags, seq_start, count, length: length as u32, checksum: 0 }
    }

    /// Appends the encoded header, checksum included.
    pub(crate) fn encode(&self, hash: PayloadHash, salt: u64, out: &mut Vec<u8>) {
        let fields = self.fields();
        out.extend_from_slice(&checksum(hash, &fields, salt).to_le_bytes());
        out.extend_from_slice(&fields);
    }

    fn fields(&self) -> [u8; 20] {
        let mut fields = [0; 20];
        fields[..4].copy_from_slice(&self.length.to_le_bytes());
        fields[4] = self.kind.0;
        fields[5] = self.flags;
        fields[8..16].copy_from_slice(&self.seq_start.to_le_bytes());
        fields[16..].copy_from_slice(&self.count.to_le_bytes());
        fields
    }

    /// Reads a header; nothing is trusted before [`validates`](Self::validates).
    pub(crate) fn decode(bytes: &[u8; FRAME_HEADER_BYTES]) -> Result<Self, &'static str> {
        let [c0, c1, c2, c3, l0, l1, l2, l3, kind, flags, r0, r1, rest @ ..] = *bytes;
        let [s0, s1, s2, s3, s4, s5, s6, s7, n0, n1, n2, n3] = rest;
        let header = Self {
            kind: FrameKind(kind),
            flags,
            seq_start: u64::from_le_bytes([s0, s1, s2, s3, s4, s5, s6, s7]),
            count: u32::from_le_bytes([n0, n1, n2, n3]),
            length: u32::from_le_bytes([l0, l1, l2, l3]),
            checksum: u32::from_le_bytes([c0, c1, c2, c3]),
        };
        if !header.kind.is_known() {
            return Err("unknown frame type");
        }
        if flags != 0 || r0 != 0 || r1 != 0 {
            return Err("unknown frame flags");
        }
        if header.seq_start > SEQ_NO_MAX || header.length > MAX_PAYLOAD_BYTES {
            return Err("impossible frame header");
        }
        Ok(header)
    }

    /// Whether header and payload are what was written, and written here.
    pub(crate) fn validates(&self, payload: &[u8], salt: u64) -> bool {
        checksum(hash_payload(payload), &self.fields(), salt) == self.checksum
    }

    /// Bytes of the whole frame.
    pub(crate) fn frame_bytes(&self) -> u64 {
        FRAME_HEADER_BYTES as u64 + u64::from(self.length)
    }
}

fn checksum(hash: PayloadHash, fields: &[u8; 20], salt: u64) -> u32 {
    crc32_continued(crc32_continued(hash.0, fields), &salt.to_le_bytes())
}

/// Appends a whole frame.
pub(crate) fn encode_frame(header: &Header, payload: &[u8], salt: u64, out: &mut Vec<u8>) {
    header.encode(hash_payload(payload), salt, out);
    out.extend_from_slice(payload);
}
