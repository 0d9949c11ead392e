//! Where entries live: memory that is only appended to and never moves.
//!
//! ```text
//!   older version (48 bits) and key length (16) | sequence number (56) and tag (8) | value length (32) | key | value
//! ```
//!
//! Invariant: the bytes of an entry are written once, before its position is published, and never
//! again. Whoever holds a published position may read them without a lock.
#![allow(unsafe_code)] // One of the few files that may: readers look at bytes beside a writer.

use std::cell::UnsafeCell;
use std::fmt;
use std::sync::Arc;

use lsm_entry::{Entry, SeqNo, Tag};

use crate::memory::{Cell, Memory, is_long};
use crate::prefetch;
use crate::spare::SpareMemory;
use crate::sync::OnceLock;

/// Bytes before key and value.
const HEADER_BYTES: usize = 20;
/// Entries begin at multiples of this.
const ALIGNMENT: usize = 4;
/// What an entry takes beside key and value, at most.
pub(crate) const OVERHEAD_BYTES_MAX: usize = HEADER_BYTES + ALIGNMENT - 1;
/// Bytes of the first chunk; each further one is twice as long, up to a sixteenth of the capacity.
const FIRST_CHUNK_BYTES: usize = if cfg!(loom) { 64 } else { 4 << 10 };
const LARGEST_CHUNK_BYTES_MIN: usize = if cfg!(loom) { 128 } else { 64 << 10 };
const LARGEST_CHUNK_BYTES_MAX: usize = 1 << 30;
const OFFSET_BITS: u32 = 32;

/// So many lines of the processor's cache are asked for ahead of an entry: one of a hundred bytes ends in
/// the third.
const PREFETCHED_LINES: usize = 3;

/// Where an entry lies, in 48 bits: the chunk in the upper 16, the offset in the lower 32. Never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position(u64);

impl Position {
    /// The bits that stand for it.
    #[inline]
    pub(crate) fn to_bits(self) -> u64 {
        self.0
    }

    /// The position that `bits` stand for; 0 stands for none. Other bits must come from
    /// [`to_bits`](Self::to_bits) of a position in the same arena.
    #[inline]
    pub(crate) fn from_bits(bits: u64) -> Option<Self> {
        if bits == 0 { None } else { Some(Self(bits)) }
    }

    fn new(chunk: usize, offset: usize) -> Self {
        Self((chunk as u64) << OFFSET_BITS | offset as u64)
    }

    #[inline]
    fn chunk(self) -> usize {
        (self.0 >> OFFSET_BITS) as usize
    }

    #[inline]
    fn offset(self) -> usize {
        self.0 as u32 as usize
    }
}

/// Append-only memory for entries, made chunk by chunk.
pub(crate) struct Arena {
    chunks: Box<[OnceLock<Chunk>]>,
    capacity_bytes: usize,
    /// How long chunks grow.
    largest_chunk_bytes: usize,
    /// Where chunks come from and go to, if they can.
    spare: Option<Arc<SpareMemory>>,
}

struct Chunk {
    cells: Memory<Cell>,
    #[cfg(loom)]
    watch: crate::modelled::Watch,
}

// SAFETY: bytes are written by the one writer before their position is published (a release store
// that every reader's acquire load pairs with), and only read afterwards.
unsafe impl Sync for Chunk {}

impl Chunk {
    fn new(cells: Memory<Cell>) -> Self {
        Self {
            #[cfg(loom)]
            watch: crate::modelled::Watch::new(cells.len()),
            cells,
        }
    }
}

/// Where the writer stands. Each arena has one.
#[derive(Debug)]
pub(crate) struct ArenaEnd {
    /// The chunk being filled, once there is one.
    chunk: Option<usize>,
    offset: usize,
    /// How many chunks there are.
    chunks: usize,
    /// How many of them are on the way from the first size to the largest.
    doublings: u32,
    used_bytes: usize,
    allocated_bytes: usize,
}

impl ArenaEnd {
    pub(crate) fn new() -> Self {
        Self { chunk: None, offset: 0, chunks: 0, doublings: 0, used_bytes: 0, allocated_bytes: 0 }
    }

    /// Bytes that entries take so far, headers and padding included.
    #[inline]
    pub(crate) fn used_bytes(&self) -> usize {
        self.used_bytes
    }

    /// Bytes asked of the allocator so far.
    #[inline]
    pub(crate) fn allocated_bytes(&self) -> usize {
        self.allocated_bytes
    }
}

impl Arena {
    /// An empty arena that takes entries of `capacity_bytes` in all, headers and padding included.
    pub(crate) fn new(capacity_bytes: usize, spare: Option<Arc<SpareMemory>>) -> Self {
        let largest_chunk_bytes = (capacity_bytes / 16)
            .clamp(LARGEST_CHUNK_BYTES_MIN, LARGEST_CHUNK_BYTES_MAX)
            .next_power_of_two();
        let doublings = (largest_chunk_bytes / FIRST_CHUNK_BYTES).ilog2() as usize;
        // Of full-length chunks at least three quarters are used, so there are less than twice as
        // many as the capacity holds; four times as many entries are long enough for their own.
        let chunks = doublings + 6 * capacity_bytes.div_ceil(largest_chunk_bytes) + 2;
        let chunks = (0..chunks).map(|_| OnceLock::new()).collect();
        Self { chunks, capacity_bytes, largest_chunk_bytes, spare }
    }

    /// Bytes of the table of chunks.
    pub(crate) fn chunk_table_bytes(&self) -> usize {
        size_of_val(&*self.chunks)
    }

    /// Bytes that an entry takes.
    #[inline]
    pub(crate) fn entry_bytes(entry: &Entry<'_>) -> usize {
        (HEADER_BYTES + entry.key.len() + entry.value.len()).next_multiple_of(ALIGNMENT)
    }

    /// Appends an entry in front of `older`, the next older version of its key. Nobody sees it
    /// until its position is published.
    #[inline]
    pub(crate) fn append(
        &self,
        end: &mut ArenaEnd,
        entry: &Entry<'_>,
        older: Option<Position>,
    ) -> Position {
        let length = Self::entry_bytes(entry);
        let position = self.reserve(end, length);
        let chunk = self.chunks[position.chunk()].get().expect("reserving makes the chunk");
        let mut header = [0; HEADER_BYTES];
        let older = older.map_or(0, Position::to_bits) << 16 | entry.key.len() as u64;
        header[..8].copy_from_slice(&older.to_le_bytes());
        let version = entry.seq_no << 8 | u64::from(entry.tag.as_byte());
        header[8..16].copy_from_slice(&version.to_le_bytes());
        header[16..].copy_from_slice(&(entry.value.len() as u32).to_le_bytes());
        #[cfg(loom)]
        chunk.watch.note_write(position.offset()..position.offset() + length);
        let target = &chunk.cells[position.offset()..position.offset() + length];
        let target = UnsafeCell::raw_get(target.as_ptr()).cast::<u8>();
        // SAFETY: `target` is `length` bytes long, which hold header, key and value; they lie beyond
        // everything published, so nobody reads them, and `end` is unique, so nobody else writes.
        unsafe {
            std::ptr::copy_nonoverlapping(header.as_ptr(), target, HEADER_BYTES);
            let target = target.add(HEADER_BYTES);
            std::ptr::copy_nonoverlapping(entry.key.as_ptr(), target, entry.key.len());
            let target = target.add(entry.key.len());
            std::ptr::copy_nonoverlapping(entry.value.as_ptr(), target, entry.value.len());
        }
        self.prefetch_next(position.chunk(), position.offset() + length, length);
        position
    }

    /// Takes `length` bytes at the end of the arena.
    #[inline]
    fn reserve(&self, end: &mut ArenaEnd, length: usize) -> Position {
        end.used_bytes += length;
        let has_room = |chunk: &usize| {
            self.chunk_bytes(*chunk).is_some_and(|bytes| end.offset + length <= bytes)
        };
        let chunk = match end.chunk.filter(has_room) {
            Some(chunk) => chunk,
            None if length > self.largest_chunk_bytes / 4 => {
                // A giant entry has a chunk to itself, and the one being filled goes on.
                let chunk = self.new_chunk(end, length + ALIGNMENT);
                return Position::new(chunk, ALIGNMENT);
            }
            None => self.next_chunk(end, length),
        };
        let position = Position::new(chunk, end.offset);
        end.offset += length;
        position
    }

    fn chunk_bytes(&self, chunk: usize) -> Option<usize> {
        self.chunks[chunk].get().map(|chunk| chunk.cells.len())
    }

    /// Goes on in a new chunk that an entry of `length` bytes fits into.
    #[cold]
    fn next_chunk(&self, end: &mut ArenaEnd, length: usize) -> usize {
        let bytes = (FIRST_CHUNK_BYTES << end.doublings).min(self.largest_chunk_bytes);
        if bytes < self.largest_chunk_bytes {
            end.doublings += 1;
        }
        let chunk = self.new_chunk(end, bytes.max(length + ALIGNMENT));
        end.chunk = Some(chunk);
        // Position 0 means "none", so entries begin behind it.
        end.offset = ALIGNMENT;
        chunk
    }

    #[cold]
    fn new_chunk(&self, end: &mut ArenaEnd, bytes: usize) -> usize {
        let number = end.chunks;
        let spare = self.spare.as_ref().inspect(|spare| {
            if is_long::<Cell>(2 * bytes) {
                spare.note_shortage();
            }
        });
        let spare = spare.and_then(|spare| spare.take_chunk(bytes));
        let cells = spare.unwrap_or_else(|| Memory::blank(bytes));
        let is_new = self.chunks[number].set(Chunk::new(cells)).is_ok();
        assert!(is_new, "an arena has one end");
        end.chunks += 1;
        end.allocated_bytes += bytes;
        number
    }

    /// Has another chunk made if it is long and will be needed soon, for an arena of which so much is
    /// allocated; `false` if there was nothing to do.
    pub(crate) fn prepare(&self, allocated_bytes: usize) -> bool {
        let bytes = self.largest_chunk_bytes;
        let is_next = allocated_bytes >= bytes / 2 && allocated_bytes < self.capacity_bytes;
        let spare = self.spare.as_ref().filter(|_| is_next && is_long::<Cell>(bytes));
        spare.is_some_and(|spare| spare.stock_chunk(bytes))
    }

    /// The entry at a published position, and the next older version of its key.
    #[inline]
    pub(crate) fn get(&self, position: Position) -> (Entry<'_>, Option<Position>) {
        let header = self.bytes_at(position, HEADER_BYTES);
        let word = |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().expect("8 bytes"));
        let (older, version) = (word(0), word(8));
        let value_bytes = u32::from_le_bytes(header[16..].try_into().expect("4 bytes")) as usize;
        let key_bytes = usize::from(older as u16);
        let whole = self.bytes_at(position, HEADER_BYTES + key_bytes + value_bytes);
        let (key, value) = whole[HEADER_BYTES..].split_at(key_bytes);
        let seq_no: SeqNo = version >> 8;
        let tag = Tag::from_byte(version as u8).expect("written from a tag");
        (Entry { key, seq_no, tag, value }, Position::from_bits(older >> 16))
    }

    /// Begins loading what an entry of middling length has behind its first cache line.
    #[inline]
    pub(crate) fn prefetch_rest(&self, position: Position) {
        if let Some(chunk) = self.chunks[position.chunk()].get() {
            let start = chunk.cells.as_ptr().wrapping_add(position.offset()).cast::<u8>();
            prefetch::for_loads(start.wrapping_add(prefetch::LINE_BYTES), 2);
        }
    }

    /// The entry at a published position.
    #[inline]
    pub(crate) fn entry(&self, position: Position) -> Entry<'_> {
        self.get(position).0
    }

    /// The first `length` bytes of what was written at a published position.
    #[inline]
    fn bytes_at(&self, position: Position, length: usize) -> &[u8] {
        let chunk = self.chunks[position.chunk()].get().expect("published positions have a chunk");
        #[cfg(loom)]
        chunk.watch.note_read(position.offset()..position.offset() + length);
        let cells = &chunk.cells[position.offset()..position.offset() + length];
        // SAFETY: the bytes of a published entry are written, and not written again (see the file
        // comment).
        unsafe { std::slice::from_raw_parts(UnsafeCell::raw_get(cells.as_ptr()).cast(), length) }
    }

    /// Begins loading where the next entry will lie, behind `offset`: as a rule it is as long as the last. The
    /// writer is released soon, and waits then until every line that was stored to is there.
    #[inline]
    fn prefetch_next(&self, chunk: usize, offset: usize, length: usize) {
        if let Some(chunk) = self.chunks[chunk].get() {
            let next = chunk.cells.as_ptr().wrapping_add(offset).cast::<u8>();
            let lines = PREFETCHED_LINES.min(length.div_ceil(prefetch::LINE_BYTES));
            prefetch::for_stores(next.wrapping_add(prefetch::LINE_BYTES), lines);
        }
    }

    /// Begins loading an entry.
    #[inline]
    pub(crate) fn prefetch(&self, position: Position) {
        if let Some(chunk) = self.chunks[position.chunk()].get() {
            prefetch::for_loads(
                chunk.cells.as_ptr().wrapping_add(position.offset()),
                PREFETCHED_LINES,
            );
        }
    }
}

/// What is long enough to be worth it is left to the memtables that come.
#[cfg(not(loom))]
impl Drop for Arena {
    fn drop(&mut self) {
        let Some(spare) = &self.spare else { return };
        for chunk in self.chunks.iter_mut().filter_map(OnceLock::take) {
            spare.keep_chunk(chunk.cells);
        }
    }
}

impl fmt::Debug for Arena {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let chunks = self.chunks.iter().filter_map(OnceLock::get).map(|chunk| chunk.cells.len());
        f.debug_struct("Arena").field("chunk_bytes", &chunks.collect::<Vec<_>>()).finish()
    }
}

#[cfg(test)]
mod tests {
    use lsm_entry::OwnedEntry;

    use super::*;

    /// The safe twin: a vector of entries beside the positions that the arena gave for them.
    #[derive(Default)]
    struct Twin(Vec<(Position, OwnedEntry, Option<Position>)>);

    impl Twin {
        fn append(&mut self, arena: &Arena, end: &mut ArenaEnd, entry: Entry<'_>) {
            let older = self.0.last().map(|(position, ..)| *position);
            let position = arena.append(end, &entry, older);
            self.0.push((position, entry.into(), older));
        }

        fn check(&self, arena: &Arena) {
            for (position, entry, older) in &self.0 {
                assert_eq!(arena.get(*position), (entry.as_entry(), *older));
            }
        }
    }

    #[test]
    fn entries_of_every_length_read_back() {
        let arena = Arena::new(64 << 20, None);
        let mut end = ArenaEnd::new();
        let mut twin = Twin::default();
        for length in [0, 1, 7, 8, 4096, 100, 300_000, 3, 9_000_000, 50, 4_000_000, 65_535] {
            let (key, value) = (vec![length as u8; length.min(65_535)], vec![3; length]);
            twin.append(&arena, &mut end, Entry::put(&key, length as u64, &value));
            twin.append(&arena, &mut end, Entry::delete(&key, u64::MAX >> 8));
        }
        twin.check(&arena);
    }

    #[test]
    fn a_giant_first_entry_is_not_written_over() {
        let arena = Arena::new(1 << 20, None);
        let mut end = ArenaEnd::new();
        let mut twin = Twin::default();
        twin.append(&arena, &mut end, Entry::put(b"giant", 1, &vec![9; 1 << 20]));
        twin.append(&arena, &mut end, Entry::put(b"small", 2, b"1"));
        twin.check(&arena);
    }

    #[test]
    fn chunks_suffice_however_the_capacity_is_used_up() {
        for capacity_bytes in [1 << 10, 100_000, 3 << 20] {
            let largest = Arena::new(capacity_bytes, None).largest_chunk_bytes;
            // Lengths that waste as much as can be: just too long for the rest of a chunk, or just
            // long enough for a chunk of their own.
            for length in
                [100, largest / 5, largest / 4 - 40, largest / 4, largest / 4 + 1, largest]
            {
                let arena = Arena::new(capacity_bytes, None);
                let mut end = ArenaEnd::new();
                let value = vec![0; length.saturating_sub(HEADER_BYTES)];
                let entry = Entry::put(b"", 1, &value);
                while end.used_bytes() + Arena::entry_bytes(&entry) <= capacity_bytes {
                    arena.append(&mut end, &entry, None);
                }
            }
        }
    }

    #[test]
    fn an_arena_takes_little_more_than_its_entries() {
        let arena = Arena::new(64 << 20, None);
        let mut end = ArenaEnd::new();
        let value = [7; 100];
        for written in 0..400_000 {
            arena.append(&mut end, &Entry::put(&[1; 16], written, &value), None);
            // Each chunk but the last is full up to less than an entry.
            assert!(end.allocated_bytes() <= 2 * end.used_bytes() + 2 * FIRST_CHUNK_BYTES);
        }
        assert!(end.allocated_bytes() <= end.used_bytes() + arena.largest_chunk_bytes);
    }

    #[test]
    fn readers_see_whole_entries_beside_the_writer() {
        let arena = Arena::new(4 << 20, None);
        let newest = std::sync::atomic::AtomicU64::new(0);
        let written = 20_000;
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    loop {
                        let bits = newest.load(std::sync::atomic::Ordering::Acquire);
                        let Some(position) = Position::from_bits(bits) else { continue };
                        let (entry, older) = arena.get(position);
                        assert_eq!(entry.key, entry.seq_no.to_le_bytes());
                        assert!(entry.value.iter().all(|byte| *byte == entry.seq_no as u8));
                        if let Some(older) = older {
                            assert_eq!(arena.entry(older).seq_no, entry.seq_no - 1);
                        }
                        if entry.seq_no == written {
                            break;
                        }
                    }
                });
            }
            let mut end = ArenaEnd::new();
            let mut older = None;
            for seq_no in 1..=written {
                let (key, value) = (seq_no.to_le_bytes(), [seq_no as u8; 90]);
                let entry = Entry::put(&key, seq_no, &value[..seq_no as usize % 90]);
                let position = arena.append(&mut end, &entry, older);
                newest.store(position.to_bits(), std::sync::atomic::Ordering::Release);
                older = Some(position);
            }
        });
    }
}
