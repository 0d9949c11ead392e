//! Reading a file once, front to back, past the page cache.

use std::ops::Range;

use crate::direct::{AlignedBuffer, DIRECT_ALIGNMENT};
use crate::{Result, SharedFile};

/// How much of the file is held: enough that the disk is asked seldom, and little beside what a merge of
/// many tables takes otherwise.
const WINDOW_BYTES: usize = 512 << 10;

/// Reads a file front to back, a window at a time.
///
/// ```
/// use lsm_io::{DirectReader, Fs, OpenMode, SimFs};
/// use std::path::Path;
///
/// let fs = SimFs::new(0);
/// let file = fs.open(Path::new("1.table"), OpenMode::CreateNew)?;
/// file.write_at(0, b"first block, second block")?;
/// let mut reader = DirectReader::new(fs.open_direct(Path::new("1.table"), OpenMode::Read)?)?;
/// assert_eq!(reader.get(0..11)?, b"first block");
/// assert_eq!(reader.get(13..25)?, b"second block");
/// # Ok::<(), lsm_io::Error>(())
/// ```
#[derive(Debug)]
pub struct DirectReader {
    file: SharedFile,
    file_bytes: u64,
    window: AlignedBuffer,
    /// Which part of the file lies in the window.
    held: Range<u64>,
}

impl DirectReader {
    /// Reads `file`, which does not change any more.
    ///
    /// # Errors
    /// `Io`.
    pub fn new(file: SharedFile) -> Result<Self> {
        let file_bytes = file.len()?;
        Ok(Self { file, file_bytes, window: AlignedBuffer::default(), held: 0..0 })
    }

    /// These bytes; they are read, together with what follows them, unless they have been. A range within
    /// the last one read costs nothing. What lies beyond the end of the file is cut off.
    ///
    /// # Errors
    /// `Io`.
    pub fn get(&mut self, range: Range<u64>) -> Result<&[u8]> {
        let end = range.end.min(self.file_bytes);
        let start = range.start.min(end);
        if start < self.held.start || end > self.held.end {
            self.read(start, end)?;
        }
        let from = (start - self.held.start) as usize;
        Ok(&self.window.bytes()[from..from + (end - start) as usize])
    }

    /// Fills the window from `start` on, at least to `end`.
    fn read(&mut self, start: u64, end: u64) -> Result<()> {
        let start = start - start % DIRECT_ALIGNMENT as u64;
        let least = (end - start).next_multiple_of(DIRECT_ALIGNMENT as u64) as usize;
        if self.window.len() < least.max(WINDOW_BYTES) {
            self.window = AlignedBuffer::zeroed(least.max(WINDOW_BYTES));
        }
        let bytes = (self.window.len() as u64).min(self.file_bytes - start);
        // Order: it holds nothing while it is being filled, for a read may fail half way.
        self.held = 0..0;
        self.file.read_at(start, &mut self.window.bytes_mut()[..bytes as usize])?;
        self.held = start..start + bytes;
        Ok(())
    }
}

#[cfg(all(test, feature = "sim"))]
mod tests {
    use std::path::Path;

    use crate::{Fs, OpenMode, SimFs, nth};

    use super::*;

    #[test]
    fn a_walk_asks_the_disk_once_for_each_window_and_long_ranges_get_one_of_their_own() {
        let fs = SimFs::new(0);
        let path = Path::new("f");
        let bytes: Vec<u8> = (0..3_000_000_u32).map(|at| (at / 1000) as u8).collect();
        fs.open(path, OpenMode::CreateNew).expect("created").write_at(0, &bytes).expect("written");
        let file = fs.open_direct(path, OpenMode::Read).expect("opened");
        let mut reader = DirectReader::new(file).expect("made");
        let before = fs.bytes_read();
        for block in (0..bytes.len() as u64).step_by(1000) {
            let read = reader.get(block..block + 1000).expect("read");
            assert!(read == &bytes[block as usize..block as usize + 1000], "block at {block}");
        }
        let overlap = (bytes.len() / WINDOW_BYTES + 1) * (1000 + DIRECT_ALIGNMENT);
        let read = fs.bytes_read() - before;
        assert!(read as usize <= bytes.len() + overlap, "{read} bytes read of {}", bytes.len());
        assert!(reader.get(5..2_000_005).expect("read") == &bytes[5..2_000_005]);
        assert!(reader.get(2_999_000..9_000_000).expect("read") == &bytes[2_999_000..]);
        assert!(reader.get(9_000_000..9_000_001).expect("read").is_empty());
    }

    #[test]
    fn after_a_read_that_failed_nothing_old_is_taken_for_new() {
        let fs = SimFs::new(0).fail(nth(2).read_of("f"));
        let path = Path::new("f");
        let bytes: Vec<u8> = (0..2_000_000_u32).map(|at| (at / 4096) as u8).collect();
        fs.open(path, OpenMode::CreateNew).expect("created").write_at(0, &bytes).expect("written");
        let file = fs.open_direct(path, OpenMode::Read).expect("opened");
        let mut reader = DirectReader::new(file).expect("made");
        assert_eq!(reader.get(0..10).expect("read"), &bytes[..10]);
        assert!(reader.get(1_000_000..1_000_010).is_err());
        assert_eq!(reader.get(0..10).expect("read again"), &bytes[..10]);
        assert_eq!(reader.get(1_000_000..1_000_010).expect("read"), &bytes[1_000_000..1_000_010]);
    }
}
