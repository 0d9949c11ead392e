//! Writing a file by a thread of its own.

use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use crate::direct::AlignedBuffer;
use crate::{File, Mapping, Result, SharedFile, SharedStores};

/// How many writes wait at most for the one that is being made.
const WAITING_MAX: usize = 1;

/// A file whose writes are made by a thread, in order, while whoever asks for them goes on: worth it where
/// what is written is being built, and a processor is idle.
///
/// A write that fails is told by a later one, or by whatever else is asked of the file, which waits until
/// all writes have been made: [`sync`](File::sync) above all.
///
/// ```
/// use lsm_io::{File, Fs, OpenMode, SimFs, WriteBehind};
/// use std::path::Path;
///
/// let fs = SimFs::new(0);
/// let file = WriteBehind::new(fs.open(Path::new("1.table"), OpenMode::CreateNew)?);
/// file.write_at(0, b"block")?;
/// file.sync()?;
/// assert_eq!(fs.read_file("1.table"), b"block");
/// # Ok::<(), lsm_io::Error>(())
/// ```
#[derive(Debug)]
pub struct WriteBehind {
    file: SharedFile,
    /// While there are writes that nobody has waited for.
    writer: Mutex<Option<Writer>>,
}

/// Bytes on their way to an offset of the file.
struct Write {
    offset: u64,
    bytes: AlignedBuffer,
}

#[derive(Debug)]
struct Writer {
    writes: SyncSender<Write>,
    /// What has been written may be filled again.
    written: Receiver<AlignedBuffer>,
    /// Ends with the first write that fails, or when there can be no more.
    thread: JoinHandle<Result<()>>,
}

impl WriteBehind {
    /// Writes `file`.
    pub fn new(file: SharedFile) -> Self {
        Self { file, writer: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Writer>> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file, once all writes have been made.
    fn written(&self) -> Result<&SharedFile> {
        finish(&mut self.lock())?;
        Ok(&self.file)
    }
}

/// Waits until all writes have been made.
fn finish(writer: &mut Option<Writer>) -> Result<()> {
    let Some(Writer { writes, thread, .. }) = writer.take() else { return Ok(()) };
    drop(writes);
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

impl Writer {
    /// `None` where the system gives no thread.
    fn start(file: &SharedFile) -> Option<Self> {
        let (writes, waiting) = sync_channel::<Write>(WAITING_MAX);
        let (emptied, written) = channel();
        let file = SharedFile::clone(file);
        let work = move || {
            waiting.iter().try_for_each(|write| {
                file.write_at(write.offset, write.bytes.filled())?;
                // Nobody may want it any more.
                let _ = emptied.send(write.bytes);
                Ok(())
            })
        };
        let thread = std::thread::Builder::new().name("lsm-write".into()).spawn(work).ok()?;
        Some(Self { writes, written, thread })
    }

    /// Has these bytes written; `false`: a write before has failed.
    fn write(&self, offset: u64, bytes: &[u8]) -> bool {
        let mut buffer = self.written.try_recv().unwrap_or_default();
        buffer.fill(bytes);
        self.writes.send(Write { offset, bytes: buffer }).is_ok()
    }
}

impl File for WriteBehind {
    fn path(&self) -> &Path {
        self.file.path()
    }

    fn len(&self) -> Result<u64> {
        self.written()?.len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.written()?.read_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        let mut writer = self.lock();
        if writer.is_none() {
            *writer = Writer::start(&self.file);
        }
        match &*writer {
            None => self.file.write_at(offset, bytes),
            Some(running) if running.write(offset, bytes) => Ok(()),
            // A write before this one has failed.
            Some(_) => finish(&mut writer),
        }
    }

    fn write_at_cached(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.written()?.write_at_cached(offset, bytes)
    }

    fn sync(&self) -> Result<()> {
        self.written()?.sync()
    }

    fn write_through(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.written()?.write_through(offset, bytes)
    }

    fn set_len(&self, bytes: u64) -> Result<()> {
        self.written()?.set_len(bytes)
    }

    fn map(&self) -> Result<Mapping> {
        self.written()?.map()
    }

    fn map_for_stores(&self) -> Result<Option<SharedStores>> {
        self.written()?.map_for_stores()
    }
}

impl Drop for WriteBehind {
    fn drop(&mut self) {
        // Nobody asks any more whether they succeeded.
        let _ = finish(&mut self.lock());
    }
}

#[cfg(all(test, feature = "sim"))]
mod tests {
    use crate::{Fs, OpenMode, SimFs, nth};

    use super::*;

    fn begin(fs: &SimFs) -> WriteBehind {
        WriteBehind::new(fs.open(Path::new("f"), OpenMode::CreateNew).expect("a new file"))
    }

    #[test]
    fn whatever_is_asked_sees_all_writes() {
        let fs = SimFs::new(0);
        let file = begin(&fs);
        for at in 0..100 {
            file.write_at(at, &[at as u8]).expect("taken");
        }
        assert_eq!(file.len().expect("told"), 100);
        file.write_at(100, &[100]).expect("taken after a wait");
        let mut last = [0; 2];
        file.read_at(99, &mut last).expect("read");
        assert_eq!(last, [99, 100]);
    }

    #[test]
    fn a_write_that_fails_is_told_before_anything_is_synced() {
        for failing in 1..10 {
            let fs = SimFs::new(0).fail(nth(failing).write_of("f"));
            let file = begin(&fs);
            let outcome = (0..10).try_for_each(|at| file.write_at(at, b"x"));
            assert!(outcome.and_then(|()| file.sync()).is_err(), "write {failing}");
        }
    }

    #[test]
    fn writes_are_made_although_nobody_waits() {
        let fs = SimFs::new(0);
        begin(&fs).write_at(0, b"made").expect("taken");
        assert_eq!(fs.read_file("f"), b"made");
    }
}
