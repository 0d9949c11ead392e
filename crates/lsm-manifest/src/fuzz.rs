//! Arbitrary bytes for the readers: they must neither panic, nor hang, nor allocate without bound.

use std::path::Path;

use lsm_io::{Fs, OpenMode, SimFs};
use lsm_wal::fuzz::seal_frames;

use crate::codec::{decode, encode};
use crate::current::Current;
use crate::file_name::{FileKind, file_name};
use crate::manifest::Manifest;

/// Reads `data` as an edit; what can be read must come back the same from its encoding.
pub fn fuzz_edit(data: &[u8]) {
    if let Ok(edit) = decode(data) {
        assert_eq!(decode(&encode(&edit)), Ok(edit));
    }
}

/// Reads `data` as `CURRENT`, which is short and comes back the same.
pub fn fuzz_current(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(current) = Current::parse(text)
    {
        assert_eq!(Current::parse(&current.to_text()), Ok(current));
    }
}

/// Reads `data` as a whole manifest, as it is and under right checksums; a state that could be read
/// is the same after it was written as a manifest of its own.
pub fn fuzz_manifest(data: &[u8]) {
    read_manifest(data);
    let mut sealed = data.to_vec();
    seal_frames(&mut sealed);
    read_manifest(&sealed);
}

fn read_manifest(bytes: &[u8]) {
    let (fs, dir) = (SimFs::new(0), Path::new(""));
    let path = dir.join(file_name(FileKind::Manifest, 1));
    let file = fs.open(&path, OpenMode::CreateNew).expect("the disk was empty");
    file.write_at(0, bytes).expect("the disk has room");
    let current = Current { number: 1, closed_bytes: None };
    current.install(&fs.shared(), dir).expect("the disk has room");
    let Ok(read) = Manifest::read(&fs.shared(), dir) else { return };
    assert!(read.bytes <= bytes.len() as u64);
    let rewritten = Manifest::start(&fs.shared(), dir, 2, read.state.clone()).expect("has room");
    assert_eq!(*rewritten.state(), read.state);
    let again = Manifest::read(&fs.shared(), dir).expect("what was just written reads");
    assert_eq!(again.state, read.state);
}
