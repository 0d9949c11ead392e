//! The policies, as options with names: which tables are merged when.

use std::fmt;
use std::str::FromStr;

use lsm_entry::SeqNo;
use lsm_version::Version;

use crate::fifo::FifoOptions;
use crate::lazy_leveled::LazyLeveledOptions;
use crate::leveled::LeveledOptions;
use crate::plan::{Plan, RunningPlan};
use crate::tiered::TieredOptions;

/// What a plan is made from. Nothing else decides: the same input gives the same plan.
#[derive(Clone, Copy, Debug)]
pub struct PlanInput<'a> {
    /// The tables.
    pub version: &'a Version,
    /// Plans that are being carried out; a new one overlaps none of them.
    pub running: &'a [RunningPlan],
    /// Sequence numbers that must stay readable, ascending.
    pub snapshots: &'a [SeqNo],
    /// Database time, in milliseconds since 1970.
    pub now_ms: u64,
    /// What the tree is used for meanwhile.
    pub traffic: Traffic,
}

/// What a tree is used for at the moment: it decides what merging is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traffic {
    /// Nothing is written: what saves space is worth its merging now, for no further tables will have it
    /// merged again.
    Rest,
    /// It is written, and nobody reads it: many runs slow nobody down, and what is merged later is merged
    /// less often.
    WritesAlone,
    /// It is written and read.
    WritesAndReads,
}

/// Chooses what to merge.
pub trait Policy: fmt::Debug + Send + Sync {
    /// The most urgent plan, or `None` when the tree is in shape. Carrying out one plan after the
    /// other reaches that shape, whatever the tree was like before.
    fn plan(&self, input: &PlanInput<'_>) -> Option<Plan>;

    /// About how many bytes have to be merged before the tree is in shape.
    fn debt_bytes(&self, version: &Version, traffic: Traffic) -> u64;
}

/// A compaction policy and its options. The text form is that of saved options:
/// `leveled(level_zero_runs=4, ...)`.
///
/// ```
/// use lsm_compaction::CompactionPolicy;
///
/// let policy: CompactionPolicy = "tiered(runs=6)".parse()?;
/// assert_eq!(policy.to_string(), "tiered(runs=6, table_bytes=67108864)");
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum CompactionPolicy {
    /// One run a level: the least space and the fastest reads, for the most merging.
    Leveled(LeveledOptions),
    /// Several runs a level: the least merging, for more space and slower reads.
    Tiered(TieredOptions),
    /// Several runs a level but one at the bottom: between the two.
    LazyLeveled(LazyLeveledOptions),
    /// The oldest tables go when there are too many: for logs and caches.
    Fifo(FifoOptions),
}

impl Default for CompactionPolicy {
    fn default() -> Self {
        Self::Leveled(LeveledOptions::default())
    }
}

impl CompactionPolicy {
    /// The policy itself.
    pub fn as_policy(&self) -> &dyn Policy {
        match self {
            Self::Leveled(options) => options,
            Self::Tiered(options) => options,
            Self::LazyLeveled(options) => options,
            Self::Fifo(options) => options,
        }
    }

    /// Bytes of a table that its merges write.
    pub fn table_bytes(&self) -> u64 {
        match self {
            Self::Leveled(options) => options.table_bytes,
            Self::Tiered(options) => options.table_bytes,
            Self::LazyLeveled(options) => options.table_bytes,
            Self::Fifo(options) => options.table_bytes,
        }
    }

    /// Whether it keeps one run a level, so that fewer runs are worth something to it.
    pub fn keeps_one_run(&self) -> bool {
        matches!(self, Self::Leveled(_))
    }

    /// Its name and its options, by name.
    fn named(&mut self) -> (&'static str, Vec<(&'static str, &mut u64)>) {
        match self {
            Self::Leveled(options) => ("leveled", options.named()),
            Self::Tiered(options) => ("tiered", options.named()),
            Self::LazyLeveled(options) => ("lazy_leveled", options.named()),
            Self::Fifo(options) => ("fifo", options.named()),
        }
    }
}

impl fmt::Display for CompactionPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut policy = self.clone();
        let (name, options) = policy.named();
        let options: Vec<_> =
            options.iter().map(|(name, value)| format!("{name}={value}")).collect();
        write!(f, "{name}({})", options.join(", "))
    }
}

impl FromStr for CompactionPolicy {
    type Err = String;

    /// Reads the text form; options that are left out have their defaults.
    fn from_str(text: &str) -> Result<Self, String> {
        let (name, rest) = text.split_once('(').unwrap_or((text, ")"));
        let mut policy = match name.trim() {
            "leveled" => Self::Leveled(LeveledOptions::default()),
            "tiered" => Self::Tiered(TieredOptions::default()),
            "lazy_leveled" => Self::LazyLeveled(LazyLeveledOptions::default()),
            "fifo" => Self::Fifo(FifoOptions::default()),
            name => {
                return Err(format!(
                    "compaction policy \"{name}\"; leveled, tiered, lazy_leveled and fifo are accepted"
                ));
            }
        };
        let list =
            rest.strip_suffix(')').ok_or_else(|| format!("\"{text}\" has no closing bracket"))?;
        for pair in list.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
            let (option, value) =
                pair.split_once('=').ok_or_else(|| format!("\"{pair}\" has no value"))?;
            let value =
                value.trim().parse().map_err(|_| format!("\"{pair}\": the value is no number"))?;
            let (_, mut options) = policy.named();
            let known = options.iter_mut().find(|(name, _)| *name == option.trim());
            let (_, target) = known.ok_or_else(|| format!("{name} has no option \"{option}\""))?;
            **target = value;
        }
        Ok(policy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_policy_reads_back_from_its_text() {
        for name in ["leveled", "tiered", "lazy_leveled", "fifo"] {
            let policy: CompactionPolicy = name.parse().expect("a policy");
            assert_eq!(policy.to_string().parse(), Ok(policy));
        }
    }

    #[test]
    fn what_is_no_policy_is_named() {
        for (text, said) in
            [("", "\"\""), ("level", "\"level\""), ("tiered(x=1)", "\"x\""), ("fifo(", "bracket")]
        {
            let error = text.parse::<CompactionPolicy>().expect_err("refused");
            assert!(error.contains(said), "{error}");
        }
    }
}
