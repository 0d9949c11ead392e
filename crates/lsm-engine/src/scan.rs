//! The path of a scan: what a view holds, merged, with only the versions that the reader sees.
//!
//! 1. Enter the sequence number into the snapshot list, so that no merge drops what the scan sees.
//! 2. Load the view: it holds everything up to that number.
//! 3. Merge its sources, without what range deletes hide (see `covered.rs`); of each key take the
//!    newest version that is not newer than the number, and where that is a merge operand, what it
//!    and older ones come to.
//! 4. Every so often look whether the view is stale. If so move to the present one: the snapshot
//!    list guarantees that it shows the same. So no scan pins sealed memtables or dead files.
//!
//! In a database opened read-only the moment holds its own view, and a scan stays with it.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use lsm_blob::BlobValue;
use lsm_entry::{BlobRef, Cursor, Direction, MAX_SEQ_NO, MergingCursor, SeqNo, Tag};

use crate::budget::CursorCharge;
use crate::error::{Error, Result};
use crate::keyspace::KeyspaceCore;
use crate::resolve::{Meaning, Operands};
use crate::samples::Begun;
use crate::snapshot::Registered;
use crate::source::{Source, merge_view};
use crate::sync::Guard;
use crate::value::Slice;
use crate::view::View;

/// Entries after which a scan looks whether its view is stale.
const STALENESS_CHECK_ENTRIES: u32 = 256;

/// Entries that a scan has to step over for its keyspace to be looked at (see `background.rs`).
const SWAMP_ENTRIES: u64 = 4096;

/// A position among the entries that a reader sees, lending their keys and values: the fastest
/// scan. It reads one moment, whatever is written meanwhile.
///
/// ```
/// # use lsm_engine::{Db, Reads};
/// # let dir = tempfile::tempdir()?;
/// # let db = Db::open(dir.path())?;
/// db.put("a", "1")?;
/// db.put("c", "3")?;
/// let mut cursor = db.cursor();
/// cursor.seek("b")?;
/// assert_eq!(cursor.key(), Some(&b"c"[..]));
/// cursor.prev()?;
/// assert_eq!(cursor.value(), Some(&b"1"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct EntryCursor {
    moment: Registered,
    core: Arc<KeyspaceCore>,
    view: Arc<View>,
    merged: MergingCursor<Source>,
    position: Position,
    /// Key of the current entry, kept while the sources move on past its older versions.
    key: Vec<u8>,
    /// Value of the current entry while the sources stand elsewhere.
    value: Vec<u8>,
    /// Merge operands of the current entry, as they were met.
    operands: Operands,
    /// Value of the current entry, if it lies in a blob file.
    large: Option<BlobValue>,
    /// Whether values that lie in blob files are wanted.
    loads_values: bool,
    entries_until_check: u32,
    /// Its place in the memory budget.
    _charge: CursorCharge,
    /// How many entries can be walked over, in the direction of the last movement, of which nothing
    /// has to be asked; the merged cursor stands at the entry then.
    plain: Plain,
    /// Entries that were stepped over because they do not count.
    passed: u64,
    /// Why nothing can be read here: the keyspace was dropped before, or is another database's.
    refusal: Option<Error>,
}

/// Entries ahead that are plain (see [`Cursor::plain`]): each is what the reader sees of its key.
#[derive(Clone, Copy, Debug, Default)]
struct Plain {
    forward: u32,
    backward: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Position {
    /// At no entry.
    End,
    /// The merged cursor stands at the entry itself.
    AtEntry,
    /// The merged cursor stands before the entry's oldest version; the entry was copied.
    BeforeEntry,
    /// The merged cursor stands among the entry's older versions, or behind them; the entry was folded.
    WithinEntry,
    /// As at the entry itself; its value lies in a blob file.
    AtLarge,
    /// As before the entry; its value lies in a blob file.
    BeforeLarge,
}

impl EntryCursor {
    pub(crate) fn new(moment: Registered, core: &Arc<KeyspaceCore>) -> Self {
        // Order: register, then load the view (see the file comment).
        let view = match &moment.held {
            Some(held) => Arc::clone(held.view(core.id)),
            None => core.view.load_full(),
        };
        // Order: the view before the flag (see `refresh_view`).
        let refusal = moment.db.shared.check_own(core).err();
        Self::over(moment, core, view, refusal)
    }

    /// Another cursor over what this one reads, also if its keyspace was dropped meanwhile.
    pub(crate) fn beside(&self) -> Self {
        let view = Arc::clone(&self.view);
        let mut beside = Self::over(self.moment.clone(), &self.core, view, self.refusal.clone());
        beside.loads_values = self.loads_values;
        beside
    }

    /// The same, for whoever wants no values: those in blob files are not read, and seem empty.
    pub(crate) fn keys_only(mut self) -> Self {
        self.loads_values = false;
        self
    }

    fn over(
        moment: Registered,
        core: &Arc<KeyspaceCore>,
        view: Arc<View>,
        refusal: Option<Error>,
    ) -> Self {
        let merged = merge_view(&view, &moment);
        let sources = view.tree.runs.len() + view.sealed.len() + 1;
        let charge = moment.db.shared.budget.cursor_opened(sources);
        Self {
            moment,
            core: Arc::clone(core),
            view,
            merged,
            position: Position::End,
            key: Vec::new(),
            value: Vec::new(),
            operands: Operands::default(),
            large: None,
            loads_values: true,
            entries_until_check: STALENESS_CHECK_ENTRIES,
            _charge: charge,
            plain: Plain::default(),
            passed: 0,
            refusal,
        }
    }

    /// Moves to the first entry.
    ///
    /// # Errors
    /// `Corrupt`, `Io`, `Closed`; `Invalid` if the keyspace was dropped before the cursor was made.
    /// The cursor is then at no entry. So for every movement.
    pub fn seek_first(&mut self) -> Result<()> {
        self.seek(b"")
    }

    /// Moves to the first entry at or after `key`.
    ///
    /// # Errors
    /// See [`seek_first`](Self::seek_first).
    pub fn seek(&mut self, key: impl AsRef<[u8]>) -> Result<()> {
        let begun = Begun::counted(self.core.lookups.add(1));
        self.start()?;
        self.merged.seek(key.as_ref(), self.moment.newest())?;
        let settled = self.settle_forward(false);
        self.moment.db.shared.samples.note_seek(&begun);
        settled
    }

    /// Moves to the last entry.
    ///
    /// # Errors
    /// See [`seek_first`](Self::seek_first).
    pub fn seek_last(&mut self) -> Result<()> {
        self.start()?;
        self.merged.seek_last()?;
        self.settle_backward()
    }

    /// Moves to the last entry at or before `key`.
    ///
    /// # Errors
    /// See [`seek_first`](Self::seek_first).
    pub fn seek_for_prev(&mut self, key: impl AsRef<[u8]>) -> Result<()> {
        let begun = Begun::counted(self.core.lookups.add(1));
        self.start()?;
        self.merged.seek_for_prev(key.as_ref(), 0)?;
        let settled = self.settle_backward();
        self.moment.db.shared.samples.note_seek(&begun);
        settled
    }

    /// Moves to the next entry; at no entry it stays there.
    ///
    /// # Errors
    /// See [`seek_first`](Self::seek_first).
    #[allow(clippy::should_implement_trait)] // Lends its entry, which an Iterator cannot.
    #[inline]
    pub fn next(&mut self) -> Result<()> {
        if self.plain.forward > 0 {
            self.plain.forward -= 1;
            self.merged.step_plain(Direction::Forward);
            return Ok(());
        }
        self.next_of_many()
    }

    fn next_of_many(&mut self) -> Result<()> {
        self.plain = Plain::default();
        match self.position {
            Position::End => return Ok(()),
            Position::AtEntry | Position::AtLarge => {
                self.remember_key();
                self.position = Position::End;
                if self.is_check_due() && self.refresh_view() {
                    self.merged.seek(&self.key, 0)?;
                } else {
                    self.merged.next()?;
                }
            }
            Position::BeforeEntry | Position::BeforeLarge => {
                // Turning round: step over every version of the entry that was copied.
                self.position = Position::End;
                if self.is_check_due() {
                    self.refresh_view();
                }
                self.merged.seek(&self.key, 0)?;
            }
            Position::WithinEntry => {
                self.position = Position::End;
                if self.is_check_due() && self.refresh_view() {
                    self.merged.seek(&self.key, 0)?;
                }
            }
        }
        self.settle_forward(true)
    }

    /// Moves to the entry before; at no entry it stays there.
    ///
    /// # Errors
    /// See [`seek_first`](Self::seek_first).
    #[inline]
    pub fn prev(&mut self) -> Result<()> {
        if self.plain.backward > 0 {
            self.plain.backward -= 1;
            self.merged.step_plain(Direction::Backward);
            return Ok(());
        }
        self.prev_of_many()
    }

    fn prev_of_many(&mut self) -> Result<()> {
        self.plain = Plain::default();
        match self.position {
            Position::End => return Ok(()),
            Position::AtEntry | Position::AtLarge => {
                self.remember_key();
                self.position = Position::End;
                // Newer versions of the key may stand before this one: step over them too.
                self.merged.prev()?;
                while self.merged.entry().is_some_and(|entry| is_same(entry.key, &self.key)) {
                    self.merged.prev()?;
                }
            }
            // The sources stand before every version already.
            Position::BeforeEntry | Position::BeforeLarge => self.position = Position::End,
            Position::WithinEntry => {
                self.position = Position::End;
                self.seek_before_key()?;
            }
        }
        if self.is_check_due() && self.refresh_view() {
            self.seek_before_key()?;
        }
        self.settle_backward()
    }

    /// Moves the sources to before every version of `self.key`.
    fn seek_before_key(&mut self) -> Result<()> {
        self.merged.seek_for_prev(&self.key, MAX_SEQ_NO)?;
        while self.merged.entry().is_some_and(|entry| is_same(entry.key, &self.key)) {
            self.merged.prev()?;
        }
        Ok(())
    }

    /// The key here, or `None` at no entry.
    #[inline]
    pub fn key(&self) -> Option<&[u8]> {
        self.entry().map(|(key, _)| key)
    }

    /// The value here, or `None` at no entry.
    #[inline]
    pub fn value(&self) -> Option<&[u8]> {
        self.entry().map(|(_, value)| value)
    }

    /// Key and value here, or `None` at no entry.
    #[inline]
    pub fn entry(&self) -> Option<(&[u8], &[u8])> {
        if self.position == Position::AtEntry {
            return self.merged.entry().map(|entry| (entry.key, entry.user_value()));
        }
        self.entry_elsewhere()
    }

    /// The entry here, if it is not where the sources stand, or its value is not.
    #[inline(never)]
    fn entry_elsewhere(&self) -> Option<(&[u8], &[u8])> {
        match self.position {
            Position::End => None,
            Position::BeforeEntry | Position::WithinEntry => Some((&self.key, &self.value)),
            Position::AtLarge => self.merged.entry().map(|entry| (entry.key, self.large())),
            Position::BeforeLarge => Some((&self.key, self.large())),
            Position::AtEntry => self.merged.entry().map(|entry| (entry.key, entry.user_value())),
        }
    }

    fn large(&self) -> &[u8] {
        self.large.as_deref().unwrap_or_default()
    }

    /// What [`entry`](Self::entry) found, for longer than the cursor stays.
    #[inline]
    pub(crate) fn keep(&self, (key, value): (&[u8], &[u8])) -> (Slice, Slice) {
        let value = match (self.position, &self.large) {
            (Position::AtLarge | Position::BeforeLarge, Some(large)) => Slice::blob(large.clone()),
            _ => Slice::copied(value),
        };
        (Slice::copied(key), value)
    }

    /// The current entry as a table holds it that refers to no blob file, its expiry included, while
    /// the cursor moves forward.
    pub(crate) fn stored(&self) -> Option<(Tag, Cow<'_, [u8]>)> {
        match self.position {
            Position::AtLarge => self.merged.entry().map(|entry| {
                let expiry_bytes = entry.value.len() - entry.user_value().len();
                let value = [&entry.value[..expiry_bytes], self.large()].concat();
                (entry.tag.without_blob(), Cow::Owned(value))
            }),
            Position::AtEntry => {
                self.merged.entry().map(|entry| (entry.tag, Cow::Borrowed(entry.value)))
            }
            _ => self.value().map(|value| (Tag::PUT, Cow::Borrowed(value))),
        }
    }

    /// The newest sequence number that the cursor sees.
    pub fn seq_no(&self) -> SeqNo {
        self.moment.seq_no
    }

    /// Looks how far the entries are plain from the one here on.
    #[inline]
    fn look_ahead(&mut self, direction: Direction) -> u32 {
        let plain = self.merged.plain(direction, self.moment.seq_no);
        // Not beyond the next look at the view.
        let plain = u32::try_from(plain).unwrap_or(u32::MAX).min(self.entries_until_check - 1);
        self.entries_until_check -= plain;
        plain
    }

    /// Begins to seek.
    fn start(&mut self) -> Result<()> {
        self.position = Position::End;
        self.plain = Plain::default();
        self.moment.db.shared.check_open()?;
        if let Some(refusal) = &self.refusal {
            return Err(refusal.clone());
        }
        self.refresh_view();
        Ok(())
    }

    fn remember_key(&mut self) {
        if let Some(entry) = self.merged.entry() {
            self.key.clear();
            self.key.extend_from_slice(entry.key);
        }
    }

    /// From the first version of some key on, finds the next entry that the reader sees, past
    /// every version of `self.key` if that is left behind.
    #[inline]
    fn settle_forward(&mut self, mut leaves_key: bool) -> Result<()> {
        while let Some(entry) = self.merged.entry() {
            if !self.moment.sees(entry.seq_no) || leaves_key && is_same(entry.key, &self.key) {
                self.passed += 1;
                self.merged.next()?;
                continue;
            }
            match self.moment.db.shared.resolve(&entry, self.moment.time_ms) {
                Meaning::Value(_) => {
                    self.position = Position::AtEntry;
                    self.plain.forward = self.look_ahead(Direction::Forward);
                    return Ok(());
                }
                Meaning::Large(place) => return self.stand_at_large(place, Position::AtLarge),
                Meaning::Gone => {
                    // None of its older versions counts.
                    self.remember_key();
                    leaves_key = true;
                    self.passed += 1;
                    self.merged.next()?;
                }
                Meaning::Operand(_) => return self.fold_forward(),
            }
        }
        Ok(())
    }

    /// From the newest version that the reader sees on, which is an operand, finds what it and the
    /// older ones come to.
    #[cold]
    fn fold_forward(&mut self) -> Result<()> {
        self.remember_key();
        self.operands.clear();
        let mut has_base = false;
        while let Some(entry) = self.merged.entry().filter(|entry| is_same(entry.key, &self.key)) {
            // Below a transaction's own operands stands what others have written since it began.
            if !self.moment.sees(entry.seq_no) {
                self.merged.next()?;
                continue;
            }
            match self.moment.db.shared.resolve(&entry, self.moment.time_ms) {
                Meaning::Operand(operand) => self.operands.push(operand),
                Meaning::Gone => break,
                Meaning::Value(value) => {
                    self.value.clear();
                    self.value.extend_from_slice(value);
                    has_base = true;
                    break;
                }
                Meaning::Large(place) => {
                    self.value = self.view.tree.blobs.load(place)?.to_vec();
                    has_base = true;
                    break;
                }
            }
            self.merged.next()?;
        }
        let base = has_base.then_some(self.value.as_slice());
        self.value = self.core.fold(&self.key, base, &self.operands.reversed())?;
        self.position = Position::WithinEntry;
        Ok(())
    }

    /// From the oldest version of some key on, finds the entry before that the reader sees.
    fn settle_backward(&mut self) -> Result<()> {
        loop {
            self.plain.backward = self.look_ahead(Direction::Backward);
            if self.plain.backward > 0 {
                self.position = Position::AtEntry;
                return Ok(());
            }
            let Some(entry) = self.merged.entry() else { return Ok(()) };
            self.key.clear();
            self.key.extend_from_slice(entry.key);
            // Versions come oldest first here: the last one not newer than the moment counts, and the
            // operands above it.
            let mut is_seen = false;
            self.operands.clear();
            let mut place = None;
            while let Some(entry) = self.merged.entry() {
                if !is_same(entry.key, &self.key) {
                    break;
                }
                if self.moment.sees(entry.seq_no) {
                    let meaning = self.moment.db.shared.resolve(&entry, self.moment.time_ms);
                    if let Meaning::Operand(operand) = meaning {
                        self.operands.push(operand);
                    } else {
                        self.operands.clear();
                        self.value.clear();
                        (is_seen, place) = (false, None);
                    }
                    if let Meaning::Value(value) = meaning {
                        self.value.extend_from_slice(value);
                        is_seen = true;
                    }
                    if let Meaning::Large(found) = meaning {
                        (is_seen, place) = (true, Some(found));
                    }
                }
                self.passed += 1;
                self.merged.prev()?;
            }
            if !self.operands.is_empty() {
                if let Some(place) = place.take() {
                    self.value = self.view.tree.blobs.load(place)?.to_vec();
                }
                let base = is_seen.then_some(self.value.as_slice());
                self.value = self.core.fold(&self.key, base, &self.operands.in_order())?;
                is_seen = true;
            }
            if is_seen {
                self.passed -= 1;
                match place {
                    None => self.position = Position::BeforeEntry,
                    Some(place) => self.stand_at_large(place, Position::BeforeLarge)?,
                }
                return Ok(());
            }
        }
    }

    /// Fetches the value of the entry that was found.
    #[cold]
    fn stand_at_large(&mut self, place: Option<BlobRef>, position: Position) -> Result<()> {
        self.large = None;
        if self.loads_values {
            self.large = Some(self.view.tree.blobs.load(place)?);
        }
        self.position = position;
        Ok(())
    }

    fn is_check_due(&mut self) -> bool {
        self.entries_until_check -= 1;
        if self.entries_until_check > 0 {
            return false;
        }
        self.entries_until_check = STALENESS_CHECK_ENTRIES;
        true
    }

    /// Moves to the present view, if the cursor's own is stale and must not be kept; the merged
    /// cursor must be placed anew then.
    fn refresh_view(&mut self) -> bool {
        let present = self.core.view.load();
        if self.moment.held.is_some() || Arc::ptr_eq(&self.view, &present) {
            return false;
        }
        // Order: the view before the flag, for a drop sets the flag before it empties the view. What
        // is under way ends as it began.
        if self.core.is_dropped() {
            return false;
        }
        self.view = Guard::into_inner(present);
        self.merged = merge_view(&self.view, &self.moment);
        true
    }
}

impl Drop for EntryCursor {
    fn drop(&mut self) {
        if self.passed > 0 {
            self.moment.db.shared.stats.entries_passed.add(self.passed);
        }
        if self.passed >= SWAMP_ENTRIES {
            self.core.is_swamp.store(true, Ordering::Relaxed);
        }
    }
}

/// Whether two keys are equal. Neighbours in order mostly differ in their last byte.
#[inline]
fn is_same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.last() == other.last() && one == other
}

impl fmt::Debug for EntryCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EntryCursor").field("seq_no", &self.seq_no()).finish()
    }
}
