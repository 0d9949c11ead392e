//! surrealkv: a log-structured merge tree whose commits are asynchronous.
//!
//! Settings that are not its defaults: memtable and cache as for every engine; 4 KiB blocks, since
//! its 64 KiB would make every point read of this work several times slower; zeros written ahead in
//! the log, which makes durable commits faster. It has no lz4, so it uses Snappy where the others
//! use lz4. Each client thread waits for its commit by `block_on`, with a runtime of two workers.

use std::time::Duration;

use ::surrealkv::{Error, LSMIterator, Mode, Options, Transaction, Tree, TreeBuilder};
use lsm_bench::store::{Durability, Engine, Key, Range, Result, Seen, Settings, Store};
use lsm_bench::wait_until_quiet;
use tokio::runtime::{Builder, Runtime};

/// surrealkv.
pub(crate) const ENGINE: Engine = Engine { name: "surrealkv", is_lsm: true, open, settings };

struct SurrealKv {
    runtime: Runtime,
    tree: Tree,
    durability: ::surrealkv::Durability,
}

fn open(settings: &Settings) -> Result<Box<dyn Store>> {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let options = Options::new()
        .with_path(settings.path.clone())
        .with_block_size(4096)
        .with_max_memtable_size(usize::try_from(settings.memtable_bytes)?)
        .with_block_cache_capacity(settings.cache_bytes)
        .with_wal_preallocation(true);
    let options =
        if settings.lz4 { options.with_l0_no_compression() } else { options.without_compression() };
    let tree = {
        let _entered = runtime.enter();
        TreeBuilder::with_options(options).build()?
    };
    let durability = match settings.durability {
        Durability::Disk => ::surrealkv::Durability::Immediate,
        _ => ::surrealkv::Durability::Eventual,
    };
    Ok(Box::new(SurrealKv { runtime, tree, durability }))
}

fn settings(settings: &Settings) -> String {
    format!(
        "1.2: memtable {} MiB, cache {} MiB, filter 10 bits, 4 KiB blocks, leveled with 64 MiB \
         tables, zeros written ahead in the log, 2 runtime workers, Snappy (it has no lz4) below \
         level 0: {}",
        settings.memtable_bytes >> 20,
        settings.cache_bytes >> 20,
        if settings.lz4 { "yes" } else { "no" },
    )
}

impl SurrealKv {
    fn write(&self, change: impl Fn(&mut Transaction) -> Result<()>) -> Result<()> {
        loop {
            let mut transaction = self.tree.begin_with_mode(Mode::WriteOnly)?;
            transaction.set_durability(self.durability);
            change(&mut transaction)?;
            match self.runtime.block_on(transaction.commit()) {
                // Two threads wrote a key at once; the loser is told to try again.
                Err(Error::TransactionWriteConflict | Error::TransactionRetry) => {}
                committed => return Ok(committed?),
            }
        }
    }
}

impl Store for SurrealKv {
    fn put(&self, key: &[u8], value: &[u8]) -> Result<()> {
        self.write(|transaction| Ok(transaction.set(key, value)?))
    }

    fn put_batch(&self, entries: &[(Key, Vec<u8>)]) -> Result<()> {
        self.write(|transaction| {
            entries.iter().try_for_each(|(key, value)| transaction.set(key, value))?;
            Ok(())
        })
    }

    fn delete(&self, key: &[u8]) -> Result<()> {
        self.write(|transaction| Ok(transaction.delete(key)?))
    }

    fn get(&self, key: &[u8], seen: &mut Seen) -> Result<bool> {
        let value = self.tree.begin_with_mode(Mode::ReadOnly)?.get(key)?;
        if let Some(value) = &value {
            seen.see(key, value);
        }
        Ok(value.is_some())
    }

    fn multi_get(&self, keys: &[Key], seen: &mut Seen) -> Result<u64> {
        let transaction = self.tree.begin_with_mode(Mode::ReadOnly)?;
        let mut found = 0;
        for key in keys {
            if let Some(value) = transaction.get(key)? {
                seen.see(key, &value);
                found += 1;
            }
        }
        Ok(found)
    }

    fn scan(&self, range: Range<'_>, seen: &mut Seen) -> Result<()> {
        let transaction = self.tree.begin_with_mode(Mode::ReadOnly)?;
        match range {
            Range::Forward => {
                let mut entries = transaction.iter()?;
                entries.seek_first()?;
                while entries.valid() {
                    seen.see(entries.key().user_key(), &entries.value_ref()?);
                    entries.next()?;
                }
            }
            Range::Backward => {
                let mut entries = transaction.iter()?;
                entries.seek_last()?;
                while entries.valid() {
                    seen.see(entries.key().user_key(), &entries.value_ref()?);
                    entries.prev()?;
                }
            }
            Range::From(from, count) => {
                let mut entries = transaction.scan(from..)?;
                entries.seek_first()?;
                for left in (0..count).rev() {
                    if !entries.valid() {
                        break;
                    }
                    seen.see(entries.key().user_key(), &entries.value_ref()?);
                    if left > 0 {
                        entries.next()?;
                    }
                }
            }
            Range::Prefix(prefix) => {
                let mut entries = transaction.scan(prefix..)?;
                entries.seek_first()?;
                while entries.valid() && entries.key().user_key().starts_with(prefix) {
                    seen.see(entries.key().user_key(), &entries.value_ref()?);
                    entries.next()?;
                }
            }
        }
        Ok(())
    }

    fn settle(&self) -> Result<Duration> {
        // It offers no way to ask whether its background work is done.
        Ok(wait_until_quiet(|| false))
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(self.runtime.block_on(self.tree.close())?)
    }
}
