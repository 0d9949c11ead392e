//! A position among a table's entries.
//!
//! Both directions cost the same: within a block a step is one addition, and the next block is
//! brought in only when it is reached.

use std::cmp::Ordering;
use std::sync::Arc;

use lsm_entry::{Cursor, Direction, Entry, SeqNo, Stretch};
use lsm_io::{Error, Result};

use crate::Table;
use crate::source::HeldBlock;

/// A cursor over a table's entries (range deletes are not among them). It owns its table, so it may
/// be kept and sent wherever.
#[derive(Debug)]
pub struct TableCursor {
    table: Arc<Table>,
    /// The block the cursor is in; `None` at an end.
    block: Option<HeldBlock>,
    number: usize,
    position: usize,
}

/// Where in a block to arrive.
#[derive(Clone, Copy)]
enum Edge {
    First,
    Last,
}

impl TableCursor {
    pub(crate) fn new(table: Arc<Table>) -> Self {
        Self { table, block: None, number: 0, position: 0 }
    }

    /// The table.
    pub fn table(&self) -> &Arc<Table> {
        &self.table
    }

    /// Moves into block `number`, or to an end where there is none such.
    fn enter(&mut self, number: Option<usize>, edge: Edge) -> Result<()> {
        // Order: at an end before anything can fail, where an error then leaves the cursor.
        self.block = None;
        let Some(number) = number else { return Ok(()) };
        self.block = self.table.fetch(number)?;
        self.number = number;
        self.position = match (&self.block, edge) {
            (Some(block), Edge::Last) => block.count() - 1,
            _ => 0,
        };
        // Neighbours are asked for ahead of time: a scan goes on the way it came.
        match edge {
            Edge::First => self.prefetch(number + 1),
            Edge::Last => self.prefetch(number.wrapping_sub(1)),
        }
        Ok(())
    }

    fn prefetch(&self, number: usize) {
        if let Some(handle) = self.table.index().handle(number) {
            self.table.source().prefetch(handle);
        }
    }

    /// Whether the answer to a seek lies in the block that the cursor is in.
    fn is_in_block(&self, key: &[u8], seq_no: SeqNo) -> bool {
        let Some(block) = &self.block else { return false };
        let view = self.table.source().view(block);
        let target = Entry::put(key, seq_no, &[]);
        view.entry(0).compare(&target) != Ordering::Greater
            && view.entry(view.count() - 1).compare(&target) != Ordering::Less
    }
}

impl Cursor for TableCursor {
    type Error = Error;

    fn seek_first(&mut self) -> Result<()> {
        self.enter(Some(0), Edge::First)
    }

    fn seek_last(&mut self) -> Result<()> {
        self.enter(self.table.index().blocks().checked_sub(1), Edge::Last)
    }

    fn seek(&mut self, key: &[u8], seq_no: SeqNo) -> Result<()> {
        if !self.is_in_block(key, seq_no) {
            let number = self.table.locate(key, seq_no);
            // The digests lie at the far end of the block: no need to read the header first.
            self.prefetch(number);
            self.enter(Some(number), Edge::First)?;
        }
        // Versions of one key may fill blocks: those that end before the position are passed over.
        while let Some(block) = &self.block {
            let view = self.table.source().view(block);
            self.position = view.lower_bound(key, seq_no);
            if self.position < view.count() {
                return Ok(());
            }
            self.enter(Some(self.number + 1), Edge::First)?;
        }
        Ok(())
    }

    fn seek_for_prev(&mut self, key: &[u8], seq_no: SeqNo) -> Result<()> {
        self.seek(key, seq_no)?;
        match self.entry() {
            None => self.seek_last(),
            Some(entry) if entry.key == key && entry.seq_no == seq_no => Ok(()),
            Some(_) => self.prev(),
        }
    }

    #[inline]
    fn next(&mut self) -> Result<()> {
        match &self.block {
            Some(block) if self.position + 1 < block.count() => {
                self.position += 1;
                Ok(())
            }
            Some(_) => self.enter(Some(self.number + 1), Edge::First),
            None => Ok(()),
        }
    }

    #[inline]
    fn prev(&mut self) -> Result<()> {
        match &self.block {
            Some(_) if self.position > 0 => {
                self.position -= 1;
                Ok(())
            }
            Some(_) => self.enter(self.number.checked_sub(1), Edge::Last),
            None => Ok(()),
        }
    }

    #[inline]
    fn entry(&self) -> Option<Entry<'_>> {
        let block = self.block.as_ref()?;
        Some(self.table.source().view(block).entry(self.position))
    }

    #[inline]
    fn is_at_entry(&self) -> bool {
        self.block.is_some()
    }

    #[inline]
    fn stretch(&self, direction: Direction) -> Option<Stretch<'_>> {
        let block = self.block.as_ref()?;
        let view = self.table.source().view(block);
        Some(match direction {
            Direction::Forward => {
                Stretch { last_key: view.last_key(), remaining: view.count() - 1 - self.position }
            }
            Direction::Backward => Stretch { last_key: view.first_key(), remaining: self.position },
        })
    }

    #[inline]
    fn plain(&self, direction: Direction, seq_no: SeqNo) -> usize {
        let Some(block) = &self.block else { return 0 };
        if !block.is_plain() || self.table.properties().seq_no_max > seq_no {
            return 0;
        }
        match direction {
            Direction::Forward => block.count() - 1 - self.position,
            // The block before may end with newer versions of this one's first key.
            Direction::Backward => self.position.saturating_sub(1),
        }
    }
}
