//! What a write feels when flushes or compactions lag.

use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use lsm_compaction::{Backlog, Pressure, PressureCause, PressureLimits, pressure};

use crate::background::Step;
use crate::env::Spawn;
use crate::error::{Error, Result};
use crate::events::{Event, Events};
use crate::metrics::StallMetrics;
use crate::shared::Shared;

/// How long a stopped write relies on being told that it may go on.
const STOP_JUDGED_AGAIN: Duration = Duration::from_millis(100);
/// How long a stopped write bears with flushes or merges that fail: what was a moment's trouble is
/// over by then, and has been tried again.
const FAILURES_BORNE: Duration = Duration::from_secs(1);

const FLOW: u8 = 0;
const SLOW: u8 = 1;
const STOP: u8 = 2;

/// The present pressure, asked by every write with one load.
#[derive(Debug)]
pub(crate) struct PressureGate {
    state: AtomicU8,
    delay_ns_per_kib: AtomicU64,
    /// When the next slowed write may go, in nanoseconds after `start`: delays queue up, so that
    /// many writers together are held to the rate of one.
    next_turn_ns: AtomicU64,
    start: Instant,
    present: Mutex<Pressure>,
    eased: Condvar,
    /// What writes wait for, as a place in [`PressureCause::ALL`].
    cause: AtomicUsize,
    /// Writes held up, and for how long, by that place.
    stalled: [(AtomicU64, AtomicU64); PressureCause::ALL.len()],
}

impl PressureGate {
    pub(crate) fn new() -> Self {
        Self {
            state: AtomicU8::new(FLOW),
            delay_ns_per_kib: AtomicU64::new(0),
            next_turn_ns: AtomicU64::new(0),
            start: Instant::now(),
            present: Mutex::new(Pressure::Flow),
            eased: Condvar::new(),
            cause: AtomicUsize::new(0),
            stalled: Default::default(),
        }
    }

    pub(crate) fn present(&self) -> Pressure {
        self.present.lock().expect("no holder panicked").clone()
    }

    /// Takes what `judge` says. It judges under the lock, so that no older judgement overwrites a
    /// newer one.
    fn set(&self, judge: impl FnOnce() -> Pressure, events: &Events) {
        let mut present = self.present.lock().expect("no holder panicked");
        let pressure = judge();
        let (state, delay) = match &pressure {
            Pressure::Flow => (FLOW, 0),
            Pressure::Slow { delay_ns_per_kib, .. } => (SLOW, *delay_ns_per_kib),
            Pressure::Stop { .. } => (STOP, 0),
        };
        self.delay_ns_per_kib.store(delay, Ordering::Relaxed);
        let cause = PressureCause::ALL.iter().position(|cause| pressure.cause() == Some(*cause));
        self.cause.store(cause.unwrap_or(0), Ordering::Relaxed);
        let before = self.state.swap(state, Ordering::AcqRel);
        match (before == STOP, state == STOP) {
            (false, true) => events.tell(|| Event::Stalled { pressure: pressure.clone() }),
            (true, false) => events.tell(|| Event::Resumed),
            _ => {}
        }
        *present = pressure;
        // Nobody waits where nothing was stopped, and waking nobody is a system call as well.
        if before == STOP {
            self.eased.notify_all();
        }
    }

    /// Writes that were held up, by what they waited for.
    pub(crate) fn stalls(&self) -> [StallMetrics; PressureCause::ALL.len()] {
        std::array::from_fn(|place| {
            let (writes, ns) = &self.stalled[place];
            StallMetrics {
                cause: PressureCause::ALL[place],
                writes: writes.load(Ordering::Relaxed),
                waited: Duration::from_nanos(ns.load(Ordering::Relaxed)),
            }
        })
    }

    fn now_ns(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

impl Shared {
    /// Waits for a place in the order as long as the pressure asks.
    ///
    /// # Errors
    /// `Busy` past the deadline, and what flushes or merges fail with if they go on failing; nothing
    /// has been written then.
    #[inline]
    pub(crate) fn admit(&self, bytes: usize, deadline: Option<Instant>) -> Result<()> {
        // Work that waits for room does not get faster because writes wait for it.
        if self.pressure.state.load(Ordering::Relaxed) == FLOW || self.reserve.is_full() {
            return Ok(());
        }
        self.wait_for_turn(bytes, deadline)
    }

    #[cold]
    fn wait_for_turn(&self, bytes: usize, deadline: Option<Instant>) -> Result<()> {
        let began = Instant::now();
        let cause = self.pressure.cause.load(Ordering::Relaxed);
        let result = match self.pressure.state.load(Ordering::Acquire) {
            STOP => self.wait_until_eased(deadline),
            _ => self.wait_slowed(bytes, deadline),
        };
        let waited = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let (writes, ns) = &self.pressure.stalled[cause];
        writes.fetch_add(1, Ordering::Relaxed);
        ns.fetch_add(waited, Ordering::Relaxed);
        result
    }

    fn wait_slowed(&self, bytes: usize, deadline: Option<Instant>) -> Result<()> {
        if self.options.env.spawn != Spawn::Threads {
            return Ok(());
        }
        let gate = &self.pressure;
        let cost_ns =
            gate.delay_ns_per_kib.load(Ordering::Relaxed) * (bytes as u64).div_ceil(64) / 16;
        let now_ns = gate.now_ns();
        let patience_ns = deadline.map_or(u64::MAX, |deadline| {
            let left = deadline.saturating_duration_since(Instant::now());
            u64::try_from(left.as_nanos()).unwrap_or(u64::MAX)
        });
        // Who cannot wait for its turn does not take it.
        let turn = gate.next_turn_ns.fetch_update(Ordering::AcqRel, Ordering::Acquire, |next| {
            (next.saturating_sub(now_ns) <= patience_ns).then(|| next.max(now_ns) + cost_ns)
        });
        let wait_until = |turn_ns: u64| Duration::from_nanos(turn_ns.saturating_sub(now_ns));
        let wait = match turn {
            Ok(turn_ns) => wait_until(turn_ns),
            Err(turn_ns) => return Err(self.too_busy(wait_until(turn_ns))),
        };
        // Shorter sleeps than this cost more than they hold back; the debt stays in the turn.
        if wait >= Duration::from_micros(100) {
            std::thread::sleep(wait);
        }
        Ok(())
    }

    fn wait_until_eased(&self, deadline: Option<Instant>) -> Result<()> {
        if self.options.env.spawn != Spawn::Threads {
            return self.work_until_eased();
        }
        let gate = &self.pressure;
        let began = Instant::now();
        let mut present = gate.present.lock().expect("no holder panicked");
        while matches!(*present, Pressure::Stop { .. }) && !self.reserve.is_full() {
            self.check_writable()?;
            let patience = deadline.map_or(STOP_JUDGED_AGAIN, |deadline| {
                deadline.saturating_duration_since(Instant::now())
            });
            if patience.is_zero() {
                drop(present);
                return Err(self.too_busy(Duration::from_millis(10)));
            }
            let wait = patience.min(STOP_JUDGED_AGAIN);
            let (held, timeout) =
                gate.eased.wait_timeout(present, wait).expect("no holder panicked");
            present = held;
            if timeout.timed_out() {
                drop(present);
                self.update_pressure();
                if began.elapsed() >= FAILURES_BORNE
                    && let Some(error) = self.background.error_in_the_way()
                {
                    return Err(self.not_eased(&error));
                }
                present = gate.present.lock().expect("no holder panicked");
            }
        }
        Ok(())
    }

    /// Without threads, whoever needs room makes it.
    fn work_until_eased(&self) -> Result<()> {
        while matches!(self.pressure.present(), Pressure::Stop { .. }) && !self.reserve.is_full() {
            if !self.step(Step::Flush)? && !self.step(Step::Compact)? {
                break;
            }
        }
        Ok(())
    }

    fn too_busy(&self, retry_after: Duration) -> Error {
        let message =
            format!("no place in the order before the deadline: {}", self.pressure.present());
        Error::busy(message, Some(retry_after))
    }

    /// Waiting would not help: the work that would ease the pressure fails.
    fn not_eased(&self, error: &Error) -> Error {
        let message = format!("{}, and work on it fails: {error}", self.pressure.present());
        Error::new(error.kind(), message)
    }

    /// Judges the pressure anew. Called whenever a view changes.
    pub(crate) fn update_pressure(&self) {
        self.pressure.set(|| self.judge_pressure(), &self.events);
    }

    fn judge_pressure(&self) -> Pressure {
        let cores = self.live_keyspaces();
        let memtables = self.weigh_memtables(&cores);
        let memory_bytes = self.budget.memtable_bytes_max();
        let limits = PressureLimits {
            memtable_bytes: self.options.effective_memtable_bytes(),
            memory_bytes: (memory_bytes / 4 * 3, memory_bytes),
            ..PressureLimits::default()
        };
        let is_any_sealed = cores.iter().any(|core| !core.view.load().sealed.is_empty());
        let memtable_bytes = if is_any_sealed { memtables.active + memtables.sealed } else { 0 };
        let mut worst = Pressure::Flow;
        for core in cores {
            let view = core.view.load();
            let version = &view.tree.version;
            let traffic = self.traffic(&core, self.database_time_ms());
            let backlog = Backlog {
                sealed_memtables: view.sealed.len(),
                memtable_bytes,
                level_zero_runs: version.level(0).runs.len(),
                debt_bytes: core.options().compaction.as_policy().debt_bytes(version, traffic),
            };
            let present = pressure(&backlog, &limits.under(traffic));
            if present.is_worse_than(&worst) {
                worst = present;
            }
        }
        worst
    }
}
