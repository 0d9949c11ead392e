//! Frames on their way from the log's memory to its files.

use lsm_io::{Result, SharedFile};

/// How much is to be done with what was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pending {
    /// Hand it to the operating system: it survives the process, but not a power cut.
    Write,
    /// Make it, and everything handed over before, durable.
    Sync,
}

/// Frames taken from the log, to be written and synced outside its lock.
///
/// Invariant of the caller: one at a time. What is taken later is written later, and if a write or
/// a sync fails, nothing is written any more.
#[derive(Debug)]
pub struct PendingWrite {
    pub(crate) chunks: Vec<Chunk>,
    /// The files that a sync must cover, oldest first.
    pub(crate) unsynced: Vec<Unsynced>,
}

/// A segment with bytes that no sync has covered yet.
#[derive(Debug)]
pub(crate) struct Unsynced {
    pub(crate) segment: u64,
    pub(crate) file: SharedFile,
}

/// Frames that stand one behind the other in one segment.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) segment: u64,
    pub(crate) file: SharedFile,
    pub(crate) offset: u64,
    pub(crate) bytes: Vec<u8>,
    /// How many of the bytes are frames; zeros that end the log may follow.
    pub(crate) frame_bytes: usize,
}

impl PendingWrite {
    /// Whether there is nothing to write and nothing to sync.
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty() && self.unsynced.is_empty()
    }

    /// Bytes of the frames in it.
    pub fn bytes(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.frame_bytes).sum()
    }

    /// Hands everything to the operating system, in order.
    ///
    /// # Errors
    /// `Io`; the log must not be written any more then.
    pub fn write(&mut self) -> Result<()> {
        self.chunks.iter().try_for_each(|chunk| chunk.file.write_at(chunk.offset, &chunk.bytes))
    }

    /// If it was taken with [`Pending::Sync`]: makes everything durable that was ever taken, this
    /// included. Else there is nothing to do.
    ///
    /// # Errors
    /// `Io`; a failed sync must not be retried, and the log not be written any more.
    pub fn sync(&self) -> Result<()> {
        // Order: oldest first. A newer segment that is durable before an older one would follow a
        // gap after a power cut.
        self.unsynced.iter().try_for_each(|unsynced| unsynced.file.sync())
    }
}
