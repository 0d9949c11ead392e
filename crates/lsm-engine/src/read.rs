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

use lsm_entry::{BlobRef, Entry, SeqNo, key_hash};
use lsm_sstable::{FilterLine, Lent, PinnedSlice, Table};

use crate::error::{Error, Result};
use crate::keyspace::KeyspaceCore;
use crate::resolve::Meaning;
use crate::samples::{Begun, is_sampled};
use crate::shared::Shared;
use crate::snapshot::Registered;
use crate::tables::LiveTable;
use crate::value::{COPY_BYTES_MAX, Slice, Value};
use crate::view::View;

/// How many candidate tables are prefetched before the first is tested: more than a tree at rest has
/// runs, and few enough for their places to be cleared by a few stores.
const PREFETCHED_MAX: usize = 6;

/// A table whose bounds hold the key.
#[derive(Clone, Copy)]
struct Candidate<'a> {
    live: &'a LiveTable,
    /// Of its filter, if it has one that is worth asking.
    line: Option<FilterLine<'a>>,
}

/// What a read comes to that finds no value in a memtable.
enum Found<'v> {
    /// Nothing: older ones may.
    Nothing,
    /// A value that lies in the mapped file of this table.
    InTable(&'v [u8], &'v Table),
    /// A value that lies in a block that was read.
    InBlock(PinnedSlice),
    /// A value that lies in a blob file.
    Large(Option<BlobRef>),
    Gone,
    /// An operand, to be merged with what older versions come to.
    Operand,
}

/// What becomes of a value that a read finds.
trait Take {
    /// What it becomes.
    type Taken;
    /// Up to which length values are lent that could be kept without copying them.
    const LENT_BYTES_MAX: usize;

    /// Takes a value that is lent by the memtable or the table that it lies in.
    fn lent(self, value: &[u8]) -> Self::Taken;

    /// Takes a value that is there by itself, or shares what it lies in.
    fn kept(self, value: Value) -> Self::Taken;
}

/// It is returned. A long one shares its block instead of being copied.
struct Keep;

impl Take for Keep {
    type Taken = Value;

    const LENT_BYTES_MAX: usize = COPY_BYTES_MAX;

    #[inline(always)]
    fn lent(self, value: &[u8]) -> Value {
        Slice::copied(value)
    }

    #[inline(always)]
    fn kept(self, value: Value) -> Value {
        value
    }
}

/// It is looked at where it lies.
struct Visit<F>(F);

impl<R, F: FnOnce(&[u8]) -> R> Take for Visit<F> {
    type Taken = R;

    const LENT_BYTES_MAX: usize = usize::MAX;

    #[inline(always)]
    fn lent(self, value: &[u8]) -> R {
        self.0(value)
    }

    #[inline(always)]
    fn kept(self, value: Value) -> R {
        self.0(&value)
    }
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
    #[inline(always)] // See `find`.
    pub(crate) fn get_unsampled(
        &self,
        core: &KeyspaceCore,
        key: &[u8],
        moment: Option<&Registered>,
    ) -> Result<Option<Value>> {
        self.find(core, key, moment, Keep)
    }

    /// What `visit` makes of the value of `key`, which it is lent.
    #[inline]
    pub(crate) fn get_with<R>(
        &self,
        core: &KeyspaceCore,
        key: &[u8],
        moment: Option<&Registered>,
        visit: impl FnOnce(&[u8]) -> R,
    ) -> Result<Option<R>> {
        let count = core.lookups.add(1);
        if is_sampled(count) {
            // Copied, so that there is one such path, however many visitors.
            return Ok(self.get_sampled(core, key, moment, count)?.map(|value| visit(&value)));
        }
        self.find(core, key, moment, Visit(visit))
    }

    /// Finds the value of `key`, and has it taken.
    #[inline(always)] // A call of its own costs as much as a twentieth of a read from a memtable.
    fn find<T: Take>(
        &self,
        core: &KeyspaceCore,
        key: &[u8],
        moment: Option<&Registered>,
        take: T,
    ) -> Result<Option<T::Taken>> {
        let hash = key_hash(key);
        let time_ms = moment.and_then(|moment| moment.time_ms);
        if self.is_read_only || moment.is_some_and(Registered::holds) {
            return self.read_held(core, moment, |view, seq_no| {
                self.find_in(core, view, key, hash, seq_no, time_ms, take)
            });
        }
        let view = core.view.load();
        // Order: the view before the flag, for a drop sets the flag before it empties the view.
        self.check_readable(core)?;
        let seq_no = moment.map_or_else(|| self.commit.visible(), |moment| moment.seq_no);
        self.find_in(core, &view, key, hash, seq_no, time_ms, take)
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
                let live = run.find(key.as_ref()).filter(|live| live.filter_use.pays());
                let table = live.and_then(|live| live.table_if_open());
                if let Some(line) = table.and_then(|table| table.filter_line(hash)) {
                    line.prefetch();
                }
            }
        }
        let look_up = |(key, &hash): (&K, &u64)| {
            self.find_in(core, view, key.as_ref(), hash, seq_no, time_ms, Keep)
        };
        keys.iter().zip(&hashes).map(look_up).collect()
    }

    #[inline(always)] // Part of `find`, which says why; what comes after memtables is a call.
    #[allow(clippy::too_many_arguments)]
    fn find_in<T: Take>(
        &self,
        core: &KeyspaceCore,
        view: &View,
        key: &[u8],
        hash: u64,
        seq_no: SeqNo,
        time_ms: Option<u64>,
        take: T,
    ) -> Result<Option<T::Taken>> {
        let mut memtable = &view.active;
        let mut sealed = view.sealed.iter();
        let found = loop {
            let found = memtable.get(key, hash, seq_no);
            let cover = memtable.cover(key, seq_no);
            match found {
                Some(entry) if entry.seq_no >= cover => match self.resolve(&entry, time_ms) {
                    Meaning::Value(value) => return Ok(Some(take.lent(value))),
                    Meaning::Large(place) => break Found::Large(place),
                    Meaning::Gone => break Found::Gone,
                    Meaning::Operand(_) => break Found::Operand,
                },
                None if cover == 0 => {}
                // A range delete hides what is here, and all that is older.
                _ => break Found::Gone,
            }
            match sealed.next() {
                Some(older) => memtable = older,
                None => break self.find_in_tables(view, key, hash, seq_no, time_ms)?,
            }
        };
        Ok(Some(match found {
            Found::Nothing | Found::Gone => return Ok(None),
            Found::InTable(value, table) if value.len() > T::LENT_BYTES_MAX => {
                match table.pin_lent(value) {
                    Some(pinned) => take.kept(Slice::shared(pinned)),
                    None => take.lent(value),
                }
            }
            Found::InTable(value, _) => take.lent(value),
            Found::InBlock(value) if value.len() > T::LENT_BYTES_MAX => {
                take.kept(Slice::shared(value))
            }
            Found::InBlock(value) => take.lent(&value),
            Found::Large(place) => take.kept(Slice::blob(view.tree.blobs.load(place)?)),
            Found::Operand => take.kept(self.get_folded(core, view, key, hash, seq_no, time_ms)?),
        }))
    }

    /// Apart from memtables, in which a read ends that needs no more than a few registers.
    #[inline(never)]
    fn find_in_tables<'v>(
        &self,
        view: &'v View,
        key: &[u8],
        hash: u64,
        seq_no: SeqNo,
        time_ms: Option<u64>,
    ) -> Result<Found<'v>> {
        let mut candidates = [const { None }; PREFETCHED_MAX];
        let mut runs = view.tree.runs.iter();
        loop {
            let mut count = 0;
            while count < PREFETCHED_MAX
                && let Some(run) = runs.next()
            {
                let Some(live) = run.find(key) else { continue };
                let line = live.filter_line(hash)?;
                line.inspect(FilterLine::prefetch);
                candidates[count] = Some(Candidate { live, line });
                count += 1;
            }
            for candidate in candidates[..count].iter().flatten() {
                match self.find_in_table(candidate, key, hash, seq_no, time_ms)? {
                    Found::Nothing => {}
                    found => return Ok(found),
                }
            }
            if count < PREFETCHED_MAX {
                return Ok(Found::Nothing);
            }
        }
    }

    #[inline]
    fn find_in_table<'v>(
        &self,
        candidate: &Candidate<'v>,
        key: &[u8],
        hash: u64,
        seq_no: SeqNo,
        time_ms: Option<u64>,
    ) -> Result<Found<'v>> {
        let Candidate { live, line } = *candidate;
        let cover = live.cover(key, seq_no)?;
        let nothing = || if cover > 0 { Found::Gone } else { Found::Nothing };
        if line.is_some_and(|line| !line.may_contain(hash)) {
            live.filter_use.note_absent();
            return Ok(nothing());
        }
        let table = live.table()?;
        let lent = table.get_lent(key, hash, seq_no)?;
        if lent.is_some() {
            live.filter_use.note_found(hash);
        }
        Ok(match lent {
            Some(Lent::InPlace(entry)) => {
                self.judge(&entry, cover, time_ms, || Found::InTable(entry.user_value(), table))
            }
            Some(Lent::Kept(found)) => self
                .judge(&found.entry(), cover, time_ms, || Found::InBlock(found.pin_user_value())),
            None => {
                live.filter_use.note_absent();
                if line.is_some() {
                    self.stats.filter_false_positives.count();
                }
                nothing()
            }
        })
    }

    /// What an entry of a table means to the read that found it, under a range delete of that number.
    #[inline(always)] // Part of `find_in_table`, once for each way to lie in a table.
    fn judge<'v>(
        &self,
        entry: &Entry<'_>,
        cover: SeqNo,
        time_ms: Option<u64>,
        value: impl FnOnce() -> Found<'v>,
    ) -> Found<'v> {
        if entry.seq_no < cover {
            return Found::Gone;
        }
        match self.resolve(entry, time_ms) {
            Meaning::Value(_) => value(),
            Meaning::Gone => Found::Gone,
            Meaning::Large(place) => Found::Large(place),
            Meaning::Operand(_) => Found::Operand,
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
