//! At what times readers judge what has expired.

use lsm_entry::{Entry, SeqNo};
use lsm_version::TableRecord;

/// The sequence numbers that readers stand at, each with the earliest time at which they read, and the
/// present, at which everybody else does.
///
/// ```
/// use lsm_compaction::ReadTimes;
///
/// let times = ReadTimes::new(vec![(10, 1000), (20, 2000)], 3000);
/// assert_eq!(times.earliest_ms(5), 1000);
/// assert_eq!(times.earliest_ms(15), 2000, "the reader at 10 does not see it");
/// assert_eq!(times.earliest_ms(25), 3000);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadTimes {
    snapshots: Vec<SeqNo>,
    /// For each snapshot, the earliest time at which it or a later one reads, or anybody does.
    earliest_ms: Vec<u64>,
    now_ms: u64,
}

impl ReadTimes {
    /// Snapshots ascending by number, with the times at which they read, and the present.
    pub fn new(snapshots: Vec<(SeqNo, u64)>, now_ms: u64) -> Self {
        debug_assert!(snapshots.is_sorted_by_key(|(seq_no, _)| *seq_no), "snapshots ascend");
        let mut earliest = now_ms;
        let mut earliest_ms: Vec<u64> = snapshots
            .iter()
            .rev()
            .map(|(_, time_ms)| {
                earliest = earliest.min(*time_ms);
                earliest
            })
            .collect();
        earliest_ms.reverse();
        let snapshots = snapshots.into_iter().map(|(seq_no, _)| seq_no).collect();
        Self { snapshots, earliest_ms, now_ms }
    }

    /// The snapshots' numbers, ascending.
    pub fn snapshots(&self) -> &[SeqNo] {
        &self.snapshots
    }

    /// The present.
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// The stripe between snapshots that an entry with this number lies in.
    #[inline]
    pub(crate) fn stripe(&self, seq_no: SeqNo) -> usize {
        self.snapshots.partition_point(|snapshot| *snapshot < seq_no)
    }

    /// The earliest time at which anybody reads who sees an entry with this number.
    pub fn earliest_ms(&self, seq_no: SeqNo) -> u64 {
        self.earliest_ms.get(self.stripe(seq_no)).copied().unwrap_or(self.now_ms)
    }

    /// Whether an entry has expired for everybody who sees it.
    #[inline]
    pub(crate) fn is_over(&self, entry: &Entry<'_>) -> bool {
        let expires_at_ms = entry.expires_at_ms();
        expires_at_ms.is_some_and(|expiry_ms| expiry_ms <= self.earliest_ms(entry.seq_no))
    }

    /// Whether all of a table's entries have expired for everybody who sees one of them.
    pub(crate) fn is_table_over(&self, table: &TableRecord) -> bool {
        let last_ms = table.expiry_max_ms;
        last_ms.is_some_and(|last_ms| last_ms <= self.earliest_ms(table.seq_no_min))
    }
}
