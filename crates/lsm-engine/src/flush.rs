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

use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard};
use std::time::Instant;

use lsm_compaction::Retention;
use lsm_entry::SeqNo;
use lsm_manifest::ManifestEdit;
use lsm_memtable::Memtable;
use lsm_version::{Place, TableRecord, VersionEdit};

use crate::error::Result;
use crate::events::Event;
use crate::keyspace::KeyspaceCore;
use crate::older::Older;
use crate::outputs::WrittenTables;
use crate::shared::Shared;
use crate::spans::span;
use crate::waiter::Goal;
use crate::write_memtable::write_memtable;

impl Shared {
    /// Flushes the oldest sealed memtable of some keyspace, the one with the oldest data first.
    /// Background work; `false` if there was none.
    pub(crate) fn flush_step(&self) -> Result<bool> {
        // First: the writer needs it before the flush is done.
        self.prepare_memtables(Memtable::prepare_index);
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
