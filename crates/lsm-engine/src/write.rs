//! The path of a write.
//!
//! Outside the write mutex:
//! 1. The batch is encoded and hashed as it is filled, its payload checksummed.
//! 2. Pressure: a write that would outrun flushes and compactions is slowed, or waits. Where the disk
//!    is full, nothing waits, and only deletes go on.
//!
//! Under the write mutex, at memory speed:
//! 3. Order: the batch takes the next sequence numbers.
//! 4. Append: its frame goes into the log's buffer.
//! 5. Insert into the memtables, above `visible`, so that nobody sees it yet.
//!
//! A batch that does not wait for the disk is stored into the mapped log here, and `visible` moves
//! over it, unless something before it is on its way. Otherwise, outside again:
//! 6. Sync, shared by all who wait (see `commit/round.rs`).
//! 7. `visible` moves over the batch.
//! 8. Acknowledge.
//!
//! Order: durable before visible, visible before acknowledged. What a reader saw never disappears,
//! and what was acknowledged was seen and is on the disk.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use lsm_entry::{Entry, Record, Records, SeqNo, Tag, ValueKind, key_hash};
use lsm_wal::{FrameKind, PayloadHash, PreparedSegment, hash_payload};

use crate::batch::{DEFAULT_KEYSPACE, KeyspaceStretch, WriteBatch};
use crate::commit::Order;
use crate::error::{Error, Result};
use crate::keyspace::KeyspaceCore;
use crate::options::{Durability, WriteOptions};
use crate::samples::Begun;
use crate::shared::Shared;
use crate::sync::Guard;
use crate::view::View;
use crate::waiter::Goal;

/// Buffered log bytes at which a commit that need not wait for the disk writes them out.
const BUFFER_BYTES: usize = 256 << 10;
/// Buffered log bytes at which it also waits until they are written.
const BUFFER_BYTES_MAX: usize = 8 << 20;

/// What one batch brings to one keyspace.
#[derive(Clone, Copy)]
struct Share<'a> {
    core: &'a KeyspaceCore,
    entries: usize,
    bytes: usize,
}

thread_local! {
    /// The batch of single writes, reused so that a put allocates nothing.
    static SCRATCH: RefCell<WriteBatch> = RefCell::default();
}

impl Shared {
    /// Writes one entry, with its time to live if it has one.
    pub(crate) fn write_one(
        &self,
        core: &Arc<KeyspaceCore>,
        tag: Tag,
        ttl: Option<Duration>,
        key: &[u8],
        value: &[u8],
        options: WriteOptions,
    ) -> Result<SeqNo> {
        let hash = key_hash(key);
        // What the entry needs of the memtable is on its way meanwhile.
        core.view.load().active.prefetch(hash);
        SCRATCH.with_borrow_mut(|batch| {
            batch.clear();
            batch.add_single(core.id, tag, ttl, key, value, hash);
            let result = self.write_batch(batch, Some(core), options);
            // One huge value must not stay allocated for the life of the thread.
            if batch.payload.capacity() > 1 << 20 {
                *batch = WriteBatch::default();
            }
            result
        })
    }

    /// Writes a batch and waits as long as its durability asks. `only` is the keyspace of all its
    /// entries, where the batch itself does not say.
    pub(crate) fn write_batch(
        &self,
        batch: &WriteBatch,
        only: Option<&Arc<KeyspaceCore>>,
        options: WriteOptions,
    ) -> Result<SeqNo> {
        let durability = options.durability.unwrap_or(self.options.durability);
        let begun = Begun::write();
        let through = self.submit(batch, only, options, durability)?;
        let waited = begun.again();
        self.commit.reach(Goal::Visible(through)).map_err(Error::with_unknown_outcome)?;
        self.samples.note_write(&begun, &waited);
        Ok(through)
    }

    /// Orders, appends and inserts a batch without waiting for the disk; returns its last sequence
    /// number.
    pub(crate) fn submit(
        &self,
        batch: &WriteBatch,
        only: Option<&Arc<KeyspaceCore>>,
        options: WriteOptions,
        durability: Durability,
    ) -> Result<SeqNo> {
        let agree = || Ok(None::<std::convert::Infallible>);
        match self.submit_if(batch, only, options, durability, agree)? {
            Ok(through) => Ok(through),
            Err(never) => match never {},
        }
    }

    /// The same, unless `object`, asked under the write mutex, has a reason against it: that is
    /// returned, and nothing is written.
    pub(crate) fn submit_if<R>(
        &self,
        batch: &WriteBatch,
        only: Option<&Arc<KeyspaceCore>>,
        options: WriteOptions,
        durability: Durability,
        object: impl FnOnce() -> Result<Option<R>>,
    ) -> Result<std::result::Result<SeqNo, R>> {
        self.check_writable()?;
        batch.check(self.options.batch_bytes_max())?;
        if batch.is_empty() {
            return Ok(Ok(self.commit.visible()));
        }
        let (one, several);
        let shares: &[Share<'_>] = match batch.stretches.as_slice() {
            [stretch] => {
                one = [self.share(stretch, only)?];
                &one
            }
            stretches => {
                several = self.shares(stretches, only)?;
                &several
            }
        };
        let has_default_ttl = || shares.iter().any(|share| share.core.default_ttl_ms() > 0);
        if !batch.is_stamped && (batch.has_ttl || has_default_ttl()) {
            let stamped = self.stamp(batch, only)?;
            return self.submit_if(&stamped, only, options, durability, object);
        }
        if batch.operands > 0 {
            check_operands(batch, shares)?;
        }
        if let ([share], [hash, _, ..]) = (shares, batch.hashes.as_slice()) {
            // The same for the first entry of many.
            share.core.view.load().active.prefetch(*hash);
        }
        self.admit(batch.payload.len(), options.deadline_from_now())?;
        self.check_room(batch)?;
        let hash = hash_payload(&batch.payload);
        let mut order = self.commit.lock_order();
        self.check_writable()?;
        if let Some(reason) = object()? {
            return Ok(Err(reason));
        }
        let through = self.order_and_insert(&mut order, batch, shares, hash)?;
        self.commit.ordered(&mut order, through, durability)?;
        self.note_taken(&mut order, batch.payload.len(), batch.records);
        let buffered = order.log().buffered_bytes();
        drop(order);
        self.stats.note_write(batch.len() as u64, shares.iter().map(|s| s.bytes as u64).sum());
        if durability == Durability::Memory && buffered > BUFFER_BYTES {
            self.write_out(through, buffered).map_err(Error::with_unknown_outcome)?;
        }
        Ok(Ok(through))
    }

    /// The batch with the time of expiry of each value that has one.
    #[cold]
    fn stamp(&self, batch: &WriteBatch, only: Option<&Arc<KeyspaceCore>>) -> Result<WriteBatch> {
        let default_ttl = |stretch| Ok(self.share(stretch, only)?.core.default_ttl_ms());
        let default_ttls = batch.stretches.iter().map(default_ttl).collect::<Result<Vec<_>>>()?;
        let stamped = batch.stamped(self.database_time_ms(), &default_ttls);
        if stamped.has_ttl {
            self.expiry.begin();
        }
        Ok(stamped)
    }

    /// What a stretch brings, and to which keyspace.
    fn share<'a>(
        &'a self,
        stretch: &'a KeyspaceStretch,
        only: Option<&'a Arc<KeyspaceCore>>,
    ) -> Result<Share<'a>> {
        let core = match (&stretch.handle, only) {
            (Some(handle), _) if !std::ptr::eq(Arc::as_ptr(&handle.db.shared), self) => {
                return Err(handle.core.foreign_error());
            }
            (Some(handle), _) => &handle.core,
            (None, Some(core)) => core,
            (None, None) => &self.default_keyspace,
        };
        Ok(Share { core, entries: stretch.entries, bytes: stretch.bytes })
    }

    /// The same for several stretches: one share for each keyspace.
    fn shares<'a>(
        &'a self,
        stretches: &'a [KeyspaceStretch],
        only: Option<&'a Arc<KeyspaceCore>>,
    ) -> Result<Vec<Share<'a>>> {
        let mut shares: Vec<Share<'_>> = Vec::new();
        for stretch in stretches {
            let share = self.share(stretch, only)?;
            match shares.iter_mut().find(|known| known.core.id == share.core.id) {
                Some(known) => {
                    known.entries += share.entries;
                    known.bytes += share.bytes;
                }
                None => shares.push(share),
            }
        }
        Ok(shares)
    }

    fn order_and_insert(
        &self,
        order: &mut Order,
        batch: &WriteBatch,
        shares: &[Share<'_>],
        hash: PayloadHash,
    ) -> Result<SeqNo> {
        if let Some(share) = shares.iter().find(|share| share.core.is_dropped()) {
            return Err(share.core.dropped_error());
        }
        // Whatever can fail comes before the first sequence number is taken.
        if !order.log().fits(batch.payload.len()) {
            let segment = self.segment_for(batch)?;
            self.rotate(order, segment)?;
        }
        let (one, several);
        let views: &[(u32, Guard<Arc<View>>)] = match shares {
            [only] => {
                one = [self.view_with_room(only)];
                &one
            }
            shares => {
                several = shares.iter().map(|share| self.view_with_room(share)).collect::<Vec<_>>();
                &several
            }
        };
        let first = order.log().next_seq_no();
        let count = u32::try_from(batch.records).expect("checked by WriteBatch::check");
        order.log().append(FrameKind::BATCH, first, count, &batch.payload, hash);
        if shares.iter().any(|share| share.core.gaps.is_any()) {
            end_gaps(batch, shares);
        }
        insert(batch, first, views);
        if !order.log().fits(self.options.log_segment_bytes as usize / 2) {
            self.want_segment();
        }
        if self.budget.spare.take_shortage() {
            self.background.wake_log();
            self.background.wake_flush();
        }
        Ok(first + batch.records - 1)
    }

    /// A segment in which the batch fits. Deletes may use the reserve for it.
    fn segment_for(&self, batch: &WriteBatch) -> Result<PreparedSegment> {
        match self.take_segment(batch.payload.len()) {
            Err(error) if self.note_no_space(&error) && batch.only_deletes() => {
                self.take_segment(batch.payload.len())
            }
            taken => taken,
        }
    }

    /// The id of the share's keyspace, and its view, in whose active memtable the share fits: one in
    /// which it does not is sealed. It stays the active one as long as the write mutex is held.
    fn view_with_room(&self, share: &Share<'_>) -> (u32, Guard<Arc<View>>) {
        let core = share.core;
        let view = core.view.load();
        if view.active.has_room(share.entries, share.bytes) {
            return (core.id, view);
        }
        drop(view);
        let needed = share.bytes + share.entries * ENTRY_OVERHEAD_BYTES;
        let memtable_bytes = self.options.effective_memtable_bytes();
        let fresh = self.new_memtable(needed as u64);
        self.seal_behind(core, &fresh);
        debug_assert!(fresh.has_room(share.entries, share.bytes), "{needed} of {memtable_bytes}");
        (core.id, core.view.load())
    }

    /// Writes the log's buffer to the operating system, or leaves it to whoever does so already.
    fn write_out(&self, through: SeqNo, buffered: usize) -> Result<()> {
        if buffered > BUFFER_BYTES_MAX {
            return self.commit.reach(Goal::Written(through));
        }
        self.commit.try_write_out();
        Ok(())
    }
}

/// Upper bound of what the memtable keeps beside key and value.
const ENTRY_OVERHEAD_BYTES: usize = 64;

/// How many inserts ahead of an entry what it needs of the memtable's index is asked for.
const INSERTS_AHEAD: usize = 4;

/// Inserts every entry of the batch at its place in the order. `views` are those of its keyspaces.
fn insert(batch: &WriteBatch, first: SeqNo, views: &[(u32, Guard<Arc<View>>)]) {
    let hashes = batch.hashes.iter().copied();
    if let [(_, view)] = views {
        let mut writer = view.active.writer();
        let mut ahead = batch.hashes.iter().skip(INSERTS_AHEAD);
        for_each_entry(batch, first, hashes, |_, entry, hash| {
            ahead.next().inspect(|hash| view.active.prefetch(**hash));
            writer.insert(entry, hash);
        });
        return;
    }
    let mut writers: Vec<_> = views.iter().map(|(id, view)| (*id, view.active.writer())).collect();
    for_each_entry(batch, first, hashes, |keyspace, entry, hash| {
        let writer = writers.iter_mut().find(|(id, _)| *id == keyspace);
        let (_, writer) = writer.expect("every keyspace of the batch has a share");
        writer.insert(entry, hash);
    });
}

/// Ends the gaps into which the batch puts something.
#[cold]
fn end_gaps(batch: &WriteBatch, shares: &[Share<'_>]) {
    let hashes = batch.hashes.iter().copied();
    for_each_entry(batch, 0, hashes, |keyspace, entry, _| {
        if let ValueKind::Put | ValueKind::Merge = entry.kind()
            && let Some(share) = shares.iter().find(|share| share.core.id == keyspace)
        {
            share.core.gaps.end_at(entry.key);
        }
    });
}

/// Refuses operands that their keyspaces' operators do not take.
#[cold]
fn check_operands(batch: &WriteBatch, shares: &[Share<'_>]) -> Result<()> {
    let mut keyspace = DEFAULT_KEYSPACE;
    for record in Records::new(&batch.payload) {
        match record.expect("this batch was encoded here") {
            Record::Keyspace(id) => keyspace = id,
            Record::Entry { tag, key, value } if tag == Tag::MERGE => {
                let share = shares.iter().find(|share| share.core.id == keyspace);
                share.expect("every keyspace has a share").core.check_operand(key, value)?;
            }
            Record::Entry { .. } => {}
        }
    }
    Ok(())
}

/// Calls `take` with each entry of the batch, its keyspace and its key's hash.
#[inline]
fn for_each_entry<'a>(
    batch: &'a WriteBatch,
    first: SeqNo,
    mut hashes: impl Iterator<Item = u64>,
    mut take: impl FnMut(u32, Entry<'a>, u64),
) {
    let mut keyspace = DEFAULT_KEYSPACE;
    for (seq_no, record) in (first..).zip(Records::new(&batch.payload)) {
        match record.expect("this batch was encoded here") {
            Record::Keyspace(id) => keyspace = id,
            Record::Entry { tag, key, value } => {
                let hash = hashes.next().expect("one hash an entry");
                take(keyspace, Entry { key, seq_no, tag, value }, hash);
            }
        }
    }
}
