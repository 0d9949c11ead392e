//! What is tested, and where: the state of the store, and the machine.
//!
//! Figures are about the store, so they belong to the last commit that changed its code. A later
//! commit to documentation, or to what tests it, leaves them standing.

use crate::Result;
use crate::invocation::Invocation;
use crate::torture::ledger::Entry;

/// Where the store's code lies: the engine and what it is built from.
const CODE: &[&str] = &[
    "crates/lsm-io/src",
    "crates/lsm-entry/src",
    "crates/lsm-bloom/src",
    "crates/lsm-wal/src",
    "crates/lsm-memtable/src",
    "crates/lsm-version/src",
    "crates/lsm-sstable/src",
    "crates/lsm-blob/src",
    "crates/lsm-manifest/src",
    "crates/lsm-compaction/src",
    "crates/lsm-engine/src",
];

/// A state of the store's code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    /// The last commit that changed it.
    pub(crate) commit: String,
    /// Whether it was changed since, without a commit.
    pub(crate) is_dirty: bool,
}

impl Source {
    /// Asks git.
    pub(crate) fn read() -> Result<Self> {
        let log = Invocation::new("git").arguments(["log", "-1", "--format=%H", "--"]);
        let status = Invocation::new("git").arguments(["status", "--porcelain", "--"]);
        Ok(Self {
            commit: log.arguments(CODE.to_vec()).output()?.trim().to_owned(),
            is_dirty: !status.arguments(CODE.to_vec()).output()?.trim().is_empty(),
        })
    }

    /// The entries that belong to it; those over uncommitted changes only where asked for.
    pub(crate) fn select<'a>(
        &'a self,
        entries: &'a [Entry],
        with_dirty: bool,
    ) -> impl Iterator<Item = &'a Entry> {
        let belongs =
            move |entry: &&Entry| entry.commit == self.commit && (with_dirty || !entry.is_dirty);
        entries.iter().filter(belongs)
    }
}

/// Cores, memory and kernel, as far as this system tells.
pub(crate) fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = Invocation::new("uname").arguments(["-sr"]).output().unwrap_or_default();
    format!("{cores} cores, {}", kernel.trim())
}
