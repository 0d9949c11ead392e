//! What writes should feel when flushes or compactions lag: slowed smoothly, long before a stop.

use std::fmt;

use crate::policy::Traffic;

/// What a write feels.
#[derive(Clone, Debug, PartialEq)]
pub enum Pressure {
    /// Nothing.
    Flow,
    /// A delay for every KiB.
    Slow {
        /// Nanoseconds a KiB.
        delay_ns_per_kib: u64,
        /// What for.
        cause: PressureCause,
        /// Why, in words.
        reason: String,
    },
    /// It waits.
    Stop {
        /// What for.
        cause: PressureCause,
        /// Why, in words.
        reason: String,
    },
}

/// What it is that writes are slowed or stopped for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PressureCause {
    /// Memtables wait to be flushed.
    SealedMemtables,
    /// Memtables take nearly all the memory that they may.
    MemtableBytes,
    /// Level 0 holds many runs.
    LevelZero,
    /// Much waits to be merged.
    Debt,
}

impl PressureCause {
    /// Every cause.
    pub const ALL: [Self; 4] =
        [Self::SealedMemtables, Self::MemtableBytes, Self::LevelZero, Self::Debt];

    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::SealedMemtables => "sealed_memtables",
            Self::MemtableBytes => "memtable_bytes",
            Self::LevelZero => "level_zero",
            Self::Debt => "debt",
        }
    }
}

impl Pressure {
    fn weight(&self) -> u64 {
        match self {
            Self::Flow => 0,
            Self::Slow { delay_ns_per_kib, .. } => 1 + delay_ns_per_kib,
            Self::Stop { .. } => u64::MAX,
        }
    }

    /// Whether a write feels more of it than of `other`.
    pub fn is_worse_than(&self, other: &Self) -> bool {
        self.weight() > other.weight()
    }

    /// What writes are slowed or stopped for, if they are.
    pub fn cause(&self) -> Option<PressureCause> {
        match self {
            Self::Flow => None,
            Self::Slow { cause, .. } | Self::Stop { cause, .. } => Some(*cause),
        }
    }
}

impl fmt::Display for Pressure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flow => f.write_str("flow"),
            Self::Slow { delay_ns_per_kib, reason, .. } => {
                write!(f, "slow ({delay_ns_per_kib} ns a KiB): {reason}")
            }
            Self::Stop { reason, .. } => write!(f, "stop: {reason}"),
        }
    }
}

/// What flushes and compactions are behind with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Memtables that wait to be flushed.
    pub sealed_memtables: usize,
    /// Bytes that memtables take, those that wait and those that do not. Only where some wait: else
    /// no flush makes them fewer.
    pub memtable_bytes: u64,
    /// Runs of level 0.
    pub level_zero_runs: usize,
    /// Bytes that wait to be merged.
    pub debt_bytes: u64,
}

/// When writes begin to be slowed, and when they stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PressureLimits {
    /// Size of a memtable; debts are measured by it.
    pub memtable_bytes: u64,
    /// Sealed memtables beyond which writes are slowed, and at which they stop.
    pub sealed: (usize, usize),
    /// The same for the bytes that memtables take.
    pub memory_bytes: (u64, u64),
    /// The same for runs of level 0.
    pub level_zero_runs: (usize, usize),
    /// The same for bytes to be merged, in memtables.
    pub debt_memtables: (u64, u64),
    /// The delay just before a stop, in nanoseconds a KiB.
    pub delay_ns_per_kib_max: u64,
}

impl Default for PressureLimits {
    fn default() -> Self {
        Self {
            memtable_bytes: 64 << 20,
            sealed: (1, 4),
            memory_bytes: (192 << 20, 256 << 20),
            level_zero_runs: (12, 36),
            debt_memtables: (24, 96),
            delay_ns_per_kib_max: 40_000,
        }
    }
}

impl PressureLimits {
    /// The same for a tree that is used so: while nobody reads it, level 0 may hold twice as many runs.
    ///
    /// ```
    /// use lsm_compaction::{PressureLimits, Traffic};
    ///
    /// let limits = PressureLimits::default();
    /// assert_eq!(limits.under(Traffic::WritesAlone).level_zero_runs, (24, 72));
    /// assert_eq!(limits.under(Traffic::WritesAndReads), limits);
    /// ```
    #[must_use]
    pub fn under(&self, traffic: Traffic) -> Self {
        let times = if traffic == Traffic::WritesAlone { 2 } else { 1 };
        let (slow, stop) = self.level_zero_runs;
        Self { level_zero_runs: (slow * times, stop * times), ..self.clone() }
    }
}

/// Judges how a tree stands. The delay grows with the square of the way from where slowing begins
/// to where writes stop.
///
/// ```
/// use lsm_compaction::{Backlog, Pressure, PressureLimits, pressure};
///
/// let limits = PressureLimits::default();
/// let with_runs = |level_zero_runs| Backlog { level_zero_runs, ..Backlog::default() };
/// assert_eq!(pressure(&with_runs(3), &limits), Pressure::Flow);
/// assert!(matches!(pressure(&with_runs(30), &limits), Pressure::Slow { .. }));
/// assert!(matches!(pressure(&with_runs(36), &limits), Pressure::Stop { .. }));
/// ```
pub fn pressure(backlog: &Backlog, limits: &PressureLimits) -> Pressure {
    let Backlog { sealed_memtables, memtable_bytes, level_zero_runs, debt_bytes } = *backlog;
    let debt = debt_bytes as f64 / limits.memtable_bytes.max(1) as f64;
    let measures = PressureCause::ALL.map(|cause| {
        let way = match cause {
            PressureCause::SealedMemtables => {
                let (slow, stop) = limits.sealed;
                way(sealed_memtables as f64, slow as f64, stop as f64)
            }
            PressureCause::MemtableBytes => {
                let (slow, stop) = limits.memory_bytes;
                way(memtable_bytes as f64, slow as f64, stop as f64)
            }
            PressureCause::LevelZero => {
                let (slow, stop) = limits.level_zero_runs;
                way(level_zero_runs as f64, slow as f64, stop as f64)
            }
            PressureCause::Debt => {
                let (slow, stop) = limits.debt_memtables;
                way(debt, slow as f64, stop as f64)
            }
        };
        (cause, way)
    });
    let worst = measures.iter().fold(None, |worst: Option<&(PressureCause, f64)>, measure| {
        if measure.1 > worst.map_or(0.0, |worst| worst.1) { Some(measure) } else { worst }
    });
    let Some(&(cause, way)) = worst else { return Pressure::Flow };
    let reason = match cause {
        PressureCause::SealedMemtables => {
            format!("{sealed_memtables} sealed memtables wait to be flushed")
        }
        PressureCause::MemtableBytes => {
            let most = limits.memory_bytes.1;
            format!("memtables take {memtable_bytes} of the {most} bytes that they may")
        }
        PressureCause::LevelZero => format!("level 0 holds {level_zero_runs} runs"),
        PressureCause::Debt => format!("{debt_bytes} bytes wait to be merged"),
    };
    if way >= 1.0 {
        return Pressure::Stop { cause, reason };
    }
    let delay_ns_per_kib = (way * way * limits.delay_ns_per_kib_max as f64) as u64;
    Pressure::Slow { delay_ns_per_kib, cause, reason }
}

/// How far `value` is on the way from `slow` (0) to `stop` (1).
fn way(value: f64, slow: f64, stop: f64) -> f64 {
    ((value - slow) / (stop - slow).max(f64::MIN_POSITIVE)).clamp(0.0, 1.0)
}
