//! A segment of the log: one of its files, made ready before it is needed.

use std::path::{Path, PathBuf};

use lsm_io::{Identity, OpenMode, Result, SharedFile, SharedFs, SharedStores};

use crate::frame::FRAME_HEADER_BYTES;
use crate::identity_frame::{IDENTITY_FRAME_BYTES, encode_identity};

/// Zeros written at once, at multiples of so many bytes. What is written at once lies together in the page
/// cache: the first store into any of it is a page fault that marks it all, 5 us for so many bytes and 14 for eight
/// times as many, and the next sync writes it all.
const ZEROS_BYTES: u64 = 32 << 10;

/// Zeros where the next header would stand say that the log ends here, and not in what an earlier
/// use has left in a recycled file. They follow whatever was written last.
pub(crate) const END_BYTES: usize = FRAME_HEADER_BYTES;

/// How large segments are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// Bytes of a segment. More: fewer files and rotations, and more log that a single old entry
    /// can pin.
    pub segment_bytes: u64,
    /// Bytes of a log's first segment. Less: a smaller empty log.
    pub first_segment_bytes: u64,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self { segment_bytes: 64 << 20, first_segment_bytes: 256 << 10 }
    }
}

/// What is known of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentInfo {
    /// Its number.
    pub number: u64,
    /// Its length on disk.
    pub bytes: u64,
    /// The sequence number of its first frame.
    pub first_seq_no: u64,
    /// The sequence number after its last frame.
    pub end_seq_no: u64,
}

/// A segment that is named, filled and identified, all durably, and holds no frame yet.
///
/// Filled, so that a sync has no metadata to write, which halves its cost. Identified, so that what
/// an earlier use left in a recycled file never validates.
#[derive(Debug)]
pub struct PreparedSegment {
    pub(crate) file: SharedFile,
    pub(crate) identity: Identity,
    /// Where frames may be stored without a system call.
    pub(crate) stores: Option<SharedStores>,
    bytes: u64,
}

/// The name of segment `number`.
pub(crate) fn segment_name(number: u64) -> String {
    format!("{number:06}.log")
}

/// The path of segment `number` in a directory.
pub(crate) fn segment_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(segment_name(number))
}

/// Numbers of the segments in a directory above `number`, ascending.
pub(crate) fn segments_above(fs: &SharedFs, dir: &Path, number: u64) -> Result<Vec<u64>> {
    let mut numbers: Vec<u64> = fs
        .list(dir)?
        .into_iter()
        .filter_map(|entry| {
            let found: u64 = entry.name.strip_suffix(".log")?.parse().ok()?;
            (found > number && entry.name == segment_name(found)).then_some(found)
        })
        .collect();
    numbers.sort_unstable();
    Ok(numbers)
}

impl PreparedSegment {
    /// Makes the segment `identity.file_number` of `bytes` bytes: of a new file, or of `recycle`, a
    /// segment that no replay needs any more, which loses its name.
    ///
    /// # Errors
    /// `Io`. The number is spent, and what was made so far is removed again, so that a full disk does
    /// not fill with unfinished segments; if `recycle` is there still, it may be used again. A replay
    /// ignores what could not be removed. After a failed sync of the directory
    /// ([`is_failed_dir_sync`](lsm_io::Error::is_failed_dir_sync)) no other segment must be prepared
    /// in it.
    ///
    /// # Panics
    /// If the number is 0: a closing frame says by it that no segment follows.
    pub fn prepare(
        fs: &SharedFs,
        dir: &Path,
        identity: Identity,
        bytes: u64,
        recycle: Option<&Path>,
    ) -> Result<Self> {
        assert_ne!(identity.file_number, 0, "segments are numbered from 1");
        let bytes = bytes.max(2 * IDENTITY_FRAME_BYTES as u64);
        let path = segment_path(dir, identity.file_number);
        let file = match recycle {
            Some(old) => {
                fs.rename(old, &path)?;
                fs.open(&path, OpenMode::ReadWrite)
            }
            // What could not be created was not made here, and is not removed.
            None => Ok(fs.open(&path, OpenMode::CreateNew)?),
        };
        let made = file.and_then(|file| Self::make(fs, dir, file, identity, bytes));
        if made.is_err() {
            // Best effort: what stays behind is removed by the next recovery.
            let _ = fs.remove_file(&path);
        }
        made
    }

    /// Fills and identifies a file that has its name, and makes all of that durable.
    fn make(
        fs: &SharedFs,
        dir: &Path,
        file: SharedFile,
        identity: Identity,
        bytes: u64,
    ) -> Result<Self> {
        let mut start = encode_identity(identity);
        start.extend_from_slice(&[0; END_BYTES]);
        // Order: bytes, identity and name are durable before the first frame can be.
        if file.len()? == bytes {
            // The frames of an earlier use need not be: nobody will ever read them.
            file.write_through(0, &start)?;
        } else {
            fill(&file, bytes)?;
            file.write_at(0, &start)?;
            file.sync()?;
        }
        fs.sync_dir(dir)?;
        Ok(Self { file, identity, stores: None, bytes })
    }

    /// Maps the segment, where the file system allows it, so that [`Log::store`](crate::Log::store)
    /// works.
    ///
    /// # Errors
    /// `Io`.
    pub fn mapped(mut self) -> Result<Self> {
        self.stores = self.file.map_for_stores()?;
        Ok(self)
    }

    /// Its number.
    pub fn number(&self) -> u64 {
        self.identity.file_number
    }

    /// Its length.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What is known of it as the log reaches it.
    pub(crate) fn info(&self, first_seq_no: u64) -> SegmentInfo {
        let (number, bytes) = (self.number(), self.bytes);
        SegmentInfo { number, bytes, first_seq_no, end_seq_no: first_seq_no }
    }
}

/// Brings a file to `bytes`, with real zeros: a hole would be filled at the first sync after all.
fn fill(file: &SharedFile, bytes: u64) -> Result<()> {
    let mut length = file.len()?;
    if length > bytes {
        return file.set_len(bytes);
    }
    let zeros = vec![0; ZEROS_BYTES.min(bytes - length) as usize];
    while length < bytes {
        let end = bytes.min((length / ZEROS_BYTES + 1) * ZEROS_BYTES);
        file.write_at(length, &zeros[..(end - length) as usize])?;
        length = end;
    }
    Ok(())
}
