//! Arbitrary bytes for the readers: they must neither panic nor hang nor allocate without bound.

use std::path::Path;
use std::sync::Arc;

use lsm_io::{Fs, Identity, OpenMode, SharedFs, SimFs};

use crate::frame_reader::{FrameReader, FrameStep};
use crate::identity_frame::encode_identity;
use crate::replay::{RecoveryMode, replay};

fn file_of(data: &[u8]) -> SharedFs {
    let fs = SimFs::new(0);
    let file = fs.open(Path::new("000001.log"), OpenMode::CreateNew).expect("an empty disk");
    file.write_at(0, data).expect("an empty disk");
    Arc::new(fs)
}

/// Reads `data` as a file of frames.
pub fn fuzz_frames(data: &[u8]) {
    let fs = file_of(data);
    let Ok(mut reader) = FrameReader::open(&fs, Path::new("000001.log"), None) else { return };
    while let Ok(FrameStep::Frame(_)) = reader.next() {}
}

/// Replays `data` as a segment behind a sound identity, in every mode.
pub fn fuzz_replay(data: &[u8]) {
    let mut file = encode_identity(Identity { database_id: 0, file_number: 1 });
    file.extend_from_slice(data);
    let fs = file_of(&file);
    for mode in [RecoveryMode::Default, RecoveryMode::Absolute, RecoveryMode::Salvage] {
        let _ = replay(&fs, Path::new(""), 0, 1, Some(1), mode, &mut |_| Ok(()));
    }
}
