//! A history of one keyspace, of which a merge sees the upper part, and some readers in it.

use lsm_entry::{OwnedEntry, SeqNo};

use crate::rng::Rng;

pub(crate) struct Divided {
    /// The newest number that lies below; 0 if nothing does.
    pub(crate) split: SeqNo,
    pub(crate) newest: SeqNo,
    /// The older part, in a table that is not merged.
    pub(crate) below: Vec<OwnedEntry>,
    pub(crate) merged: Vec<OwnedEntry>,
    /// Ascending.
    pub(crate) snapshots: Vec<SeqNo>,
}

impl Divided {
    /// Divides entries that are numbered from 1 on.
    pub(crate) fn at_random(entries: &[OwnedEntry], rng: &mut Rng) -> Self {
        let split = if rng.below(2) == 0 { 0 } else { rng.below(10) };
        let (below, merged) = entries.iter().cloned().partition(|entry| entry.seq_no <= split);
        let newest = entries.len() as u64;
        let mut snapshots: Vec<SeqNo> = (0..rng.below(4)).map(|_| rng.below(newest + 1)).collect();
        snapshots.sort_unstable();
        snapshots.dedup();
        // A snapshot in the middle of what lies below cannot have been merged past.
        snapshots.retain(|snapshot| *snapshot >= split);
        Self { split, newest, below, merged, snapshots }
    }
}
