//! What the machine allows at most: a store that does as little for each row as any could.
//!
//! A write is copied into a buffer and appended to a file of zeros, and the entries are sorted and
//! written once more when the row settles. A read finds its entry in one sorted array in memory,
//! through an array that tells for the first bits of a key where it would lie: two misses of the
//! processor's cache. A scan walks the array. There are no versions, no checksums, no deletes, no crash
//! to recover from. Of durable writes only those of one thread are here, for how syncs are best shared
//! is what is asked. What a store does beyond that it does for its users, so the distance between it
//! and this one is the price of that.

use std::fs::{self, File};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use crate::store::{Durability, Engine, Key, Range, Result, Seen, Settings, Store};

/// The least work.
pub(crate) const ENGINE: Engine = Engine {
    name: "limit",
    is_lsm: false,
    open: |settings| Ok(Box::new(Limit::open(settings)?)),
    settings: |_| {
        "what the machine allows at most: an append and a sort for writes, a sorted array in memory \
         for reads; no versions, checksums, deletes or recovery"
            .to_owned()
    },
};

/// The rows whose work can be done so.
const ROWS: [&str; 18] = [
    "fillseq",
    "fillrandom",
    "fillbatch",
    "fill1k",
    "durable1",
    "get",
    "get2",
    "gettenth",
    "getabsent",
    "multiget",
    "forward",
    "backward",
    "seek1",
    "seek10",
    "seek50",
    "prefix",
    "get4x",
    "seek50-4x",
];
const KEY_BYTES: usize = 16;
/// What is appended to the file at once.
const BUFFER_BYTES: usize = 1 << 20;
/// Zeros written ahead where writes are durable.
const FILLED_BYTES: usize = 64 << 20;

struct Limit {
    is_durable: bool,
    /// Where the sorted entries go, with the length of their values before them.
    sorted_path: PathBuf,
    sorted: Sorted,
    log: Mutex<Log>,
    /// Held while syncing; how much of the log is on disk.
    synced: Mutex<u64>,
    log_file: File,
}

struct Log {
    file: File,
    /// The length of every value.
    value_bytes: usize,
    /// What is not yet appended begins here.
    buffered_from: usize,
    /// All entries written since the store was opened.
    entries: Vec<u8>,
}

/// Entries of equal size, sorted by key.
struct Sorted {
    entry_bytes: usize,
    entries: Vec<u8>,
    /// For the first bits of a key, the number of the first entry that has them or greater ones.
    directory: Vec<u32>,
    /// How many bits of a key's first eight bytes are not looked at.
    shift: u32,
}

impl Limit {
    fn open(settings: &Settings) -> Result<Self> {
        let is_durable = settings.durability == Durability::Disk;
        let mut file = File::create(settings.path.join("log"))?;
        if is_durable {
            // A sync of what does not change the file's size is the shorter one.
            file.write_all(&vec![0; FILLED_BYTES])?;
            file.sync_all()?;
            file.seek(SeekFrom::Start(0))?;
        }
        let sorted_path = settings.path.join("sorted");
        let sorted = if sorted_path.exists() { fs::read(&sorted_path)? } else { vec![0; 8] };
        Ok(Self {
            is_durable,
            sorted: Sorted::new(sorted),
            sorted_path,
            log_file: file.try_clone()?,
            log: Mutex::new(Log { file, value_bytes: 0, buffered_from: 0, entries: Vec::new() }),
            synced: Mutex::new(0),
        })
    }

    fn append<'a>(&self, entries: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Result<()> {
        let mut log = self.log.lock().map_err(|_| "a writer panicked")?;
        for (key, value) in entries {
            log.entries.extend_from_slice(key);
            log.entries.extend_from_slice(value);
            log.value_bytes = value.len();
        }
        if log.entries.len() - log.buffered_from >= BUFFER_BYTES || self.is_durable {
            log.write_out()?;
        }
        let written = log.entries.len() as u64;
        drop(log);
        if self.is_durable { self.sync_through(written) } else { Ok(()) }
    }

    /// Threads that come while one syncs share the next sync.
    fn sync_through(&self, written: u64) -> Result<()> {
        let mut synced = self.synced.lock().map_err(|_| "a writer panicked")?;
        if *synced < written {
            let through = self.log.lock().map_err(|_| "a writer panicked")?.entries.len() as u64;
            self.log_file.sync_data()?;
            *synced = through;
        }
        Ok(())
    }
}

impl Log {
    fn write_out(&mut self) -> Result<()> {
        self.file.write_all(&self.entries[self.buffered_from..])?;
        self.buffered_from = self.entries.len();
        Ok(())
    }
}

impl Sorted {
    /// From eight bytes with the length of each value, and the entries.
    fn new(mut entries: Vec<u8>) -> Self {
        let header: Vec<u8> = entries.drain(..8).collect();
        let value_bytes = header.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        let entry_bytes = KEY_BYTES + value_bytes as usize;
        let count = entries.len() / entry_bytes;
        let bits = (count.max(2) as u64).ilog2();
        let mut sorted = Self { entry_bytes, entries, directory: Vec::new(), shift: 64 - bits };
        let mut directory = Vec::with_capacity((1 << bits) + 1);
        for index in 0..count {
            let bucket = sorted.bucket(sorted.key(index));
            while directory.len() <= bucket {
                directory.push(index as u32);
            }
        }
        directory.resize((1 << bits) + 1, count as u32);
        sorted.directory = directory;
        sorted
    }

    fn count(&self) -> usize {
        self.entries.len() / self.entry_bytes
    }

    fn bucket(&self, key: &[u8]) -> usize {
        (first_eight(key) >> self.shift) as usize
    }

    fn key(&self, index: usize) -> &[u8] {
        let at = index * self.entry_bytes;
        &self.entries[at..at + KEY_BYTES]
    }

    fn value(&self, index: usize) -> &[u8] {
        let at = index * self.entry_bytes;
        &self.entries[at + KEY_BYTES..at + self.entry_bytes]
    }

    /// The number of the first entry with this key or a greater one.
    fn at_or_after(&self, key: &[u8]) -> usize {
        let mut index = self.directory[self.bucket(key)] as usize;
        while index < self.count() && self.key(index) < key {
            index += 1;
        }
        index
    }
}

/// The first eight bytes of a key, in its order; of a shorter one, a prefix, with zeros behind it.
fn first_eight(key: &[u8]) -> u64 {
    let padded = || {
        let mut bytes = [0; 8];
        bytes[..key.len()].copy_from_slice(key);
        bytes
    };
    u64::from_be_bytes(key.first_chunk().copied().unwrap_or_else(padded))
}

/// The entries of a log, each of `entry_bytes`, sorted by key; of one key the last.
fn sort(log: &[u8], entry_bytes: usize) -> Vec<u8> {
    let mut order: Vec<(u128, u32)> = log
        .chunks_exact(entry_bytes)
        .enumerate()
        .filter_map(|(index, entry)| {
            Some((u128::from_be_bytes(*entry.first_chunk()?), index as u32))
        })
        .collect();
    order.sort_unstable();
    let mut sorted = Vec::with_capacity(8 + log.len());
    sorted.extend_from_slice(&((entry_bytes - KEY_BYTES) as u64).to_le_bytes());
    for (place, (key, index)) in order.iter().enumerate() {
        if order.get(place + 1).is_none_or(|next| next.0 != *key) {
            let at = *index as usize * entry_bytes;
            sorted.extend_from_slice(&log[at..at + entry_bytes]);
        }
    }
    sorted
}

impl Store for Limit {
    fn offers(&self, row: &str) -> bool {
        ROWS.contains(&row)
    }

    fn put(&self, key: &[u8], value: &[u8]) -> Result<()> {
        self.append(std::iter::once((key, value)))
    }

    fn put_batch(&self, entries: &[(Key, Vec<u8>)]) -> Result<()> {
        self.append(entries.iter().map(|(key, value)| (key.as_slice(), value.as_slice())))
    }

    fn delete(&self, _key: &[u8]) -> Result<()> {
        Err("the least work deletes nothing".into())
    }

    fn get(&self, key: &[u8], seen: &mut Seen) -> Result<bool> {
        let index = self.sorted.at_or_after(key);
        let is_there = index < self.sorted.count() && self.sorted.key(index) == key;
        if is_there {
            seen.see(key, self.sorted.value(index));
        }
        Ok(is_there)
    }

    fn scan(&self, range: Range<'_>, seen: &mut Seen) -> Result<()> {
        let sorted = &self.sorted;
        let mut see = |index: usize| seen.see(sorted.key(index), sorted.value(index));
        match range {
            Range::Forward => (0..sorted.count()).for_each(see),
            Range::Backward => (0..sorted.count()).rev().for_each(see),
            Range::From(key, length) => {
                let first = sorted.at_or_after(key);
                (first..sorted.count().min(first + length as usize)).for_each(see);
            }
            Range::Prefix(prefix) => {
                let mut index = sorted.at_or_after(prefix);
                while index < sorted.count() && sorted.key(index).starts_with(prefix) {
                    see(index);
                    index += 1;
                }
            }
        }
        Ok(())
    }

    fn settle(&self) -> Result<Duration> {
        let mut log = self.log.lock().map_err(|_| "a writer panicked")?;
        log.write_out()?;
        if !log.entries.is_empty() {
            let entry_bytes = KEY_BYTES + log.value_bytes;
            fs::write(&self.sorted_path, sort(&log.entries, entry_bytes))?;
        }
        Ok(Duration::ZERO)
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_found_after_a_settle() {
        let path = std::env::temp_dir().join(format!("limit-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a directory");
        let settings = Settings {
            path: path.clone(),
            durability: Durability::Os,
            memtable_bytes: 0,
            cache_bytes: 0,
            lz4: false,
        };
        let keys: Vec<Key> = (0..500).map(lsm_workload::key_bytes).collect();
        let store = Limit::open(&settings).expect("it opens");
        for key in keys.iter().chain(&keys[..100]) {
            store.put(key, &[key[0]; 10]).expect("it is put");
        }
        store.settle().expect("it is sorted");
        let store = Limit::open(&settings).expect("it opens again");
        let mut seen = Seen::default();
        assert!(keys.iter().all(|key| store.get(key, &mut seen).expect("it is read")));
        assert!(!store.get(&lsm_workload::key_bytes(500), &mut seen).expect("it is read"));
        let mut seen = Seen::default();
        store.scan(Range::Forward, &mut seen).expect("it is read");
        assert_eq!(seen.entries, 500);
        let prefix = &keys[250][..2];
        let alike = keys.iter().filter(|key| key.starts_with(prefix)).count() as u64;
        let mut seen = Seen::default();
        store.scan(Range::Prefix(prefix), &mut seen).expect("it is read");
        assert_eq!(seen.entries, alike);
        fs::remove_dir_all(path).expect("it is removed");
    }
}
