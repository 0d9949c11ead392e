//! The first frame of every framed file: what it is and to whom it belongs.
//!
//! | bytes | field |
//! |---|---|
//! | 8 | magic `lsmframe` |
//! | 4 | format version |
//! | 8 | features needed to read |
//! | 8 | features needed to write |
//! | 24 | identity: database id, file number |

use std::path::Path;

use lsm_io::bytes::ByteReader;
use lsm_io::{Error, Identity, Malformed};

use crate::frame::{FRAME_HEADER_BYTES, FrameKind, Header, encode_frame};

const MAGIC: &[u8; 8] = b"lsmframe";
/// The version of the frame format that this crate reads and writes.
pub const FORMAT_VERSION: u32 = 1;
/// Features that this crate can read, one bit each: none are defined yet.
const KNOWN_FEATURES: u64 = 0;
const PAYLOAD_BYTES: usize = 8 + 4 + 8 + 8 + Identity::BYTES;
/// Bytes of the identity frame: what follows begins here.
pub(crate) const IDENTITY_FRAME_BYTES: usize = FRAME_HEADER_BYTES + PAYLOAD_BYTES;

/// The identity frame, whole. Its salt is 0, for who can know the salt has read it.
pub(crate) fn encode_identity(identity: Identity) -> Vec<u8> {
    let mut payload = Vec::with_capacity(PAYLOAD_BYTES);
    payload.extend_from_slice(MAGIC);
    payload.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    payload.extend_from_slice(&[0; 16]);
    payload.extend_from_slice(&identity.to_bytes());
    let header = Header::new(FrameKind::IDENTITY, 0, 0, 0, payload.len());
    let mut frame = Vec::with_capacity(IDENTITY_FRAME_BYTES);
    encode_frame(&header, &payload, 0, &mut frame);
    frame
}

/// Reads the identity frame from a file's first bytes.
pub(crate) fn decode_identity(path: &Path, bytes: &[u8]) -> Result<Identity, Error> {
    let corrupt = |offset, reason: &'static str| Error::corrupt(path, offset, reason);
    let Some((header, rest)) = bytes.split_first_chunk() else {
        return Err(corrupt(0, "the file is too short for its identity"));
    };
    let header = Header::decode(header).map_err(|_| corrupt(0, "there is no identity frame"))?;
    if header.kind != FrameKind::IDENTITY {
        return Err(corrupt(0, "the first frame is no identity"));
    }
    let payload = rest.get(..header.length as usize);
    let payload = payload.ok_or_else(|| corrupt(0, "the identity frame is cut off"))?;
    if !header.validates(payload, 0) {
        return Err(corrupt(0, "the checksum of the identity frame does not match"));
    }
    decode_payload(path, payload)
}

fn decode_payload(path: &Path, payload: &[u8]) -> Result<Identity, Error> {
    let lift = |malformed: Malformed| malformed.at(path, FRAME_HEADER_BYTES as u64);
    let mut reader = ByteReader::new(payload);
    if reader.slice(8).map_err(lift)? != MAGIC {
        return Err(Error::corrupt(path, FRAME_HEADER_BYTES as u64, "this is no file of frames"));
    }
    let version = reader.u32().map_err(lift)?;
    if version != FORMAT_VERSION {
        return Err(Error::corrupt(
            path,
            FRAME_HEADER_BYTES as u64 + 8,
            format!("format version {version}; this program reads version {FORMAT_VERSION}"),
        ));
    }
    let needed = reader.u64().map_err(lift)?;
    if needed & !KNOWN_FEATURES != 0 {
        return Err(Error::corrupt(
            path,
            FRAME_HEADER_BYTES as u64 + 12,
            format!("reading needs features {needed:#x}; this program has {KNOWN_FEATURES:#x}"),
        ));
    }
    reader.u64().map_err(lift)?;
    let bytes = reader.slice(Identity::BYTES).map_err(lift)?;
    Ok(Identity::from_bytes(bytes.try_into().expect("of that length")))
}
