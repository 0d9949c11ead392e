//! A cursor over entries in a sorted vector: for tests and for small sources.

use std::convert::Infallible;
use std::sync::Arc;

use crate::{Cursor, Direction, Entry, SeqNo, Stretch, Tag, compare_internal};

/// An entry that owns its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedEntry {
    /// The user key.
    pub key: Vec<u8>,
    /// When it was written.
    pub seq_no: SeqNo,
    /// What it does.
    pub tag: Tag,
    /// The value as stored.
    pub value: Vec<u8>,
}

impl OwnedEntry {
    /// The entry, borrowed.
    pub fn as_entry(&self) -> Entry<'_> {
        Entry { key: &self.key, seq_no: self.seq_no, tag: self.tag, value: &self.value }
    }
}

impl From<Entry<'_>> for OwnedEntry {
    fn from(entry: Entry<'_>) -> Self {
        Self {
            key: entry.key.to_vec(),
            seq_no: entry.seq_no,
            tag: entry.tag,
            value: entry.value.to_vec(),
        }
    }
}

/// Walks a vector of entries, which its clones share.
#[derive(Clone, Debug)]
pub struct VecCursor {
    entries: Arc<[OwnedEntry]>,
    /// Index of the current entry; `None` at an end.
    position: Option<usize>,
    /// Entries in a stretch; 0: none are told.
    stretch_entries: usize,
}

impl VecCursor {
    /// A cursor over `entries`, which are sorted here.
    pub fn new(mut entries: Vec<OwnedEntry>) -> Self {
        entries.sort_by(|one, other| one.as_entry().compare(&other.as_entry()));
        Self { entries: entries.into(), position: None, stretch_entries: 0 }
    }

    /// The same, telling stretches as a table with blocks of `entries` entries does.
    #[must_use]
    pub fn with_stretches(mut self, entries: usize) -> Self {
        self.stretch_entries = entries;
        self
    }

    /// Index of the first entry at or after an internal key.
    fn lower_bound(&self, key: &[u8], seq_no: SeqNo) -> usize {
        self.entries.partition_point(|entry| {
            compare_internal(&entry.key, entry.seq_no, key, seq_no).is_lt()
        })
    }

    fn at(&mut self, position: Option<usize>) {
        self.position = position.filter(|&position| position < self.entries.len());
    }
}

impl Cursor for VecCursor {
    type Error = Infallible;

    fn seek_first(&mut self) -> Result<(), Infallible> {
        self.at(Some(0));
        Ok(())
    }

    fn seek_last(&mut self) -> Result<(), Infallible> {
        self.at(self.entries.len().checked_sub(1));
        Ok(())
    }

    fn seek(&mut self, key: &[u8], seq_no: SeqNo) -> Result<(), Infallible> {
        self.at(Some(self.lower_bound(key, seq_no)));
        Ok(())
    }

    fn seek_for_prev(&mut self, key: &[u8], seq_no: SeqNo) -> Result<(), Infallible> {
        let after = self.entries.partition_point(|entry| {
            compare_internal(&entry.key, entry.seq_no, key, seq_no).is_le()
        });
        self.at(after.checked_sub(1));
        Ok(())
    }

    fn next(&mut self) -> Result<(), Infallible> {
        self.at(self.position.map(|position| position + 1));
        Ok(())
    }

    fn prev(&mut self) -> Result<(), Infallible> {
        self.at(self.position.and_then(|position| position.checked_sub(1)));
        Ok(())
    }

    fn entry(&self) -> Option<Entry<'_>> {
        Some(self.entries[self.position?].as_entry())
    }

    fn stretch(&self, direction: Direction) -> Option<Stretch<'_>> {
        let position = self.position.filter(|_| self.stretch_entries > 0)?;
        let block = position / self.stretch_entries * self.stretch_entries;
        let (last, remaining) = match direction {
            Direction::Forward => {
                let last = (block + self.stretch_entries).min(self.entries.len()) - 1;
                (last, last - position)
            }
            Direction::Backward => (block, position - block),
        };
        Some(Stretch { last_key: &self.entries[last].key, remaining })
    }

    fn steps_before(&self, key: &[u8], direction: Direction) -> usize {
        let (Some(here), Some(stretch)) = (self.position, self.stretch(direction)) else {
            return 0;
        };
        let comes_before = |&steps: &usize| match direction {
            Direction::Forward => *self.entries[here + steps].key < *key,
            Direction::Backward => *self.entries[here - steps].key > *key,
        };
        (1..=stretch.remaining).take_while(comes_before).count()
    }

    fn plain(&self, direction: Direction, seq_no: SeqNo) -> usize {
        let (Some(here), Some(stretch)) = (self.position, self.stretch(direction)) else {
            return 0;
        };
        let is_plain = |at: usize| {
            let entry = &self.entries[at];
            entry.tag == Tag::PUT && entry.seq_no <= seq_no
        };
        // Whether the entry at `at` is of another key than the one before it in order.
        let begins_key = |at: usize| at == 0 || self.entries[at - 1].key != self.entries[at].key;
        let follows = |&steps: &usize| match direction {
            Direction::Forward => is_plain(here + steps) && begins_key(here + steps),
            Direction::Backward => is_plain(here - steps) && begins_key(here - steps),
        };
        if !is_plain(here) || direction == Direction::Backward && !begins_key(here) {
            return 0;
        }
        (1..=stretch.remaining).take_while(follows).count()
    }

    fn step_plain(&mut self, direction: Direction) {
        let Ok(()) = match direction {
            Direction::Forward => self.next(),
            Direction::Backward => self.prev(),
        };
    }
}
