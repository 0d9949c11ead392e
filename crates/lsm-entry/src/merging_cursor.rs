//! Many sorted sources as one.
//!
//! One source is passed through, and so is the rest of a source's *stretch* as long as it lies
//! below every other source (a gallop: nothing is compared). Otherwise a loser tree finds the next
//! source with one comparison a level, of 8-byte digests where those differ.
//!
//! Invariant: while moving in one direction every source stands at its first entry not yet passed
//! in that direction; so turning round means to place every source anew around the current entry.

use std::cmp::Ordering;

use crate::{Cursor, Direction, Entry, SeqNo, common_prefix, digest};

/// Merges cursors into one, in internal order. No two sources hold the same key and sequence
/// number.
///
/// ```
/// use lsm_entry::{Cursor, Entry, MergingCursor, OwnedEntry, VecCursor};
///
/// let newer = VecCursor::new(vec![OwnedEntry::from(Entry::put(b"a", 3, b"new"))]);
/// let older = VecCursor::new(vec![
///     OwnedEntry::from(Entry::put(b"a", 1, b"old")),
///     OwnedEntry::from(Entry::put(b"b", 2, b"only")),
/// ]);
/// let mut merged = MergingCursor::new(vec![newer, older]);
/// merged.seek_first().unwrap();
/// assert_eq!(merged.entry().unwrap().value, b"new");
/// ```
#[derive(Debug)]
pub struct MergingCursor<C> {
    sources: Vec<C>,
    /// What is known of each source's current entry without asking it.
    heads: Vec<Head>,
    /// The loser tree: `losers[1..]` are the inner nodes, each the source that lost there.
    losers: Vec<usize>,
    winner: usize,
    direction: Direction,
    /// How many bytes all heads had in common when the sources were placed last.
    prefix_bytes: usize,
    /// The prefix itself; heads that do not begin with it are ordered by full comparison.
    prefix: Vec<u8>,
    /// Moves left before the winner has to be compared again.
    gallop: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Head {
    /// The source is at its end: it loses against everything.
    End,
    /// The key begins with the common prefix and goes on with this digest.
    Digest(u64),
    /// The key does not begin with the common prefix.
    Stray,
}

impl<C: Cursor> MergingCursor<C> {
    /// Merges `sources`. The cursor is at an end until it is sought.
    pub fn new(sources: Vec<C>) -> Self {
        let count = sources.len();
        Self {
            sources,
            heads: vec![Head::End; count],
            losers: vec![0; count.max(1)],
            winner: 0,
            direction: Direction::Forward,
            prefix_bytes: 0,
            prefix: Vec::new(),
            gallop: 0,
        }
    }

    /// The sources, in the order they were given.
    pub fn sources(&self) -> &[C] {
        &self.sources
    }

    /// The sources, to be changed; the cursor must be sought afterwards.
    pub fn sources_mut(&mut self) -> &mut [C] {
        &mut self.sources
    }

    /// The sources back.
    pub fn into_sources(self) -> Vec<C> {
        self.sources
    }

    /// Places every source by `movement`, then finds the winner.
    fn place(
        &mut self,
        direction: Direction,
        mut movement: impl FnMut(&mut C) -> Result<(), C::Error>,
    ) -> Result<(), C::Error> {
        self.direction = direction;
        self.gallop = 0;
        for index in 0..self.sources.len() {
            if let Err(error) = movement(&mut self.sources[index]) {
                self.end();
                return Err(error);
            }
        }
        self.find_prefix();
        for index in 0..self.sources.len() {
            self.read_head(index);
        }
        self.play_all();
        self.begin_gallop();
        Ok(())
    }

    /// Leaves the cursor at an end.
    fn end(&mut self) {
        self.heads.fill(Head::End);
        self.gallop = 0;
    }

    /// The prefix that all heads share: digests are taken after it.
    fn find_prefix(&mut self) {
        let mut keys = self.sources.iter().filter_map(|source| source.entry().map(|e| e.key));
        let first = keys.next().unwrap_or(&[]);
        let shared = keys.fold(first.len(), |shared, key| shared.min(common_prefix(first, key)));
        // A single head tells nothing of the keys behind it: half of it is a fair guess, and
        // whatever does not begin so is compared in full.
        self.prefix_bytes = shared.min(first.len().saturating_sub(8));
        self.prefix.clear();
        self.prefix.extend_from_slice(&first[..self.prefix_bytes]);
    }

    #[inline]
    fn read_head(&mut self, index: usize) {
        self.heads[index] = match self.sources[index].entry() {
            None => Head::End,
            Some(entry) if entry.key.starts_with(&self.prefix) => {
                Head::Digest(digest(entry.key, self.prefix_bytes))
            }
            Some(_) => Head::Stray,
        };
    }

    /// Whether source `one` comes before source `other` in the direction of movement.
    #[inline]
    fn beats(&self, one: usize, other: usize) -> bool {
        let order = match (self.heads[one], self.heads[other]) {
            (Head::End, _) => return false,
            (_, Head::End) => return true,
            (Head::Digest(one), Head::Digest(other)) if one != other => one.cmp(&other),
            _ => self.compare_in_full(one, other),
        };
        match self.direction {
            Direction::Forward => order == Ordering::Less,
            Direction::Backward => order == Ordering::Greater,
        }
    }

    #[cold]
    fn compare_in_full(&self, one: usize, other: usize) -> Ordering {
        match (self.sources[one].entry(), self.sources[other].entry()) {
            (Some(one), Some(other)) => one.compare(&other),
            _ => Ordering::Equal,
        }
    }

    /// Plays every match of the tree. Leaf `i` stands at node `count + i`; node `n`'s children are
    /// `2n` and `2n + 1`.
    fn play_all(&mut self) {
        let count = self.sources.len();
        if count > 1 {
            self.winner = self.play(1);
        } else {
            self.winner = 0;
        }
    }

    fn play(&mut self, node: usize) -> usize {
        let count = self.sources.len();
        if node >= count {
            return node - count;
        }
        let (left, right) = (self.play(2 * node), self.play(2 * node + 1));
        let (winner, loser) = if self.beats(right, left) { (right, left) } else { (left, right) };
        self.losers[node] = loser;
        winner
    }

    /// The winner has moved: plays its matches again, up to the root.
    #[inline]
    fn replay(&mut self) {
        let count = self.sources.len();
        let mut winner = self.winner;
        let mut node = (winner + count) / 2;
        while node >= 1 {
            let loser = self.losers[node];
            if self.beats(loser, winner) {
                self.losers[node] = winner;
                winner = loser;
            }
            node /= 2;
        }
        self.winner = winner;
    }

    /// The source that would win if the winner were not there: the best of those that lost to it.
    fn runner_up(&self) -> Option<usize> {
        let mut node = (self.winner + self.sources.len()) / 2;
        let mut best: Option<usize> = None;
        while node >= 1 {
            let loser = self.losers[node];
            if best.is_none_or(|best| self.beats(loser, best)) {
                best = Some(loser);
            }
            node /= 2;
        }
        best.filter(|&best| self.heads[best] != Head::End)
    }

    /// Finds out how far the winner can go without being compared.
    #[inline]
    fn begin_gallop(&mut self) {
        self.gallop = 0;
        if self.sources.len() < 2 {
            return;
        }
        let Some(stretch) = self.sources[self.winner].stretch(self.direction) else { return };
        // Short stretches are not worth the question.
        if stretch.remaining < 2 {
            return;
        }
        let is_below = match self.runner_up() {
            None => true,
            Some(other) => match self.sources[other].entry() {
                None => true,
                // Strictly: of one key, another source may hold a version in between.
                Some(entry) => match self.direction {
                    Direction::Forward => stretch.last_key < entry.key,
                    Direction::Backward => stretch.last_key > entry.key,
                },
            },
        };
        if is_below {
            self.gallop = stretch.remaining;
        }
    }

    #[inline]
    fn advance(&mut self) -> Result<(), C::Error> {
        let winner = self.winner;
        let moved = match self.direction {
            Direction::Forward => self.sources[winner].next(),
            Direction::Backward => self.sources[winner].prev(),
        };
        if let Err(error) = moved {
            self.end();
            return Err(error);
        }
        if self.gallop > 0 {
            self.gallop -= 1;
            if self.gallop > 0 {
                return Ok(());
            }
        }
        self.read_head(winner);
        if self.sources.len() > 1 {
            self.replay();
            if self.winner == winner {
                self.begin_gallop();
            }
        }
        Ok(())
    }

    fn is_at_end(&self) -> bool {
        self.heads.get(self.winner).is_none_or(|head| *head == Head::End)
    }

    /// Places every source around the current entry for the other direction.
    #[cold]
    fn turn(&mut self, direction: Direction) -> Result<(), C::Error> {
        let Some(entry) = self.entry() else { return Ok(()) };
        let (key, seq_no) = (entry.key.to_vec(), entry.seq_no);
        self.place(direction, |source| match direction {
            Direction::Forward => source.seek(&key, seq_no),
            Direction::Backward => source.seek_for_prev(&key, seq_no),
        })
    }
}

impl<C: Cursor> Cursor for MergingCursor<C> {
    type Error = C::Error;

    fn seek_first(&mut self) -> Result<(), C::Error> {
        self.place(Direction::Forward, C::seek_first)
    }

    fn seek_last(&mut self) -> Result<(), C::Error> {
        self.place(Direction::Backward, C::seek_last)
    }

    fn seek(&mut self, key: &[u8], seq_no: SeqNo) -> Result<(), C::Error> {
        self.place(Direction::Forward, |source| source.seek(key, seq_no))
    }

    fn seek_for_prev(&mut self, key: &[u8], seq_no: SeqNo) -> Result<(), C::Error> {
        self.place(Direction::Backward, |source| source.seek_for_prev(key, seq_no))
    }

    #[inline]
    fn next(&mut self) -> Result<(), C::Error> {
        if self.is_at_end() {
            return Ok(());
        }
        if self.direction != Direction::Forward {
            self.turn(Direction::Forward)?;
        }
        self.advance()
    }

    #[inline]
    fn prev(&mut self) -> Result<(), C::Error> {
        if self.is_at_end() {
            return Ok(());
        }
        if self.direction != Direction::Backward {
            self.turn(Direction::Backward)?;
        }
        self.advance()
    }

    #[inline]
    fn entry(&self) -> Option<Entry<'_>> {
        if self.is_at_end() { None } else { self.sources[self.winner].entry() }
    }
}
