//! LMDB, through heed: a B-tree in a mapped file, one writer at a time, no log.
//!
//! It has no cache of its own; the page cache holds the file. Writes that survive a killed process
//! but not power loss use `WRITE_MAP + NO_SYNC`, its fastest mode: a power cut may then corrupt the
//! whole file, where a store with a log would lose the end of it. Durable writes use the default,
//! which writes pages and syncs them.
#![allow(unsafe_code)]

use std::ops::Bound;
use std::time::Duration;

use ::heed::types::Bytes;
use ::heed::{CommitOrAbort, Database, Env, EnvFlags, EnvOpenOptions};
use lsm_bench::store::{Durability, Engine, Key, Range, Result, Seen, Settings, Store};

/// LMDB.
pub(crate) const ENGINE: Engine = Engine { name: "lmdb", is_lsm: false, open, settings };

/// The most that the file may grow to; a hole until it is used.
const MAP_BYTES: usize = 32 << 30;

struct Lmdb {
    env: Env,
    entries: Database<'static, Bytes, Bytes>,
}

fn open(settings: &Settings) -> Result<Box<dyn Store>> {
    let mut options = EnvOpenOptions::new();
    options.map_size(MAP_BYTES).max_readers(126);
    if settings.durability != Durability::Disk {
        // SAFETY: these flags give up safety against power loss, which the rows that use them do
        // not ask for. Nothing here writes through a stray pointer into the map.
        unsafe { options.flags(EnvFlags::WRITE_MAP | EnvFlags::NO_SYNC) };
    }
    // SAFETY: the directory belongs to this measurement alone, so that nobody else changes the
    // mapped file, and it is opened once in this process.
    let env = unsafe { options.open(&settings.path)? };
    let created = env.create_databases_and_commit(env.write_txn()?, |databases, transaction| {
        databases.create_database(transaction, None).map(CommitOrAbort::<_, ()>::Commit)
    })?;
    let entries = created.unwrap_commit();
    Ok(Box::new(Lmdb { env, entries }))
}

fn settings(_: &Settings) -> String {
    "heed 0.23: no cache of its own, no checksums, no compression; WRITE_MAP + NO_SYNC unless \
     durable (a power cut may corrupt it), the default modes when durable; borrowed reads"
        .to_owned()
}

impl Store for Lmdb {
    fn put(&self, key: &[u8], value: &[u8]) -> Result<()> {
        let mut transaction = self.env.write_txn()?;
        self.entries.put(&mut transaction, key, value)?;
        Ok(transaction.commit()?)
    }

    fn put_batch(&self, entries: &[(Key, Vec<u8>)]) -> Result<()> {
        let mut transaction = self.env.write_txn()?;
        for (key, value) in entries {
            self.entries.put(&mut transaction, key, value)?;
        }
        Ok(transaction.commit()?)
    }

    fn delete(&self, key: &[u8]) -> Result<()> {
        let mut transaction = self.env.write_txn()?;
        self.entries.delete(&mut transaction, key)?;
        Ok(transaction.commit()?)
    }

    fn get(&self, key: &[u8], seen: &mut Seen) -> Result<bool> {
        let transaction = self.env.read_txn()?;
        let value = self.entries.get(&transaction, key)?;
        if let Some(value) = value {
            seen.see(key, value);
        }
        Ok(value.is_some())
    }

    fn multi_get(&self, keys: &[Key], seen: &mut Seen) -> Result<u64> {
        let transaction = self.env.read_txn()?;
        let mut found = 0;
        for key in keys {
            if let Some(value) = self.entries.get(&transaction, key)? {
                seen.see(key, value);
                found += 1;
            }
        }
        Ok(found)
    }

    fn scan(&self, range: Range<'_>, seen: &mut Seen) -> Result<()> {
        let transaction = self.env.read_txn()?;
        match range {
            Range::Forward => see_all(self.entries.iter(&transaction)?, seen),
            Range::Backward => see_all(self.entries.rev_iter(&transaction)?, seen),
            Range::From(from, count) => {
                let bounds = (Bound::Included(from), Bound::Unbounded);
                let entries = self.entries.range(&transaction, &bounds)?;
                see_all(entries.take(count as usize), seen)
            }
            Range::Prefix(prefix) => see_all(self.entries.prefix_iter(&transaction, prefix)?, seen),
        }
    }

    fn settle(&self) -> Result<Duration> {
        self.env.force_sync()?;
        Ok(Duration::ZERO)
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.env.prepare_for_closing().wait();
        Ok(())
    }
}

type Entry<'a> = ::heed::Result<(&'a [u8], &'a [u8])>;

fn see_all<'a>(entries: impl Iterator<Item = Entry<'a>>, seen: &mut Seen) -> Result<()> {
    for entry in entries {
        let (key, value) = entry?;
        seen.see(key, value);
    }
    Ok(())
}
