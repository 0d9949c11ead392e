//! A cursor over the tables of one run, each opened when the cursor reaches it.

use std::sync::Arc;

use lsm_entry::{Cursor, Direction, Entry, MAX_SEQ_NO, SeqNo, Stretch};
use lsm_io::Error;
use lsm_sstable::TableCursor;

use crate::tables::LiveTable;
use crate::view::{LiveRun, Tree};

/// Walks one run of a tree, table by table.
#[derive(Debug)]
pub(crate) struct RunCursor {
    tree: Arc<Tree>,
    run: usize,
    table: usize,
    /// The cursor in that table; `None` at an end.
    cursor: Option<TableCursor>,
    /// Blocks in which everything has expired by then may be passed over.
    gone_by_ms: Option<u64>,
    /// Whether it walks over everything once.
    is_for_merge: bool,
}

impl RunCursor {
    pub(crate) fn new(tree: Arc<Tree>, run: usize) -> Self {
        Self { tree, run, table: 0, cursor: None, gone_by_ms: None, is_for_merge: false }
    }

    /// The same for a merge, which leaves what is in no cache out of it.
    pub(crate) fn for_merge(self) -> Self {
        Self { is_for_merge: true, ..self }
    }

    /// The same for a reader at this time, who may be spared blocks in which everything has expired,
    /// wherever there is nothing older for them to hide.
    pub(crate) fn passing_over_expired(mut self, time_ms: Option<u64>) -> Self {
        self.gone_by_ms = time_ms;
        self
    }

    /// Lets go of the block that it is in; it is at an end then.
    pub(crate) fn rest(&mut self) {
        if let Some(cursor) = &mut self.cursor {
            cursor.rest();
        }
    }

    /// Whether blocks of a table may be passed over.
    fn may_pass_over(&self, live: &LiveTable) -> bool {
        let record = live.record();
        let has_begun = record.expiry_min_ms.is_some_and(|first| Some(first) <= self.gone_by_ms);
        has_begun && self.tree.has_nothing_older(self.run, &record.lower, &record.upper)
    }

    fn run(&self) -> &LiveRun {
        &self.tree.runs[self.run]
    }

    /// Makes `table` the current one; past the last it is an end.
    fn enter(&mut self, table: usize) -> Result<bool, Error> {
        if self.table == table && self.cursor.is_some() {
            return Ok(true);
        }
        self.cursor = None;
        let Some(live) = self.run().tables.get(table) else { return Ok(false) };
        let gone_by_ms = self.gone_by_ms.filter(|_| self.may_pass_over(live));
        let cursor = match self.is_for_merge {
            true => live.cursor_for_merge()?,
            false => live.table()?.cursor(),
        };
        self.cursor = Some(cursor.passing_over_expired(gone_by_ms));
        self.table = table;
        Ok(true)
    }

    /// Moves on to the first entry of the next table that has one.
    fn leave_forward(&mut self) -> Result<(), Error> {
        while self.cursor.is_some() && !self.is_at_entry() {
            if self.enter(self.table + 1)?
                && let Some(cursor) = &mut self.cursor
            {
                cursor.seek_first()?;
            }
        }
        Ok(())
    }

    fn leave_backward(&mut self) -> Result<(), Error> {
        while self.cursor.is_some() && !self.is_at_entry() {
            let Some(before) = self.table.checked_sub(1) else {
                self.cursor = None;
                return Ok(());
            };
            if self.enter(before)?
                && let Some(cursor) = &mut self.cursor
            {
                cursor.seek_last()?;
            }
        }
        Ok(())
    }

    /// Runs one movement; after an error the cursor is at an end.
    fn ending_on_error(
        &mut self,
        movement: impl FnOnce(&mut Self) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let result = movement(self);
        if result.is_err() {
            self.cursor = None;
        }
        result
    }
}

impl Cursor for RunCursor {
    type Error = Error;

    fn seek_first(&mut self) -> Result<(), Error> {
        self.seek(&[], MAX_SEQ_NO)
    }

    fn seek_last(&mut self) -> Result<(), Error> {
        self.ending_on_error(|this| {
            let last = this.run().tables.len().saturating_sub(1);
            if this.enter(last)?
                && let Some(cursor) = &mut this.cursor
            {
                cursor.seek_last()?;
            }
            this.leave_backward()
        })
    }

    fn seek(&mut self, key: &[u8], seq_no: SeqNo) -> Result<(), Error> {
        self.ending_on_error(|this| {
            if this.enter(this.run().seek(key))?
                && let Some(cursor) = &mut this.cursor
            {
                cursor.seek(key, seq_no)?;
            }
            this.leave_forward()
        })
    }

    fn prepare_seek(&mut self, key: &[u8], seq_no: SeqNo) {
        let table = self.run().seek(key);
        let is_open = |live: &Arc<LiveTable>| live.table_if_open().is_some();
        // The seek is what an error is told by.
        if self.run().tables.get(table).is_some_and(is_open)
            && self.enter(table).is_ok()
            && let Some(cursor) = &mut self.cursor
        {
            cursor.prepare_seek(key, seq_no);
        }
    }

    fn seek_for_prev(&mut self, key: &[u8], seq_no: SeqNo) -> Result<(), Error> {
        self.ending_on_error(|this| {
            let count = this.run().tables.len();
            // Past the last table's upper bound, its last entry is the one before `key`.
            let table = this.run().seek(key).min(count.saturating_sub(1));
            if this.enter(table)?
                && let Some(cursor) = &mut this.cursor
            {
                cursor.seek_for_prev(key, seq_no)?;
            }
            this.leave_backward()
        })
    }

    #[inline]
    fn next(&mut self) -> Result<(), Error> {
        let Some(cursor) = &mut self.cursor else { return Ok(()) };
        match cursor.next() {
            Ok(()) if cursor.is_at_entry() => Ok(()),
            Ok(()) => self.ending_on_error(Self::leave_forward),
            Err(error) => {
                self.cursor = None;
                Err(error)
            }
        }
    }

    #[inline]
    fn prev(&mut self) -> Result<(), Error> {
        let Some(cursor) = &mut self.cursor else { return Ok(()) };
        match cursor.prev() {
            Ok(()) if cursor.is_at_entry() => Ok(()),
            Ok(()) => self.ending_on_error(Self::leave_backward),
            Err(error) => {
                self.cursor = None;
                Err(error)
            }
        }
    }

    #[inline]
    fn entry(&self) -> Option<Entry<'_>> {
        self.cursor.as_ref()?.entry()
    }

    #[inline]
    fn is_at_entry(&self) -> bool {
        self.cursor.as_ref().is_some_and(Cursor::is_at_entry)
    }

    #[inline]
    fn stretch(&self, direction: Direction) -> Option<Stretch<'_>> {
        self.cursor.as_ref()?.stretch(direction)
    }

    fn steps_before(&self, key: &[u8], direction: Direction) -> usize {
        self.cursor.as_ref().map_or(0, |cursor| cursor.steps_before(key, direction))
    }

    #[inline]
    fn key(&self) -> Option<&[u8]> {
        self.cursor.as_ref()?.key()
    }

    #[inline]
    fn plain(&self, direction: Direction, seq_no: SeqNo) -> usize {
        self.cursor.as_ref().map_or(0, |cursor| cursor.plain(direction, seq_no))
    }

    #[inline]
    fn step_plain(&mut self, direction: Direction) {
        if let Some(cursor) = &mut self.cursor {
            cursor.step_plain(direction);
        }
    }

    #[inline]
    fn plain_entry(&self) -> Option<(&[u8], &[u8])> {
        self.cursor.as_ref()?.plain_entry()
    }
}
