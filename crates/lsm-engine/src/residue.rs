//! What the log holds of what was deleted, where a keyspace has a `tombstone_age_limit_ms`.
//!
//! The log is one for all keyspaces, and a segment goes only when nothing in it is needed any more. So as
//! long as one keyspace has a limit:
//!
//! 1. A segment is written to for a quarter of the limit; then the log goes on in the next one.
//! 2. What any keyspace holds in memory is flushed within half of the limit (`background.rs`), so that
//!    nothing needs an ended segment for longer.
//! 3. A segment that nothing needs is removed. None is kept to be written over, for its old frames stay in
//!    it until new ones reach them.
//! 4. A close ends the segment as well, and removes it.
//!
//! Who asks for a history of changes has asked for what was deleted to be kept: that is left alone, and
//! told by the metric.
//!
//! What was deleted in an earlier life nobody noted. So an open takes every old segment that is still there
//! for one that holds it, from when the segment began.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Mutex;

use lsm_compaction::CompactionPolicy;
use lsm_entry::SeqNo;
use lsm_io::SharedFs;
use lsm_manifest::{FileKind, ManifestState, file_name};
use lsm_memtable::Memtable;
use lsm_wal::{FrameKind, FrameReader, FrameStep, SegmentInfo};

use crate::error::Result;
use crate::history::{History, MARK_WITHIN_BYTES, marked_ms};
use crate::keyspace::KeyspaceCore;
use crate::options::KeyspaceOptions;
use crate::shared::Shared;

/// Flushes whose deletes are known apart; those after them count as old as the last of these.
const FLUSHES_MAX: usize = 1024;

/// Since when the log has held what was deleted.
#[derive(Debug, Default)]
pub(crate) struct Residue {
    /// Flushed memtables with deletes, oldest first.
    flushed: Mutex<VecDeque<Flushed>>,
    /// The segment that is written to, and since when it has been known to hold anything.
    written: Mutex<Option<Written>>,
}

/// Deletes that were flushed: what they delete lies before them in the log.
#[derive(Clone, Copy, Debug)]
struct Flushed {
    last_seq_no: SeqNo,
    flushed_ms: u64,
}

#[derive(Clone, Copy, Debug)]
struct Written {
    segment: u64,
    since_ms: u64,
}

impl Residue {
    /// What may have been deleted in segments of an earlier life that an open leaves: `unneeded` ones, which
    /// go as soon as there is time, and those of the history. Where no mark in them tells a time, they are
    /// taken for as old as anything that the manifest knew a time of.
    pub(crate) fn inherited(
        fs: &SharedFs,
        dir: &Path,
        state: &ManifestState,
        found_ms: u64,
        unneeded: &[SegmentInfo],
        history: &History,
    ) -> Self {
        let tables = state.keyspaces.iter().flat_map(|keyspace| keyspace.version.tables());
        let known_ms = tables.map(|(_, record)| record.created_ms).fold(found_ms, u64::min);
        let mut segments: Vec<SegmentInfo> = [unneeded, &history.segments()].concat();
        segments.sort_unstable_by_key(|segment| segment.number);
        let mut flushed = VecDeque::new();
        let mut flushed_ms = u64::MAX;
        for segment in segments.iter().rev() {
            let path = dir.join(file_name(FileKind::Log, segment.number));
            let Some(began_ms) = first_batch_ms(fs, &path, state.database_id) else { continue };
            // Older segments are no younger, whatever a clock that was set back had them say.
            flushed_ms = flushed_ms.min(began_ms.unwrap_or(known_ms));
            // What is not needed counts as long as any such segment is there.
            let last_seq_no = segment.end_seq_no.saturating_sub(1);
            flushed.push_front(Flushed { last_seq_no, flushed_ms });
        }
        Self { flushed: Mutex::new(flushed), ..Self::default() }
    }

    fn note(&self, flushed: Flushed) {
        let mut known = self.flushed.lock().expect("no holder panicked");
        if known.len() == FLUSHES_MAX
            && let Some(last) = known.back_mut()
        {
            last.last_seq_no = flushed.last_seq_no;
        } else {
            known.push_back(flushed);
        }
    }

    fn is_empty(&self) -> bool {
        self.flushed.lock().expect("no holder panicked").is_empty()
    }

    /// The oldest of them, where the log holds nothing below `seq_no` any more.
    fn oldest_ms(&self, seq_no: SeqNo) -> Option<u64> {
        let mut known = self.flushed.lock().expect("no holder panicked");
        while known.front().is_some_and(|flushed| flushed.last_seq_no < seq_no) {
            known.pop_front();
        }
        known.front().map(|flushed| flushed.flushed_ms)
    }

    /// How long `segment` has held anything, as far as is known.
    fn written_for(&self, segment: u64, now_ms: u64) -> u64 {
        let mut written = self.written.lock().expect("no holder panicked");
        let since = written.filter(|written| written.segment == segment);
        let since = since.unwrap_or(Written { segment, since_ms: now_ms });
        *written = Some(since);
        now_ms.saturating_sub(since.since_ms)
    }
}

/// When the first batch in a segment was written, as far as the mark next to it tells; `None`: there is no
/// batch in it.
fn first_batch_ms(fs: &SharedFs, path: &Path, database_id: u128) -> Option<Option<u64>> {
    let mut reader = FrameReader::open(fs, path, Some(database_id)).ok()?;
    let (mut time_ms, mut holds_batch) = (None, false);
    while !(holds_batch && time_ms.is_some())
        && reader.offset() < MARK_WITHIN_BYTES
        && let Ok(FrameStep::Frame(frame)) = reader.next()
    {
        time_ms = time_ms.or(marked_ms(&frame));
        holds_batch |= frame.kind == FrameKind::BATCH;
    }
    holds_batch.then_some(time_ms)
}

impl KeyspaceOptions {
    /// [`tombstone_age_limit_ms`](Self::tombstone_age_limit_ms), where the policy keeps it: what a FIFO
    /// keyspace holds goes whole, in its time.
    pub(crate) fn age_limit_ms(&self) -> Option<u64> {
        let is_fifo = matches!(self.compaction, CompactionPolicy::Fifo(_));
        self.tombstone_age_limit_ms.filter(|_| !is_fifo)
    }
}

impl Shared {
    /// The shortest limit of any keyspace.
    pub(crate) fn shortest_age_limit_ms(&self) -> Option<u64> {
        self.live_keyspaces().iter().filter_map(|core| core.options().age_limit_ms()).min()
    }

    /// A memtable has become a table.
    pub(crate) fn note_flushed_deletes(&self, core: &KeyspaceCore, memtable: &Memtable) {
        let has_deletes = memtable.tombstones() > 0 || memtable.range_deletes().is_some();
        if has_deletes
            && core.options().age_limit_ms().is_some()
            && let Some((_, last_seq_no)) = memtable.seq_no_range()
        {
            self.residue.note(Flushed { last_seq_no, flushed_ms: self.database_time_ms() });
        }
    }

    /// Since when the log has held what was deleted from a keyspace with a limit; `None`: it does not.
    pub(crate) fn oldest_residue_ms(&self) -> Option<u64> {
        // Nobody who only looks waits for a writer, where no keyspace has a limit.
        if self.residue.is_empty() {
            return None;
        }
        let first_seq_no = if self.has_old_segments() { 0 } else { self.oldest_logged() };
        self.residue.oldest_ms(first_seq_no)
    }

    /// Steps 1 and 3; `false` if nothing was due. Background work.
    pub(crate) fn part_with_old_log(&self) -> Result<bool> {
        let Some(limit_ms) = self.shortest_age_limit_ms() else { return Ok(false) };
        self.give_up_spare_segments();
        let has_ended = self.end_old_segment(limit_ms / 4)?;
        Ok(self.release_flushed_log()? || has_ended)
    }

    /// Ends the segment that is written to, if it has held anything for so long.
    fn end_old_segment(&self, age_ms: u64) -> Result<bool> {
        let Some(segment) = self.segment_in_use() else { return Ok(false) };
        let written_for_ms = self.residue.written_for(segment, self.database_time_ms());
        if written_for_ms < age_ms || self.reserve.is_full() {
            return Ok(false);
        }
        self.prepare_next()?;
        let mut order = self.commit.lock_order();
        // Order: taken under the write mutex, so that segments are used in the order of their numbers.
        let next = self.take_first_segment()?;
        self.rotate(&mut order, next)?;
        drop(order);
        // No write may come for a long time to take the closing frame along, without which the segment
        // cannot go.
        self.commit.try_write_out();
        Ok(true)
    }

    /// The segment that is written to, if it holds anything, or is an old one's file.
    pub(crate) fn segment_in_use(&self) -> Option<u64> {
        let mut order = self.commit.lock_order();
        let next_seq_no = order.log().next_seq_no();
        let current = order.segments().last()?;
        let is_used = current.first_seq_no < next_seq_no || self.is_recycled(current.number);
        is_used.then_some(current.number)
    }

    /// Lets go of ended segments of which everything is in tables, where no flush comes to do it.
    fn release_flushed_log(&self) -> Result<bool> {
        let is_over = || {
            let mut order = self.commit.lock_order();
            let (first_unflushed, start) = self.log_start(&mut order, &[]);
            let first = order.segments().first().map(|segment| segment.number);
            (first < start.map(|start| start.number)).then_some(first_unflushed)
        };
        if is_over().is_none() {
            return Ok(false);
        }
        let mut manifest = self.lock_manifest()?;
        let Some(first_unflushed) = is_over() else { return Ok(false) };
        // Order: the manifest names the log's new beginning before the old one goes.
        if let Some(edit) = self.log_start_edit(&manifest) {
            self.append_edit(&mut manifest, edit)?;
        }
        drop(manifest);
        self.release_log_before(first_unflushed);
        Ok(true)
    }

    /// Step 4, behind the closing frame and the last edit. Best effort: what stays behind goes with the
    /// next open.
    pub(crate) fn part_with_closed_log(&self) {
        if self.shortest_age_limit_ms().is_some() {
            self.give_up_spare_segments();
            self.release_log_before(SeqNo::MAX);
            let _ = self.tidy_segments();
        }
    }
}
