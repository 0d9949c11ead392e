//! This repository's store.

mod features;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::Duration;

use lsm_engine::{
    Compression, Db, Durability, KeyspaceOptions, Options, ReadMode, Reads, Ticket, WriteBatch,
};

use crate::feature::{Feature, Featured};
use crate::store::{self, Counted, Engine, Key, Pipeline, Range, Result, Seen, Settings, Store};

/// This repository's store with its default way to read: from mapped files.
pub(crate) const MAPPED: Engine = Engine {
    name: "lsm",
    is_lsm: true,
    open: |settings| open(settings, ReadMode::Mapped),
    settings: |settings| describe(settings, ReadMode::Mapped),
};

/// The same with blocks read into its cache, for those who fear a mapped file on a failing disk.
pub(crate) const CACHED: Engine = Engine {
    name: "lsm-cached",
    is_lsm: true,
    open: |settings| open(settings, ReadMode::Cached),
    settings: |settings| describe(settings, ReadMode::Cached),
};

struct Lsm(Db, PathBuf);

fn open(settings: &Settings, read_mode: ReadMode) -> Result<Box<dyn Store>> {
    let db = Db::open_with(&settings.path, options(settings, read_mode))?;
    Ok(Box::new(Lsm(db, settings.path.clone())))
}

fn options(settings: &Settings, read_mode: ReadMode) -> Options {
    let compression =
        if settings.lz4 { vec![Compression::None, Compression::Lz4] } else { Vec::new() };
    Options {
        // The budget covers both: the active memtable with sealed ones behind it, and the cache.
        memory_bytes: 4 * settings.memtable_bytes + settings.cache_bytes,
        memtable_bytes: Some(settings.memtable_bytes),
        cache_bytes: Some(settings.cache_bytes),
        durability: match settings.durability {
            store::Durability::Memory => Durability::Memory,
            store::Durability::Os => Durability::Os,
            store::Durability::Disk => Durability::Disk,
        },
        read_mode,
        keyspace: KeyspaceOptions { compression, ..KeyspaceOptions::default() },
        ..Options::default()
    }
}

fn describe(settings: &Settings, read_mode: ReadMode) -> String {
    let options = options(settings, read_mode);
    format!(
        "{}: memtable {} MiB, cache {} MiB, {:?} tables, {} threads that compact and one that \
         flushes, filter 10 bits, 4 KiB blocks, lz4 below level 0: {}",
        env!("CARGO_PKG_VERSION"),
        options.effective_memtable_bytes() >> 20,
        options.effective_cache_bytes() >> 20,
        options.read_mode,
        options.background_threads,
        if settings.lz4 { "yes" } else { "no" },
    )
}

impl Store for Lsm {
    fn put(&self, key: &[u8], value: &[u8]) -> Result<()> {
        Ok(self.0.put(key, value)?)
    }

    fn put_batch(&self, entries: &[(Key, Vec<u8>)]) -> Result<()> {
        let mut batch = WriteBatch::new();
        entries.iter().for_each(|(key, value)| batch.put(key, value));
        Ok(self.0.write(&batch)?)
    }

    fn delete(&self, key: &[u8]) -> Result<()> {
        Ok(self.0.delete(key)?)
    }

    fn get(&self, key: &[u8], seen: &mut Seen) -> Result<bool> {
        Ok(self.0.get_with(key, |value| seen.see(key, value))?.is_some())
    }

    fn multi_get(&self, keys: &[Key], seen: &mut Seen) -> Result<u64> {
        let mut found = 0;
        for (key, value) in keys.iter().zip(self.0.multi_get(keys)?) {
            if let Some(value) = value {
                seen.see(key, &value);
                found += 1;
            }
        }
        Ok(found)
    }

    fn scan(&self, range: Range<'_>, seen: &mut Seen) -> Result<()> {
        let mut cursor = self.0.cursor();
        match range {
            Range::Forward => {
                cursor.seek_first()?;
                while let Some((key, value)) = cursor.entry() {
                    seen.see(key, value);
                    cursor.next()?;
                }
            }
            Range::Backward => {
                cursor.seek_last()?;
                while let Some((key, value)) = cursor.entry() {
                    seen.see(key, value);
                    cursor.prev()?;
                }
            }
            Range::From(from, count) => {
                cursor.seek(from)?;
                for left in (0..count).rev() {
                    let Some((key, value)) = cursor.entry() else { break };
                    seen.see(key, value);
                    if left > 0 {
                        cursor.next()?;
                    }
                }
            }
            Range::Prefix(prefix) => {
                cursor.seek(prefix)?;
                while let Some((key, value)) = cursor.entry().filter(|(k, _)| k.starts_with(prefix))
                {
                    seen.see(key, value);
                    cursor.next()?;
                }
            }
        }
        Ok(())
    }

    fn pipeline(&self, in_flight: usize) -> Option<Box<dyn Pipeline + '_>> {
        let (tickets, batch) = (VecDeque::with_capacity(in_flight), WriteBatch::new());
        Some(Box::new(Tickets { db: &self.0, in_flight, tickets, batch }))
    }

    fn feature(
        &self,
        feature: Feature,
        entries: u64,
        value_bytes: usize,
    ) -> Result<Option<Box<dyn Featured + '_>>> {
        features::featured(&self.0, &self.1, feature, entries, value_bytes).map(Some)
    }

    fn settle(&self) -> Result<Duration> {
        self.0.settle()?;
        Ok(Duration::ZERO)
    }

    fn offers(&self, _row: &str) -> bool {
        true
    }

    fn compact(&self) -> Result<()> {
        Ok(self.0.compact_range::<&[u8]>(..)?)
    }

    fn counted(&self) -> Counted {
        let metrics = self.0.metrics();
        let tables = metrics.flush_bytes_written + metrics.compaction_bytes_written;
        Counted {
            bytes_written: Some(metrics.log_bytes_written + tables),
            table_bytes: Some(metrics.table_bytes()),
            tables: Some(metrics.levels.iter().map(|level| level.tables as u64).sum()),
            memory_bytes: Some(metrics.memory.total_bytes()),
        }
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(self.0.close()?)
    }
}

struct Tickets<'a> {
    db: &'a Db,
    in_flight: usize,
    tickets: VecDeque<Ticket>,
    batch: WriteBatch,
}

impl Pipeline for Tickets<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        if self.tickets.len() == self.in_flight
            && let Some(oldest) = self.tickets.pop_front()
        {
            oldest.wait()?;
        }
        self.batch.clear();
        self.batch.put(key, value);
        self.tickets.push_back(self.db.write_async(&self.batch)?);
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        self.tickets.drain(..).try_for_each(|ticket| ticket.wait().map(drop))?;
        Ok(())
    }
}
