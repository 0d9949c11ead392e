//! What can be read, through whatever handle.

use std::ops::{Bound, RangeBounds};

use crate::error::Result;
use crate::iter::Iter;
use crate::scan::EntryCursor;
use crate::value::{Key, Value};

/// A range of keys to scan: its bounds, as bytes.
///
/// Made from Rust ranges, or from a prefix:
///
/// ```
/// use lsm_engine::Scan;
///
/// assert_eq!(Scan::prefix("ab"), Scan::range("ab".."ac"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scan {
    pub(crate) lower: Bound<Vec<u8>>,
    pub(crate) upper: Bound<Vec<u8>>,
}

impl Scan {
    /// Every key.
    pub fn all() -> Self {
        Self { lower: Bound::Unbounded, upper: Bound::Unbounded }
    }

    /// The keys in `range`.
    pub fn range<K: AsRef<[u8]>>(range: impl RangeBounds<K>) -> Self {
        let owned = |bound: Bound<&K>| bound.map(|key| key.as_ref().to_vec());
        Self { lower: owned(range.start_bound()), upper: owned(range.end_bound()) }
    }

    /// The keys that begin with `prefix`.
    pub fn prefix(prefix: impl AsRef<[u8]>) -> Self {
        let lower = prefix.as_ref().to_vec();
        // The first key beyond all that begin so: the prefix with its last byte that can grow
        // increased, and what follows it cut off. Only 0xFF bytes: nothing lies beyond.
        let mut upper = lower.clone();
        while let Some(last) = upper.pop() {
            if last < 0xFF {
                upper.push(last + 1);
                return Self { lower: Bound::Included(lower), upper: Bound::Excluded(upper) };
            }
        }
        Self { lower: Bound::Included(lower), upper: Bound::Unbounded }
    }

    /// Whether `key` lies in it.
    pub(crate) fn contains(&self, key: &[u8]) -> bool {
        let bounds = (self.lower.as_ref(), self.upper.as_ref());
        let bounds = (bounds.0.map(Vec::as_slice), bounds.1.map(Vec::as_slice));
        <(Bound<&[u8]>, Bound<&[u8]>) as RangeBounds<[u8]>>::contains(&bounds, key)
    }
}

/// What can be read from a keyspace, from a snapshot, and from a database's default keyspace.
///
/// Keys are ordered by unsigned bytes. No read waits for a write, a flush, a compaction or a sync.
/// Reads fail with `Corrupt` (the message names file and offset; other keys keep working) or `Io`,
/// with `Closed` once the database was closed, with `Invalid` once the keyspace was dropped, and with
/// `Merge` where merge operands come to nothing that their operator accepts.
///
/// ```
/// use lsm_engine::{Db, Reads};
///
/// # let dir = tempfile::tempdir()?;
/// # let db = Db::open(dir.path())?;
/// for (key, value) in [("a", "1"), ("b", "2"), ("c", "3")] {
///     db.put(key, value)?;
/// }
/// let snapshot = db.snapshot();
/// db.delete("b")?;
/// assert_eq!(db.multi_get(&["a", "b"])?[1], None);
/// assert_eq!(snapshot.get("b")?.as_deref(), Some(&b"2"[..]));
/// let keys = snapshot.range("b"..).rev().map(|entry| entry.map(|(key, _)| key));
/// assert_eq!(keys.collect::<Result<Vec<_>, _>>()?, ["c", "b"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Reads {
    /// The value of `key`. Costs no disk access while the data is in memory; at most one block per
    /// run whose filter says "perhaps".
    ///
    /// # Errors
    /// `Corrupt`, `Io`, `Closed`, `Invalid`, `Merge`.
    fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Value>>;

    /// What `visit` makes of the value of `key`, which it is lent where it lies: the fastest point read,
    /// for nothing is copied. `None` if there is no value; `visit` is not called then.
    ///
    /// While `visit` runs, no memory and no file is given back that it could look at: it should take
    /// what it wants and return. It may read and write the database.
    ///
    /// ```
    /// # use lsm_engine::{Db, Reads};
    /// # let dir = tempfile::tempdir()?;
    /// # let db = Db::open(dir.path())?;
    /// db.put("apple", "red")?;
    /// assert_eq!(db.get_with("apple", |value| value.len())?, Some(3));
    /// assert_eq!(db.get_with("lemon", |value| value.len())?, None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`get`](Self::get).
    fn get_with<R>(
        &self,
        key: impl AsRef<[u8]>,
        visit: impl FnOnce(&[u8]) -> R,
    ) -> Result<Option<R>> {
        Ok(self.get(key)?.map(|value| visit(&value)))
    }

    /// The values of `keys`, in their order, all at one moment.
    ///
    /// # Errors
    /// `Corrupt`, `Io`, `Closed`, `Invalid`, `Merge`.
    fn multi_get<K: AsRef<[u8]>>(&self, keys: &[K]) -> Result<Vec<Option<Value>>>;

    /// The entries in a range, ascending; a double-ended iterator.
    fn scan(&self, scan: Scan) -> Iter;

    /// A cursor over all entries: the fastest way to scan, lending keys and values.
    fn cursor(&self) -> EntryCursor;

    /// Whether `key` has a value.
    ///
    /// # Errors
    /// `Corrupt`, `Io`, `Closed`, `Invalid`, `Merge`.
    fn contains_key(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        Ok(self.get_with(key, |_| ())?.is_some())
    }

    /// All entries.
    fn iter(&self) -> Iter {
        self.scan(Scan::all())
    }

    /// The entries whose keys lie in `range`: `db.range("a".."c")`.
    fn range<K: AsRef<[u8]>>(&self, range: impl RangeBounds<K>) -> Iter {
        self.scan(Scan::range(range))
    }

    /// The entries whose keys begin with `prefix`.
    fn prefix(&self, prefix: impl AsRef<[u8]>) -> Iter {
        self.scan(Scan::prefix(prefix))
    }

    /// All keys, ascending. Values that lie in blob files are not read.
    fn keys(&self) -> impl DoubleEndedIterator<Item = Result<Key>> {
        self.iter().keys_only().map(|entry| entry.map(|(key, _)| key))
    }

    /// The entry with the smallest key.
    ///
    /// # Errors
    /// `Corrupt`, `Io`, `Closed`, `Invalid`, `Merge`.
    fn first(&self) -> Result<Option<(Key, Value)>> {
        self.iter().next().transpose()
    }

    /// The entry with the largest key.
    ///
    /// # Errors
    /// `Corrupt`, `Io`, `Closed`, `Invalid`, `Merge`.
    fn last(&self) -> Result<Option<(Key, Value)>> {
        self.iter().next_back().transpose()
    }
}
