//! Many sorted sources as one.
//!
//! A loser tree finds the source whose entry is next with one comparison a level. What it compares
//! are *ranks* (see `rank.rs`), kept in the tree itself; keys are looked at only where ranks tie.
//! When ties become frequent the ranks' window is moved to where the keys differ now.
//!
//! Better than a cheap comparison is none: while the rest of a source's *stretch* (of a block, say)
//! lies before every other source, it is walked without asking anything. That is a gallop. A source
//! that is alone, from the start or because the others are used up, gallops for ever. Where another
//! source reaches into the stretch, the source itself finds how far it can be walked: a few entries in
//! a memtable do not slow down a scan of the tables below it.
//!
//! Invariant: every source but the winner stands at its first entry after the current one, in the
//! direction of movement. So turning round means to place all others anew around the current entry.

use crate::rank::{RANK_AT_END, Window};
use crate::{Cursor, Direction, Entry, SeqNo, Stretch, common_prefix};

/// The shortest rest of a stretch for which a gallop is worth the question.
const GALLOP_ENTRIES_MIN: usize = 2;

/// A source that has galloped so far is asked again as soon as it leads again, after an entry of
/// another one.
const LONG_GALLOP: usize = 8;

/// How many entries in a row a source yields before it is asked for a stretch; then ever more, for a
/// stretch that another source reaches into will not be free of it an entry later. Where entries
/// of several sources are shuffled, nobody is asked.
const WINS_MIN: u32 = 4;

/// Ties since the window was moved after which it is looked at again; doubled each time that moving
/// it would not have helped, as with many versions of the same keys.
const TIES_MIN: u32 = 32;
const TIES_MAX: u32 = 1 << 16;

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
    /// The source that stands at the current entry; at [`RANK_AT_END`] there is none. While it
    /// gallops its rank is that of where it began.
    winner: Player,
    /// The inner nodes of the tree, from index 1 on: who lost there. The children of node `n` are
    /// `2n` and `2n + 1`; source `i` is leaf `sources.len() + i`.
    losers: Vec<Player>,
    window: Window,
    direction: Direction,
    /// Steps that the winner may take without being compared.
    gallop: usize,
    /// Steps in a row after which the winner was the same as before.
    wins: u32,
    /// At how many of them it is asked for a stretch.
    wins_to_ask: u32,
    /// Whose last gallop was a long one.
    galloper: Option<usize>,
    /// Comparisons that ranks did not decide, since the window was looked at.
    ties: u32,
    /// How many of them lead to the next look.
    ties_max: u32,
    /// Where the key is kept around which sources are placed in a turn.
    turning_key: Vec<u8>,
}

/// A source in the tree, with the rank of the key at which it stands.
#[derive(Clone, Copy, Debug)]
struct Player {
    rank: u64,
    source: usize,
}

impl<C: Cursor> MergingCursor<C> {
    /// Merges `sources`. The cursor is at an end until it is sought.
    pub fn new(sources: Vec<C>) -> Self {
        let nobody = Player { rank: RANK_AT_END, source: 0 };
        // A source that is alone plays no match, and needs no tree.
        let nodes = if sources.len() > 1 { sources.len() } else { 0 };
        Self {
            losers: vec![nobody; nodes],
            sources,
            winner: nobody,
            window: Window::new(),
            direction: Direction::Forward,
            gallop: 0,
            wins: 0,
            wins_to_ask: WINS_MIN,
            galloper: None,
            ties: 0,
            ties_max: TIES_MIN,
            turning_key: Vec::new(),
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

    /// Moves one entry on.
    #[inline]
    fn step(&mut self, direction: Direction) -> Result<(), C::Error> {
        if self.winner.rank == RANK_AT_END {
            return Ok(());
        }
        if self.direction != direction {
            self.turn(direction)?;
        }
        let source = &mut self.sources[self.winner.source];
        let moved = match self.direction {
            Direction::Forward => source.next(),
            Direction::Backward => source.prev(),
        };
        if moved.is_err() {
            self.end();
        } else if self.gallop > 0 {
            self.gallop -= 1;
        } else {
            self.replay();
        }
        moved
    }

    /// Moves every source by `movement`, then finds the winner.
    fn place(
        &mut self,
        direction: Direction,
        mut movement: impl FnMut(usize, &mut C) -> Result<(), C::Error>,
    ) -> Result<(), C::Error> {
        for (index, source) in self.sources.iter_mut().enumerate() {
            let moved = movement(index, source);
            if moved.is_err() {
                self.end();
                return moved;
            }
        }
        self.direction = direction;
        self.window.face(direction);
        if let [alone] = self.sources.as_slice() {
            let rank = if alone.is_at_entry() { 0 } else { RANK_AT_END };
            (self.winner, self.gallop) = (Player { rank, source: 0 }, usize::MAX);
            return Ok(());
        }
        // Any key will do to begin with; if it was ill chosen, ties will tell.
        if let Some(index) = self.sources.iter().position(Cursor::is_at_entry) {
            self.focus_window(index);
        }
        self.play_all();
        Ok(())
    }

    /// Places the sources around the current entry, for the other direction. At an end it does
    /// nothing: the source that has run out stays where it is.
    #[cold]
    fn turn(&mut self, direction: Direction) -> Result<(), C::Error> {
        let mut key = std::mem::take(&mut self.turning_key);
        let winner = self.winner.source;
        let Some(entry) = self.sources[winner].entry() else { return Ok(()) };
        key.clear();
        key.extend_from_slice(entry.key);
        let seq_no = entry.seq_no;
        let placed = self.place(direction, |index, source| {
            if index == winner {
                return Ok(());
            }
            match direction {
                Direction::Forward => source.seek(&key, seq_no),
                Direction::Backward => source.seek_for_prev(&key, seq_no),
            }
        });
        self.turning_key = key;
        placed
    }

    /// Leaves the cursor at an end.
    #[cold]
    fn end(&mut self) {
        self.winner.rank = RANK_AT_END;
        self.gallop = 0;
    }

    /// Moves the window to where the key of source `index` and those nearest to it part. Says
    /// whether it moved.
    fn focus_window(&mut self, index: usize) -> bool {
        self.ties = 0;
        let Some(key) = key_of(&self.sources[index]) else { return false };
        let others = self.sources.iter().enumerate().filter(|(other, _)| *other != index);
        let shared_bytes = others.filter_map(|(_, other)| Some(common_prefix(key, key_of(other)?)));
        let has_moved = self.window.focus(key, shared_bytes.max().unwrap_or(0));
        self.ties_max = if has_moved { TIES_MIN } else { (self.ties_max * 2).min(TIES_MAX) };
        has_moved
    }

    #[inline]
    fn player(&self, source: usize) -> Player {
        let key = key_of(&self.sources[source]);
        Player { rank: key.map_or(RANK_AT_END, |key| self.window.rank(key)), source }
    }

    /// Plays every match of the tree.
    fn play_all(&mut self) {
        self.wins = 0;
        self.wins_to_ask = WINS_MIN;
        self.gallop = 0;
        if !self.sources.is_empty() {
            self.winner = self.play(1);
            self.begin_gallop();
        }
    }

    /// Plays the matches at `node` and below, and gives the winner.
    fn play(&mut self, node: usize) -> Player {
        if node >= self.sources.len() {
            return self.player(node - self.sources.len());
        }
        let (left, right) = (self.play(2 * node), self.play(2 * node + 1));
        let (winner, loser) =
            if self.comes_before(right, left) { (right, left) } else { (left, right) };
        self.losers[node] = loser;
        winner
    }

    /// The winner has moved: plays its matches again, up to the root.
    #[inline]
    fn replay(&mut self) {
        let moved = self.winner.source;
        let mut winner = self.player(moved);
        let mut node = (moved + self.sources.len()) / 2;
        while node > 0 {
            let loser = self.losers[node];
            let is_beaten = self.comes_before(loser, winner);
            // Both are always stored, so that this can be done without a branch: who wins is as
            // hard to predict as the keys are.
            self.losers[node] = if is_beaten { winner } else { loser };
            winner = if is_beaten { loser } else { winner };
            node /= 2;
        }
        self.winner = winner;
        if self.ties >= self.ties_max {
            self.rank_anew();
        }
        if winner.source != moved {
            self.wins = 0;
            self.wins_to_ask = WINS_MIN;
            if self.galloper == Some(winner.source) {
                self.begin_gallop();
            }
            return;
        }
        self.wins = self.wins.saturating_add(1);
        if self.wins >= self.wins_to_ask {
            self.wins_to_ask = self.wins.saturating_mul(4);
            self.begin_gallop();
        }
    }

    /// Whether `one` comes before `other` in the direction of movement.
    #[inline]
    fn comes_before(&mut self, one: Player, other: Player) -> bool {
        if one.rank == other.rank {
            return self.breaks_tie(one, other);
        }
        one.rank < other.rank
    }

    /// The same, by the keys themselves.
    #[inline(never)]
    fn breaks_tie(&mut self, one: Player, other: Player) -> bool {
        self.ties += 1;
        match (self.sources[one.source].entry(), self.sources[other.source].entry()) {
            (Some(one), Some(other)) => match self.direction {
                Direction::Forward => one.compare(&other).is_lt(),
                Direction::Backward => one.compare(&other).is_gt(),
            },
            _ => false,
        }
    }

    /// Ranks have stopped telling keys apart. The order in the tree stays as it is: only how it is
    /// known changes.
    #[cold]
    fn rank_anew(&mut self) {
        if self.focus_window(self.winner.source) {
            self.winner = self.player(self.winner.source);
            for node in 1..self.losers.len() {
                self.losers[node] = self.player(self.losers[node].source);
            }
        }
    }

    /// Finds out how far the winner can go without being compared.
    #[inline(never)]
    fn begin_gallop(&mut self) {
        // The best of those that lost to the winner itself would win if it were not there.
        let mut runner_up = Player { rank: RANK_AT_END, source: self.winner.source };
        let mut node = (self.winner.source + self.sources.len()) / 2;
        while node > 0 {
            let loser = self.losers[node];
            if loser.rank != RANK_AT_END && self.comes_before(loser, runner_up) {
                runner_up = loser;
            }
            node /= 2;
        }
        if runner_up.rank == RANK_AT_END {
            // The others are used up, and stay so until the next turn or seek.
            self.gallop = usize::MAX;
            return;
        }
        let Some(stretch) = self.sources[self.winner.source].stretch(self.direction) else {
            return;
        };
        if stretch.remaining < GALLOP_ENTRIES_MIN {
            return;
        }
        let Some(key) = key_of(&self.sources[runner_up.source]) else { return };
        let rank = self.window.rank(stretch.last_key);
        let is_before = if rank == runner_up.rank {
            // Strictly: of one and the same key, either may hold the version to come first.
            match self.direction {
                Direction::Forward => stretch.last_key < key,
                Direction::Backward => stretch.last_key > key,
            }
        } else {
            rank < runner_up.rank
        };
        self.gallop = if is_before {
            stretch.remaining
        } else {
            self.sources[self.winner.source].steps_before(key, self.direction)
        };
        self.galloper = (self.gallop >= LONG_GALLOP).then_some(self.winner.source);
        if self.gallop > 0 {
            // The next stretch is asked for at its first entry.
            self.wins = 0;
            self.wins_to_ask = 1;
        }
    }
}

#[inline]
fn key_of<C: Cursor>(source: &C) -> Option<&[u8]> {
    source.key()
}

impl<C: Cursor> Cursor for MergingCursor<C> {
    type Error = C::Error;

    fn seek_first(&mut self) -> Result<(), C::Error> {
        self.place(Direction::Forward, |_, source| source.seek_first())
    }

    fn seek_last(&mut self) -> Result<(), C::Error> {
        self.place(Direction::Backward, |_, source| source.seek_last())
    }

    fn seek(&mut self, key: &[u8], seq_no: SeqNo) -> Result<(), C::Error> {
        self.prepare_seek(key, seq_no);
        self.place(Direction::Forward, |_, source| source.seek(key, seq_no))
    }

    fn prepare_seek(&mut self, key: &[u8], seq_no: SeqNo) {
        if self.sources.len() > 1 {
            self.sources.iter_mut().for_each(|source| source.prepare_seek(key, seq_no));
        }
    }

    fn seek_for_prev(&mut self, key: &[u8], seq_no: SeqNo) -> Result<(), C::Error> {
        self.place(Direction::Backward, |_, source| source.seek_for_prev(key, seq_no))
    }

    #[inline]
    fn next(&mut self) -> Result<(), C::Error> {
        self.step(Direction::Forward)
    }

    #[inline]
    fn prev(&mut self) -> Result<(), C::Error> {
        self.step(Direction::Backward)
    }

    #[inline]
    fn entry(&self) -> Option<Entry<'_>> {
        if self.winner.rank == RANK_AT_END {
            return None;
        }
        self.sources[self.winner.source].entry()
    }

    #[inline]
    fn key(&self) -> Option<&[u8]> {
        if self.winner.rank == RANK_AT_END {
            return None;
        }
        self.sources[self.winner.source].key()
    }

    #[inline]
    fn is_at_entry(&self) -> bool {
        self.winner.rank != RANK_AT_END
    }

    /// The stretch of the source that gallops: nothing of another source lies within it.
    #[inline]
    fn stretch(&self, direction: Direction) -> Option<Stretch<'_>> {
        if self.gallop == 0 || self.direction != direction {
            return None;
        }
        let stretch = self.sources[self.winner.source].stretch(direction)?;
        // A source may have learnt of more entries meanwhile; the gallop knows nothing of those.
        (stretch.remaining <= self.gallop).then_some(stretch)
    }

    /// As far as the source that leads is known to stay ahead of all others: then what is the only
    /// version of its key there is the only one at all.
    #[inline]
    fn plain(&self, direction: Direction, seq_no: SeqNo) -> usize {
        if self.gallop == 0 || self.direction != direction {
            return 0;
        }
        self.sources[self.winner.source].plain(direction, seq_no).min(self.gallop)
    }

    #[inline]
    fn step_plain(&mut self, direction: Direction) {
        self.sources[self.winner.source].step_plain(direction);
        self.gallop -= 1;
    }

    #[inline]
    fn plain_entry(&self) -> Option<(&[u8], &[u8])> {
        self.sources.get(self.winner.source)?.plain_entry()
    }
}
