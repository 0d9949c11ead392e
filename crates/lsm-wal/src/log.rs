//! The writing end of the log: frames go to memory here, and to files by whoever takes them.
//!
//! Nothing in this file waits for a disk: [`Log`] is meant to be held under a lock for as long as
//! it takes to copy a payload. What was appended is taken as a [`PendingWrite`], written and synced
//! outside the lock.

use lsm_io::{Result, SharedFile};

use crate::frame::{FRAME_HEADER_BYTES, FrameKind, Header, PayloadHash, hash_payload};
use crate::identity_frame::IDENTITY_FRAME_BYTES;
use crate::segment::PreparedSegment;

/// Bytes of a closing frame, for which room is always kept.
const CLOSE_BYTES: u64 = FRAME_HEADER_BYTES as u64 + 8;

/// How large segments are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// Bytes of a segment. More: fewer files, and a longer replay.
    pub segment_bytes: u64,
    /// Bytes of a log's first segment: small, so that an empty database is.
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

/// The log, as its one writer holds it.
#[derive(Debug)]
pub struct Log {
    file: SharedFile,
    salt: u64,
    /// Where the next frame goes in the current segment.
    offset: u64,
    /// Frames of the current segment that nobody has taken yet.
    buffer: Vec<u8>,
    /// The same of older segments.
    chunks: Vec<Chunk>,
    /// Files with bytes that no sync has covered, oldest first.
    unsynced: Vec<SharedFile>,
    next_seq_no: u64,
    /// Oldest first, the current one last.
    segments: Vec<SegmentInfo>,
    /// A buffer to use again.
    spare: Vec<u8>,
}

#[derive(Debug)]
struct Chunk {
    file: SharedFile,
    offset: u64,
    bytes: Vec<u8>,
}

/// How much is to be done with what was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pending {
    /// Hand it to the operating system.
    Write,
    /// Make it, and everything handed over before, durable.
    Sync,
}

/// Frames taken from the log, to be written and synced outside its lock.
///
/// Whoever takes them must write them before anything taken later is written: one at a time.
#[derive(Debug)]
pub struct PendingWrite {
    chunks: Vec<Chunk>,
    files: Vec<SharedFile>,
}

impl Log {
    /// A log that begins in `prepared` with sequence number `next_seq_no`.
    #[allow(clippy::needless_pass_by_value)]
    pub fn start(prepared: PreparedSegment, next_seq_no: u64) -> Self {
        Self {
            salt: prepared.identity.salt(),
            offset: IDENTITY_FRAME_BYTES as u64,
            buffer: Vec::new(),
            chunks: Vec::new(),
            unsynced: Vec::new(),
            next_seq_no,
            segments: vec![info(&prepared, next_seq_no)],
            spare: Vec::new(),
            file: prepared.file,
        }
    }

    /// The sequence number that the next frame must begin with.
    pub fn next_seq_no(&self) -> u64 {
        self.next_seq_no
    }

    /// Bytes appended and not yet taken.
    pub fn buffered_bytes(&self) -> usize {
        self.buffer.len() + self.chunks.iter().map(|chunk| chunk.bytes.len()).sum::<usize>()
    }

    /// The segments that a replay would read, oldest first, the current one last.
    pub fn segments(&self) -> &[SegmentInfo] {
        &self.segments
    }

    /// Whether a frame with so long a payload fits the current segment.
    #[inline]
    pub fn fits(&self, payload_bytes: usize) -> bool {
        let frame = (FRAME_HEADER_BYTES + payload_bytes) as u64;
        self.offset + frame + CLOSE_BYTES <= self.current().bytes
    }

    /// Ends the current segment and goes on in `prepared`.
    #[allow(clippy::needless_pass_by_value)]
    pub fn rotate(&mut self, prepared: PreparedSegment) {
        self.append_unchecked(FrameKind::CLOSE, 0, &prepared.number().to_le_bytes());
        self.retire_buffer();
        self.segments.push(info(&prepared, self.next_seq_no));
        self.salt = prepared.identity.salt();
        self.file = prepared.file;
        self.offset = IDENTITY_FRAME_BYTES as u64;
    }

    /// Appends a frame to memory. Its payload was hashed by the caller.
    ///
    /// # Panics
    /// If the frame does not [`fit`](Self::fits), or does not begin with
    /// [`next_seq_no`](Self::next_seq_no).
    pub fn append(
        &mut self,
        kind: FrameKind,
        seq_start: u64,
        count: u32,
        payload: &[u8],
        hash: PayloadHash,
    ) {
        assert!(self.fits(payload.len()), "the caller rotates before the segment is full");
        assert_eq!(seq_start, self.next_seq_no, "frames follow each other without a gap");
        self.push(kind, count, payload, hash);
        self.next_seq_no += u64::from(count);
        let end = self.next_seq_no;
        self.current_mut().end_seq_no = end;
    }

    /// Appends a mark: everything up to and including `durable_through` is known durable. `extra`
    /// is the caller's.
    ///
    /// # Panics
    /// If the mark, 8 bytes longer than `extra`, does not fit.
    pub fn append_mark(&mut self, durable_through: u64, extra: &[u8]) {
        let mut payload = durable_through.to_le_bytes().to_vec();
        payload.extend_from_slice(extra);
        assert!(self.fits(payload.len()), "the caller asked whether the mark fits");
        self.append_unchecked(FrameKind::MARK, 0, &payload);
    }

    /// Appends the frame that says that the log was closed cleanly. Nothing may follow it.
    pub fn append_close(&mut self) {
        self.append_unchecked(FrameKind::CLOSE, 0, &0u64.to_le_bytes());
    }

    fn append_unchecked(&mut self, kind: FrameKind, count: u32, payload: &[u8]) {
        self.push(kind, count, payload, hash_payload(payload));
    }

    #[inline]
    fn push(&mut self, kind: FrameKind, count: u32, payload: &[u8], hash: PayloadHash) {
        let before = self.buffer.len();
        let header = Header::new(kind, 0, self.next_seq_no, count, payload.len());
        header.encode(hash, self.salt, &mut self.buffer);
        self.buffer.extend_from_slice(payload);
        self.offset += (self.buffer.len() - before) as u64;
    }

    /// Takes everything appended so far.
    pub fn take_pending(&mut self, how: Pending) -> PendingWrite {
        self.retire_buffer();
        let chunks = std::mem::take(&mut self.chunks);
        let files = match how {
            Pending::Write => Vec::new(),
            Pending::Sync => std::mem::take(&mut self.unsynced),
        };
        PendingWrite { chunks, files }
    }

    /// Gives the memory of a pending write back, to be used again.
    pub fn recycle_buffer(&mut self, mut pending: PendingWrite) {
        /// A buffer that one huge batch has blown up is not kept.
        const KEPT_BYTES_MAX: usize = 4 << 20;
        if let Some(mut chunk) = pending.chunks.pop()
            && chunk.bytes.capacity() <= KEPT_BYTES_MAX
        {
            chunk.bytes.clear();
            self.spare = chunk.bytes;
        }
    }

    /// Forgets the segments, but the current one, all of whose frames lie below `seq_no`; returns
    /// them, oldest first.
    pub fn release_before(&mut self, seq_no: u64) -> Vec<SegmentInfo> {
        let older = &self.segments[..self.segments.len() - 1];
        let count = older.iter().take_while(|segment| segment.end_seq_no <= seq_no).count();
        self.segments.drain(..count).collect()
    }

    fn retire_buffer(&mut self) {
        if self.buffer.is_empty() {
            return;
        }
        let bytes = std::mem::replace(&mut self.buffer, std::mem::take(&mut self.spare));
        let offset = self.offset - bytes.len() as u64;
        let file = SharedFile::clone(&self.file);
        if self.unsynced.last().is_none_or(|last| !SharedFile::ptr_eq(last, &file)) {
            self.unsynced.push(SharedFile::clone(&file));
        }
        self.chunks.push(Chunk { file, offset, bytes });
    }

    fn current(&self) -> &SegmentInfo {
        self.segments.last().expect("there is always a current segment")
    }

    fn current_mut(&mut self) -> &mut SegmentInfo {
        self.segments.last_mut().expect("there is always a current segment")
    }
}

fn info(prepared: &PreparedSegment, first_seq_no: u64) -> SegmentInfo {
    SegmentInfo {
        number: prepared.number(),
        bytes: prepared.bytes,
        first_seq_no,
        end_seq_no: first_seq_no,
    }
}

impl PendingWrite {
    /// Whether there is nothing to write and nothing to sync.
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty() && self.files.is_empty()
    }

    /// Bytes to write.
    pub fn bytes(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.bytes.len()).sum()
    }

    /// Hands everything to the operating system, in order.
    ///
    /// # Errors
    /// `Io`; the log must not be written any more then.
    pub fn write(&mut self) -> Result<()> {
        self.chunks.iter().try_for_each(|chunk| chunk.file.write_at(chunk.offset, &chunk.bytes))
    }

    /// Makes everything durable that was ever taken, this included.
    ///
    /// # Errors
    /// `Io`; a failed sync must not be retried, and the log not be written any more.
    pub fn sync(&self) -> Result<()> {
        // Order: oldest first. A newer segment that is durable before an older one would follow a
        // gap after a power cut.
        self.files.iter().try_for_each(|file| file.sync())
    }
}
