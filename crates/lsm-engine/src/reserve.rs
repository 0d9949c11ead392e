//! The reserve: room on the disk that is kept for when there is none.
//!
//! A store that only appends cannot free space on a full disk: a delete needs room in the log, and a
//! merge needs room for its result before its inputs go. So a file `RESERVE` holds some, and is
//! removed when something fails for want of room. From then on the disk counts as *full*, until there
//! is room for the reserve again, and for a segment of the log on top:
//!
//! - batches of deletes alone are accepted as long as the log finds room, everything else is refused
//!   with `NoSpace` before it has a place in the order;
//! - what is kept for speed alone, the spare segments, goes; segments are small;
//! - memtables are flushed, oldest first, for the log that they keep is larger than their tables;
//! - a flush or a merge that fails is tried again when there is more room than before, or when
//!   another one has changed the tables. Nothing is tried in a circle.
//!
//! The reserve is a little larger than the log, for that much may have to be flushed, and than one
//! memtable at most, for they are flushed one at a time. It grows with the log, in the background. An
//! open that finds no room gives it up too, and starts with a full disk.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lsm_io::{OpenMode, SharedFile};
use lsm_manifest::{FileKind, file_name};

use crate::batch::WriteBatch;
use crate::env::Spawn;
use crate::error::{Error, ErrorKind, Result};
use crate::events::{Event, Work};
use crate::limiter::{LimitedFile, Priority};
use crate::segments::FIRST_SEGMENT_BYTES;
use crate::shared::Shared;

/// Kept on top of the log's length: room for a small segment, for what tables have beside their
/// entries, and for edits.
const OVERHEAD_BYTES: u64 = 128 << 10;
/// The reserve of an empty database.
pub(crate) const RESERVE_BYTES_MIN: u64 = FIRST_SEGMENT_BYTES + OVERHEAD_BYTES;
/// It grows by so much at a time, so that nobody waits for it.
const GROWTH_BYTES_MAX: u64 = 4 << 20;
/// Bytes of zeros written at once.
const ZEROS_BYTES: usize = 256 << 10;
/// Work that has failed for want of room is tried again when there is so much more.
const WORTH_TRYING_BYTES: u64 = 64 << 10;
/// How long to wait, where the system says that there is room and then gives none: somebody was
/// quicker, or is about to make more. Twice as long after each attempt that fails, for it may be a
/// quota, of which the system says nothing when it is asked.
const REST_MIN: Duration = Duration::from_millis(10);
const REST_MAX: Duration = Duration::from_secs(1);

/// How much is kept, and whether the disk is full.
#[derive(Debug)]
pub(crate) struct Reserve {
    /// Length of the file; 0: there is none.
    bytes: AtomicU64,
    is_full: AtomicBool,
    full: Mutex<Full>,
}

/// What is known of a full disk.
#[derive(Debug, Default)]
struct Full {
    /// What failed first.
    cause: Option<Error>,
    /// What failed since, and in which circumstances.
    failures: HashMap<Work, Circumstances>,
    rest: Option<Rest>,
}

/// A wait before room is asked for once more.
#[derive(Clone, Copy, Debug)]
struct Rest {
    until: Instant,
    length: Duration,
}

impl Rest {
    fn after(before: Option<Self>) -> Self {
        let length = before.map_or(REST_MIN, |rest| (2 * rest.length).min(REST_MAX));
        Self { until: Instant::now() + length, length }
    }
}

#[derive(Clone, Copy, Debug)]
struct Circumstances {
    room_bytes: u64,
    /// The last edit of the manifest.
    edit: u64,
}

impl Reserve {
    /// The reserve that an open has found.
    pub(crate) fn new(bytes: u64) -> Self {
        Self {
            bytes: AtomicU64::new(bytes),
            is_full: AtomicBool::new(false),
            full: Mutex::default(),
        }
    }

    /// Length of the file; 0: there is none.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.is_full.load(Ordering::Relaxed)
    }
}

impl Shared {
    /// Fails unless a batch may be written with the room there is. One load, as long as the disk is
    /// not full.
    ///
    /// # Errors
    /// `NoSpace`; nothing has been written then.
    #[inline]
    pub(crate) fn check_room(&self, batch: &WriteBatch) -> Result<()> {
        if !self.reserve.is_full() || batch.only_deletes() || self.regain_room() {
            return Ok(());
        }
        // Nothing to say: somebody else has found room meanwhile.
        self.no_room().map_or(Ok(()), Err)
    }

    /// Why nothing but deletes is accepted, if so.
    pub(crate) fn no_room(&self) -> Option<Error> {
        if !self.reserve.is_full() {
            return None;
        }
        let (needed, room) = (self.needed_bytes(), self.room_bytes());
        let full = self.reserve.full.lock().expect("no holder panicked");
        let cause = full.cause.as_ref()?;
        let message = format!(
            "the disk is full, and only deletes are accepted until {needed} bytes are free \
             ({room} are): {cause}"
        );
        Some(Error::new(ErrorKind::NoSpace, message))
    }

    /// Does `work`, and once more if it was the first to find the disk full: there may be room now.
    pub(crate) fn with_reserve<R>(&self, mut work: impl FnMut() -> Result<R>) -> Result<R> {
        match work() {
            Err(error) if self.note_no_space(&error) => work(),
            done => done,
        }
    }

    /// If `error` says that there is no room, and nobody has said so before, the disk is full from
    /// now on, and what was kept in reserve is given up: `true`, for another attempt may succeed.
    pub(crate) fn note_no_space(&self, error: &Error) -> bool {
        if error.kind() != ErrorKind::NoSpace || self.reserve.is_full() {
            return false;
        }
        let mut full = self.reserve.full.lock().expect("no holder panicked");
        if !self.reserve.is_full.swap(true, Ordering::AcqRel) {
            *full = Full { cause: Some(error.clone()), ..Full::default() };
            self.remove_reserve();
            self.give_up_spare_segments();
            self.give_up_history();
            self.events.tell(|| Event::NoSpace { error: error.clone() });
            self.background.wake_log();
        }
        true
    }

    /// Background work that needs room: left alone, with `false`, where it has failed for want of it
    /// and nothing has changed since.
    pub(crate) fn within_room(
        &self,
        kind: Work,
        work: impl FnOnce() -> Result<bool>,
    ) -> Result<bool> {
        if self.reserve.is_full() && self.is_hopeless(kind) {
            return Ok(false);
        }
        let result = work();
        if let Err(error) = &result
            && error.kind() == ErrorKind::NoSpace
        {
            // What is given up now is more room than it had.
            let circumstances = self.circumstances();
            self.note_no_space(error);
            let mut full = self.reserve.full.lock().expect("no holder panicked");
            full.failures.insert(kind, circumstances);
        }
        result
    }

    fn is_hopeless(&self, kind: Work) -> bool {
        let now = self.circumstances();
        let full = self.reserve.full.lock().expect("no holder panicked");
        full.failures.get(&kind).is_some_and(|before| {
            now.edit == before.edit
                && now.room_bytes < before.room_bytes.saturating_add(WORTH_TRYING_BYTES)
        })
    }

    /// Whether background work waits for room.
    pub(crate) fn is_waiting_for_room(&self) -> bool {
        self.reserve.is_full()
            && [Work::Flush, Work::Compaction].into_iter().any(|kind| self.is_hopeless(kind))
    }

    fn circumstances(&self) -> Circumstances {
        Circumstances { room_bytes: self.room_bytes(), edit: self.commit.manifest_edit() }
    }

    /// Bytes that may be written before the disk is full; any number if nobody can tell.
    pub(crate) fn room_bytes(&self) -> u64 {
        self.fs.available_bytes(&self.dir).unwrap_or(u64::MAX)
    }

    /// Keeps the reserve as large as it should be, or sees whether there is room for it again.
    /// Background work; best effort, for a database without a reserve is whole all the same.
    pub(crate) fn keep_reserve(&self) -> bool {
        if self.reserve.is_full() {
            if self.regain_room() {
                return true;
            }
            self.seal_for_room();
            return false;
        }
        let wanted = self.wanted_bytes();
        let Ok(_full) = self.reserve.full.try_lock() else { return false };
        let held = self.reserve.bytes();
        if held > self.options.reserve_bytes_max() {
            self.remove_reserve();
        } else if held < wanted && !self.reserve.is_full() {
            let growth = (wanted - held).min(GROWTH_BYTES_MAX);
            // Kept from nobody who needs it now.
            if self.room_bytes() >= 2 * growth + self.next_segment_bytes() {
                let _ = self.grow_reserve(held + growth);
            }
        }
        false
    }

    /// Ends the time of the full disk, if there is room again.
    fn regain_room(&self) -> bool {
        let (wanted, needed) = (self.wanted_bytes(), self.needed_bytes());
        // Who comes second waits for what the first one finds: to refuse a write while room is being
        // taken for it would be wrong.
        let mut full = self.reserve.full.lock().expect("no holder panicked");
        if !self.reserve.is_full() {
            return true;
        }
        let is_resting = full.rest.is_some_and(|rest| Instant::now() < rest.until);
        if is_resting || self.commit.poison().is_some() || self.room_bytes() < needed {
            return false;
        }
        // Order: the room is taken before a write relies on it.
        if self.grow_reserve(wanted).and_then(|()| self.prepare_next()).is_err() {
            self.remove_reserve();
            let has_time = self.options.env.spawn == Spawn::Threads;
            full.rest = has_time.then(|| Rest::after(full.rest));
            return false;
        }
        *full = Full::default();
        self.reserve.is_full.store(false, Ordering::Release);
        self.events.tell(|| Event::SpaceRegained);
        self.background.wake_flush();
        self.background.wake_compaction();
        true
    }

    /// How large the reserve should be.
    fn wanted_bytes(&self) -> u64 {
        let for_the_log = self.commit.segments_bytes() + OVERHEAD_BYTES;
        for_the_log.max(RESERVE_BYTES_MIN).min(self.options.reserve_bytes_max())
    }

    /// How much room ends the time of the full disk.
    fn needed_bytes(&self) -> u64 {
        self.wanted_bytes() + self.usual_segment_bytes()
    }

    /// Brings the file to `bytes`, with real zeros: a hole would reserve nothing.
    fn grow_reserve(&self, bytes: u64) -> Result<()> {
        let held = self.reserve.bytes();
        if bytes <= held {
            return Ok(());
        }
        let path = self.reserve_path();
        let mode = if held > 0 { OpenMode::ReadWrite } else { OpenMode::CreateNew };
        let file = self.fs.open(&path, mode)?;
        let limiter = Arc::clone(&self.limiter);
        let file: SharedFile = Arc::new(LimitedFile::new(file, limiter, Priority::Compaction));
        let zeros = vec![0; ZEROS_BYTES];
        let mut end = held;
        while end < bytes {
            let chunk = zeros.len().min(usize::try_from(bytes - end).unwrap_or(ZEROS_BYTES));
            if let Err(error) = file.write_at(end, &zeros[..chunk]) {
                // Part of it may have been written: nobody knows how much is held.
                self.remove_reserve();
                return Err(error.into());
            }
            end += chunk as u64;
        }
        self.reserve.bytes.store(bytes, Ordering::Relaxed);
        Ok(())
    }

    fn remove_reserve(&self) {
        let removed = self.fs.remove_file(&self.reserve_path());
        if !removed.is_err_and(|error| error.io_kind() != Some(std::io::ErrorKind::NotFound)) {
            self.reserve.bytes.store(0, Ordering::Relaxed);
        }
    }

    fn reserve_path(&self) -> PathBuf {
        self.dir.join(file_name(FileKind::Reserve, 0))
    }

    /// Lets what is in memory become tables, so that the log which holds it too can go.
    fn seal_for_room(&self) {
        for core in self.live_keyspaces() {
            let _order = self.commit.lock_order();
            if core.view.load().sealed.is_empty() {
                self.seal(&core);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rest_is_twice_the_one_before_up_to_a_second() {
        let rests =
            std::iter::successors(Some(Rest::after(None)), |&rest| Some(Rest::after(Some(rest))));
        let lengths: Vec<_> = rests.map(|rest| rest.length.as_millis()).take(9).collect();
        assert_eq!(lengths, [10, 20, 40, 80, 160, 320, 640, 1000, 1000]);
    }
}
