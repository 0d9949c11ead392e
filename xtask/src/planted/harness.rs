//! The harnesses, each of which has to notice some planted bug.

use std::fmt;

/// A kind of check, as `cargo xtask planted` and `docs/fault-model.md` name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Harness(&'static str);

impl Harness {
    /// All of them, the quickest first.
    pub(crate) const ALL: &[Self] = &[
        Self("test"),
        Self("model"),
        Self("crash"),
        Self("faults"),
        Self("damage"),
        Self("fuzz"),
        Self("loom"),
        Self("histories"),
        Self("sanitizers"),
        Self("kill"),
        Self("cut"),
        Self("full-disk"),
        Self("failed-sync"),
    ];

    /// The harness of this name.
    pub(crate) fn parse(name: &str) -> Result<Self, String> {
        let known = Self::ALL.iter().find(|harness| harness.0 == name).copied();
        known.ok_or_else(|| format!("there is no harness `{name}`"))
    }
}

impl fmt::Display for Harness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0)
    }
}
