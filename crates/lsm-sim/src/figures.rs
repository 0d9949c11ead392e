//! What a harness has counted, as the line that `cargo xtask torture` adds up.

use std::collections::BTreeMap;
use std::fmt;

/// Named counts: points crashed at, images recovered, operations compared, ...
///
/// ```
/// let mut figures = lsm_sim::Figures::default();
/// figures.add("crash.points", 120);
/// figures.add("crash.images", 960);
/// assert_eq!(figures.to_string(), "figures: crash.images=960 crash.points=120");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures(BTreeMap<String, u64>);

impl Figures {
    /// Counts `count` more of `name`: lower-case words with dots between them. A count of 0 is
    /// printed too, for it says that somebody looked.
    pub fn add(&mut self, name: &str, count: u64) {
        debug_assert!(!name.contains([' ', '=']), "{name:?} would not read back");
        *self.0.entry(name.to_owned()).or_default() += count;
    }

    /// How many of `name` were counted.
    pub fn count(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    /// All counts in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(name, count)| (name.as_str(), *count))
    }
}

impl std::ops::AddAssign for Figures {
    fn add_assign(&mut self, other: Self) {
        for (name, count) in other.0 {
            *self.0.entry(name).or_default() += count;
        }
    }
}

/// The line itself: the last of a harness that found nothing wrong.
impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("figures:")?;
        self.0.iter().try_for_each(|(name, count)| write!(f, " {name}={count}"))
    }
}
