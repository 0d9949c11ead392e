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
//!
//! Here a cursor moves. To see which entry a movement ends at, open `scan/settle.rs`; where key and
//! value of that entry are, `scan/entry.rs`, and `scan/large.rs` if a blob file holds the value; how
//! many dead keys are passed over, `scan/dead.rs`; what it leaves to the next cursor, `scan/stand.rs`.

mod dead;
mod entry;
mod large;
mod settle;
mod stand;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use lsm_entry::{Cursor, Direction, MAX_SEQ_NO, SeqNo};

use crate::error::{Error, Result};
use crate::keyspace::KeyspaceCore;
use crate::resolve::Operands;
use crate::samples::Begun;
use crate::snapshot::Registered;
use crate::spread::Held;
use crate::sync::Guard;
use dead::DeadRun;
use entry::Position;
use large::Large;
use settle::is_same;
use stand::OwnStand;
pub(crate) use stand::SpareStands;

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
    core: Held<KeyspaceCore>,
    stand: OwnStand,
    position: Position,
    /// Key of the current entry, kept while the sources move on past its older versions.
    key: Vec<u8>,
    /// Value of the current entry while the sources stand elsewhere.
    value: Vec<u8>,
    /// Merge operands of the current entry, as they were met.
    operands: Operands,
    /// Value of the current entry, if it lies in a blob file.
    large: Large,
    entries_until_check: u32,
    /// What it counts for in the memory budget.
    budget_bytes: u64,
    /// Nothing was sought yet, so the view is as new as it has to be.
    is_fresh: bool,
    /// How many entries can be walked over, in the direction of the last movement, of which nothing
    /// has to be asked; the merged cursor stands at the entry then.
    plain: Plain,
    /// The dead keys in a row that the last movement met.
    dead: DeadRun,
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

impl EntryCursor {
    pub(crate) fn new(moment: Registered, core: Held<KeyspaceCore>) -> Self {
        let gone_by_ms = moment.db.shared.expiry.lease.known_by(moment.time_ms);
        // Order: register, then load the view (see the file comment).
        let stand = OwnStand::now(&core, &moment, gone_by_ms);
        // Order: the view before the flag (see `refresh_view`).
        let refusal = moment.db.shared.check_own(&core).err();
        Self::on(stand, moment, core, refusal)
    }

    /// Another cursor over what this one reads, also if its keyspace was dropped meanwhile.
    pub(crate) fn beside(&self) -> Self {
        let view = Arc::clone(&self.stand.view);
        let stand = OwnStand::over(view, &self.moment, self.known_ms());
        let (moment, refusal) = (self.moment.clone(), self.refusal.clone());
        let mut beside = Self::on(stand, moment, self.core.clone(), refusal);
        beside.large = self.large.alike();
        beside
    }

    /// The same, for whoever wants no values: those in blob files are not read, and seem empty.
    pub(crate) fn keys_only(mut self) -> Self {
        self.large = Large::unwanted();
        self
    }

    fn on(
        mut stand: OwnStand,
        moment: Registered,
        core: Held<KeyspaceCore>,
        refusal: Option<Error>,
    ) -> Self {
        let sources = stand.view.tree.runs.len() + stand.view.sealed.len() + 1;
        let budget_bytes = moment.db.shared.budget.cursor_opened(sources);
        let key = stand.take_key();
        Self {
            moment,
            core,
            stand,
            position: Position::End,
            key,
            value: Vec::new(),
            operands: Operands::default(),
            large: Large::wanted(),
            entries_until_check: STALENESS_CHECK_ENTRIES,
            budget_bytes,
            is_fresh: true,
            plain: Plain::default(),
            dead: DeadRun::default(),
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
        self.stand.merged.seek(key.as_ref(), self.moment.newest())?;
        let settled = self.settle_forward(false);
        self.moment.db.shared.samples.note_seek(&begun, &self.core.lookups);
        settled
    }

    /// Moves to the last entry.
    ///
    /// # Errors
    /// See [`seek_first`](Self::seek_first).
    pub fn seek_last(&mut self) -> Result<()> {
        self.start()?;
        self.stand.merged.seek_last()?;
        self.settle_backward()
    }

    /// Moves to the last entry at or before `key`.
    ///
    /// # Errors
    /// See [`seek_first`](Self::seek_first).
    pub fn seek_for_prev(&mut self, key: impl AsRef<[u8]>) -> Result<()> {
        let begun = Begun::counted(self.core.lookups.add(1));
        self.start()?;
        self.stand.merged.seek_for_prev(key.as_ref(), 0)?;
        let settled = self.settle_backward();
        self.moment.db.shared.samples.note_seek(&begun, &self.core.lookups);
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
            self.stand.merged.step_plain(Direction::Forward);
            return Ok(());
        }
        self.next_of_many()
    }

    fn next_of_many(&mut self) -> Result<()> {
        self.plain = Plain::default();
        match self.position {
            Position::End => return Ok(()),
            Position::AtEntry | Position::AtPlain | Position::AtLarge => {
                self.remember_key();
                self.position = Position::End;
                if self.is_check_due() && self.refresh_view() {
                    self.stand.merged.seek(&self.key, 0)?;
                } else {
                    self.stand.merged.next()?;
                }
            }
            Position::BeforeEntry | Position::BeforeLarge => {
                // Turning round: step over every version of the entry that was copied.
                self.position = Position::End;
                if self.is_check_due() {
                    self.refresh_view();
                }
                self.stand.merged.seek(&self.key, 0)?;
            }
            Position::WithinEntry => {
                self.position = Position::End;
                if self.is_check_due() && self.refresh_view() {
                    self.stand.merged.seek(&self.key, 0)?;
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
            self.stand.merged.step_plain(Direction::Backward);
            return Ok(());
        }
        self.prev_of_many()
    }

    fn prev_of_many(&mut self) -> Result<()> {
        self.plain = Plain::default();
        match self.position {
            Position::End => return Ok(()),
            Position::AtEntry | Position::AtPlain | Position::AtLarge => {
                self.remember_key();
                self.position = Position::End;
                // Newer versions of the key may stand before this one: step over them too.
                self.stand.merged.prev()?;
                while self.stand.merged.entry().is_some_and(|entry| is_same(entry.key, &self.key)) {
                    self.stand.merged.prev()?;
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
        self.stand.merged.seek_for_prev(&self.key, MAX_SEQ_NO)?;
        while self.stand.merged.entry().is_some_and(|entry| is_same(entry.key, &self.key)) {
            self.stand.merged.prev()?;
        }
        Ok(())
    }

    /// The newest sequence number that the cursor sees.
    pub fn seq_no(&self) -> SeqNo {
        self.moment.seq_no
    }

    /// Begins to seek.
    fn start(&mut self) -> Result<()> {
        self.position = Position::End;
        self.plain = Plain::default();
        self.entries_until_check = STALENESS_CHECK_ENTRIES;
        self.moment.db.shared.check_open()?;
        if let Some(refusal) = &self.refusal {
            return Err(refusal.clone());
        }
        if !std::mem::take(&mut self.is_fresh) {
            self.refresh_view();
        }
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
        if self.moment.held.is_some() || Arc::ptr_eq(&self.stand.view, &present) {
            return false;
        }
        // Order: the view before the flag, for a drop sets the flag before it empties the view. What
        // is under way ends as it began.
        if self.core.is_dropped() {
            return false;
        }
        let (view, known_ms) = (Guard::into_inner(present), self.known_ms());
        self.stand.replace(view, &self.moment, known_ms);
        true
    }

    /// Its time, or what is known of it.
    fn known_ms(&self) -> Option<u64> {
        self.moment.db.shared.expiry.lease.known_by(self.moment.time_ms)
    }

    fn merge_anew(&mut self) {
        let (view, known_ms) = (Arc::clone(&self.stand.view), self.known_ms());
        self.stand.replace(view, &self.moment, known_ms);
    }
}

impl Drop for EntryCursor {
    fn drop(&mut self) {
        self.moment.db.shared.budget.cursor_closed(self.budget_bytes);
        if self.passed > 0 {
            self.moment.db.shared.stats.entries_passed.add(self.passed);
        }
        if self.passed >= SWAMP_ENTRIES {
            self.core.is_swamp.store(true, Ordering::Relaxed);
        }
        self.stand.leave(&self.core, &mut self.key);
    }
}

impl fmt::Debug for EntryCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EntryCursor").field("seq_no", &self.seq_no()).finish()
    }
}

#[cfg(test)]
mod tests {
    use crate::{Db, Reads, WriteBatch};

    #[test]
    fn a_cursor_that_is_sought_often_finds_plain_stretches_still() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(dir.path()).unwrap();
        let mut batch = WriteBatch::new();
        (0..1000_u32).for_each(|n| batch.put(n.to_be_bytes(), "value"));
        db.write(&batch).unwrap();
        db.flush().unwrap();
        let mut cursor = db.cursor();
        for _ in 0..100 {
            cursor.seek(0_u32.to_be_bytes()).unwrap();
            assert!(cursor.plain.forward > 0);
        }
    }
}
