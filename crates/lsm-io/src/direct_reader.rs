//! Reading a file once, front to back, past the page cache.
//!
//! ```text
//!   read, and being asked for:   |<- left ->|<---------- window ---------->|
//!   meanwhile, by a thread:                               |<- room for left ->|<---------- next ---------->|
//! ```

use std::mem;
use std::ops::Range;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use crate::direct::{AlignedBuffer, DIRECT_ALIGNMENT};
use crate::{Result, SharedFile};

/// How much of the file is read at once: enough that the disk is asked seldom, and little beside what a
/// merge of many tables takes otherwise.
const WINDOW_BYTES: usize = 256 << 10;
/// What of a window is left when the next begins, at most: a block that lies in both.
const LEFT_BYTES_MAX: usize = 64 << 10;

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
    window: Window,
    /// Whether there may be a thread that reads on.
    may_read_ahead: bool,
    /// Who reads on, once the file is read in order.
    ahead: Option<Ahead>,
}

/// A stretch of the file in memory.
#[derive(Debug, Default)]
struct Window {
    buffer: AlignedBuffer,
    held: Range<u64>,
    /// Where in the buffer it begins.
    from: usize,
}

/// A thread that reads the next window meanwhile.
#[derive(Debug)]
struct Ahead {
    wanted: SyncSender<(Window, u64)>,
    read: Receiver<Result<Window>>,
    /// Where the window begins that is being read; `None`: there is none.
    next: Option<u64>,
    thread: JoinHandle<()>,
}

impl DirectReader {
    /// Reads `file`, which does not change any more.
    ///
    /// # Errors
    /// `Io`.
    pub fn new(file: SharedFile) -> Result<Self> {
        let file_bytes = file.len()?;
        let window = Window::default();
        Ok(Self { file, file_bytes, window, may_read_ahead: false, ahead: None })
    }

    /// The same, with a thread that reads the next window while the last one is being worked on, once the
    /// file is read in order.
    #[must_use]
    pub fn reading_ahead(mut self) -> Self {
        self.may_read_ahead = true;
        self
    }

    /// These bytes; they are read, together with what follows them, unless they have been. A range within
    /// the last one read costs nothing. What lies beyond the end of the file is cut off.
    ///
    /// # Errors
    /// `Io`.
    pub fn get(&mut self, range: Range<u64>) -> Result<&[u8]> {
        let end = range.end.min(self.file_bytes);
        let start = range.start.min(end);
        if start < self.window.held.start || end > self.window.held.end {
            self.turn_to(start, end)?;
        }
        Ok(self.window.get(start, end))
    }

    /// Sees to it that the window holds this range, which it does not.
    fn turn_to(&mut self, start: u64, end: u64) -> Result<()> {
        let held = self.window.held.clone();
        let goes_on = held.start <= start && start <= held.end;
        let is_next = goes_on
            && held.end - start <= LEFT_BYTES_MAX as u64
            && end <= held.end + WINDOW_BYTES as u64;
        match &mut self.ahead {
            Some(ahead) if is_next && ahead.next == Some(held.end) => {
                let mut next = ahead.take()?;
                next.put_in_front(self.window.get(start, held.end));
                let emptied = mem::replace(&mut self.window, next);
                ahead.ask_for(emptied, self.window.held.end, self.file_bytes);
            }
            _ => {
                let start = start - start % DIRECT_ALIGNMENT as u64;
                let bytes = (end - start).next_multiple_of(DIRECT_ALIGNMENT as u64);
                let bytes = bytes.max(WINDOW_BYTES as u64);
                self.window.fill(&self.file, start, bytes.min(self.file_bytes - start))?;
                if goes_on && !held.is_empty() {
                    self.read_on()?;
                }
            }
        }
        Ok(())
    }

    /// Has the next window read.
    fn read_on(&mut self) -> Result<()> {
        if self.may_read_ahead && self.ahead.is_none() {
            self.ahead = Ahead::start(&self.file, self.file_bytes);
        }
        let Some(ahead) = &mut self.ahead else { return Ok(()) };
        let emptied = if ahead.next.is_some() { ahead.take()? } else { Window::default() };
        ahead.ask_for(emptied, self.window.held.end, self.file_bytes);
        Ok(())
    }
}

impl Window {
    /// Reads so many bytes from `start` on.
    fn fill(&mut self, file: &SharedFile, start: u64, bytes: u64) -> Result<()> {
        let end = LEFT_BYTES_MAX + bytes as usize;
        if self.buffer.len() < end {
            self.buffer = AlignedBuffer::zeroed(end);
        }
        // Order: it holds nothing while it is being filled, for a read may fail half way.
        self.held = 0..0;
        file.read_at(start, &mut self.buffer.bytes_mut()[LEFT_BYTES_MAX..end])?;
        (self.held, self.from) = (start..start + bytes, LEFT_BYTES_MAX);
        Ok(())
    }

    /// What lies in front of it in the file.
    fn put_in_front(&mut self, left: &[u8]) {
        let from = self.from - left.len();
        self.buffer.bytes_mut()[from..self.from].copy_from_slice(left);
        self.held.start -= left.len() as u64;
        self.from = from;
    }

    fn get(&self, start: u64, end: u64) -> &[u8] {
        let from = self.from + (start - self.held.start) as usize;
        &self.buffer.bytes()[from..from + (end - start) as usize]
    }
}

impl Ahead {
    /// `None` where the system gives no thread.
    fn start(file: &SharedFile, file_bytes: u64) -> Option<Self> {
        let (wanted, asked) = sync_channel::<(Window, u64)>(1);
        let (found, read) = sync_channel(1);
        let file = SharedFile::clone(file);
        let work = move || {
            for (mut window, start) in asked {
                let bytes = (WINDOW_BYTES as u64).min(file_bytes - start);
                let outcome = window.fill(&file, start, bytes).map(|()| window);
                if found.send(outcome).is_err() {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("lsm-read".into()).spawn(work).ok()?;
        Some(Self { wanted, read, next: None, thread })
    }

    /// Has the window from `start` on read, unless that is the end.
    fn ask_for(&mut self, emptied: Window, start: u64, file_bytes: u64) {
        let is_asked = start < file_bytes && self.wanted.send((emptied, start)).is_ok();
        self.next = is_asked.then_some(start);
    }

    /// Waits for the window that was asked for.
    fn take(&mut self) -> Result<Window> {
        self.next = None;
        self.read.recv().expect("the thread answers whatever it is asked")
    }
}

impl Drop for DirectReader {
    fn drop(&mut self) {
        if let Some(Ahead { wanted, read, thread, .. }) = self.ahead.take() {
            drop((wanted, read));
            // A thread that has panicked has said so.
            let _ = thread.join();
        }
    }
}

#[cfg(all(test, feature = "sim"))]
mod tests {
    use std::path::Path;

    use crate::{Fs, OpenMode, SimFs, nth};

    use super::*;

    /// A file of so many bytes, of which neighbours differ.
    fn file_of(fs: &SimFs, bytes: usize) -> (Vec<u8>, DirectReader) {
        let bytes: Vec<u8> = (0..bytes).map(|at| (at / 1000) as u8 ^ at as u8).collect();
        let path = Path::new("f");
        fs.open(path, OpenMode::CreateNew).expect("created").write_at(0, &bytes).expect("written");
        let file = fs.open_direct(path, OpenMode::Read).expect("opened");
        (bytes, DirectReader::new(file).expect("made"))
    }

    #[track_caller]
    fn check_get(reader: &mut DirectReader, bytes: &[u8], range: Range<usize>) {
        let read = reader.get(range.start as u64..range.end as u64).expect("read");
        assert!(read == &bytes[range.start..range.end.min(bytes.len())], "{range:?}");
    }

    #[test]
    fn a_walk_reads_everything_once_and_long_ranges_get_a_window_of_their_own() {
        for is_ahead in [false, true] {
            let fs = SimFs::new(0);
            let (bytes, reader) = file_of(&fs, 3_000_000);
            let mut reader = if is_ahead { reader.reading_ahead() } else { reader };
            let before = fs.bytes_read();
            for block in (0..bytes.len()).step_by(1000) {
                check_get(&mut reader, &bytes, block..block + 1000);
            }
            let read = (fs.bytes_read() - before) as usize;
            // What lies in two windows is read again where nobody reads ahead.
            let overlap = (bytes.len() / WINDOW_BYTES + 1) * (1000 + DIRECT_ALIGNMENT);
            assert!(read <= bytes.len() + overlap, "{read} bytes read of {}", bytes.len());
            check_get(&mut reader, &bytes, 5..2_000_005);
            check_get(&mut reader, &bytes, 2_999_000..9_000_000);
            assert!(reader.get(9_000_000..9_000_001).expect("read").is_empty());
        }
    }

    #[test]
    fn wherever_a_walk_jumps_it_finds_what_is_there() {
        let fs = SimFs::new(0);
        let (bytes, reader) = file_of(&fs, 5_000_000);
        let mut reader = reader.reading_ahead();
        let (mut at, mut word) = (0, 1_u64);
        for _ in 0..3000 {
            word = word.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
            let draw = (word >> 33) as usize;
            let length = [1, 4000, 5000, 70_000, 300_000][draw % 5];
            check_get(&mut reader, &bytes, at..at + length);
            at = match draw / 5 % 40 {
                0 => draw % bytes.len(),
                1 => at.saturating_sub(length),
                _ if at + length >= bytes.len() => 0,
                _ => at + length,
            };
        }
    }

    #[test]
    fn after_a_read_that_failed_nothing_old_is_taken_for_new() {
        for failing in 1..6 {
            let fs = SimFs::new(0).fail(nth(failing).read_of("f"));
            let (bytes, reader) = file_of(&fs, 2_000_000);
            let mut reader = reader.reading_ahead();
            let mut failed = 0;
            for block in (0..bytes.len()).step_by(5000) {
                if reader.get(block as u64..block as u64 + 5000).is_err() {
                    failed += 1;
                }
                check_get(&mut reader, &bytes, block..block + 5000);
            }
            assert_eq!(failed, 1, "read {failing}");
        }
    }
}
