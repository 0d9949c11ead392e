//! What range deletes hide from a scan, source by source, below the merge.
//!
//! ```text
//!   newer source    puts ─ range delete  d ──────────────── t        its own entries are judged
//!                                                                    one by one, by their numbers
//!   this source     a  b  c  e  f  g  h  ...  s  u  v                c is followed by u: one seek
//! ```
//!
//! For one key older sources hold older sequence numbers. So what a range delete of a *newer* source
//! covers is gone from this one altogether, and a whole stretch is passed over by one seek, forward
//! or backward. A source's own range deletes lie among its entries, newer and older ones: those are
//! judged one by one, unless it is known that nothing newer lies there.

use std::sync::Arc;

use lsm_entry::{
    Cursor, Direction, Entry, Fragments, MAX_SEQ_NO, SeqNo, Stretch, Surroundings, bound_after,
    is_below,
};
use lsm_io::Error;

use crate::source::Source;
use crate::view::Tree;

/// The range deletes of one source.
#[derive(Clone, Debug)]
pub(crate) enum CoverSet {
    Memtable(Arc<Fragments>),
    /// A run of a tree, by its place.
    Run(Arc<Tree>, usize),
    /// Those of a transaction, which it sees whatever its moment.
    Own(Arc<Fragments>),
}

/// A source without what range deletes hide from one reader.
#[derive(Debug)]
pub(crate) struct Covered {
    source: Source,
    /// The range deletes of newer sources.
    above: Vec<CoverSet>,
    /// Those of the source itself.
    own: Option<CoverSet>,
    /// The newest sequence number that the reader sees.
    newest: SeqNo,
    /// What holds around the entry that was looked at last; at first, nothing is known.
    verdict: Option<Verdict>,
}

/// What becomes of the entries in a stretch of the key space.
#[derive(Debug)]
struct Verdict {
    lower: Vec<u8>,
    /// Exclusive; empty: to the end.
    upper: Vec<u8>,
    fate: Fate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// All of them are gone.
    Gone,
    /// Those with smaller numbers are gone; 0: none is.
    GoneBelow(SeqNo),
}

impl CoverSet {
    /// What covers `key` for a reader, and how far that reaches.
    fn around(&self, key: &[u8], newest: SeqNo, is_own: bool) -> Result<Verdict, Error> {
        let (around, newest) = match self {
            Self::Memtable(fragments) => (fragments.around(key), newest),
            Self::Own(fragments) => (fragments.around(key), MAX_SEQ_NO),
            Self::Run(tree, run) => return around_in_run(tree, *run, key, newest, is_own),
        };
        // Only a memtable notes what is written over its range deletes.
        let hides_all = around.fragment.is_some_and(|fragment| fragment.hides_all(newest));
        Ok(verdict(&around, newest, is_own && !hides_all))
    }
}

/// `judges_each`: entries in the fragment may be newer than it.
fn verdict(around: &Surroundings<'_>, newest: SeqNo, judges_each: bool) -> Verdict {
    let cover = around.fragment.map_or(0, |fragment| fragment.cover(newest));
    let fate = if cover > 0 && !judges_each { Fate::Gone } else { Fate::GoneBelow(cover) };
    Verdict { lower: around.lower.to_vec(), upper: around.upper.to_vec(), fate }
}

fn around_in_run(
    tree: &Tree,
    run: usize,
    key: &[u8],
    newest: SeqNo,
    is_own: bool,
) -> Result<Verdict, Error> {
    let run = &tree.runs[run];
    let first = run.seek(key);
    let place = run.ranged.partition_point(|table| *table < first);
    let table = |place: usize| run.ranged.get(place).map(|table| &run.tables[*table]);
    let start_of = |place: usize| table(place).map_or(Vec::new(), |t| t.record().lower.clone());
    if let Some(live) = table(place)
        && live.record().lower.as_slice() <= key
        && let Some(fragments) = live.range_deletes()?
    {
        let mut verdict = verdict(&fragments.around(key), newest, is_own);
        if verdict.lower.is_empty() {
            verdict.lower.clone_from(&live.record().lower);
        }
        if verdict.upper.is_empty() {
            verdict.upper = start_of(place + 1);
        }
        return Ok(verdict);
    }
    let before = place.checked_sub(1).and_then(table);
    let lower = before.map_or(Vec::new(), |before| bound_after(&before.record().upper));
    Ok(Verdict { lower, upper: start_of(place), fate: Fate::GoneBelow(0) })
}

impl Covered {
    /// The source as a reader at `newest` sees it, under the range deletes of newer sources and its
    /// own. Without any it stays as it is.
    pub(crate) fn over(
        source: Source,
        above: &[CoverSet],
        own: Option<CoverSet>,
        newest: SeqNo,
    ) -> Source {
        if above.is_empty() && own.is_none() {
            return source;
        }
        let above = above.to_vec();
        Source::Covered(Box::new(Self { source, above, own, newest, verdict: None }))
    }

    fn judge(&self, key: &[u8]) -> Result<Verdict, Error> {
        let (lower, upper) = (Vec::new(), Vec::new());
        let mut joined = Verdict { lower, upper, fate: Fate::GoneBelow(0) };
        let own = self.own.iter().map(|set| (set, true));
        for (set, is_own) in self.above.iter().map(|set| (set, false)).chain(own) {
            let verdict = set.around(key, self.newest, is_own)?;
            let Fate::GoneBelow(cover) = verdict.fate else { return Ok(verdict) };
            joined.narrow(verdict);
            if cover > 0 {
                joined.fate = Fate::GoneBelow(cover);
            }
        }
        Ok(joined)
    }

    /// Moves on in `direction` to an entry that is not gone, if the source stands at one that is.
    #[inline]
    fn settle(&mut self, direction: Direction) -> Result<(), Error> {
        while let Some(entry) = self.source.entry() {
            let verdict = match &self.verdict {
                Some(verdict) if verdict.holds(entry.key) => verdict,
                _ => {
                    let verdict = self.judge(entry.key)?;
                    self.verdict.insert(verdict)
                }
            };
            match verdict.fate {
                Fate::Gone => leave(&mut self.source, verdict, direction)?,
                Fate::GoneBelow(cover) if entry.seq_no < cover => match direction {
                    Direction::Forward => self.source.next()?,
                    Direction::Backward => self.source.prev()?,
                },
                Fate::GoneBelow(_) => return Ok(()),
            }
        }
        Ok(())
    }
}

/// Moves `source` out of the stretch that a verdict is about.
fn leave(source: &mut Source, verdict: &Verdict, direction: Direction) -> Result<(), Error> {
    match direction {
        Direction::Forward if verdict.upper.is_empty() => {
            source.seek_last()?;
            source.next()
        }
        Direction::Forward => source.seek(&verdict.upper, MAX_SEQ_NO),
        // Before the newest version of its first key.
        Direction::Backward => source.seek_for_prev(&verdict.lower, MAX_SEQ_NO),
    }
}

impl Verdict {
    fn holds(&self, key: &[u8]) -> bool {
        self.lower.as_slice() <= key && is_below(key, &self.upper)
    }

    /// Holds only where the other does, too.
    fn narrow(&mut self, other: Self) {
        if other.lower > self.lower {
            self.lower = other.lower;
        }
        if !other.upper.is_empty() && is_below(&other.upper, &self.upper) {
            self.upper = other.upper;
        }
    }
}

impl Cursor for Covered {
    type Error = Error;

    fn seek_first(&mut self) -> Result<(), Error> {
        self.source.seek_first()?;
        self.settle(Direction::Forward)
    }

    fn seek_last(&mut self) -> Result<(), Error> {
        self.source.seek_last()?;
        self.settle(Direction::Backward)
    }

    fn seek(&mut self, key: &[u8], seq_no: SeqNo) -> Result<(), Error> {
        self.source.seek(key, seq_no)?;
        self.settle(Direction::Forward)
    }

    fn seek_for_prev(&mut self, key: &[u8], seq_no: SeqNo) -> Result<(), Error> {
        self.source.seek_for_prev(key, seq_no)?;
        self.settle(Direction::Backward)
    }

    #[inline]
    fn next(&mut self) -> Result<(), Error> {
        self.source.next()?;
        self.settle(Direction::Forward)
    }

    #[inline]
    fn prev(&mut self) -> Result<(), Error> {
        self.source.prev()?;
        self.settle(Direction::Backward)
    }

    #[inline]
    fn entry(&self) -> Option<Entry<'_>> {
        self.source.entry()
    }

    #[inline]
    fn is_at_entry(&self) -> bool {
        self.source.is_at_entry()
    }

    /// Steps lead over gaps here, so nothing is promised about how many there are.
    fn stretch(&self, _direction: Direction) -> Option<Stretch<'_>> {
        None
    }
}
