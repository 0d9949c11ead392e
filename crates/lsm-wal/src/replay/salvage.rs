//! Goes on behind damage with whatever is whole, and says what was lost.

use lsm_io::{Error, Result};

use crate::frame::FrameRef;
use crate::frame_reader::FrameReader;
use crate::report::{Cut, RecoveryMode};
use crate::segment::segments_above;

use super::scan::Scan;
use super::{Break, Replay, Taken};

/// Bytes that are no frame. Whether something is lost there shows when a frame is found behind them.
#[derive(Debug)]
pub(super) struct Gap {
    segment: u64,
    offset: u64,
    /// As far as is known before a frame behind it was found.
    bytes: u64,
    reason: &'static str,
    is_blank: bool,
}

impl Replay<'_> {
    /// Takes every whole frame of a segment behind a break; returns the segment to go on with.
    pub(super) fn salvage(
        &mut self,
        reader: &mut FrameReader,
        broken: &Break,
    ) -> Result<Option<u64>> {
        let segment = reader.identity().file_number;
        let Break { offset, reason, is_blank } = *broken;
        let bytes = broken.end(reader)? - offset;
        self.open_gap(Gap { segment, offset, bytes, reason, is_blank });
        let mut scan = Scan::new(reader, offset, self.expected.seq_start);
        let mut last_end = offset;
        while let Some(frame) = scan.next()? {
            // Between the frames that a scan finds anything may be missing.
            self.expected.is_exact = false;
            let (offset, end) = (frame.offset, frame.end());
            if offset > last_end {
                let (offset, bytes) = (last_end, offset - last_end);
                let reason = "no frame is whole here";
                self.open_gap(Gap { segment, offset, bytes, reason, is_blank: false });
            }
            last_end = end;
            match self.take(&frame)? {
                Taken::GoOn => {}
                Taken::Segment(next) => return Ok(Some(next)),
                Taken::Closed => return Ok(None),
                Taken::Misplaced(reason) => {
                    let bytes = end - offset;
                    self.open_gap(Gap { segment, offset, bytes, reason, is_blank: false });
                }
            }
        }
        self.following(segment)
    }

    /// Goes on behind a segment that is missing, or not what it should be.
    pub(super) fn salvage_without(&mut self, segment: u64, error: &Error) -> Result<Option<u64>> {
        self.expected.is_exact = false;
        let reason = error.to_string();
        let (offset, bytes_discarded, frames_discarded) = (0, 0, 0);
        self.report.losses.push(Cut { segment, offset, bytes_discarded, frames_discarded, reason });
        self.following(segment)
    }

    /// The next segment that there is, now that no closing frame names it.
    fn following(&mut self, segment: u64) -> Result<Option<u64>> {
        self.expected.is_exact = false;
        for later in segments_above(self.fs, self.dir, segment)? {
            match self.open(later) {
                Ok(_) => return Ok(Some(later)),
                // It was not finished, so nothing was ever appended to it.
                Err(error) if error.is_corrupt() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    fn open_gap(&mut self, gap: Gap) {
        self.gap.get_or_insert(gap);
    }

    /// A frame was found. If it stands behind a gap, or leaves sequence numbers out, the gap is a loss.
    pub(super) fn close_gap(&mut self, frame: &FrameRef<'_>) {
        if self.mode != RecoveryMode::Salvage {
            return;
        }
        let expected = self.expected.seq_start;
        let is_missing = expected > 0 && frame.seq_start > expected;
        let gap = self.gap.take();
        if gap.is_none() && !is_missing {
            return;
        }
        let gap = gap.unwrap_or(Gap {
            segment: frame.segment,
            offset: frame.offset,
            bytes: 0,
            reason: "frames are missing here",
            is_blank: false,
        });
        let reason = match frame.seq_start - expected {
            1 if is_missing => format!("{}; sequence number {expected} is lost", gap.reason),
            _ if is_missing => {
                let last = frame.seq_start - 1;
                format!("{}; sequence numbers {expected} to {last} are lost", gap.reason)
            }
            _ => gap.reason.to_owned(),
        };
        let is_same = frame.segment == gap.segment;
        self.report.losses.push(Cut {
            segment: gap.segment,
            offset: gap.offset,
            bytes_discarded: if is_same { frame.offset - gap.offset } else { gap.bytes },
            frames_discarded: 0,
            reason,
        });
    }

    /// Nothing was found behind the last gap: it is where the log ends.
    pub(super) fn finish_gap(&mut self) {
        let Some(gap) = self.gap.take().filter(|gap| !gap.is_blank) else { return };
        self.report.cut = Some(Cut {
            segment: gap.segment,
            offset: gap.offset,
            bytes_discarded: gap.bytes,
            frames_discarded: 0,
            reason: gap.reason.to_owned(),
        });
    }
}
