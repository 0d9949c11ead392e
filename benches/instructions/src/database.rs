//! Reads and writes of a whole database.
//!
//! It lies on a file system in memory, since how a commit reaches the log depends on the file
//! system, and does background work only when told to, so that no other thread comes in between.

use std::sync::Arc;

use lsm_engine::{
    Db, Durability, Env, KeyspaceOptions, Options, ReadMode, Reads, Spawn, WriteBatch,
};
use lsm_workload::ValueMaker;
use tempfile::TempDir;

use crate::{Outcome, Repetitions, count, keys};

/// Where Linux has a file system in memory.
const MEMORY_DIR: &str = "/dev/shm";
/// Entries that are there before anything is counted.
const ENTRIES: u64 = 20_000;
/// How often most operations are carried out: enough to meet what happens once in a thousand times.
const REPETITIONS: u64 = 10_000;
const VALUE_BYTES: usize = 100;
/// Puts in a batch, and keys that are read at once.
const BATCH: usize = 50;

/// A database that is removed with its files.
struct Subject {
    db: Db,
    _dir: TempDir,
}

impl Subject {
    /// Holds [`ENTRIES`] entries in its memtable.
    fn in_memtable(read_mode: ReadMode) -> Outcome<Self> {
        let dir = tempfile::tempdir_in(MEMORY_DIR)
            .map_err(|error| format!("no file system in memory at {MEMORY_DIR}: {error}"))?;
        let options = Options {
            memory_bytes: 64 << 20,
            memtable_bytes: Some(16 << 20),
            durability: Durability::Os,
            log_segment_bytes: 8 << 20,
            reserve_bytes: Some(0),
            read_mode,
            keyspace: KeyspaceOptions::default(),
            env: Env {
                clock: Arc::new(|| 1_700_000_000_000),
                random: Arc::new(|| 0x5EED),
                spawn: Spawn::Manual,
                ..Env::default()
            },
            ..Options::default()
        };
        let subject = Self { db: Db::open_with(dir.path(), options)?, _dir: dir };
        subject.put_all(&keys(0, ENTRIES))?;
        Ok(subject)
    }

    /// Holds them in tables.
    fn in_tables(read_mode: ReadMode) -> Outcome<Self> {
        let subject = Self::in_memtable(read_mode)?;
        subject.db.flush()?;
        subject.db.settle()?;
        // A block that is touched for the first time is checked, and not at any later time.
        let entries = subject.db.iter().count() as u64;
        if entries == ENTRIES { Ok(subject) } else { Err(format!("{entries} entries").into()) }
    }

    fn put_all(&self, keys: &[[u8; 16]]) -> Outcome<u64> {
        let mut values = ValueMaker::new(VALUE_BYTES, 0.5, 1);
        for key in keys {
            self.db.put(key, values.next())?;
        }
        Ok(keys.len() as u64)
    }

    fn get_all(&self, keys: &[[u8; 16]]) -> Outcome<u64> {
        let mut found = 0;
        for key in keys {
            found += u64::from(self.db.get(key)?.is_some());
        }
        Ok(found)
    }
}

pub(crate) fn put() -> Outcome<Repetitions> {
    let subject = Subject::in_memtable(ReadMode::Mapped)?;
    let fresh = keys(ENTRIES, REPETITIONS);
    count(REPETITIONS, || subject.put_all(&fresh))
}

/// A put as one of a batch, with its part of making and writing the batch.
pub(crate) fn batch_put() -> Outcome<Repetitions> {
    let subject = Subject::in_memtable(ReadMode::Mapped)?;
    let fresh = keys(ENTRIES, REPETITIONS);
    count(REPETITIONS, || {
        let mut values = ValueMaker::new(VALUE_BYTES, 0.5, 1);
        let mut batch = WriteBatch::new();
        let mut written = 0;
        for keys in fresh.chunks(BATCH) {
            batch.clear();
            for key in keys {
                batch.put(key, values.next());
            }
            subject.db.write(&batch)?;
            written += batch.len() as u64;
        }
        Ok(written)
    })
}

pub(crate) fn get_memtable() -> Outcome<Repetitions> {
    let subject = Subject::in_memtable(ReadMode::Mapped)?;
    let present = keys(0, REPETITIONS);
    count(REPETITIONS, || subject.get_all(&present))
}

/// A get that lends the value instead of copying it.
pub(crate) fn get_table_lent() -> Outcome<Repetitions> {
    let subject = Subject::in_tables(ReadMode::Mapped)?;
    let present = keys(0, REPETITIONS);
    count(REPETITIONS, || {
        let mut bytes = 0;
        for key in &present {
            bytes += subject.db.get_with(key, |value| value.len() as u64)?.unwrap_or(0);
        }
        Ok(bytes / VALUE_BYTES as u64)
    })
}

pub(crate) fn get_table() -> Outcome<Repetitions> {
    get_from_table(ReadMode::Mapped)
}

pub(crate) fn get_cached_table() -> Outcome<Repetitions> {
    get_from_table(ReadMode::Cached)
}

fn get_from_table(read_mode: ReadMode) -> Outcome<Repetitions> {
    let subject = Subject::in_tables(read_mode)?;
    let present = keys(0, REPETITIONS);
    count(REPETITIONS, || subject.get_all(&present))
}

pub(crate) fn get_missing() -> Outcome<Repetitions> {
    let subject = Subject::in_tables(ReadMode::Mapped)?;
    let absent = keys(ENTRIES, REPETITIONS);
    count(REPETITIONS, || Ok(REPETITIONS - subject.get_all(&absent)?))
}

/// A key as one of several.
pub(crate) fn multi_get() -> Outcome<Repetitions> {
    let subject = Subject::in_tables(ReadMode::Mapped)?;
    let present = keys(0, REPETITIONS);
    count(REPETITIONS, || {
        let mut found = 0;
        for keys in present.chunks(BATCH) {
            found += subject.db.multi_get(keys)?.iter().flatten().count() as u64;
        }
        Ok(found)
    })
}

pub(crate) fn seek() -> Outcome<Repetitions> {
    let subject = Subject::in_tables(ReadMode::Mapped)?;
    let present = keys(0, REPETITIONS);
    let mut cursor = subject.db.cursor();
    count(REPETITIONS, || {
        let mut found = 0;
        for key in &present {
            cursor.seek(key)?;
            found += u64::from(cursor.key() == Some(key));
        }
        Ok(found)
    })
}

/// A new cursor, and one seek.
pub(crate) fn cursor() -> Outcome<Repetitions> {
    let subject = Subject::in_tables(ReadMode::Mapped)?;
    let present = keys(0, REPETITIONS);
    count(REPETITIONS, || {
        let mut found = 0;
        for key in &present {
            let mut cursor = subject.db.cursor();
            cursor.seek(key)?;
            found += u64::from(cursor.key() == Some(key));
        }
        Ok(found)
    })
}

pub(crate) fn next() -> Outcome<Repetitions> {
    let subject = Subject::in_tables(ReadMode::Mapped)?;
    walk_forward(&subject, ENTRIES)
}

pub(crate) fn prev() -> Outcome<Repetitions> {
    let subject = Subject::in_tables(ReadMode::Mapped)?;
    let mut cursor = subject.db.cursor();
    cursor.seek_last()?;
    count(ENTRIES, || {
        let mut found = 0;
        while let Some((key, value)) = cursor.entry() {
            found += u64::from(key.len() < value.len());
            cursor.prev()?;
        }
        Ok(found)
    })
}

/// The next of tables and a memtable, which has every other entry.
pub(crate) fn next_merged() -> Outcome<Repetitions> {
    let subject = Subject::in_tables(ReadMode::Mapped)?;
    subject.put_all(&keys(ENTRIES, ENTRIES))?;
    walk_forward(&subject, 2 * ENTRIES)
}

/// A new cursor, a seek and the 50 entries there, of tables and a memtable that has one entry in a
/// hundred.
pub(crate) fn seek_50() -> Outcome<Repetitions> {
    let subject = Subject::in_tables(ReadMode::Mapped)?;
    subject.put_all(&keys(ENTRIES, ENTRIES / 100))?;
    // Few entries lie behind the last of these.
    let mut present = keys(0, REPETITIONS);
    present.sort_unstable();
    present.truncate(present.len() - 100);
    let seeks = present.iter().step_by(7);
    count(seeks.len() as u64, || {
        let mut found = 0;
        for key in seeks.clone() {
            let mut cursor = subject.db.cursor();
            cursor.seek(key)?;
            for _ in 1..50 {
                cursor.next()?;
            }
            found += u64::from(cursor.key().is_some_and(|last| last > key.as_slice()));
        }
        Ok(found)
    })
}

fn walk_forward(subject: &Subject, entries: u64) -> Outcome<Repetitions> {
    let mut cursor = subject.db.cursor();
    cursor.seek_first()?;
    count(entries, || {
        let mut found = 0;
        while let Some((key, value)) = cursor.entry() {
            found += u64::from(key.len() < value.len());
            cursor.next()?;
        }
        Ok(found)
    })
}
