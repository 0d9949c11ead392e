//! The sources that a scan or a flush merges, as one type, so that the merge calls them directly.

use std::sync::Arc;

use lsm_entry::{Cursor, Direction, Entry, MergingCursor, SeqNo, Stretch, VecCursor};
use lsm_io::Error;
use lsm_memtable::MemtableCursor;

use crate::run_cursor::RunCursor;
use crate::view::View;

/// One sorted source of entries.
#[derive(Debug)]
pub(crate) enum Source {
    Memtable(MemtableCursor),
    Run(RunCursor),
    /// What a transaction has written itself.
    Own(VecCursor),
}

/// Everything that a view holds, merged, newest source first.
/// `own` lies over it, if there is any.
pub(crate) fn merge_view(view: &View, own: Option<&VecCursor>) -> MergingCursor<Source> {
    let memtables = std::iter::once(&view.active).chain(&view.sealed);
    let memtables = memtables.filter(|memtable| !memtable.is_empty());
    let own = own.into_iter().map(|own| Source::Own(own.clone()));
    let mut sources: Vec<Source> =
        own.chain(memtables.map(|memtable| Source::Memtable(memtable.cursor()))).collect();
    for run in 0..view.tree.runs.len() {
        sources.push(Source::Run(RunCursor::new(Arc::clone(&view.tree), run)));
    }
    MergingCursor::new(sources)
}

/// Calls a movement on whichever cursor it is; memory cannot fail.
macro_rules! on_source {
    ($source:expr, $cursor:ident => $movement:expr) => {
        match $source {
            Source::Memtable($cursor) => match $movement {
                Ok(()) => Ok(()),
                Err(never) => match never {},
            },
            Source::Own($cursor) => match $movement {
                Ok(()) => Ok(()),
                Err(never) => match never {},
            },
            Source::Run($cursor) => $movement,
        }
    };
}

impl Cursor for Source {
    type Error = Error;

    fn seek_first(&mut self) -> Result<(), Error> {
        on_source!(self, cursor => cursor.seek_first())
    }

    fn seek_last(&mut self) -> Result<(), Error> {
        on_source!(self, cursor => cursor.seek_last())
    }

    fn seek(&mut self, key: &[u8], seq_no: SeqNo) -> Result<(), Error> {
        on_source!(self, cursor => cursor.seek(key, seq_no))
    }

    fn seek_for_prev(&mut self, key: &[u8], seq_no: SeqNo) -> Result<(), Error> {
        on_source!(self, cursor => cursor.seek_for_prev(key, seq_no))
    }

    #[inline]
    fn next(&mut self) -> Result<(), Error> {
        on_source!(self, cursor => cursor.next())
    }

    #[inline]
    fn prev(&mut self) -> Result<(), Error> {
        on_source!(self, cursor => cursor.prev())
    }

    #[inline]
    fn entry(&self) -> Option<Entry<'_>> {
        match self {
            Self::Memtable(cursor) => cursor.entry(),
            Self::Run(cursor) => cursor.entry(),
            Self::Own(cursor) => cursor.entry(),
        }
    }

    #[inline]
    fn is_at_entry(&self) -> bool {
        match self {
            Self::Memtable(cursor) => cursor.is_at_entry(),
            Self::Run(cursor) => cursor.is_at_entry(),
            Self::Own(cursor) => cursor.is_at_entry(),
        }
    }

    #[inline]
    fn stretch(&self, direction: Direction) -> Option<Stretch<'_>> {
        match self {
            Self::Memtable(cursor) => cursor.stretch(direction),
            Self::Run(cursor) => cursor.stretch(direction),
            Self::Own(cursor) => cursor.stretch(direction),
        }
    }

    #[inline]
    fn plain(&self, direction: Direction, seq_no: SeqNo) -> usize {
        match self {
            Self::Run(cursor) => cursor.plain(direction, seq_no),
            // What is in memory is little, and of many versions.
            Self::Memtable(_) | Self::Own(_) => 0,
        }
    }
}
