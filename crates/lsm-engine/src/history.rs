//! Log segments that no recovery needs any more, kept for those who follow what is written.
//!
//! Oldest first they are given up: when they are more, or older, than the options allow, and when the
//! disk is full. A segment that a crash left unfinished is history up to where recovery found its end; what it
//! holds behind that bears numbers which the next segment gives out anew, and is passed over.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Mutex, MutexGuard};

use lsm_entry::SeqNo;
use lsm_io::{DirEntry, SharedFs};
use lsm_manifest::{FileKind, ManifestState, file_name, parse_file_name};
use lsm_wal::{FrameKind, FrameReader, FrameRef, FrameStep, SegmentInfo};

use crate::error::Error;
use crate::replay::time_of_mark;
use crate::shared::Shared;
use crate::waiter::Goal;

/// A mark tells the time; one is looked for in so many bytes at a segment's beginning.
pub(crate) const MARK_WITHIN_BYTES: u64 = 256 << 10;

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Retention {
    pub(crate) bytes_max: u64,
    /// `None`: however old.
    pub(crate) age_ms_max: Option<u64>,
}

/// A kept segment, and since when nothing but followers needs it.
#[derive(Clone, Copy, Debug)]
struct Kept {
    segment: SegmentInfo,
    since_ms: u64,
}

#[derive(Debug)]
pub(crate) struct History(Mutex<State>);

#[derive(Debug)]
struct State {
    retention: Retention,
    /// Oldest first.
    kept: VecDeque<Kept>,
    /// How many follow what is written, in this process.
    followers: usize,
}

impl State {
    /// Takes out what is more, or older, than is to be kept.
    fn give_up(&mut self, now_ms: u64) -> Vec<SegmentInfo> {
        let Retention { bytes_max, age_ms_max } = self.retention;
        let mut bytes: u64 = self.kept.iter().map(|kept| kept.segment.bytes).sum();
        let mut given_up = Vec::new();
        while let Some(oldest) = self.kept.front() {
            let age_ms = now_ms.saturating_sub(oldest.since_ms);
            if bytes <= bytes_max && age_ms_max.is_none_or(|age_ms_max| age_ms < age_ms_max) {
                break;
            }
            bytes -= oldest.segment.bytes;
            given_up.extend(self.kept.pop_front().map(|kept| kept.segment));
        }
        given_up
    }
}

impl History {
    pub(crate) fn new(retention: Retention) -> Self {
        Self(Mutex::new(State { retention, kept: VecDeque::new(), followers: 0 }))
    }

    /// Takes in what an open finds at `now_ms`: the segments of the log that was replayed, and older
    /// ones. Nobody has noted since when they are kept: they are as old as the beginning of the segment
    /// behind them, as far as a mark there tells its time.
    pub(crate) fn find(
        &mut self,
        fs: &SharedFs,
        dir: &Path,
        listing: &[DirEntry],
        state: &ManifestState,
        replayed: Vec<SegmentInfo>,
        now_ms: u64,
    ) {
        if self.lock().retention.bytes_max == 0 {
            return;
        }
        let mut older: Vec<(u64, &DirEntry)> = listing
            .iter()
            .map(|entry| (parse_file_name(&entry.name), entry))
            .filter(|((kind, number), _)| *kind == FileKind::Log && *number < state.log_number)
            .map(|((_, number), entry)| (number, entry))
            .collect();
        older.sort_unstable_by_key(|(number, _)| std::cmp::Reverse(*number));
        let begins = |path: &Path| Beginning::read(fs, path, state.database_id);
        let mut kept = VecDeque::new();
        let mut since_ms = now_ms;
        for segment in replayed.into_iter().rev() {
            kept.push_front(Kept { segment, since_ms });
            let began = begins(&dir.join(file_name(FileKind::Log, segment.number)));
            since_ms = began.map_or(since_ms, |began| began.before(since_ms));
        }
        let first = kept.front().map(|first| first.segment.first_seq_no);
        let mut end_seq_no = first.unwrap_or(state.log_first_seq_no);
        for (number, entry) in older {
            let Some(began) = begins(&dir.join(&entry.name)) else { break };
            let first_seq_no = began.seq_no;
            if first_seq_no > end_seq_no {
                break;
            }
            if first_seq_no < end_seq_no {
                let bytes = entry.bytes;
                let segment = SegmentInfo { number, bytes, first_seq_no, end_seq_no };
                kept.push_front(Kept { segment, since_ms });
                since_ms = began.before(since_ms);
                end_seq_no = first_seq_no;
            }
        }
        let mut state = self.lock();
        state.kept = kept;
        drop(state.give_up(now_ms));
    }

    /// Whether a segment is kept.
    pub(crate) fn holds(&self, number: u64) -> bool {
        self.lock().kept.iter().any(|kept| kept.segment.number == number)
    }

    /// The segments that are kept, oldest first.
    pub(crate) fn segments(&self) -> Vec<SegmentInfo> {
        self.lock().kept.iter().map(|kept| kept.segment).collect()
    }

    /// Somebody begins to follow what is written.
    pub(crate) fn begin_following(&self) {
        self.lock().followers += 1;
    }

    /// Somebody has ceased to.
    pub(crate) fn end_following(&self) {
        self.lock().followers -= 1;
    }

    /// Whether anybody follows what is written, or may want to later.
    pub(crate) fn is_followed(&self) -> bool {
        let state = self.lock();
        state.followers > 0 || state.retention.bytes_max > 0
    }

    /// Keeps segments that were released at `now_ms`; returns those that are given up for them.
    fn keep(&self, released: Vec<SegmentInfo>, now_ms: u64) -> Vec<SegmentInfo> {
        let mut state = self.lock();
        let released = released.into_iter().map(|segment| Kept { segment, since_ms: now_ms });
        state.kept.extend(released);
        state.give_up(now_ms)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no holder panicked")
    }
}

/// How a segment begins that holds any frame.
struct Beginning {
    seq_no: SeqNo,
    /// Database time then, if a mark tells it.
    time_ms: Option<u64>,
}

impl Beginning {
    fn read(fs: &SharedFs, path: &Path, database_id: u128) -> Option<Self> {
        let mut reader = FrameReader::open(fs, path, Some(database_id)).ok()?;
        let Ok(FrameStep::Frame(first)) = reader.next() else { return None };
        let (seq_no, mut time_ms) = (first.seq_start, marked_ms(&first));
        while time_ms.is_none()
            && reader.offset() < MARK_WITHIN_BYTES
            && let Ok(FrameStep::Frame(frame)) = reader.next()
        {
            time_ms = marked_ms(&frame);
        }
        Some(Self { seq_no, time_ms })
    }

    /// The time of the beginning; `later_ms` if it is not known.
    fn before(&self, later_ms: u64) -> u64 {
        self.time_ms.map_or(later_ms, |time_ms| time_ms.min(later_ms))
    }
}

/// The database time on a mark.
pub(crate) fn marked_ms(frame: &FrameRef<'_>) -> Option<u64> {
    let extra = frame.payload.get(size_of::<u64>()..).filter(|_| frame.kind == FrameKind::MARK);
    time_of_mark(extra?)
}

/// The sequence number with which a segment begins, if it holds any frame.
fn first_seq_no(fs: &SharedFs, path: &Path, database_id: u128) -> Option<SeqNo> {
    let mut reader = FrameReader::open(fs, path, Some(database_id)).ok()?;
    match reader.next() {
        Ok(FrameStep::Frame(frame)) => Some(frame.seq_start),
        _ => None,
    }
}

impl Shared {
    /// Makes the log durable as far as everything is in tables: what was flushed while nobody followed is
    /// on the disk, so it is to be told.
    pub(crate) fn sync_log_of_tables(&self) -> Result<(), Error> {
        let first = self.first_unflushed(&mut self.commit.lock_order(), &[]);
        self.commit.reach(Goal::Durable(first.saturating_sub(1)))
    }

    /// Lets go of the log below `seq_no`, as far as followers may not want it.
    pub(crate) fn release_log_before(&self, seq_no: SeqNo) {
        let given_up = {
            let mut order = self.commit.lock_order();
            let released = order.log().release_before(seq_no);
            self.commit.note_segments(&order);
            // Order: under the write mutex, so that whoever looks finds a segment in one or the other.
            self.history.keep(released, self.database_time_ms())
        };
        self.release_segments(given_up);
    }

    /// Gives up what has become too old for followers; `false` if there was nothing. Background work.
    pub(crate) fn give_up_old_history(&self) -> bool {
        let mut history = self.history.lock();
        if history.retention.age_ms_max.is_none() || history.kept.is_empty() {
            return false;
        }
        let given_up = history.give_up(self.database_time_ms());
        drop(history);
        let did_work = !given_up.is_empty();
        self.release_segments(given_up);
        did_work
    }

    /// From now on this much is kept.
    pub(crate) fn set_retention(&self, retention: Retention) {
        let given_up = {
            let mut history = self.history.lock();
            history.retention = retention;
            history.give_up(self.database_time_ms())
        };
        self.release_segments(given_up);
    }

    /// Gives up all history, for room on the disk.
    pub(crate) fn give_up_history(&self) {
        let given_up = std::mem::take(&mut self.history.lock().kept);
        self.release_segments(given_up.into_iter().map(|kept| kept.segment).collect());
    }

    /// The oldest number that a segment holds, kept ones among them.
    pub(crate) fn oldest_logged(&self) -> SeqNo {
        let order = self.commit.lock_order();
        let history = self.history.lock();
        let kept = history.kept.front().map(|kept| kept.segment.first_seq_no);
        let needed = order.segments().first().map(|segment| segment.first_seq_no);
        kept.into_iter().chain(needed).min().unwrap_or(SeqNo::MAX)
    }

    /// The segment that holds `seq_no`, or the first number that some segment does.
    pub(crate) fn segment_of(&self, seq_no: SeqNo) -> Result<SegmentInfo, SeqNo> {
        if self.is_read_only {
            return self.listed_segment_of(seq_no);
        }
        let mut order = self.commit.lock_order();
        let history = self.history.lock();
        let kept = history.kept.iter().map(|kept| &kept.segment);
        let log = order.segments();
        let current = log.last().copied();
        let mut oldest = None;
        for segment in kept.chain(log) {
            let is_current = current.is_some_and(|current| current.number == segment.number);
            if segment.first_seq_no <= seq_no && (is_current || seq_no < segment.end_seq_no) {
                return Ok(*segment);
            }
            if segment.first_seq_no > seq_no {
                oldest.get_or_insert(segment.first_seq_no);
            }
        }
        Err(oldest.unwrap_or_else(|| order.log().next_seq_no()))
    }

    /// The same by the directory alone, for whoever reads beside the writer.
    fn listed_segment_of(&self, seq_no: SeqNo) -> Result<SegmentInfo, SeqNo> {
        let mut segments: Vec<(SeqNo, u64, u64)> = Vec::new();
        for entry in self.fs.list(&self.dir).unwrap_or_default() {
            if let (FileKind::Log, number) = parse_file_name(&entry.name)
                && let Some(first) =
                    first_seq_no(&self.fs, &self.dir.join(&entry.name), self.database_id)
            {
                segments.push((first, number, entry.bytes));
            }
        }
        segments.sort_unstable();
        let next = segments.partition_point(|(first, ..)| *first <= seq_no);
        let end_seq_no = segments.get(next).map_or(SeqNo::MAX, |(first, ..)| *first);
        match next.checked_sub(1).and_then(|index| segments.get(index)) {
            Some(&(first_seq_no, number, bytes)) => {
                Ok(SegmentInfo { number, bytes, first_seq_no, end_seq_no })
            }
            // A log that was just begun holds nothing yet.
            None if segments.is_empty() && seq_no > self.commit.durable() => {
                let (number, bytes) = (0, 0);
                Ok(SegmentInfo { number, bytes, first_seq_no: seq_no, end_seq_no: SeqNo::MAX })
            }
            None => Err(segments.first().map_or(self.commit.durable() + 1, |(first, ..)| *first)),
        }
    }
}
