//! What is in a table file, and what is still whole of a damaged one.

use std::collections::BTreeMap;
use std::sync::Arc;

use lsm_entry::{Entry, SeqNo, compare_internal};
use lsm_io::{Error, Identity, OpenMode, Result};
use lsm_manifest::FileKind;
use lsm_sstable::{BlockCache, Table, TableProperties, TableSummary};
use lsm_version::TableRecord;

use super::survey::check_not_newer;
use crate::outputs::record_of;
use crate::verify::{Damage, Files};

/// Blocks are read past the cache; it only has to be there.
const CACHE_BYTES: u64 = 1 << 20;

/// A table file, as it was found.
#[derive(Clone, Debug)]
pub(super) struct FoundTable {
    pub(super) number: u64,
    pub(super) identity: Option<Identity>,
    pub(super) properties: Option<TableProperties>,
    pub(super) condition: Condition,
}

#[derive(Clone, Debug)]
pub(super) enum Condition {
    /// Every byte is right.
    Whole(Arc<TableRecord>),
    /// Some blocks can still be read.
    Partial(Vec<LostBlock>),
    /// Nothing can be read.
    Unreadable,
}

/// A block that is damaged: what was in it at most.
#[derive(Clone, Debug)]
pub(super) struct LostBlock {
    pub(super) lower: Vec<u8>,
    pub(super) upper: Vec<u8>,
    pub(super) seq_no_min: SeqNo,
    pub(super) seq_no_max: SeqNo,
}

impl FoundTable {
    pub(super) fn whole(&self) -> Option<&Arc<TableRecord>> {
        match &self.condition {
            Condition::Whole(record) => Some(record),
            _ => None,
        }
    }
}

pub(super) type FoundTables = BTreeMap<u64, FoundTable>;

/// Reads a table file whole. Damage is noted and no error, a newer format is one.
pub(super) fn survey_table(
    files: &Files<'_>,
    number: u64,
    bytes: u64,
    damage: &mut Vec<Damage>,
) -> crate::error::Result<FoundTable> {
    let file = files.fs.open(&files.path(FileKind::Table, number), OpenMode::Read)?;
    let identity = unless_corrupt(Table::read_identity(&file))?;
    let properties = unless_corrupt(Table::read_properties(&file))?;
    let verified = Table::read_identity(&file).and_then(|identity| {
        let table = files.open_table(number, identity, bytes)?;
        let found = table.verify()?;
        let properties = table.properties();
        let summary = TableSummary::new(bytes, found.checksum, properties);
        Ok(record_of(number, identity, summary, properties.info.created_ms))
    });
    if let Err(error) = &verified {
        check_not_newer(error)?;
    }
    let condition = match verified {
        Ok(record) => Condition::Whole(Arc::new(record)),
        Err(Error::Corrupt { path, offset, reason }) => {
            damage.push(Damage { path, offset, reason: reason.into_owned() });
            let partial = identity.map(|identity| survey_blocks(files, number, identity));
            match partial.map(unless_corrupt).transpose()?.flatten() {
                Some(lost) => Condition::Partial(lost),
                None => Condition::Unreadable,
            }
        }
        Err(error) => return Err(error.into()),
    };
    Ok(FoundTable { number, identity, properties, condition })
}

fn unless_corrupt<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Err(error) if error.is_corrupt() => Ok(None),
        result => result.map(Some),
    }
}

fn survey_blocks(files: &Files<'_>, number: u64, identity: Identity) -> Result<Vec<LostBlock>> {
    let table = open_damaged(files, number, identity)?;
    visit_whole_blocks(&table, &mut |_| Ok(()))
}

pub(super) fn open_damaged(
    files: &Files<'_>,
    number: u64,
    identity: Identity,
) -> Result<Arc<Table>> {
    let file = files.fs.open(&files.path(FileKind::Table, number), OpenMode::Read)?;
    Table::open_damaged(file, identity, BlockCache::new(CACHE_BYTES))
}

/// Hands every entry of every whole block to `visit`, in order; returns what the other blocks held.
pub(super) fn visit_whole_blocks(
    table: &Table,
    visit: &mut dyn FnMut(Entry<'_>) -> Result<()>,
) -> Result<Vec<LostBlock>> {
    let mut lost = Vec::new();
    let mut lower = table.properties().lower.clone();
    let mut last: Option<(Vec<u8>, SeqNo)> = None;
    for block in table.blocks() {
        let mut is_ordered = true;
        let visited = table.visit_block(block.number, &mut |entry| {
            is_ordered &= last.as_ref().is_none_or(|(key, seq_no)| {
                compare_internal(key, *seq_no, entry.key, entry.seq_no).is_lt()
            });
            if !is_ordered {
                return Ok(());
            }
            last = Some((entry.key.to_vec(), entry.seq_no));
            visit(entry)
        });
        match visited {
            Ok(()) if is_ordered => {}
            Err(error) if !error.is_corrupt() => return Err(error),
            _ => lost.push(LostBlock {
                lower: lower.clone(),
                upper: block.last_key.to_vec(),
                seq_no_min: block.seq_no_min,
                seq_no_max: block.seq_no_max,
            }),
        }
        // Older versions of its last key may stand in the next block.
        lower = block.last_key.to_vec();
    }
    Ok(lost)
}
