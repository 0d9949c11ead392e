//! RocksDB, in C++: the log-structured merge tree that the others are measured by.
//!
//! Settings that are not its defaults: memtable and cache as for every engine, up to four
//! memtables; two threads that compact and one that flushes; full filters of 10 bits a key; the
//! clock cache, which scales better than the default one; a hash index inside data blocks, which
//! point reads gain from; subcompactions, so that both cores merge; writeback every MiB, so that
//! syncs do not pile up. Indexes and filters are held in memory outside the cache, its default.

use std::time::Duration;

use ::rocksdb::{
    BlockBasedOptions, Cache, DB, DBCompressionType, DataBlockIndexType, Options, ReadOptions,
    WaitForCompactOptions, WriteBatch, WriteOptions,
};
use lsm_bench::store::{
    Durability, Engine, Key, Range, Result, Seen, Settings, Store, upper_of_prefix,
};

/// RocksDB.
pub(crate) const ENGINE: Engine = Engine { name: "rocksdb", is_lsm: true, open, settings };

const TABLE_BYTES: u64 = 64 << 20;
/// Of these a quarter, at least one, flush; the others compact.
const BACKGROUND_JOBS: i32 = 3;
const MEMTABLES: i32 = 4;

struct RocksDb {
    db: DB,
    write_options: WriteOptions,
}

fn open(settings: &Settings) -> Result<Box<dyn Store>> {
    let db = DB::open(&options(settings)?, &settings.path)?;
    let mut write_options = WriteOptions::default();
    write_options.set_sync(settings.durability == Durability::Disk);
    Ok(Box::new(RocksDb { db, write_options }))
}

fn options(settings: &Settings) -> Result<Options> {
    let mut blocks = BlockBasedOptions::default();
    // An entry charge of 0: the cache finds out for itself.
    blocks.set_block_cache(&Cache::new_hyper_clock_cache(settings.cache_bytes.try_into()?, 0));
    blocks.set_block_size(4096);
    blocks.set_bloom_filter(10.0, false);
    blocks.set_data_block_index_type(DataBlockIndexType::BinaryAndHash);
    blocks.set_data_block_hash_ratio(0.75);
    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_block_based_table_factory(&blocks);
    options.set_write_buffer_size(settings.memtable_bytes.try_into()?);
    options.set_max_write_buffer_number(MEMTABLES);
    options.set_max_background_jobs(BACKGROUND_JOBS);
    options.set_max_subcompactions(2);
    options.set_target_file_size_base(TABLE_BYTES);
    options.set_bytes_per_sync(1 << 20);
    options.set_max_open_files(-1);
    options.set_recycle_log_file_num(4);
    options.set_manual_wal_flush(settings.durability == Durability::Memory);
    if settings.lz4 {
        let mut levels = [DBCompressionType::Lz4; 7];
        levels[0] = DBCompressionType::None;
        options.set_compression_per_level(&levels);
    } else {
        options.set_compression_type(DBCompressionType::None);
    }
    Ok(options)
}

fn settings(settings: &Settings) -> String {
    format!(
        "11.8: memtable {} MiB, at most {MEMTABLES}, clock cache {} MiB, {BACKGROUND_JOBS} \
         background jobs, 2 subcompactions, filter 10 bits, 4 KiB blocks with hash index, leveled \
         (dynamic) with 64 MiB tables, recycled logs, lz4 below level 0: {}",
        settings.memtable_bytes >> 20,
        settings.cache_bytes >> 20,
        if settings.lz4 { "yes" } else { "no" },
    )
}

impl Store for RocksDb {
    fn put(&self, key: &[u8], value: &[u8]) -> Result<()> {
        Ok(self.db.put_opt(key, value, &self.write_options)?)
    }

    fn put_batch(&self, entries: &[(Key, Vec<u8>)]) -> Result<()> {
        let mut batch = WriteBatch::default();
        entries.iter().for_each(|(key, value)| batch.put(key, value));
        Ok(self.db.write_opt(batch, &self.write_options)?)
    }

    fn delete(&self, key: &[u8]) -> Result<()> {
        Ok(self.db.delete_opt(key, &self.write_options)?)
    }

    fn get(&self, key: &[u8], seen: &mut Seen) -> Result<bool> {
        let value = self.db.get_pinned(key)?;
        if let Some(value) = &value {
            seen.see(key, value);
        }
        Ok(value.is_some())
    }

    fn multi_get(&self, keys: &[Key], seen: &mut Seen) -> Result<u64> {
        let mut found = 0;
        for (key, value) in keys.iter().zip(self.db.multi_get(keys)) {
            if let Some(value) = value? {
                seen.see(key, &value);
                found += 1;
            }
        }
        Ok(found)
    }

    fn scan(&self, range: Range<'_>, seen: &mut Seen) -> Result<()> {
        let mut read_options = ReadOptions::default();
        if let Range::Prefix(prefix) = range
            && let Some(upper) = upper_of_prefix(prefix)
        {
            read_options.set_iterate_upper_bound(upper);
        }
        let mut entries = self.db.raw_iterator_opt(read_options);
        match range {
            Range::Forward => entries.seek_to_first(),
            Range::Backward => entries.seek_to_last(),
            Range::From(key, _) | Range::Prefix(key) => entries.seek(key),
        }
        let mut left = if let Range::From(_, count) = range { count } else { u64::MAX };
        while left > 0
            && let Some((key, value)) = entries.item()
        {
            seen.see(key, value);
            left -= 1;
            if matches!(range, Range::Backward) {
                entries.prev();
            } else if left > 0 {
                entries.next();
            }
        }
        Ok(entries.status()?)
    }

    fn settle(&self) -> Result<Duration> {
        self.db.flush()?;
        self.db.wait_for_compact(&WaitForCompactOptions::default())?;
        Ok(Duration::ZERO)
    }

    fn close(self: Box<Self>) -> Result<()> {
        // Dropping is its way to close.
        Ok(())
    }
}
