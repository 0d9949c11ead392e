//! Background work: who does it, and when.
//!
//! | thread | does | woken by |
//! |---|---|---|
//! | log | begins, prepares segments, removes files, leads for tickets, keeps the time, flushes by age and by log size | a segment filling up, garbage, a ticket, a lease that is used |
//! | flush | flushes sealed memtables, oldest data first | a memtable sealed |
//! | compaction (several) | carries out plans | a new version |
//!
//! Each kind of work is a *step* that a method of `Shared` carries out whole. With
//! [`Spawn::Manual`](crate::Spawn) there are no threads: the owner calls the steps in an order of
//! its own choosing, which is how the simulator explores them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use lsm_manifest::{FileKind, file_name};
use lsm_memtable::Memtable;

use crate::age_limit::AgeLimit;
use crate::env::Spawn;
use crate::error::{Error, ErrorKind, Result};
use crate::events::{Event, Work};
use crate::keyspace::KeyspaceCore;
use crate::shared::Shared;
use crate::waiter::Goal;

/// How often a thread looks for work although nobody woke it.
const IDLE: Duration = Duration::from_millis(250);
/// How long a thread rests after a failure before it tries again.
const REST_AFTER_ERROR: Duration = Duration::from_millis(500);
/// Tombstones in a memtable that are worth a flush by themselves, once writing pauses.
const DENSE_TOMBSTONES: usize = 4096;

/// One kind of background work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(any(test, feature = "testing")), allow(unreachable_pub))]
pub enum Step {
    /// Keep the log: segments ahead, files removed, memtables sealed by age and log size.
    Log,
    /// Flush one sealed memtable.
    Flush,
    /// Carry out one compaction plan.
    Compact,
}

impl Step {
    fn work(self) -> Work {
        match self {
            Self::Log => Work::Log,
            Self::Flush => Work::Flush,
            Self::Compact => Work::Compaction,
        }
    }
}

/// Wakes threads: a channel with room for as many calls as there are sleepers.
#[derive(Clone, Debug)]
pub(crate) struct Bell {
    ring: Sender<()>,
    rung: Receiver<()>,
}

impl Bell {
    pub(crate) fn new(sleepers: usize) -> Self {
        let (ring, rung) = bounded(sleepers);
        Self { ring, rung }
    }

    pub(crate) fn ring(&self) {
        // Full: everybody is about to wake already.
        let _ = self.ring.try_send(());
    }
}

/// The threads of one open database.
#[derive(Debug)]
pub(crate) struct Background {
    is_stopping: AtomicBool,
    log: Bell,
    flush: Bell,
    compaction: Bell,
    garbage: Receiver<(FileKind, u64)>,
    /// Dead tables whose files could not be removed yet.
    unremoved: Mutex<Vec<(FileKind, u64)>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    failures: Mutex<Failures>,
}

/// What has failed and not succeeded since.
#[derive(Debug, Default)]
struct Failures {
    last_error: Option<(Work, Error)>,
    /// What listeners were told of each kind of work.
    told: HashMap<Work, ErrorKind>,
}

impl Background {
    /// Nothing runs before [`start`](Self::start). `log` wakes the thread that keeps the log, and
    /// `garbage` brings dead files.
    pub(crate) fn new(
        compaction_threads: usize,
        log: Bell,
        garbage: Receiver<(FileKind, u64)>,
    ) -> Self {
        Self {
            is_stopping: AtomicBool::new(false),
            log,
            flush: Bell::new(1),
            compaction: Bell::new(compaction_threads),
            garbage,
            unremoved: Mutex::default(),
            threads: Mutex::default(),
            failures: Mutex::default(),
        }
    }

    /// Starts the threads, unless the owner does the work step by step.
    ///
    /// # Errors
    /// `Io` if the system gives no more threads; those that run already are stopped.
    pub(crate) fn start(shared: &Arc<Shared>) -> Result<()> {
        if shared.options.env.spawn != Spawn::Threads {
            return Ok(());
        }
        let compaction = std::iter::repeat_n(Step::Compact, shared.options.background_threads);
        for step in [Step::Log, Step::Flush].into_iter().chain(compaction) {
            let thread = spawn(shared, step).map_err(|error| {
                shared.background.stop();
                Error::from(lsm_io::Error::io("start a thread for", &shared.dir, error))
            })?;
            shared.background.threads.lock().expect("no holder panicked").push(thread);
        }
        Ok(())
    }

    /// Stops the threads and waits for them; a merge under way is given up.
    pub(crate) fn stop(&self) {
        self.is_stopping.store(true, Ordering::Release);
        let threads = std::mem::take(&mut *self.threads.lock().expect("no holder panicked"));
        for _ in &threads {
            self.wake_log();
            self.wake_flush();
            self.wake_compaction();
        }
        let own = std::thread::current().id();
        for thread in threads {
            // The last handle may be dropped by one of these threads itself.
            if thread.thread().id() != own {
                let _ = thread.join();
            }
        }
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Acquire)
    }

    pub(crate) fn wake_log(&self) {
        self.log.ring();
    }

    pub(crate) fn wake_flush(&self) {
        self.flush.ring();
    }

    pub(crate) fn wake_compaction(&self) {
        self.compaction.ring();
    }

    /// How many files of dead tables wait to be removed.
    pub(crate) fn files_to_remove(&self) -> usize {
        // Whoever removes some holds the lock meanwhile.
        let unremoved = self.unremoved.try_lock().map_or(0, |unremoved| unremoved.len());
        unremoved + self.garbage.len()
    }

    /// The last failure of background work, if it has not succeeded since.
    pub(crate) fn last_error(&self) -> Option<Error> {
        let failures = self.failures.lock().expect("no holder panicked");
        failures.last_error.as_ref().map(|(_, error)| error.clone())
    }

    /// The same, of work that pressure waits for.
    pub(crate) fn error_in_the_way(&self) -> Option<Error> {
        let failures = self.failures.lock().expect("no holder panicked");
        let is_in_the_way =
            |(work, _): &&(Work, Error)| matches!(work, Work::Flush | Work::Compaction);
        failures.last_error.as_ref().filter(is_in_the_way).map(|(_, error)| error.clone())
    }

    fn bell(&self, step: Step) -> &Bell {
        match step {
            Step::Log => &self.log,
            Step::Flush => &self.flush,
            Step::Compact => &self.compaction,
        }
    }
}

fn spawn(shared: &Arc<Shared>, step: Step) -> std::io::Result<JoinHandle<()>> {
    let name = match step {
        Step::Log => "lsm-log",
        Step::Flush => "lsm-flush",
        Step::Compact => "lsm-compact",
    };
    let shared = Arc::clone(shared);
    let work = move || {
        // A merge that is late delays writes smoothly; one that takes their processor stops them
        // for whole time slices.
        if step == Step::Compact {
            lsm_io::give_way();
        }
        // Whoever opens a database to read a little, and closes it, leaves its files as they are.
        if step == Step::Log && !shared.beginning.is_over() {
            let _ = shared.background.bell(step).rung.recv_timeout(IDLE);
        }
        while !shared.background.is_stopping() {
            let wait = match shared.step(step) {
                Ok(true) => continue,
                Ok(false) if step == Step::Log => IDLE.min(shared.until_renewal()),
                Ok(false) => IDLE,
                Err(_) => REST_AFTER_ERROR,
            };
            let _ = shared.background.bell(step).rung.recv_timeout(wait);
        }
    };
    std::thread::Builder::new().name(name.into()).spawn(work)
}

impl Shared {
    /// Does one piece of background work; `false` if there was none to do.
    pub(crate) fn step(&self, step: Step) -> Result<bool> {
        let result = self.work(step);
        if self.options.env.spawn != Spawn::Threads {
            self.events.deliver_waiting();
        }
        result
    }

    fn work(&self, step: Step) -> Result<bool> {
        if self.commit.poison().is_some() {
            return Ok(false);
        }
        let cpu_before = lsm_io::thread_cpu_time();
        let result = match step {
            Step::Log => self.log_step(),
            Step::Flush => self.within_room(step.work(), || self.flush_step()),
            Step::Compact => self.within_room(step.work(), || self.compact_step()),
        };
        if let (Some(before), Some(now)) = (cpu_before, lsm_io::thread_cpu_time()) {
            self.stats.note_cpu_time(step.work(), now.saturating_sub(before));
        }
        if let Err(error) = &result {
            self.note_no_space(error);
        }
        self.note_outcome(step, &result);
        result
    }

    fn note_outcome(&self, step: Step, result: &Result<bool>) {
        let mut failures = self.background.failures.lock().expect("no holder panicked");
        match result {
            Ok(did_work) => {
                // There is nothing left to do where somebody else has done it; damage stays, and so
                // does work that waits for room.
                let is_done = |kind| kind != ErrorKind::Corrupt && !self.reserve.is_full();
                let told = failures.told.get(&step.work()).copied();
                if told.is_some_and(|kind| *did_work || is_done(kind)) {
                    failures.told.remove(&step.work());
                    failures.last_error.take_if(|(work, _)| *work == step.work());
                }
            }
            Err(error) if error.kind() == ErrorKind::Closed => {}
            Err(error) => {
                self.stats.background_errors.count();
                failures.last_error = Some((step.work(), error.clone()));
                let told_before = failures.told.insert(step.work(), error.kind());
                // Work that goes on failing in the same way is not told again and again.
                if told_before != Some(error.kind()) {
                    let (work, error) = (step.work(), error.clone());
                    self.events.tell(|| Event::BackgroundError { work, error });
                }
            }
        }
    }

    fn log_step(&self) -> Result<bool> {
        self.begin()?;
        if self.commit.needs_leader() {
            self.commit.reach(Goal::Visible(self.commit.appended()))?;
        }
        let mut did_work = self.prepare_ahead()?;
        self.prepare_memtables(Memtable::prepare_entries);
        did_work |= self.give_up_old_history();
        did_work |= self.part_with_old_log()?;
        did_work |= self.tidy_segments()?;
        did_work |= self.remove_garbage()?;
        did_work |= self.keep_time()?;
        self.snapshots.meet(self.database_time_ms());
        if self.rest.look(self.commit.appended(), self.database_time_ms()) {
            self.background.wake_compaction();
            self.budget.spare.release();
        }
        self.seal_by_age();
        self.seal_by_log_size();
        did_work |= self.keep_reserve();
        Ok(did_work)
    }

    /// Makes memory ready for what is written next, unless writing pauses: spare memory is given back then.
    pub(crate) fn prepare_memtables(&self, prepare: impl Fn(&Memtable) -> bool) {
        if self.rest.is_pause(self.commit.appended(), self.database_time_ms()) {
            return;
        }
        for core in self.live_keyspaces() {
            prepare(&core.view.load().active);
        }
    }

    /// Removes dead files. One that cannot be removed is tried again later.
    fn remove_garbage(&self) -> Result<bool> {
        let mut unremoved = self.background.unremoved.lock().expect("no holder panicked");
        unremoved.extend(self.background.garbage.try_iter());
        let before = unremoved.len();
        let mut first_error = None;
        let path = |kind, number| self.dir.join(file_name(kind, number));
        unremoved.retain(|&(kind, number)| match self.fs.remove_file(&path(kind, number)) {
            Ok(()) => false,
            Err(error) => {
                let is_gone = error.io_kind() == Some(std::io::ErrorKind::NotFound);
                if !is_gone {
                    first_error.get_or_insert(error);
                }
                !is_gone
            }
        });
        match first_error {
            Some(error) => Err(error.into()),
            None => Ok(before > unremoved.len()),
        }
    }

    /// Seals memtables that have held their first entry for longer than `flush_interval_ms`, or half of
    /// what any keyspace's tombstones are given, or so many tombstones that scans step over little else,
    /// once one has, or writing pauses; and wakes who merges where tombstones have become too old.
    fn seal_by_age(&self) {
        let is_at_rest = self.rest.is_pause(self.commit.appended(), self.database_time_ms());
        // What is in memory needs the log, and that may hold what was deleted anywhere.
        let log_ms = self.shortest_age_limit_ms().map(|limit_ms| limit_ms / 2);
        for core in self.live_keyspaces() {
            let view = core.view.load_full();
            let limit = AgeLimit::of(&core.options(), &view.tree.version);
            if limit.is_exceeded(&view.tree, self.database_time_ms()) {
                self.background.wake_compaction();
            }
            let is_swamp = core.is_swamp.swap(false, Ordering::Relaxed);
            if view.active.is_empty() {
                continue;
            }
            let is_dense = view.active.tombstones() * 4 >= view.active.entries();
            let has_many = view.active.tombstones() >= DENSE_TOMBSTONES;
            let is_due = is_dense && (is_swamp || has_many && is_at_rest);
            let interval_ms = self.options.flush_interval_ms.into_iter().chain(log_ms).min();
            if is_due || interval_ms.is_some_and(|ms| self.is_older(&core, ms)) {
                let _order = self.commit.lock_order();
                self.seal(&core);
            }
        }
    }

    /// Whether the active memtable has held its first entry for so long.
    fn is_older(&self, core: &KeyspaceCore, interval_ms: u64) -> bool {
        let now_ms = self.database_time_ms();
        let since_ms = core.active_since_ms.load(Ordering::Relaxed);
        if since_ms == 0 {
            core.active_since_ms.store(now_ms, Ordering::Relaxed);
        }
        since_ms > 0 && now_ms.saturating_sub(since_ms) >= interval_ms
    }

    /// Seals the memtable that keeps the oldest segment alive once the log has grown too large, so
    /// that a quiet keyspace cannot pin it for ever.
    fn seal_by_log_size(&self) {
        if self.commit.segments_bytes() <= self.options.log_bytes_max {
            return;
        }
        let _order = self.commit.lock_order();
        let oldest = self.live_keyspaces().into_iter().filter_map(|core| {
            let (first, _) = core.view.load().unflushed()?;
            Some((first, core))
        });
        // If the oldest entries are sealed already, the flush is late, and sealing more does not
        // make it faster.
        if let Some((_, core)) = oldest.min_by_key(|(first, _)| *first)
            && core.view.load().sealed.is_empty()
        {
            self.seal(&core);
        }
    }
}

#[cfg(test)]
mod tests {
    use lsm_io::SimFs;

    use super::*;
    use crate::{Db, Durability, Env, Options};

    #[test]
    fn a_segment_that_fills_up_wakes_the_logs_thread_until_the_next_one_is_ready() {
        let env = Env::simulated(SimFs::new(0).shared());
        let options = Options { durability: Durability::Os, env, ..Options::default() };
        let db = Db::open_with("db", options).expect("opens");
        let is_woken = || db.shared().background.log.rung.try_recv().is_ok();
        // The first segment is small.
        let write = || db.put("key", vec![0; 64 << 10]).expect("stored");
        while !is_woken() {
            write();
        }
        while db.step(Step::Log).expect("prepares the next one") {}
        write();
        assert!(!is_woken(), "one is ready");
        let segments_bytes = || db.shared().commit.segments_bytes();
        let before = segments_bytes();
        while segments_bytes() == before {
            write();
        }
        assert!(is_woken(), "it is used, and one more is wanted");
    }
}
