//! The path of an ingest: sorted entries become tables of the database without passing through the
//! log and a memtable.
//!
//! Without anybody waiting:
//! 1. The entries are written into tables, which are synced, then their directory. They all bear one
//!    number that was reserved for them when the ingest began; what counts is the number they get
//!    in step 3, which the manifest tells.
//! 2. What the keyspace holds in memory is flushed, so that little is left for step 4.
//!
//! While commits that come later stay unseen:
//! 3. Under the write mutex, the ingest takes its sequence number: a note in the log. The active
//!    memtable is sealed there, so what is in memory from here on is newer than the ingest.
//! 4. What was sealed is flushed: no older entry is found before an ingested one.
//! 5. Wait until the log is durable up to the ingest, and everything before it is visible.
//! 6. Append the edit to the manifest: the tables, as deep as nothing in their range lies above them.
//! 7. Publish the view. Merges leave the tables alone until step 8 is done, for a snapshot may still
//!    be taken that does not see them.
//! 8. `visible` moves over the ingest, and over what came after it.
//!
//! Order: 1 before 6, 3 before 4 before 6, 5 before 6 before 7 before 8. A crash before 6 leaves files
//! that nothing names and a note of something that did not happen; after it the ingest is there.

use std::time::{Duration, Instant};

use lsm_compaction::TableSink;
use lsm_entry::{Entry, MAX_KEY_BYTES, SeqNo, Tag, key_hash};
use lsm_manifest::ManifestEdit;
use lsm_sstable::Origin;
use lsm_version::{LEVELS, VersionEdit};

use crate::batch::MAX_VALUE_BYTES;
use crate::commit::Hold;
use crate::compact::PlanTicket;
use crate::error::{Error, Result};
use crate::events::Event;
use crate::expiry::{NEVER_MS, ttl_ms};
use crate::keyspace::{Keyspace, KeyspaceCore};
use crate::limiter::Priority;
use crate::note::{IngestNote, Note};
use crate::options::Durability;
use crate::outputs::{OutputSpec, Outputs, WrittenTables};
use crate::shared::Shared;
use crate::waiter::Goal;

/// What an ingest brought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct IngestReport {
    /// Its place in the order of writes: that of all its entries.
    pub seq_no: SeqNo,
    /// How many entries it brought.
    pub entries: u64,
    /// In how many tables.
    pub tables: u64,
    /// Bytes of those.
    pub bytes: u64,
    /// How many of the tables lie over others in their range and are yet to be merged with them.
    pub tables_to_merge: u64,
    /// From its beginning to its end.
    pub elapsed: Duration,
}

/// A bulk load under way: entries in ascending order of their keys go straight into tables, at the
/// speed of the disk, and become part of the keyspace together, when it is [finished](Self::finish).
///
/// Until then nobody sees anything of it, and dropped before, it leaves nothing behind.
///
/// ```
/// # use lsm_engine::{Db, Reads};
/// # let dir = tempfile::tempdir()?;
/// # let db = Db::open(dir.path())?;
/// let mut load = db.default_keyspace().bulk_load()?;
/// for n in 0..1000_u32 {
///     load.put(n.to_be_bytes(), "value")?;
/// }
/// let report = load.finish()?;
/// assert_eq!(report.entries, 1000);
/// assert!(db.contains_key(7_u32.to_be_bytes())?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct BulkLoad<'a> {
    keyspace: &'a Keyspace,
    outputs: Outputs<'a>,
    table_bytes: u64,
    /// The number that the entries bear in their tables.
    written_as: SeqNo,
    last_key: Option<Vec<u8>>,
    /// The last value that has an expiry, as it is stored.
    stored: Vec<u8>,
    /// Why it cannot be finished any more.
    failure: Option<Error>,
    began: Instant,
}

impl Keyspace {
    /// Begins a bulk load. Several may be under way at once, also in one keyspace: of a key that
    /// two of them bring, the one that is finished last has the newer value.
    ///
    /// # Errors
    /// `ReadOnly`, `Closed`, `NoSpace`, `Io`; `Invalid` if the keyspace was dropped.
    pub fn bulk_load(&self) -> Result<BulkLoad<'_>> {
        let began = Instant::now();
        let shared = &self.db.shared;
        shared.check_writable()?;
        shared.check_readable(&self.core)?;
        let options = self.core.options();
        let spec = OutputSpec {
            keyspace_id: self.core.id,
            keyspace_name: self.core.name.clone(),
            level: LEVELS - 1,
            origin: Origin::Ingest,
            made_from: Vec::new(),
            ancestors: Vec::new(),
            priority: Priority::Compaction,
            past_cache: !self.core.is_read(),
            moving: None,
            options: options.clone(),
        };
        let written_as = {
            let mut order = shared.commit.lock_order();
            shared.check_writable()?;
            let reserved = shared.append_note(&mut order, &Note::Reserved)?;
            shared.commit.ordered(&mut order, reserved, Durability::Memory)?;
            reserved
        };
        Ok(BulkLoad {
            keyspace: self,
            outputs: Outputs::new(shared.workshop(), spec),
            table_bytes: options.compaction.table_bytes(),
            written_as,
            last_key: None,
            stored: Vec::new(),
            failure: None,
            began,
        })
    }

    /// Brings sorted entries in at once, all of them or none: a [`BulkLoad`] in one call.
    ///
    /// ```
    /// # use lsm_engine::Db;
    /// # let dir = tempfile::tempdir()?;
    /// # let db = Db::open(dir.path())?;
    /// db.default_keyspace().ingest([("a", "1"), ("b", "2")])?;
    /// let error = db.default_keyspace().ingest([("b", "1"), ("a", "2")]).unwrap_err();
    /// assert!(error.to_string().contains("\"a\" comes after \"b\""));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`BulkLoad::put`] and [`BulkLoad::finish`].
    pub fn ingest<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        &self,
        entries: impl IntoIterator<Item = (K, V)>,
    ) -> Result<IngestReport> {
        let mut load = self.bulk_load()?;
        for (key, value) in entries {
            load.put(key, value)?;
        }
        load.finish()
    }
}

impl BulkLoad<'_> {
    /// Adds the next entry: `key`, which is greater than all before it, has the value `value`.
    ///
    /// # Errors
    /// `Invalid` for a key that is not greater than the one before, which are both named, and for a
    /// key or value beyond its limit; `NoSpace`, `Io`. After an error the load cannot be finished.
    pub fn put(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<()> {
        match self.keyspace.core().default_ttl_ms() {
            0 => self.add(Tag::PUT, key.as_ref(), value.as_ref()),
            ttl_ms => self.add_ttl(key.as_ref(), value.as_ref(), ttl_ms),
        }
    }

    /// Adds the next entry, which is kept as long as `ttl` from now on; see [`Keyspace::put_ttl`].
    ///
    /// # Errors
    /// Those of [`put`](Self::put).
    pub fn put_ttl(
        &mut self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        ttl: Duration,
    ) -> Result<()> {
        self.add_ttl(key.as_ref(), value.as_ref(), ttl_ms(ttl))
    }

    fn add_ttl(&mut self, key: &[u8], value: &[u8], ttl_ms: u64) -> Result<()> {
        let expires_at_ms = self.keyspace.db.shared.database_time_ms().saturating_add(ttl_ms);
        if expires_at_ms == NEVER_MS {
            return self.add(Tag::PUT, key, value);
        }
        let mut stored = std::mem::take(&mut self.stored);
        stored.clear();
        stored.extend_from_slice(&expires_at_ms.to_le_bytes());
        stored.extend_from_slice(value);
        let added = self.add(Tag::PUT.with_expiry(), key, &stored);
        self.stored = stored;
        added
    }

    /// Adds the next entry: `key`, which is greater than all before it, is gone.
    ///
    /// # Errors
    /// Those of [`put`](Self::put).
    pub fn delete(&mut self, key: impl AsRef<[u8]>) -> Result<()> {
        self.add(Tag::DELETE, key.as_ref(), &[])
    }

    /// Adds an entry as a table holds it, a leading expiry in the value included.
    pub(crate) fn add(&mut self, tag: Tag, key: &[u8], value: &[u8]) -> Result<()> {
        self.check_whole()?;
        let added = self.try_add(tag, key, value);
        if let Err(error) = &added {
            self.failure = Some(error.clone());
        }
        added
    }

    fn try_add(&mut self, tag: Tag, key: &[u8], value: &[u8]) -> Result<()> {
        let entry = Entry { key, seq_no: self.written_as, tag, value };
        self.check_entry(key, entry.user_value())?;
        let is_full = self.outputs.table_bytes() >= self.table_bytes;
        if is_full {
            self.keyspace.db.shared.check_writable()?;
            self.outputs.cut()?;
        }
        self.outputs.add(entry, key_hash(key))?;
        let last_key = self.last_key.get_or_insert_default();
        last_key.clear();
        last_key.extend_from_slice(key);
        Ok(())
    }

    fn check_entry(&self, key: &[u8], value: &[u8]) -> Result<()> {
        if let Some(last) = self.last_key.as_deref()
            && key <= last
        {
            let (key, last) = (key.escape_ascii(), last.escape_ascii());
            return Err(Error::invalid(if key.to_string() == last.to_string() {
                format!("key \"{key}\" comes twice; each key of an ingest comes once")
            } else {
                format!("key \"{key}\" comes after \"{last}\"; the keys of an ingest ascend")
            }));
        }
        if key.len() > MAX_KEY_BYTES {
            let bytes = key.len();
            return Err(Error::invalid(format!(
                "key of {bytes} bytes; a key has at most {MAX_KEY_BYTES}"
            )));
        }
        if value.len() > MAX_VALUE_BYTES {
            let bytes = value.len();
            return Err(Error::invalid(format!(
                "value of {bytes} bytes; a value has at most {MAX_VALUE_BYTES}"
            )));
        }
        Ok(())
    }

    fn check_whole(&self) -> Result<()> {
        match &self.failure {
            Some(failure) => Err(Error::new(
                failure.kind(),
                format!("the load failed before and cannot go on: {failure}"),
            )),
            None => Ok(()),
        }
    }

    /// Makes everything that was added part of the keyspace, durably and in one instant: no reader
    /// and no crash shows a part of it, and no snapshot taken before shows any of it. Commits that
    /// come at the same moment wait for as long as one edit of the manifest takes.
    ///
    /// # Errors
    /// `NoSpace`, `Io`: nothing has happened then, unless the outcome
    /// [is unknown](Error::is_outcome_unknown) after a failed sync. `ReadOnly`, `Closed`; `Invalid`
    /// if the keyspace was dropped.
    pub fn finish(self) -> Result<IngestReport> {
        self.check_whole()?;
        let written = self.outputs.finish()?;
        let (shared, core) = (&self.keyspace.db.shared, &self.keyspace.core);
        let report = shared.install_ingest(core, written)?;
        Ok(IngestReport { elapsed: self.began.elapsed(), ..report })
    }
}

impl std::fmt::Debug for BulkLoad<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BulkLoad").field("keyspace", &self.keyspace.name()).finish_non_exhaustive()
    }
}

impl Shared {
    /// Steps 2 to 8.
    fn install_ingest(&self, core: &KeyspaceCore, written: WrittenTables) -> Result<IngestReport> {
        let (Some(first), Some(last)) = (written.records().first(), written.records().last())
        else {
            return Ok(IngestReport { seq_no: self.commit.visible(), ..IngestReport::default() });
        };
        let note = Note::Ingest(IngestNote {
            keyspace: core.id,
            entries: written.records().iter().map(|record| record.entries).sum(),
            lower: first.lower.clone(),
            upper: last.upper.clone(),
        });
        self.admit(0, None)?;
        self.flush_keyspace(core)?;

        // Order: the turns before the number. Who has one of them may wait for older commits to
        // become visible, and for no newer ones.
        let hold_turn = self.commit.hold_turn();
        let flush_turn = core.flushing.lock().expect("no flush panicked");
        let (hold, sealed) = {
            let mut order = self.commit.lock_order();
            self.check_writable()?;
            if core.is_dropped() {
                return Err(core.dropped_error());
            }
            let seq_no = self.append_note(&mut order, &note)?;
            let hold = hold_turn.hold(&mut order, seq_no);
            self.seal(core);
            core.gaps.end_all();
            (hold, core.view.load().sealed.len())
        };
        let seq_no = hold.seq_no();
        let flush_all = || -> Result<()> {
            for _ in 0..sealed {
                self.with_reserve(|| self.flush_oldest_in(core, &flush_turn))?;
            }
            Ok(())
        };
        let installed = flush_all().and_then(|()| self.install_tables(core, &hold, written));
        if installed.is_err() {
            self.note_void(seq_no);
        }
        let (report, tickets) = installed?;
        // Order: seen before it is merged with what snapshots see that were taken before.
        drop(hold);
        drop(tickets);
        drop(flush_turn);
        self.background.wake_compaction();
        self.events.tell(|| Event::Ingested {
            keyspace: core.name.clone(),
            tables: report.tables,
            bytes: report.bytes,
            entries: report.entries,
        });
        Ok(report)
    }

    /// Steps 5 to 7. The tickets keep merges away from the tables.
    fn install_tables(
        &self,
        core: &KeyspaceCore,
        hold: &Hold<'_>,
        mut written: WrittenTables,
    ) -> Result<(IngestReport, Vec<PlanTicket<'_>>)> {
        let seq_no = hold.seq_no();
        self.commit.reach(Goal::Durable(seq_no))?;
        self.commit.reach(Goal::Visible(seq_no - 1))?;
        written.number(seq_no);
        self.check_writable()?;
        let mut manifest = self.lock_manifest()?;
        self.check_writable()?;
        if core.is_dropped() {
            return Err(core.dropped_error());
        }
        let (places, tickets) = self.enter_ingest(core, written.records());
        let tables_to_merge = places.iter().filter(|place| place.level == 0).count() as u64;
        let added = places.into_iter().zip(written.records().iter().cloned()).collect();
        let blobs = written.blobs().to_vec();
        let edit = VersionEdit { added, blobs, ..VersionEdit::default() };
        self.stats.note_ingest(&written);
        let edit = ManifestEdit {
            tables: vec![(core.id, edit)],
            ingested: vec![seq_no],
            flushed_through: vec![(core.id, seq_no)],
            last_seq_no: Some(self.commit.durable()),
            ..ManifestEdit::default()
        };
        let appended = self.append_tables(&mut manifest, edit, written);
        let records = appended.map_err(|error| match manifest.is_poisoned() {
            true => error.with_unknown_outcome(),
            false => error,
        })?;
        self.publish_tree(&manifest, core, &[]);
        let report = IngestReport {
            seq_no,
            entries: records.iter().map(|record| record.entries).sum(),
            tables: records.len() as u64,
            bytes: records.iter().map(|record| record.bytes).sum(),
            tables_to_merge,
            ..IngestReport::default()
        };
        Ok((report, tickets))
    }

    /// Tells followers, who cannot ask the manifest of this moment, that an ingest did not happen.
    /// Best effort: where it fails, they wait until the log goes on without the ingest's note.
    fn note_void(&self, seq_no: SeqNo) {
        let mut order = self.commit.lock_order();
        if self.check_writable().is_err() {
            return;
        }
        if let Ok(noted) = self.append_note(&mut order, &Note::Void(seq_no)) {
            // A failure poisons the database, which every later write tells.
            let _ = self.commit.ordered(&mut order, noted, Durability::Memory);
        }
    }
}
