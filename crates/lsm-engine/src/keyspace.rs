//! A named map of its own within a database.

use std::fmt;
use std::ops::RangeBounds;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use lsm_entry::{SeqNo, Tag};
use lsm_memtable::Memtable;

use crate::db::Handle;
use crate::error::{Error, Result};
use crate::gaps::Gaps;
use crate::iter::Iter;
use crate::operator::Operator;
use crate::options::{KeyspaceOptions, WriteOptions};
use crate::readership::Readership;
use crate::reads::{Reads, Scan};
use crate::scan::{EntryCursor, SpareStands};
use crate::snapshot::Registered;
use crate::spread::Spread;
use crate::stats::Counter;
use crate::sync::ArcSwap;
use crate::value::Value;
use crate::view::View;

/// The longest name of a keyspace, in bytes of UTF-8.
pub const MAX_KEYSPACE_NAME_BYTES: usize = 255;

/// A keyspace as the engine keeps it.
#[derive(Debug)]
pub(crate) struct KeyspaceCore {
    pub(crate) id: u32,
    pub(crate) name: String,
    pub(crate) view: ArcSwap<View>,
    /// What cursors over the view have left to the next ones.
    pub(crate) spare_stands: SpareStands,
    pub(crate) options: Mutex<Arc<KeyspaceOptions>>,
    /// [`KeyspaceOptions::ttl_ms`]; 0: none.
    pub(crate) ttl_ms: AtomicU64,
    /// What works on merge operands, once a user has given it.
    pub(crate) operator: OnceLock<Operator>,
    /// A read has met more operands in the active memtable than reads should.
    pub(crate) has_long_chain: AtomicBool,
    pub(crate) dropped: AtomicBool,
    /// Held by whoever flushes it: one flush at a time keeps runs in the order of their age.
    pub(crate) flushing: Mutex<()>,
    /// Point reads and seeks since it was opened.
    pub(crate) lookups: Counter,
    /// How many there were when its runs were last merged for their sake.
    pub(crate) lookups_merged: AtomicU64,
    /// Whether it is read while it is written.
    pub(crate) readership: Readership,
    /// When the active memtable took its first write, in milliseconds since 1970; 0: it is empty.
    pub(crate) active_since_ms: AtomicU64,
    /// A scan has stepped over many entries for few.
    pub(crate) is_swamp: AtomicBool,
    /// Where nothing lives.
    pub(crate) gaps: Gaps,
    /// Deletes since it was opened (see `sweep.rs`).
    pub(crate) deletes: AtomicU64,
}

impl KeyspaceCore {
    pub(crate) fn options(&self) -> Arc<KeyspaceOptions> {
        Arc::clone(&self.options.lock().expect("no holder panicked"))
    }

    pub(crate) fn set_options(&self, options: Arc<KeyspaceOptions>) {
        self.ttl_ms.store(options.ttl_ms.unwrap_or(0), Ordering::Relaxed);
        *self.options.lock().expect("no holder panicked") = options;
    }

    /// The oldest and the newest sequence number that are in memory only, not counting the sealed
    /// memtables in `flushed`.
    pub(crate) fn unflushed(&self, flushed: &[Arc<Memtable>]) -> Option<(SeqNo, SeqNo)> {
        let view = self.view.load();
        view.with_tree(Arc::clone(&view.tree), flushed).unflushed()
    }

    /// How long a put that does not say is kept, in milliseconds; 0: for ever.
    #[inline]
    pub(crate) fn default_ttl_ms(&self) -> u64 {
        self.ttl_ms.load(Ordering::Relaxed)
    }

    pub(crate) fn is_dropped(&self) -> bool {
        self.dropped.load(Ordering::Acquire)
    }

    /// What whoever still holds a handle is told.
    pub(crate) fn dropped_error(&self) -> Error {
        Error::invalid(format!("keyspace \"{}\" was dropped", self.name))
    }

    /// What whoever uses it with another database than its own is told.
    pub(crate) fn foreign_error(&self) -> Error {
        Error::invalid(format!("keyspace \"{}\" belongs to another open database", self.name))
    }

    /// Swaps the view for another made from it.
    pub(crate) fn swap_view(&self, change: impl Fn(&View) -> View) {
        self.view.rcu(|view| change(view));
        self.spare_stands.clear();
    }

    /// Whether somebody reads it while it is written.
    pub(crate) fn is_read(&self) -> bool {
        self.readership.is_there(self.lookups.total())
    }

    /// Puts `active` in place of the active memtable, which is sealed behind it.
    pub(crate) fn seal(&self, active: &Arc<Memtable>) {
        let sealed_bytes = self.view.load().active.allocated_bytes() as u64;
        self.readership.note_seal(self.lookups.total(), sealed_bytes);
        self.swap_view(|view| view.with_sealed(Arc::clone(active)));
        self.active_since_ms.store(0, Ordering::Relaxed);
        self.has_long_chain.store(false, Ordering::Relaxed);
    }
}

/// A named map of its own within a database: it shares the log, the order of writes, the cache and
/// the threads with the others, and a [`WriteBatch`](crate::WriteBatch) over several is atomic.
///
/// Owned, cheap to clone, `Send + Sync`. Every method of the default keyspace is also there on
/// [`Db`](crate::Db).
#[derive(Clone)]
pub struct Keyspace {
    pub(crate) db: Spread<Handle>,
    pub(crate) core: Spread<KeyspaceCore>,
}

impl Keyspace {
    pub(crate) fn core(&self) -> &Spread<KeyspaceCore> {
        &self.core
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.core.name
    }

    pub(crate) fn id(&self) -> u32 {
        self.core.id
    }

    /// Sets `key` to `value`; returns once the write is as durable as the options say.
    ///
    /// # Errors
    /// `Invalid` for a [key](crate::MAX_KEY_BYTES) or [value](crate::MAX_VALUE_BYTES) beyond its
    /// limit, `ReadOnly`, `NoSpace`, `Io`. After an error for which [`Error::is_outcome_unknown`] holds, the write may be found at the next open.
    pub fn put(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<()> {
        self.put_with(key, value, WriteOptions::default()).map(drop)
    }

    /// Sets `key` to `value`; returns the write's sequence number.
    ///
    /// # Errors
    /// Those of [`put`](Self::put), and `Busy` past the deadline.
    pub fn put_with(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        options: WriteOptions,
    ) -> Result<SeqNo> {
        let (key, value) = (key.as_ref(), value.as_ref());
        self.db.shared.write_one(&self.core, Tag::PUT, None, key, value, options)
    }

    /// Sets `key` to `value` for as long as `ttl`: after that no read finds it, and merges remove it
    /// from the disk. What it has replaced stays gone. Instead of
    /// [`KeyspaceOptions::ttl_ms`], which holds for puts that do not say.
    ///
    /// The time counts from the call, by [`Db::database_time_ms`](crate::Db::database_time_ms), to the
    /// millisecond; what is too long to be counted is for ever. A snapshot sees what was there at the
    /// time at which it was taken, however long it is held.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use lsm_engine::{Db, Reads};
    /// # let dir = tempfile::tempdir()?;
    /// # let db = Db::open(dir.path())?;
    /// db.put_ttl("session:7", "Ada", Duration::from_secs(3600))?;
    /// db.put_ttl("token", "secret", Duration::ZERO)?;
    /// assert!(db.contains_key("session:7")?);
    /// assert!(!db.contains_key("token")?, "its time is over");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`put`](Self::put).
    pub fn put_ttl(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        ttl: Duration,
    ) -> Result<()> {
        self.put_ttl_with(key, value, ttl, WriteOptions::default()).map(drop)
    }

    /// Sets `key` to `value` for as long as `ttl`; returns the write's sequence number.
    ///
    /// # Errors
    /// Those of [`put`](Self::put), and `Busy` past the deadline.
    pub fn put_ttl_with(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        ttl: Duration,
        options: WriteOptions,
    ) -> Result<SeqNo> {
        let (key, value) = (key.as_ref(), value.as_ref());
        self.db.shared.write_one(&self.core, Tag::PUT, Some(ttl), key, value, options)
    }

    /// Removes `key`, if it is there.
    ///
    /// # Errors
    /// Those of [`put`](Self::put).
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Result<()> {
        self.delete_with(key, WriteOptions::default()).map(drop)
    }

    /// Removes `key`, if it is there; returns the write's sequence number.
    ///
    /// # Errors
    /// Those of [`put`](Self::put), and `Busy` past the deadline.
    pub fn delete_with(&self, key: impl AsRef<[u8]>, options: WriteOptions) -> Result<SeqNo> {
        let key = key.as_ref();
        let seq_no = self.db.shared.write_one(&self.core, Tag::DELETE, None, key, &[], options)?;
        self.sweep_after_delete(key);
        Ok(seq_no)
    }

    /// Merges `operand` with the value of `key`, by the keyspace's
    /// [merge operator](KeyspaceOptions::merge_operator), without reading it: what they come to is told
    /// by reads.
    ///
    /// # Errors
    /// Those of [`put`](Self::put), and `Invalid` where the keyspace has no merge operator, or one that
    /// does not take this operand.
    pub fn merge(&self, key: impl AsRef<[u8]>, operand: impl AsRef<[u8]>) -> Result<()> {
        self.merge_with(key, operand, WriteOptions::default()).map(drop)
    }

    /// Merges `operand` with the value of `key`; returns the write's sequence number.
    ///
    /// # Errors
    /// Those of [`merge`](Self::merge), and `Busy` past the deadline.
    pub fn merge_with(
        &self,
        key: impl AsRef<[u8]>,
        operand: impl AsRef<[u8]>,
        options: WriteOptions,
    ) -> Result<SeqNo> {
        let (key, operand) = (key.as_ref(), operand.as_ref());
        self.db.shared.write_one(&self.core, Tag::MERGE, None, key, operand, options)
    }

    /// Merges everything in `range` down to the deepest level, dropping what is shadowed or
    /// deleted. Returns when it is done; reads and writes go on meanwhile.
    ///
    /// # Errors
    /// `ReadOnly`, `NoSpace`, `Io`, `Corrupt`.
    pub fn compact_range<K: AsRef<[u8]>>(&self, range: impl RangeBounds<K>) -> Result<()> {
        self.db.shared.check_readable(&self.core)?;
        self.db.shared.compact_range(&self.core, &Scan::range(range))
    }

    /// About how many bytes the tables in `range` take on disk, and the large values to which they
    /// refer. Costs no disk access.
    pub fn approximate_size<K: AsRef<[u8]>>(&self, range: impl RangeBounds<K>) -> u64 {
        self.db.shared.approximate_size(&self.core, &Scan::range(range))
    }

    /// Its options.
    pub fn options(&self) -> KeyspaceOptions {
        (*self.core.options()).clone()
    }

    /// Changes its options, live and durably. New tables are written by them; the tree is reshaped
    /// in the background. A merge operator can be given to a keyspace that has none, and stays;
    /// a compaction filter can be given, changed and taken away.
    ///
    /// # Errors
    /// `Invalid` for an unacceptable value or another merge operator, `ReadOnly`, `Io`.
    pub fn set_options(&self, options: KeyspaceOptions) -> Result<()> {
        self.db.shared.set_options(&self.core, options)
    }
}

pub(crate) fn check_name(name: &str) -> Result<()> {
    if (1..=MAX_KEYSPACE_NAME_BYTES).contains(&name.len()) {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "keyspace name of {} bytes; 1 to {MAX_KEYSPACE_NAME_BYTES} are accepted",
        name.len()
    )))
}

impl Reads for Keyspace {
    fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Value>> {
        self.db.shared.get(&self.core, key.as_ref(), None)
    }

    fn get_with<R>(
        &self,
        key: impl AsRef<[u8]>,
        visit: impl FnOnce(&[u8]) -> R,
    ) -> Result<Option<R>> {
        self.db.shared.get_with(&self.core, key.as_ref(), None, visit)
    }

    fn multi_get<K: AsRef<[u8]>>(&self, keys: &[K]) -> Result<Vec<Option<Value>>> {
        self.db.shared.multi_get(&self.core, keys, None)
    }

    fn scan(&self, scan: Scan) -> Iter {
        Iter::new(Registered::now(&self.db), self.core.hold(), scan)
    }

    fn cursor(&self) -> EntryCursor {
        EntryCursor::new(Registered::now(&self.db), self.core.hold())
    }
}

impl fmt::Debug for Keyspace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyspace").field("name", &self.name()).field("id", &self.id()).finish()
    }
}
