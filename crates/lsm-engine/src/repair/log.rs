//! What is in the log's segments, and which sequence numbers are missing between them.

use std::collections::BTreeSet;
use std::path::Path;

use lsm_entry::{Record, Records, SeqNo, ValueKind};
use lsm_io::{Result, SharedFs};
use lsm_manifest::{FileKind, file_name};
use lsm_wal::{
    Cut, FRAME_HEADER_BYTES, FrameKind, FrameReader, FrameRef, FrameStep, LogReport, RecoveryMode,
    replay,
};

use crate::batch::DEFAULT_KEYSPACE;
use crate::verify::{Damage, Files};

/// Where a replay begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Beginning {
    pub(super) segment: u64,
    /// With which sequence number, where that is known.
    pub(super) seq_no: Option<SeqNo>,
}

/// Sequence numbers that are in no frame.
#[derive(Clone, Debug)]
pub(super) struct LogGap {
    pub(super) first: SeqNo,
    /// `None`: nobody knows how far the log went.
    pub(super) last: Option<SeqNo>,
    pub(super) file: String,
    pub(super) reason: String,
}

/// What the segments of a directory hold.
#[derive(Clone, Debug, Default)]
pub(super) struct FoundLog {
    /// The log's pieces, each read from its beginning to where it ends.
    pub(super) beginnings: Vec<Beginning>,
    pub(super) gaps: Vec<LogGap>,
    /// Whole frames that hold no batch, by segment and offset.
    bad_frames: BTreeSet<(u64, u64)>,
    pub(super) first_seq_no: Option<SeqNo>,
    /// The sequence number after the last frame.
    pub(super) next_seq_no: Option<SeqNo>,
    /// Keyspaces that batches name.
    pub(super) keyspaces: BTreeSet<u32>,
    /// Those among them to which merge operands were written.
    pub(super) with_operands: BTreeSet<u32>,
    /// The newest manifest edit that a mark knows of.
    pub(super) known_edit: u64,
    pub(super) database_time_ms: u64,
    pub(super) batches: u64,
    is_closed: bool,
}

/// Numbers of the segments of this database, ascending.
pub(super) fn segments(fs: &SharedFs, dir: &Path, numbers: &[u64], database_id: u128) -> Vec<u64> {
    let is_ours = |number: &&u64| {
        let path = dir.join(file_name(FileKind::Log, **number));
        FrameReader::open(fs, &path, Some(database_id))
            .is_ok_and(|reader| reader.identity().file_number == **number)
    };
    numbers.iter().filter(is_ours).copied().collect()
}

impl FoundLog {
    /// Reads the log from `first` on, and whatever segments of `segments` come behind its end.
    pub(super) fn read(
        files: &Files<'_>,
        database_id: u128,
        first: Option<Beginning>,
        segments: &[u64],
        damage: &mut Vec<Damage>,
    ) -> Result<Self> {
        let mut log = Self::default();
        let mut expected = first.and_then(|first| first.seq_no);
        let lowest = segments.first().map(|&segment| Beginning { segment, seq_no: None });
        let mut next = first.or(lowest);
        let mut tail: Option<Cut> = None;
        while let Some(beginning) = next {
            let mut last_place = (0, 0);
            let report = replay(
                files.fs,
                files.dir,
                database_id,
                beginning.segment,
                beginning.seq_no,
                RecoveryMode::Salvage,
                &mut |frame| {
                    last_place = (frame.segment, frame.offset);
                    log.take(files, &frame, &mut expected, damage);
                    Ok(())
                },
            )?;
            log.beginnings.push(beginning);
            let cut = log.note_cuts(files, &report, last_place, damage)?;
            // One that was prepared ahead and never used says nothing of where the log ends.
            let is_spare =
                log.beginnings.len() > 1 && report.next_seq_no.is_none() && cut.is_none();
            if !is_spare {
                log.note_marks(&report);
                tail = cut;
            }
            let read = report.segments.last().map_or(beginning.segment, |segment| segment.number);
            let read = read.max(beginning.segment);
            let following = segments.iter().find(|&&segment| segment > read);
            next = following.map(|&segment| Beginning { segment, seq_no: None });
        }
        if let Some(cut) = tail {
            log.gaps.push(LogGap {
                first: log.next_seq_no.or(expected).unwrap_or(1),
                last: None,
                file: file_name(FileKind::Log, cut.segment),
                reason: cut.reason,
            });
        }
        Ok(log)
    }

    /// Whether a frame is to be taken over, and was in the survey.
    pub(super) fn is_good(&self, frame: &FrameRef<'_>) -> bool {
        !self.bad_frames.contains(&(frame.segment, frame.offset))
    }

    /// Whether the log has all frames from this sequence number on, as far as it goes.
    pub(super) fn is_whole_behind(&self, seq_no: SeqNo) -> bool {
        self.gaps.iter().all(|gap| gap.last.is_none_or(|last| last < seq_no))
    }

    /// Whether the log is closed, so that nothing can be missing at its end.
    pub(super) fn is_closed(&self) -> bool {
        self.is_closed
    }

    fn take(
        &mut self,
        files: &Files<'_>,
        frame: &FrameRef<'_>,
        expected: &mut Option<SeqNo>,
        damage: &mut Vec<Damage>,
    ) {
        let file = file_name(FileKind::Log, frame.segment);
        if expected.is_some_and(|expected| frame.seq_start < expected) {
            // An older piece under a newer number holds nothing that is not known.
            self.bad_frames.insert((frame.segment, frame.offset));
            return;
        }
        if let Some(first) = expected.filter(|expected| frame.seq_start > *expected) {
            let (last, reason) = (Some(frame.seq_start - 1), "frames are missing before it".into());
            self.gaps.push(LogGap { first, last, file: file.clone(), reason });
        }
        *expected = Some(frame.seq_end());
        if let Err(error) = files.check_frame(frame) {
            let (path, offset) = (files.path(FileKind::Log, frame.segment), frame.offset);
            let reason = error.to_string();
            damage.push(Damage { path, offset, reason: reason.clone() });
            let (first, last) = (frame.seq_start, Some(frame.seq_end() - 1));
            self.gaps.push(LogGap { first, last, file, reason });
            self.bad_frames.insert((frame.segment, frame.offset));
            return;
        }
        self.first_seq_no.get_or_insert(frame.seq_start);
        self.next_seq_no = Some(frame.seq_end());
        if frame.kind == FrameKind::BATCH {
            self.batches += 1;
            let mut current = DEFAULT_KEYSPACE;
            for record in Records::new(frame.payload).flatten() {
                match record {
                    Record::Keyspace(id) => current = id,
                    Record::Entry { tag, .. } => {
                        self.keyspaces.insert(current);
                        if tag.kind() == ValueKind::Merge {
                            self.with_operands.insert(current);
                        }
                    }
                }
            }
        }
    }

    fn note_marks(&mut self, report: &LogReport) {
        self.is_closed = report.closed_cleanly;
        let number =
            |bytes: &[u8]| bytes.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        if let Some(mark) = &report.mark {
            self.known_edit = self.known_edit.max(number(&mark.extra));
            let time_ms = number(mark.extra.get(8..).unwrap_or_default());
            self.database_time_ms = self.database_time_ms.max(time_ms);
        }
        self.next_seq_no = self.next_seq_no.max(report.next_seq_no);
    }

    /// Notes what the replay passed over; returns where the log breaks off, if it does.
    fn note_cuts(
        &mut self,
        files: &Files<'_>,
        report: &LogReport,
        last_place: (u64, u64),
        damage: &mut Vec<Damage>,
    ) -> Result<Option<Cut>> {
        for cut in report.losses.iter().chain(&report.cut) {
            damage.push(Damage {
                path: files.path(FileKind::Log, cut.segment),
                offset: cut.offset,
                reason: cut.reason.clone(),
            });
        }
        if report.closed_cleanly {
            return Ok(None);
        }
        let is_behind = |cut: &&Cut| (cut.segment, cut.offset) > last_place;
        let cut = report.losses.iter().chain(&report.cut).rfind(is_behind).cloned();
        match (cut, report.segments.last()) {
            (None, Some(last)) => ends_short(files, last.number),
            (cut, _) => Ok(cut),
        }
    }
}

/// Zeros follow whatever was written last: without them the end of the file is not that of the log.
fn ends_short(files: &Files<'_>, segment: u64) -> Result<Option<Cut>> {
    let mut reader = FrameReader::open(files.fs, &files.path(FileKind::Log, segment), None)?;
    loop {
        match reader.next()? {
            FrameStep::Frame(_) => {}
            FrameStep::End { offset } | FrameStep::Bad { offset, .. } => {
                let is_short = reader.file_bytes() - offset < FRAME_HEADER_BYTES as u64;
                return Ok(is_short.then(|| Cut {
                    segment,
                    offset,
                    bytes_discarded: 0,
                    frames_discarded: 0,
                    reason: "the file ends where the log should go on".into(),
                }));
            }
        }
    }
}
