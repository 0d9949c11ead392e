//! The first frame of every framed file: what it is, and to whom it belongs.
//!
//! | bytes | field |
//! |---|---|
//! | 8 | magic `lsmframe` |
//! | 4 | format version |
//! | 8 | features needed to read |
//! | 8 | features needed to write |
//! | 24 | identity: database id, file number |
//!
//! Format: docs/formats/log.md

use std::path::Path;

use lsm_io::bytes::{ByteReader, put_u32, put_u64};
use lsm_io::{Error, Identity, Malformed, Result};

use crate::frame::{FRAME_HEADER_BYTES, FrameKind, Header, encode_frame};

/// The version of the frame format that this crate reads and writes.
pub const FORMAT_VERSION: u32 = 1;

const MAGIC: &[u8; 8] = b"lsmframe";
/// Features that this crate knows, one bit each: none are defined yet.
const KNOWN_FEATURES: u64 = 0;
const PAYLOAD_BYTES: usize = MAGIC.len() + 4 + 8 + 8 + Identity::BYTES;
/// Bytes of the identity frame: what follows begins here.
pub(crate) const IDENTITY_FRAME_BYTES: usize = FRAME_HEADER_BYTES + PAYLOAD_BYTES;
/// A later version may say more of itself, up to here, and is still refused by name.
pub(crate) const IDENTITY_FRAME_BYTES_MAX: usize = 1024;

/// The identity frame, whole. Its salt is 0: only who has read it can know the salt.
pub(crate) fn encode_identity(identity: Identity) -> Vec<u8> {
    let mut payload = Vec::with_capacity(PAYLOAD_BYTES);
    payload.extend_from_slice(MAGIC);
    put_u32(&mut payload, FORMAT_VERSION);
    put_u64(&mut payload, 0);
    put_u64(&mut payload, 0);
    payload.extend_from_slice(&identity.to_bytes());
    let header = Header::new(FrameKind::IDENTITY, 0, 0, payload.len());
    let mut frame = Vec::with_capacity(IDENTITY_FRAME_BYTES);
    encode_frame(&header, &payload, 0, &mut frame);
    frame
}

/// What the first frame of a file that this program may read says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileStart {
    pub(crate) identity: Identity,
    /// Features without which nobody may write here, and that this program does not know.
    pub(crate) unknown_to_write: u64,
}

/// Reads the identity frame from a file's first bytes, of which there are
/// [`IDENTITY_FRAME_BYTES_MAX`] or all.
pub(crate) fn decode_identity(path: &Path, bytes: &[u8]) -> Result<FileStart> {
    let corrupt = |reason: &'static str| Error::corrupt(path, 0, reason);
    let Some((header, rest)) = bytes.split_first_chunk() else {
        return Err(corrupt("the file is too short for its identity"));
    };
    let header = Header::decode(header).map_err(|_| corrupt("there is no identity frame"))?;
    if header.kind != FrameKind::IDENTITY {
        return Err(corrupt("the first frame is no identity"));
    }
    let Some(payload) = rest.get(..header.length as usize) else {
        return Err(corrupt("the identity frame is cut off"));
    };
    if !header.validates(payload, 0) {
        return Err(corrupt("the checksum of the identity frame does not match"));
    }
    decode_payload(path, payload)
}

/// What the file says of itself, unless this program must not read it.
fn decode_payload(path: &Path, payload: &[u8]) -> Result<FileStart> {
    let base = FRAME_HEADER_BYTES as u64;
    let lift = |malformed: Malformed| malformed.at(path, base);
    let refuse = |reason: String| Err(Error::corrupt(path, base, reason));
    let mut reader = ByteReader::new(payload);
    if reader.slice(MAGIC.len()).map_err(lift)? != MAGIC {
        return refuse("this is no file of frames".to_owned());
    }
    let version = reader.u32().map_err(lift)?;
    if version != FORMAT_VERSION {
        return refuse(format!(
            "the file has format version {version}; this program reads version {FORMAT_VERSION}"
        ));
    }
    let needed_to_read = reader.u64().map_err(lift)?;
    if needed_to_read & !KNOWN_FEATURES != 0 {
        return refuse(format!(
            "the file, of format version {version}, needs features {needed_to_read:#x} to be read; \
             this program, of version {FORMAT_VERSION}, knows {KNOWN_FEATURES:#x}"
        ));
    }
    let unknown_to_write = reader.u64().map_err(lift)? & !KNOWN_FEATURES;
    let identity = Identity::from_bytes(&reader.array().map_err(lift)?);
    reader.expect_end("the identity frame is too long").map_err(lift)?;
    Ok(FileStart { identity, unknown_to_write })
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDENTITY: Identity = Identity { database_id: 0xDA7A, file_number: 12 };

    /// Decodes the frame with a changed payload under a right checksum.
    fn decode_changed(change: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut payload = encode_identity(IDENTITY).split_off(FRAME_HEADER_BYTES);
        change(&mut payload);
        let header = Header::new(FrameKind::IDENTITY, 0, 0, payload.len());
        let mut frame = Vec::new();
        encode_frame(&header, &payload, 0, &mut frame);
        decode_identity(Path::new("1.log"), &frame).expect_err("refused").to_string()
    }

    #[test]
    fn an_identity_comes_back() {
        let frame = encode_identity(IDENTITY);
        assert_eq!(frame.len(), IDENTITY_FRAME_BYTES);
        let start = decode_identity(Path::new("1.log"), &frame).expect("decodes");
        assert_eq!(start, FileStart { identity: IDENTITY, unknown_to_write: 0 });
    }

    #[test]
    fn a_newer_version_is_refused_naming_both_even_when_its_frame_is_longer() {
        let message = decode_changed(|payload| {
            payload[8] = 2;
            payload.extend_from_slice(&[7; 100]);
        });
        let expected =
            "1.log at byte 24: the file has format version 2; this program reads version 1";
        assert_eq!(message, expected);
    }

    #[test]
    fn an_unknown_feature_is_refused_naming_both_versions() {
        let message = decode_changed(|payload| payload[12] = 4);
        let expected = "1.log at byte 24: the file, of format version 1, needs features 0x4 to be \
                        read; this program, of version 1, knows 0x0";
        assert_eq!(message, expected);
    }

    #[test]
    fn features_needed_to_write_do_not_keep_from_reading() {
        let mut payload = encode_identity(IDENTITY).split_off(FRAME_HEADER_BYTES);
        payload[20] = 1;
        let header = Header::new(FrameKind::IDENTITY, 0, 0, payload.len());
        let mut frame = Vec::new();
        encode_frame(&header, &payload, 0, &mut frame);
        let start = decode_identity(Path::new("1.log"), &frame).expect("decodes");
        assert_eq!(start, FileStart { identity: IDENTITY, unknown_to_write: 1 });
    }

    #[test]
    fn another_kind_of_file_is_refused() {
        assert_eq!(
            decode_changed(|payload| payload[0] = b'L'),
            "1.log at byte 24: this is no file of frames"
        );
        assert_eq!(
            decode_changed(|payload| payload.truncate(PAYLOAD_BYTES - 1)),
            "1.log at byte 52: ends inside a number"
        );
        assert_eq!(
            decode_changed(|payload| payload.push(0)),
            "1.log at byte 76: the identity frame is too long"
        );
    }
}
