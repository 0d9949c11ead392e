//! The sources that a scan or a flush merges, as one type, so that the merge calls them directly.

use std::sync::Arc;

use lsm_entry::{Cursor, Direction, Entry, MergingCursor, SeqNo, Stretch, VecCursor};
use lsm_io::Error;
use lsm_memtable::MemtableCursor;

use crate::covered::{CoverSet, Covered};
use crate::run_cursor::RunCursor;
use crate::snapshot::Registered;
use crate::view::View;

/// One sorted source of entries.
#[derive(Debug)]
pub(crate) enum Source {
    Memtable(MemtableCursor),
    Run(RunCursor),
    /// What a transaction has written itself.
    Own(VecCursor),
    /// One that range deletes lie over or in.
    Covered(Box<Covered>),
}

/// Everything that a view holds and a reader sees, merged, newest source first: the reader's own
/// writes, if it has any, over the rest, and nothing that a range delete hides. Blocks may be left
/// out of which everything has expired by `gone_by_ms`.
pub(crate) fn merge_view(
    view: &View,
    moment: &Registered,
    gone_by_ms: Option<u64>,
) -> MergingCursor<Source> {
    let own = usize::from(moment.own.is_some());
    let mut layers = Layers {
        sources: Vec::with_capacity(own + 1 + view.sealed.len() + view.tree.runs.len()),
        above: Vec::new(),
        newest: moment.seq_no,
    };
    if let Some(own) = &moment.own {
        layers.push(Source::Own(own.entries.clone()), None);
        layers.above.extend(own.range_deletes.clone().map(CoverSet::Own));
    }
    for memtable in std::iter::once(&view.active).chain(&view.sealed) {
        if !memtable.is_empty() {
            let covers = memtable.range_deletes().map(CoverSet::Memtable);
            layers.push(Source::Memtable(memtable.cursor()), covers);
        }
    }
    for (place, run) in view.tree.runs.iter().enumerate() {
        let covers = (!run.ranged.is_empty()).then(|| CoverSet::Run(Arc::clone(&view.tree), place));
        let cursor = RunCursor::new(Arc::clone(&view.tree), place);
        layers.push(Source::Run(cursor.passing_over_expired(gone_by_ms)), covers);
    }
    MergingCursor::new(layers.sources)
}

/// Sources, newest first, each under the range deletes of those before it.
struct Layers {
    sources: Vec<Source>,
    above: Vec<CoverSet>,
    newest: SeqNo,
}

impl Layers {
    /// Adds a source that has these range deletes itself, which are told apart from those above.
    #[inline]
    fn push(&mut self, source: Source, covers: Option<CoverSet>) {
        if self.above.is_empty() && covers.is_none() {
            self.sources.push(source);
            return;
        }
        self.sources.push(Covered::over(source, &self.above, covers.clone(), self.newest));
        self.above.extend(covers);
    }
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
            Source::Covered($cursor) => $movement,
        }
    };
}

impl Source {
    /// Sees to it that it is as one made now; `false` if it cannot be.
    pub(crate) fn renew(&mut self) -> bool {
        if let Self::Memtable(cursor) = self {
            cursor.renew();
        }
        self.is_common()
    }

    /// Lets go of what others may want to have back; `false` if it cannot be used again.
    pub(crate) fn rest(&mut self) -> bool {
        if let Self::Run(cursor) = self {
            cursor.rest();
        }
        self.is_common()
    }

    /// Whether other readers would have it, too.
    fn is_common(&self) -> bool {
        matches!(self, Self::Memtable(_) | Self::Run(_))
    }
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

    fn prepare_seek(&mut self, key: &[u8], seq_no: SeqNo) {
        match self {
            Self::Memtable(cursor) => cursor.prepare_seek(key, seq_no),
            Self::Run(cursor) => cursor.prepare_seek(key, seq_no),
            Self::Own(_) | Self::Covered(_) => {}
        }
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
            Self::Covered(cursor) => cursor.entry(),
        }
    }

    #[inline]
    fn is_at_entry(&self) -> bool {
        match self {
            Self::Memtable(cursor) => cursor.is_at_entry(),
            Self::Run(cursor) => cursor.is_at_entry(),
            Self::Own(cursor) => cursor.is_at_entry(),
            Self::Covered(cursor) => cursor.is_at_entry(),
        }
    }

    #[inline]
    fn stretch(&self, direction: Direction) -> Option<Stretch<'_>> {
        match self {
            Self::Memtable(cursor) => cursor.stretch(direction),
            Self::Run(cursor) => cursor.stretch(direction),
            Self::Own(cursor) => cursor.stretch(direction),
            Self::Covered(cursor) => cursor.stretch(direction),
        }
    }

    fn steps_before(&self, key: &[u8], direction: Direction) -> usize {
        match self {
            Self::Run(cursor) => cursor.steps_before(key, direction),
            // What is in memory is little; a source that is covered tells no stretch.
            Self::Memtable(_) | Self::Own(_) | Self::Covered(_) => 0,
        }
    }

    #[inline]
    fn key(&self) -> Option<&[u8]> {
        match self {
            Self::Memtable(cursor) => cursor.key(),
            Self::Run(cursor) => cursor.key(),
            Self::Own(cursor) => cursor.key(),
            Self::Covered(cursor) => cursor.key(),
        }
    }

    #[inline]
    fn plain(&self, direction: Direction, seq_no: SeqNo) -> usize {
        match self {
            Self::Run(cursor) => cursor.plain(direction, seq_no),
            // What is in memory is little, and of many versions.
            Self::Memtable(_) | Self::Own(_) => 0,
            // Each entry may be covered.
            Self::Covered(_) => 0,
        }
    }

    #[inline]
    fn step_plain(&mut self, direction: Direction) {
        if let Self::Run(cursor) = self {
            cursor.step_plain(direction);
        }
    }

    #[inline]
    fn plain_entry(&self) -> Option<(&[u8], &[u8])> {
        match self {
            Self::Run(cursor) => cursor.plain_entry(),
            _ => None,
        }
    }
}
