//! What lies in tables below a memtable that is to become one itself: whatever has nothing there to
//! hide need not be written.

use std::sync::Arc;

use lsm_entry::{Cursor, Fragment, MAX_KEY_BYTES, bound_after, is_below};
use lsm_memtable::Memtable;
use lsm_version::{TableRecord, Version};

/// The tables that are older than a memtable.
#[derive(Clone, Debug)]
pub(crate) enum Older {
    /// These.
    Tables(Vec<Arc<TableRecord>>),
    /// A repair finds out later.
    Unknown,
}

/// Keys that older tables may hold, as stretches in order and apart from each other, both of whose ends
/// belong to them.
#[derive(Debug)]
pub(crate) struct OlderKeys<'a>(Vec<(&'a [u8], &'a [u8])>);

impl Older {
    /// All of a version.
    pub(crate) fn of(version: &Version) -> Self {
        Self::Tables(version.tables().map(|(_, table)| Arc::clone(table)).collect())
    }

    /// These are older than the next memtable, too.
    pub(crate) fn extend(&mut self, records: &[Arc<TableRecord>]) {
        if let Self::Tables(tables) = self {
            tables.extend(records.iter().cloned());
        }
    }

    /// Where they may hold something; `None`: anywhere.
    pub(crate) fn keys(&self) -> Option<OlderKeys<'_>> {
        let Self::Tables(tables) = self else { return None };
        let mut stretches: Vec<(&[u8], &[u8])> =
            tables.iter().map(|table| (&table.lower[..], &table.upper[..])).collect();
        stretches.sort_unstable();
        stretches.dedup_by(|next, before| {
            let meets = next.0 <= before.1;
            if meets {
                before.1 = before.1.max(next.1);
            }
            meets
        });
        Some(OlderKeys(stretches))
    }

    /// Whether nothing of them lies under a fragment.
    pub(crate) fn is_clear_of(&self, fragment: &Fragment) -> bool {
        let Self::Tables(tables) = self else { return false };
        tables.iter().all(|table| {
            table.upper.as_slice() < fragment.lower() || !is_below(&table.lower, fragment.upper())
        })
    }

    /// A bound above all that they and `memtable` hold, in the place of none.
    pub(crate) fn end(&self, memtable: &Arc<Memtable>) -> Vec<u8> {
        let Self::Tables(tables) = self else { return bound_after(&[0xFF; MAX_KEY_BYTES]) };
        let mut cursor = memtable.cursor();
        let Ok(()) = cursor.seek_last();
        let own = cursor.entry().map(|entry| entry.key);
        let keys = tables.iter().map(|table| table.upper.as_slice()).chain(own);
        bound_after(keys.max().unwrap_or_default())
    }
}

impl OlderKeys<'_> {
    pub(crate) fn may_hold(&self, key: &[u8]) -> bool {
        let behind = self.0.partition_point(|(lower, _)| *lower <= key);
        behind > 0 && key <= self.0[behind - 1].1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(range: &str) -> Arc<TableRecord> {
        let (lower, upper) = range.split_once('-').expect("a range has two ends");
        let (lower, upper) = (lower.as_bytes().to_vec(), upper.as_bytes().to_vec());
        Arc::new(TableRecord { lower, upper, ..TableRecord::default() })
    }

    #[track_caller]
    fn check_keys(tables: &str, held: &str, not_held: &str) {
        let older = Older::Tables(tables.split(' ').map(table).collect());
        let keys = older.keys().expect("they are known");
        held.split(' ').for_each(|key| assert!(keys.may_hold(key.as_bytes()), "{key}"));
        not_held.split(' ').for_each(|key| assert!(!keys.may_hold(key.as_bytes()), "{key}"));
    }

    #[test]
    fn tables_may_hold_what_lies_between_their_ends() {
        check_keys("c-e", "c d e", "a bz ea f");
        check_keys("m-p c-k e-g p-q", "c h k m p q", "b kz l qa");
        check_keys("a-a b-b", "a b", "aa c");
    }

    #[test]
    fn where_there_is_no_table_nothing_may_be_held() {
        assert!(!Older::Tables(Vec::new()).keys().expect("they are known").may_hold(b"a"));
        assert!(Older::Unknown.keys().is_none());
    }
}
