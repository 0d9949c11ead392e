//! Reads a file of frames from its beginning.

use std::path::{Path, PathBuf};

use lsm_io::{Error, Identity, OpenMode, Result, SharedFile, SharedFs};

use crate::frame::{FRAME_HEADER_BYTES, FrameKind, FrameRef, Header};
use crate::identity_frame::{IDENTITY_FRAME_BYTES, decode_identity};

/// Bytes read at first; each further read takes twice as many, up to the maximum.
const READ_BYTES_FIRST: usize = 4 << 10;
const READ_BYTES_MAX: usize = 1 << 20;

/// What stands at the reader's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FrameStep<'a> {
    /// A frame.
    Frame(FrameRef<'a>),
    /// Nothing: the file ends here, or goes on with zeros.
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
#[derive(Debug)]
pub struct FrameReader {
    file: SharedFile,
    path: PathBuf,
    identity: Identity,
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
    /// that this version cannot read (both versions are named); `Io`.
    pub fn open(fs: &SharedFs, path: &Path, database_id: Option<u128>) -> Result<Self> {
        let file = fs.open(path, OpenMode::Read)?;
        let file_bytes = file.len()?;
        let mut window = Window::default();
        let first = IDENTITY_FRAME_BYTES.min(usize::try_from(file_bytes).unwrap_or(usize::MAX));
        let bytes = window.get(&file, file_bytes, 0, first)?;
        let identity = decode_identity(path, bytes)?;
        if database_id.is_some_and(|wanted| wanted != identity.database_id) {
            return Err(Error::corrupt(path, 0, "the file belongs to another database"));
        }
        let offset = IDENTITY_FRAME_BYTES as u64;
        Ok(Self { file, path: path.to_owned(), identity, file_bytes, offset, window })
    }

    /// Who the file says it is.
    pub fn identity(&self) -> Identity {
        self.identity
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

    /// Reads what comes next. After `End` or `Bad` it says the same again.
    ///
    /// # Errors
    /// `Io`.
    #[allow(clippy::should_implement_trait)] // Lends its frame, which an Iterator cannot.
    pub fn next(&mut self) -> Result<FrameStep<'_>> {
        let offset = self.offset;
        let remaining = self.file_bytes - offset;
        if remaining < FRAME_HEADER_BYTES as u64 {
            let rest = self.window.get(&self.file, self.file_bytes, offset, remaining as usize)?;
            let is_blank = rest.iter().all(|byte| *byte == 0);
            let reason = "the file ends within a frame";
            return Ok(if is_blank { FrameStep::End { offset } } else { FrameStep::Bad { offset, reason } });
        }
        let bytes = self.window.get(&self.file, self.file_bytes, offset, FRAME_HEADER_BYTES)?;
        let bytes: &[u8; FRAME_HEADER_BYTES] = bytes.try_into().expect("of that length");
        if bytes.iter().all(|byte| *byte == 0) {
            return Ok(FrameStep::End { offset });
        }
        let header = match Header::decode(bytes) {
            Ok(header) => header,
            Err(reason) => return Ok(FrameStep::Bad { offset, reason }),
        };
        if header.frame_bytes() > remaining {
            return Ok(FrameStep::Bad { offset, reason: "the frame is longer than the file" });
        }
        let frame_bytes = header.frame_bytes() as usize;
        let frame = self.window.get(&self.file, self.file_bytes, offset, frame_bytes)?;
        let payload = &frame[FRAME_HEADER_BYTES..];
        if !header.validates(payload, self.identity.salt()) {
            let reason = "the frame's checksum does not match";
            return Ok(FrameStep::Bad { offset, reason });
        }
        self.offset += header.frame_bytes();
        Ok(FrameStep::Frame(FrameRef {
            kind: header.kind,
            flags: header.flags,
            seq_start: header.seq_start,
            count: header.count,
            payload,
            segment: self.identity.file_number,
            offset,
        }))
    }

    /// Moves on to the next place from `from` on at which a whole frame stands that `wanted`
    /// accepts by its kind; `false` if there is none. Blank stretches are passed over quickly.
    pub(crate) fn find(&mut self, from: u64, wanted: impl Fn(FrameKind) -> bool) -> Result<bool> {
        let salt = self.identity.salt();
        let mut place = from;
        while place + FRAME_HEADER_BYTES as u64 <= self.file_bytes {
            let available = (self.file_bytes - place).min(READ_BYTES_MAX as u64) as usize;
            let bytes = self.window.get(&self.file, self.file_bytes, place, available)?;
            let last = available - FRAME_HEADER_BYTES;
            let mut candidates = Vec::new();
            let mut index = 0;
            while index <= last {
                // Type, flags and reserved bytes: almost no place passes this.
                if bytes[index + 8] == 0 {
                    let blank = bytes[index + 8..].iter().take_while(|byte| **byte == 0).count();
                    index += blank;
                    continue;
                }
                if bytes[index + 9..index + 12] == [0, 0, 0] && wanted(FrameKind(bytes[index + 8])) {
                    candidates.push(place + index as u64);
                }
                index += 1;
            }
            for candidate in candidates {
                if self.validates_at(candidate, salt)? {
                    self.offset = candidate;
                    return Ok(true);
                }
            }
            place += last as u64 + 1;
        }
        Ok(false)
    }

    fn validates_at(&mut self, offset: u64, salt: u64) -> Result<bool> {
        let bytes = self.window.get(&self.file, self.file_bytes, offset, FRAME_HEADER_BYTES)?;
        let header = Header::decode(bytes.try_into().expect("of that length"));
        let Ok(header) = header else { return Ok(false) };
        if header.frame_bytes() > self.file_bytes - offset {
            return Ok(false);
        }
        let frame_bytes = header.frame_bytes() as usize;
        let frame = self.window.get(&self.file, self.file_bytes, offset, frame_bytes)?;
        Ok(header.validates(&frame[FRAME_HEADER_BYTES..], salt))
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
            self.next_read_bytes = (self.next_read_bytes * 2).clamp(READ_BYTES_FIRST, READ_BYTES_MAX);
            let rest = usize::try_from(file_bytes - offset).unwrap_or(usize::MAX);
            self.bytes.resize(self.next_read_bytes.max(length).min(rest), 0);
            self.start = offset;
            file.read_at(offset, &mut self.bytes)?;
        }
        let from = (offset - self.start) as usize;
        Ok(&self.bytes[from..from + length])
    }
}
