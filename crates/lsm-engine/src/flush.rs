//! The path of a flush: a sealed memtable becomes a table of level 0.
//!
//! 1. Wait until `visible` has passed the memtable's newest entry; and, if anything as old, or of the same
//!    batch, lies in another keyspace's memory alone, until the log is durable that far. Else a power cut
//!    could leave half of a batch over two keyspaces, or a batch without those before it.
//! 2. Copy the snapshot list: what no snapshot sees need not be written, nor a tombstone with nothing
//!    below it to hide.
//! 3. Write the table and sync it, then its directory.
//! 4. Append the edit to the manifest: the table, how far the keyspace is flushed, and the first
//!    log segment that a replay still needs.
//! 5. Publish the view with the table and without the memtable.
//! 6. Release the log segments that nobody needs any more.
//!
//! Order: 1 before 4, 3 before 4, 4 before 5, 4 before 6. Each swap loses data in some crash.

use std::panic::resume_unwind;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard};
use std::thread::ScopedJoinHandle;
use std::time::Instant;

use lsm_compaction::{Clipper, MergeError, Retention, Sample, Slice, TableSink, for_each_survivor};
use lsm_entry::{Cursor, Fragments, MAX_SEQ_NO, RangeDelete, SeqNo, key_hash};
use lsm_manifest::ManifestEdit;
use lsm_memtable::Memtable;
use lsm_sstable::Origin;
use lsm_version::{Place, TableRecord, VersionEdit};

use crate::env::Spawn;
use crate::error::{Error, Result};
use crate::events::Event;
use crate::keyspace::KeyspaceCore;
use crate::limiter::Priority;
use crate::older::Older;
use crate::outputs::{OutputSpec, Outputs, Workshop, WrittenTables};
use crate::shared::Shared;
use crate::spans::span;
use crate::waiter::Goal;

/// Tables of level 0 are cut at this size, which only oversized memtables reach.
const FLUSHED_TABLE_BYTES: u64 = 256 << 20;
/// A memtable is written by several threads where there is more for each than this part of what it takes.
const SLICES_MAX: usize = 8;
/// Keys that it is sampled at for each slice: they differ by less than so great a part.
const SAMPLES_PER_SLICE: usize = 32;

impl Shared {
    /// Flushes the oldest sealed memtable of some keyspace, the one with the oldest data first.
    /// Background work; `false` if there was none.
    pub(crate) fn flush_step(&self) -> Result<bool> {
        let with_sealed = self.live_keyspaces().into_iter().filter_map(|core| {
            let oldest = core.view.load().sealed.last().cloned()?;
            let first = oldest.seq_no_range().map_or(0, |(first, _)| first);
            Some((first, core))
        });
        match with_sealed.min_by_key(|(first, _)| *first) {
            Some((_, core)) => self.flush_oldest(&core),
            None => Ok(self.seal_long_chains() || self.organize_memtables()),
        }
    }

    /// Seals active memtables in which reads have met long chains of merge operands: a flush folds
    /// them. `false` if there were none.
    fn seal_long_chains(&self) -> bool {
        let mut did_work = false;
        for core in self.live_keyspaces() {
            if core.has_long_chain.load(Ordering::Relaxed) {
                let _order = self.commit.lock_order();
                self.seal(&core);
                did_work = true;
            }
        }
        did_work
    }

    /// Merges what active memtables have sorted, so that scans have fewer pieces to merge; `false`
    /// if nothing was due.
    fn organize_memtables(&self) -> bool {
        let mut did_work = false;
        for core in self.live_keyspaces() {
            did_work |= core.view.load_full().active.organize();
        }
        did_work
    }

    /// Flushes everything that a keyspace holds in memory now; returns when it is in tables.
    pub(crate) fn flush_keyspace(&self, core: &KeyspaceCore) -> Result<()> {
        {
            let _order = self.commit.lock_order();
            self.seal(core);
        }
        let sealed = core.view.load().sealed.clone();
        for memtable in sealed.iter().rev() {
            let is_waiting = || {
                let view = core.view.load();
                view.sealed.iter().any(|waiting| Arc::ptr_eq(waiting, memtable))
            };
            while is_waiting() && !core.is_dropped() {
                self.check_writable()?;
                self.with_reserve(|| self.flush_oldest(core))?;
            }
        }
        Ok(())
    }

    /// Seals the active memtable, if there is anything in it. Called under the write mutex.
    pub(crate) fn seal(&self, core: &KeyspaceCore) {
        if !core.view.load().active.is_empty() {
            self.seal_behind(core, &self.new_memtable(0));
        }
    }

    fn flush_oldest(&self, core: &KeyspaceCore) -> Result<bool> {
        let turn = core.flushing.lock().expect("no flush panicked");
        self.flush_oldest_in(core, &turn)
    }

    /// The same for whoever has the turn to flush this keyspace.
    pub(crate) fn flush_oldest_in(
        &self,
        core: &KeyspaceCore,
        _turn: &MutexGuard<'_, ()>,
    ) -> Result<bool> {
        let Some(memtable) = core.view.load().sealed.last().cloned() else { return Ok(false) };
        self.check_writable()?;
        if let Some((_, last)) = memtable.seq_no_range() {
            // Order: see the file comment, step 1.
            self.commit.reach(Goal::Visible(last))?;
            if self.needs_log_of(core, &memtable) {
                self.commit.reach(Goal::Durable(last))?;
            }
        }
        span!(DEBUG, "flush", keyspace = core.name.as_str());
        let began = Instant::now();
        let snapshots = self.snapshots.copy();
        let retention = Retention::new(snapshots, self.database_time_ms());
        // One flush at a time, the oldest memtable first: what is older lies in tables.
        let older = Older::of(&core.view.load().tree.version);
        let written = write_memtable(&self.workshop(), core, &memtable, retention, &older)?;
        self.install_flush(core, &memtable, written)?;
        self.samples.flush.record(began.elapsed());
        Ok(true)
    }

    /// Whether the log has to be durable as far as a memtable goes that is to become a table. Where
    /// everything that old will be in tables, nobody needs it: it is not written to the disk for entries
    /// that are, and its segments are used again.
    ///
    /// A batch takes numbers without a gap, and all of it that goes into one keyspace goes into one
    /// memtable. So no batch of this memtable reaches up to `next`.
    fn needs_log_of(&self, core: &KeyspaceCore, memtable: &Arc<Memtable>) -> bool {
        if self.history.is_followed() {
            return true;
        }
        let flushed = std::slice::from_ref(memtable);
        // Invariant: under the write mutex a batch is in all of its memtables, or in none.
        let _order = self.commit.lock_order();
        let next = core.unflushed(flushed).map_or(SeqNo::MAX, |(first, _)| first);
        let durable = self.commit.durable();
        let keyspaces = self.keyspaces.load();
        let others = keyspaces.values().filter(|other| other.id != core.id);
        let mut in_memory = others.filter_map(|other| other.unflushed(flushed));
        in_memory.any(|(first, last)| first < next && last > durable)
    }

    /// Makes the flushed tables part of the database, unless its keyspace was dropped meanwhile.
    fn install_flush(
        &self,
        core: &KeyspaceCore,
        memtable: &Arc<Memtable>,
        written: WrittenTables,
    ) -> Result<()> {
        let flushed = std::slice::from_ref(memtable);
        let mut manifest = self.lock_manifest()?;
        self.check_writable()?;
        if core.is_dropped() {
            return Ok(());
        }
        let (first_unflushed, log_start) = self.log_start(&mut self.commit.lock_order(), flushed);
        let through = memtable.seq_no_range().map(|(_, last)| last);
        let edit = ManifestEdit {
            tables: vec![(core.id, flush_edit(&written))],
            flushed_through: through.map(|through| (core.id, through)).into_iter().collect(),
            log_number: log_start.map(|segment| segment.number),
            log_first_seq_no: log_start.map(|segment| segment.first_seq_no),
            last_seq_no: Some(self.commit.durable()),
            ..ManifestEdit::default()
        };
        self.stats.note_flush(&written);
        let records = self.append_tables(&mut manifest, edit, written)?;
        self.publish_tree(&manifest, core, flushed);
        self.events.tell(|| Event::Flushed {
            keyspace: core.name.clone(),
            tables: records.len(),
            bytes: records.iter().map(|record| record.bytes).sum(),
            entries: records.iter().map(|record| record.entries).sum(),
        });
        drop(manifest);
        self.note_flushed_deletes(core, memtable);
        self.release_log_before(first_unflushed);
        self.background.wake_compaction();
        Ok(())
    }
}

/// The edit by which flushed tables join level 0 as one run, newer than every other.
pub(crate) fn flush_edit(written: &WrittenTables) -> VersionEdit {
    let added = as_newest_run(written.records());
    VersionEdit { added, blobs: written.blobs().to_vec(), ..VersionEdit::default() }
}

/// Tables as one run of level 0, newer than every other.
pub(crate) fn as_newest_run(records: &[Arc<TableRecord>]) -> Vec<(Place, Arc<TableRecord>)> {
    let run = records.first().map_or(0, |record| record.number);
    let place = Place { level: 0, run };
    records.iter().map(|record| (place, Arc::clone(record))).collect()
}

/// The range deletes of a memtable, each with an end: in a table every one has one. What is newer
/// than they are they do not cover, so they may end where everything older does.
fn bounded_range_deletes(memtable: &Arc<Memtable>, older: &Older) -> Fragments {
    let Some(fragments) = memtable.range_deletes() else { return Fragments::default() };
    let end = older.end(memtable);
    let bounded = fragments.range_deletes().into_iter().map(|range| {
        let upper = if range.upper.is_empty() { end.clone() } else { range.upper };
        RangeDelete { upper, ..range }
    });
    bounded.collect()
}

/// Writes what a memtable holds into tables of level 0.
pub(crate) fn write_memtable(
    workshop: &Workshop<'_>,
    core: &KeyspaceCore,
    memtable: &Arc<Memtable>,
    retention: Retention,
    older: &Older,
) -> Result<WrittenTables> {
    write_memtable_of(workshop, core, memtable, retention, older, Origin::Flush, Vec::new())
}

/// The same, saying where the memtable comes from.
pub(crate) fn write_memtable_of(
    workshop: &Workshop<'_>,
    core: &KeyspaceCore,
    memtable: &Arc<Memtable>,
    retention: Retention,
    older: &Older,
    origin: Origin,
    made_from: Vec<u64>,
) -> Result<WrittenTables> {
    // A repair keeps operands as they are, whatever it may find beside them.
    let operator = core.operator().filter(|_| origin != Origin::Repair);
    let retention = retention.folding(operator);
    memtable.freeze();
    while memtable.organize() {}
    let spec = OutputSpec {
        keyspace_id: core.id,
        keyspace_name: core.name.clone(),
        options: core.options(),
        level: 0,
        origin,
        made_from,
        ancestors: Vec::new(),
        priority: Priority::Flush,
        past_cache: !core.is_read(),
        moving: None,
    };
    let retention = retention.with_range_deletes(bounded_range_deletes(memtable, older));
    let kept = retention.kept_range_deletes(|fragment| older.is_clear_of(fragment));
    let keys = older.keys();
    let write = |slice: &Slice| -> Result<WrittenTables> {
        let mut outputs = Outputs::new(workshop.clone(), spec.clone());
        let nothing_older = |key: &[u8]| keys.as_ref().is_some_and(|keys| !keys.may_hold(key));
        let (mut cursor, mut retention) = (memtable.cursor(), retention.clone());
        write_entries(
            &mut cursor,
            slice,
            &mut outputs,
            &mut retention,
            nothing_older,
            &kept,
            FLUSHED_TABLE_BYTES,
        )?;
        outputs.finish()
    };
    let slices = slices_of(memtable, workshop.writers);
    if workshop.spawn != Spawn::Threads {
        return joined(slices.iter().map(write));
    }
    let [others @ .., last] = slices.as_slice() else { unreachable!("there is a slice at least") };
    std::thread::scope(|scope| {
        let others: Vec<_> = others.iter().map(|slice| scope.spawn(|| write(slice))).collect();
        let last = write(last);
        let wait = |writer: ScopedJoinHandle<'_, _>| {
            writer.join().unwrap_or_else(|panic| resume_unwind(panic))
        };
        joined(others.into_iter().map(wait).chain(std::iter::once(last)))
    })
}

/// Parts of a frozen memtable of about as many entries, one for each of so many writers, if there is
/// something for all of them to do.
fn slices_of(memtable: &Memtable, writers: usize) -> Vec<Slice> {
    let slice_bytes_min = memtable.capacity_bytes() / SLICES_MAX;
    let count = writers.min(memtable.data_bytes() / slice_bytes_min.max(1));
    if count <= 1 {
        return vec![Slice::default()];
    }
    let samples = memtable.sample_keys(SAMPLES_PER_SLICE * count);
    Slice::cut(samples.into_iter().map(|key| Sample { key, bytes: 1 }).collect(), count)
}

/// Tables of which each one's keys lie behind those of the one before, as one whole, unless one was not
/// written.
fn joined(written: impl Iterator<Item = Result<WrittenTables>>) -> Result<WrittenTables> {
    // All of them first: what was written beside one that failed is removed when it is dropped.
    let written: Result<Vec<WrittenTables>> = written.collect();
    let whole = written?.into_iter().reduce(|mut whole, behind| {
        whole.append(behind);
        whole
    });
    Ok(whole.expect("there is a slice at least"))
}

/// Writes what survives of a cursor's entries in a slice, and the range deletes in `kept` that lie in it,
/// into tables of about `table_bytes`. An entry that comes twice is written once. `nothing_older`: no
/// older entry of a key lies elsewhere.
pub(crate) fn write_entries<C: Cursor>(
    cursor: &mut C,
    slice: &Slice,
    outputs: &mut Outputs<'_>,
    retention: &mut Retention,
    nothing_older: impl Fn(&[u8]) -> bool,
    kept: &Fragments,
    table_bytes: u64,
) -> Result<()>
where
    Error: From<C::Error>,
{
    let mut last_key = Vec::new();
    let mut range_deletes = Clipper::new(&slice.clip(kept));
    cursor.seek(&slice.lower(), MAX_SEQ_NO)?;
    let through = slice.through();
    let written =
        for_each_survivor(cursor, through, retention, nothing_older, &|| false, |entry| {
            if outputs.table_bytes() >= table_bytes && entry.key != last_key.as_slice() {
                range_deletes.write_through(&last_key, outputs)?;
                outputs.cut()?;
            }
            last_key.clear();
            last_key.extend_from_slice(entry.key);
            outputs.add(entry, key_hash(entry.key))
        });
    match written {
        Ok(_) => Ok(range_deletes.finish(outputs)?),
        Err(MergeError::Read(error)) => Err(error.into()),
        Err(MergeError::Write(error)) => Err(error.into()),
        Err(MergeError::Stopped) => unreachable!("nobody asks it to"),
    }
}
