//! Walking a memtable in order.

use std::convert::Infallible;
use std::sync::Arc;

use lsm_entry::{Cursor, Direction, Entry, MergingCursor, SeqNo, Stretch};

use crate::memtable::Memtable;
use crate::piece::Piece;

/// How many entries ahead are asked for.
const PREFETCH_DISTANCE: usize = 4;

/// A cursor over the entries that were in a memtable when it was made. It owns what it needs, and
/// never waits for the writer.
#[derive(Debug)]
pub struct MemtableCursor {
    merged: MergingCursor<PieceCursor>,
}

impl MemtableCursor {
    pub(crate) fn new(memtable: &Arc<Memtable>) -> Self {
        let present = memtable.order.present();
        let tail = present.tail_piece(&memtable.arena);
        let tail = (tail.len() > 0).then(|| Arc::new(tail));
        let pieces = present.pieces.iter().cloned().chain(tail);
        let cursor = |piece| PieceCursor { memtable: Arc::clone(memtable), piece, index: None };
        Self { merged: MergingCursor::new(pieces.map(cursor).collect()) }
    }
}

impl Cursor for MemtableCursor {
    type Error = Infallible;

    fn seek_first(&mut self) -> Result<(), Infallible> {
        self.merged.seek_first()
    }

    fn seek_last(&mut self) -> Result<(), Infallible> {
        self.merged.seek_last()
    }

    fn seek(&mut self, key: &[u8], seq_no: SeqNo) -> Result<(), Infallible> {
        self.merged.seek(key, seq_no)
    }

    fn seek_for_prev(&mut self, key: &[u8], seq_no: SeqNo) -> Result<(), Infallible> {
        self.merged.seek_for_prev(key, seq_no)
    }

    #[inline]
    fn next(&mut self) -> Result<(), Infallible> {
        self.merged.next()
    }

    #[inline]
    fn prev(&mut self) -> Result<(), Infallible> {
        self.merged.prev()
    }

    #[inline]
    fn entry(&self) -> Option<Entry<'_>> {
        self.merged.entry()
    }

    fn stretch(&self, direction: Direction) -> Option<Stretch<'_>> {
        // One piece alone is one stretch to its end.
        match self.merged.sources() {
            [only] => only.stretch(direction),
            _ => None,
        }
    }
}

/// Walks one piece.
#[derive(Debug)]
struct PieceCursor {
    memtable: Arc<Memtable>,
    piece: Arc<Piece>,
    /// `None` at an end.
    index: Option<usize>,
}

impl PieceCursor {
    fn at(&mut self, index: Option<usize>) {
        self.index = index.filter(|&index| index < self.piece.len());
    }

    #[inline]
    fn prefetch(&self, index: usize) {
        if let Some(position) = self.piece.position(index) {
            self.memtable.arena.prefetch(position);
        }
    }
}

impl Cursor for PieceCursor {
    type Error = Infallible;

    fn seek_first(&mut self) -> Result<(), Infallible> {
        self.at(Some(0));
        Ok(())
    }

    fn seek_last(&mut self) -> Result<(), Infallible> {
        self.at(self.piece.len().checked_sub(1));
        Ok(())
    }

    fn seek(&mut self, key: &[u8], seq_no: SeqNo) -> Result<(), Infallible> {
        self.at(Some(self.piece.seek(&self.memtable.arena, key, seq_no)));
        Ok(())
    }

    fn seek_for_prev(&mut self, key: &[u8], seq_no: SeqNo) -> Result<(), Infallible> {
        let index = self.piece.seek(&self.memtable.arena, key, seq_no);
        self.at(Some(index));
        let is_exact =
            self.entry().is_some_and(|entry| entry.key == key && entry.seq_no == seq_no);
        if !is_exact {
            self.at(index.checked_sub(1));
        }
        Ok(())
    }

    #[inline]
    fn next(&mut self) -> Result<(), Infallible> {
        if let Some(index) = self.index {
            self.prefetch(index + PREFETCH_DISTANCE);
            self.at(Some(index + 1));
        }
        Ok(())
    }

    #[inline]
    fn prev(&mut self) -> Result<(), Infallible> {
        if let Some(index) = self.index {
            self.prefetch(index.wrapping_sub(PREFETCH_DISTANCE));
            self.at(index.checked_sub(1));
        }
        Ok(())
    }

    #[inline]
    fn entry(&self) -> Option<Entry<'_>> {
        let position = self.piece.position(self.index?)?;
        Some(self.memtable.arena.entry(position))
    }

    fn stretch(&self, direction: Direction) -> Option<Stretch<'_>> {
        let index = self.index?;
        let (last, remaining) = match direction {
            Direction::Forward => (self.piece.len() - 1, self.piece.len() - 1 - index),
            Direction::Backward => (0, index),
        };
        let last_key = self.memtable.arena.entry(self.piece.position(last)?).key;
        Some(Stretch { last_key, remaining })
    }
}
