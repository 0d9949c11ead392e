//! What every store must offer to be measured, and how it is set up.
//!
//! The loops over entries are inside the store's own file, so that no engine pays for a call per
//! entry that another does not make.

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use crate::feature::{Feature, Featured};

/// Whatever went wrong; a measurement that fails is reported and the others go on.
pub type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// What an acknowledged write survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Nothing: it may be in a buffer of the process.
    Memory,
    /// A killed process.
    Os,
    /// Power loss.
    Disk,
}

/// What all engines are given alike.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The directory of the store.
    pub path: PathBuf,
    /// What each write waits for.
    pub durability: Durability,
    /// Size of a memtable.
    pub memtable_bytes: u64,
    /// Size of the cache of blocks or pages.
    pub cache_bytes: u64,
    /// Whether tables are compressed with lz4 below level 0, where the engine can.
    pub lz4: bool,
}

/// An engine: its name, how it is opened, and what it was told.
#[derive(Clone, Copy)]
pub struct Engine {
    /// As `--engines` names it.
    pub name: &'static str,
    /// Whether it is a log-structured merge tree; some targets are against those alone.
    pub is_lsm: bool,
    /// Opens a store, creating it if there is none.
    pub open: fn(&Settings) -> Result<Box<dyn Store>>,
    /// Its version and every setting that is not the engine's default, in a line.
    pub settings: fn(&Settings) -> String,
}

/// Which entries a scan reads.
#[derive(Clone, Copy, Debug)]
pub enum Range<'a> {
    /// All, ascending.
    Forward,
    /// All, descending.
    Backward,
    /// So many from the first at or after a key, ascending.
    From(&'a [u8], u64),
    /// Those whose keys begin so.
    Prefix(&'a [u8]),
}

/// What a read has seen. Looking at one byte of each keeps a store from handing out what it has
/// not fetched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Entries read.
    pub entries: u64,
    /// A sum over them.
    pub sum: u64,
}

impl Seen {
    /// Takes note of one entry.
    #[inline]
    pub fn see(&mut self, key: &[u8], value: &[u8]) {
        let last = |bytes: &[u8]| u64::from(bytes.last().copied().unwrap_or(0));
        self.entries += 1;
        self.sum = self.sum.wrapping_add(last(key) + last(value) + value.len() as u64);
    }
}

/// A key of the benchmarks.
pub type Key = [u8; 16];

/// An open store.
pub trait Store: Send + Sync {
    /// Sets a key, as durably as the store was opened.
    fn put(&self, key: &[u8], value: &[u8]) -> Result<()>;

    /// Sets many keys together or not at all.
    fn put_batch(&self, entries: &[(Key, Vec<u8>)]) -> Result<()>;

    /// Removes a key.
    fn delete(&self, key: &[u8]) -> Result<()>;

    /// Reads a key; whether it is there.
    fn get(&self, key: &[u8], seen: &mut Seen) -> Result<bool>;

    /// Reads many keys, all at one moment where the engine can; how many are there.
    fn multi_get(&self, keys: &[Key], seen: &mut Seen) -> Result<u64> {
        let mut found = 0;
        for key in keys {
            found += u64::from(self.get(key, seen)?);
        }
        Ok(found)
    }

    /// Reads a range.
    fn scan(&self, range: Range<'_>, seen: &mut Seen) -> Result<()>;

    /// A way to write with so many writes unacknowledged at a time, if the engine has one.
    fn pipeline(&self, _in_flight: usize) -> Option<Box<dyn Pipeline + '_>> {
        None
    }

    /// A feature beside all that, ready to be measured on a store that is to hold `entries` entries;
    /// `None` if the engine has none such, or nobody has written it down yet.
    fn feature(
        &self,
        _feature: Feature,
        _entries: u64,
        _value_bytes: usize,
    ) -> Result<Option<Box<dyn Featured + '_>>> {
        Ok(None)
    }

    /// Writes what is in memtables as tables, and waits until background work is done.
    ///
    /// Returns how much of the wait was only to make sure; it is not held against the engine.
    fn settle(&self) -> Result<Duration>;

    /// Whether the store takes part in a row: most do in all but those about what they lack.
    fn offers(&self, row: &str) -> bool {
        row != "compact"
    }

    /// Merges all tables anew, whether they need it or not.
    fn compact(&self) -> Result<()> {
        Err("the engine does not merge on demand".into())
    }

    /// What the engine itself counts, where it does.
    fn counted(&self) -> Counted {
        Counted::default()
    }

    /// Closes the store properly.
    fn close(self: Box<Self>) -> Result<()>;
}

/// An engine's own figures.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counted {
    /// Bytes written to log and tables since it was opened, zero-filling apart.
    pub bytes_written: Option<u64>,
    /// Bytes of all live tables.
    pub table_bytes: Option<u64>,
    /// How many there are.
    pub tables: Option<u64>,
    /// Bytes of memory that the engine holds for anything: memtables, cache, filters, indexes.
    pub memory_bytes: Option<u64>,
}

/// Writes that are waited for later.
pub trait Pipeline {
    /// Begins a write; waits for the oldest if too many are in flight.
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()>;

    /// Waits for all.
    fn finish(&mut self) -> Result<()>;
}

/// The first key beyond all that begin with `prefix`; `None` if there is none.
pub fn upper_of_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut upper = prefix.to_vec();
    while let Some(last) = upper.pop() {
        if last < 0xFF {
            upper.push(last + 1);
            return Some(upper);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_upper_bound_of_a_prefix_grows_the_last_byte_that_can() {
        assert_eq!(upper_of_prefix(b"ab").as_deref(), Some(&b"ac"[..]));
        assert_eq!(upper_of_prefix(&[7, 0xFF]), Some(vec![8]));
        assert_eq!(upper_of_prefix(&[0xFF, 0xFF]), None);
    }
}
