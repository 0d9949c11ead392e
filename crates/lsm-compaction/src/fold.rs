//! Merge operands of one key and stripe, and what is written in their place.
//!
//! No reader stands within a stripe, so what its operands come to can take the place of them all,
//! under the number of the newest: a put, where what they are merged with lies in the stripe too or
//! is known to be nothing; else one operand, where the operator can combine them. Where it cannot,
//! or fails, they stay as they are.

use lsm_entry::{Cursor, Entry, OwnedEntry, SeqNo, Tag, ValueKind};

use crate::operator::{combine_operands, fold_operands};
use crate::retention::Retention;

/// Bytes of operands that are held at once: more than that stay as they are.
const HELD_BYTES_MAX: usize = 64 << 20;

/// Operands that came one after the other, newest first.
#[derive(Debug, Default)]
pub(crate) struct Operands {
    entries: Vec<OwnedEntry>,
    bytes: usize,
}

/// What the operands of a stripe are merged with.
enum Base {
    /// This.
    Known(Option<Vec<u8>>),
    /// Something outside of what is being merged, of another stripe, that may still expire, or that
    /// cannot be read.
    Unknown,
}

impl Operands {
    /// Takes the operand at which `cursor` stands and those that follow it in its stripe, and moves
    /// the cursor behind them. Says how many it took.
    pub(crate) fn gather<C: Cursor>(
        &mut self,
        cursor: &mut C,
        retention: &Retention,
    ) -> Result<u64, C::Error> {
        self.entries.clear();
        self.bytes = 0;
        let mut taken = 0;
        while let Some(entry) = cursor.entry() {
            if self.entries.first().is_some_and(|newest| !continues(newest, &entry, retention)) {
                break;
            }
            let is_operand =
                entry.kind() == ValueKind::Merge && !retention.is_covered(entry.seq_no);
            if !is_operand || self.bytes > HELD_BYTES_MAX {
                break;
            }
            // Of two copies one counts.
            if self.entries.last().is_none_or(|last| last.seq_no != entry.seq_no) {
                self.bytes += entry.value.len();
                self.entries.push(entry.into());
            }
            taken += 1;
            cursor.next()?;
        }
        Ok(taken)
    }

    /// Puts into their place what they come to, given the entry that follows them.
    pub(crate) fn fold(
        &mut self,
        next: Option<Entry<'_>>,
        retention: &mut Retention,
        nothing_older: impl FnOnce(&[u8]) -> bool,
    ) {
        let (Some(newest), Some(operator)) = (self.entries.first(), retention.operator()) else {
            return;
        };
        let (key, seq_no) = (newest.key.as_slice(), newest.seq_no);
        let values: Vec<&[u8]> =
            self.entries.iter().rev().map(|operand| operand.value.as_slice()).collect();
        let oldest = self.entries.last().map_or(seq_no, |oldest| oldest.seq_no);
        let folded = match base_of((newest, oldest), next, retention, nothing_older) {
            Base::Known(base) => fold_operands(&**operator, key, base.as_deref(), &values)
                .ok()
                .map(|value| (Tag::PUT, value)),
            Base::Unknown => None,
        };
        let combined = || {
            let value = combine_operands(&**operator, key, &values)?;
            Some((Tag::MERGE, value))
        };
        let folded = folded.or_else(|| if values.len() > 1 { combined() } else { None });
        let Some((tag, value)) = folded else { return };
        if tag == Tag::PUT {
            retention.hide_older_than(seq_no);
        }
        self.entries.truncate(1);
        self.entries[0].tag = tag;
        self.entries[0].value = value;
    }

    /// What is to be written, newest first.
    pub(crate) fn entries(&self) -> impl ExactSizeIterator<Item = Entry<'_>> {
        self.entries.iter().map(OwnedEntry::as_entry)
    }
}

/// Whether an entry is of the same key and stripe as the operands before it.
fn continues(newest: &OwnedEntry, entry: &Entry<'_>, retention: &Retention) -> bool {
    newest.key == entry.key && retention.stripe(newest.seq_no) == retention.stripe(entry.seq_no)
}

fn base_of(
    (newest, oldest): (&OwnedEntry, SeqNo),
    next: Option<Entry<'_>>,
    retention: &Retention,
    nothing_older: impl FnOnce(&[u8]) -> bool,
) -> Base {
    let next = next.filter(|next| next.key == newest.key);
    if retention.is_bounded(oldest, next.map_or(0, |next| next.seq_no)) {
        // A range delete of their stripe lies between them and all that is older.
        return Base::Known(None);
    }
    match next {
        None if nothing_older(&newest.key) => Base::Known(None),
        None => Base::Unknown,
        Some(next) if !continues(newest, &next, retention) => Base::Unknown,
        Some(next) if next.tag.is_tombstone() || retention.has_expired(&next) => Base::Known(None),
        Some(next) if next.tag.without_blob() == Tag::PUT => {
            retention.value_of(&next).map_or(Base::Unknown, |value| Base::Known(Some(value)))
        }
        Some(_) => Base::Unknown,
    }
}
