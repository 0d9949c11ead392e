//! Carrying out a merge, whatever its inputs and outputs are.

use lsm_entry::{Cursor, Entry, MAX_SEQ_NO, RangeDelete, key_hash};

use crate::clip::Clipper;
use crate::plan::Plan;
use crate::retention::Retention;
use crate::slice::Slice;
use crate::survivors::{MergeError, MergeStats, for_each_survivor};

/// Takes the entries that a merge keeps, in order.
pub trait TableSink {
    /// What can go wrong.
    type Error;

    /// Takes an entry and its key's hash.
    ///
    /// # Errors
    /// Those of the sink; the merge ends.
    fn add(&mut self, entry: Entry<'_>, hash: u64) -> Result<(), Self::Error>;

    /// Takes a range delete, which has an end. Those of one table come in any order, before the table
    /// ends, and may be all that it holds.
    ///
    /// # Errors
    /// Those of the sink; the merge ends.
    fn add_range_delete(&mut self, range_delete: &RangeDelete) -> Result<(), Self::Error>;

    /// Bytes of the table in the making; 0 if none is.
    fn table_bytes(&self) -> u64;

    /// Ends the table in the making: the next entry begins another. Never between versions of a key.
    ///
    /// # Errors
    /// Those of the sink; the merge ends.
    fn cut(&mut self) -> Result<(), Self::Error>;
}

/// Merges what `cursor` yields, which are the plan's inputs, into `sink`, and the range deletes that
/// `retention` was given, as far as they lie in `slice`.
///
/// # Errors
/// Those of the cursor and of the sink, and `Stopped` when `should_stop` says so. What is in the sink
/// is then to be thrown away.
pub fn merge<C: Cursor, S: TableSink>(
    cursor: &mut C,
    plan: &Plan,
    slice: &Slice,
    retention: &mut Retention,
    sink: &mut S,
    should_stop: &dyn Fn() -> bool,
) -> Result<MergeStats, MergeError<C::Error, S::Error>> {
    let mut boundaries = plan.boundaries.iter().peekable();
    let mut last_key = Vec::new();
    let kept = retention.kept_range_deletes(|fragment| {
        plan.nothing_older_within(fragment.lower(), fragment.upper())
    });
    let mut range_deletes = Clipper::new(&slice.clip(&kept));
    cursor.seek(&slice.lower(), MAX_SEQ_NO).map_err(MergeError::Read)?;
    let (through, nothing_older) = (slice.through(), |key: &[u8]| plan.nothing_older(key));
    let mut take = |entry: Entry<'_>| {
        let bytes = sink.table_bytes();
        if bytes > 0 && entry.key != last_key.as_slice() {
            let mut is_border = false;
            while boundaries.next_if(|border| border.as_slice() <= entry.key).is_some() {
                is_border = true;
            }
            let limit = plan.output_table_bytes;
            if bytes >= limit || (is_border && bytes >= limit / 2) {
                range_deletes.write_through(&last_key, sink)?;
                sink.cut()?;
            }
        }
        last_key.clear();
        last_key.extend_from_slice(entry.key);
        sink.add(entry, key_hash(entry.key))
    };
    let stats =
        for_each_survivor(cursor, through, retention, nothing_older, should_stop, &mut take)?;
    range_deletes.finish(sink).map_err(MergeError::Write)?;
    Ok(stats)
}
