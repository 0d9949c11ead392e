//! Deleting every key of a range with one record, whatever it holds.
//!
//! The record's key is the range's first key, its value the first key beyond it, and an empty value
//! says that there is none (see docs/formats/log.md). A bound of any kind can be said so, for the key
//! after a key is known: a zero byte longer.

use std::ops::{Bound, RangeBounds};

use lsm_entry::{MAX_KEY_BYTES, SeqNo, Tag, bound_after, is_below, key_after};

use crate::batch::{BatchWithin, WriteBatch};
use crate::db::Db;
use crate::error::Result;
use crate::keyspace::Keyspace;
use crate::options::WriteOptions;
use crate::reads::Scan;

impl Scan {
    /// The first key of the range, and the first beyond it (empty: there is none); `None`: no key
    /// lies in it.
    pub(crate) fn half_open(&self) -> Option<(Vec<u8>, Vec<u8>)> {
        let lower = match &self.lower {
            Bound::Unbounded => Vec::new(),
            Bound::Included(key) => key.clone(),
            Bound::Excluded(key) => key_after(key)?,
        };
        let upper = match &self.upper {
            Bound::Unbounded => Vec::new(),
            Bound::Included(key) => bound_after(key),
            Bound::Excluded(key) if key.is_empty() => return None,
            Bound::Excluded(key) => key.clone(),
        };
        is_below(&lower, &upper).then_some((lower, upper))
    }
}

impl WriteBatch {
    /// Removes every key of `range` from the default keyspace: those that are there when the batch is
    /// written, and those put by it before this. It costs as much as one delete, however many there
    /// are. A range in which no key can lie adds nothing.
    ///
    /// ```
    /// # use lsm_engine::{Db, Reads, WriteBatch};
    /// # let dir = tempfile::tempdir()?;
    /// # let db = Db::open(dir.path())?;
    /// db.put("job:1", "old")?;
    /// let mut batch = WriteBatch::new();
    /// batch.delete_range("job:".."job;");
    /// batch.put("job:2", "new");
    /// db.write(&batch)?; // Replaces all jobs in one instant.
    /// assert_eq!(db.keys().count(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn delete_range<K: AsRef<[u8]>>(&mut self, range: impl RangeBounds<K>) {
        self.add_range_delete(None, &Scan::range(range));
    }

    /// Removes every key that begins with `prefix` from the default keyspace; see
    /// [`delete_range`](Self::delete_range).
    pub fn delete_prefix(&mut self, prefix: impl AsRef<[u8]>) {
        self.add_range_delete(None, &Scan::prefix(prefix));
    }

    pub(crate) fn add_range_delete(&mut self, keyspace: Option<&Keyspace>, scan: &Scan) {
        let Some((lower, upper)) = scan.half_open() else { return };
        // What follows the longest key is a byte longer.
        let longest = lower.len().max(upper.len().saturating_sub(1));
        if longest > MAX_KEY_BYTES {
            self.note_mistake(|| {
                format!("bound of {longest} bytes; a key has at most {MAX_KEY_BYTES}")
            });
            return;
        }
        self.add(keyspace, Tag::RANGE_DELETE, &lower, &upper);
    }
}

impl BatchWithin<'_> {
    /// Removes every key of `range`; see [`WriteBatch::delete_range`].
    pub fn delete_range<K: AsRef<[u8]>>(&mut self, range: impl RangeBounds<K>) {
        self.batch.add_range_delete(Some(self.keyspace), &Scan::range(range));
    }

    /// Removes every key that begins with `prefix`; see [`WriteBatch::delete_range`].
    pub fn delete_prefix(&mut self, prefix: impl AsRef<[u8]>) {
        self.batch.add_range_delete(Some(self.keyspace), &Scan::prefix(prefix));
    }
}

impl Keyspace {
    /// Removes every key of `range`, in one instant and for the price of one delete, however many
    /// there are. Their room on the disk is free once tables are merged; tables that lie in the range
    /// whole go without being read.
    ///
    /// ```
    /// # use lsm_engine::{Db, Reads};
    /// # let dir = tempfile::tempdir()?;
    /// # let db = Db::open(dir.path())?;
    /// db.put("2024-12-31", "old")?;
    /// db.put("2025-01-01", "new")?;
    /// db.delete_range(.."2025")?;
    /// assert!(!db.contains_key("2024-12-31")?);
    /// assert!(db.contains_key("2025-01-01")?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`put`](Self::put); `Invalid` for a bound longer than a key can be.
    pub fn delete_range<K: AsRef<[u8]>>(&self, range: impl RangeBounds<K>) -> Result<()> {
        self.delete_range_with(range, WriteOptions::default()).map(drop)
    }

    /// The same; returns the write's sequence number.
    ///
    /// # Errors
    /// Those of [`delete_range`](Self::delete_range), and `Busy` past the deadline.
    pub fn delete_range_with<K: AsRef<[u8]>>(
        &self,
        range: impl RangeBounds<K>,
        options: WriteOptions,
    ) -> Result<SeqNo> {
        self.delete_scan(&Scan::range(range), options)
    }

    /// Removes every key that begins with `prefix`; see [`delete_range`](Self::delete_range).
    ///
    /// # Errors
    /// Those of [`delete_range`](Self::delete_range).
    pub fn delete_prefix(&self, prefix: impl AsRef<[u8]>) -> Result<()> {
        self.delete_scan(&Scan::prefix(prefix), WriteOptions::default()).map(drop)
    }

    fn delete_scan(&self, scan: &Scan, options: WriteOptions) -> Result<SeqNo> {
        self.db.shared.check_readable(&self.core)?;
        let mut batch = WriteBatch::new();
        batch.add_range_delete(Some(self), scan);
        self.db.shared.write_batch(&batch, None, options)
    }
}

impl Db {
    /// Removes every key of a range of the default keyspace; see [`Keyspace::delete_range`].
    ///
    /// # Errors
    /// Those of [`Keyspace::delete_range`].
    pub fn delete_range<K: AsRef<[u8]>>(&self, range: impl RangeBounds<K>) -> Result<()> {
        self.default_keyspace().delete_range(range)
    }

    /// The same; see [`Keyspace::delete_range_with`].
    ///
    /// # Errors
    /// Those of [`Keyspace::delete_range_with`].
    pub fn delete_range_with<K: AsRef<[u8]>>(
        &self,
        range: impl RangeBounds<K>,
        options: WriteOptions,
    ) -> Result<SeqNo> {
        self.default_keyspace().delete_range_with(range, options)
    }

    /// Removes every key of the default keyspace that begins with `prefix`; see
    /// [`Keyspace::delete_prefix`].
    ///
    /// # Errors
    /// Those of [`Keyspace::delete_range`].
    pub fn delete_prefix(&self, prefix: impl AsRef<[u8]>) -> Result<()> {
        self.default_keyspace().delete_prefix(prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_half_open(scan: &Scan, expected: Option<(&[u8], &[u8])>) {
        let expected = expected.map(|(lower, upper)| (lower.to_vec(), upper.to_vec()));
        assert_eq!(scan.half_open(), expected, "{scan:?}");
    }

    fn above(key: &[u8]) -> Scan {
        Scan { lower: Bound::Excluded(key.to_vec()), upper: Bound::Unbounded }
    }

    #[test]
    fn every_range_has_a_first_key_and_a_first_key_beyond() {
        check_half_open(&Scan::all(), Some((b"", b"")));
        check_half_open(&Scan::range("a".."c"), Some((b"a", b"c")));
        check_half_open(&Scan::range("a"..="c"), Some((b"a", b"c\0")));
        check_half_open(&above(b"a"), Some((b"a\0", b"")));
        check_half_open(&Scan::range(..=""), Some((b"", b"\0")));
        check_half_open(&Scan::prefix([0xFF]), Some((&[0xFF], b"")));
    }

    #[test]
    fn a_range_without_keys_is_none() {
        check_half_open(&Scan::range("c".."a"), None);
        check_half_open(&Scan::range("a".."a"), None);
        check_half_open(&Scan::range(..""), None);
        check_half_open(&above(&[0xFF; MAX_KEY_BYTES]), None);
    }
}
