//! What a keyspace holds of one key, and what is left of it once the oldest of that is gone.
//!
//! Nobody asked for it, and it is no error: a compaction filter removes a value, or a FIFO keyspace lets
//! its oldest table go. Of a value and the operands that came after it so many of the oldest go, never one
//! without those before it: what is left is what the others come to by themselves.

use crate::chain::{is_operand, written};
use crate::data::{Held, is_value};

/// The writes that decide what is found of a key: the last put, and the operands behind it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cell(Vec<Remnant>);

/// What a write and all after it come to.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Remnant {
    /// The place of that write in the order of all.
    place: u64,
    held: Held,
}

impl Cell {
    /// A write at this place in the order, after all that came before.
    pub fn write(&mut self, place: u64, write: Option<Held>) {
        let is_merged = write.is_some_and(|write| is_operand(write.value));
        if is_merged {
            for remnant in &mut self.0 {
                remnant.held = written(Some(remnant.held), write).unwrap_or(remnant.held);
            }
        } else {
            self.0.clear();
        }
        self.0.extend(written(None, write).map(|held| Remnant { place, held }));
    }

    /// What is found at present, if its time is not over.
    pub fn held(&self) -> Option<Held> {
        self.0.first().map(|remnant| remnant.held)
    }

    /// The number of the value that is found at this time.
    pub fn at(&self, time_ms: u64) -> Option<u32> {
        self.held().and_then(|held| held.at(time_ms))
    }

    /// Writes up to this place are gone.
    pub fn let_go(&mut self, through: u64) {
        self.0.retain(|remnant| remnant.place > through);
    }

    /// How many of the writes are gone if this was found; `None`: it is not explained so. None may be
    /// gone but where `may_go`.
    pub fn gone(&self, time_ms: u64, found: Option<&[u8]>, may_go: bool) -> Option<usize> {
        let most = if may_go { self.0.len() } else { 0 };
        (0..=most).find(|gone| self.is_left(*gone, time_ms, found))
    }

    /// How many may be gone at most, if this was found: of a value that has expired below operands it
    /// cannot be told.
    pub fn gone_at_most(&self, time_ms: u64, found: Option<&[u8]>) -> Option<usize> {
        (0..=self.0.len()).rev().find(|gone| self.is_left(*gone, time_ms, found))
    }

    /// Whether this is found once so many writes are gone.
    fn is_left(&self, gone: usize, time_ms: u64, found: Option<&[u8]>) -> bool {
        let held = self.0.get(gone).and_then(|remnant| remnant.held.at(time_ms));
        match (held, found) {
            (None, None) => true,
            (Some(value), Some(bytes)) => is_value(value, bytes),
            _ => false,
        }
    }

    /// The place of the last of so many writes, the oldest.
    pub fn last_of(&self, count: usize) -> Option<u64> {
        self.0.get(count.checked_sub(1)?).map(|remnant| remnant.place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{NEVER_MS, OPERANDS, value_bytes};

    fn held(value: u32) -> Option<Held> {
        Some(Held { value, expires_at_ms: NEVER_MS, later: None })
    }

    fn merged() -> Cell {
        let mut cell = Cell::default();
        cell.write(1, held(7));
        cell.write(2, held(OPERANDS + 1));
        cell.write(3, held(OPERANDS + 2));
        cell
    }

    #[test]
    fn the_oldest_writes_go_first_and_the_others_come_to_something_by_themselves() {
        let cell = merged();
        for through in 1..=3 {
            let mut less = cell.clone();
            less.let_go(through);
            let mut alone = Cell::default();
            let all = [(1, held(7)), (2, held(OPERANDS + 1)), (3, held(OPERANDS + 2))];
            all.iter().filter(|(place, _)| *place > through).for_each(|it| alone.write(it.0, it.1));
            assert_eq!(less, alone, "without the first {through}");
            let found = less.at(0).map(value_bytes);
            assert_eq!(cell.gone(0, found.as_deref(), true), Some(through as usize));
            assert_eq!(cell.gone(0, found.as_deref(), false), None, "nothing may go");
            assert_eq!(cell.last_of(through as usize), Some(through));
        }
    }

    #[test]
    fn a_value_that_has_expired_below_operands_is_there_or_not() {
        let mut cell = Cell::default();
        cell.write(1, Some(Held { value: 7, expires_at_ms: 1000, later: None }));
        cell.write(2, held(OPERANDS + 1));
        let found = |time_ms| cell.at(time_ms).map(value_bytes);
        let gone = |time_ms| {
            let found = found(time_ms);
            let found = found.as_deref();
            (cell.gone(time_ms, found, true), cell.gone_at_most(time_ms, found))
        };
        assert_eq!(gone(999), (Some(0), Some(0)));
        assert_eq!(gone(1000), (Some(0), Some(1)));
    }

    #[test]
    fn a_put_and_a_delete_leave_nothing_of_what_was_there() {
        let (mut cell, mut other) = (merged(), Cell::default());
        cell.write(4, held(8));
        other.write(4, held(8));
        assert_eq!(cell, other);
        cell.write(5, None);
        assert_eq!(cell, Cell::default());
    }
}
