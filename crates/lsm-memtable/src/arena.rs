//! Where entries live: memory that is only appended to and never moves.
//!
//! Invariant: the bytes of an entry are written once, before its position is published, and never
//! again. Whoever holds a published position may read them without a lock.
#![allow(unsafe_code)] // One of the few files that may: readers look at bytes beside a writer.

use std::cell::UnsafeCell;
use std::sync::OnceLock;

use lsm_entry::{Entry, SeqNo, Tag};

/// Bytes of the first chunk; each further one is twice as long. Untouched pages of a chunk take no
/// memory.
const FIRST_CHUNK_BYTES: usize = 4 << 10;
/// So many chunks hold more than any machine.
const CHUNKS_MAX: usize = 40;
/// Older version (8), sequence number and tag (8), key length (4), value length (4).
pub(crate) const HEADER_BYTES: usize = 24;
/// Entries begin at multiples of this.
const ALIGNMENT: usize = 8;

/// Where an entry lies: chunk in the upper 8 of 48 bits, offset in the lower 40. Never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position(u64);

impl Position {
    /// The 48 bits that stand for it.
    #[inline]
    pub(crate) fn to_bits(self) -> u64 {
        self.0
    }

    /// The position that `bits` stand for, if any. Bits must come from
    /// [`to_bits`](Self::to_bits) of a position of the same arena.
    #[inline]
    pub(crate) fn from_bits(bits: u64) -> Option<Self> {
        if bits == 0 { None } else { Some(Self(bits)) }
    }

    fn new(chunk: usize, offset: usize) -> Self {
        Self((chunk as u64) << 40 | offset as u64)
    }

    fn chunk(self) -> usize {
        (self.0 >> 40) as usize
    }

    fn offset(self) -> usize {
        (self.0 & ((1 << 40) - 1)) as usize
    }
}

/// Append-only memory for entries.
#[derive(Debug)]
pub(crate) struct Arena {
    chunks: [OnceLock<Chunk>; CHUNKS_MAX],
}

#[derive(Debug)]
struct Chunk {
    bytes: Box<[UnsafeCell<u8>]>,
}

// SAFETY: bytes are written by the one writer before their position is published (a release store
// that every reader's acquire load pairs with), and only read afterwards.
unsafe impl Sync for Chunk {}

impl Chunk {
    fn new(bytes: usize) -> Self {
        // Zeroed memory of this size comes from the system untouched.
        let bytes = Box::into_raw(vec![0u8; bytes].into_boxed_slice());
        // SAFETY: `UnsafeCell<u8>` has the layout of `u8`, and the box is not used otherwise.
        Self { bytes: unsafe { Box::from_raw(bytes as *mut [UnsafeCell<u8>]) } }
    }
}

/// Where the writer stands. There is one for each arena.
#[derive(Debug)]
pub(crate) struct ArenaEnd {
    chunk: usize,
    offset: usize,
    used_bytes: usize,
}

impl ArenaEnd {
    /// The end of an empty arena.
    pub(crate) fn new() -> Self {
        // Position 0 means "none", so the first entry lies behind it.
        Self { chunk: 0, offset: ALIGNMENT, used_bytes: 0 }
    }

    /// Bytes that entries take so far.
    pub(crate) fn used_bytes(&self) -> usize {
        self.used_bytes
    }
}

impl Arena {
    pub(crate) fn new() -> Self {
        Self { chunks: [const { OnceLock::new() }; CHUNKS_MAX] }
    }

    /// Bytes that an entry takes.
    pub(crate) fn entry_bytes(data_bytes: usize) -> usize {
        (HEADER_BYTES + data_bytes).next_multiple_of(ALIGNMENT)
    }

    /// Appends an entry in front of `older`, the next older version of its key. Nobody sees it until
    /// its position is published.
    pub(crate) fn append(
        &self,
        end: &mut ArenaEnd,
        entry: &Entry<'_>,
        older: Option<Position>,
    ) -> Position {
        let length = Self::entry_bytes(entry.key.len() + entry.value.len());
        let mut chunk = self.chunk(end.chunk, length);
        while end.offset + length > chunk.bytes.len() {
            end.chunk += 1;
            end.offset = 0;
            chunk = self.chunk(end.chunk, length);
        }
        let mut header = [0; HEADER_BYTES];
        header[..8].copy_from_slice(&older.map_or(0, Position::to_bits).to_le_bytes());
        let version = entry.seq_no << 8 | u64::from(entry.tag.as_byte());
        header[8..16].copy_from_slice(&version.to_le_bytes());
        header[16..20].copy_from_slice(&(entry.key.len() as u32).to_le_bytes());
        header[20..].copy_from_slice(&(entry.value.len() as u32).to_le_bytes());
        let target = &chunk.bytes[end.offset..end.offset + length];
        let target = UnsafeCell::raw_get(target.as_ptr());
        // SAFETY: `target` is `length` bytes long, which hold header, key and value; they lie beyond
        // everything published, so nobody reads them, and `end` is unique, so nobody else writes.
        unsafe {
            std::ptr::copy_nonoverlapping(header.as_ptr(), target, HEADER_BYTES);
            let target = target.add(HEADER_BYTES);
            std::ptr::copy_nonoverlapping(entry.key.as_ptr(), target, entry.key.len());
            let target = target.add(entry.key.len());
            std::ptr::copy_nonoverlapping(entry.value.as_ptr(), target, entry.value.len());
        }
        let position = Position::new(end.chunk, end.offset);
        end.offset += length;
        end.used_bytes += length;
        position
    }

    /// A chunk, made when first needed, with room for `length` bytes at least.
    fn chunk(&self, index: usize, length: usize) -> &Chunk {
        self.chunks[index].get_or_init(|| Chunk::new((FIRST_CHUNK_BYTES << index).max(length)))
    }

    #[inline]
    fn bytes_at(&self, position: Position, length: usize) -> &[u8] {
        let chunk = self.chunks[position.chunk()].get().expect("published positions have a chunk");
        let cells = &chunk.bytes[position.offset()..position.offset() + length];
        // SAFETY: the bytes of a published entry are not written any more (see the file comment).
        unsafe { std::slice::from_raw_parts(UnsafeCell::raw_get(cells.as_ptr()), length) }
    }

    /// The entry at a published position, and the next older version of its key.
    #[inline]
    pub(crate) fn get(&self, position: Position) -> (Entry<'_>, Option<Position>) {
        let header = self.bytes_at(position, HEADER_BYTES);
        let word = |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().expect("8 bytes"));
        let (older, version, lengths) = (word(0), word(8), word(16));
        let (key_bytes, value_bytes) = (lengths as u32 as usize, (lengths >> 32) as usize);
        let whole = self.bytes_at(position, HEADER_BYTES + key_bytes + value_bytes);
        let (key, value) = whole[HEADER_BYTES..].split_at(key_bytes);
        let seq_no: SeqNo = version >> 8;
        let tag = Tag::from_byte(version as u8).expect("written from a tag");
        (Entry { key, seq_no, tag, value }, Position::from_bits(older))
    }

    /// The entry at a published position.
    #[inline]
    pub(crate) fn entry(&self, position: Position) -> Entry<'_> {
        self.get(position).0
    }

    /// Begins loading an entry.
    #[inline]
    pub(crate) fn prefetch(&self, position: Position) {
        #[cfg(target_arch = "x86_64")]
        if let Some(chunk) = self.chunks[position.chunk()].get()
            && let Some(cell) = chunk.bytes.get(position.offset())
        {
            // SAFETY: a prefetch is a hint: it neither faults nor reads, and the address is live.
            unsafe {
                use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
                _mm_prefetch::<_MM_HINT_T0>(cell.get().cast_const().cast());
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = position;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_every_size_read_back() {
        let arena = Arena::new();
        let mut end = ArenaEnd::new();
        let mut written = Vec::new();
        for length in [0, 1, 7, 8, 4096, 100, 300_000, 3, 9_000_000, 50] {
            let (key, value) = (vec![length as u8; length.min(1000)], vec![3; length]);
            let entry = Entry::put(&key, length as u64, &value);
            let older = written.last().map(|(position, _, _)| *position);
            let position = arena.append(&mut end, &entry, older);
            written.push((position, key, value));
        }
        let mut older = None;
        for (position, key, value) in &written {
            let (entry, found) = arena.get(*position);
            assert_eq!((entry.key, entry.value), (&key[..], &value[..]));
            assert_eq!(found, older);
            older = Some(*position);
        }
    }
}
