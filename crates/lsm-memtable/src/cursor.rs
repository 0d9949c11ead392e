//! Walking a memtable in order: its pieces and its tail, merged.
//!
//! Each of them is a *source* with a *head*, the digest of the entry at which it stands. The source
//! with the smallest head is walked without asking the others for as long as its head stays below
//! theirs. There are about a dozen sources at most, so the next one is found by looking at all
//! heads, which lie side by side; keys are compared only where heads are equal.
//!
//! Invariant: while moving in one direction every source stands at its first entry not yet passed
//! in that direction.

use std::convert::Infallible;
use std::sync::Arc;

use lsm_entry::{Cursor, Direction, Entry, SeqNo, Stretch};

use crate::arena::Position;
use crate::memtable::Memtable;
use crate::order::Present;
use crate::piece::Piece;
use crate::prefix::{Probe, Rebase};

/// How many entries ahead of a source's head are asked for while it is walked.
const PREFETCH_DISTANCE: usize = 6;
/// How many are asked for when it is placed.
const PREFETCH_PLACED: usize = 2;

/// The head of a source at its end: nothing comes after it.
const END: u64 = u64::MAX;

/// A cursor over the entries that were in a memtable when it was made. It owns what it needs, and
/// neither waits for the writer nor keeps it waiting.
#[derive(Debug)]
pub struct MemtableCursor {
    memtable: Arc<Memtable>,
    present: Arc<Present>,
    tail: Arc<Piece>,
    /// One for each piece, then one for the tail if it holds something.
    sources: Vec<Source>,
    direction: Direction,
    /// Whether the sources know where the next seek will find their places.
    is_prepared: bool,
    /// The source that is walked.
    winner: usize,
    /// The smallest head of the others.
    rival: u64,
    /// The entry here.
    position: Option<Position>,
}

/// A position in a piece.
#[derive(Clone, Copy, Debug)]
struct Source {
    /// Digest of the entry there after the prefix of the memtable, inverted when moving backward:
    /// so the smallest head always comes first.
    head: u64,
    /// No index of the piece at either end.
    index: usize,
    /// Between which slots the seek that comes next will find its place.
    sought: (usize, usize),
    rebase: Rebase,
}

impl MemtableCursor {
    pub(crate) fn new(memtable: Arc<Memtable>) -> Self {
        let present = memtable.order.present();
        let tail = present.sorted_tail(&memtable.arena);
        let sources = Vec::with_capacity(present.pieces.len() + 1);
        let direction = Direction::Forward;
        let mut cursor = Self {
            memtable,
            present,
            tail,
            sources,
            direction,
            is_prepared: false,
            winner: 0,
            rival: END,
            position: None,
        };
        cursor.list_sources();
        cursor
    }

    /// Takes in what was inserted since it was made, for less than a new one costs. It is at an end then.
    pub fn renew(&mut self) {
        let is_another = self.memtable.order.renew(&mut self.present);
        if is_another || self.present.has_grown(&self.tail) {
            self.tail = self.present.sorted_tail(&self.memtable.arena);
            self.list_sources();
        }
        self.position = None;
        self.is_prepared = false;
    }

    /// Lists the sources anew, each at its end.
    fn list_sources(&mut self) {
        let Self { present, tail, .. } = self;
        let first_key = present.first_key(&self.memtable.arena);
        let source = |piece: &Piece| Source {
            head: END,
            index: piece.len(),
            sought: (0, 0),
            rebase: piece.rebase(first_key, present.prefix_bytes),
        };
        self.sources.clear();
        self.sources.extend(present.pieces.iter().map(|piece| source(piece)));
        if tail.len() > 0 {
            self.sources.push(source(tail));
        }
    }

    #[inline]
    fn piece(&self, source: usize) -> &Piece {
        self.present.pieces.get(source).map_or(&self.tail, |piece| piece)
    }

    /// Places every source where `find` says, to move in `direction` from there.
    fn place(&mut self, direction: Direction, find: impl Fn(&Self, usize) -> usize) {
        self.direction = direction;
        self.is_prepared = false;
        for number in 0..self.sources.len() {
            let piece = self.piece(number);
            let index = find(self, number);
            for ahead in 0..PREFETCH_PLACED {
                self.prefetch(piece, index, ahead);
            }
            self.move_to(number, index);
        }
        self.choose();
    }

    /// Finds out between which slots each source will have its place, and begins loading them.
    fn narrow(&mut self, key: &[u8], seq_no: SeqNo) {
        let probe = Probe::new(self.present.first_key(&self.memtable.arena), key, seq_no);
        for number in 0..self.sources.len() {
            let sought = self.piece(number).narrow(&probe);
            self.sources[number].sought = (sought.start, sought.end);
        }
    }

    /// Places every source around an internal key.
    fn place_around(&mut self, direction: Direction, key: &[u8], seq_no: SeqNo) {
        if !self.is_prepared {
            self.narrow(key, seq_no);
        }
        let probe = Probe::new(self.present.first_key(&self.memtable.arena), key, seq_no);
        self.place(direction, |cursor, number| {
            let (start, end) = cursor.sources[number].sought;
            let (piece, arena) = (cursor.piece(number), &cursor.memtable.arena);
            let index = piece.seek_within(arena, &probe, start..end);
            match direction {
                Direction::Forward => index,
                Direction::Backward => piece.at_or_before(arena, &probe, index),
            }
        });
    }

    /// Moves a source, and returns the position of the entry there.
    #[inline]
    fn move_to(&mut self, number: usize, index: usize) -> Option<Position> {
        let slot = self.piece(number).slot(index).copied();
        let source = &mut self.sources[number];
        source.index = index;
        source.head = match (slot, self.direction) {
            (None, _) => END,
            (Some(slot), Direction::Forward) => source.rebase.apply(slot.digest),
            (Some(slot), Direction::Backward) => !source.rebase.apply(slot.digest),
        };
        slot.map(|slot| slot.position)
    }

    /// Begins loading the entry that comes `ahead` entries after one in the direction of movement.
    #[inline]
    fn prefetch(&self, piece: &Piece, index: usize, ahead: usize) {
        if let Some(slot) = piece.slot(beyond(index, ahead, self.direction)) {
            self.memtable.arena.prefetch(slot.position);
        }
    }

    /// Finds the source to walk next.
    fn choose(&mut self) {
        let Some(first) = self.sources.first() else { return };
        let (mut winner, mut least, mut rival) = (0, first.head, END);
        for (number, source) in self.sources.iter().enumerate().skip(1) {
            let head = source.head;
            if head > least || (head == least && !self.precedes(number, winner)) {
                rival = rival.min(head);
            } else {
                rival = least;
                (winner, least) = (number, head);
            }
        }
        self.winner = winner;
        self.rival = rival;
        self.position = self.position_of(winner);
    }

    /// Whether the entry of one source comes before that of another with the same head.
    #[cold]
    fn precedes(&self, one: usize, other: usize) -> bool {
        let entry = |source| Some(self.memtable.arena.entry(self.position_of(source)?));
        match (entry(one), entry(other), self.direction) {
            (None, ..) => false,
            (_, None, _) => true,
            (Some(one), Some(other), Direction::Forward) => one.compare(&other).is_lt(),
            (Some(one), Some(other), Direction::Backward) => one.compare(&other).is_gt(),
        }
    }

    fn position_of(&self, source: usize) -> Option<Position> {
        self.piece(source).slot(self.sources[source].index).map(|slot| slot.position)
    }

    /// Moves on in `direction`.
    #[inline]
    fn advance(&mut self, direction: Direction) {
        let Some(position) = self.position else { return };
        if direction != self.direction {
            return self.turn(direction, position);
        }
        let winner = self.winner;
        let index = self.sources[winner].index;
        self.prefetch(self.piece(winner), index, PREFETCH_DISTANCE);
        let moved = self.move_to(winner, beyond(index, 1, direction));
        // Strictly: where heads are equal the keys decide.
        if self.sources[winner].head < self.rival || self.sources.len() == 1 {
            self.position = moved;
        } else {
            self.choose();
        }
    }

    /// Turns round, and moves on by one entry.
    #[cold]
    fn turn(&mut self, direction: Direction, position: Position) {
        let memtable = Arc::clone(&self.memtable);
        let entry = memtable.arena.entry(position);
        self.place_around(direction, entry.key, entry.seq_no);
        self.advance(direction);
    }
}

/// The index that lies `distance` entries beyond another one; no index if that is beyond an end.
#[inline]
fn beyond(index: usize, distance: usize, direction: Direction) -> usize {
    match direction {
        Direction::Forward => index.wrapping_add(distance),
        Direction::Backward => index.wrapping_sub(distance),
    }
}

impl Cursor for MemtableCursor {
    type Error = Infallible;

    fn seek_first(&mut self) -> Result<(), Infallible> {
        self.place(Direction::Forward, |_, _| 0);
        Ok(())
    }

    fn seek_last(&mut self) -> Result<(), Infallible> {
        self.place(Direction::Backward, |cursor, number| {
            cursor.piece(number).len().wrapping_sub(1)
        });
        Ok(())
    }

    fn seek(&mut self, key: &[u8], seq_no: SeqNo) -> Result<(), Infallible> {
        self.place_around(Direction::Forward, key, seq_no);
        Ok(())
    }

    fn prepare_seek(&mut self, key: &[u8], seq_no: SeqNo) {
        self.narrow(key, seq_no);
        self.is_prepared = true;
    }

    fn seek_for_prev(&mut self, key: &[u8], seq_no: SeqNo) -> Result<(), Infallible> {
        self.is_prepared = false;
        self.place_around(Direction::Backward, key, seq_no);
        Ok(())
    }

    #[inline]
    fn next(&mut self) -> Result<(), Infallible> {
        self.advance(Direction::Forward);
        Ok(())
    }

    #[inline]
    fn prev(&mut self) -> Result<(), Infallible> {
        self.advance(Direction::Backward);
        Ok(())
    }

    #[inline]
    fn entry(&self) -> Option<Entry<'_>> {
        Some(self.memtable.arena.entry(self.position?))
    }

    #[inline]
    fn is_at_entry(&self) -> bool {
        self.position.is_some()
    }

    /// The rest of a piece that stands alone, all others being at their end.
    fn stretch(&self, direction: Direction) -> Option<Stretch<'_>> {
        self.position?;
        let is_alone = self.sources.len() == 1
            || direction == self.direction
                && self.rival == END
                && (0..self.sources.len())
                    .all(|source| source == self.winner || self.position_of(source).is_none());
        if !is_alone {
            return None;
        }
        let piece = self.piece(self.winner);
        let index = self.sources[self.winner].index;
        let (last, remaining) = match direction {
            Direction::Forward => (piece.len() - 1, piece.len() - 1 - index),
            Direction::Backward => (0, index),
        };
        let last_key = self.memtable.arena.entry(piece.slot(last)?.position).key;
        Some(Stretch { last_key, remaining })
    }
}
