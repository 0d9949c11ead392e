//! What a replay is asked for, and what it has to tell.

use crate::segment::SegmentInfo;

/// What a replay does about bytes that are no frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RecoveryMode {
    /// What a crash may have torn is cut and reported; damage refuses.
    #[default]
    Default,
    /// Anything that is not the plain end of the log refuses.
    Absolute,
    /// Damage is skipped up to the next whole frame, and what was lost is reported.
    Salvage,
}

/// Bytes that were left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The segment.
    pub segment: u64,
    /// Where in it the first bytes left out begin.
    pub offset: u64,
    /// How many, as far as frames tell: up to the end of the last one left out, whole or by its
    /// header's account; for a loss, up to the next whole frame of the same segment.
    pub bytes_discarded: u64,
    /// Whole frames left out: batches, notes and users' own.
    pub frames_discarded: u64,
    /// Why.
    pub reason: String,
}

/// The newest mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The last sequence number that was known durable.
    pub durable_through: u64,
    /// What the log's user put beside it.
    pub extra: Vec<u8>,
}

/// What a replay found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogReport {
    /// The segments read, oldest first.
    pub segments: Vec<SegmentInfo>,
    /// Frames visited.
    pub frames: u64,
    /// Sequence numbers they take.
    pub records: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
    /// The sequence number after the last frame, marks and closing frames included; `None` if there
    /// was none at all.
    pub next_seq_no: Option<u64>,
    /// The log ends with the frame of a clean close.
    pub closed_cleanly: bool,
    /// The newest mark in the part that was replayed.
    pub mark: Option<Mark>,
    /// Frames visited that lie above the newest mark: nothing proves that they are durable. (Where
    /// there are tens of thousands, a few more may be counted.)
    pub unmarked_frames: u64,
    /// Bytes of their payloads.
    pub unmarked_bytes: u64,
    /// Where the log was cut, if it does not simply end.
    pub cut: Option<Cut>,
    /// What salvage skipped.
    pub losses: Vec<Cut>,
}
