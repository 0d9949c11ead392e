//! The sorted map: entries in an arena, a hash index for point reads, pieces for order.

use std::sync::Arc;

use lsm_entry::{Entry, Fragments, SeqNo};

use crate::arena::{self, Arena, ArenaEnd};
use crate::cursor::MemtableCursor;
use crate::index::{Index, IndexEnd};
use crate::order::{Order, OrderEnd};
use crate::range_deletes::RangeDeletes;
use crate::spare::SpareMemory;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use crate::writer::MemtableWriter;

/// Versions of a key that a point read walks before it searches the order instead.
const HOPS_MAX: usize = 16;
/// Bytes of capacity for each key that the index has room for.
const CAPACITY_BYTES_PER_KEY: usize = 64;
/// Keys that the index has room for whatever the capacity.
const KEYS_MIN: usize = 16;
/// More than any machine has: whoever asks for more gets this.
const CAPACITY_BYTES_MAX: usize = 1 << 40;

/// How a memtable is sized.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemtableOptions {
    /// Bytes of entries that it takes before [`Memtable::has_room`] says no: keys, values and 20 to
    /// 23 bytes with each. Memory is taken as it fills; the order takes some 18 bytes an entry and
    /// the index some sixth of the capacity beside it. A memtable with more capacity is flushed
    /// less often, into longer tables.
    ///
    /// A capacity of `bytes + 64 * entries` suffices for so many entries with so many bytes of keys
    /// and values.
    pub capacity_bytes: usize,
    /// Mixed into every hash: drawn at random, it keeps anybody outside from choosing keys that
    /// fall together in the index.
    pub hash_seed: u64,
}

impl Default for MemtableOptions {
    fn default() -> Self {
        Self { capacity_bytes: 64 << 20, hash_seed: 0 }
    }
}

/// A sorted map in memory, of many versions per key. One writer at a time; readers never wait.
///
/// ```
/// use lsm_entry::{Entry, MAX_SEQ_NO, key_hash};
/// use lsm_memtable::{Memtable, MemtableOptions};
///
/// let memtable = Memtable::new(MemtableOptions::default());
/// let hash = key_hash(b"k");
/// memtable.writer().insert(Entry::put(b"k", 1, b"v"), hash);
/// std::thread::scope(|scope| {
///     scope.spawn(|| memtable.writer().insert(Entry::delete(b"k", 2), hash));
///     // Beside the writer: nobody locks anything.
///     assert_eq!(memtable.get(b"k", hash, 1), Some(Entry::put(b"k", 1, b"v")));
/// });
/// assert_eq!(memtable.get(b"k", hash, MAX_SEQ_NO), Some(Entry::delete(b"k", 2)));
/// ```
#[derive(Debug)]
pub struct Memtable {
    pub(crate) arena: Arena,
    pub(crate) index: Index,
    pub(crate) order: Order,
    pub(crate) range_deletes: RangeDeletes,
    capacity_bytes: usize,
    keys_max: usize,
    /// Whether point reads find what is in it.
    has_index: bool,
    end: Mutex<End>,
    pub(crate) counts: Counts,
    is_frozen: AtomicBool,
}

/// Where the writer stands. Apart from the lines that readers look at.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct End {
    pub(crate) arena: ArenaEnd,
    pub(crate) index: IndexEnd,
    pub(crate) order: OrderEnd,
}

/// What the writer tells of itself to whoever asks without its lock. Apart from the lines that
/// readers look at.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct Counts {
    pub(crate) used_bytes: AtomicUsize,
    pub(crate) arena_bytes: AtomicUsize,
    pub(crate) data_bytes: AtomicUsize,
    pub(crate) keys: AtomicUsize,
    pub(crate) entries: AtomicUsize,
    pub(crate) tombstones: AtomicUsize,
    pub(crate) first_seq_no: AtomicU64,
    pub(crate) last_seq_no: AtomicU64,
}

impl Memtable {
    /// An empty memtable: a few KiB, whatever its capacity.
    pub fn new(options: MemtableOptions) -> Self {
        Self::with_index(options, true, None)
    }

    /// The same, living from the memory that others have left, and leaving its own.
    pub fn with_spare(options: MemtableOptions, spare: &Arc<SpareMemory>) -> Self {
        Self::with_index(options, true, Some(Arc::clone(spare)))
    }

    /// An empty memtable that is filled, [frozen](Self::freeze), and read by cursors only then. What is
    /// inserted costs a copy; it is sorted all at once by `freeze`.
    ///
    /// ```
    /// use lsm_entry::{Cursor, Entry, key_hash};
    /// use lsm_memtable::{Memtable, MemtableOptions};
    /// use std::sync::Arc;
    ///
    /// let memtable = Arc::new(Memtable::gathering(MemtableOptions::default()));
    /// for (seq_no, key) in [(1, b"b"), (2, b"a")] {
    ///     memtable.writer().insert(Entry::put(key, seq_no, b"v"), key_hash(key));
    /// }
    /// memtable.freeze();
    /// let mut cursor = memtable.cursor();
    /// cursor.seek_first().unwrap();
    /// assert_eq!(cursor.entry(), Some(Entry::put(b"a", 2, b"v")));
    /// ```
    pub fn gathering(options: MemtableOptions) -> Self {
        Self::with_index(options, false, None)
    }

    fn with_index(
        options: MemtableOptions,
        has_index: bool,
        spare: Option<Arc<SpareMemory>>,
    ) -> Self {
        let capacity_bytes = options.capacity_bytes.min(CAPACITY_BYTES_MAX);
        let keys_max = capacity_bytes / CAPACITY_BYTES_PER_KEY + KEYS_MIN;
        let (order, order_end) = Order::new(!has_index);
        let end = End { arena: ArenaEnd::new(), index: IndexEnd::default(), order: order_end };
        Self {
            arena: Arena::new(capacity_bytes, spare.clone()),
            index: Index::new(keys_max, options.hash_seed, spare),
            order,
            range_deletes: RangeDeletes::new(),
            capacity_bytes,
            keys_max,
            has_index,
            end: Mutex::new(end),
            counts: Counts::default(),
            is_frozen: AtomicBool::new(false),
        }
    }

    /// The right to write. There is one at a time.
    ///
    /// # Panics
    /// If somebody has it.
    pub fn writer(&self) -> MemtableWriter<'_> {
        let end = self.end.try_lock().expect("a memtable has one writer at a time");
        MemtableWriter::new(self, end)
    }

    /// Whether `entries` more entries with `bytes` bytes of keys and values fit. If so, they do,
    /// whatever their lengths. Range deletes count as entries; of those, a memtable also has room for
    /// some thousand only.
    pub fn has_room(&self, entries: usize, bytes: usize) -> bool {
        let used_bytes = self.counts.used_bytes.load(Ordering::Acquire);
        let used_bytes = used_bytes.saturating_add(self.range_deletes.memory_bytes());
        let keys = self.counts.keys.load(Ordering::Acquire);
        let overhead_bytes = entries.saturating_mul(arena::OVERHEAD_BYTES_MAX);
        let bytes = used_bytes.saturating_add(bytes).saturating_add(overhead_bytes);
        bytes <= self.capacity_bytes
            && keys.saturating_add(entries) <= self.keys_max
            && !self.range_deletes.is_full()
            && !self.is_frozen()
    }

    /// The newest entry of `key` with a sequence number up to `seq_no`, of whatever kind. `hash` is
    /// [`lsm_entry::key_hash`] of the key. Costs one cache miss for the index and one for the entry.
    /// Finds nothing in a [gathering](Self::gathering) memtable.
    #[inline]
    pub fn get(&self, key: &[u8], hash: u64, seq_no: SeqNo) -> Option<Entry<'_>> {
        debug_assert!(self.has_index, "what is gathered is read by cursors");
        let look = |position| {
            self.arena.prefetch_rest(position);
            let (entry, older) = self.arena.get(position);
            (entry.key == key).then_some((entry, older))
        };
        let (_, (mut entry, mut older)) = self.index.find(hash, look)?;
        for _ in 0..HOPS_MAX {
            if entry.seq_no <= seq_no {
                return Some(entry);
            }
            (entry, older) = self.arena.get(older?);
        }
        self.get_in_order(key, seq_no)
    }

    /// The same by the order, for keys of which so many versions came since `seq_no` that a walk
    /// over them would be longer than a search.
    #[cold]
    fn get_in_order(&self, key: &[u8], seq_no: SeqNo) -> Option<Entry<'_>> {
        self.order.find(&self.arena, key, seq_no)
    }

    /// The newest range delete up to `seq_no` that covers `key`; 0: none. What [`get`](Self::get)
    /// finds is gone if its number is below that. Costs one load where there are none.
    #[inline]
    pub fn cover(&self, key: &[u8], seq_no: SeqNo) -> SeqNo {
        self.range_deletes.cover(key, seq_no)
    }

    /// The range deletes that are there now; `None`: there are none.
    pub fn range_deletes(&self) -> Option<Arc<Fragments>> {
        self.range_deletes.present()
    }

    /// Every entry of `key` with a sequence number up to `seq_no`, newest first. Costs a cache miss for
    /// each, and for each newer one. Finds nothing in a [gathering](Self::gathering) memtable.
    pub fn versions(
        &self,
        key: &[u8],
        hash: u64,
        seq_no: SeqNo,
    ) -> impl Iterator<Item = Entry<'_>> {
        let look = |position| {
            let (entry, older) = self.arena.get(position);
            (entry.key == key).then_some((entry, older))
        };
        let newest = self.index.find(hash, look).map(|(_, newest)| newest);
        let older = |&(_, older): &(Entry<'_>, Option<_>)| older.map(|older| self.arena.get(older));
        let chain = std::iter::successors(newest, older);
        chain.map(|(entry, _)| entry).skip_while(move |entry| entry.seq_no > seq_no)
    }

    /// Begins loading what a [`get`](Self::get) of this hash looks at first.
    #[inline]
    pub fn prefetch(&self, hash: u64) {
        self.index.prefetch(hash);
    }

    /// A cursor over the entries that are there now; it does not see those that come later.
    pub fn cursor(self: &Arc<Self>) -> MemtableCursor {
        MemtableCursor::new(Arc::clone(self))
    }

    /// [`MemtableOptions::capacity_bytes`].
    pub fn capacity_bytes(&self) -> usize {
        self.capacity_bytes
    }

    /// Bytes of keys and values, and of the bounds of range deletes.
    pub fn data_bytes(&self) -> usize {
        self.counts.data_bytes.load(Ordering::Relaxed)
    }

    /// Bytes of memory that it holds: entries, index and order, with what is set aside for more.
    pub fn allocated_bytes(&self) -> usize {
        size_of::<Self>()
            + self.arena.chunk_table_bytes()
            + self.counts.arena_bytes.load(Ordering::Relaxed)
            + self.index.allocated_bytes()
            + self.order.allocated_bytes()
            + self.range_deletes.memory_bytes()
    }

    /// How many entries it holds, range deletes included.
    pub fn entries(&self) -> usize {
        self.counts.entries.load(Ordering::Acquire)
    }

    /// How many of them are tombstones.
    pub fn tombstones(&self) -> usize {
        self.counts.tombstones.load(Ordering::Relaxed)
    }

    /// Whether it holds neither an entry nor a range delete.
    pub fn is_empty(&self) -> bool {
        self.entries() == 0
    }

    /// The smallest and the largest sequence number in it.
    pub fn seq_no_range(&self) -> Option<(SeqNo, SeqNo)> {
        if self.is_empty() {
            return None;
        }
        let load = |seq_no: &AtomicU64| seq_no.load(Ordering::Relaxed);
        Some((load(&self.counts.first_seq_no), load(&self.counts.last_seq_no)))
    }

    /// Takes no more writes: sorts the entries that are not. After that,
    /// [`organize`](Self::organize) leaves a single piece. Waits for a writer that is still alive.
    pub fn freeze(&self) {
        let mut end = self.end.lock().expect("no writer panicked");
        if !self.is_frozen.swap(true, Ordering::AcqRel) {
            self.order.freeze(&self.arena, &mut end.order);
        }
    }

    /// Has memory made that entries will soon need, and kept with what others have left: so the writer waits neither
    /// for the system to clear it, nor for a host to give it. For a thread in the background, once
    /// [`SpareMemory::take_shortage`] says so. `false` if there was nothing to do.
    pub fn prepare_entries(&self) -> bool {
        self.arena.prepare(self.counts.arena_bytes.load(Ordering::Relaxed))
    }

    /// The same for the index, which is needed at once and takes longer: so one is made when the index of this one
    /// grows, be it for this memtable or the next.
    pub fn prepare_index(&self) -> bool {
        self.index.prepare()
    }

    /// Up to `count` keys of entries that are about as many entries apart from each other, in order, to cut
    /// a memtable into parts: of one that is frozen and [organized](Self::organize) they are spread over all.
    pub fn sample_keys(&self, count: usize) -> Vec<Vec<u8>> {
        self.order.sample(count).map(|position| self.arena.entry(position).key.to_vec()).collect()
    }

    pub(crate) fn is_frozen(&self) -> bool {
        self.is_frozen.load(Ordering::Acquire)
    }

    /// Merges sorted pieces, so that cursors have fewer to merge: four of a kind into one, or all
    /// into one once the memtable is frozen. For a thread in the background: neither the writer nor
    /// readers wait for it. `false` if there was nothing to do; as long as it is `true`, there may
    /// be more.
    pub fn organize(&self) -> bool {
        self.order.organize(&self.arena)
    }
}
