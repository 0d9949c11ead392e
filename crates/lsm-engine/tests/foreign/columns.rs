//! The database behind their trait: a column is a keyspace.

use std::io;
use std::path::Path;
use std::sync::Mutex;

use kvdb::{DBKeyValue, DBOp, DBTransaction, DBValue, IoStats, IoStatsKind, KeyValueDB};
use lsm_engine::{Db, Iter, Keyspace, Reads, WriteBatch};

/// A database with numbered columns.
pub(crate) struct Columns {
    db: Db,
    columns: Vec<Keyspace>,
    counts: Mutex<Counts>,
}

/// What was counted since the opening, and since somebody last asked.
struct Counts {
    overall: IoStats,
    since_previous: IoStats,
}

impl Columns {
    pub(crate) fn open(dir: &Path, columns: u32) -> io::Result<Self> {
        let db = Db::open(dir).map_err(io::Error::other)?;
        let columns = (0..columns).map(|number| db.keyspace(&format!("column-{number}")));
        let columns = columns.collect::<Result<_, _>>().map_err(io::Error::other)?;
        let counts = Counts { overall: IoStats::empty(), since_previous: IoStats::empty() };
        Ok(Self { db, columns, counts: Mutex::new(counts) })
    }

    fn column(&self, number: u32) -> io::Result<&Keyspace> {
        let column = self.columns.get(number as usize);
        column.ok_or_else(|| io::Error::other(format!("there is no column {number}")))
    }

    fn count(&self, count: impl Fn(&mut IoStats)) {
        let mut counts = self.counts.lock().expect("no test panicked");
        count(&mut counts.overall);
        count(&mut counts.since_previous);
    }

    fn entries(
        &self,
        column: u32,
        prefix: &[u8],
    ) -> Box<dyn Iterator<Item = io::Result<DBKeyValue>>> {
        match self.column(column) {
            Ok(column) => Box::new(owned(column.prefix(prefix))),
            Err(error) => Box::new(std::iter::once(Err(error))),
        }
    }
}

fn owned(entries: Iter) -> impl Iterator<Item = io::Result<DBKeyValue>> {
    entries.map(|entry| {
        let (key, value) = entry.map_err(io::Error::other)?;
        Ok((key.to_vec().into(), value.to_vec()))
    })
}

impl KeyValueDB for Columns {
    fn get(&self, column: u32, key: &[u8]) -> io::Result<Option<DBValue>> {
        let value = self.column(column)?.get(key).map_err(io::Error::other)?;
        let bytes = key.len() + value.as_ref().map_or(0, |value| value.len());
        self.count(|counts| {
            counts.reads += 1;
            counts.bytes_read += bytes as u64;
        });
        Ok(value.map(|value| value.to_vec()))
    }

    fn get_by_prefix(&self, column: u32, prefix: &[u8]) -> io::Result<Option<DBValue>> {
        let first = self.entries(column, prefix).next().transpose()?;
        Ok(first.map(|(_, value)| value))
    }

    fn write(&self, transaction: DBTransaction) -> io::Result<()> {
        let mut batch = WriteBatch::new();
        let (mut writes, mut bytes) = (0, 0);
        for op in &transaction.ops {
            let column = self.column(op.col())?;
            let mut within = batch.within(column);
            match op {
                DBOp::Insert { key, value, .. } => {
                    within.put(key, value);
                    bytes += key.len() + value.len();
                    writes += 1;
                }
                DBOp::Delete { key, .. } => {
                    within.delete(key);
                    writes += 1;
                }
                DBOp::DeletePrefix { prefix, .. } => {
                    for entry in column.prefix(prefix) {
                        within.delete(entry.map_err(io::Error::other)?.0);
                        writes += 1;
                    }
                }
            }
        }
        self.db.write(&batch).map_err(io::Error::other)?;
        self.count(|counts| {
            counts.transactions += 1;
            counts.writes += writes;
            counts.bytes_written += bytes as u64;
        });
        Ok(())
    }

    fn iter<'a>(&'a self, column: u32) -> Box<dyn Iterator<Item = io::Result<DBKeyValue>> + 'a> {
        self.entries(column, b"")
    }

    fn iter_with_prefix<'a>(
        &'a self,
        column: u32,
        prefix: &'a [u8],
    ) -> Box<dyn Iterator<Item = io::Result<DBKeyValue>> + 'a> {
        self.entries(column, prefix)
    }

    fn io_stats(&self, kind: IoStatsKind) -> IoStats {
        let mut counts = self.counts.lock().expect("no test panicked");
        match kind {
            IoStatsKind::Overall => counts.overall.clone(),
            IoStatsKind::SincePrevious => {
                std::mem::replace(&mut counts.since_previous, IoStats::empty())
            }
        }
    }
}
