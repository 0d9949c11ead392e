//! Whether a table's filter is worth asking.
//!
//! A filter saves the reads of those keys that its table does not hold, and costs every lookup a cache line. Where
//! all that is looked for is there, as in the oldest run of a tree that is asked for what it holds, it
//! never says no, and is only in the way. So a filter that has said no to none of some thousand lookups is not
//! asked, until one of them finds nothing: at most one block in so many lookups is read in vain.

use std::sync::atomic::{AtomicU32, Ordering};

/// One find in so many is counted, so that hardly anybody stores to what all look at.
const FINDS_COUNTED: u64 = 64;
/// So many of these in a row, and the filter is not asked.
const ENOUGH: u32 = 64;

/// What became of a table's latest lookups. Nothing depends on a count that two threads have taken at once.
#[derive(Debug, Default)]
pub(crate) struct FilterUse {
    /// Finds that were counted since a lookup found nothing.
    finds: AtomicU32,
}

impl FilterUse {
    /// Whether the filter is to be asked.
    #[inline]
    pub(crate) fn pays(&self) -> bool {
        self.finds.load(Ordering::Relaxed) < ENOUGH
    }

    /// The key with this hash was found.
    #[inline]
    pub(crate) fn note_found(&self, hash: u64) {
        let finds = self.finds.load(Ordering::Relaxed);
        if finds < ENOUGH && hash.is_multiple_of(FINDS_COUNTED) {
            self.finds.store(finds + 1, Ordering::Relaxed);
        }
    }

    /// The filter said no, or should have.
    #[inline]
    pub(crate) fn note_absent(&self) {
        if self.finds.load(Ordering::Relaxed) > 0 {
            self.finds.store(0, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Db, Env, Options, Reads};

    #[test]
    fn reads_ask_a_filter_only_where_something_was_absent() {
        let env = Env::simulated(lsm_io::SimFs::new(1).shared());
        let db = Db::open_with("db", Options { env, ..Options::default() }).expect("opens");
        let mut batch = crate::WriteBatch::new();
        let keys = || (0..10_000_u32).map(|number| (2 * number).to_be_bytes());
        keys().for_each(|key| batch.put(key, "value"));
        db.write(&batch).expect("writes");
        db.flush().expect("flushes");
        let pays = || {
            let view = db.default_keyspace().core().view.load();
            view.tree.tables().all(|table| table.filter_use.pays())
        };
        let absent = 4001_u32.to_be_bytes();
        for _ in 0..2 {
            assert!(pays());
            assert!(keys().all(|key| db.contains_key(key).expect("reads")));
            assert!(!pays(), "everything was found");
            assert_eq!(db.get(absent).expect("reads"), None);
            assert!(pays());
            assert_eq!(db.get(absent).expect("reads"), None);
        }
        assert_eq!(db.metrics().filter_false_positives, 0, "what was not asked said nothing false");
    }

    #[test]
    fn a_filter_is_asked_until_thousands_were_found_and_again_once_something_is_absent() {
        let filter = FilterUse::default();
        let find_all = |hashes: u64| (0..hashes).for_each(|hash| filter.note_found(hash));
        for _ in 0..3 {
            find_all(FINDS_COUNTED * u64::from(ENOUGH) - FINDS_COUNTED);
            assert!(filter.pays());
            find_all(1);
            assert!(!filter.pays());
            filter.note_absent();
            assert!(filter.pays());
        }
    }

    #[test]
    fn one_absent_key_among_them_is_enough_for_a_filter_to_be_asked() {
        let filter = FilterUse::default();
        for hash in 0..100_000 {
            filter.note_found(hash);
            if hash % 1000 == 0 {
                filter.note_absent();
            }
            assert!(filter.pays());
        }
    }
}
