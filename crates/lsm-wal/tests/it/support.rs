//! A log with the little that an owner needs around it, and what was written to it.

use std::path::{Path, PathBuf};

use lsm_io::{Identity, Result, SimFs};
use lsm_wal::{
    FrameKind, FrameRef, Log, LogReport, Pending, PreparedSegment, RecoveryMode, SegmentInfo,
    hash_payload, replay,
};

pub(crate) const DATABASE_ID: u128 = 0xDA7A;

/// The tests' own dice.
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { (self.next() >> 33) % bound }
    }

    pub(crate) fn bytes(&mut self, length: u64) -> Vec<u8> {
        (0..length).map(|_| self.next() as u8).collect()
    }
}

/// A frame as its writer knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) kind: FrameKind,
    pub(crate) seq_start: u64,
    pub(crate) count: u32,
    pub(crate) payload: Vec<u8>,
}

impl From<FrameRef<'_>> for Written {
    fn from(frame: FrameRef<'_>) -> Self {
        let FrameRef { kind, seq_start, count, payload, .. } = frame;
        Self { kind, seq_start, count, payload: payload.to_vec() }
    }
}

/// Where a replay begins: what an owner keeps in its manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Start {
    pub(crate) segment: u64,
    pub(crate) first_seq_no: u64,
}

pub(crate) fn dir() -> &'static Path {
    Path::new("db")
}

pub(crate) fn path(segment: u64) -> PathBuf {
    dir().join(format!("{segment:06}.log"))
}

/// A disk with an empty directory for the log.
pub(crate) fn disk(seed: u64) -> SimFs {
    use lsm_io::Fs;
    let fs = SimFs::new(seed);
    fs.create_dir_all(dir()).expect("an empty disk");
    fs.sync_dir(Path::new("")).expect("an empty disk");
    fs
}

pub(crate) fn prepare(
    fs: &SimFs,
    number: u64,
    bytes: u64,
    recycle: Option<u64>,
) -> Result<PreparedSegment> {
    let identity = Identity { database_id: DATABASE_ID, file_number: number };
    let recycle = recycle.map(path);
    PreparedSegment::prepare(&fs.shared(), dir(), identity, bytes, recycle.as_deref())?.mapped()
}

/// Everything that a replay delivers, and its report.
pub(crate) fn read(
    fs: &SimFs,
    start: Start,
    mode: RecoveryMode,
) -> Result<(Vec<Written>, LogReport)> {
    let mut frames = Vec::new();
    let visit = &mut |frame: FrameRef<'_>| {
        frames.push(Written::from(frame));
        Ok(())
    };
    let Start { segment, first_seq_no } = start;
    let report =
        replay(&fs.shared(), dir(), DATABASE_ID, segment, Some(first_seq_no), mode, visit)?;
    Ok((frames, report))
}

/// A log on a simulated disk, its owner's bookkeeping, and all that was appended since `start`.
pub(crate) struct Owner {
    pub(crate) fs: SimFs,
    pub(crate) log: Log,
    pub(crate) start: Start,
    pub(crate) written: Vec<Written>,
    /// Everything up to here is durable.
    pub(crate) durable: u64,
    pub(crate) next_number: u64,
    pub(crate) segment_bytes: u64,
    /// Segments that no replay needs, to be used again.
    pub(crate) spare: Vec<u64>,
}

impl Owner {
    /// A log that begins in segment `number` with sequence number `first_seq_no`.
    pub(crate) fn start(
        fs: &SimFs,
        number: u64,
        first_seq_no: u64,
        segment_bytes: u64,
    ) -> Result<Self> {
        let prepared = prepare(fs, number, segment_bytes, None)?;
        Ok(Self {
            fs: fs.clone(),
            log: Log::start(prepared, first_seq_no),
            start: Start { segment: number, first_seq_no },
            written: Vec::new(),
            durable: first_seq_no.saturating_sub(1),
            next_number: number + 1,
            segment_bytes,
            spare: Vec::new(),
        })
    }

    pub(crate) fn rotate(&mut self) -> Result<()> {
        let number = self.next_number;
        self.next_number += 1;
        let prepared = prepare(&self.fs, number, self.segment_bytes, self.spare.pop())?;
        self.log.rotate(prepared).map(drop)
    }

    /// Appends a frame, in a new segment if need be.
    pub(crate) fn append(&mut self, kind: FrameKind, count: u32, payload: &[u8]) -> Result<()> {
        if !self.log.fits(payload.len()) {
            self.rotate()?;
        }
        let seq_start = self.log.next_seq_no();
        self.log.append(kind, seq_start, count, payload, hash_payload(payload));
        self.written.push(Written { kind, seq_start, count, payload: payload.to_vec() });
        Ok(())
    }

    pub(crate) fn batch(&mut self, text: &str) {
        self.append(FrameKind::BATCH, 1, text.as_bytes()).expect("appended");
    }

    pub(crate) fn mark(&mut self) {
        if self.log.fits(8) {
            self.log.append_mark(self.durable, b"");
        }
    }

    pub(crate) fn write(&mut self) -> Result<()> {
        let mut pending = self.log.take_pending(Pending::Write);
        pending.write()?;
        self.log.note_written(&mut pending);
        Ok(())
    }

    /// Hands everything to the operating system by storing it, if that can be.
    pub(crate) fn store(&mut self) -> Result<()> {
        if self.log.store()? { Ok(()) } else { self.write() }
    }

    pub(crate) fn sync(&mut self) -> Result<()> {
        self.sync_beside(|_| Ok(()))
    }

    /// Syncs, while something else is done between the write and the end of the sync.
    pub(crate) fn sync_beside(
        &mut self,
        meanwhile: impl FnOnce(&mut Self) -> Result<()>,
    ) -> Result<()> {
        let through = self.log.next_seq_no() - 1;
        let mut pending = self.log.take_pending(Pending::Sync);
        pending.write()?;
        self.log.note_written(&mut pending);
        meanwhile(self)?;
        pending.sync()?;
        self.durable = through;
        Ok(())
    }

    pub(crate) fn close(&mut self) -> Result<()> {
        self.sync()?;
        self.log.append_close();
        self.sync()
    }

    /// Forgets what lies below `seq_no`, as after a flush.
    pub(crate) fn release_before(&mut self, seq_no: u64) -> Vec<SegmentInfo> {
        let released = self.log.release_before(seq_no);
        self.spare.extend(released.iter().map(|segment| segment.number));
        let first = self.log.segments()[0];
        self.start = Start { segment: first.number, first_seq_no: first.first_seq_no };
        self.written.retain(|frame| frame.seq_start >= first.first_seq_no);
        released
    }
}
