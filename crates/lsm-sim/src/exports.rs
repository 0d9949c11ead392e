//! Ranges written as tables beside the database, read there without the engine, and brought in again.
//!
//! An export holds what a reader sees at its moment: values without the operands that they are made of,
//! each with its expiry. A value with operands over one that expires has none, as it is the operands' as
//! well. The directory is there, whole and for good, once the engine says so; after a crash before that it
//! is there whole, or not at all.

use std::path::PathBuf;
use std::sync::Arc;

use lsm_engine::Durability;
use lsm_entry::Cursor;
use lsm_io::OpenMode;
use lsm_manifest::{FileKind, parse_file_name};
use lsm_sstable::{BlockCache, ReadMode, Table};

use crate::data::{Held, NEVER_MS, is_value, key_at, key_bytes, keys_between, rank};
use crate::model::Model;
use crate::op::Op;
use crate::world::{Stop, World};

/// Exports that are made at most.
const EXPORTS: usize = 3;
/// Blocks of a table beside the database are read once.
const CACHE_BYTES: u64 = 64 << 10;

/// What an export holds: values by key, in the order of the keys.
pub type Exported = Vec<(u16, Held)>;

impl Model {
    /// What an export of a range holds that shows the present.
    fn exported(&self, keyspace: u8, from: u16, to: Option<u16>) -> Exported {
        let cells = &self.state[usize::from(keyspace)];
        let held = |key: &u16| {
            let held = cells[rank(*key)].held()?;
            let value = held.at(self.time_ms)?;
            let expires_at_ms = if held.later.is_some() { NEVER_MS } else { held.expires_at_ms };
            Some((*key, Held { value, expires_at_ms, later: None }))
        };
        keys_between(from, to).iter().filter_map(held).collect()
    }
}

impl World {
    /// An [`Export`](Op::Export).
    pub(crate) fn export(&mut self, op: &Op, model: &mut Model) -> Result<(), Stop> {
        let &Op::Export { keyspace, from, to } = op else { return Ok(()) };
        if model.exports.len() == EXPORTS {
            return Ok(());
        }
        self.before_reading(model)?;
        let Some(handle) = self.keyspace(keyspace) else { return Ok(()) };
        model.seen_through(self.db().visible_seq_no());
        let expected = model.exported(keyspace, from, to);
        model.export_in_doubt = Some(expected.clone());
        let dir = self.export_dir(model.exports.len());
        let report = self.told(match to {
            Some(to) => handle.export(key_bytes(from)..key_bytes(to), &dir),
            None => handle.export(key_bytes(from).., &dir),
        })?;
        model.export_in_doubt = None;
        model.exports.push(expected);
        if report.tables != self.tables_of(model.exports.len() - 1)? {
            return Err(Stop::Wrong(format!("told are the tables {:?}", report.tables)));
        }
        self.check_export(model.exports.len() - 1, model)
    }

    /// An [`IngestTables`](Op::IngestTables).
    pub(crate) fn ingest_tables(&mut self, op: &Op, model: &mut Model) -> Result<(), Stop> {
        let &Op::IngestTables { export, keyspace } = op else { return Ok(()) };
        let Some(exported) = model.exports.get(usize::from(export)) else { return Ok(()) };
        let Some(handle) = self.keyspace(keyspace) else { return Ok(()) };
        let tables = self.tables_of(usize::from(export))?;
        if tables.is_empty() {
            return Ok(());
        }
        let brought = handle.ingest_tables(&tables).map(|report| report.seq_no);
        let stamped = exported.iter().map(|(key, held)| (keyspace, *key, Some(*held))).collect();
        let seq_no = self.given(brought, model, |model, seq_no| {
            model.append_stamped(stamped, seq_no, Durability::Disk);
        })?;
        model.feed.note_ingest();
        self.check_visible(seq_no)
    }

    fn export_dir(&self, number: usize) -> PathBuf {
        self.place.beside(&format!("export-{number}"))
    }

    /// The tables of an export, in the order of their names.
    fn tables_of(&self, number: usize) -> Result<Vec<PathBuf>, Stop> {
        let dir = self.export_dir(number);
        let mut names: Vec<String> = self
            .told(self.place.fs().list(&dir).map_err(Into::into))?
            .into_iter()
            .map(|entry| entry.name)
            .filter(|name| parse_file_name(name).0 == FileKind::Table)
            .collect();
        names.sort();
        Ok(names.iter().map(|name| dir.join(name)).collect())
    }

    /// Every export that was made is there after a crash. One that was not made yet is whole, or not
    /// there at all.
    pub(crate) fn check_exports(&self, model: &mut Model) -> Result<(), Stop> {
        let number = model.exports.len();
        let is_there = self.place.fs().exists(&self.export_dir(number));
        let is_there = self.told(is_there.map_err(Into::into))?;
        match model.export_in_doubt.take() {
            Some(exported) if is_there => model.exports.push(exported),
            None if is_there => {
                return Err(Stop::Wrong("there is an export that nobody made".into()));
            }
            _ => {}
        }
        (0..model.exports.len()).try_for_each(|number| self.check_export(number, model))
    }

    /// Reads an export without the engine.
    fn check_export(&self, number: usize, model: &Model) -> Result<(), Stop> {
        let mut expected = model.exports[number].iter();
        for path in self.tables_of(number)? {
            let table = self.told(self.open_table(&path).map_err(Into::into))?;
            let mut cursor = table.cursor();
            self.told(cursor.seek_first().map_err(Into::into))?;
            while let Some(entry) = cursor.entry() {
                let is_it = |(key, held): &(u16, Held)| {
                    key_at(rank(*key)) == entry.key
                        && is_value(held.value, entry.user_value())
                        && entry.expires_at_ms().unwrap_or(NEVER_MS) == held.expires_at_ms
                };
                let next = expected.next();
                if !next.is_some_and(is_it) {
                    let wrong = format!("export {number} holds {entry:?} instead of {next:?}");
                    return Err(Stop::Wrong(wrong));
                }
                self.told(cursor.next().map_err(Into::into))?;
            }
        }
        match expected.next() {
            None => Ok(()),
            next => Err(Stop::Wrong(format!("export {number} lacks {next:?}"))),
        }
    }

    fn open_table(&self, path: &std::path::Path) -> lsm_io::Result<Arc<Table>> {
        let file = self.place.fs().open(path, OpenMode::Read)?;
        let (identity, bytes) = (Table::read_identity(&file)?, file.len()?);
        let mode = ReadMode::Cached(BlockCache::new(CACHE_BYTES));
        let table = Table::open(file, identity, bytes, mode)?;
        table.verify()?;
        Ok(table)
    }
}
