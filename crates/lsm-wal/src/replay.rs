//! Reading the log back, from segment to segment, up to its end.
//!
//! The log ends at its first bad frame. Whether that is the end that a crash has left, or damage, is
//! decided in `replay/judge.rs`; how a replay goes on behind damage all the same, in
//! `replay/salvage.rs`; how frames behind a bad one are found, in `replay/scan.rs`.

mod judge;
mod salvage;
pub(crate) mod scan;
mod unmarked;

use std::io::ErrorKind;
use std::path::Path;

use lsm_io::{Error, Result, SharedFs};

use crate::frame::{FrameKind, FrameRef};
use crate::frame_reader::{FrameReader, FrameStep};
use crate::report::{LogReport, Mark, RecoveryMode};
use crate::segment::{SegmentInfo, segment_path};

use self::salvage::Gap;
use self::unmarked::Unmarked;

/// Reads the log of a directory from segment `from` on and hands every frame to `visit`, in order:
/// batches, notes and users' own kinds. `first_seq_no` is the sequence number with which that
/// segment begins, where the caller knows it: without it, damage to the very first frames may pass
/// for a torn end.
///
/// Nothing is changed on disk. A log that was cut must not be appended to: what is to be kept goes
/// into a new one, for what lies behind the cut would follow it again.
///
/// # Errors
/// `Corrupt`, with file and offset, if acknowledged data is damaged or the segments do not fit
/// together ([`RecoveryMode::Salvage`] reports both instead); `Io`; and whatever `visit` returns.
pub fn replay(
    fs: &SharedFs,
    dir: &Path,
    database_id: u128,
    from: u64,
    first_seq_no: Option<u64>,
    mode: RecoveryMode,
    visit: &mut dyn FnMut(FrameRef<'_>) -> Result<()>,
) -> Result<LogReport> {
    let mut replay = Replay {
        fs,
        dir,
        database_id,
        mode,
        visit,
        expected: Expected {
            seq_start: first_seq_no.unwrap_or(0),
            is_exact: first_seq_no.is_some(),
        },
        report: LogReport::default(),
        unmarked: Unmarked::default(),
        gap: None,
    };
    let mut next = Some(from);
    while let Some(number) = next {
        next = replay.read_segment(number)?;
    }
    Ok(replay.finish())
}

struct Replay<'a> {
    fs: &'a SharedFs,
    dir: &'a Path,
    database_id: u128,
    mode: RecoveryMode,
    visit: &'a mut dyn FnMut(FrameRef<'_>) -> Result<()>,
    expected: Expected,
    report: LogReport,
    unmarked: Unmarked,
    /// For salvage: bytes that are no frame, and behind which none was found yet.
    gap: Option<Gap>,
}

/// The sequence number with which the next frame begins; or, where that is not known, the lowest one
/// that it may begin with.
#[derive(Clone, Copy, Debug)]
struct Expected {
    seq_start: u64,
    is_exact: bool,
}

/// What a frame means for the way through the log.
enum Taken {
    /// Another follows.
    GoOn,
    /// The log goes on in this segment.
    Segment(u64),
    /// The log was closed here.
    Closed,
    /// It is whole but does not belong here.
    Misplaced(&'static str),
}

/// Where a segment stopped being a log.
struct Break {
    offset: u64,
    reason: &'static str,
    /// Zeros stand there, as they do at the end of every log.
    is_blank: bool,
}

impl Replay<'_> {
    /// Reads one segment up to its end or to the first bad frame; returns the next one's number, if
    /// the log goes on.
    fn read_segment(&mut self, number: u64) -> Result<Option<u64>> {
        let is_salvage = self.mode == RecoveryMode::Salvage;
        let mut reader = match self.open(number) {
            Ok(reader) => reader,
            Err(error) if is_salvage && error.is_corrupt() => {
                return self.salvage_without(number, &error);
            }
            Err(error) => return Err(error),
        };
        self.enter(number, reader.file_bytes());
        let broken = loop {
            match reader.next()? {
                FrameStep::End { offset } => {
                    break Break { offset, reason: "zeros instead of a frame", is_blank: true };
                }
                FrameStep::Bad { offset, reason } => {
                    break Break { offset, reason, is_blank: false };
                }
                FrameStep::Frame(frame) => match self.take(&frame)? {
                    Taken::GoOn => {}
                    Taken::Segment(next) => return Ok(Some(next)),
                    Taken::Closed => return Ok(None),
                    Taken::Misplaced(reason) => {
                        let offset = frame.offset;
                        if !is_salvage {
                            // No crash writes whole frames in the wrong place.
                            return Err(Error::corrupt(reader.path(), offset, reason));
                        }
                        break Break { offset, reason, is_blank: false };
                    }
                },
            }
        };
        if is_salvage {
            return self.salvage(&mut reader, &broken);
        }
        self.judge(&mut reader, &broken)?;
        Ok(None)
    }

    fn open(&self, number: u64) -> Result<FrameReader> {
        let path = segment_path(self.dir, number);
        let reader = FrameReader::open(self.fs, &path, Some(self.database_id));
        let reader = reader.map_err(|error| match error.io_kind() {
            Some(ErrorKind::NotFound) => {
                Error::corrupt(&path, 0, "the segment is missing from the log")
            }
            _ => error,
        })?;
        let found = reader.identity().file_number;
        if found != number {
            let reason = format!("the file is segment {found} under another name");
            return Err(Error::corrupt(&path, 0, reason));
        }
        Ok(reader)
    }

    fn enter(&mut self, number: u64, bytes: u64) {
        let first_seq_no = self.expected.seq_start;
        let info = SegmentInfo { number, bytes, first_seq_no, end_seq_no: first_seq_no };
        self.report.segments.push(info);
    }

    /// Checks that a frame belongs here, and hands it on.
    fn take(&mut self, frame: &FrameRef<'_>) -> Result<Taken> {
        let Expected { seq_start, is_exact } = self.expected;
        if frame.seq_start < seq_start || (is_exact && frame.seq_start > seq_start) {
            return Ok(Taken::Misplaced(
                "the frame's sequence number does not follow the last one's",
            ));
        }
        let taken = match frame.kind {
            FrameKind::IDENTITY => return Ok(Taken::Misplaced("a second identity frame")),
            FrameKind::MARK if frame.number() >= frame.seq_start => {
                return Ok(Taken::Misplaced("the mark tells of the future"));
            }
            FrameKind::MARK => {
                self.take_mark(frame);
                Taken::GoOn
            }
            FrameKind::CLOSE => match frame.number() {
                0 => {
                    // Everything was durable before the closing frame was written.
                    self.unmarked.clear();
                    self.report.closed_cleanly = true;
                    Taken::Closed
                }
                next if next > frame.segment => Taken::Segment(next),
                _ => return Ok(Taken::Misplaced("the closing frame leads backwards")),
            },
            _ => {
                (self.visit)(*frame)?;
                self.count(frame);
                Taken::GoOn
            }
        };
        self.close_gap(frame);
        if let Some(segment) = self.report.segments.last_mut() {
            if !is_exact && segment.first_seq_no == segment.end_seq_no {
                segment.first_seq_no = frame.seq_start;
            }
            segment.end_seq_no = frame.seq_end();
        }
        self.expected = Expected { seq_start: frame.seq_end(), is_exact: true };
        self.report.next_seq_no = Some(frame.seq_end());
        Ok(taken)
    }

    fn take_mark(&mut self, frame: &FrameRef<'_>) {
        let durable_through = frame.number();
        self.unmarked.mark(durable_through);
        let extra = frame.payload.get(size_of::<u64>()..).unwrap_or_default().to_vec();
        self.report.mark = Some(Mark { durable_through, extra });
    }

    fn count(&mut self, frame: &FrameRef<'_>) {
        let bytes = frame.payload.len() as u64;
        self.unmarked.push(frame.seq_end() - 1, bytes);
        self.report.frames += 1;
        self.report.records += u64::from(frame.count);
        self.report.bytes += bytes;
    }

    fn finish(mut self) -> LogReport {
        self.finish_gap();
        self.report.unmarked_frames = self.unmarked.frames();
        self.report.unmarked_bytes = self.unmarked.bytes();
        self.report
    }
}

impl Break {
    /// Where the bytes end that are certainly left out: those of the bad frame, as its header has it.
    fn end(&self, reader: &mut FrameReader) -> Result<u64> {
        if self.is_blank { Ok(self.offset) } else { reader.claimed_end() }
    }
}
