//! Arbitrary bytes for the decoders: whatever they are, nothing panics, and memory stays bounded.

use std::path::Path;

use lsm_io::{Fs, Identity, OpenMode, SEAL_BYTES, Sealer, SharedFile, SimFs};

use crate::footer::FOOTER_BYTES;
use crate::{BlobFile, ReadMode};

/// Opens `data` as a blob file, in both modes and as a damaged one, and reads all of it.
pub fn fuzz_blob(data: &[u8]) {
    let fs = SimFs::new(0);
    let path = Path::new("fuzzed");
    let held = fs.open(path, OpenMode::CreateNew).expect("nothing is there");
    held.write_at(0, data).expect("nothing fails here");
    let identity = BlobFile::read_identity(&held).unwrap_or_default();
    if let Ok(damaged) = BlobFile::open_damaged(SharedFile::clone(&held), identity) {
        let _ = damaged.visit_values(&mut |_, _| Ok(()));
    }
    for mode in [ReadMode::Mapped, ReadMode::Read] {
        let bytes = data.len() as u64;
        let Ok(file) = BlobFile::open(SharedFile::clone(&held), identity, bytes, mode) else {
            continue;
        };
        let mut places = vec![(0, 0), (7, u32::MAX), (u64::MAX, 1)];
        let _ = file.visit_values(&mut |offset, value| {
            places.push((offset, value.len() as u32));
            Ok(())
        });
        for (index, (offset, bytes)) in places.into_iter().enumerate() {
            let found = file.get(offset, bytes);
            assert!(index < 3 || found.is_ok(), "what is visited can be read");
        }
        let _ = file.verify();
    }
}

/// The same, with every checksum made right first: what a hostile author would do, and the only
/// way for arbitrary bytes to reach the decoders behind the checksums.
pub fn fuzz_sealed_blob(data: &[u8]) {
    let mut data = data.to_vec();
    if seal_all(&mut data).is_some() {
        fuzz_blob(&data);
    }
}

/// Makes the checksums of `data` right, as far as its footer and lengths can be read; `None` if they
/// cannot.
pub fn seal_all(data: &mut [u8]) -> Option<()> {
    let footer_offset = data.len().checked_sub(FOOTER_BYTES)?;
    let identity = data[footer_offset..].get(32..56)?.first_chunk()?;
    let sealer = Sealer::new(Identity::from_bytes(identity));
    seal(data, sealer, footer_offset, FOOTER_BYTES - SEAL_BYTES)?;
    let mut offset = 0;
    while offset < footer_offset {
        let length = u32::from_le_bytes(*data[offset..].first_chunk()?) as usize;
        seal(data, sealer, offset, length.checked_add(4)?)?;
        offset += length + 4 + SEAL_BYTES;
    }
    Some(())
}

fn seal(data: &mut [u8], sealer: Sealer, offset: usize, bytes: usize) -> Option<()> {
    let end = offset.checked_add(bytes)?.checked_add(SEAL_BYTES)?;
    let (bytes, checksum) = data.get_mut(offset..end)?.split_last_chunk_mut::<SEAL_BYTES>()?;
    *checksum = sealer.seal(offset as u64, bytes).to_le_bytes();
    Some(())
}
