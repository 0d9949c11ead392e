//! The path of a point read.
//!
//! 1. Load the view.
//! 2. *Then* load `visible`. The other way round, a merge that finished in between could have
//!    dropped the version that was visible, in favour of a newer one.
//! 3. Active memtable, sealed ones newest first.
//! 4. Runs newest first: the one table of each whose bounds hold the key. All candidates' filter
//!    lines are asked for before the first is tested, so that the cache misses overlap.
//! 5. The first entry found is the newest, for older runs hold older sequence numbers. A range delete
//!    that covers the key ends the search as well: all that is older than it is gone. Where there are
//!    none, a memtable or table is asked one flag about them.
//!
//! No lock, no reference count and no clock on the way.
//!
//! A database opened read-only takes both view and number from its moment (see `read_only.rs`).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use lsm_entry::{BlobRef, SeqNo, key_hash};
use lsm_sstable::FilterLine;

use crate::error::{Error, Result};
use crate::keyspace::KeyspaceCore;
use crate::resolve::Meaning;
use crate::samples::{Begun, is_sampled};
use crate::shared::Shared;
use crate::snapshot::Registered;
use crate::tables::LiveTable;
use crate::value::{COPY_BYTES_MAX, Slice, Value};
use crate::view::View;

/// How many candidate tables are prefetched before the first is tested: about as many misses as a
/// core can have under way, and few enough for their places to be cleared by a few stores.
const PREFETCHED_MAX: usize = 10;

/// A table whose bounds hold the key.
#[derive(Clone, Copy)]
struct Candidate<'a> {
    live: &'a LiveTable,
    /// Of its filter, if it has one.
    line: Option<FilterLine<'a>>,
}

/// What a table knows of a key.
enum Found {
    /// Nothing: older ones may.
    Nothing,
    Value(Value),
    /// A value that lies in a blob file.
    Large(Option<BlobRef>),
    Gone,
    /// An operand, to be merged with what older versions come to.
    Operand,
}

impl Shared {
    /// The value of `key` at a moment, or at the present.
    pub(crate) fn get(
        &self,
        core: &KeyspaceCore,
        key: &[u8],
        moment: Option<&Registered>,
    ) -> Result<Option<Value>> {
        let count = core.lookups.add(1);
        if is_sampled(count) {
            return self.get_sampled(core, key, moment, count);
        }
        self.get_unsampled(core, key, moment)
    }

    /// The same, neither counted nor measured.
    #[inline(always)] // A call of its own costs as much as a twentieth of a read from a memtable.
    pub(crate) fn get_unsampled(
        &self,
        core: &KeyspaceCore,
        key: &[u8],
        moment: Option<&Registered>,
    ) -> Result<Option<Value>> {
        let hash = key_hash(key);
        let time_ms = moment.and_then(|moment| moment.time_ms);
        if self.is_read_only || moment.is_some_and(Registered::holds) {
            return self.read_held(core, moment, |view, seq_no| {
                self.get_in(core, view, key, hash, seq_no, time_ms)
            });
        }
        let view = core.view.load();
        // Order: the view before the flag, for a drop sets the flag before it empties the view.
        self.check_readable(core)?;
        let seq_no = moment.map_or_else(|| self.commit.visible(), |moment| moment.seq_no);
        self.get_in(core, &view, key, hash, seq_no, time_ms)
    }

    /// The values of `keys` at one moment of one view.
    pub(crate) fn multi_get<K: AsRef<[u8]>>(
        &self,
        core: &KeyspaceCore,
        keys: &[K],
        moment: Option<&Registered>,
    ) -> Result<Vec<Option<Value>>> {
        let begun = Begun::counted(core.lookups.add(keys.len() as u64));
        let found = self.multi_get_unsampled(core, keys, moment);
        self.samples.note_multi_get(&begun, &core.lookups);
        found
    }

    fn multi_get_unsampled<K: AsRef<[u8]>>(
        &self,
        core: &KeyspaceCore,
        keys: &[K],
        moment: Option<&Registered>,
    ) -> Result<Vec<Option<Value>>> {
        let time_ms = moment.and_then(|moment| moment.time_ms);
        if self.is_read_only || moment.is_some_and(Registered::holds) {
            return self.read_held(core, moment, |view, seq_no| {
                self.multi_get_in(core, view, keys, seq_no, time_ms)
            });
        }
        loop {
            // Held as long as many reads may take, so by a reference count.
            let view = core.view.load_full();
            self.check_readable(core)?;
            let seq_no = moment.map_or_else(|| self.commit.visible(), |moment| moment.seq_no);
            // A view may be older than an ingest that is visible by now, and show commits behind it.
            if !Arc::ptr_eq(&view, &core.view.load()) {
                continue;
            }
            return self.multi_get_in(core, &view, keys, seq_no, time_ms);
        }
    }

    /// Calls `read` with what `core` shows at a moment that is held, or at present in a database opened
    /// read-only. Apart from the reads of others, which cost 5 ns more with it among them.
    #[inline(never)]
    fn read_held<T>(
        &self,
        core: &KeyspaceCore,
        moment: Option<&Registered>,
        read: impl FnOnce(&View, SeqNo) -> Result<T>,
    ) -> Result<T> {
        self.check_readable(core)?;
        let present = self.moment.load();
        let held = moment.map_or(&*present, |moment| &moment.held);
        let held = held.as_ref().expect("a database opened read-only has a moment");
        read(held.view(core.id), held.seq_no)
    }

    fn multi_get_in<K: AsRef<[u8]>>(
        &self,
        core: &KeyspaceCore,
        view: &View,
        keys: &[K],
        seq_no: SeqNo,
        time_ms: Option<u64>,
    ) -> Result<Vec<Option<Value>>> {
        // One time for all of them.
        let time_ms = time_ms.or_else(|| self.reading_time_ms());
        let hashes: Vec<u64> = keys.iter().map(|key| key_hash(key.as_ref())).collect();
        // Stage by stage over the whole batch: the misses of one stage overlap each other.
        for &hash in &hashes {
            view.active.prefetch(hash);
        }
        for (key, &hash) in keys.iter().zip(&hashes) {
            for run in &view.tree.runs {
                let table = run.find(key.as_ref()).and_then(|live| live.table_if_open());
                if let Some(line) = table.and_then(|table| table.filter_line(hash)) {
                    line.prefetch();
                }
            }
        }
        let look_up =
            |(key, &hash): (&K, &u64)| self.get_in(core, view, key.as_ref(), hash, seq_no, time_ms);
        keys.iter().zip(&hashes).map(look_up).collect()
    }

    #[inline(always)] // Part of `get_unsampled`, which says why; what comes after memtables is a call.
    fn get_in(
        &self,
        core: &KeyspaceCore,
        view: &View,
        key: &[u8],
        hash: u64,
        seq_no: SeqNo,
        time_ms: Option<u64>,
    ) -> Result<Option<Value>> {
        let mut memtable = &view.active;
        let mut sealed = view.sealed.iter();
        loop {
            let found = memtable.get(key, hash, seq_no);
            let cover = memtable.cover(key, seq_no);
            match found {
                Some(entry) if entry.seq_no >= cover => {
                    return match self.resolve(&entry, time_ms) {
                        Meaning::Value(value) => Ok(Some(Slice::copied(value))),
                        Meaning::Large(place) => {
                            Ok(Some(Slice::blob(view.tree.blobs.load(place)?)))
                        }
                        Meaning::Gone => Ok(None),
                        Meaning::Operand(_) => {
                            self.get_folded(core, view, key, hash, seq_no, time_ms)
                        }
                    };
                }
                None if cover == 0 => {}
                // A range delete hides what is here, and all that is older.
                _ => return Ok(None),
            }
            match sealed.next() {
                Some(older) => memtable = older,
                None => return self.get_in_tables(core, view, key, hash, seq_no, time_ms),
            }
        }
    }

    /// Apart from memtables, in which a read ends that needs no more than a few registers.
    #[inline(never)]
    fn get_in_tables(
        &self,
        core: &KeyspaceCore,
        view: &View,
        key: &[u8],
        hash: u64,
        seq_no: SeqNo,
        time_ms: Option<u64>,
    ) -> Result<Option<Value>> {
        let mut candidates = [const { None }; PREFETCHED_MAX];
        let mut runs = view.tree.runs.iter();
        loop {
            let mut count = 0;
            while count < PREFETCHED_MAX
                && let Some(run) = runs.next()
            {
                let Some(live) = run.find(key) else { continue };
                let line = live.table()?.filter_line(hash);
                line.inspect(FilterLine::prefetch);
                candidates[count] = Some(Candidate { live, line });
                count += 1;
            }
            for candidate in candidates[..count].iter().flatten() {
                match self.get_in_table(candidate, key, hash, seq_no, time_ms)? {
                    Found::Nothing => {}
                    Found::Value(value) => return Ok(Some(value)),
                    Found::Large(place) => {
                        return Ok(Some(Slice::blob(view.tree.blobs.load(place)?)));
                    }
                    Found::Gone => return Ok(None),
                    Found::Operand => {
                        return self.get_folded(core, view, key, hash, seq_no, time_ms);
                    }
                }
            }
            if count < PREFETCHED_MAX {
                return Ok(None);
            }
        }
    }

    #[inline]
    fn get_in_table(
        &self,
        candidate: &Candidate<'_>,
        key: &[u8],
        hash: u64,
        seq_no: SeqNo,
        time_ms: Option<u64>,
    ) -> Result<Found> {
        let Candidate { live, line } = candidate;
        let cover = live.cover(key, seq_no)?;
        let nothing = || if cover > 0 { Found::Gone } else { Found::Nothing };
        if line.is_some_and(|line| !line.may_contain(hash)) {
            return Ok(nothing());
        }
        let table = live.table()?;
        let found =
            table.get_with(key, hash, seq_no, |entry| match self.resolve(&entry, time_ms) {
                _ if entry.seq_no < cover => Some(Found::Gone),
                // A large value shares its block instead of being copied.
                Meaning::Value(value) if value.len() > COPY_BYTES_MAX => None,
                Meaning::Value(value) => Some(Found::Value(Slice::copied(value))),
                Meaning::Gone => Some(Found::Gone),
                Meaning::Large(place) => Some(Found::Large(place)),
                Meaning::Operand(_) => Some(Found::Operand),
            })?;
        match found {
            Some(Some(found)) => Ok(found),
            Some(None) => {
                let found = table.get(key, hash, seq_no)?;
                Ok(found.map_or(Found::Gone, |it| Found::Value(Slice::shared(it.pin_user_value()))))
            }
            None => {
                self.stats.filter_false_positives.count();
                Ok(nothing())
            }
        }
    }

    /// Whether `core` can be read: neither it nor the database is gone.
    #[inline]
    pub(crate) fn check_readable(&self, core: &KeyspaceCore) -> Result<()> {
        // Relaxed: whoever was told of the close or the drop sees its flag. `|`: one branch.
        if self.closed.load(Ordering::Relaxed) | core.dropped.load(Ordering::Relaxed) {
            return Err(self.refusal(core));
        }
        Ok(())
    }

    #[cold]
    fn refusal(&self, core: &KeyspaceCore) -> Error {
        self.check_open().err().unwrap_or_else(|| core.dropped_error())
    }

    /// The same for a keyspace whose handle may come from another database.
    pub(crate) fn check_own(&self, core: &Arc<KeyspaceCore>) -> Result<()> {
        self.check_readable(core)?;
        // The default one stays as long as the database; the others have to be looked up.
        if Arc::ptr_eq(core, &self.default_keyspace)
            || self.keyspaces.load().get(&core.id).is_some_and(|own| Arc::ptr_eq(own, core))
        {
            return Ok(());
        }
        // It may have been dropped just now.
        self.check_readable(core)?;
        Err(core.foreign_error())
    }

    pub(crate) fn check_open(&self) -> Result<()> {
        if self.closed.load(Ordering::Acquire) { Err(Error::closed()) } else { Ok(()) }
    }
}
