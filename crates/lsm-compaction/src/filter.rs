//! Which values a user wants no more: the seam of compaction filters, called with care.
//!
//! A filter is asked about a value that no snapshot sees, as a merge is about to keep it. What it
//! takes away becomes a tombstone under the value's own number, so it goes on hiding what it hid;
//! where nothing older can lie, it becomes nothing.
//!
//! Merge operands are no values: a filter is asked about what they come to, once a merge knows it, and
//! about no value that the merge finds below operands.

use std::panic::{AssertUnwindSafe, catch_unwind};

use lsm_entry::{Entry, ValueKind};

use crate::operator::MAX_VALUE_BYTES;
use crate::retention::Retention;
use crate::survivors::MergeStats;

/// What becomes of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FilterDecision {
    /// It stays.
    Keep,
    /// Its key has no value any more.
    Remove,
    /// This takes its place, with the same expiry if it has one.
    Replace(Vec<u8>),
}

/// Looks through values as merges copy them, and says which are to go or to change.
///
/// A value is asked about once for each merge that it goes through, in any thread, and by several
/// threads at the same time about values of one merge, in no order; some time after it was written, or never if nothing is merged near it; the same answer is expected each time, and
/// [`Keep`](FilterDecision::Keep) for a value that the filter itself has given. Until then reads find it
/// as it was.
///
/// ```
/// use lsm_compaction::{CompactionFilter, FilterDecision};
///
/// /// Drops the sessions of users who are gone.
/// struct Sessions;
///
/// impl CompactionFilter for Sessions {
///     fn name(&self) -> &str {
///         "sessions"
///     }
///
///     fn filter(&self, key: &[u8], _value: &[u8]) -> FilterDecision {
///         if key.starts_with(b"gone/") { FilterDecision::Remove } else { FilterDecision::Keep }
///     }
/// }
/// # assert_eq!(Sessions.filter(b"gone/1", b""), FilterDecision::Remove);
/// ```
pub trait CompactionFilter: Send + Sync + 'static {
    /// Its name, which is saved with every keyspace that has it.
    fn name(&self) -> &str;

    /// What becomes of a key's value, whatever it is; `None` (the default): that depends on the value,
    /// which [`filter`](Self::filter) is then asked about. A value that lies apart from its key is read
    /// for that alone.
    fn filter_key(&self, key: &[u8]) -> Option<FilterDecision> {
        let _ = key;
        None
    }

    /// What becomes of a key's value. One that panics keeps it, and so does a replacement that is
    /// longer than a value may be.
    fn filter(&self, key: &[u8], value: &[u8]) -> FilterDecision;
}

/// Asks the filter about an entry that is the newest of its key and stripe, and hands `take` what is
/// left of it. `nothing_older`: no older entry of the key lies outside what is being merged.
#[cold]
pub(crate) fn take_filtered<W>(
    entry: &Entry<'_>,
    retention: &Retention,
    nothing_older: impl FnOnce(&[u8]) -> bool,
    stats: &mut MergeStats,
    take: &mut impl FnMut(Entry<'_>) -> Result<(), W>,
) -> Result<(), W> {
    let mut stored = Vec::new();
    let kept = match decide(retention, entry, stats) {
        FilterDecision::Keep => *entry,
        FilterDecision::Remove => {
            stats.filter_removed += 1;
            if retention.is_oldest(entry.seq_no) && nothing_older(entry.key) {
                return Ok(());
            }
            Entry::delete(entry.key, entry.seq_no)
        }
        FilterDecision::Replace(value) => {
            stats.filter_replaced += 1;
            stored.extend(entry.expires_at_ms().map(u64::to_le_bytes).into_iter().flatten());
            stored.extend(value);
            Entry { tag: entry.tag.without_blob(), value: &stored, ..*entry }
        }
    };
    stats.entries_written += 1;
    take(kept)
}

/// A value that has expired or that a snapshot sees is none that a filter is asked about. One that
/// cannot be read stays as it is: whoever reads it is told.
fn decide(retention: &Retention, entry: &Entry<'_>, stats: &mut MergeStats) -> FilterDecision {
    let Some(filter) = retention.filter() else { return FilterDecision::Keep };
    let is_asked = entry.kind() == ValueKind::Put
        && retention.is_newest(entry.seq_no)
        && !retention.has_expired(entry);
    if !is_asked {
        return FilterDecision::Keep;
    }
    let ask = AssertUnwindSafe(|| match filter.filter_key(entry.key) {
        None if entry.tag.is_blob() => Some(filter.filter(entry.key, &retention.value_of(entry)?)),
        None => Some(filter.filter(entry.key, entry.user_value())),
        decision => decision,
    });
    match catch_unwind(ask) {
        Ok(Some(FilterDecision::Replace(value))) if value.len() > MAX_VALUE_BYTES => {}
        Ok(Some(decision)) => return decision,
        Ok(None) | Err(_) => {}
    }
    stats.filter_failures += 1;
    FilterDecision::Keep
}
