//! Writes that are applied together or not at all.

use std::sync::Arc;
use std::time::Duration;

use lsm_entry::{
    Entry, MAX_KEY_BYTES, Record, Records, Tag, encode_entry, encode_expiring, encode_keyspace,
    key_hash,
};

use crate::error::{Error, Result};
use crate::expiry::{NEVER_MS, ttl_ms};
use crate::keyspace::Keyspace;

pub use lsm_compaction::MAX_VALUE_BYTES;

/// The keyspace in which every batch begins.
pub(crate) const DEFAULT_KEYSPACE: u32 = 0;

/// Writes that are applied together or not at all, over any number of keyspaces. Of several to one
/// key the last one counts.
///
/// The records are encoded as they are added, in the log's own form, and hashed: what is left to
/// do under the write mutex is two copies. A batch can be written more than once, and reused after
/// [`clear`](Self::clear).
///
/// ```
/// use lsm_engine::WriteBatch;
///
/// let mut batch = WriteBatch::new();
/// batch.put("user:1", "Ada");
/// batch.delete("user:2");
/// assert_eq!(batch.len(), 2);
/// ```
#[derive(Clone, Debug, Default)]
pub struct WriteBatch {
    /// Records and keyspace selectors as the log stores them.
    pub(crate) payload: Vec<u8>,
    /// The key hash of each entry, in order.
    pub(crate) hashes: Vec<u64>,
    /// Each stretch of entries of one keyspace, in order.
    pub(crate) stretches: Vec<KeyspaceStretch>,
    /// Records, selectors included: how many sequence numbers the batch takes.
    pub(crate) records: u64,
    /// Whether some of its values have a time to live. Until the batch is [stamped](Self::stamped)
    /// that stands where the log has the time of expiry.
    pub(crate) has_ttl: bool,
    /// Whether every time to live was turned into a time of expiry.
    pub(crate) is_stamped: bool,
    /// How many of its entries are merge operands.
    pub(crate) operands: usize,
    /// Whether it deletes a key.
    pub(crate) has_deletes: bool,
    /// The first mistake made while filling it, reported when it is written.
    mistake: Option<String>,
}

/// Consecutive entries of a batch that go to one keyspace.
#[derive(Clone, Debug)]
pub(crate) struct KeyspaceStretch {
    pub(crate) keyspace: u32,
    /// The handle through which the entries were added; `None` for the default keyspace.
    pub(crate) handle: Option<Keyspace>,
    pub(crate) entries: usize,
    /// Key and value bytes.
    pub(crate) bytes: usize,
}

impl WriteBatch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets `key` to `value` in the default keyspace. A key or value beyond its limit is reported
    /// when the batch is written.
    pub fn put(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        self.add(None, Tag::PUT, key.as_ref(), value.as_ref());
    }

    /// Sets `key` to `value` in the default keyspace, for as long as `ttl` from when the batch is
    /// written; see [`Keyspace::put_ttl`].
    pub fn put_ttl(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>, ttl: Duration) {
        self.add_ttl(None, key.as_ref(), value.as_ref(), ttl);
    }

    /// Removes `key` from the default keyspace.
    pub fn delete(&mut self, key: impl AsRef<[u8]>) {
        self.has_deletes = true;
        self.add(None, Tag::DELETE, key.as_ref(), &[]);
    }

    /// Merges `operand` with the value of `key` in the default keyspace, by the keyspace's
    /// [merge operator](crate::MergeOperator). An operand that it does not take is reported when the
    /// batch is written.
    pub fn merge(&mut self, key: impl AsRef<[u8]>, operand: impl AsRef<[u8]>) {
        self.add(None, Tag::MERGE, key.as_ref(), operand.as_ref());
    }

    /// The same batch, adding to `keyspace`.
    ///
    /// ```
    /// # use lsm_engine::{Db, WriteBatch};
    /// # let dir = tempfile::tempdir()?;
    /// # let db = Db::open(dir.path())?;
    /// let users = db.keyspace("users")?;
    /// let mut batch = WriteBatch::new();
    /// batch.put("count", "1");
    /// batch.within(&users).put("1", "Ada");
    /// db.write(&batch)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn within<'a>(&'a mut self, keyspace: &'a Keyspace) -> BatchWithin<'a> {
        BatchWithin { batch: self, keyspace }
    }

    /// How many puts, deletes and merges it holds, a deleted range counted once.
    pub fn len(&self) -> usize {
        self.hashes.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// Whether it removes and does nothing else.
    pub(crate) fn only_deletes(&self) -> bool {
        Records::new(&self.payload).all(|record| match record {
            Ok(Record::Keyspace(_)) => true,
            Ok(Record::Entry { tag, .. }) => tag == Tag::DELETE || tag == Tag::RANGE_DELETE,
            Err(_) => false,
        })
    }

    /// Length of its encoded records in bytes.
    pub fn encoded_bytes(&self) -> usize {
        self.payload.len()
    }

    /// Empties it, keeping its memory for the next use.
    pub fn clear(&mut self) {
        self.payload.clear();
        self.hashes.clear();
        self.stretches.clear();
        self.records = 0;
        self.has_ttl = false;
        self.is_stamped = false;
        self.operands = 0;
        self.has_deletes = false;
        self.mistake = None;
    }

    pub(crate) fn add(&mut self, keyspace: Option<&Keyspace>, tag: Tag, key: &[u8], value: &[u8]) {
        let id = self.select(keyspace);
        self.add_here(id, tag, None, key, value, key_hash(key));
    }

    pub(crate) fn add_ttl(
        &mut self,
        keyspace: Option<&Keyspace>,
        key: &[u8],
        value: &[u8],
        ttl: Duration,
    ) {
        let id = self.select(keyspace);
        self.add_here(id, Tag::PUT, Some(ttl_ms(ttl)), key, value, key_hash(key));
    }

    /// Selects the keyspace that the next entries go to; returns its id.
    fn select(&mut self, keyspace: Option<&Keyspace>) -> u32 {
        let id = keyspace.map_or(DEFAULT_KEYSPACE, Keyspace::id);
        let last = self.stretches.last();
        let is_selected = id == last.map_or(DEFAULT_KEYSPACE, |last| last.keyspace);
        if !is_selected {
            encode_keyspace(&mut self.payload, id);
            self.records += 1;
        }
        // Keyspaces of two databases may have one id: every handle is kept, and checked when the
        // batch is written.
        let is_kept = keyspace.is_none_or(|keyspace| {
            let handle = last.and_then(|last| last.handle.as_ref());
            handle.is_some_and(|handle| Arc::ptr_eq(handle.core(), keyspace.core()))
        });
        if !is_selected || !is_kept {
            let handle = keyspace.cloned();
            self.stretches.push(KeyspaceStretch { keyspace: id, handle, entries: 0, bytes: 0 });
        }
        id
    }

    /// Adds an entry to the keyspace selected last, with its time to live if it has one. `hash` is its
    /// key's.
    fn add_here(
        &mut self,
        id: u32,
        tag: Tag,
        ttl_ms: Option<u64>,
        key: &[u8],
        value: &[u8],
        hash: u64,
    ) {
        if key.len() > MAX_KEY_BYTES {
            self.note_mistake(|| {
                format!("key of {} bytes; a key has at most {MAX_KEY_BYTES}", key.len())
            });
            return;
        }
        if value.len() > MAX_VALUE_BYTES {
            self.note_mistake(|| {
                format!("value of {} bytes; a value has at most {MAX_VALUE_BYTES}", value.len())
            });
            return;
        }
        if self.stretches.is_empty() {
            let (handle, entries, bytes) = (None, 0, 0);
            self.stretches.push(KeyspaceStretch { keyspace: id, handle, entries, bytes });
        }
        match ttl_ms {
            None => encode_entry(&mut self.payload, tag, key, value),
            Some(ttl_ms) => {
                self.has_ttl = true;
                encode_expiring(&mut self.payload, tag, ttl_ms, key, value);
            }
        }
        self.records += 1;
        self.operands += usize::from(tag == Tag::MERGE);
        self.hashes.push(hash);
        if let Some(stretch) = self.stretches.last_mut() {
            stretch.entries += 1;
            stretch.bytes += key.len() + value.len() + if ttl_ms.is_some() { 8 } else { 0 };
        }
    }

    /// The only entry of a scratch batch, in keyspace `id`, whose core the caller passes along; and its
    /// key's hash.
    pub(crate) fn add_single(
        &mut self,
        id: u32,
        tag: Tag,
        ttl: Option<Duration>,
        key: &[u8],
        value: &[u8],
        hash: u64,
    ) {
        if id != DEFAULT_KEYSPACE {
            encode_keyspace(&mut self.payload, id);
            self.records += 1;
            self.stretches.push(KeyspaceStretch {
                keyspace: id,
                handle: None,
                entries: 0,
                bytes: 0,
            });
        }
        self.add_here(id, tag, ttl.map(ttl_ms), key, value, hash);
    }

    /// The same batch as it is written at `now_ms`: with the time of expiry wherever a time to live
    /// is given or is the keyspace's default, which `default_ttls_ms` says for each stretch (0: none).
    ///
    /// From here on everything is settled: what the log replays does not depend on when.
    pub(crate) fn stamped(&self, now_ms: u64, default_ttls_ms: &[u64]) -> Self {
        let mut stamped = Self {
            payload: Vec::with_capacity(self.payload.len() + 8 * self.len()),
            hashes: self.hashes.clone(),
            stretches: self.stretches.clone(),
            records: self.records,
            operands: self.operands,
            has_deletes: self.has_deletes,
            has_ttl: false,
            is_stamped: true,
            mistake: None,
        };
        stamped.stretches.iter_mut().for_each(|stretch| stretch.bytes = 0);
        let entries = self.stretches.iter().map(|stretch| stretch.entries).enumerate();
        let mut places = entries.flat_map(|(place, count)| std::iter::repeat_n(place, count));
        for record in Records::new(&self.payload) {
            match record.expect("this batch was encoded here") {
                Record::Keyspace(id) => encode_keyspace(&mut stamped.payload, id),
                Record::Entry { tag, key, value } => {
                    let place = places.next().expect("every entry is in a stretch");
                    let entry = Entry { key, seq_no: 0, tag, value };
                    let ttl_ms = entry.expires_at_ms().or_else(|| {
                        let default = default_ttls_ms.get(place).copied().unwrap_or(0);
                        (tag == Tag::PUT && default > 0).then_some(default)
                    });
                    let value = entry.user_value();
                    let bytes = &mut stamped.stretches[place].bytes;
                    *bytes += key.len() + value.len();
                    match ttl_ms.map(|ttl_ms| now_ms.saturating_add(ttl_ms)) {
                        Some(expires_at_ms) if expires_at_ms < NEVER_MS => {
                            *bytes += 8;
                            stamped.has_ttl = true;
                            encode_expiring(
                                &mut stamped.payload,
                                Tag::PUT,
                                expires_at_ms,
                                key,
                                value,
                            );
                        }
                        Some(_) => encode_entry(&mut stamped.payload, Tag::PUT, key, value),
                        None => encode_entry(&mut stamped.payload, tag, key, value),
                    }
                }
            }
        }
        stamped
    }

    pub(crate) fn note_mistake(&mut self, mistake: impl FnOnce() -> String) {
        self.mistake.get_or_insert_with(mistake);
    }

    /// Whether the batch may be written.
    ///
    /// A batch larger than `bytes_max` is accepted only when it is a single entry: the memtable
    /// that it needs is as large as itself.
    pub(crate) fn check(&self, bytes_max: u64) -> Result<()> {
        if let Some(mistake) = &self.mistake {
            return Err(Error::invalid(mistake.clone()));
        }
        if self.len() > 1 && self.payload.len() as u64 > bytes_max {
            return Err(Error::invalid(format!(
                "batch of {} bytes; at most {bytes_max} are accepted (a quarter of memory_bytes)",
                self.payload.len()
            )));
        }
        if self.records > u64::from(u32::MAX) {
            return Err(Error::invalid(format!(
                "batch of {} records; at most {} are accepted",
                self.records,
                u32::MAX
            )));
        }
        Ok(())
    }
}

/// A batch, adding to one keyspace; see [`WriteBatch::within`].
#[derive(Debug)]
pub struct BatchWithin<'a> {
    pub(crate) batch: &'a mut WriteBatch,
    pub(crate) keyspace: &'a Keyspace,
}

impl BatchWithin<'_> {
    /// Sets `key` to `value`.
    pub fn put(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        self.batch.add(Some(self.keyspace), Tag::PUT, key.as_ref(), value.as_ref());
    }

    /// Sets `key` to `value` for as long as `ttl` from when the batch is written; see
    /// [`Keyspace::put_ttl`].
    pub fn put_ttl(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>, ttl: Duration) {
        self.batch.add_ttl(Some(self.keyspace), key.as_ref(), value.as_ref(), ttl);
    }

    /// Removes `key`.
    pub fn delete(&mut self, key: impl AsRef<[u8]>) {
        self.batch.has_deletes = true;
        self.batch.add(Some(self.keyspace), Tag::DELETE, key.as_ref(), &[]);
    }

    /// Merges `operand` with the value of `key`; see [`WriteBatch::merge`].
    pub fn merge(&mut self, key: impl AsRef<[u8]>, operand: impl AsRef<[u8]>) {
        self.batch.add(Some(self.keyspace), Tag::MERGE, key.as_ref(), operand.as_ref());
    }
}
