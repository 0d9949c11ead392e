//! Arbitrary bytes for the decoders: whatever they are, nothing panics, and memory stays bounded.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lsm_entry::{Cursor, MAX_SEQ_NO, key_hash};
use lsm_io::{Error, File, Mapping, Result, SEAL_BYTES, Sealer, SharedFile, SharedStores};

use crate::block::{BlockLayout, BlockView};
use crate::compression::{Method, decompress};
use crate::footer::{FOOTER_BYTES, Footer, SectionHandle};
use crate::index::{IndexMemory, TableIndex};
use crate::pinned::{Backing, PinnedSlice};
use crate::{BlockCache, FilterLine, ReadMode, Table};

/// Reads `data` as a block: plain, and as compressed in each way.
pub fn fuzz_block(data: &[u8]) {
    let plain = BlockLayout::parse(data).and_then(|layout| {
        layout.check_entries(data)?;
        Ok(layout)
    });
    if let Ok(layout) = plain {
        read_block(BlockView::new(data, &layout));
    }
    for method in [Method::Lz4, Method::Zstd] {
        if let Ok((bytes, layout)) = decompress(method, data, 0, Vec::new(), 0) {
            read_block(BlockView::new(&bytes, &layout));
        }
    }
}

/// Opens `data` as a table, in every way that reads it otherwise than the rest, and reads all of it.
pub fn fuzz_table(data: &[u8]) {
    let held: SharedFile = Arc::new(HeldFile::new(data));
    let modes = [
        ReadMode::Mapped(BlockCache::new(0)),
        ReadMode::Cached(BlockCache::new(1 << 20)),
        ReadMode::MappedWithIndex(BlockCache::new(0)),
    ];
    for mode in modes {
        let Ok(identity) = Table::read_identity(&held) else { return };
        let Ok(table) = Table::open(Arc::clone(&held), identity, data.len() as u64, mode) else {
            return;
        };
        read_table(&table);
        let _ = table.verify();
    }
}

/// The same, with every checksum made right first: what a hostile author would do, and the only
/// way for arbitrary bytes to reach the decoders behind the checksums.
pub fn fuzz_sealed_table(data: &[u8]) {
    let mut data = data.to_vec();
    if seal_all(&mut data).is_some() {
        fuzz_table(&data);
    }
}

fn read_block(view: BlockView<'_, '_>) {
    let _ = view.check_order();
    let mut keys = vec![Vec::new(), b"a".to_vec(), vec![0xFF; 40]];
    for position in 0..view.count() {
        let entry = view.entry(position);
        let _ = (entry.user_value(), entry.expires_at_ms());
        keys.push(entry.key.to_vec());
    }
    for key in keys {
        let _ = view.find(&key, key_hash(&key), MAX_SEQ_NO);
        let _ = view.lower_bound(&key, 7);
    }
}

fn read_table(table: &Arc<Table>) {
    let keys: Vec<Vec<u8>> =
        table.blocks().take(100).map(|block| block.last_key.to_vec()).chain([Vec::new()]).collect();
    let mut cursor = table.cursor();
    for key in &keys {
        let hash = key_hash(key);
        table.filter_line(hash).inspect(FilterLine::prefetch);
        let _ = (table.may_contain(hash), table.get(key, hash, MAX_SEQ_NO));
        let _ = (table.find_block(key), cursor.seek(key, 7), cursor.seek_for_prev(key, 7));
    }
    for fragment in table.range_deletes().iter() {
        let covered = table.range_deletes().cover(fragment.lower(), MAX_SEQ_NO);
        assert_eq!(covered, fragment.seq_nos()[0], "a fragment covers its first key");
        let _ = (fragment.hides_all(7), table.range_deletes().around(fragment.upper()).lower);
    }
    let whole = table.range_deletes().range_deletes();
    assert!(whole.len() <= table.range_deletes().weight());
    let _ = cursor.seek_first();
    while cursor.entry().is_some() && cursor.next().is_ok() {}
    let _ = cursor.seek_last();
    while cursor.entry().is_some() && cursor.prev().is_ok() {}
    let _ = table.memory_bytes();
}

/// Makes the checksums of `data` right, as far as its footer and index can be read; `None` if they
/// cannot.
pub fn seal_all(data: &mut [u8]) -> Option<()> {
    let footer_offset = data.len().checked_sub(FOOTER_BYTES)?;
    let identity = data[footer_offset..].get(32..56)?.first_chunk()?;
    let sealer = Sealer::new(lsm_io::Identity::from_bytes(identity));
    let footer =
        SectionHandle { offset: footer_offset as u64, bytes: (FOOTER_BYTES - SEAL_BYTES) as u64 };
    seal(data, sealer, footer)?;
    let footer = Footer::decode(&data[footer_offset..], Path::new("fuzzed"), footer.offset).ok()?;
    let index = data.get(footer.index.offset as usize..footer_offset - SEAL_BYTES)?;
    let index = PinnedSlice::new(Backing::Held(index.into()), 0..index.len());
    if let Ok(index) = TableIndex::decode(index, footer.sections_start(), IndexMemory::InPlace) {
        for handle in (0..index.blocks()).filter_map(|number| index.handle(number)) {
            let (offset, bytes) = (handle.offset(), u64::from(handle.bytes));
            seal(data, sealer, SectionHandle { offset, bytes })?;
        }
    }
    for section in footer.sections().into_iter().filter(|section| !section.is_absent()) {
        seal(data, sealer, section)?;
    }
    Some(())
}

fn seal(data: &mut [u8], sealer: Sealer, section: SectionHandle) -> Option<()> {
    let (start, end) = (section.offset as usize, section.end() as usize);
    let (bytes, checksum) = data.get_mut(start..end)?.split_last_chunk_mut::<SEAL_BYTES>()?;
    *checksum = sealer.seal(section.offset, bytes).to_le_bytes();
    Some(())
}

/// Bytes that pose as a file.
#[derive(Debug)]
struct HeldFile {
    path: PathBuf,
    bytes: Arc<[u8]>,
}

impl HeldFile {
    fn new(bytes: &[u8]) -> Self {
        Self { path: "fuzzed".into(), bytes: bytes.into() }
    }

    fn refuse(&self, action: &'static str, kind: std::io::ErrorKind) -> Error {
        Error::io(action, &self.path, kind.into())
    }
}

impl File for HeldFile {
    fn path(&self) -> &Path {
        &self.path
    }

    fn len(&self) -> Result<u64> {
        Ok(self.bytes.len() as u64)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let end = start.saturating_add(buffer.len());
        let bytes = self.bytes.get(start..end);
        let bytes = bytes.ok_or_else(|| self.refuse("read", std::io::ErrorKind::UnexpectedEof))?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }

    fn write_at(&self, _offset: u64, _bytes: &[u8]) -> Result<()> {
        Err(self.refuse("write", std::io::ErrorKind::ReadOnlyFilesystem))
    }

    fn sync(&self) -> Result<()> {
        Ok(())
    }

    fn set_len(&self, _bytes: u64) -> Result<()> {
        Err(self.refuse("cut", std::io::ErrorKind::ReadOnlyFilesystem))
    }

    fn map(&self) -> Result<Mapping> {
        Ok(Mapping::held(Arc::clone(&self.bytes)))
    }

    fn map_for_stores(&self) -> Result<Option<SharedStores>> {
        Ok(None)
    }
}
