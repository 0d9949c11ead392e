//! Reads a file of frames from its beginning to the first bytes that are none.
//!
//! Whether those bytes are the end or damage is not decided here: see `judge.rs` for the log, and
//! the manifest for itself. What stands behind them is found by `scan.rs`.

use std::path::{Path, PathBuf};

use lsm_io::{Error, Identity, OpenMode, Result, SharedFile, SharedFs};

use crate::frame::{FRAME_HEADER_BYTES, FrameRef, Header};
use crate::identity_frame::{
    FileStart, IDENTITY_FRAME_BYTES, IDENTITY_FRAME_BYTES_MAX, decode_identity,
};
use crate::replay::scan::Scan;

/// Bytes read at first; each further read takes twice as many, up to the maximum.
const READ_BYTES_FIRST: usize = 4 << 10;
const READ_BYTES_MAX: usize = 1 << 20;

/// What stands at the reader's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FrameStep<'a> {
    /// A frame.
    Frame(FrameRef<'a>),
    /// Nothing: the file ends here, or goes on with at least a header's length of zeros.
    End {
        /// Where the last frame ends.
        offset: u64,
    },
    /// Bytes that are no frame of this file.
    Bad {
        /// Where they begin.
        offset: u64,
        /// Why they are no frame.
        reason: &'static str,
    },
}

/// Reads the frames of one file in order. Memory is bounded by the longest frame, whose length is
/// bounded by the file's before anything is allocated.
///
/// ```
/// use lsm_io::{Identity, SimFs};
/// use lsm_wal::{FrameKind, FrameReader, FrameStep, FrameWriter};
/// use std::path::Path;
///
/// let (fs, path) = (SimFs::new(0).shared(), Path::new("edits"));
/// let mut writer = FrameWriter::create(&fs, path, Identity::default())?;
/// writer.append(FrameKind::USER, 0, 1, 1, b"first edit")?;
/// writer.sync()?;
///
/// let mut reader = FrameReader::open(&fs, path, None)?;
/// let FrameStep::Frame(frame) = reader.next()? else { panic!("it is there") };
/// assert_eq!(frame.payload, b"first edit");
/// assert_eq!(reader.next()?, FrameStep::End { offset: writer.bytes() });
/// # Ok::<(), lsm_io::Error>(())
/// ```
#[derive(Debug)]
pub struct FrameReader {
    file: SharedFile,
    path: PathBuf,
    start: FileStart,
    file_bytes: u64,
    offset: u64,
    window: Window,
}

/// Part of a file, in memory.
#[derive(Debug, Default)]
struct Window {
    bytes: Vec<u8>,
    start: u64,
    next_read_bytes: usize,
}

impl FrameReader {
    /// Opens a file and checks its identity frame.
    ///
    /// # Errors
    /// `Corrupt` if the identity is damaged, of another database than `database_id`, or of a format
    /// that this program cannot read (the message names both versions); `Io`.
    pub fn open(fs: &SharedFs, path: &Path, database_id: Option<u128>) -> Result<Self> {
        let file = fs.open(path, OpenMode::Read)?;
        let file_bytes = file.len()?;
        let mut window = Window::default();
        let first_bytes = file_bytes.min(IDENTITY_FRAME_BYTES_MAX as u64) as usize;
        let start = decode_identity(path, window.get(&file, file_bytes, 0, first_bytes)?)?;
        if database_id.is_some_and(|wanted| wanted != start.identity.database_id) {
            return Err(Error::corrupt(path, 0, "the file belongs to another database"));
        }
        let offset = IDENTITY_FRAME_BYTES as u64;
        Ok(Self { file, path: path.to_owned(), start, file_bytes, offset, window })
    }

    /// Who the file says it is.
    pub fn identity(&self) -> Identity {
        self.start.identity
    }

    /// Features without which nobody may write to what this file belongs to, and that this program
    /// does not know, one bit each. 0: it may be written.
    pub fn unknown_features_to_write(&self) -> u64 {
        self.start.unknown_to_write
    }

    /// The file's name.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Length of the file.
    pub fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    /// Where the next frame begins.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    pub(crate) fn file(&self) -> &SharedFile {
        &self.file
    }

    /// Forgets what was read ahead, so that [`next`](Self::next) sees what was written meanwhile.
    pub fn reread(&mut self) {
        self.window = Window::default();
    }

    /// Reads what comes next. After `End` or `Bad` it says the same again, unless it is told to
    /// [read anew](Self::reread).
    ///
    /// # Errors
    /// `Io`.
    #[allow(clippy::should_implement_trait)] // Lends its frame, which an Iterator cannot.
    pub fn next(&mut self) -> Result<FrameStep<'_>> {
        let offset = self.offset;
        let bad = |reason| Ok(FrameStep::Bad { offset, reason });
        let remaining = self.file_bytes - offset;
        let header_bytes = remaining.min(FRAME_HEADER_BYTES as u64) as usize;
        let bytes = self.window.get(&self.file, self.file_bytes, offset, header_bytes)?;
        if bytes.iter().all(|byte| *byte == 0) {
            return Ok(FrameStep::End { offset });
        }
        let Some(bytes) = bytes.first_chunk() else {
            return bad("the file ends inside a frame's header");
        };
        let header = match Header::decode(bytes) {
            Ok(header) => header,
            Err(reason) => return bad(reason),
        };
        if header.frame_bytes() > remaining {
            return bad("the frame is longer than the rest of the file");
        }
        let frame_bytes = header.frame_bytes() as usize;
        let frame = self.window.get(&self.file, self.file_bytes, offset, frame_bytes)?;
        let payload = &frame[FRAME_HEADER_BYTES..];
        if !header.validates(payload, self.start.identity.salt()) {
            return bad("the frame's checksum does not match");
        }
        self.offset += header.frame_bytes();
        Ok(FrameStep::Frame(header.frame(payload, self.start.identity.file_number, offset)))
    }

    /// Where the next whole frame stands, wherever behind the reader's place, that begins with
    /// `seq_start_min` at least. For files in which each frame was durable before the next one was
    /// written: there a frame behind bytes that are none proves that they are damaged, not torn.
    ///
    /// # Errors
    /// `Io`.
    pub fn frame_behind(&self, seq_start_min: u64) -> Result<Option<u64>> {
        let mut scan = Scan::new(self, self.offset, seq_start_min);
        Ok(scan.next()?.map(|frame| frame.offset))
    }

    /// Where the bytes at the reader's place would end if they were the frame that their header
    /// says: of a frame whose payload is torn this is the truth, else a guess, inside the file.
    pub(crate) fn claimed_end(&mut self) -> Result<u64> {
        let offset = self.offset;
        if self.file_bytes - offset < FRAME_HEADER_BYTES as u64 {
            return Ok(self.file_bytes);
        }
        let bytes = self.window.get(&self.file, self.file_bytes, offset, FRAME_HEADER_BYTES)?;
        let header = bytes.first_chunk().and_then(|bytes| Header::decode(bytes).ok());
        let end = header.map_or(offset, |header| offset + header.frame_bytes());
        Ok(end.min(self.file_bytes))
    }
}

impl Window {
    /// `length` bytes of the file from `offset` on, which the caller knows to be there.
    fn get(
        &mut self,
        file: &SharedFile,
        file_bytes: u64,
        offset: u64,
        length: usize,
    ) -> Result<&[u8]> {
        let end = self.start + self.bytes.len() as u64;
        if offset < self.start || offset + length as u64 > end {
            self.next_read_bytes =
                (self.next_read_bytes * 2).clamp(READ_BYTES_FIRST, READ_BYTES_MAX);
            let rest = usize::try_from(file_bytes - offset).unwrap_or(usize::MAX);
            self.bytes.resize(self.next_read_bytes.max(length).min(rest), 0);
            self.start = offset;
            file.read_at(offset, &mut self.bytes)?;
        }
        let from = (offset - self.start) as usize;
        Ok(&self.bytes[from..from + length])
    }
}
