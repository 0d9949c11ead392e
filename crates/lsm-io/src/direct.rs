//! Transfers past the page cache: for what is written or read once, and by nobody else soon.
//!
//! ```text
//!           write_at(offset, bytes)
//!   |<--- multiple of 4 KiB --->|<- rest ->|
//!           past the cache         into it
//! ```
//!
//! Copying a byte into a fresh page of the cache takes 0.4 ns where memory is at hand, and up to 2.5 in a
//! guest that gets it from its host at that moment; past it, the disk fetches it at 0.1 to 0.2.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::OpenMode;

/// What the transfers of a file opened with [`Fs::open_direct`](crate::Fs::open_direct) keep to, to go
/// past the page cache: offset and length are multiples of it. Memory that is none is copied once more.
pub const DIRECT_ALIGNMENT: usize = 4096;

/// How much is brought to an aligned place at once.
const STAGING_BYTES: usize = 1 << 20;

/// Memory that begins at a multiple of [`DIRECT_ALIGNMENT`].
#[derive(Debug, Default)]
pub(crate) struct AlignedBuffer {
    // Invariant: never made longer, so it stays where it is.
    bytes: Vec<u8>,
    start: usize,
    /// How much of it was filled.
    filled: usize,
}

impl AlignedBuffer {
    /// So many bytes, all zero.
    pub(crate) fn zeroed(len: usize) -> Self {
        let bytes = vec![0; len + DIRECT_ALIGNMENT];
        // Where nothing is known of the address, it is as good as any other.
        let start = bytes.as_ptr().align_offset(DIRECT_ALIGNMENT).min(DIRECT_ALIGNMENT);
        Self { bytes, start, filled: 0 }
    }

    /// How much there is room for.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len().saturating_sub(DIRECT_ALIGNMENT)
    }

    /// Puts `bytes` into it, whatever was there.
    pub(crate) fn fill(&mut self, bytes: &[u8]) {
        if self.len() < bytes.len() {
            *self = Self::zeroed(bytes.len());
        }
        self.filled = bytes.len();
        self.bytes_mut()[..bytes.len()].copy_from_slice(bytes);
    }

    /// What it was filled with.
    pub(crate) fn filled(&self) -> &[u8] {
        &self.bytes()[..self.filled]
    }

    /// All of it.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..self.start + self.len()]
    }

    /// All of it, to be written to.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        let end = self.start + self.len();
        &mut self.bytes[self.start..end]
    }
}

/// An open file, for transfers past the page cache.
#[derive(Debug)]
pub(crate) struct DirectFile {
    file: File,
    staging: Mutex<AlignedBuffer>,
}

impl DirectFile {
    /// `None` where the system, or the file's, has no such way.
    #[cfg(target_os = "linux")]
    pub(crate) fn open(path: &Path, mode: OpenMode) -> Option<Self> {
        use std::os::unix::fs::OpenOptionsExt;

        let mut options = OpenOptions::new();
        options.read(true).write(mode != OpenMode::Read).custom_flags(libc::O_DIRECT);
        Some(Self { file: options.open(path).ok()?, staging: Mutex::default() })
    }

    /// Elsewhere it is not known how.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn open(_: &Path, _: OpenMode) -> Option<Self> {
        None
    }

    /// Writes as much from the beginning of `bytes` as goes this way; returns how much that was.
    pub(crate) fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        let whole = whole(offset, bytes.len());
        let bytes = &bytes[..whole];
        if is_aligned(bytes) {
            return self.write_aligned(offset, bytes);
        }
        let mut staging = self.staging.lock().unwrap_or_else(PoisonError::into_inner);
        let mut written = 0;
        for piece in bytes.chunks(STAGING_BYTES) {
            staging.fill(piece);
            match self.write_aligned(offset + written as u64, staging.filled())? {
                0 => break,
                count => written += count,
            }
        }
        Ok(written)
    }

    /// All of `bytes`, or none where the disk asks for a coarser alignment.
    fn write_aligned(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        match self.file.write_all_at(bytes, offset) {
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(0),
            answer => answer.map(|()| bytes.len()),
        }
    }

    /// Fills as much from the beginning of `buffer` as goes this way; returns how much that was.
    pub(crate) fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let whole = whole(offset, buffer.len());
        let buffer = &mut buffer[..whole];
        if !is_aligned(buffer) {
            return Ok(0);
        }
        match self.file.read_exact_at(buffer, offset) {
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(0),
            answer => answer.map(|()| whole),
        }
    }
}

/// How many of so many bytes at `offset` are whole multiples of the alignment.
fn whole(offset: u64, bytes: usize) -> usize {
    if offset.is_multiple_of(DIRECT_ALIGNMENT as u64) {
        bytes - bytes % DIRECT_ALIGNMENT
    } else {
        0
    }
}

fn is_aligned(bytes: &[u8]) -> bool {
    bytes.as_ptr().addr().is_multiple_of(DIRECT_ALIGNMENT)
}

#[cfg(test)]
mod tests {
    use crate::{DirectReader, StdFs};

    use super::*;

    /// Bytes of which no two stretches are alike.
    fn bytes_of(len: usize) -> Vec<u8> {
        (0..len as u64).map(|at| (at.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8).collect()
    }

    #[test]
    fn what_is_written_past_the_cache_is_found_through_it_and_the_other_way_round() {
        let temp = tempfile::tempdir().expect("a directory");
        let (fs, path) = (StdFs::shared(), temp.path().join("f"));
        let bytes = bytes_of((3 << 20) + 4097);
        // In pieces whose ends are aligned, and are not, from memory that is aligned, and is not.
        for cut in [0, 1, 4095, 4096, 4097, 8192, 1 << 20, (1 << 20) + 4096, 2 << 20, bytes.len()] {
            let file = fs.open_direct(&path, OpenMode::CreateNew).expect("created");
            file.write_at(0, &bytes[..cut]).expect("written");
            file.write_at(cut as u64, &bytes[cut..]).expect("written");
            file.sync().expect("synced");
            assert_eq!(file.len().expect("told"), bytes.len() as u64);
            assert!(std::fs::read(&path).expect("read") == bytes, "cut at {cut}");
            let reading = fs.open_direct(&path, OpenMode::Read).expect("opened");
            let mut reader = DirectReader::new(reading).expect("made");
            for start in (0..bytes.len()).step_by(4096 * 3 + 17) {
                let end = (start + 5000).min(bytes.len());
                let read = reader.get(start as u64..end as u64).expect("read");
                assert!(read == &bytes[start..end], "cut at {cut}, {start}..{end}");
            }
            fs.remove_file(&path).expect("removed");
        }
    }

    #[test]
    fn what_is_to_be_found_in_the_cache_goes_into_it() {
        let temp = tempfile::tempdir().expect("a directory");
        let (fs, path) = (StdFs::shared(), temp.path().join("f"));
        let file = fs.open_direct(&path, OpenMode::CreateNew).expect("created");
        let bytes = bytes_of(2 << 20);
        file.write_at_cached(0, &bytes).expect("written");
        file.sync().expect("synced");
        assert!(file.is_in_memory());
        assert!(std::fs::read(&path).expect("read") == bytes);
    }

    #[test]
    fn a_buffer_is_aligned_and_takes_whatever_it_is_given() {
        let mut buffer = AlignedBuffer::default();
        for len in [0, 5, 4096, 100_000, 3] {
            let bytes = bytes_of(len);
            buffer.fill(&bytes);
            assert_eq!(buffer.filled(), bytes);
            assert!(len == 0 || is_aligned(buffer.filled()), "{len} bytes");
        }
    }
}
