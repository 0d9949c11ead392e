//! redb: a copy-on-write B-tree in one file, one writer at a time, no log.
//!
//! Its cache is what the others have as theirs. It has nothing that survives a killed process
//! without a sync, so the rows that ask for that commit without durability and sync every 20,000
//! commits: more often would be unfair to its speed, never would let the file grow without bound.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ::redb::{
    Database, ReadOnlyTable, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction,
};
use lsm_bench::store::{self, Engine, Key, Range, Result, Seen, Settings, Store};

/// redb.
pub(crate) const ENGINE: Engine = Engine { name: "redb", is_lsm: false, open, settings };

const ENTRIES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("entries");
const COMMITS_PER_SYNC: u64 = 20_000;

struct Redb {
    db: Database,
    is_durable: bool,
    commits: AtomicU64,
}

fn open(settings: &Settings) -> Result<Box<dyn Store>> {
    let mut builder = Database::builder();
    builder.set_cache_size(usize::try_from(settings.cache_bytes)?);
    let db = builder.create(settings.path.join("redb"))?;
    let transaction = db.begin_write()?;
    transaction.open_table(ENTRIES)?;
    transaction.commit()?;
    let is_durable = settings.durability == store::Durability::Disk;
    Ok(Box::new(Redb { db, is_durable, commits: AtomicU64::new(0) }))
}

fn settings(settings: &Settings) -> String {
    format!(
        "4: cache {} MiB, no compression, checksums not checked on reads; unless durable, one \
         commit in {COMMITS_PER_SYNC} is (a killed process loses those since)",
        settings.cache_bytes >> 20,
    )
}

impl Redb {
    fn write(&self, change: impl FnOnce(&WriteTransaction) -> Result<()>) -> Result<()> {
        let mut transaction = self.db.begin_write()?;
        let number = self.commits.fetch_add(1, Ordering::Relaxed) + 1;
        if !self.is_durable && !number.is_multiple_of(COMMITS_PER_SYNC) {
            transaction.set_durability(::redb::Durability::None)?;
        }
        change(&transaction)?;
        Ok(transaction.commit()?)
    }

    fn table(&self) -> Result<ReadOnlyTable<&'static [u8], &'static [u8]>> {
        Ok(self.db.begin_read()?.open_table(ENTRIES)?)
    }
}

impl Store for Redb {
    fn put(&self, key: &[u8], value: &[u8]) -> Result<()> {
        self.write(|transaction| {
            transaction.open_table(ENTRIES)?.insert(key, value)?;
            Ok(())
        })
    }

    fn put_batch(&self, entries: &[(Key, Vec<u8>)]) -> Result<()> {
        self.write(|transaction| {
            let mut table = transaction.open_table(ENTRIES)?;
            for (key, value) in entries {
                table.insert(&key[..], &value[..])?;
            }
            Ok(())
        })
    }

    fn delete(&self, key: &[u8]) -> Result<()> {
        self.write(|transaction| {
            transaction.open_table(ENTRIES)?.remove(key)?;
            Ok(())
        })
    }

    fn get(&self, key: &[u8], seen: &mut Seen) -> Result<bool> {
        let value = self.table()?.get(key)?;
        if let Some(value) = &value {
            seen.see(key, value.value());
        }
        Ok(value.is_some())
    }

    fn multi_get(&self, keys: &[Key], seen: &mut Seen) -> Result<u64> {
        let table = self.table()?;
        let mut found = 0;
        for key in keys {
            if let Some(value) = table.get(&key[..])? {
                seen.see(key, value.value());
                found += 1;
            }
        }
        Ok(found)
    }

    fn scan(&self, range: Range<'_>, seen: &mut Seen) -> Result<()> {
        let table = self.table()?;
        match range {
            Range::Forward => {
                for entry in table.iter()? {
                    let (key, value) = entry?;
                    seen.see(key.value(), value.value());
                }
            }
            Range::Backward => {
                for entry in table.iter()?.rev() {
                    let (key, value) = entry?;
                    seen.see(key.value(), value.value());
                }
            }
            Range::From(from, count) => {
                for entry in table.range::<&[u8]>(from..)?.take(count as usize) {
                    let (key, value) = entry?;
                    seen.see(key.value(), value.value());
                }
            }
            Range::Prefix(prefix) => {
                for entry in table.range::<&[u8]>(prefix..)? {
                    let (key, value) = entry?;
                    if !key.value().starts_with(prefix) {
                        break;
                    }
                    seen.see(key.value(), value.value());
                }
            }
        }
        Ok(())
    }

    fn settle(&self) -> Result<Duration> {
        // A durable commit makes all before it durable.
        self.db.begin_write()?.commit()?;
        Ok(Duration::ZERO)
    }

    fn close(self: Box<Self>) -> Result<()> {
        // Dropping is its way to close.
        Ok(())
    }
}
