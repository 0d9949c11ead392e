//! Where blocks come from: the mapped file, or the cache.
//!
//! A *mapped* block is read in place: no lookup, no copy, nothing counted; one bit says that its
//! checksum was verified since the table was opened. All others are read (or decompressed from the
//! mapping) into the cache, verified at each load.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use lsm_entry::Direction;
use lsm_io::{DirectReader, Error, Malformed, Mapping, Result, SEAL_BYTES, Sealer, SharedFile};

use crate::block::{BlockLayout, BlockView};
use crate::cache::{BlockCache, BlockKey, CachedBlock};
use crate::compression::decompress;
use crate::index::{BlockHandle, BlockPlace, TableIndex};
use crate::pinned::{Backing, PinnedSlice};
use crate::simd;

/// Cache lines asked for as soon as a block is known: its header, its tags, and what follows them.
pub(crate) const FRONT_LINES: usize = 3;
/// And before a seek or a scan reaches it: its digests, and the last of its entries.
const BACK_LINES: usize = 5;
const LINE_BYTES: u64 = 64;
/// Cache lines of entries asked for where a seek has arrived, and at most by a walk at a time; and how
/// far ahead of a walk. The processor begins by itself only after some misses, and goes no further than
/// to the end of a page, which is about where the block ends.
const ARRIVAL_LINES: usize = 16;
const WALK_BYTES: usize = ARRIVAL_LINES * LINE_BYTES as usize;

/// Cache lines asked for of a block that is about to be decoded.
const STORED_LINES: usize = 64;

/// Tables are numbered as they are opened; a number is never given twice in a process.
static TABLES_OPENED: AtomicU64 = AtomicU64::new(0);

/// How a table's blocks are brought in.
#[derive(Clone, Debug)]
pub enum ReadMode {
    /// The file is mapped, and blocks are read in place. Compressed ones are decompressed into the
    /// cache. Fastest while the tables fit in memory; a disk that fails under a mapped file ends
    /// the process with a signal.
    Mapped(Arc<BlockCache>),
    /// The same for one of many tables that do not fit in memory together: the system brings in
    /// nothing but what is touched, and what cursors that walk on ask for ahead of time.
    MappedInPart(Arc<BlockCache>),
    /// The same for one of so many that not even their indexes fit: this one's is searched where it lies
    /// in the file, which takes longer, and next to nothing of the table is held in memory.
    MappedWithIndex(Arc<BlockCache>),
    /// Blocks are read into the cache. A disk that fails gives an error.
    Cached(Arc<BlockCache>),
}

/// Reads the blocks of one table.
#[derive(Debug)]
pub(crate) struct BlockSource {
    file: SharedFile,
    sealer: Sealer,
    mapping: Option<Mapping>,
    /// One bit a block: its checksum was verified in the mapping.
    verified: Box<[AtomicU64]>,
    cache: Arc<BlockCache>,
    table: u64,
    /// A block went into the cache.
    is_cached: AtomicBool,
    largest_entry_bytes: u64,
    /// The most that the digests of a decoded block took so far.
    tail_bytes: AtomicUsize,
    /// Whether the system leaves reading ahead to cursors.
    is_in_part: bool,
    /// By how much the entries' sequence numbers are above those that are stored.
    seq_no_shift: u64,
}

/// A block that was brought in, and stays while this lives. Taking hold of a mapped one counts
/// nothing: its bytes are those of the source.
#[derive(Clone, Debug)]
pub(crate) struct HeldBlock {
    place: Place,
    layout: BlockLayout,
}

#[derive(Clone, Debug)]
enum Place {
    Mapped { start: usize, end: usize },
    Cached(Arc<CachedBlock>),
}

impl HeldBlock {
    /// How many entries there are; at least one.
    #[inline]
    pub(crate) fn count(&self) -> usize {
        self.layout.count()
    }

    /// Whether every entry is a put that never expires, and the only one of its key here.
    #[inline]
    pub(crate) fn is_plain(&self) -> bool {
        self.layout.is_plain()
    }
}

impl BlockSource {
    pub(crate) fn new(
        file: SharedFile,
        mapping: Option<Mapping>,
        sealer: Sealer,
        cache: Arc<BlockCache>,
        blocks: usize,
        largest_entry_bytes: u64,
    ) -> Self {
        let words = if mapping.is_some() { blocks.div_ceil(64) } else { 0 };
        let verified = (0..words).map(|_| AtomicU64::new(0)).collect();
        let table = TABLES_OPENED.fetch_add(1, Ordering::Relaxed);
        Self {
            file,
            sealer,
            mapping,
            verified,
            cache,
            table,
            is_cached: AtomicBool::new(false),
            largest_entry_bytes,
            tail_bytes: AtomicUsize::new(0),
            is_in_part: false,
            seq_no_shift: 0,
        }
    }

    /// The same, with memory for all of the file.
    pub(crate) fn in_whole(self) -> Self {
        if let Some(mapping) = &self.mapping {
            mapping.expect_reads_everywhere();
        }
        self
    }

    /// The same, with memory for parts of the file only.
    pub(crate) fn in_part(self) -> Self {
        if let Some(mapping) = &self.mapping {
            mapping.expect_scattered_reads();
        }
        Self { is_in_part: true, ..self }
    }

    /// Whether cursors have to ask for what they will need.
    #[inline]
    pub(crate) fn is_in_part(&self) -> bool {
        self.is_in_part
    }

    /// Asks for a part of the file, without waiting for it.
    pub(crate) fn read_ahead(&self, range: &Range<u64>) {
        if let Some(mapping) = &self.mapping {
            mapping.read_ahead(range.start as usize..range.end as usize);
        }
    }

    /// The same, with every entry's sequence number so much above the one that is stored.
    pub(crate) fn shifted(self, seq_no_shift: u64) -> Self {
        Self { seq_no_shift, ..self }
    }

    pub(crate) fn seq_no_shift(&self) -> u64 {
        self.seq_no_shift
    }

    pub(crate) fn file(&self) -> &SharedFile {
        &self.file
    }

    pub(crate) fn sealer(&self) -> Sealer {
        self.sealer
    }

    /// Block `number` of `index`, or `None` if there are not so many.
    #[inline]
    pub(crate) fn fetch(&self, index: &TableIndex, number: usize) -> Result<Option<HeldBlock>> {
        let Some(place) = index.place(number) else { return Ok(None) };
        match &self.mapping {
            Some(mapping) if place.is_plain() => self.fetch_mapped(mapping, index, number, place),
            _ => self.fetch_cached(index, number),
        }
    }

    /// The entries of a block of this source.
    #[inline]
    pub(crate) fn view<'a>(&'a self, held: &'a HeldBlock) -> BlockView<'a, 'a> {
        let bytes = match (&held.place, &self.mapping) {
            (Place::Cached(block), _) => block.bytes(),
            (Place::Mapped { start, end }, Some(mapping)) => {
                mapping.get(*start..*end).unwrap_or_default()
            }
            (Place::Mapped { .. }, None) => &[],
        };
        BlockView::new(bytes, &held.layout)
    }

    /// What `lent`, a part of the mapped file, lies in, kept beyond this read; `None` if it is no part.
    pub(crate) fn pin_lent(&self, lent: &[u8]) -> Option<PinnedSlice> {
        let mapping = self.mapping.as_ref()?;
        let start = lent.as_ptr().addr().checked_sub(mapping.as_ptr().addr())?;
        let end = start.checked_add(lent.len()).filter(|end| *end <= mapping.len())?;
        Some(PinnedSlice::new(Backing::Mapped(mapping.clone()), start..end))
    }

    /// All bytes of the block, to be kept beyond this read.
    pub(crate) fn pin(&self, held: &HeldBlock) -> PinnedSlice {
        match (&held.place, &self.mapping) {
            (Place::Cached(block), _) => {
                PinnedSlice::new(Backing::Block(Arc::clone(block)), 0..block.bytes().len())
            }
            (Place::Mapped { start, end }, Some(mapping)) => {
                PinnedSlice::new(Backing::Mapped(mapping.clone()), *start..*end)
            }
            (Place::Mapped { .. }, None) => PinnedSlice::new(Backing::Held(Arc::default()), 0..0),
        }
    }

    /// Asks for both ends of a block that will be needed, without waiting for them.
    #[inline]
    pub(crate) fn prefetch(&self, handle: BlockHandle) {
        let Some(mapping) = &self.mapping else { return };
        let from = |offset: u64| mapping.get(offset as usize..).unwrap_or_default();
        simd::prefetch(from(handle.offset()), FRONT_LINES);
        let back = handle.end().saturating_sub(LINE_BYTES * BACK_LINES as u64);
        simd::prefetch(from(back.max(handle.offset())), BACK_LINES);
    }

    /// Asks for a block that will be decoded, all of it, without waiting.
    #[inline]
    fn prefetch_stored(&self, handle: BlockHandle) {
        let Some(mapping) = &self.mapping else { return };
        let stored = mapping.get(handle.offset() as usize..handle.end() as usize);
        simd::prefetch(stored.unwrap_or_default(), STORED_LINES);
    }

    /// Asks for the entries from `index` on, where a seek has arrived.
    #[inline]
    pub(crate) fn prefetch_entries(&self, held: &HeldBlock, index: usize) {
        if let Some((mapping, at)) = self.place_of(held, index) {
            simd::prefetch(mapping.get(at..).unwrap_or_default(), ARRIVAL_LINES);
        }
    }

    /// Asks for what a walk that is at entry `index` will reach some entries later, be it in the next
    /// block: about as much as so many entries take.
    pub(crate) fn prefetch_ahead(
        &self,
        held: &HeldBlock,
        index: usize,
        direction: Direction,
        entries: usize,
    ) {
        let Some((mapping, here)) = self.place_of(held, index) else { return };
        let lines = (entries * held.layout.mean_entry_bytes()).div_ceil(LINE_BYTES as usize);
        let lines = lines.min(ARRIVAL_LINES);
        let at = match direction {
            Direction::Forward => here + WALK_BYTES,
            Direction::Backward => here.saturating_sub(WALK_BYTES + lines * LINE_BYTES as usize),
        };
        simd::prefetch(mapping.get(at..).unwrap_or_default(), lines);
    }

    /// Where in the mapping an entry is; `None` in a cached block, which was touched as a whole when it
    /// was read.
    #[inline]
    fn place_of(&self, held: &HeldBlock, index: usize) -> Option<(&Mapping, usize)> {
        let (Some(mapping), Place::Mapped { start, end }) = (&self.mapping, &held.place) else {
            return None;
        };
        let block = mapping.get(*start..*end).unwrap_or_default();
        Some((mapping, start + held.layout.entry_start(block, index)))
    }

    /// Block `number` of `index`, if it is read in place.
    #[inline(always)] // See `read_mapped`.
    pub(crate) fn in_place(
        &self,
        index: &TableIndex,
        number: usize,
    ) -> Result<Option<(&[u8], BlockLayout)>> {
        match (&self.mapping, index.place(number)) {
            (Some(mapping), Some(place)) if place.is_plain() => {
                let (bytes, layout) = self.read_mapped(mapping, index, number, place)?;
                Ok(bytes.get(..layout.bytes()).map(|block| (block, layout)))
            }
            _ => Ok(None),
        }
    }

    #[inline]
    fn fetch_mapped(
        &self,
        mapping: &Mapping,
        index: &TableIndex,
        number: usize,
        place: BlockPlace,
    ) -> Result<Option<HeldBlock>> {
        let (_, layout) = self.read_mapped(mapping, index, number, place)?;
        let start = place.offset() as usize;
        let end = start + layout.bytes();
        Ok(Some(HeldBlock { place: Place::Mapped { start, end }, layout }))
    }

    /// The bytes from where a plain block starts.
    #[inline(always)] // What it gives are a dozen numbers.
    fn read_mapped<'t>(
        &self,
        mapping: &'t Mapping,
        index: &TableIndex,
        number: usize,
        place: BlockPlace,
    ) -> Result<(&'t [u8], BlockLayout)> {
        // Invariant: handles were checked against the length of the file, which is the mapping's.
        let bytes = mapping.get(place.offset() as usize..).unwrap_or_default();
        simd::prefetch(bytes, FRONT_LINES);
        let (word, bit) = (number / 64, 1_u64 << (number % 64));
        // Relaxed: the bit says something of bytes that never change; who misses it verifies again.
        let is_verified =
            self.verified.get(word).is_some_and(|word| word.load(Ordering::Relaxed) & bit != 0);
        if !is_verified {
            self.verify_mapped(mapping, index, number)?;
            if let Some(word) = self.verified.get(word) {
                word.fetch_or(bit, Ordering::Relaxed);
            }
        }
        Ok((bytes, BlockLayout::of_verified(bytes).shifted(self.seq_no_shift)))
    }

    #[cold]
    fn verify_mapped(&self, mapping: &Mapping, index: &TableIndex, number: usize) -> Result<()> {
        let Some(handle) = index.handle(number) else { return Ok(()) };
        let sealed = mapping.get(handle.offset() as usize..handle.end() as usize);
        let bytes = self.open_seal(handle, sealed.unwrap_or_default())?;
        self.check_plain(handle, bytes).map(|_| ())
    }

    fn key(&self, number: usize) -> BlockKey {
        BlockKey { table: self.table, block: number as u32 }
    }

    fn fetch_cached(&self, index: &TableIndex, number: usize) -> Result<Option<HeldBlock>> {
        let key = self.key(number);
        let block = match self.cache.get(key) {
            Some(block) => block,
            None => {
                let Some(handle) = index.handle(number) else { return Ok(None) };
                self.prefetch_stored(handle);
                let block = Arc::new(self.load(handle, self.cache.reclaim(key))?);
                self.insert(key, &block);
                block
            }
        };
        Ok(Some(self.hold(block)))
    }

    /// Block `number` of `index`, for whoever walks over the table once: what is not in the cache stays
    /// out of it.
    pub(crate) fn fetch_in_passing(
        &self,
        index: &TableIndex,
        number: usize,
    ) -> Result<Option<HeldBlock>> {
        let Some(handle) = index.handle(number) else { return Ok(None) };
        if let Some(mapping) = self.mapping.as_ref().filter(|_| handle.place.is_plain()) {
            return self.fetch_mapped(mapping, index, number, handle.place);
        }
        let block = match self.cache.peek(self.key(number)) {
            Some(block) => block,
            None => Arc::new(self.load(handle, Vec::new())?),
        };
        Ok(Some(self.hold(block)))
    }

    fn hold(&self, block: Arc<CachedBlock>) -> HeldBlock {
        let layout = block.layout().shifted(self.seq_no_shift);
        HeldBlock { place: Place::Cached(block), layout }
    }

    fn insert(&self, key: BlockKey, block: &Arc<CachedBlock>) {
        // Relaxed, and read before it is written: it is set once, and says what its own thread did.
        if !self.is_cached.load(Ordering::Relaxed) {
            self.is_cached.store(true, Ordering::Relaxed);
        }
        self.cache.insert(key, block);
    }

    /// Whether any block ever went into the cache.
    pub(crate) fn is_cached(&self) -> bool {
        self.is_cached.load(Ordering::Relaxed)
    }

    /// Whether block `number` is in the cache.
    pub(crate) fn is_block_cached(&self, number: usize) -> bool {
        self.cache.contains(self.key(number))
    }

    /// Takes block `number` out of the cache, if it is there.
    pub(crate) fn leave_cache(&self, number: usize) -> Option<Arc<CachedBlock>> {
        self.cache.remove(self.key(number))
    }

    /// Brings block `number` of `index` into the cache, into memory that held another; nothing where it
    /// is read in place, or is there already. Gives whether it went in.
    pub(crate) fn enter_cache(
        &self,
        index: &TableIndex,
        number: usize,
        memory: Vec<u8>,
    ) -> Result<bool> {
        let Some(handle) = index.handle(number) else { return Ok(false) };
        let is_read_in_place = self.mapping.is_some() && handle.place.is_plain();
        if is_read_in_place || self.is_block_cached(number) {
            return Ok(false);
        }
        self.insert(self.key(number), &Arc::new(self.load(handle, memory)?));
        Ok(true)
    }

    /// Block `number` of `index`, read by `reader` of this file, past all caches.
    pub(crate) fn fetch_by(
        &self,
        reader: &mut DirectReader,
        index: &TableIndex,
        number: usize,
    ) -> Result<Option<HeldBlock>> {
        let Some(handle) = index.handle(number) else { return Ok(None) };
        let block = self.decode(handle, reader.get(handle.offset()..handle.end())?)?;
        Ok(Some(self.hold(Arc::new(block))))
    }

    /// Reads a block, verified and decompressed.
    fn load(&self, handle: BlockHandle, memory: Vec<u8>) -> Result<CachedBlock> {
        let sealed_bytes = handle.bytes as usize + SEAL_BYTES;
        if let Some(mapping) = &self.mapping {
            let start = handle.offset() as usize;
            let sealed = mapping.get(start..start + sealed_bytes).unwrap_or_default();
            return self.decode_into(handle, sealed, memory);
        }
        // Bounded: handles were checked against the length of the file.
        let mut sealed = vec![0; sealed_bytes];
        self.file.read_at(handle.offset(), &mut sealed)?;
        if !handle.place.is_plain() {
            return self.decode_into(handle, &sealed, memory);
        }
        // What was read is what is kept: only the checksum is cut off.
        self.open_seal(handle, &sealed)?;
        sealed.truncate(handle.bytes as usize);
        let layout = self.check_plain(handle, &sealed)?;
        Ok(CachedBlock::new(sealed, layout))
    }

    /// Decodes a block from its stored bytes, checksum included.
    pub(crate) fn decode(&self, handle: BlockHandle, sealed: &[u8]) -> Result<CachedBlock> {
        self.decode_into(handle, sealed, Vec::new())
    }

    /// The same, into memory that held another.
    fn decode_into(
        &self,
        handle: BlockHandle,
        sealed: &[u8],
        memory: Vec<u8>,
    ) -> Result<CachedBlock> {
        let stored = self.open_seal(handle, sealed)?;
        if handle.place.is_plain() {
            let layout = self.check_plain(handle, stored)?;
            return Ok(CachedBlock::new(stored.to_vec(), layout));
        }
        let tail_bytes = self.tail_bytes.load(Ordering::Relaxed);
        let (bytes, layout) =
            decompress(handle.method(), stored, self.largest_entry_bytes, memory, tail_bytes)
                .map_err(|malformed| self.lift(handle, malformed))?;
        if layout.tail_bytes() > tail_bytes {
            self.tail_bytes.fetch_max(layout.tail_bytes(), Ordering::Relaxed);
        }
        Ok(CachedBlock::new(bytes, layout))
    }

    fn check_plain(&self, handle: BlockHandle, bytes: &[u8]) -> Result<BlockLayout> {
        let layout = BlockLayout::parse(bytes);
        layout
            .and_then(|layout| layout.check_entries(bytes).map(|()| layout))
            .map_err(|malformed| self.lift(handle, malformed))
    }

    fn open_seal<'a>(&self, handle: BlockHandle, sealed: &'a [u8]) -> Result<&'a [u8]> {
        self.sealer.open(handle.offset(), sealed).ok_or_else(|| {
            Error::corrupt(self.file.path(), handle.offset(), "block checksum does not match")
        })
    }

    #[cold]
    fn lift(&self, handle: BlockHandle, malformed: Malformed) -> Error {
        malformed.at(self.file.path(), handle.offset())
    }
}
