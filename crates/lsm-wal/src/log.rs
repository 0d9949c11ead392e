//! The writing end of the log: frames go to memory here, and to files by whoever takes them.
//!
//! Nothing in this file waits for a disk: a [`Log`] is meant to be held under a lock for as long as
//! it takes to copy a payload. What was appended is taken as a [`PendingWrite`], and written and
//! synced outside the lock; or, in a mapped segment, stored at once, for a crash of the process.
//!
//! Invariant: every segment but the current one ends with a closing frame that names the next, and
//! the current one always has room for its own.

use lsm_io::{Result, SharedFile, SharedStores};

use crate::frame::{
    FRAME_HEADER_BYTES, FrameKind, Header, MARK_EXTRA_BYTES_MAX, NUMBER_BYTES, PayloadHash,
    hash_payload,
};
use crate::identity_frame::IDENTITY_FRAME_BYTES;
use crate::pending::{Chunk, Pending, PendingWrite, Unsynced};
use crate::segment::{END_BYTES, PreparedSegment, SegmentInfo};

/// Bytes of a closing frame.
const CLOSE_BYTES: u64 = (FRAME_HEADER_BYTES + NUMBER_BYTES) as u64;
/// A buffer that one huge batch has blown up beyond this is not kept.
const SPARE_BYTES_MAX: usize = 4 << 20;

/// The log, as its one writer holds it.
#[derive(Debug)]
pub struct Log {
    file: SharedFile,
    /// The current segment as memory, if it is mapped.
    stores: Option<SharedStores>,
    salt: u64,
    /// Where the next frame goes in the current segment.
    offset: u64,
    /// Frames of the current segment that nobody has taken yet.
    buffer: Vec<u8>,
    /// The same of older segments.
    chunks: Vec<Chunk>,
    /// What no taken sync covers, oldest first.
    unsynced: Vec<Unsynced>,
    next_seq_no: u64,
    /// Oldest first, the current one last.
    segments: Vec<SegmentInfo>,
    /// An empty buffer to use again.
    spare: Vec<u8>,
    /// The first segment of which frames were taken that are perhaps not written yet.
    writing: Option<u64>,
    is_closed: bool,
}

impl Log {
    /// A log that begins in `prepared` with sequence number `next_seq_no`.
    #[allow(clippy::needless_pass_by_value)] // A segment is used once.
    pub fn start(prepared: PreparedSegment, next_seq_no: u64) -> Self {
        Self {
            salt: prepared.identity.salt(),
            offset: IDENTITY_FRAME_BYTES as u64,
            buffer: Vec::new(),
            chunks: Vec::new(),
            unsynced: Vec::new(),
            next_seq_no,
            segments: vec![prepared.info(next_seq_no)],
            spare: Vec::new(),
            writing: None,
            is_closed: false,
            file: prepared.file,
            stores: prepared.stores,
        }
    }

    /// Takes older segments into account, which a replay has found, so that
    /// [`release_before`](Self::release_before) gives them back.
    ///
    /// # Panics
    /// If they are not older than those known already.
    pub fn adopt(&mut self, mut older: Vec<SegmentInfo>) {
        older.append(&mut self.segments);
        let is_ordered = older.is_sorted_by(|one, next| {
            one.number < next.number && one.end_seq_no <= next.first_seq_no
        });
        assert!(is_ordered, "segments are adopted in front of the known ones, oldest first");
        self.segments = older;
    }

    /// The sequence number that the next frame must begin with.
    pub fn next_seq_no(&self) -> u64 {
        self.next_seq_no
    }

    /// Bytes appended and not yet taken.
    pub fn buffered_bytes(&self) -> usize {
        self.buffer.len() + self.chunks.iter().map(|chunk| chunk.frame_bytes).sum::<usize>()
    }

    /// The segments that a replay would read, oldest first, the current one last.
    pub fn segments(&self) -> &[SegmentInfo] {
        &self.segments
    }

    /// How far the current segment is written.
    pub fn current_bytes(&self) -> u64 {
        self.offset
    }

    /// Whether a frame with so long a payload fits the current segment.
    #[inline]
    pub fn fits(&self, payload_bytes: usize) -> bool {
        let frame_bytes = FRAME_HEADER_BYTES as u64 + payload_bytes as u64;
        self.offset + frame_bytes + CLOSE_BYTES <= self.current().bytes
    }

    /// Appends a frame to memory. Its payload was hashed by the caller.
    ///
    /// # Panics
    /// If the frame does not [`fit`](Self::fits), does not begin with
    /// [`next_seq_no`](Self::next_seq_no), takes no sequence number, or is of a kind that the log
    /// writes by itself.
    pub fn append(
        &mut self,
        kind: FrameKind,
        seq_start: u64,
        count: u32,
        payload: &[u8],
        hash: PayloadHash,
    ) {
        assert!(kind.takes_seq_no(), "marks, closings and identities have methods of their own");
        assert!(self.fits(payload.len()), "the caller rotates before the segment is full");
        assert_eq!(seq_start, self.next_seq_no, "frames follow each other without a gap");
        self.push(kind, count, payload, hash);
        self.next_seq_no += u64::from(count);
        let end_seq_no = self.next_seq_no;
        if let Some(current) = self.segments.last_mut() {
            current.end_seq_no = end_seq_no;
        }
    }

    /// Appends a mark: everything up to and including `durable_through` is known durable. `extra`
    /// is the caller's.
    ///
    /// # Panics
    /// If the mark, 8 bytes longer than `extra`, does not fit; if it tells of the future; if `extra`
    /// is longer than [`MARK_EXTRA_BYTES_MAX`].
    pub fn append_mark(&mut self, durable_through: u64, extra: &[u8]) {
        assert!(extra.len() <= MARK_EXTRA_BYTES_MAX, "a mark is short");
        assert!(durable_through < self.next_seq_no, "nothing is durable before it is appended");
        let mut payload = [0; NUMBER_BYTES + MARK_EXTRA_BYTES_MAX];
        let payload = &mut payload[..NUMBER_BYTES + extra.len()];
        payload[..NUMBER_BYTES].copy_from_slice(&durable_through.to_le_bytes());
        payload[NUMBER_BYTES..].copy_from_slice(extra);
        assert!(self.fits(payload.len()), "the caller rotates before the segment is full");
        self.push(FrameKind::MARK, 0, payload, hash_payload(payload));
    }

    /// Ends the current segment and goes on in `prepared`. If all that was appended is stored, so
    /// is the closing frame, and storing goes on without a write between the segments. Returns what
    /// the ended segment was mapped as: dropping it takes the system long enough to be done where
    /// nobody waits.
    ///
    /// # Errors
    /// Those of [`store`](Self::store).
    ///
    /// # Panics
    /// If its number is not above the current one's.
    #[allow(clippy::needless_pass_by_value)] // A segment is used once.
    pub fn rotate(&mut self, prepared: PreparedSegment) -> Result<Option<SharedStores>> {
        let next = prepared.number();
        assert!(next > self.current().number, "later segments have higher numbers");
        let all_stored = self.buffer.is_empty();
        self.push_close(next);
        if !(all_stored && self.store()?) {
            self.retire_buffer(0);
        }
        self.segments.push(prepared.info(self.next_seq_no));
        self.salt = prepared.identity.salt();
        self.file = prepared.file;
        let retired = std::mem::replace(&mut self.stores, prepared.stores);
        self.offset = IDENTITY_FRAME_BYTES as u64;
        Ok(retired)
    }

    /// Appends the frame that says that the log was closed cleanly. Nothing may follow it.
    ///
    /// # Panics
    /// If something was appended that no [`Pending::Sync`] has taken. Whoever finds the closing
    /// frame relies on all that stands before it: it must have been durable before.
    pub fn append_close(&mut self) {
        let all_taken = self.buffered_bytes() == 0 && self.unsynced.is_empty();
        assert!(all_taken, "everything is durable before the closing frame is written");
        self.push_close(0);
        self.is_closed = true;
    }

    fn push_close(&mut self, next: u64) {
        let payload = next.to_le_bytes();
        self.push(FrameKind::CLOSE, 0, &payload, hash_payload(&payload));
    }

    #[inline]
    fn push(&mut self, kind: FrameKind, count: u32, payload: &[u8], hash: PayloadHash) {
        assert!(!self.is_closed, "nothing follows the closing frame");
        let header = Header::new(kind, self.next_seq_no, count, payload.len());
        header.encode(hash, self.salt, &mut self.buffer);
        self.buffer.extend_from_slice(payload);
        self.offset += header.frame_bytes();
    }

    /// Stores what is buffered into the mapped segment, after which it is with the operating system
    /// as if it were written. `false` if somebody has to write: the segment is not mapped, or what
    /// was appended earlier is on its way still. Costs a copy, and no system call.
    ///
    /// # Errors
    /// `Io`; the log must not be written any more then. The real disk has none.
    pub fn store(&mut self) -> Result<bool> {
        let Some(stores) = &self.stores else { return Ok(false) };
        // Order: frames reach the operating system in the order in which they were appended.
        if self.writing.is_some() || !self.chunks.is_empty() {
            return Ok(false);
        }
        if self.buffer.is_empty() {
            // What there is may be durable already: whoever closes the log finds nothing to sync.
            return Ok(true);
        }
        let frame_bytes = self.buffer.len();
        let offset = self.offset - frame_bytes as u64;
        self.buffer.resize(frame_bytes + self.end_room(END_BYTES), 0);
        stores.store(offset, &self.buffer)?;
        self.buffer.clear();
        self.note_unsynced();
        Ok(true)
    }

    /// Takes everything appended so far. Until it is [written](Self::note_written) nothing can be
    /// stored.
    pub fn take_pending(&mut self, how: Pending) -> PendingWrite {
        self.retire_buffer(END_BYTES);
        let chunks = std::mem::take(&mut self.chunks);
        self.writing = self.writing.or(chunks.first().map(|chunk| chunk.segment));
        let unsynced = match how {
            Pending::Write => Vec::new(),
            Pending::Sync => std::mem::take(&mut self.unsynced),
        };
        PendingWrite { chunks, unsynced }
    }

    /// Takes note that what was taken is written, and its memory back, to be used again. Its sync
    /// may be yet to come.
    pub fn note_written(&mut self, pending: &mut PendingWrite) {
        self.writing = None;
        if let Some(chunk) = pending.chunks.pop()
            && chunk.bytes.capacity() <= SPARE_BYTES_MAX
        {
            self.spare = chunk.bytes;
            self.spare.clear();
        }
        pending.chunks.clear();
    }

    /// Forgets the segments, but for the current one, all of whose frames lie below `seq_no`;
    /// returns them, oldest first. No sync covers them any more. One that is not written to its end yet
    /// is kept, and those behind it: what is on its way must not find the file in another use.
    pub fn release_before(&mut self, seq_no: u64) -> Vec<SegmentInfo> {
        let on_its_way = self.writing.or(self.chunks.first().map(|chunk| chunk.segment));
        let end = on_its_way.unwrap_or(self.current().number);
        let is_over = |segment: &&SegmentInfo| segment.number < end && segment.end_seq_no <= seq_no;
        let count = self.segments.iter().take_while(is_over).count();
        let released: Vec<_> = self.segments.drain(..count).collect();
        let first = self.segments[0].number;
        self.unsynced.retain(|unsynced| unsynced.segment >= first);
        released
    }

    /// Turns the buffer into a chunk, with up to `end_bytes` zeros behind it.
    fn retire_buffer(&mut self, end_bytes: usize) {
        if self.buffer.is_empty() {
            return;
        }
        let mut bytes = std::mem::replace(&mut self.buffer, std::mem::take(&mut self.spare));
        let frame_bytes = bytes.len();
        let offset = self.offset - frame_bytes as u64;
        bytes.resize(frame_bytes + self.end_room(end_bytes), 0);
        self.note_unsynced();
        let (segment, file) = (self.current().number, SharedFile::clone(&self.file));
        self.chunks.push(Chunk { segment, file, offset, bytes, frame_bytes });
    }

    /// How many of `end_bytes` zeros fit behind the last frame.
    fn end_room(&self, end_bytes: usize) -> usize {
        let room = usize::try_from(self.current().bytes - self.offset).unwrap_or(usize::MAX);
        end_bytes.min(room)
    }

    fn note_unsynced(&mut self) {
        let segment = self.current().number;
        if self.unsynced.last().is_none_or(|last| last.segment != segment) {
            self.unsynced.push(Unsynced { segment, file: SharedFile::clone(&self.file) });
        }
    }

    fn current(&self) -> &SegmentInfo {
        self.segments.last().expect("there is always a current segment")
    }
}
