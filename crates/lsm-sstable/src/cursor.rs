//! A position among a table's entries.
//!
//! Both directions cost the same: within a block a step is one addition, and the next block is
//! brought in only when it is reached.

use std::cmp::Ordering;
use std::sync::Arc;

use lsm_entry::{Cursor, Direction, Entry, MAX_SEQ_NO, SeqNo, Stretch};
use lsm_io::{DirectReader, Error, Result};

use crate::Table;
use crate::read_ahead::ReadAhead;
use crate::source::HeldBlock;

/// A walk asks for what lies ahead of it once for so many entries.
const ENTRIES_ASKED: usize = 8;

/// A cursor over a table's entries (range deletes are not among them). It owns its table, so it may
/// be kept and sent wherever.
#[derive(Debug)]
pub struct TableCursor {
    table: Arc<Table>,
    /// The block the cursor is in; `None` at an end.
    block: Option<HeldBlock>,
    number: usize,
    position: usize,
    /// Where the seek that comes next will find its answer, if that is known.
    sought: Option<Sought>,
    /// Blocks in which everything has expired by then are passed over.
    gone_by_ms: Option<u64>,
    ahead: ReadAhead,
    way: Way,
}

/// How blocks are brought in.
#[derive(Debug)]
enum Way {
    /// As those who read the table have them.
    Shared,
    /// The same, but the cache gets nothing.
    InPassing,
    /// By a reader of the table's file, past all caches.
    Apart(Box<DirectReader>),
}

/// Where the answer to a seek lies, or begins.
#[derive(Clone, Copy, Debug)]
enum Sought {
    /// In the block that the cursor is in.
    Here,
    InBlock(usize),
}

/// Where in a block to arrive.
#[derive(Clone, Copy)]
enum Edge {
    First,
    Last,
}

impl TableCursor {
    pub(crate) fn new(table: Arc<Table>) -> Self {
        let ahead = ReadAhead::default();
        Self {
            table,
            block: None,
            number: 0,
            position: 0,
            sought: None,
            gone_by_ms: None,
            ahead,
            way: Way::Shared,
        }
    }

    /// The same for whoever walks over the table once: blocks are read by `reader` of the table's file, and
    /// go into no cache.
    #[must_use]
    pub fn reading_by(mut self, reader: DirectReader) -> Self {
        self.way = Way::Apart(Box::new(reader));
        self
    }

    /// The same where the file is in memory: blocks are read where readers of the table find them, but none
    /// goes into the cache, or counts there as read.
    #[must_use]
    pub fn in_passing(mut self) -> Self {
        self.way = Way::InPassing;
        self
    }

    fn fetch(&mut self, number: usize) -> Result<Option<HeldBlock>> {
        match &mut self.way {
            Way::Shared => self.table.fetch(number),
            Way::InPassing => self.table.fetch_in_passing(number),
            Way::Apart(reader) => self.table.fetch_by(reader, number),
        }
    }

    /// The same for a reader at this time, spared most blocks in which everything has expired.
    ///
    /// For readers of tables under which nothing older lies: what the entries of such a block hide, a
    /// reader would find. Of a key whose versions go on in a block that is read, all are found.
    #[must_use]
    pub fn passing_over_expired(mut self, time_ms: Option<u64>) -> Self {
        self.gone_by_ms = time_ms;
        self
    }

    /// Whether everything in a block has expired, for a reader who wants to know.
    #[inline]
    fn is_gone(&self, number: usize) -> bool {
        let Some(gone_by_ms) = self.gone_by_ms else { return false };
        let index = self.table.index();
        number < index.blocks() && index.stats(number).expiry_max_ms <= gone_by_ms
    }

    /// The first block from `number` on that has to be read, forward.
    fn first_alive(&mut self, number: usize) -> Result<usize> {
        let alive = (number..).find(|number| !self.is_gone(*number)).unwrap_or(number);
        if alive == number {
            return Ok(alive);
        }
        // What the block before hides of its last key may go on here: then that is read as well.
        let Some(block) = self.fetch(alive)? else { return Ok(alive) };
        let first_key = self.table.source().view(&block).first_key();
        let goes_on = first_key == self.table.index().last_key(alive - 1);
        Ok(if goes_on { alive - 1 } else { alive })
    }

    /// The same backward; `None` if there is none. It comes from the block that it is in.
    fn last_alive(&self, number: usize) -> Option<usize> {
        if !self.is_gone(number) {
            return Some(number);
        }
        let last_key = self.table.index().last_key(number);
        let is_next = self.number == number + 1;
        if let Some(block) = self.block.as_ref().filter(|_| is_next)
            && self.table.source().view(block).first_key() == last_key
        {
            return Some(number);
        }
        (0..number).rev().find(|number| !self.is_gone(*number))
    }

    /// The table.
    pub fn table(&self) -> &Arc<Table> {
        &self.table
    }

    /// Lets go of the block that it is in; it is at an end then.
    pub fn rest(&mut self) {
        self.block = None;
        self.sought = None;
    }

    /// Moves into block `number`, or to an end where there is none such.
    fn enter(&mut self, number: Option<usize>, edge: Edge) -> Result<()> {
        let number = match edge {
            Edge::Last if self.gone_by_ms.is_some() => number.and_then(|it| self.last_alive(it)),
            _ => number,
        };
        // Order: at an end before anything can fail, where an error then leaves the cursor.
        self.block = None;
        self.sought = None;
        let Some(mut number) = number else { return Ok(()) };
        if matches!(edge, Edge::First) && self.is_gone(number) {
            number = self.first_alive(number)?;
        }
        self.block = self.fetch(number)?;
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

    /// Walks on into the block after this one, or the one before.
    fn walk_on(&mut self, edge: Edge) -> Result<()> {
        let number = match edge {
            Edge::First => Some(self.number + 1),
            Edge::Last => self.number.checked_sub(1),
        };
        if self.table.source().is_in_part() && !matches!(self.way, Way::Apart(_)) {
            self.read_ahead(number, edge);
        }
        self.enter(number, edge)?;
        match edge {
            Edge::First => self.ask_ahead(Direction::Forward),
            Edge::Last => self.ask_ahead(Direction::Backward),
        }
        Ok(())
    }

    /// Asks the processor for the entries that a walk will reach some entries later.
    #[inline(never)]
    fn ask_ahead(&self, direction: Direction) {
        if let Some(block) = &self.block {
            self.table.source().prefetch_ahead(block, self.position, direction, ENTRIES_ASKED);
        }
    }

    #[cold]
    fn read_ahead(&mut self, number: Option<usize>, edge: Edge) {
        let index = self.table.index();
        let Some(handle) = number.and_then(|number| index.handle(number)) else { return };
        let block = handle.offset()..handle.end();
        let asked = match edge {
            Edge::First => self.ahead.forward(&block, self.table.bytes()),
            Edge::Last => self.ahead.backward(&block),
        };
        if let Some(range) = asked {
            self.table.source().read_ahead(&range);
        }
    }

    fn prefetch(&self, number: usize) {
        if let Some(handle) = self.table.index().handle(number) {
            self.table.source().prefetch(handle);
        }
    }

    /// Where the answer to a seek lies; begins loading it.
    fn look_for(&self, key: &[u8], seq_no: SeqNo) -> Sought {
        if self.is_in_block(key, seq_no) {
            return Sought::Here;
        }
        let number = self.table.locate(key, seq_no);
        // The digests lie at the far end of the block: no need to read the header first.
        self.prefetch(number);
        Sought::InBlock(number)
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
        let sought = self.sought.take().unwrap_or_else(|| self.look_for(key, seq_no));
        if let Sought::InBlock(number) = sought {
            self.enter(Some(number), Edge::First)?;
        }
        // Versions of one key may fill blocks: those that end before the position are passed over.
        while let Some(block) = &self.block {
            let view = self.table.source().view(block);
            self.position = view.lower_bound(key, seq_no);
            if self.position < view.count() {
                self.table.source().prefetch_entries(block, self.position);
                return Ok(());
            }
            self.enter(Some(self.number + 1), Edge::First)?;
        }
        Ok(())
    }

    fn prepare_seek(&mut self, key: &[u8], seq_no: SeqNo) {
        self.sought = Some(self.look_for(key, seq_no));
    }

    fn seek_for_prev(&mut self, key: &[u8], seq_no: SeqNo) -> Result<()> {
        self.sought = None;
        self.seek(key, seq_no)?;
        if self.block.is_none() {
            return self.seek_last();
        }
        // One step at most, unless blocks are passed over: on the way back one of them may be read
        // after all, for what it hides.
        let target = Entry::put(key, seq_no, &[]);
        while self.entry().is_some_and(|entry| entry.compare(&target).is_gt()) {
            self.prev()?;
        }
        Ok(())
    }

    #[inline]
    fn next(&mut self) -> Result<()> {
        match &self.block {
            Some(block) if self.position + 1 < block.count() => {
                self.position += 1;
                Ok(())
            }
            Some(_) => self.walk_on(Edge::First),
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
            Some(_) => self.walk_on(Edge::Last),
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

    fn steps_before(&self, key: &[u8], direction: Direction) -> usize {
        let Some(block) = &self.block else { return 0 };
        let view = self.table.source().view(block);
        match direction {
            Direction::Forward => {
                let first_behind = view.lower_bound(key, MAX_SEQ_NO);
                first_behind.saturating_sub(self.position + 1)
            }
            Direction::Backward => {
                let mut last_behind = view.lower_bound(key, 0);
                // A key of number 0 itself.
                if last_behind < view.count() && view.key(last_behind) == key {
                    last_behind += 1;
                }
                self.position.saturating_sub(last_behind)
            }
        }
    }

    #[inline]
    fn key(&self) -> Option<&[u8]> {
        let block = self.block.as_ref()?;
        Some(self.table.source().view(block).key(self.position))
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

    #[inline]
    fn step_plain(&mut self, direction: Direction) {
        match direction {
            Direction::Forward => self.position += 1,
            Direction::Backward => self.position -= 1,
        }
        if self.position.is_multiple_of(ENTRIES_ASKED) {
            self.ask_ahead(direction);
        }
    }

    #[inline]
    fn plain_entry(&self) -> Option<(&[u8], &[u8])> {
        let block = self.block.as_ref()?;
        self.table.source().view(block).key_and_value(self.position)
    }
}
