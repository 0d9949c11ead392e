//! A whole file as memory: to be read, or to be stored into.
#![allow(unsafe_code)] // One of the few files that may: memmap2's `map` is unsafe by nature, and so is a prefetch.

use std::fmt;
use std::io;
use std::ops::{Deref, Range};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::{Error, Result, Stores};

/// Read-only bytes of a file: mapped by the operating system, or held by a simulated disk.
/// Cheap to clone; dereferences to `[u8]`.
#[derive(Clone)]
pub struct Mapping(Backing);

#[derive(Clone)]
enum Backing {
    Mapped(Arc<memmap2::Mmap>),
    Held(Arc<[u8]>),
}

impl Mapping {
    /// Bytes held in memory, posing as a mapped file.
    pub fn held(bytes: Arc<[u8]>) -> Self {
        Self(Backing::Held(bytes))
    }

    /// Maps the whole of `file`, which nobody changes while the mapping lives.
    pub(crate) fn of_file(file: &std::fs::File) -> io::Result<Self> {
        // SAFETY: callers map only files that are complete and never written again (tables), in a
        // directory locked against other writers; see docs/fault-model.md for a failing disk.
        let map = unsafe { memmap2::Mmap::map(file)? };
        Ok(Self(Backing::Mapped(Arc::new(map))))
    }

    /// From now on the system may bring in what is not in memory in large pages (2 MiB, where it knows
    /// such for files): a read that waits for one brings in all that lies around it, and everything is
    /// found faster afterwards. Good where all fits in memory.
    pub fn expect_reads_everywhere(&self) {
        #[cfg(target_os = "linux")]
        self.advise(memmap2::Advice::HugePage, 0..self.len());
    }

    /// From now on the system brings in no more than what is touched or asked for
    /// ([`read_ahead`](Self::read_ahead)). By itself it brings in what lies around as well, up to some
    /// MiB on some disks: good where all fits in memory, ruinous where it does not.
    pub fn expect_scattered_reads(&self) {
        self.advise(memmap2::Advice::Random, 0..self.len());
    }

    /// Asks for these bytes, without waiting for them; what lies outside of the file is left out.
    ///
    /// ```
    /// # use lsm_io::{Fs, OpenMode, StdFs};
    /// # let temp = tempfile::tempdir().unwrap();
    /// # let path = temp.path().join("table");
    /// # std::fs::write(&path, vec![7; 100_000]).unwrap();
    /// let mapping = StdFs::shared().open(&path, OpenMode::Read)?.map()?;
    /// mapping.expect_scattered_reads();
    /// mapping.read_ahead(50_000..100_000);
    /// assert_eq!(mapping[99_999], 7);
    /// # Ok::<(), lsm_io::Error>(())
    /// ```
    pub fn read_ahead(&self, range: Range<usize>) {
        self.advise(memmap2::Advice::WillNeed, range);
    }

    /// Whether most of it is in memory: a guess from one page of each 2 MiB, the piece in which [long files
    /// are written](crate::ChunkWriter).
    pub(crate) fn is_in_memory(&self) -> bool {
        match &self.0 {
            Backing::Mapped(map) => is_mostly_resident(map),
            Backing::Held(_) => true,
        }
    }

    fn advise(&self, advice: memmap2::Advice, range: Range<usize>) {
        let Backing::Mapped(map) = &self.0 else { return };
        let end = range.end.min(map.len());
        if range.start < end {
            // A system that takes no advice answers the reads all the same.
            let _ = map.advise_range(advice, range.start, end - range.start);
        }
    }
}

#[cfg(target_os = "linux")]
fn is_mostly_resident(map: &memmap2::Mmap) -> bool {
    const PAGE_BYTES: usize = 4096;
    const STRIDE_BYTES: usize = 2 << 20;
    let is_resident = |offset: usize| {
        let mut answer = 0_u8;
        // SAFETY: the page lies in the mapping, which is alive and begins at the boundary of a page, and
        // the call writes one byte for it.
        let status = unsafe {
            libc::mincore(map.as_ptr().add(offset).cast_mut().cast(), PAGE_BYTES, &raw mut answer)
        };
        status != 0 || answer & 1 != 0
    };
    let sampled = (0..map.len()).step_by(STRIDE_BYTES);
    let resident = sampled.clone().filter(|offset| is_resident(*offset)).count();
    resident * 2 >= sampled.len()
}

#[cfg(not(target_os = "linux"))]
fn is_mostly_resident(_: &memmap2::Mmap) -> bool {
    true
}

impl Deref for Mapping {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.0 {
            Backing::Mapped(map) => map,
            Backing::Held(bytes) => bytes,
        }
    }
}

/// The length alone: the bytes would be a whole table.
impl fmt::Debug for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mapping").field("bytes", &self.len()).finish()
    }
}

/// A file of the operating system, mapped to be stored into.
pub(crate) struct StoreMapping {
    path: PathBuf,
    map: memmap2::MmapRaw,
}

impl StoreMapping {
    /// Maps the whole of `file`, whose blocks are all allocated and which nobody shortens while the
    /// mapping lives.
    pub(crate) fn of_file(path: &Path, file: &std::fs::File) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), map: memmap2::MmapRaw::map_raw(file)? })
    }
}

/// Lines of the processor's cache asked for ahead of what is stored next, at most.
const PREFETCHED_LINES: usize = 3;
const LINE_BYTES: usize = 64;

impl StoreMapping {
    /// Begins loading what is stored next, behind `offset`: as a rule as much as was stored last. Whoever
    /// stores releases a lock soon, and waits then until every line that was stored to is there.
    #[inline]
    fn prefetch(&self, offset: usize, bytes: usize) {
        #[cfg(target_arch = "x86_64")]
        for line in 1..=PREFETCHED_LINES.min(bytes.div_ceil(LINE_BYTES)) {
            use std::arch::x86_64::{_MM_HINT_ET0, _mm_prefetch};
            let address = self.map.as_ptr().wrapping_add(offset + line * LINE_BYTES);
            // SAFETY: a prefetch is a hint: it neither faults nor reads, whatever the address.
            unsafe { _mm_prefetch::<_MM_HINT_ET0>(address.cast()) };
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = (offset, bytes);
    }
}

impl Stores for StoreMapping {
    #[inline]
    fn store(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let end = start.saturating_add(bytes.len());
        if end > self.map.len() {
            let outside = io::Error::from(io::ErrorKind::InvalidInput);
            return Err(Error::io("store beyond the end of", &self.path, outside));
        }
        // SAFETY: the range lies inside the mapping; no reference to mapped memory exists, and nobody
        // else stores there meanwhile (the trait's contract).
        unsafe {
            let target = self.map.as_mut_ptr().add(start);
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), target, bytes.len());
        }
        self.prefetch(end, bytes.len());
        Ok(())
    }
}

impl fmt::Debug for StoreMapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreMapping").field("path", &self.path).finish_non_exhaustive()
    }
}
