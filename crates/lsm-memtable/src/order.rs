//! The order of a memtable's entries: sorted pieces of falling length, and an unsorted tail.
//!
//! ```text
//!   pieces   262,144   65,536 65,536 65,536   32,768   1,024   112      tail   9
//!            └── settled: merged four by four ──┘  └─ merged by the writer ─┘
//! ```
//!
//! A full tail becomes a piece, which the writer merges with the pieces before it as long as they
//! are of no higher *level* (digits of the length in base 16). So there is one piece of each level,
//! and the copies are of 16 bytes in memory that the cache holds. From level 4 on pieces are *settled*:
//! the writer leaves them to [`Order::organize`].
//!
//! A tail is as long as all that came before it, up to 16,384 entries, for as long as nobody *walks*:
//! what is only put and got by its key is sorted in few large steps. The first walk sorts the
//! tail for itself; the writer takes note, and goes on with tails so short that every walk may. An entry is
//! copied eight times a level then.
//!
//! A reader takes the present pieces (one atomic load), sorts the tail or finds it sorted, and never waits.

use std::sync::{Arc, PoisonError};

use lsm_entry::{Entry, SeqNo, begins_with, common_prefix, digest};

use crate::arena::{Arena, Position};
use crate::piece::{Piece, Slot};
use crate::prefix::Probe;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{ArcSwap, Mutex};
use crate::tail::{LONG_ENTRIES_MAX, SHORT_ENTRIES, Tail};

/// The first level that the writer does not merge: from 65,536 entries on.
const SETTLED_LEVEL: u32 = 4;
/// How many settled pieces of one tier are merged into one.
const FAN_IN: usize = 4;

/// The order of a memtable's entries. One writer; readers need only take the present.
#[derive(Debug)]
pub(crate) struct Order {
    present: ArcSwap<Present>,
    /// Somebody reads in order.
    is_walked: AtomicBool,
    /// Held by whoever merges settled pieces. Neither the writer nor a reader takes it.
    organizing: Mutex<()>,
}

/// One moment of the order. Only its tail still grows.
#[derive(Debug)]
pub(crate) struct Present {
    /// The first entry of all: every prefix is a beginning of its key.
    first: Option<Position>,
    /// How many bytes of the first key all keys share.
    pub(crate) prefix_bytes: usize,
    /// Settled ones first, then one of each level, falling.
    pub(crate) pieces: Vec<Arc<Piece>>,
    tail: Arc<Tail>,
    /// Nothing is added any more.
    is_frozen: bool,
}

/// Where the writer stands. Each order has one.
#[derive(Debug)]
pub(crate) struct OrderEnd {
    tail: Arc<Tail>,
    first: Option<Position>,
    prefix: Vec<u8>,
    /// How many entries were added.
    entries: usize,
    /// All entries, as they came, where they are sorted only when the order is frozen.
    gathered: Option<Vec<Position>>,
}

impl OrderEnd {
    pub(crate) fn is_gathering(&self) -> bool {
        self.gathered.is_some()
    }

    /// Adds an entry whose bytes are written, to be sorted later.
    pub(crate) fn gather(&mut self, key: &[u8], position: Position) {
        if self.first.is_none() {
            (self.first, self.prefix) = (Some(position), key.to_vec());
        } else if !begins_with(key, &self.prefix) {
            self.prefix.truncate(common_prefix(&self.prefix, key));
        }
        self.gathered.get_or_insert_default().push(position);
    }

    /// Bytes that take what is to be sorted later.
    pub(crate) fn gathered_bytes(&self) -> usize {
        self.gathered.as_ref().map_or(0, |gathered| gathered.capacity() * size_of::<Position>())
    }
}

impl Present {
    /// The first key of all; empty while there is none.
    pub(crate) fn first_key<'a>(&self, arena: &'a Arena) -> &'a [u8] {
        self.first.map_or(&[], |first| arena.entry(first).key)
    }

    /// What the tail holds now, as a piece.
    pub(crate) fn sorted_tail(&self, arena: &Arena) -> Arc<Piece> {
        self.tail.in_order(arena)
    }

    /// Whether the tail holds more than when it was sorted.
    pub(crate) fn has_grown(&self, sorted_tail: &Piece) -> bool {
        self.tail.len() != sorted_tail.len()
    }

    /// The newest version of `key` up to `seq_no`.
    fn find<'a>(&self, arena: &'a Arena, key: &[u8], seq_no: SeqNo) -> Option<Entry<'a>> {
        let probe = Probe::new(self.first_key(arena), key, seq_no);
        let tail = self.sorted_tail(arena);
        let pieces = self.pieces.iter().chain(std::iter::once(&tail));
        pieces
            .filter_map(|piece| piece.slot(piece.seek(arena, &probe)))
            .map(|slot| arena.entry(slot.position))
            .filter(|entry| entry.key == key && entry.seq_no <= seq_no)
            .max_by_key(|entry| entry.seq_no)
    }

    /// Which settled pieces are to be merged: all if nothing is added any more, else all of one
    /// tier (digits of the length in base 4) once there are enough of them.
    fn due(&self) -> Vec<&Arc<Piece>> {
        if self.is_frozen {
            return if self.pieces.len() > 1 { self.pieces.iter().collect() } else { Vec::new() };
        }
        let settled = || self.pieces.iter().filter(|piece| level(piece) >= SETTLED_LEVEL);
        let of_tier =
            |wanted: u32| settled().filter(move |piece| tier(piece) == wanted).collect::<Vec<_>>();
        settled()
            .map(|piece| of_tier(tier(piece)))
            .find(|pieces| pieces.len() >= FAN_IN)
            .unwrap_or_default()
    }
}

impl Order {
    /// An empty order, which sorts what it is given at once, or, `is_gathering`, when it is frozen.
    pub(crate) fn new(is_gathering: bool) -> (Self, OrderEnd) {
        let tail = Arc::new(Tail::new(0, SHORT_ENTRIES));
        let gathered = is_gathering.then(Vec::new);
        let (first, prefix) = (None, Vec::new());
        let end = OrderEnd { tail: Arc::clone(&tail), first, prefix, entries: 0, gathered };
        let present =
            Present { first: None, prefix_bytes: 0, pieces: Vec::new(), tail, is_frozen: false };
        let present = ArcSwap::from_pointee(present);
        (Self { present, is_walked: AtomicBool::new(false), organizing: Mutex::new(()) }, end)
    }

    /// The order as it is now, for somebody who reads in it.
    pub(crate) fn present(&self) -> Arc<Present> {
        self.note_walk();
        self.present.load_full()
    }

    /// Brings an order that was taken before up to the present, which may be another one.
    pub(crate) fn renew(&self, before: &mut Arc<Present>) -> bool {
        self.note_walk();
        let present = self.present.load();
        let is_another = !Arc::ptr_eq(before, &present);
        if is_another {
            *before = Arc::clone(&present);
        }
        is_another
    }

    /// Relaxed: the writer may take note whenever it likes.
    #[inline]
    fn note_walk(&self) {
        if !self.is_walked.load(Ordering::Relaxed) {
            self.is_walked.store(true, Ordering::Relaxed);
        }
    }

    /// The newest version of `key` up to `seq_no`.
    pub(crate) fn find<'a>(
        &self,
        arena: &'a Arena,
        key: &[u8],
        seq_no: SeqNo,
    ) -> Option<Entry<'a>> {
        self.note_walk();
        self.present.load().find(arena, key, seq_no)
    }

    /// Adds an entry whose bytes are written. Only the writer calls it.
    #[inline]
    pub(crate) fn add(&self, arena: &Arena, end: &mut OrderEnd, key: &[u8], position: Position) {
        if !begins_with(key, &end.prefix) || end.first.is_none() {
            self.shorten_prefix(arena, end, key, position);
        }
        let slot = Slot { digest: digest(key, end.prefix.len()), position };
        end.entries += 1;
        let is_full = end.tail.push(slot);
        if is_full || (end.tail.is_long() && self.is_walked.load(Ordering::Relaxed)) {
            self.begin_tail(arena, end, false);
        }
    }

    /// Sees to it that the prefix fits a key that does not begin with it.
    #[cold]
    fn shorten_prefix(&self, arena: &Arena, end: &mut OrderEnd, key: &[u8], position: Position) {
        if end.first.is_none() {
            end.first = Some(position);
            end.prefix = key.to_vec();
        } else {
            end.prefix.truncate(common_prefix(&end.prefix, key));
        }
        self.begin_tail(arena, end, false);
    }

    /// Adds nothing any more. Only the writer calls it.
    pub(crate) fn freeze(&self, arena: &Arena, end: &mut OrderEnd) {
        if let Some(gathered) = end.gathered.take().filter(|gathered| !gathered.is_empty()) {
            let prefix_bytes = end.prefix.len();
            let piece = Arc::new(Piece::gathered(arena, prefix_bytes, &gathered));
            end.tail = Arc::new(Tail::new(prefix_bytes, SHORT_ENTRIES));
            self.present.store(Arc::new(Present {
                first: end.first,
                prefix_bytes,
                pieces: vec![piece],
                tail: Arc::clone(&end.tail),
                is_frozen: true,
            }));
            return;
        }
        self.begin_tail(arena, end, true);
    }

    /// Turns the tail into a piece, merges it with others, and begins a new one.
    fn begin_tail(&self, arena: &Arena, end: &mut OrderEnd, is_frozen: bool) {
        let prefix_bytes = end.prefix.len();
        let present = self.present.load();
        let mut carried = present.sorted_tail(arena);
        // How many pieces at the end go into the new one.
        let mut merged = 0;
        for piece in present.pieces.iter().rev() {
            if level(piece) > level(&carried) || level(&carried) >= SETTLED_LEVEL {
                break;
            }
            let first_key = present.first_key(arena);
            let both = Piece::merged(arena, first_key, prefix_bytes, &[piece, &carried]);
            carried = Arc::new(both);
            merged += 1;
        }
        let is_long = !is_frozen && !self.is_walked.load(Ordering::Relaxed);
        let entries = if is_long { end.entries.min(LONG_ENTRIES_MAX) } else { 0 };
        drop(present);
        let carried = (carried.len() > 0).then_some(carried);
        end.tail = Arc::new(Tail::new(prefix_bytes, entries.max(SHORT_ENTRIES)));
        // Meanwhile settled pieces may have been merged, but none of those at the end.
        self.present.rcu(|present| {
            let kept = present.pieces.len() - merged;
            let mut pieces = Vec::with_capacity(kept + 1);
            pieces.extend_from_slice(&present.pieces[..kept]);
            pieces.extend(carried.clone());
            let tail = Arc::clone(&end.tail);
            Present { first: end.first, prefix_bytes, pieces, tail, is_frozen }
        });
    }

    /// Merges settled pieces; `false` if none are due. Whoever comes second waits.
    pub(crate) fn organize(&self, arena: &Arena) -> bool {
        let _one_at_a_time = self.organizing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.present.load_full();
        let due = before.due();
        if due.is_empty() {
            return false;
        }
        let due: Vec<&Piece> = due.into_iter().map(|piece| &**piece).collect();
        let first_key = before.first_key(arena);
        let merged = Arc::new(Piece::merged(arena, first_key, before.prefix_bytes, &due));
        let is_due = |piece: &Arc<Piece>| due.iter().any(|due| std::ptr::eq(*due, &**piece));
        self.present.rcu(|present| {
            let others = present.pieces.iter().filter(|piece| !is_due(piece));
            Present {
                pieces: std::iter::once(&merged).chain(others).cloned().collect(),
                tail: Arc::clone(&present.tail),
                ..**present
            }
        });
        true
    }

    /// Up to `count` entries of the longest piece, as far apart from each other as may be.
    pub(crate) fn sample(&self, count: usize) -> impl Iterator<Item = Position> + use<> {
        let present = self.present.load();
        let longest = present.pieces.iter().max_by_key(|piece| piece.len()).cloned();
        let entries = longest.as_ref().map_or(0, |piece| piece.len());
        let stride = entries.div_ceil(count.max(1)).max(1);
        let indices = (0..entries).skip(stride - 1).step_by(stride);
        indices.filter_map(move |index| longest.as_ref()?.slot(index).map(|slot| slot.position))
    }

    /// Bytes that pieces and tail take.
    pub(crate) fn allocated_bytes(&self) -> usize {
        let present = self.present.load();
        let pieces = present.pieces.iter().map(|piece| piece.allocated_bytes());
        pieces.sum::<usize>() + size_of::<Present>() + present.tail.allocated_bytes()
    }
}

/// Digits of a piece's length in base 16, less one.
fn level(piece: &Piece) -> u32 {
    piece.len().max(1).ilog2() / 4
}

/// Digits of a piece's length in base 4, less one.
fn tier(piece: &Piece) -> u32 {
    piece.len().max(1).ilog2() / 2
}
