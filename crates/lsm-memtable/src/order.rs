//! The order of a memtable's entries: a short unsorted tail, and sorted pieces of growing length.
//!
//! ```text
//!   tail      up to 32 entries, as they came
//!   pieces    32 32 | 128 128 128 | 512 | 2048 2048 | ...    four of a kind are merged into one
//! ```
//!
//! The writer merges; a reader takes the present pieces (one atomic load), sorts a copy of the tail,
//! and never waits. An entry is merged once per length, so keeping order costs about log4(n) moves
//! of 16 bytes per entry, in memory that the cache holds.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use arc_swap::ArcSwap;

use crate::arena::{Arena, Position};
use crate::piece::Piece;

/// Entries in the tail.
const TAIL_ENTRIES: usize = 32;
/// Pieces of one length that are merged into one.
const FAN_IN: usize = 4;
/// The writer merges into pieces up to this many entries; longer ones are left to
/// [`Order::merge_all`].
const MERGED_ENTRIES_MAX: usize = 32 << 10;

/// The entries in order, as far as they are sorted, and those that are not.
#[derive(Debug)]
pub(crate) struct Order {
    present: ArcSwap<Present>,
}

/// One moment of the order.
#[derive(Debug)]
pub(crate) struct Present {
    /// Longest first.
    pub(crate) pieces: Vec<Arc<Piece>>,
    tail: Tail,
}

#[derive(Debug)]
struct Tail {
    positions: [AtomicU64; TAIL_ENTRIES],
    len: AtomicUsize,
}

impl Tail {
    fn new() -> Self {
        Self { positions: [const { AtomicU64::new(0) }; TAIL_ENTRIES], len: AtomicUsize::new(0) }
    }

    fn copy(&self) -> Vec<Position> {
        let len = self.len.load(Ordering::Acquire);
        let bits = self.positions[..len].iter().map(|bits| bits.load(Ordering::Relaxed));
        bits.filter_map(Position::from_bits).collect()
    }
}

impl Present {
    /// The unsorted entries as a piece of their own.
    pub(crate) fn tail_piece(&self, arena: &Arena) -> Piece {
        Piece::sorted(arena, &self.tail.copy())
    }
}

impl Order {
    pub(crate) fn new() -> Self {
        let present = Present { pieces: Vec::new(), tail: Tail::new() };
        Self { present: ArcSwap::from_pointee(present) }
    }

    /// The order as it is now; entries go on being added to its tail, but never beyond its room.
    pub(crate) fn present(&self) -> Arc<Present> {
        self.present.load_full()
    }

    /// Adds an entry whose bytes are written. Only the writer calls it.
    #[inline]
    pub(crate) fn add(&self, arena: &Arena, position: Position) {
        let present = self.present.load();
        let tail = &present.tail;
        let len = tail.len.load(Ordering::Relaxed);
        tail.positions[len].store(position.to_bits(), Ordering::Relaxed);
        tail.len.store(len + 1, Ordering::Release);
        if len + 1 == TAIL_ENTRIES {
            self.sort_tail(arena, &present);
        }
    }

    fn sort_tail(&self, arena: &Arena, present: &Present) {
        let mut pieces = present.pieces.clone();
        pieces.push(Arc::new(present.tail_piece(arena)));
        while let Some(start) = pieces.len().checked_sub(FAN_IN) {
            let last = &pieces[start..];
            let length = last[FAN_IN - 1].len();
            let merged: usize = last.iter().map(|piece| piece.len()).sum();
            if merged > MERGED_ENTRIES_MAX || last.iter().any(|piece| piece.len() > length) {
                break;
            }
            let last: Vec<&Piece> = last.iter().map(|piece| &**piece).collect();
            let merged = Piece::merged(arena, &last);
            pieces.truncate(start);
            pieces.push(Arc::new(merged));
        }
        self.present.store(Arc::new(Present { pieces, tail: Tail::new() }));
    }

    /// Makes one piece of everything. Only while nothing is added. `false` if it is one already.
    pub(crate) fn merge_all(&self, arena: &Arena) -> bool {
        let present = self.present.load_full();
        let tail = present.tail_piece(arena);
        if tail.len() == 0 && present.pieces.len() <= 1 {
            return false;
        }
        let pieces: Vec<&Piece> =
            present.pieces.iter().map(|piece| &**piece).chain(std::iter::once(&tail)).collect();
        let merged = Arc::new(Piece::merged(arena, &pieces));
        self.present.store(Arc::new(Present { pieces: vec![merged], tail: Tail::new() }));
        true
    }

    /// Bytes that pieces take.
    pub(crate) fn allocated_bytes(&self) -> usize {
        let present = self.present.load();
        let pieces = present.pieces.iter().map(|piece| piece.allocated_bytes());
        pieces.sum::<usize>() + size_of::<Present>()
    }
}
