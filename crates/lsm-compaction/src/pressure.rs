//! What writes should feel when flushes or compactions lag: slowed smoothly, long before a stop.

use std::fmt;

/// What a write feels.
#[derive(Clone, Debug, PartialEq)]
pub enum Pressure {
    /// Nothing.
    Flow,
    /// A delay for every KiB.
    Slow {
        /// Nanoseconds a KiB.
        delay_ns_per_kib: u64,
        /// Why.
        reason: String,
    },
    /// It waits.
    Stop {
        /// Why.
        reason: String,
    },
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
}

impl fmt::Display for Pressure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flow => f.write_str("flow"),
            Self::Slow { delay_ns_per_kib, reason } => {
                write!(f, "slow ({delay_ns_per_kib} ns a KiB): {reason}")
            }
            Self::Stop { reason } => write!(f, "stop: {reason}"),
        }
    }
}

/// When writes begin to be slowed, and when they stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PressureLimits {
    /// Size of a memtable; debts are measured by it.
    pub memtable_bytes: u64,
    /// Sealed memtables beyond which writes are slowed, and at which they stop.
    pub sealed: (usize, usize),
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
            level_zero_runs: (12, 36),
            debt_memtables: (24, 96),
            delay_ns_per_kib_max: 40_000,
        }
    }
}

/// Judges how a tree stands. The delay grows with the square of the way from where slowing begins
/// to where writes stop.
///
/// ```
/// use lsm_compaction::{Pressure, PressureLimits, pressure};
///
/// let limits = PressureLimits::default();
/// assert_eq!(pressure(3, 1, 0, &limits), Pressure::Flow);
/// assert!(matches!(pressure(30, 1, 0, &limits), Pressure::Slow { .. }));
/// assert!(matches!(pressure(36, 1, 0, &limits), Pressure::Stop { .. }));
/// ```
pub fn pressure(
    level_zero_runs: usize,
    sealed_memtables: usize,
    debt_bytes: u64,
    limits: &PressureLimits,
) -> Pressure {
    let debt = debt_bytes as f64 / limits.memtable_bytes.max(1) as f64;
    let (debt_slow, debt_stop) = limits.debt_memtables;
    let measures = [
        way(sealed_memtables as f64, limits.sealed.0 as f64, limits.sealed.1 as f64),
        way(
            level_zero_runs as f64,
            limits.level_zero_runs.0 as f64,
            limits.level_zero_runs.1 as f64,
        ),
        way(debt, debt_slow as f64, debt_stop as f64),
    ];
    let (worst, way) = (0..3).fold((0, 0.0), |(worst, most), index| {
        if measures[index] > most { (index, measures[index]) } else { (worst, most) }
    });
    if way <= 0.0 {
        return Pressure::Flow;
    }
    let reason = match worst {
        0 => format!("{sealed_memtables} sealed memtables wait to be flushed"),
        1 => format!("level 0 holds {level_zero_runs} runs"),
        _ => format!("{debt_bytes} bytes wait to be merged"),
    };
    if way >= 1.0 {
        return Pressure::Stop { reason };
    }
    let delay_ns_per_kib = (way * way * limits.delay_ns_per_kib_max as f64) as u64;
    Pressure::Slow { delay_ns_per_kib, reason }
}

/// How far `value` is on the way from `slow` (0) to `stop` (1).
fn way(value: f64, slow: f64, stop: f64) -> f64 {
    ((value - slow) / (stop - slow).max(f64::MIN_POSITIVE)).clamp(0.0, 1.0)
}
