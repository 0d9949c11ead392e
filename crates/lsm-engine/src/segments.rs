//! Log segments prepared ahead of their use, and the files of old ones used again.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use lsm_io::{Identity, SharedStores};
use lsm_manifest::{FileKind, file_name};
use lsm_wal::{PreparedSegment, SegmentInfo};

use crate::commit::Order;
use crate::error::Result;
use crate::shared::Shared;

/// A segment that is to take little is this small (or as small as all others).
pub(crate) const FIRST_SEGMENT_BYTES: u64 = 256 << 10;

/// The segment in which an open database begins: small, so that a database with little in it is, and
/// long enough that whoever writes as fast as memory does not come to its end before the next one,
/// which takes some syncs, is there.
const BEGIN_SEGMENT_BYTES: u64 = 2 << 20;

/// Segments are this small while the disk is full, so that the reserve lasts for many deletes.
const SCARCE_SEGMENT_BYTES: u64 = 64 << 10;

/// The first segment of an open database, where the disk has `room_bytes` left.
pub(crate) fn first_segment_bytes(room_bytes: u64) -> u64 {
    if room_bytes > 64 * BEGIN_SEGMENT_BYTES {
        BEGIN_SEGMENT_BYTES
    } else if room_bytes > 4 * FIRST_SEGMENT_BYTES {
        FIRST_SEGMENT_BYTES
    } else {
        SCARCE_SEGMENT_BYTES
    }
}

/// Old segments kept to be written over: a file whose blocks are allocated syncs faster.
const SPARE_MAX: usize = 2;

/// Room in a segment beyond a payload: frame header, identity, mark and close frames.
const SEGMENT_OVERHEAD_BYTES: u64 = 1024;

/// Segments that wait to be used, and to be used again.
#[derive(Debug, Default)]
pub(crate) struct Segments {
    ready: Mutex<Option<PreparedSegment>>,
    spare: Mutex<Vec<PathBuf>>,
    released: Mutex<Vec<SegmentInfo>>,
    /// What ended segments were mapped as. Unmapping one takes milliseconds.
    retired: Mutex<Vec<SharedStores>>,
    /// Whether one is always to be ready: from when the first one fills up, so that a database to which
    /// little is written has no more than it needs.
    is_wanted: AtomicBool,
    last_bytes: AtomicU64,
    /// Bytes of zeros written to make segments ready.
    pub(crate) filled_bytes: AtomicU64,
    /// Segments made of the files of old ones.
    pub(crate) recycled: AtomicU64,
    /// The number of the last of them; 0: there was none.
    last_recycled: AtomicU64,
}

impl Segments {
    /// Of a database just opened, whose directory holds segments that no replay needs any more.
    pub(crate) fn with_released(released: Vec<SegmentInfo>) -> Self {
        Self { released: Mutex::new(released), ..Self::default() }
    }
}

impl Shared {
    /// A segment with room for a frame of `payload_bytes`: the one prepared ahead, or one prepared
    /// now.
    ///
    /// # Errors
    /// Those of creating a file; nothing has been written to the log then. A failed sync of the
    /// directory makes the database read-only.
    pub(crate) fn take_segment(&self, payload_bytes: usize) -> Result<PreparedSegment> {
        let needed = payload_bytes as u64 + SEGMENT_OVERHEAD_BYTES;
        self.segments.is_wanted.store(true, Ordering::Relaxed);
        // Invariant: segments are prepared one at a time, under this lock, and used in the order in
        // which they were prepared; so a later segment has a larger number. Whoever comes while one
        // is being prepared waits for that one.
        let mut ready = self.segments.ready.lock().expect("no holder panicked");
        match ready.take() {
            Some(segment) if segment.bytes() >= needed => return Ok(segment),
            Some(small) => self.discard_segment(small.number(), small.bytes()),
            None => {}
        }
        self.prepare_segment(needed.max(self.next_segment_bytes()))
    }

    /// Goes on in `segment`, and has the log's thread prepare the next one. It also unmaps the one
    /// that ends, for neither a writer nor whoever leads a round should be kept by that.
    ///
    /// # Errors
    /// Those of storing the closing frame; the database is read-only then.
    pub(crate) fn rotate(&self, order: &mut Order, segment: PreparedSegment) -> Result<()> {
        let retired = self.commit.rotate(order, segment)?;
        self.segments.retired.lock().expect("no holder panicked").extend(retired);
        self.background.wake_log();
        Ok(())
    }

    /// The segment prepared ahead, or one as small as the first.
    ///
    /// # Errors
    /// Those of [`take_segment`](Self::take_segment).
    pub(crate) fn take_first_segment(&self) -> Result<PreparedSegment> {
        let mut ready = self.segments.ready.lock().expect("no holder panicked");
        let bytes = FIRST_SEGMENT_BYTES.min(self.options.log_segment_bytes);
        ready.take().map_or_else(|| self.prepare_segment(bytes), Ok)
    }

    /// The number of the segment that was prepared ahead, if one is ready.
    pub(crate) fn ready_segment(&self) -> Option<u64> {
        let ready = self.segments.ready.lock().expect("no holder panicked");
        ready.as_ref().map(PreparedSegment::number)
    }

    /// A prepared segment will not be used: its file goes like a released one's.
    fn discard_segment(&self, number: u64, bytes: u64) {
        let info = SegmentInfo { number, bytes, first_seq_no: 0, end_seq_no: 0 };
        self.segments.released.lock().expect("no holder panicked").push(info);
    }

    /// Says that the current segment is filling up. Cheap enough for every write: the first alone wakes
    /// the log's thread, and whoever takes the segment that is ready does so again.
    pub(crate) fn want_segment(&self) {
        if !self.segments.is_wanted.swap(true, Ordering::Relaxed) {
            self.background.wake_log();
        }
    }

    /// Prepares a segment ahead, if one is wanted and none is ready. Background work.
    pub(crate) fn prepare_ahead(&self) -> Result<bool> {
        if !self.segments.is_wanted.load(Ordering::Relaxed) || self.reserve.is_full() {
            return Ok(false);
        }
        self.prepare_next()
    }

    /// Sees to it that a segment is ready; `false` if one was already.
    pub(crate) fn prepare_next(&self) -> Result<bool> {
        let mut ready = self.segments.ready.lock().expect("no holder panicked");
        let is_missing = ready.is_none();
        if is_missing {
            *ready = Some(self.prepare_segment(self.usual_segment_bytes())?);
        }
        Ok(is_missing)
    }

    /// How large the next segment is: small while the disk is full.
    pub(crate) fn next_segment_bytes(&self) -> u64 {
        if self.reserve.is_full() { SCARCE_SEGMENT_BYTES } else { self.usual_segment_bytes() }
    }

    /// Segments grow from the small one in which a database begins to their full size, each twice the
    /// last, as far as they leave most of the disk's room to others. The next one is made while the last
    /// one fills up: were it much longer, whoever writes as fast as memory would wait for the disk to
    /// take its zeros.
    pub(crate) fn usual_segment_bytes(&self) -> u64 {
        let last = self.segments.last_bytes.load(Ordering::Relaxed);
        let share = (self.room_bytes() / 8).max(FIRST_SEGMENT_BYTES);
        (last * 2).max(BEGIN_SEGMENT_BYTES).min(share).min(self.options.log_segment_bytes)
    }

    fn prepare_segment(&self, bytes: u64) -> Result<PreparedSegment> {
        let spare = {
            let mut spare = self.segments.spare.lock().expect("no holder panicked");
            if bytes <= self.options.log_segment_bytes { spare.pop() } else { None }
        };
        // One that is there already takes no room.
        let is_recycled = spare.is_some();
        let bytes = if is_recycled { self.options.log_segment_bytes } else { bytes };
        if !is_recycled {
            self.segments.filled_bytes.fetch_add(bytes, Ordering::Relaxed);
        }
        let number = self.new_file_number();
        let identity = Identity { database_id: self.database_id, file_number: number };
        let prepared =
            PreparedSegment::prepare(&self.fs, &self.dir, identity, bytes, spare.as_deref());
        let segment = prepared.map_err(|error| {
            // A file that could not be renamed is tried again by the next one.
            let is_there = |spare: &PathBuf| self.fs.exists(spare).unwrap_or(false);
            let mut spares = self.segments.spare.lock().expect("no holder panicked");
            spares.extend(spare.filter(is_there));
            self.commit.judge(error)
        })?;
        if is_recycled {
            self.segments.recycled.fetch_add(1, Ordering::Relaxed);
            self.segments.last_recycled.store(number, Ordering::Relaxed);
        }
        let full_bytes = self.options.log_segment_bytes;
        self.segments.last_bytes.fetch_max(bytes.min(full_bytes), Ordering::Relaxed);
        if !self.options.map_log {
            return Ok(segment);
        }
        Ok(segment.mapped().inspect_err(|_| self.discard_segment(number, bytes))?)
    }

    /// Takes over segments that no replay needs any more.
    pub(crate) fn release_segments(&self, released: Vec<SegmentInfo>) {
        if released.is_empty() {
            return;
        }
        self.segments.released.lock().expect("no holder panicked").extend(released);
        self.background.wake_log();
    }

    /// Whether this segment, or one prepared behind it, is made of an old one's file.
    pub(crate) fn is_recycled(&self, number: u64) -> bool {
        number <= self.segments.last_recycled.load(Ordering::Relaxed)
    }

    /// Whether there are files of segments that nothing needs.
    pub(crate) fn has_old_segments(&self) -> bool {
        let is_any =
            |paths: &Mutex<Vec<PathBuf>>| !paths.lock().expect("no holder panicked").is_empty();
        let released = self.segments.released.lock().expect("no holder panicked");
        !released.is_empty() || is_any(&self.segments.spare)
    }

    /// Removes the segments that were kept for speed.
    pub(crate) fn give_up_spare_segments(&self) {
        let mut spare = self.segments.spare.lock().expect("no holder panicked");
        // One that cannot be removed stays a spare.
        spare.retain(|path| self.fs.remove_file(path).is_err());
    }

    /// Unmaps segments that have ended, and keeps or removes the files of released ones; what cannot
    /// be removed now is tried again. Background work.
    pub(crate) fn tidy_segments(&self) -> Result<bool> {
        // Whoever rotates takes the lock, so it is free again before anything is unmapped.
        let retired = {
            let mut retired = self.segments.retired.lock().expect("no holder panicked");
            std::mem::take(&mut *retired)
        };
        drop(retired);
        let released = {
            let mut released = self.segments.released.lock().expect("no holder panicked");
            std::mem::take(&mut *released)
        };
        let mut did_work = false;
        let mut first_error = None;
        let must_go = !released.is_empty() && self.shortest_age_limit_ms().is_some();
        for segment in released {
            let path = self.dir.join(file_name(FileKind::Log, segment.number));
            let mut spare = self.segments.spare.lock().expect("no holder panicked");
            // An oversized segment is never used again.
            let is_usable = segment.bytes == self.options.log_segment_bytes && !must_go;
            if is_usable && spare.len() < SPARE_MAX && !self.reserve.is_full() {
                spare.push(path);
                did_work = true;
                continue;
            }
            drop(spare);
            match self.fs.remove_file(&path) {
                Err(error) if error.io_kind() != Some(ErrorKind::NotFound) => {
                    first_error.get_or_insert(error);
                    self.segments.released.lock().expect("no holder panicked").push(segment);
                }
                _ => did_work = true,
            }
        }
        first_error.map_or(Ok(did_work), |error| Err(error.into()))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use lsm_io::SimFs;

    use super::*;
    use crate::{Db, Durability, Env, Options, Step};

    fn open(fs: &SimFs) -> Db {
        let env = Env::simulated(fs.shared());
        let options = Options { durability: Durability::Os, env, ..Options::default() };
        Db::open_with("db", options).expect("opens")
    }

    /// Writes until the log goes on in a segment that is not there yet.
    fn fill_segment(db: &Db) {
        let before = db.shared().commit.segments_bytes();
        while db.shared().commit.segments_bytes() == before {
            db.put("key", vec![0; 64 << 10]).expect("stored");
        }
    }

    /// Lengths of the log's files, oldest first.
    fn lengths(fs: &SimFs) -> Vec<u64> {
        let is_log = |path: &Path| path.extension().is_some_and(|extension| extension == "log");
        fs.files().into_iter().filter(|(path, _)| is_log(path)).map(|(_, bytes)| bytes).collect()
    }

    #[test]
    fn segments_grow_from_the_one_in_which_a_database_begins() {
        let fs = SimFs::new(0);
        let db = open(&fs);
        assert_eq!(lengths(&fs), [BEGIN_SEGMENT_BYTES], "nothing is prepared for nobody");
        db.put("key", "value").expect("stored");
        db.step(Step::Log).expect("prepares the next one");
        fill_segment(&db);
        db.step(Step::Log).expect("prepares the next one");
        assert_eq!(lengths(&fs), [1, 1, 2].map(|times| times * BEGIN_SEGMENT_BYTES));
    }

    #[test]
    fn where_there_is_little_room_a_database_begins_small() {
        for (room, bytes) in [
            (u64::MAX, BEGIN_SEGMENT_BYTES),
            (32 * BEGIN_SEGMENT_BYTES, FIRST_SEGMENT_BYTES),
            (2 * FIRST_SEGMENT_BYTES, SCARCE_SEGMENT_BYTES),
        ] {
            assert_eq!(first_segment_bytes(room), bytes, "{room} bytes of room");
        }
    }

    #[test]
    fn the_logs_thread_unmaps_what_a_writer_has_left() {
        let db = open(&SimFs::new(0));
        let retired = || db.shared().segments.retired.lock().expect("no holder panicked").len();
        fill_segment(&db);
        assert_eq!(retired(), 1);
        // It leads a round, and would be kept by unmapping.
        db.sync().expect("synced");
        assert_eq!(retired(), 1);
        db.step(Step::Log).expect("unmaps");
        assert_eq!(retired(), 0);
    }
}
