//! How far the one order of writes has come, and who waits for it to come further.
//!
//! Three positions describe the log: *appended* (in its buffer), *durable* (on the disk) and
//! *visible* (seen by reads); a fourth, *written*, says what is with the operating system.
//!
//! ```text
//!   appended ──────────────────────────────────────────────►  in the log's buffer
//!   written  ────────────────────────────────────►            with the operating system
//!   durable  ──────────────────────────────►                  on the disk
//!   visible  ──────────────────────────────►                  seen by reads, acknowledged
//! ```
//!
//! Invariant: `visible` stops before the first commit whose asked durability is not reached, so
//! what a reader saw never disappears. Durable before visible, visible before acknowledged.
//!
//! Here are the positions, and how a commit takes its place among them. What moves them on, a round of
//! writing and syncing, is in `commit/round.rs`; who waits for it, and who leads it, in
//! `commit/queue.rs`.
//!
//! A commit that does not wait for the disk is stored into the mapped log and visible at once,
//! without a leader, unless something before it is still on its way; then it joins the round.

mod close;
mod followers;
mod hold;
mod queue;
mod round;

use std::collections::VecDeque;
use std::sync::Arc;

use lsm_entry::SeqNo;
use lsm_io::SharedStores;
use lsm_wal::{Log, PreparedSegment, SegmentInfo};

use crate::background::Bell;
use crate::error::{Error, Result};
use crate::histogram::Histogram;
use crate::options::Durability;
use crate::pace::Pace;
use crate::poison::Poison;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Mutex, MutexGuard};

pub(crate) use followers::Followers;
pub(crate) use hold::Hold;

use queue::Queue;

/// What is under the write mutex: the log, and the commits whose durability is not reached yet.
#[derive(Debug)]
pub(crate) struct Order {
    /// `None` in a database opened read-only, which is never written, and before the beginning.
    log: Option<Log>,
    unmet: VecDeque<Unmet>,
    /// The durable position that the newest mark in the log tells.
    marked: SeqNo,
    /// About how much memtables have grown since they were last weighed, in bytes.
    pub(crate) unweighed_bytes: u64,
}

#[derive(Debug)]
struct Unmet {
    through: SeqNo,
    need: Durability,
}

/// The positions, the write mutex and the queue of those who wait.
#[derive(Debug)]
pub(crate) struct Commit {
    order: Mutex<Order>,
    appended: AtomicU64,
    written: AtomicU64,
    durable: AtomicU64,
    visible: AtomicU64,
    /// The commit that must not become visible yet; 0: none. Changed under the write mutex.
    held: AtomicU64,
    /// Had by whoever holds a commit back.
    holding: Mutex<()>,
    /// The newest sequence number that somebody wants durable.
    wanted_durable: AtomicU64,
    /// The last manifest edit and the database time, told by the next mark.
    manifest_edit: AtomicU64,
    database_time_ms: AtomicU64,
    queue: Mutex<Queue>,
    pace: Pace,
    /// Leads when only tasks wait.
    log_thread: Bell,
    poison: Arc<Poison>,
    pub(crate) followers: Followers,
    /// Rounds of writing and syncing so far, and how many of them synced.
    pub(crate) rounds: AtomicU64,
    pub(crate) syncs: AtomicU64,
    pub(crate) log_bytes: AtomicU64,
    /// Length of the segments that a replay would read. Whoever looks waits for no writer, and no
    /// writer has to wake it.
    segments_bytes: AtomicU64,
    /// How long the syncs took.
    pub(crate) sync_times: Histogram,
}

impl Order {
    /// The log of a writable database.
    pub(crate) fn log(&mut self) -> &mut Log {
        self.log.as_mut().expect("only a writable database that has begun is written")
    }

    /// The segments that a replay would read: none before the beginning.
    pub(crate) fn segments(&self) -> &[SegmentInfo] {
        self.log.as_ref().map_or(&[], Log::segments)
    }

    fn segments_bytes(&self) -> u64 {
        self.segments().iter().map(|segment| segment.bytes).sum()
    }

    /// Takes `through` as the newest commit, to become visible once `need` is reached.
    fn note_commit(&mut self, through: SeqNo, need: Durability) {
        match self.unmet.back_mut() {
            // A weaker commit behind another becomes visible with it or after it; only the
            // strongest need of neighbours that arrive together has to be remembered apart.
            Some(last) if last.need == need => last.through = through,
            _ => self.unmet.push_back(Unmet { through, need }),
        }
    }
}

impl Commit {
    /// Starts after `last_seq_no`, everything up to which is durable.
    pub(crate) fn new(
        log: Option<Log>,
        last_seq_no: SeqNo,
        database_time_ms: u64,
        log_thread: Bell,
        poison: Arc<Poison>,
    ) -> Self {
        let order = Order { log, unmet: VecDeque::new(), marked: last_seq_no, unweighed_bytes: 0 };
        let segments_bytes = order.segments_bytes();
        Self {
            order: Mutex::new(order),
            appended: AtomicU64::new(last_seq_no),
            written: AtomicU64::new(last_seq_no),
            durable: AtomicU64::new(last_seq_no),
            visible: AtomicU64::new(last_seq_no),
            held: AtomicU64::new(0),
            holding: Mutex::default(),
            wanted_durable: AtomicU64::new(0),
            manifest_edit: AtomicU64::new(0),
            database_time_ms: AtomicU64::new(database_time_ms),
            queue: Mutex::default(),
            pace: Pace::default(),
            log_thread,
            poison,
            followers: Followers::default(),
            rounds: AtomicU64::new(0),
            syncs: AtomicU64::new(0),
            log_bytes: AtomicU64::new(0),
            segments_bytes: AtomicU64::new(segments_bytes),
            sync_times: Histogram::default(),
        }
    }

    /// From here on there is a log, which is empty.
    pub(crate) fn begin(&self, log: Log) {
        let mut order = self.lock_order();
        order.log = Some(log);
        self.note_segments(&order);
    }

    /// The log has got another segment, or lost one.
    pub(crate) fn note_segments(&self, order: &Order) {
        self.segments_bytes.store(order.segments_bytes(), Ordering::Relaxed);
    }

    /// Length of the segments that a replay would read; 0 before the beginning.
    pub(crate) fn segments_bytes(&self) -> u64 {
        self.segments_bytes.load(Ordering::Relaxed)
    }

    /// The write mutex. Held at memory speed only, but for a log segment that could not be
    /// prepared ahead.
    pub(crate) fn lock_order(&self) -> MutexGuard<'_, Order> {
        self.order.lock().expect("no writer panicked under the write mutex")
    }

    /// The write mutex, if nobody holds it.
    pub(crate) fn try_lock_order(&self) -> Option<MutexGuard<'_, Order>> {
        self.order.try_lock().ok()
    }

    #[inline]
    pub(crate) fn visible(&self) -> SeqNo {
        self.visible.load(Ordering::Acquire)
    }

    pub(crate) fn durable(&self) -> SeqNo {
        self.durable.load(Ordering::Acquire)
    }

    pub(crate) fn appended(&self) -> SeqNo {
        self.appended.load(Ordering::Acquire)
    }

    /// Why the database takes no writes any more, if so.
    pub(crate) fn poison(&self) -> Option<&Error> {
        self.poison.get()
    }

    /// Makes the database read-only until it is reopened: something that must not be retried failed.
    pub(crate) fn set_poison(&self, cause: &Error) {
        self.poison.set(cause);
        self.wake_all();
    }

    /// What a failure below means for the database: a failed sync of the directory is final.
    pub(crate) fn judge(&self, error: lsm_io::Error) -> Error {
        let is_final = error.is_failed_dir_sync();
        let error = Error::from(error);
        if is_final {
            self.set_poison(&error);
        }
        error
    }

    /// What a database opened read-only shows from now on, and how much of it is known to be on disk.
    pub(crate) fn show_through(&self, through: SeqNo, durable: SeqNo) {
        for position in [&self.appended, &self.written, &self.visible] {
            position.fetch_max(through, Ordering::AcqRel);
        }
        self.durable.fetch_max(durable, Ordering::AcqRel);
    }

    pub(crate) fn note_manifest_edit(&self, edit: u64) {
        self.manifest_edit.fetch_max(edit, Ordering::AcqRel);
    }

    /// The last edit of the manifest that is durable.
    pub(crate) fn manifest_edit(&self) -> u64 {
        self.manifest_edit.load(Ordering::Acquire)
    }

    /// Database time: never goes back, never behind the clock.
    pub(crate) fn database_time_ms(&self, now_ms: u64) -> u64 {
        self.database_time_ms.fetch_max(now_ms, Ordering::AcqRel).max(now_ms)
    }

    /// A commit has been appended and inserted: from now on it may become visible. One that need not
    /// wait for the disk is stored, if the log can, and visible at once.
    pub(crate) fn ordered(
        &self,
        order: &mut Order,
        through: SeqNo,
        need: Durability,
    ) -> Result<()> {
        self.appended.store(through, Ordering::Release);
        let store = |order: &mut Order| {
            let stored = self.store(order, through);
            stored.map_err(|error| self.poison_with(error).with_unknown_outcome())
        };
        let is_met = match need {
            Durability::Disk => {
                self.wanted_durable.fetch_max(through, Ordering::AcqRel);
                self.pace.arrive();
                false
            }
            Durability::Os => store(order)?,
            Durability::Memory => {
                store(order)?;
                true
            }
        };
        if is_met && order.unmet.is_empty() {
            self.visible.store(through, Ordering::Release);
        } else {
            order.note_commit(through, need);
        }
        Ok(())
    }

    /// Goes on in another segment of the log; returns what the ended one was mapped as.
    pub(crate) fn rotate(
        &self,
        order: &mut Order,
        segment: PreparedSegment,
    ) -> Result<Option<SharedStores>> {
        let retired = order.log().rotate(segment).map_err(|error| self.poison_with(error))?;
        self.note_segments(order);
        Ok(retired)
    }

    /// A failure after which nothing may be written any more.
    fn poison_with(&self, error: lsm_io::Error) -> Error {
        let error = Error::from(error);
        self.set_poison(&error);
        error
    }

    /// Stores what the log has buffered; `false` if somebody has to write it.
    fn store(&self, order: &mut Order, through: SeqNo) -> lsm_io::Result<bool> {
        let bytes = order.log().buffered_bytes() as u64;
        let is_stored = order.log().store()?;
        if is_stored {
            self.log_bytes.fetch_add(bytes, Ordering::Relaxed);
            self.written.fetch_max(through, Ordering::AcqRel);
        }
        Ok(is_stored)
    }
}
