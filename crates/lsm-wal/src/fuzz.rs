//! Arbitrary bytes for the readers: they must neither panic, nor hang, nor allocate without bound.

use std::path::Path;

use lsm_io::bytes::ByteReader;
use lsm_io::{Fs, Identity, Malformed, OpenMode, SharedFs, SimFs};

use crate::frame::{FRAME_HEADER_BYTES, FrameKind, Header, checksum, encode_frame, hash_payload};
use crate::frame_reader::{FrameReader, FrameStep};
use crate::identity_frame::encode_identity;
use crate::replay::replay;
use crate::report::RecoveryMode;
use crate::segment::segment_path;

/// Reads `data` as a file of frames.
pub fn fuzz_frames(data: &[u8]) {
    let fs = SimFs::new(0);
    write(&fs, 1, data);
    let path = segment_path(Path::new(""), 1);
    let Ok(mut reader) = FrameReader::open(&fs.shared(), &path, None) else { return };
    while let Ok(FrameStep::Frame(frame)) = reader.next() {
        assert!(frame.end() <= data.len() as u64);
    }
}

/// Replays `data` as a segment, in every mode: as it stands, and behind a sound identity.
pub fn fuzz_replay(data: &[u8]) {
    let fs = SimFs::new(0);
    write(&fs, 1, data);
    replay_all(&fs);

    let fs = SimFs::new(0);
    let mut bytes = encode_identity(identity(1));
    bytes.extend_from_slice(data);
    write(&fs, 1, &bytes);
    replay_all(&fs);
}

/// Replays two segments in which `data` decides about garbage, zeros and frames, the latter under
/// right checksums, so that a reader trusts them: what they say may still be nonsense.
pub fn fuzz_log(data: &[u8]) {
    let fs = SimFs::new(0);
    let mut reader = ByteReader::new(data);
    for number in 1..=2 {
        let mut bytes = encode_identity(identity(number));
        while let Ok(true) = append_piece(&mut reader, identity(number).salt(), &mut bytes) {}
        write(&fs, number, &bytes);
    }
    replay_all(&fs);
}

/// Appends what the next bytes of `data` say; `false` at the end of a segment.
fn append_piece(
    data: &mut ByteReader<'_>,
    salt: u64,
    out: &mut Vec<u8>,
) -> Result<bool, Malformed> {
    match data.u8()? {
        0 => return Ok(false),
        1 => out.resize(out.len() + usize::from(data.u8()?), 0),
        2 => {
            let length = usize::from(data.u8()?);
            out.extend_from_slice(data.slice(length)?);
        }
        choice => {
            let kind = FrameKind([1, 2, 3, 4, 5, 64][usize::from(choice) % 6]);
            let takes_seq_no = kind.takes_seq_no();
            let seq_start = if kind == FrameKind::IDENTITY { 0 } else { u64::from(data.u8()?) };
            let count = if takes_seq_no { u32::from(data.u8()?) + 1 } else { 0 };
            let length = if takes_seq_no { usize::from(data.u8()?) } else { 8 };
            let mut payload = data.slice(length.min(data.remaining()))?.to_vec();
            // Small numbers lead somewhere; large ones would only be refused.
            payload.resize(length, 0);
            if !takes_seq_no {
                payload[1..].fill(0);
            }
            let header = Header::new(kind, seq_start, count, payload.len());
            encode_frame(&header, &payload, salt, out);
        }
    }
    Ok(true)
}

/// Makes the checksums of a file of frames right, from the first on, as far as lengths lead: what a
/// hostile author would do.
pub fn seal_frames(file: &mut [u8]) {
    let mut salt = 0;
    let mut rest = file;
    let mut is_first = true;
    while let Some((header, behind)) = rest.split_first_chunk_mut::<FRAME_HEADER_BYTES>() {
        let length = u32::from_le_bytes([header[4], header[5], header[6], header[7]]) as usize;
        let Some((payload, behind)) = behind.split_at_mut_checked(length) else { return };
        let Some(&fields) = header[4..].first_chunk::<20>() else { return };
        let sealed = checksum(hash_payload(payload), &fields, salt);
        header[..4].copy_from_slice(&sealed.to_le_bytes());
        if is_first {
            // The identity that every later frame is sealed with ends the first one.
            let Some(identity) = payload.last_chunk() else { return };
            salt = Identity::from_bytes(identity).salt();
            is_first = false;
        } else if fields.iter().all(|byte| *byte == 0) {
            header.fill(0);
            return;
        }
        rest = behind;
    }
}

/// Replays the segments 1 and 2 and checks what holds of every replay.
fn replay_all(fs: &SimFs) {
    let shared: SharedFs = fs.shared();
    for mode in [RecoveryMode::Default, RecoveryMode::Absolute, RecoveryMode::Salvage] {
        for first_seq_no in [None, Some(1)] {
            let mut frames = 0;
            let mut end = first_seq_no.unwrap_or(0);
            let visit = &mut |frame: crate::FrameRef<'_>| {
                assert!(frame.seq_start >= end, "frames come in order");
                end = frame.seq_end();
                frames += 1;
                Ok(())
            };
            let report = replay(&shared, Path::new(""), 0, 1, first_seq_no, mode, visit);
            let Ok(report) = report else { continue };
            assert_eq!(report.frames, frames);
            assert!(report.unmarked_frames <= frames);
            assert!(mode == RecoveryMode::Salvage || report.losses.is_empty());
            assert!(mode != RecoveryMode::Absolute || report.cut.is_none());
            let file_bytes: u64 = fs.files().iter().map(|(_, bytes)| *bytes).sum();
            assert!(report.bytes + frames * FRAME_HEADER_BYTES as u64 <= file_bytes);
        }
    }
}

fn identity(file_number: u64) -> Identity {
    Identity { database_id: 0, file_number }
}

fn write(fs: &SimFs, number: u64, bytes: &[u8]) {
    let path = segment_path(Path::new(""), number);
    let file = fs.open(&path, OpenMode::CreateNew).expect("the disk was empty");
    file.write_at(0, bytes).expect("the disk has room");
}
