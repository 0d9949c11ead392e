//! Stand-ins for what loom does not bring, and the loop that explores a model. Only in a build with
//! `--cfg loom`.
//!
//! Each stand-in promises exactly what the original's documentation does: what was stored with
//! release is seen whole by whoever loads it with acquire, and an older value may be seen instead.

use std::fmt;
use std::sync::Arc;

use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Explores a model exhaustively, or up to `preemptions` involuntary switches of thread an
/// execution, and prints how many executions that were. `LOOM_MAX_PREEMPTIONS` overrides it.
///
/// # Panics
/// If an execution panics, blocks for ever, or reads what another thread writes unsynchronised.
pub fn explore(name: &str, preemptions: Option<usize>, model: impl Fn() + Send + Sync + 'static) {
    let executions = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let counted = Arc::clone(&executions);
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(preemptions);
    builder.max_branches = 20_000;
    let model = Arc::new(model);
    builder.check(move || {
        counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        // On a thread of its own, for loom's first one has little stack: 1 MiB, in words.
        let model = Arc::clone(&model);
        let thread = loom::thread::Builder::new().stack_size(1 << 17).spawn(move || model());
        thread.expect("loom can spawn").join().expect("the model holds");
    });
    println!("model {name}: executions={}", executions.load(std::sync::atomic::Ordering::Relaxed));
}

/// Stands in for `arc_swap::ArcSwap`: all values it ever had, and which is the newest.
#[derive(Debug)]
pub struct ArcSwap<T> {
    newest: AtomicUsize,
    values: std::sync::Mutex<Vec<Arc<T>>>,
}

impl<T> ArcSwap<T> {
    /// Holds `value`.
    pub fn from_pointee(value: T) -> Self {
        let values = std::sync::Mutex::new(vec![Arc::new(value)]);
        Self { newest: AtomicUsize::new(0), values }
    }

    fn value(&self, index: usize) -> Arc<T> {
        Arc::clone(&self.values.lock().expect("no holder panicked")[index])
    }

    fn push(&self, value: Arc<T>) -> usize {
        let mut values = self.values.lock().expect("no holder panicked");
        values.push(value);
        values.len() - 1
    }

    /// The value that it holds.
    pub fn load(&self) -> Guard<Arc<T>> {
        Guard(self.load_full())
    }

    /// The value that it holds.
    pub fn load_full(&self) -> Arc<T> {
        self.value(self.newest.load(Ordering::Acquire))
    }

    /// Holds `value` from now on.
    pub fn store(&self, value: Arc<T>) {
        self.newest.swap(self.push(value), Ordering::AcqRel);
    }

    /// Holds what `change` makes of the value, which nobody has changed meanwhile.
    pub fn rcu(&self, mut change: impl FnMut(&Arc<T>) -> T) {
        let mut seen = self.newest.load(Ordering::Acquire);
        loop {
            let made = self.push(Arc::new(change(&self.value(seen))));
            match self.newest.compare_exchange(seen, made, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return,
                Err(newest) => seen = newest,
            }
        }
    }
}

/// Stands in for `arc_swap::Guard`.
#[derive(Debug)]
pub struct Guard<T>(T);

impl<T> Guard<T> {
    /// What was loaded.
    pub fn into_inner(guard: Self) -> T {
        guard.0
    }
}

impl<T> std::ops::Deref for Guard<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// Stands in for `std::sync::OnceLock`.
pub struct OnceLock<T> {
    is_set: AtomicBool,
    value: std::sync::OnceLock<T>,
}

impl<T> OnceLock<T> {
    /// Holds nothing yet.
    pub fn new() -> Self {
        Self { is_set: AtomicBool::new(false), value: std::sync::OnceLock::new() }
    }

    /// What it holds, if anything.
    pub fn get(&self) -> Option<&T> {
        if self.is_set.load(Ordering::Acquire) { self.value.get() } else { None }
    }

    /// Holds `value` from now on, unless it holds something already.
    ///
    /// # Errors
    /// The value, if it does.
    pub fn set(&self, value: T) -> Result<(), T> {
        let result = self.value.set(value);
        if result.is_ok() {
            self.is_set.store(true, Ordering::Release);
        }
        // As with the original, whoever comes second finds what the first has set.
        while !self.is_set.load(Ordering::Acquire) {
            loom::thread::yield_now();
        }
        result
    }

    /// What it holds, made by `make` if it held nothing.
    pub fn get_or_init(&self, make: impl FnOnce() -> T) -> &T {
        if self.get().is_none() {
            let _ = self.set(make());
        }
        self.value.get().expect("set above")
    }
}

impl<T> Default for OnceLock<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: fmt::Debug> fmt::Debug for OnceLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

/// Stands in for `std::time::Instant`: time stands still, for an execution must be repeatable.
#[derive(Clone, Copy, Debug)]
pub struct Instant;

impl Instant {
    /// The only moment.
    pub fn now() -> Self {
        Self
    }

    /// No time.
    pub fn elapsed(&self) -> std::time::Duration {
        std::time::Duration::ZERO
    }
}

/// Watches bytes that loom does not see: a read that no release store separates from the write, or
/// a second write beside a read, ends the execution.
pub(crate) struct Watch {
    units: Box<[UnsafeCell<()>]>,
}

impl Watch {
    const UNIT_BYTES: usize = 4;

    pub(crate) fn new(bytes: usize) -> Self {
        let units = bytes.div_ceil(Self::UNIT_BYTES);
        Self { units: (0..units).map(|_| UnsafeCell::new(())).collect() }
    }

    fn units(&self, bytes: std::ops::Range<usize>) -> &[UnsafeCell<()>] {
        &self.units[bytes.start / Self::UNIT_BYTES..bytes.end.div_ceil(Self::UNIT_BYTES)]
    }

    pub(crate) fn note_read(&self, bytes: std::ops::Range<usize>) {
        self.units(bytes).iter().for_each(|unit| unit.with(|_| ()));
    }

    pub(crate) fn note_write(&self, bytes: std::ops::Range<usize>) {
        self.units(bytes).iter().for_each(|unit| unit.with_mut(|_| ()));
    }
}
