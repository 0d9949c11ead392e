//! A database in the place of its default keyspace: every method of it, so that whoever needs one
//! keyspace never meets the word.

use std::ops::RangeBounds;
use std::time::Duration;

use lsm_entry::SeqNo;

use crate::db::Db;
use crate::error::Result;
use crate::iter::Iter;
use crate::keyspace::Keyspace;
use crate::options::{KeyspaceOptions, WriteOptions};
use crate::reads::{Reads, Scan};
use crate::scan::EntryCursor;
use crate::value::Value;

impl Db {
    /// The default keyspace.
    pub fn default_keyspace(&self) -> &Keyspace {
        &self.default
    }

    /// Sets `key` to `value`; see [`Keyspace::put`].
    ///
    /// # Errors
    /// Those of [`Keyspace::put`].
    pub fn put(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<()> {
        self.default.put(key, value)
    }

    /// Sets `key` to `value`; see [`Keyspace::put_with`].
    ///
    /// # Errors
    /// Those of [`Keyspace::put_with`].
    pub fn put_with(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        options: WriteOptions,
    ) -> Result<SeqNo> {
        self.default.put_with(key, value, options)
    }

    /// Sets `key` to `value` for as long as `ttl`; see [`Keyspace::put_ttl`].
    ///
    /// # Errors
    /// Those of [`Keyspace::put`].
    pub fn put_ttl(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        ttl: Duration,
    ) -> Result<()> {
        self.default.put_ttl(key, value, ttl)
    }

    /// Sets `key` to `value` for as long as `ttl`; see [`Keyspace::put_ttl_with`].
    ///
    /// # Errors
    /// Those of [`Keyspace::put_with`].
    pub fn put_ttl_with(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        ttl: Duration,
        options: WriteOptions,
    ) -> Result<SeqNo> {
        self.default.put_ttl_with(key, value, ttl, options)
    }

    /// Removes `key`; see [`Keyspace::delete`].
    ///
    /// # Errors
    /// Those of [`Keyspace::put`].
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Result<()> {
        self.default.delete(key)
    }

    /// Removes `key`; see [`Keyspace::delete_with`].
    ///
    /// # Errors
    /// Those of [`Keyspace::put_with`].
    pub fn delete_with(&self, key: impl AsRef<[u8]>, options: WriteOptions) -> Result<SeqNo> {
        self.default.delete_with(key, options)
    }

    /// Merges `operand` with the value of `key`; see [`Keyspace::merge`].
    ///
    /// # Errors
    /// Those of [`Keyspace::merge`].
    pub fn merge(&self, key: impl AsRef<[u8]>, operand: impl AsRef<[u8]>) -> Result<()> {
        self.default.merge(key, operand)
    }

    /// Merges `operand` with the value of `key`; see [`Keyspace::merge_with`].
    ///
    /// # Errors
    /// Those of [`Keyspace::merge_with`].
    pub fn merge_with(
        &self,
        key: impl AsRef<[u8]>,
        operand: impl AsRef<[u8]>,
        options: WriteOptions,
    ) -> Result<SeqNo> {
        self.default.merge_with(key, operand, options)
    }

    /// Merges a range to the bottom; see [`Keyspace::compact_range`].
    ///
    /// # Errors
    /// Those of [`Keyspace::compact_range`].
    pub fn compact_range<K: AsRef<[u8]>>(&self, range: impl RangeBounds<K>) -> Result<()> {
        self.default.compact_range(range)
    }

    /// About how many bytes a range takes on disk; see [`Keyspace::approximate_size`].
    pub fn approximate_size<K: AsRef<[u8]>>(&self, range: impl RangeBounds<K>) -> u64 {
        self.default.approximate_size(range)
    }

    /// Options of the default keyspace.
    pub fn options(&self) -> KeyspaceOptions {
        self.default.options()
    }

    /// Changes the default keyspace's options; see [`Keyspace::set_options`].
    ///
    /// # Errors
    /// Those of [`Keyspace::set_options`].
    pub fn set_options(&self, options: KeyspaceOptions) -> Result<()> {
        self.default.set_options(options)
    }
}

impl Reads for Db {
    fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Value>> {
        self.default.get(key)
    }

    fn get_with<R>(
        &self,
        key: impl AsRef<[u8]>,
        visit: impl FnOnce(&[u8]) -> R,
    ) -> Result<Option<R>> {
        self.default.get_with(key, visit)
    }

    fn multi_get<K: AsRef<[u8]>>(&self, keys: &[K]) -> Result<Vec<Option<Value>>> {
        self.default.multi_get(keys)
    }

    fn scan(&self, scan: Scan) -> Iter {
        self.default.scan(scan)
    }

    fn cursor(&self) -> EntryCursor {
        self.default.cursor()
    }
}
