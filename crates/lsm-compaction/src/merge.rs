//! Carrying out a merge, whatever its inputs and outputs are.

use lsm_entry::{Cursor, Entry, key_hash};

use crate::plan::Plan;
use crate::retention::{DropReason, Keep, Retention};

/// Takes the entries that a merge keeps, in order.
pub trait TableSink {
    /// What can go wrong.
    type Error;

    /// Takes an entry and its key's hash.
    ///
    /// # Errors
    /// Those of the sink; the merge ends.
    fn add(&mut self, entry: Entry<'_>, hash: u64) -> Result<(), Self::Error>;

    /// Bytes of the table in the making; 0 if none is.
    fn table_bytes(&self) -> u64;

    /// Ends the table in the making: the next entry begins another. Never between versions of a key.
    ///
    /// # Errors
    /// Those of the sink; the merge ends.
    fn cut(&mut self) -> Result<(), Self::Error>;
}

/// What a merge did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MergeStats {
    /// Entries read.
    pub entries_read: u64,
    /// Entries kept.
    pub entries_written: u64,
    /// Entries that newer ones hide.
    pub dropped_shadowed: u64,
    /// Tombstones that hid nothing any more.
    pub dropped_tombstones: u64,
    /// Entries whose time was over.
    pub dropped_expired: u64,
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

/// Merges what `cursor` yields, which are the plan's inputs, into `sink`.
///
/// # Errors
/// Those of the cursor and of the sink, and `Stopped` when `should_stop` says so. What is in the sink
/// is then to be thrown away.
pub fn merge<C: Cursor, S: TableSink>(
    cursor: &mut C,
    plan: &Plan,
    retention: &mut Retention,
    sink: &mut S,
    should_stop: &dyn Fn() -> bool,
) -> Result<MergeStats, MergeError<C::Error, S::Error>> {
    let mut stats = MergeStats::default();
    let mut boundaries = plan.boundaries.iter().peekable();
    let mut last_key = Vec::new();
    cursor.seek_first().map_err(MergeError::Read)?;
    while let Some(entry) = cursor.entry() {
        if stats.entries_read.is_multiple_of(STOP_CHECK_ENTRIES) && should_stop() {
            return Err(MergeError::Stopped);
        }
        stats.entries_read += 1;
        // Asked only where it matters: a search for each entry would cost more than the merge.
        let may_vanish = entry.tag.is_tombstone() || entry.tag.has_expiry();
        let nothing_older = may_vanish && plan.nothing_older(entry.key);
        match retention.keep(&entry, nothing_older) {
            Keep::Keep => {
                let bytes = sink.table_bytes();
                if bytes > 0 && entry.key != last_key.as_slice() {
                    let mut is_border = false;
                    while boundaries.next_if(|border| border.as_slice() <= entry.key).is_some() {
                        is_border = true;
                    }
                    let limit = plan.output_table_bytes;
                    if bytes >= limit || (is_border && bytes >= limit / 2) {
                        sink.cut().map_err(MergeError::Write)?;
                    }
                }
                last_key.clear();
                last_key.extend_from_slice(entry.key);
                sink.add(entry, key_hash(entry.key)).map_err(MergeError::Write)?;
                stats.entries_written += 1;
            }
            Keep::Drop(DropReason::Shadowed) => stats.dropped_shadowed += 1,
            Keep::Drop(DropReason::Tombstone) => stats.dropped_tombstones += 1,
            Keep::Drop(DropReason::Expired) => stats.dropped_expired += 1,
        }
        cursor.next().map_err(MergeError::Read)?;
    }
    Ok(stats)
}
