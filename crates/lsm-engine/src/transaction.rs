//! Reads and writes that happen as if at one instant.
//!
//! A transaction reads a snapshot, keeps its writes to itself, and notes what it has read. To
//! commit:
//!
//! 1. Look for changes of what was read, ordered since the snapshot, without holding anybody up.
//! 2. Under the write mutex look once more, for those ordered since 1 only; mostly there are none.
//! 3. Order, append and insert the writes as one batch, under the same hold of the mutex.
//!
//! Order: 2 and 3 under one hold of the mutex, so nothing comes between what was read and what is
//! written because of it. So every transaction that commits might as well have run alone at its
//! place in the order: they are serializable. Nobody waits for a lock of another's, and there are
//! no deadlocks; of two that are at odds the one that commits first wins.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeBounds;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use lsm_entry::{Fragments, MAX_SEQ_NO, OwnedEntry, RangeDelete, SeqNo, Tag, VecCursor};

use crate::batch::WriteBatch;
use crate::conflict::{Conflict, ReadSet};
use crate::db::{Db, Handle};
use crate::error::{Error, Result};
use crate::iter::{Iter, SeenRange};
use crate::keyspace::Keyspace;
use crate::options::WriteOptions;
use crate::reads::{Reads, Scan};
use crate::scan::EntryCursor;
use crate::shared::Shared;
use crate::snapshot::{OwnWrites, Registered};
use crate::spread::{Held, Spread};
use crate::value::{Slice, Value};
use crate::waiter::Goal;

/// Reads and writes that take effect together, as if nobody else had been there meanwhile, or not
/// at all: serializable, over any number of keyspaces, from any number of threads.
///
/// It reads the moment at which it was begun, and what it has written itself. [`commit`](Self::commit)
/// fails with `Conflict` if anything that it has read, keys that were not there included, was
/// changed by others since; then begin anew. Dropping it forgets its writes.
///
/// It keeps its writes, and the keys and ranges it has read, in memory.
///
/// ```
/// use lsm_engine::{Db, ErrorKind, Reads};
///
/// # let dir = tempfile::tempdir()?;
/// # let db = Db::open(dir.path())?;
/// db.put("stock", "3")?;
/// loop {
///     let tx = db.transaction();
///     let stock = tx.get("stock")?.expect("was put");
///     let stock: u32 = std::str::from_utf8(&stock)?.parse()?;
///     tx.put("stock", (stock - 1).to_string());
///     match tx.commit() {
///         Ok(_) => break,
///         Err(error) if error.kind() == ErrorKind::Conflict => continue, // Somebody else was first.
///         Err(error) => return Err(error.into()),
///     }
/// }
/// assert_eq!(db.get("stock")?.as_deref(), Some(&b"2"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Transaction {
    moment: Registered,
    default: Keyspace,
    /// What was done in each keyspace so far.
    shares: Mutex<Vec<Share>>,
}

/// What a transaction does in one keyspace.
struct Share {
    keyspace: Keyspace,
    writes: BTreeMap<Vec<u8>, OwnWrite>,
    /// The ranges that were deleted, before all of `writes`.
    deleted: Vec<Scan>,
    /// The same, to be asked for a key; `None`: there are none.
    range_deletes: Option<Arc<Fragments>>,
    reads: ReadSet,
}

impl Share {
    /// Whether the transaction has deleted a range that holds `key`.
    fn deletes(&self, key: &[u8]) -> bool {
        self.range_deletes.as_ref().is_some_and(|fragments| fragments.find(key).is_some())
    }
}

/// What a transaction does to one key.
#[derive(Clone, Debug, Default)]
struct OwnWrite {
    /// The value that the key gets, or that it is removed; `None`: neither.
    value: Option<Option<Vec<u8>>>,
    /// The value's time to live, which begins with the commit, if it has one.
    ttl: Option<Duration>,
    /// What is merged with that then, or with what is there, oldest first.
    operands: Vec<Vec<u8>>,
}

impl OwnWrite {
    /// The entries that it comes to, oldest first.
    fn entries(&self) -> impl ExactSizeIterator<Item = (Tag, &[u8])> {
        let value = self.value.as_ref().map(|value| match value {
            Some(value) => (Tag::PUT, value.as_slice()),
            None => (Tag::DELETE, &[][..]),
        });
        let operands = self.operands.iter().map(|operand| (Tag::MERGE, operand.as_slice()));
        let entries: Vec<_> = value.into_iter().chain(operands).collect();
        entries.into_iter()
    }
}

impl Db {
    /// Begins a transaction, which reads the present moment.
    pub fn transaction(&self) -> Transaction {
        Transaction::begin(&self.default_keyspace().db)
    }
}

impl Transaction {
    pub(crate) fn begin(db: &Spread<Handle>) -> Self {
        let core = db.shared.default_keyspace.clone();
        let default = Keyspace { db: db.clone(), core };
        Self { moment: Registered::now(db), default, shares: Mutex::default() }
    }

    /// The newest sequence number that it sees of others.
    pub fn seq_no(&self) -> SeqNo {
        self.moment.seq_no
    }

    /// The same transaction in another keyspace than the default one.
    ///
    /// ```
    /// # use lsm_engine::{Db, Reads};
    /// # let dir = tempfile::tempdir()?;
    /// # let db = Db::open(dir.path())?;
    /// let users = db.keyspace("users")?;
    /// let tx = db.transaction();
    /// if !tx.within(&users).contains_key("ada")? {
    ///     tx.within(&users).put("ada", "1815");
    ///     tx.put("count", "1");
    /// }
    /// tx.commit()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn within<'a>(&'a self, keyspace: &'a Keyspace) -> TransactionWithin<'a> {
        TransactionWithin { transaction: self, keyspace }
    }

    fn within_default(&self) -> TransactionWithin<'_> {
        self.within(&self.default)
    }

    /// Sets `key` to `value`. A key or value beyond its limit is reported by the commit.
    pub fn put(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        self.within_default().put(key, value);
    }

    /// Sets `key` to `value` for as long as `ttl` from the commit on; see [`Keyspace::put_ttl`].
    pub fn put_ttl(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>, ttl: Duration) {
        self.within_default().put_ttl(key, value, ttl);
    }

    /// Removes `key`.
    pub fn delete(&self, key: impl AsRef<[u8]>) {
        self.within_default().delete(key);
    }

    /// Removes every key of `range`, those that the transaction has put itself included. That is a
    /// write and no read: what others put there meanwhile goes as well. A bound beyond its limit is
    /// reported by the commit.
    ///
    /// ```
    /// # use lsm_engine::{Db, Reads};
    /// # let dir = tempfile::tempdir()?;
    /// # let db = Db::open(dir.path())?;
    /// db.put("job:1", "old")?;
    /// let tx = db.transaction();
    /// tx.delete_range("job:".."job;");
    /// tx.put("job:2", "new");
    /// assert_eq!(tx.prefix("job:").count(), 1, "it reads what it has written");
    /// tx.commit()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn delete_range<K: AsRef<[u8]>>(&self, range: impl RangeBounds<K>) {
        self.within_default().delete_range(range);
    }

    /// Removes every key that begins with `prefix`; see [`delete_range`](Self::delete_range).
    pub fn delete_prefix(&self, prefix: impl AsRef<[u8]>) {
        self.within_default().delete_prefix(prefix);
    }

    /// Merges `operand` with the value of `key`, which counts as not read: two transactions that do
    /// so are not at odds. An operand that the keyspace's operator does not take is reported by the
    /// commit.
    pub fn merge(&self, key: impl AsRef<[u8]>, operand: impl AsRef<[u8]>) {
        self.within_default().merge(key, operand);
    }

    /// Makes the writes part of the database, together; returns the sequence number of the last.
    /// One that has written nothing always commits.
    ///
    /// # Errors
    /// `Conflict`, naming a key, if something that was read has been changed by others: nothing is
    /// written, and a transaction begun now sees the change. `Invalid` for a keyspace that was
    /// dropped or is another database's. Those of [`Db::write`].
    pub fn commit(self) -> Result<SeqNo> {
        self.commit_with(WriteOptions::default())
    }

    /// The same with options of its own.
    ///
    /// # Errors
    /// Those of [`commit`](Self::commit), and `Busy` past the deadline.
    pub fn commit_with(self, options: WriteOptions) -> Result<SeqNo> {
        let shares = self.shares.into_inner().expect("no holder panicked");
        if shares.iter().all(|share| share.writes.is_empty() && share.deleted.is_empty()) {
            // It might as well have run alone at the moment that it read.
            return Ok(self.moment.seq_no);
        }
        let mut batch = WriteBatch::new();
        for Share { keyspace, writes, deleted, .. } in &shares {
            // Order: a write that was made before a range was deleted is not among these any more.
            for scan in deleted {
                batch.add_range_delete(Some(keyspace), scan);
            }
            for (key, own) in writes {
                for (tag, value) in own.entries() {
                    batch.has_deletes |= tag == Tag::DELETE;
                    match own.ttl.filter(|_| tag == Tag::PUT) {
                        Some(ttl) => batch.add_ttl(Some(keyspace), key, value, ttl),
                        None => batch.add(Some(keyspace), tag, key, value),
                    }
                }
            }
        }
        let reads: Vec<ReadSet> = shares.into_iter().map(|share| share.reads).collect();
        let (shared, seen) = (&self.moment.db.shared, self.moment.seq_no);
        let seq_no = shared.commit_transaction(&batch, &reads, seen, options)?;
        self.default.sweep_after_batch(&batch);
        Ok(seq_no)
    }

    /// Forgets the writes, as dropping it does.
    pub fn rollback(self) {}

    fn db(&self) -> &Held<Handle> {
        &self.moment.db
    }

    fn lock_shares(&self) -> MutexGuard<'_, Vec<Share>> {
        self.shares.lock().expect("no holder panicked")
    }
}

impl Shared {
    /// Writes a batch if nothing that was read has been changed above `seen`.
    fn commit_transaction(
        &self,
        batch: &WriteBatch,
        reads: &[ReadSet],
        seen: SeqNo,
        options: WriteOptions,
    ) -> Result<SeqNo> {
        // Step 1. Whatever is ordered later than this is found in step 2.
        let checked = self.commit.settled();
        if let Some(conflict) = first_conflict(reads, seen)? {
            return self.refuse(conflict);
        }
        let durability = options.durability.unwrap_or(self.options.durability);
        loop {
            let object = || match self.commit.held() {
                // Nobody can look into what has its number and not its place yet.
                Some(held) if !reads.is_empty() => Ok(Some(Objection::Unsettled(held))),
                _ => Ok(first_conflict(reads, checked)?.map(Objection::Conflict)),
            };
            match self.submit_if(batch, None, options, durability, object)? {
                Ok(through) => {
                    let seen = self.commit.reach(Goal::Visible(through));
                    seen.map_err(Error::with_unknown_outcome)?;
                    return Ok(through);
                }
                Err(Objection::Unsettled(held)) => self.commit.reach(Goal::Visible(held))?,
                Err(Objection::Conflict(conflict)) => return self.refuse(conflict),
            }
        }
    }

    fn refuse(&self, conflict: Conflict) -> Result<SeqNo> {
        // A transaction begun before the change is seen would meet it again.
        self.commit.reach(Goal::Visible(conflict.seq_no))?;
        Err(conflict.into())
    }
}

/// Why a transaction cannot be written now.
enum Objection {
    /// Others have changed what it read.
    Conflict(Conflict),
    /// An ingest is on its way to its place.
    Unsettled(SeqNo),
}

fn first_conflict(reads: &[ReadSet], seen: SeqNo) -> Result<Option<Conflict>> {
    for read in reads {
        let conflict = read.conflict_above(seen)?;
        if conflict.is_some() {
            return Ok(conflict);
        }
    }
    Ok(None)
}

/// A transaction in one keyspace; see [`Transaction::within`].
#[derive(Clone, Copy, Debug)]
pub struct TransactionWithin<'a> {
    transaction: &'a Transaction,
    keyspace: &'a Keyspace,
}

impl TransactionWithin<'_> {
    /// Sets `key` to `value`.
    pub fn put(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        self.write(key.as_ref(), Some(value.as_ref().to_vec()), None);
    }

    /// Sets `key` to `value` for as long as `ttl` from the commit on; see [`Keyspace::put_ttl`].
    pub fn put_ttl(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>, ttl: Duration) {
        self.write(key.as_ref(), Some(value.as_ref().to_vec()), Some(ttl));
    }

    /// Removes `key`.
    pub fn delete(&self, key: impl AsRef<[u8]>) {
        self.write(key.as_ref(), None, None);
    }

    /// Removes every key of `range`; see [`Transaction::delete_range`].
    pub fn delete_range<K: AsRef<[u8]>>(&self, range: impl RangeBounds<K>) {
        self.delete_scan(Scan::range(range));
    }

    /// Removes every key that begins with `prefix`; see [`Transaction::delete_range`].
    pub fn delete_prefix(&self, prefix: impl AsRef<[u8]>) {
        self.delete_scan(Scan::prefix(prefix));
    }

    fn delete_scan(&self, scan: Scan) {
        let Some((lower, upper)) = scan.half_open() else { return };
        self.in_share(|share| {
            share.writes.retain(|key, _| !scan.contains(key));
            share.deleted.push(scan);
            let fragments = share.range_deletes.get_or_insert_default();
            let range_delete = RangeDelete { lower, upper, seq_no: MAX_SEQ_NO };
            // Copied only if an iterator or cursor reads over it.
            Arc::make_mut(fragments).insert(range_delete);
        });
    }

    /// Merges `operand` with the value of `key`; see [`Transaction::merge`].
    pub fn merge(&self, key: impl AsRef<[u8]>, operand: impl AsRef<[u8]>) {
        let (key, operand) = (key.as_ref().to_vec(), operand.as_ref().to_vec());
        self.in_share(|share| share.writes.entry(key).or_default().operands.push(operand));
    }

    fn write(&self, key: &[u8], value: Option<Vec<u8>>, ttl: Option<Duration>) {
        let own = OwnWrite { value: Some(value), ttl, operands: Vec::new() };
        self.in_share(|share| share.writes.insert(key.to_vec(), own));
    }

    /// What the transaction has written to `key` itself, and that it has read the key if that does
    /// not tell its value.
    fn own_or_noted(&self, key: &[u8]) -> OwnWrite {
        self.in_share(|share| {
            let mut own = share.writes.get(key).cloned().unwrap_or_default();
            if own.value.is_none() && share.deletes(key) {
                own.value = Some(None);
            }
            if own.value.is_none() && !share.reads.keys.contains(key) {
                share.reads.keys.insert(key.to_vec());
            }
            own
        })
    }

    /// The moment to read a range at, with the transaction's own writes to it, if there are any.
    fn moment_of(&self, share: &Share, scan: &Scan) -> Registered {
        let mut moment = self.transaction.moment.clone();
        let writes = share.writes.iter().filter(|(key, _)| scan.contains(key));
        let own = writes.flat_map(|(key, own)| {
            // The last one has the largest number.
            let entries = own.entries();
            let first = MAX_SEQ_NO + 1 - entries.len() as SeqNo;
            (first..).zip(entries).map(|(seq_no, (tag, value))| OwnedEntry {
                key: key.clone(),
                seq_no,
                tag,
                value: value.to_vec(),
            })
        });
        let own: Vec<OwnedEntry> = own.collect();
        let range_deletes = share.range_deletes.clone();
        moment.own = (!own.is_empty() || range_deletes.is_some())
            .then(|| OwnWrites { entries: VecCursor::new(own), range_deletes });
        moment
    }

    fn in_share<R>(&self, act: impl FnOnce(&mut Share) -> R) -> R {
        let mut shares = self.transaction.lock_shares();
        let core = self.keyspace.core();
        let known = shares.iter().position(|share| Arc::ptr_eq(share.keyspace.core(), core));
        let index = known.unwrap_or_else(|| {
            let (keyspace, reads) = (self.keyspace.clone(), ReadSet::new(core));
            let (writes, deleted, range_deletes) = (BTreeMap::new(), Vec::new(), None);
            shares.push(Share { keyspace, writes, deleted, range_deletes, reads });
            shares.len() - 1
        });
        act(&mut shares[index])
    }
}

/// What is read is what the transaction has written, over the moment at which it was begun. An
/// iterator or cursor shows what was written before it was made. An iterator counts as having read
/// as far as it came; a cursor, the whole keyspace.
impl Reads for TransactionWithin<'_> {
    fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Value>> {
        let key = key.as_ref();
        let shared = &self.transaction.db().shared;
        shared.check_own(self.keyspace.core())?;
        let own = self.own_or_noted(key);
        let base = match own.value {
            Some(value) => value.as_deref().map(Slice::copied),
            None => shared.get(self.keyspace.core(), key, Some(&self.transaction.moment))?,
        };
        if own.operands.is_empty() {
            return Ok(base);
        }
        let operands: Vec<&[u8]> = own.operands.iter().map(Vec::as_slice).collect();
        let value = self.keyspace.core().fold(key, base.as_deref(), &operands)?;
        Ok(Some(Slice::copied(&value)))
    }

    fn multi_get<K: AsRef<[u8]>>(&self, keys: &[K]) -> Result<Vec<Option<Value>>> {
        keys.iter().map(|key| self.get(key)).collect()
    }

    fn scan(&self, scan: Scan) -> Iter {
        self.in_share(|share| {
            let seen = Arc::new(Mutex::new(SeenRange::new(scan.clone())));
            share.reads.ranges.push(Arc::clone(&seen));
            Iter::new(self.moment_of(share, &scan), self.keyspace.core.hold(), scan).witnessed(seen)
        })
    }

    fn cursor(&self) -> EntryCursor {
        self.in_share(|share| {
            let seen = SeenRange::whole(Scan::all());
            share.reads.ranges.push(Arc::new(Mutex::new(seen)));
            EntryCursor::new(self.moment_of(share, &Scan::all()), self.keyspace.core.hold())
        })
    }
}

impl Reads for Transaction {
    fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Value>> {
        self.within_default().get(key)
    }

    fn multi_get<K: AsRef<[u8]>>(&self, keys: &[K]) -> Result<Vec<Option<Value>>> {
        self.within_default().multi_get(keys)
    }

    fn scan(&self, scan: Scan) -> Iter {
        self.within_default().scan(scan)
    }

    fn cursor(&self) -> EntryCursor {
        self.within_default().cursor()
    }
}

impl fmt::Debug for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction").field("seq_no", &self.seq_no()).finish_non_exhaustive()
    }
}
