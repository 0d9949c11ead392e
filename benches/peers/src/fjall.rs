//! fjall: a log-structured merge tree.
//!
//! Settings that are not its defaults: memtable and cache as for every engine; as many workers as
//! the others have threads that flush and compact; filters and indexes always in memory; 10 filter
//! bits a key on every level. Puts that are not durable leave the log's buffer with each write, as
//! its default is; durable ones are appended and then synced with `SyncData`, which is enough.

use std::sync::Arc;
use std::time::Duration;

use ::fjall::compaction::Leveled;
use ::fjall::config::{
    BlockSizePolicy, BloomConstructionPolicy, CompressionPolicy, FilterPolicy, FilterPolicyEntry,
    PinningPolicy,
};
use ::fjall::{CompressionType, Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use lsm_bench::store::{Durability, Engine, Key, Range, Result, Seen, Settings, Store};
use lsm_bench::wait_until_quiet;

/// fjall.
pub(crate) const ENGINE: Engine = Engine { name: "fjall", is_lsm: true, open, settings };

const TABLE_BYTES: u64 = 64 << 20;
const WORKERS: usize = 3;

struct Fjall {
    db: Database,
    keyspace: Keyspace,
    is_durable: bool,
}

fn open(settings: &Settings) -> Result<Box<dyn Store>> {
    let db = Database::builder(&settings.path)
        .cache_size(settings.cache_bytes)
        .worker_threads(WORKERS)
        .open()?;
    let filter = FilterPolicyEntry::Bloom(BloomConstructionPolicy::BitsPerKey(10.0));
    let compression = if settings.lz4 {
        CompressionPolicy::new([CompressionType::None, CompressionType::Lz4])
    } else {
        CompressionPolicy::disabled()
    };
    let keyspace = db.keyspace("default", || {
        KeyspaceCreateOptions::default()
            .max_memtable_size(settings.memtable_bytes)
            .data_block_size_policy(BlockSizePolicy::all(4096))
            .data_block_compression_policy(compression.clone())
            .filter_policy(FilterPolicy::all(filter))
            .filter_block_pinning_policy(PinningPolicy::all(true))
            .index_block_pinning_policy(PinningPolicy::all(true))
            .compaction_strategy(Arc::new(Leveled::default().with_table_target_size(TABLE_BYTES)))
            .manual_journal_persist(settings.durability != Durability::Os)
    })?;
    Ok(Box::new(Fjall { db, keyspace, is_durable: settings.durability == Durability::Disk }))
}

fn settings(settings: &Settings) -> String {
    format!(
        "3.1: memtable {} MiB, cache {} MiB with filters and indexes pinned, {WORKERS} workers, \
         filter 10 bits, 4 KiB blocks, leveled with 64 MiB tables, lz4 below level 0: {}; durable \
         by SyncData",
        settings.memtable_bytes >> 20,
        settings.cache_bytes >> 20,
        if settings.lz4 { "yes" } else { "no" },
    )
}

impl Fjall {
    fn make_durable(&self) -> Result<()> {
        if self.is_durable {
            self.db.persist(PersistMode::SyncData)?;
        }
        Ok(())
    }
}

impl Store for Fjall {
    fn put(&self, key: &[u8], value: &[u8]) -> Result<()> {
        self.keyspace.insert(key, value)?;
        self.make_durable()
    }

    fn put_batch(&self, entries: &[(Key, Vec<u8>)]) -> Result<()> {
        let mode = if self.is_durable { PersistMode::SyncData } else { PersistMode::Buffer };
        let mut batch = self.db.batch().durability(Some(mode));
        for (key, value) in entries {
            batch.insert(&self.keyspace, &key[..], &value[..]);
        }
        Ok(batch.commit()?)
    }

    fn delete(&self, key: &[u8]) -> Result<()> {
        self.keyspace.remove(key)?;
        self.make_durable()
    }

    fn get(&self, key: &[u8], seen: &mut Seen) -> Result<bool> {
        let value = self.keyspace.get(key)?;
        if let Some(value) = &value {
            seen.see(key, value);
        }
        Ok(value.is_some())
    }

    fn scan(&self, range: Range<'_>, seen: &mut Seen) -> Result<()> {
        let entries: &mut dyn Iterator<Item = ::fjall::Guard> = match range {
            Range::Forward => &mut self.keyspace.iter(),
            Range::Backward => &mut self.keyspace.iter().rev(),
            Range::From(from, count) => &mut self.keyspace.range(from..).take(count as usize),
            Range::Prefix(prefix) => &mut self.keyspace.prefix(prefix),
        };
        for entry in entries {
            let (key, value) = entry.into_inner()?;
            seen.see(&key, &value);
        }
        Ok(())
    }

    fn settle(&self) -> Result<Duration> {
        self.keyspace.rotate_memtable_and_wait()?;
        // What is queued but not yet begun is not counted, so quiet has to last.
        let is_busy = || self.db.outstanding_flushes() > 0 || self.db.active_compactions() > 0;
        Ok(wait_until_quiet(is_busy))
    }

    fn close(self: Box<Self>) -> Result<()> {
        // Dropping is its way to close.
        Ok(())
    }
}
