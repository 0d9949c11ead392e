//! Reading the log back, and telling a torn end from damage.
//!
//! The log ends at its first bad frame: what a power cut leaves behind the last sync may be torn,
//! missing, or reordered. But a bad frame that was known durable is *damage*, and must be reported,
//! not cut. Marks tell the two apart: each says how far the log was known durable when it was
//! written, so past a bad frame the rest is searched for marks, and a mark that covers the bad
//! frame convicts it.

use std::collections::VecDeque;
use std::path::Path;

use lsm_io::{Error, Result, SharedFs};

use crate::frame::{FrameKind, FrameRef};
use crate::frame_reader::{FrameReader, FrameStep};
use crate::log::SegmentInfo;
use crate::segment::segment_path;

/// What a replay does about damage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RecoveryMode {
    /// What may have been torn by a crash is cut and reported; damage refuses.
    #[default]
    Default,
    /// Anything that is not the plain end of the log refuses.
    Absolute,
    /// Damage is skipped, and what was lost is reported.
    Salvage,
}

/// Bytes that were left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The segment.
    pub segment: u64,
    /// Where in it the first bytes left out begin.
    pub offset: u64,
    /// From there to the end of the last whole frame that was left out.
    pub bytes_discarded: u64,
    /// Whole frames left out.
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
    /// The sequence number after the last frame; `None` if there was none.
    pub next_seq_no: Option<u64>,
    /// The log ends with the frame of a clean close.
    pub closed_cleanly: bool,
    /// The newest mark in the part that was replayed.
    pub mark: Option<Mark>,
    /// Frames visited that lie above the newest mark.
    pub unmarked_frames: u64,
    /// Bytes of their payloads.
    pub unmarked_bytes: u64,
    /// Where the log was cut, if it does not simply end.
    pub cut: Option<Cut>,
    /// What salvage skipped.
    pub losses: Vec<Cut>,
}

/// Reads the log of a directory from segment `from` on and hands every frame to `visit`, in order:
/// batches, notes and users' own kinds. `first_seq_no` is the sequence number with which that
/// segment begins, where the caller knows it: without it, damage to the very first frame may pass
/// for a torn end.
///
/// # Errors
/// `Corrupt`, with file and offset, if acknowledged data is damaged (except in
/// [`RecoveryMode::Salvage`]); `Io`; and whatever `visit` returns.
pub fn replay(
    fs: &SharedFs,
    dir: &Path,
    database_id: u128,
    from: u64,
    first_seq_no: Option<u64>,
    mode: RecoveryMode,
    visit: &mut dyn FnMut(FrameRef<'_>) -> Result<()>,
) -> Result<LogReport> {
    let report = LogReport { next_seq_no: None, ..LogReport::default() };
    let expected = first_seq_no;
    let mut replay =
        Replay { fs, dir, database_id, mode, visit, report, expected, unmarked: VecDeque::new() };
    let mut number = from;
    while let Some(next) = replay.segment(number)? {
        number = next;
    }
    replay.report.unmarked_frames = replay.unmarked.len() as u64;
    replay.report.unmarked_bytes = replay.unmarked.iter().map(|(_, bytes)| bytes).sum();
    Ok(replay.report)
}

struct Replay<'a> {
    fs: &'a SharedFs,
    dir: &'a Path,
    database_id: u128,
    mode: RecoveryMode,
    visit: &'a mut dyn FnMut(FrameRef<'_>) -> Result<()>,
    report: LogReport,
    /// The sequence number with which the next frame must begin, if known.
    expected: Option<u64>,
    /// (sequence number after it, payload bytes) of each frame above the newest mark.
    unmarked: VecDeque<(u64, u64)>,
}

/// Where a segment stopped being a log.
struct Break {
    offset: u64,
    reason: &'static str,
    /// Zeros follow, as they do at the end of every log.
    is_blank: bool,
}

/// What lies behind a break.
#[derive(Default)]
struct Remains {
    frames: u64,
    end: u64,
    durable_through: Option<u64>,
}

impl Replay<'_> {
    /// Reads one segment; returns the next one's number, if the log goes on.
    fn segment(&mut self, number: u64) -> Result<Option<u64>> {
        let path = segment_path(self.dir, number);
        let mut reader = match self.open(number) {
            Ok(reader) => reader,
            Err(error) if self.mode == RecoveryMode::Salvage && error.is_corrupt() => {
                self.lose(number, 0, error.to_string());
                return self.following(number);
            }
            Err(error) => return Err(error),
        };
        let first_seq_no = self.expected.unwrap_or(0);
        let bytes = reader.file_bytes();
        self.report.segments.push(SegmentInfo {
            number,
            bytes,
            first_seq_no,
            end_seq_no: first_seq_no,
        });
        loop {
            let broken = match reader.next()? {
                FrameStep::End { offset } => {
                    Break { offset, reason: "the log ends here", is_blank: true }
                }
                FrameStep::Bad { offset, reason } => Break { offset, reason, is_blank: false },
                FrameStep::Frame(frame) => {
                    let offset = frame.offset;
                    match self.frame(frame)? {
                        Taken::Yes => continue,
                        Taken::Closed(0) => {
                            self.report.closed_cleanly = true;
                            // A clean close is durable: it marks all that stands before it.
                            self.unmarked.clear();
                            return Ok(None);
                        }
                        Taken::Closed(next) => return Ok(Some(next)),
                        Taken::No(reason) => Break { offset, reason, is_blank: false },
                    }
                }
            };
            self.judge(&path, number, &broken, &mut reader)?;
            if self.mode != RecoveryMode::Salvage {
                return Ok(None);
            }
            // Salvage goes on with the next whole frame, here or in a later segment.
            if !reader.find(broken.offset + 1, |_| true)? {
                return self.following(number);
            }
            self.expected = None;
        }
    }

    fn open(&self, number: u64) -> Result<FrameReader> {
        let path = segment_path(self.dir, number);
        let reader = FrameReader::open(self.fs, &path, Some(self.database_id));
        let reader = reader.map_err(|error| match error.io_kind() {
            Some(std::io::ErrorKind::NotFound) => {
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

    fn frame(&mut self, frame: FrameRef<'_>) -> Result<Taken> {
        if self.expected.is_some_and(|expected| frame.seq_start != expected) {
            return Ok(Taken::No("the frame's sequence number does not follow the last one's"));
        }
        match frame.kind {
            FrameKind::IDENTITY => return Ok(Taken::No("a second identity frame")),
            FrameKind::MARK => {
                let Some((durable_through, extra)) = frame.payload.split_first_chunk() else {
                    return Ok(Taken::No("a mark that is too short"));
                };
                let durable_through = u64::from_le_bytes(*durable_through);
                self.unmarked.retain(|(end, _)| *end > durable_through + 1);
                self.report.mark = Some(Mark { durable_through, extra: extra.to_vec() });
                self.expected = Some(frame.seq_end());
                return Ok(Taken::Yes);
            }
            FrameKind::CLOSE => {
                let Ok(next) = frame.payload.try_into() else {
                    return Ok(Taken::No("a closing frame of another length"));
                };
                return Ok(Taken::Closed(u64::from_le_bytes(next)));
            }
            _ => {}
        }
        let (end, bytes, count) = (frame.seq_end(), frame.payload.len() as u64, frame.count);
        (self.visit)(frame)?;
        self.expected = Some(end);
        self.unmarked.push_back((end, bytes));
        self.report.frames += 1;
        self.report.records += u64::from(count);
        self.report.bytes += bytes;
        self.report.next_seq_no = Some(end);
        if let Some(segment) = self.report.segments.last_mut() {
            segment.end_seq_no = end;
        }
        Ok(Taken::Yes)
    }

    /// Decides whether the log ends at a break, or is damaged there.
    fn judge(
        &mut self,
        path: &Path,
        number: u64,
        broken: &Break,
        reader: &mut FrameReader,
    ) -> Result<()> {
        let mut remains = Remains::default();
        remains.search(reader, broken.offset + 1)?;
        let mut end = remains.end.max(broken.offset);
        for later in self.later_segments(number)? {
            // A segment that cannot be opened was not finished, and tells nothing.
            let Ok(mut reader) = self.open(later) else { continue };
            let before = remains.frames;
            let start = reader.offset();
            remains.search(&mut reader, start)?;
            if remains.frames == before {
                continue;
            }
            end = end.max(broken.offset);
        }
        let is_damage = match (remains.durable_through, self.expected) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(durable_through), Some(expected)) => durable_through >= expected,
        };
        let cut = Cut {
            segment: number,
            offset: broken.offset,
            bytes_discarded: end - broken.offset,
            frames_discarded: remains.frames,
            reason: broken.reason.to_owned(),
        };
        match self.mode {
            RecoveryMode::Salvage if is_damage => self.report.losses.push(cut),
            _ if is_damage => {
                let reason = format!("{}, where acknowledged data should be", broken.reason);
                return Err(Error::corrupt(path, broken.offset, reason));
            }
            RecoveryMode::Absolute if !broken.is_blank || remains.frames > 0 => {
                return Err(Error::corrupt(path, broken.offset, broken.reason));
            }
            _ if broken.is_blank && remains.frames == 0 => {}
            _ => self.report.cut = Some(cut),
        }
        Ok(())
    }

    fn lose(&mut self, segment: u64, offset: u64, reason: String) {
        self.expected = None;
        let (bytes_discarded, frames_discarded) = (0, 0);
        self.report.losses.push(Cut { segment, offset, bytes_discarded, frames_discarded, reason });
    }

    /// For salvage: the segment to go on with after this one.
    fn following(&mut self, number: u64) -> Result<Option<u64>> {
        self.expected = None;
        Ok(self.later_segments(number)?.into_iter().next())
    }

    /// Numbers of the segments in the directory above `number`, ascending.
    fn later_segments(&self, number: u64) -> Result<Vec<u64>> {
        let numbers = self.fs.list(self.dir)?.into_iter().filter_map(|entry| {
            let stem = entry.name.strip_suffix(".log")?;
            stem.parse::<u64>().ok().filter(|found| *found > number)
        });
        let mut numbers: Vec<u64> = numbers.collect();
        numbers.sort_unstable();
        Ok(numbers)
    }
}

enum Taken {
    Yes,
    /// The segment ends; the next one's number, or 0.
    Closed(u64),
    /// The frame is whole but does not belong here.
    No(&'static str),
}

impl Remains {
    /// Counts the whole frames of a file from `from` on, wherever they stand, and notes the newest
    /// mark among them.
    fn search(&mut self, reader: &mut FrameReader, from: u64) -> Result<()> {
        let mut from = from;
        while reader.find(from, |_| true)? {
            loop {
                match reader.next()? {
                    FrameStep::Frame(frame) => {
                        self.frames += u64::from(frame.kind != FrameKind::MARK);
                        if frame.kind == FrameKind::MARK
                            && let Some(bytes) = frame.payload.first_chunk()
                        {
                            let told = Some(u64::from_le_bytes(*bytes));
                            self.durable_through = self.durable_through.max(told);
                        }
                        self.end = reader.offset();
                    }
                    FrameStep::End { offset } | FrameStep::Bad { offset, .. } => {
                        from = offset + 1;
                        break;
                    }
                }
            }
        }
        Ok(())
    }
}
