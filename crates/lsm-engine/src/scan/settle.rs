//! Which entry a movement ends at: of each key the newest version that the reader sees, unless that
//! means that there is no value.

use lsm_entry::{BlobRef, Cursor, Direction};

use crate::error::Result;
use crate::resolve::Meaning;
use crate::scan::EntryCursor;
use crate::scan::entry::Position;

impl EntryCursor {
    pub(super) fn remember_key(&mut self) {
        if let Some(key) = self.stand.merged.key() {
            self.key.clear();
            self.key.extend_from_slice(key);
        }
    }

    /// From the first version of some key on, finds the next entry that the reader sees, past
    /// every version of `self.key` if that is left behind.
    #[inline]
    pub(super) fn settle_forward(&mut self, mut leaves_key: bool) -> Result<()> {
        let mut dead_keys = 0;
        // Where it goes on in a plain stretch the entry need not be put together.
        if self.stand.merged.plain(Direction::Forward, self.moment.seq_no) > 0
            && !(leaves_key && self.stand.merged.key().is_some_and(|key| is_same(key, &self.key)))
            && self.stands_in_plain_stretch()
        {
            return Ok(());
        }
        while let Some(entry) = self.stand.merged.entry() {
            if !self.moment.sees(entry.seq_no) || leaves_key && is_same(entry.key, &self.key) {
                self.passed += 1;
                self.stand.merged.next()?;
                continue;
            }
            match self.moment.db.shared.resolve(&entry, self.moment.time_ms) {
                Meaning::Value(_) => {
                    self.leave_dead(dead_keys);
                    if !self.stands_in_plain_stretch() {
                        self.position = Position::AtEntry;
                    }
                    return Ok(());
                }
                Meaning::Large(place) => {
                    self.leave_dead(dead_keys);
                    return self.stand_at_large(place, Position::AtLarge);
                }
                Meaning::Gone => {
                    // None of its older versions counts.
                    self.remember_key();
                    leaves_key = true;
                    self.passed += 1;
                    self.stand.merged.next()?;
                    dead_keys += 1;
                    self.pass_dead(dead_keys)?;
                }
                Meaning::Operand(_) => {
                    self.leave_dead(dead_keys);
                    return self.fold_forward();
                }
            }
        }
        self.leave_dead(dead_keys);
        Ok(())
    }

    /// From the newest version that the reader sees on, which is an operand, finds what it and the
    /// older ones come to.
    #[cold]
    fn fold_forward(&mut self) -> Result<()> {
        self.remember_key();
        self.operands.clear();
        let mut has_base = false;
        while let Some(entry) =
            self.stand.merged.entry().filter(|entry| is_same(entry.key, &self.key))
        {
            // Below a transaction's own operands stands what others have written since it began.
            if !self.moment.sees(entry.seq_no) {
                self.stand.merged.next()?;
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
                    self.value = self.stand.view.tree.blobs.load(place)?.to_vec();
                    has_base = true;
                    break;
                }
            }
            self.stand.merged.next()?;
        }
        let base = has_base.then_some(self.value.as_slice());
        self.value = self.core.fold(&self.key, base, &self.operands.reversed())?;
        self.position = Position::WithinEntry;
        Ok(())
    }

    /// From the oldest version of some key on, finds the entry before that the reader sees.
    pub(super) fn settle_backward(&mut self) -> Result<()> {
        loop {
            self.plain.backward = self.look_ahead(Direction::Backward);
            if self.plain.backward > 0 {
                self.position = Position::AtPlain;
                return Ok(());
            }
            let Some(entry) = self.stand.merged.entry() else { return Ok(()) };
            self.key.clear();
            self.key.extend_from_slice(entry.key);
            // Versions come oldest first here: the last one not newer than the moment counts, and the
            // operands above it.
            let mut is_seen = false;
            self.operands.clear();
            let mut place = None;
            while let Some(entry) = self.stand.merged.entry() {
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
                self.stand.merged.prev()?;
            }
            if !self.operands.is_empty() {
                if let Some(place) = place.take() {
                    self.value = self.stand.view.tree.blobs.load(place)?.to_vec();
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
            if self.passes_over_more() {
                self.seek_before_key()?;
            }
        }
    }

    /// The cursor stands at an entry whose value lies in a blob file.
    #[cold]
    fn stand_at_large(&mut self, place: Option<BlobRef>, position: Position) -> Result<()> {
        self.large.fetch(&self.stand.view.tree.blobs, place)?;
        self.position = position;
        Ok(())
    }

    /// Looks whether the entry here and those that follow are plain.
    #[inline]
    fn stands_in_plain_stretch(&mut self) -> bool {
        self.plain.forward = self.look_ahead(Direction::Forward);
        if self.plain.forward > 0 {
            self.position = Position::AtPlain;
        }
        self.plain.forward > 0
    }

    /// Looks how far the entries are plain from the one here on.
    #[inline]
    fn look_ahead(&mut self, direction: Direction) -> u32 {
        let plain = self.stand.merged.plain(direction, self.moment.seq_no);
        // Not beyond the next look at the view.
        let plain = u32::try_from(plain).unwrap_or(u32::MAX).min(self.entries_until_check - 1);
        self.entries_until_check -= plain;
        plain
    }
}

/// Whether two keys are equal. Neighbours in order mostly differ in their last byte.
#[inline]
pub(super) fn is_same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.last() == other.last() && one == other
}
