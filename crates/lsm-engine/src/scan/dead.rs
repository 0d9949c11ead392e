//! Many dead keys in a row: where a gap is known, a cursor goes on behind it, and where none is, it
//! notes one for those who come after (see `gaps.rs`).

use lsm_entry::{Cursor, bound_after};

use crate::error::Result;
use crate::scan::EntryCursor;

/// Dead keys in a row after which a cursor looks for a gap; then at every doubling.
const LOOK_AFTER: u32 = 4;
/// Dead keys in a row, beside those in known gaps, that are worth a gap.
const NOTE_AFTER: u32 = 16;

/// The dead keys in a row that a movement is among.
#[derive(Debug, Default)]
pub(super) struct DeadRun {
    /// Where nothing lives from on.
    from: Vec<u8>,
    /// How many there were when it last went on behind a gap.
    at_gap: u32,
}

impl EntryCursor {
    /// The cursor has left `self.key`, the last of so many dead keys in a row.
    #[inline]
    pub(super) fn pass_dead(&mut self, keys: u32) -> Result<()> {
        if keys >= LOOK_AFTER && keys.is_power_of_two() { self.pass_gap(keys) } else { Ok(()) }
    }

    #[cold]
    fn pass_gap(&mut self, keys: u32) -> Result<()> {
        if keys == LOOK_AFTER {
            self.dead.from.clone_from(&self.key);
            self.dead.at_gap = 0;
        }
        let Some(gap) = self.core.gaps.around(&self.key, &self.moment) else { return Ok(()) };
        if *gap.from() < *self.dead.from {
            self.dead.from = gap.from().to_vec();
        }
        self.dead.at_gap = keys;
        self.merged.seek(gap.to(), self.moment.newest())?;
        Ok(())
    }

    /// The cursor stands at an entry that lives, or at the end, behind so many dead keys.
    #[inline]
    pub(super) fn leave_dead(&mut self, keys: u32) {
        if keys >= NOTE_AFTER {
            self.note_gap(keys);
        }
    }

    #[cold]
    fn note_gap(&mut self, keys: u32) {
        if keys - self.dead.at_gap < NOTE_AFTER {
            return;
        }
        let to = match self.merged.entry() {
            Some(entry) => entry.key.to_vec(),
            None => bound_after(&self.key),
        };
        // A read waits for no write: the next scan may note it as well.
        let commit = &self.moment.db.shared.commit;
        if let Some(_order) = commit.try_lock_order() {
            self.core.gaps.note(&self.dead.from, &to, &self.moment, commit.appended());
        }
    }
}
