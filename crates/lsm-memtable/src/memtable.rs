//! The sorted map: entries in an arena, a hash index for point reads, pieces for order.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use lsm_entry::{Entry, SeqNo};

use crate::arena::{Arena, ArenaEnd};
use crate::cursor::MemtableCursor;
use crate::index::{Index, IndexEnd};
use crate::order::Order;

/// Versions of a key that a point read walks before it seeks in the order instead.
const HOPS_MAX: usize = 16;
/// What an entry takes beside key and value, at most, and what a key takes in the index.
const ENTRY_OVERHEAD_BYTES: usize = 32;
/// Bytes of capacity for each key that the index has room for.
const CAPACITY_BYTES_PER_KEY: usize = 64;

/// How a memtable is sized.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemtableOptions {
    /// Bytes of entries that it takes before [`Memtable::has_room`] says no. Memory is taken as it
    /// fills, and about an eighth more for the index and 16 bytes an entry for the order.
    pub capacity_bytes: usize,
    /// Mixed into every hash: draw it at random, and nobody outside can choose keys that collide.
    pub hash_seed: u64,
}

impl Default for MemtableOptions {
    fn default() -> Self {
        Self { capacity_bytes: 64 << 20, hash_seed: 0 }
    }
}

/// A sorted map in memory, of many versions per key. One writer at a time; readers never wait.
#[derive(Debug)]
pub struct Memtable {
    pub(crate) arena: Arena,
    index: Index,
    pub(crate) order: Order,
    options: MemtableOptions,
    writer: Mutex<End>,
    // What the writer tells of itself to whoever asks without its lock.
    used_bytes: AtomicUsize,
    data_bytes: AtomicUsize,
    entries: AtomicUsize,
    tombstones: AtomicUsize,
    first_seq_no: AtomicU64,
    last_seq_no: AtomicU64,
}

/// Where the writer stands.
#[derive(Debug)]
struct End {
    arena: ArenaEnd,
    index: IndexEnd,
}

impl Memtable {
    /// An empty memtable: a few KiB, whatever its capacity.
    pub fn new(options: MemtableOptions) -> Self {
        let keys = options.capacity_bytes / CAPACITY_BYTES_PER_KEY + 16;
        Self {
            arena: Arena::new(),
            index: Index::new(keys, options.hash_seed),
            order: Order::new(),
            options,
            writer: Mutex::new(End { arena: ArenaEnd::new(), index: IndexEnd::default() }),
            used_bytes: AtomicUsize::new(0),
            data_bytes: AtomicUsize::new(0),
            entries: AtomicUsize::new(0),
            tombstones: AtomicUsize::new(0),
            first_seq_no: AtomicU64::new(0),
            last_seq_no: AtomicU64::new(0),
        }
    }

    /// The right to write. Whoever asks while somebody has it waits.
    pub fn writer(&self) -> MemtableWriter<'_> {
        let end = self.writer.lock().expect("no writer panicked");
        MemtableWriter { memtable: self, end }
    }

    /// Whether `entries` entries with `bytes` bytes of keys and values fit. What an empty memtable
    /// of capacity `bytes + 64 * entries` is asked for always fits.
    pub fn has_room(&self, entries: usize, bytes: usize) -> bool {
        let used = self.used_bytes.load(Ordering::Acquire);
        let needed = bytes.saturating_add(entries.saturating_mul(ENTRY_OVERHEAD_BYTES));
        let keys = self.options.capacity_bytes / CAPACITY_BYTES_PER_KEY + 16;
        used.saturating_add(needed) <= self.options.capacity_bytes
            && self.entries() + entries <= keys
    }

    /// The newest entry of `key` with a sequence number up to `seq_no`, of whatever kind. `hash`
    /// is [`lsm_entry::key_hash`] of the key. One cache miss for the index, one for the entry.
    #[inline]
    pub fn get(&self, key: &[u8], hash: u64, seq_no: SeqNo) -> Option<Entry<'_>> {
        let (_, newest) = self.index.find(hash, |position| self.arena.entry(position).key == key)?;
        let mut position = newest;
        for _ in 0..HOPS_MAX {
            let (entry, older) = self.arena.get(position);
            if entry.seq_no <= seq_no {
                return Some(entry);
            }
            position = older?;
        }
        self.get_in_order(key, seq_no)
    }

    /// The same by the order, for keys of which so many versions came since `seq_no` that a walk
    /// over them would be longer than a search.
    #[cold]
    fn get_in_order(&self, key: &[u8], seq_no: SeqNo) -> Option<Entry<'_>> {
        let present = self.order.present();
        let tail = present.tail_piece(&self.arena);
        let pieces = present.pieces.iter().map(|piece| &**piece).chain(std::iter::once(&tail));
        let candidates = pieces.filter_map(|piece| {
            let index = piece.seek(&self.arena, key, seq_no);
            let entry = self.arena.entry(piece.position(index)?);
            (entry.key == key).then_some(entry)
        });
        candidates.max_by_key(|entry| entry.seq_no)
    }

    /// Begins loading what a [`get`](Self::get) of this hash looks at first.
    #[inline]
    pub fn prefetch(&self, hash: u64) {
        self.index.prefetch(hash);
    }

    /// A cursor over the entries that are there now, and perhaps some that come later.
    pub fn cursor(self: &Arc<Self>) -> MemtableCursor {
        MemtableCursor::new(self)
    }

    /// Bytes of keys and values.
    pub fn data_bytes(&self) -> usize {
        self.data_bytes.load(Ordering::Relaxed)
    }

    /// Bytes of memory in use: entries, index and order.
    pub fn allocated_bytes(&self) -> usize {
        let used = self.used_bytes.load(Ordering::Relaxed);
        used + self.index.allocated_bytes() + self.order.allocated_bytes() + size_of::<Self>()
    }

    /// How many entries it holds.
    pub fn entries(&self) -> usize {
        self.entries.load(Ordering::Acquire)
    }

    /// How many of them are tombstones.
    pub fn tombstones(&self) -> usize {
        self.tombstones.load(Ordering::Relaxed)
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.entries() == 0
    }

    /// The smallest and the largest sequence number in it.
    pub fn seq_no_range(&self) -> Option<(SeqNo, SeqNo)> {
        if self.is_empty() {
            return None;
        }
        Some((self.first_seq_no.load(Ordering::Acquire), self.last_seq_no.load(Ordering::Acquire)))
    }

    /// Sorts what is left to sort, so that a cursor walks one flat piece. For a memtable that takes
    /// no more writes. `false` if there was nothing to do.
    pub fn organize(&self) -> bool {
        let _nobody_writes = self.writer.lock().expect("no writer panicked");
        self.order.merge_all(&self.arena)
    }
}

/// The right to write to a memtable, until dropped.
#[derive(Debug)]
pub struct MemtableWriter<'a> {
    memtable: &'a Memtable,
    end: MutexGuard<'a, End>,
}

impl MemtableWriter<'_> {
    /// Inserts an entry. `hash` is [`lsm_entry::key_hash`] of its key.
    ///
    /// # Panics
    /// If the memtable has no room: the caller asks [`Memtable::has_room`] first. Sequence numbers
    /// of one key must ascend.
    #[inline]
    pub fn insert(&mut self, entry: Entry<'_>, hash: u64) {
        let memtable = self.memtable;
        let End { arena: arena_end, index: index_end } = &mut *self.end;
        let arena = &memtable.arena;
        let is_it = |position| arena.entry(position).key == entry.key;
        let slot = memtable.index.find(hash, is_it);
        debug_assert!(
            slot.is_none_or(|(_, newest)| arena.entry(newest).seq_no < entry.seq_no),
            "sequence numbers of one key ascend"
        );
        let position = arena.append(arena_end, &entry, slot.map(|(_, newest)| newest));
        // Order: in the order before in the index, so that whoever reads a version by its key also
        // finds it by a scan made afterwards.
        memtable.order.add(arena, position);
        match slot {
            Some((slot, _)) => memtable.index.replace(slot, hash, position),
            None => memtable.index.insert(index_end, hash, position),
        }
        self.tell(&entry);
    }

    #[inline]
    fn tell(&self, entry: &Entry<'_>) {
        // Plain stores would do for the one writer; relaxed atomics cost the same.
        let memtable = self.memtable;
        let add = |counter: &AtomicUsize, count: usize| {
            counter.store(counter.load(Ordering::Relaxed) + count, Ordering::Release);
        };
        if memtable.entries.load(Ordering::Relaxed) == 0 {
            memtable.first_seq_no.store(entry.seq_no, Ordering::Release);
        }
        memtable.last_seq_no.store(entry.seq_no, Ordering::Release);
        memtable.used_bytes.store(self.end.arena.used_bytes(), Ordering::Release);
        add(&memtable.data_bytes, entry.key.len() + entry.value.len());
        add(&memtable.tombstones, usize::from(entry.tag.is_tombstone()));
        add(&memtable.entries, 1);
    }
}
