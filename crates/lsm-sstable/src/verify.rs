//! Checking every byte of a table.
//!
//! The file is read once, front to back: blocks, the zeros between them, sections and footer must
//! fill it without a rest. What a checksum cannot tell is checked as well: order, tags, digests,
//! the index's numbers, the filter's answers.

use std::cmp::Ordering;

use lsm_entry::{Entry, Expiring, SeqNo, compare_internal, key_hash};
use lsm_io::checksum::Xxh3;
use lsm_io::{Error, Result};

use crate::Table;
use crate::block::{BlockStats, BlockView};
use crate::footer::Footer;
use crate::index::BlockHandle;
use crate::summary::BlobTally;
use crate::tail::Tail;

/// Longest stretch of the file that is held in memory at once, unless a block is longer.
const PIECE_BYTES: u64 = 1 << 20;

/// What a verified table turned out to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Length of the file; every byte was checked.
    pub bytes: u64,
    /// How many blocks there are.
    pub blocks: u64,
    /// How many entries there are.
    pub entries: u64,
    /// XXH3 of the whole file, to be compared with what the writer told.
    pub checksum: u64,
}

impl Table {
    /// Reads the whole file, past every cache, and checks every byte of it.
    ///
    /// # Errors
    /// `Corrupt` with the place of the first damage; `Io` when the file could not be read.
    pub fn verify(&self) -> Result<VerifyReport> {
        let mut verifier = Verifier {
            table: self,
            position: 0,
            hash: Xxh3::new(),
            piece: Vec::new(),
            last: None,
            entries: 0,
            tombstones: 0,
            expiring: Expiring::default(),
            blobs: BlobTally::default(),
        };
        for number in 0..self.index().blocks() {
            if let Some(handle) = self.index().handle(number) {
                verifier.block(number, handle)?;
            }
        }
        verifier.tail()?;
        verifier.totals()?;
        Ok(VerifyReport {
            bytes: verifier.position,
            blocks: self.index().blocks() as u64,
            entries: verifier.entries,
            checksum: verifier.hash.finish(),
        })
    }
}

struct Verifier<'a> {
    table: &'a Table,
    /// Everything before was read, hashed and checked.
    position: u64,
    hash: Xxh3,
    piece: Vec<u8>,
    /// Key and sequence number of the last entry.
    last: Option<(Vec<u8>, SeqNo)>,
    entries: u64,
    tombstones: u64,
    expiring: Expiring,
    blobs: BlobTally,
}

impl Verifier<'_> {
    fn block(&mut self, number: usize, handle: BlockHandle) -> Result<()> {
        self.gap(handle.offset())?;
        self.read(handle.end())?;
        let block = self.table.source().decode(handle, &self.piece)?;
        let view = BlockView::new(block.bytes(), block.layout());
        let path = self.table.source().file().path();
        view.check_order().map_err(|malformed| malformed.at(path, handle.offset()))?;
        let follows = self.last.as_ref().is_none_or(|(key, seq_no)| {
            let first = view.entry(0);
            compare_internal(key, *seq_no, first.key, first.seq_no) == Ordering::Less
        });
        if !follows {
            return Err(self.corrupt(handle.offset(), "block does not follow the one before"));
        }
        if !self.is_as_indexed(number, view) {
            return Err(self.corrupt(handle.offset(), "block is not what the index says"));
        }
        if !self.is_in_filter(view) {
            return Err(self.corrupt(handle.offset(), "a key is missing in the filter"));
        }
        let Entry { key, seq_no, .. } = view.entry(view.count() - 1);
        self.last = Some((key.to_vec(), seq_no));
        Ok(())
    }

    fn is_as_indexed(&mut self, number: usize, view: BlockView<'_, '_>) -> bool {
        let mut stats = BlockStats::default();
        for position in 0..view.count() {
            let entry = view.entry(position);
            stats.count(&entry);
            self.expiring.count(&entry);
            self.blobs.count(&entry);
        }
        self.entries += u64::from(stats.entries);
        self.tombstones += u64::from(stats.tombstones);
        let index = self.table.index();
        // A table in which nothing expires has no expiry ranges to compare with.
        stats == index.stats(number) && view.last_key() == index.last_key(number)
    }

    fn is_in_filter(&self, view: BlockView<'_, '_>) -> bool {
        (0..view.count()).all(|position| self.table.may_contain(key_hash(view.key(position))))
    }

    /// Sections and footer, read from the file once more: they may have been damaged since the
    /// table was opened.
    fn tail(&mut self) -> Result<()> {
        let Tail { footer, footer_offset, .. } = self.table.tail();
        let sealer = self.table.source().sealer();
        for section in footer.sections().into_iter().filter(|section| !section.is_absent()) {
            self.gap(section.offset)?;
            self.read(section.end())?;
            if sealer.open(section.offset, &self.piece).is_none() {
                return Err(self.corrupt(section.offset, "section checksum does not match"));
            }
        }
        self.read(self.table.bytes())?;
        let path = self.table.source().file().path();
        if Footer::decode(&self.piece, path, *footer_offset)? != *footer {
            return Err(self.corrupt(*footer_offset, "footer changed since the table was opened"));
        }
        Ok(())
    }

    fn totals(&mut self) -> Result<()> {
        let properties = self.table.properties();
        let expiring = self.expiring.in_part(self.entries);
        let is_right = properties.entries == self.entries
            // An earlier writer did not count what expires.
            && properties.expiring.is_none_or(|counted| Some(counted) == expiring)
            && properties.tombstones == self.tombstones
            && properties.range_deletes == self.table.range_deletes().weight() as u64
            && properties.blobs == std::mem::take(&mut self.blobs).into_shares()
            && properties.blocks == self.table.index().blocks() as u64;
        if is_right {
            return Ok(());
        }
        let offset = self.table.tail().footer.properties.offset;
        Err(self.corrupt(offset, "properties count something else"))
    }

    /// Between what is stored there may be zeros, and nothing else.
    fn gap(&mut self, end: u64) -> Result<()> {
        while self.position < end {
            let start = self.position;
            self.read(end.min(start + PIECE_BYTES))?;
            if let Some(at) = self.piece.iter().position(|byte| *byte != 0) {
                return Err(self.corrupt(start + at as u64, "a gap is not zero"));
            }
        }
        Ok(())
    }

    /// Reads from the position to `end`, hashes it, and moves there.
    fn read(&mut self, end: u64) -> Result<()> {
        // Invariant: handles ascend and end within the file, so this is bounded by its length.
        let bytes = end.saturating_sub(self.position) as usize;
        self.piece.resize(bytes, 0);
        self.table.source().file().read_at(self.position, &mut self.piece)?;
        self.hash.update(&self.piece);
        self.position = end;
        Ok(())
    }

    fn corrupt(&self, offset: u64, reason: &'static str) -> Error {
        Error::corrupt(self.table.source().file().path(), offset, reason)
    }
}
