//! Ranges as tables of their own: written out, and brought in.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use lsm_engine::{Db, ExportReport};

use super::{LOADED, Subject};
use crate::feature::Featured;
use crate::store::Result;
use crate::work::sequential_key;

/// The keyspace into which tables are brought.
const TARGET: &str = "brought in";

/// Exports of ranges of [`LOADED`] entries.
pub(super) struct Export<'a>(Subject<'a>, PathBuf);

impl<'a> Export<'a> {
    /// `path` is the store's; the tables lie beside it.
    pub(super) fn new(subject: Subject<'a>, path: &Path) -> Self {
        Self(subject, path.with_extension("exported"))
    }
}

impl Featured for Export<'_> {
    fn prepare(&mut self) -> Result<()> {
        fill(&mut self.0)?;
        remove(&self.1)
    }

    fn operate(&mut self, number: u64) -> Result<u64> {
        let ranges = ranges(self.0.entries);
        let report = export(self.0.db, number / LOADED % ranges, &self.1)?;
        remove(&self.1)?;
        Ok(report.entries)
    }
}

/// The tables of such exports, brought into another keyspace one range after the other.
pub(super) struct Import<'a>(Subject<'a>, PathBuf);

impl<'a> Import<'a> {
    /// `path` is the store's; the tables lie beside it.
    pub(super) fn new(subject: Subject<'a>, path: &Path) -> Self {
        Self(subject, path.with_extension("exported"))
    }

    fn dir(&self, range: u64) -> PathBuf {
        self.1.join(range.to_string())
    }
}

impl Featured for Import<'_> {
    fn prepare(&mut self) -> Result<()> {
        fill(&mut self.0)?;
        remove(&self.1)?;
        for range in 0..ranges(self.0.entries) {
            export(self.0.db, range, &self.dir(range))?;
        }
        Ok(())
    }

    fn operate(&mut self, number: u64) -> Result<u64> {
        let range = number / LOADED % ranges(self.0.entries);
        let db = self.0.db;
        if range == 0 {
            // All are there: begin anew, with nothing below.
            db.drop_keyspace(db.keyspace(TARGET)?)?;
        }
        let mut tables = Vec::new();
        for file in fs::read_dir(self.dir(range))? {
            let path = file?.path();
            tables.extend(path.extension().is_some_and(|it| it == "sst").then_some(path));
        }
        Ok(db.keyspace(TARGET)?.ingest_tables(tables)?.entries)
    }
}

fn fill(subject: &mut Subject<'_>) -> Result<()> {
    let Subject { db, entries, values, .. } = subject;
    let entries = ranges(*entries) * LOADED;
    (0..entries).try_for_each(|number| db.put(sequential_key(number), values.next()))?;
    Ok(db.settle()?)
}

/// Whole ranges among `entries`; at least one.
fn ranges(entries: u64) -> u64 {
    (entries / LOADED).max(1)
}

fn export(db: &Db, range: u64, dir: &Path) -> Result<ExportReport> {
    let (lower, upper) = (range * LOADED, (range + 1) * LOADED);
    let report = db.default_keyspace().export(sequential_key(lower)..sequential_key(upper), dir)?;
    if report.entries == LOADED {
        Ok(report)
    } else {
        Err(format!("{} entries of {LOADED} were exported", report.entries).into())
    }
}

fn remove(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}
