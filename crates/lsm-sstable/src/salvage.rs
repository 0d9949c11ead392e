//! Reading what is whole of a damaged table, for a repair.
//!
//! Blocks are found by the index and checked one by one, so the damage of one costs the keys of that
//! one. Without footer and index nothing is found; without the rest blocks are still read.

use std::sync::Arc;

use lsm_entry::Entry;
use lsm_io::{Error, Identity, Result, Sealer, SharedFile};

use crate::block::BlockView;
use crate::cache::BlockCache;
use crate::source::BlockSource;
use crate::tail::Tail;
use crate::{Table, TableProperties};

impl Table {
    /// Opens a table of which footer, index and range deletes are whole: a damaged filter is left
    /// out, damaged properties are empty. Its blocks are read with
    /// [`visit_block`](Self::visit_block).
    ///
    /// # Errors
    /// `Corrupt` when one of those is damaged as well, `Io`.
    pub fn open_damaged(
        file: SharedFile,
        expected: Identity,
        cache: Arc<BlockCache>,
    ) -> Result<Arc<Self>> {
        let tail = Tail::read_damaged(&file, expected)?;
        let (blocks, largest) = (tail.index.blocks(), tail.properties.largest_entry_bytes);
        let source = BlockSource::new(file, None, Sealer::new(expected), cache, blocks, largest);
        Ok(Arc::new(Self { tail, source }))
    }

    /// What a table says about itself, if footer and properties are whole.
    ///
    /// # Errors
    /// `Corrupt` when they are not, `Io`.
    pub fn read_properties(file: &SharedFile) -> Result<TableProperties> {
        Tail::read_properties(file)
    }

    /// Reads block `number` from the file, past the cache, and hands its entries to `visit`, in order,
    /// once all of it was checked.
    ///
    /// # Errors
    /// `Corrupt` when the block is damaged: nothing was visited then. `Io`, and whatever `visit`
    /// returns.
    pub fn visit_block(
        &self,
        number: usize,
        visit: &mut dyn FnMut(Entry<'_>) -> Result<()>,
    ) -> Result<()> {
        let Some(handle) = self.index().handle(number) else { return Ok(()) };
        // Bounded: handles were checked against the length of the file.
        let mut sealed = vec![0; (handle.end() - handle.offset()) as usize];
        self.file_of_blocks().read_at(handle.offset(), &mut sealed)?;
        let block = self.source().decode(handle, &sealed)?;
        let view = BlockView::new(block.bytes(), block.layout());
        let path = self.file_of_blocks().path();
        view.check_order().map_err(|malformed| malformed.at(path, handle.offset()))?;
        if view.last_key() != self.index().last_key(number) {
            return Err(Error::corrupt(path, handle.offset(), "block is not what the index says"));
        }
        (0..view.count()).try_for_each(|position| visit(view.entry(position)))
    }

    fn file_of_blocks(&self) -> &SharedFile {
        self.source().file()
    }
}
