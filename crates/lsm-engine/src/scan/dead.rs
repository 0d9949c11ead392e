//! Many dead keys in a row: where a gap is known, a cursor goes on behind it, and where none is, it
//! notes one for those who come after (see `gaps.rs`).

use lsm_entry::{Cursor, MAX_SEQ_NO, bound_after};

use crate::error::Result;
use crate::gaps::Stretch;
use crate::resolve::Meaning;
use crate::scan::EntryCursor;
use crate::scan::settle::is_same;

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

    /// Whether more of what has expired is known to be gone than when the sources were made. From here
    /// on blocks full of that are passed over, and the merged cursor must be placed anew.
    #[inline]
    pub(super) fn passes_over_more(&mut self) -> bool {
        self.stand.gone_by_ms != self.moment.time_ms && self.merges_with_what_is_known()
    }

    #[cold]
    fn merges_with_what_is_known(&mut self) -> bool {
        let knows_more = self.known_ms() != self.stand.gone_by_ms;
        if knows_more {
            self.merge_anew();
        }
        knows_more
    }

    #[cold]
    fn pass_gap(&mut self, keys: u32) -> Result<()> {
        if keys == LOOK_AFTER {
            self.dead.from.clone_from(&self.key);
            self.dead.at_gap = 0;
        }
        if self.passes_over_more() {
            self.stand.merged.seek(&self.key, 0)?;
        }
        let Some(gap) = self.core.gaps.around(&self.key, &self.moment) else { return Ok(()) };
        if *gap.from() < *self.dead.from {
            self.dead.from = gap.from().to_vec();
        }
        self.dead.at_gap = keys;
        self.stand.merged.seek(gap.to(), self.moment.newest())?;
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
        let to = match self.stand.merged.entry() {
            Some(entry) => entry.key.to_vec(),
            None => bound_after(&self.key),
        };
        // A read waits for no write: the next scan may note it as well.
        let commit = &self.moment.db.shared.commit;
        if let Some(_order) = commit.try_lock_order() {
            self.core.gaps.note(&self.dead.from, &to, &self.moment, commit.appended());
        }
    }

    /// The stretch around `key` in which nothing lives, as far as it can be told by stepping over
    /// `entries_max` entries each way; `None`: it is not worth a gap.
    ///
    /// Nobody is told what has expired here, so it goes by what is known of that, and waits for nothing.
    pub(crate) fn dead_around(&mut self, key: &[u8], entries_max: u32) -> Result<Option<Stretch>> {
        self.start()?;
        let (from, before) = self.dead_before(key, entries_max)?;
        let (to, behind) = self.dead_behind(key, entries_max)?;
        Ok((before + behind >= NOTE_AFTER).then_some(Stretch { from, to }))
    }

    /// From where on nothing lives before `key`, and how many dead keys lie there, beside those of a gap
    /// that is known.
    fn dead_before(&mut self, key: &[u8], entries_max: u32) -> Result<(Vec<u8>, u32)> {
        let gap_end = self.core.gaps.end_before(key, &self.moment);
        let known_ms = self.known_ms();
        let mut from = key.to_vec();
        let mut keys = 0;
        // Of the key at hand, whose versions come oldest first, whether the newest that is seen lives.
        let mut lives = false;
        self.key.clear();
        self.key.extend_from_slice(key);
        self.seek_before_key()?;
        for _ in 0..entries_max {
            let Some(entry) = self.stand.merged.entry() else { break };
            if !is_same(entry.key, &self.key) {
                if lives {
                    break;
                }
                from.clone_from(&self.key);
                if let Some(end) = gap_end.as_ref().filter(|end| entry.key < end.as_slice()) {
                    return Ok((end.clone(), keys));
                }
                self.key.clear();
                self.key.extend_from_slice(entry.key);
                keys += 1;
            }
            if self.moment.sees(entry.seq_no) {
                let meaning = self.moment.db.shared.resolve(&entry, known_ms);
                lives = !matches!(meaning, Meaning::Gone);
            }
            self.stand.merged.prev()?;
        }
        Ok((from, keys))
    }

    /// Up to where nothing lives from `key` on, and how many dead keys lie there.
    fn dead_behind(&mut self, key: &[u8], entries_max: u32) -> Result<(Vec<u8>, u32)> {
        let mut to = key.to_vec();
        let known_ms = self.known_ms();
        let mut keys = 0;
        self.stand.merged.seek(key, MAX_SEQ_NO)?;
        for _ in 0..entries_max {
            let Some(entry) = self.stand.merged.entry() else { break };
            let is_dead_already = keys > 0 && is_same(entry.key, &self.key);
            if self.moment.sees(entry.seq_no) && !is_dead_already {
                let meaning = self.moment.db.shared.resolve(&entry, known_ms);
                if !matches!(meaning, Meaning::Gone) {
                    return Ok((entry.key.to_vec(), keys));
                }
                self.remember_key();
                keys += 1;
                to = bound_after(&self.key);
            }
            self.stand.merged.next()?;
        }
        Ok((to, keys))
    }
}
