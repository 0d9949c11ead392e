//! The entries that survive: what retention keeps of a cursor's entries, and what takes the place
//! of others. Merges and flushes write these and nothing else.

use std::ops::AddAssign;

use lsm_entry::{Cursor, Entry};

use crate::filter::take_filtered;
use crate::fold::Operands;
use crate::retention::{DropReason, Retention, Verdict};

/// What a merge did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MergeStats {
    /// Entries read.
    pub entries_read: u64,
    /// Entries kept, and those written in the place of others.
    pub entries_written: u64,
    /// Entries that newer ones hide.
    pub dropped_shadowed: u64,
    /// Entries that range deletes hide.
    pub dropped_covered: u64,
    /// Tombstones that hid nothing any more.
    pub dropped_tombstones: u64,
    /// Entries whose time was over.
    pub dropped_expired: u64,
    /// Merge operands that went into another entry.
    pub operands_folded: u64,
    /// Values that a filter took away.
    pub filter_removed: u64,
    /// Values that a filter put others in the place of.
    pub filter_replaced: u64,
    /// Values that stay because the filter failed.
    pub filter_failures: u64,
}

/// Why a merge did not end well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MergeError<R, W> {
    /// Reading failed.
    Read(R),
    /// Writing failed.
    Write(W),
    /// Somebody asked it to stop.
    Stopped,
}

/// Entries after which a merge asks whether it should stop.
const STOP_CHECK_ENTRIES: u64 = 4096;

impl AddAssign for MergeStats {
    fn add_assign(&mut self, other: Self) {
        self.entries_read += other.entries_read;
        self.entries_written += other.entries_written;
        self.dropped_shadowed += other.dropped_shadowed;
        self.dropped_covered += other.dropped_covered;
        self.dropped_tombstones += other.dropped_tombstones;
        self.dropped_expired += other.dropped_expired;
        self.operands_folded += other.operands_folded;
        self.filter_removed += other.filter_removed;
        self.filter_replaced += other.filter_replaced;
        self.filter_failures += other.filter_failures;
    }
}

/// Hands `take` what survives of `cursor`'s entries, from its position on, in order, up to the key `through`,
/// with which it ends; `None`: up to the last. `nothing_older`: no older entry of a key lies outside what is being merged.
///
/// # Errors
/// Those of the cursor and of `take`, and `Stopped` when `should_stop` says so.
#[inline]
pub fn for_each_survivor<C: Cursor, W>(
    cursor: &mut C,
    through: Option<&[u8]>,
    retention: &mut Retention,
    nothing_older: impl Fn(&[u8]) -> bool,
    should_stop: &dyn Fn() -> bool,
    mut take: impl FnMut(Entry<'_>) -> Result<(), W>,
) -> Result<MergeStats, MergeError<C::Error, W>> {
    let is_within = |entry: &Entry<'_>| through.is_none_or(|last| entry.key <= last);
    let mut stats = MergeStats::default();
    let mut operands = Operands::default();
    while let Some(entry) = cursor.entry().filter(is_within) {
        if stats.entries_read.is_multiple_of(STOP_CHECK_ENTRIES) && should_stop() {
            return Err(MergeError::Stopped);
        }
        stats.entries_read += 1;
        // Asked only where it matters: a search for each entry would cost more than the merge.
        let may_vanish = entry.tag.is_tombstone() || entry.tag.has_expiry();
        match retention.judge(&entry, may_vanish && nothing_older(entry.key)) {
            Verdict::Keep if retention.filter().is_some() && !retention.is_under_operands() => {
                take_filtered(&entry, retention, &nothing_older, &mut stats, &mut take)
                    .map_err(MergeError::Write)?;
            }
            Verdict::Keep => {
                take(entry).map_err(MergeError::Write)?;
                stats.entries_written += 1;
            }
            Verdict::Drop(DropReason::Shadowed) => stats.dropped_shadowed += 1,
            Verdict::Drop(DropReason::Covered) => stats.dropped_covered += 1,
            Verdict::Drop(DropReason::Tombstone) => stats.dropped_tombstones += 1,
            Verdict::Drop(DropReason::Expired) => stats.dropped_expired += 1,
            Verdict::Fold => {
                let read = operands.gather(cursor, retention).map_err(MergeError::Read)?;
                operands.fold(cursor.entry(), retention, &nothing_older);
                stats.entries_read += read - 1;
                stats.operands_folded += read - operands.entries().len() as u64;
                for folded in operands.entries() {
                    take_filtered(&folded, retention, &nothing_older, &mut stats, &mut take)
                        .map_err(MergeError::Write)?;
                }
                // The cursor stands behind the operands already.
                continue;
            }
        }
        cursor.next().map_err(MergeError::Read)?;
    }
    Ok(stats)
}
