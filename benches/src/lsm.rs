//! This repository's store.

use std::collections::VecDeque;

use lsm_engine::{
    Compression, Db, Durability, KeyspaceOptions, Options, Reads, Scan, Ticket, WriteBatch,
};

use crate::store::{self, Engine, Key, Pipeline, Range, Result, Seen, Settings, Store};

/// This repository's store.
pub const ENGINE: Engine = Engine { name: "lsm", open, settings };

struct Lsm(Db);

fn open(settings: &Settings) -> Result<Box<dyn Store>> {
    Ok(Box::new(Lsm(Db::open_with(&settings.path, options(settings))?)))
}

fn options(settings: &Settings) -> Options {
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
        keyspace: KeyspaceOptions { compression, ..KeyspaceOptions::default() },
        ..Options::default()
    }
}

fn settings(settings: &Settings) -> String {
    let options = options(settings);
    format!(
        "memtable {} MiB, cache {} MiB, {:?} tables, {} compaction threads, filter 10 bits, \
         lz4 below level 0: {}; uncompressed blocks are read from mapped files",
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
        let value = self.0.get(key)?;
        if let Some(value) = &value {
            seen.see(key, value);
        }
        Ok(value.is_some())
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
            Range::From(from, entries) => {
                cursor.seek(from)?;
                for _ in 0..entries {
                    let Some((key, value)) = cursor.entry() else { break };
                    seen.see(key, value);
                    cursor.next()?;
                }
            }
            Range::Prefix(prefix) => {
                // The iterator, as a user would write it.
                for entry in self.0.scan(Scan::prefix(prefix)) {
                    let (key, value) = entry?;
                    seen.see(&key, &value);
                }
            }
        }
        Ok(())
    }

    fn pipeline(&self, in_flight: usize) -> Option<Box<dyn Pipeline + '_>> {
        let (tickets, batch) = (VecDeque::with_capacity(in_flight), WriteBatch::new());
        Some(Box::new(Tickets { db: &self.0, in_flight, tickets, batch }))
    }

    fn settle(&self) -> Result<()> {
        Ok(self.0.settle()?)
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
