//! What every store must offer to be measured, and how it is set up.
//!
//! The loops over entries are inside the store's own file, so that no engine pays for a call per
//! entry that another does not make.

use std::error::Error;
use std::path::PathBuf;

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

    /// Reads a range.
    fn scan(&self, range: Range<'_>, seen: &mut Seen) -> Result<()>;

    /// A way to write with so many writes unacknowledged at a time, if the engine has one.
    fn pipeline(&self, _in_flight: usize) -> Option<Box<dyn Pipeline + '_>> {
        None
    }

    /// Waits until background work is done.
    fn settle(&self) -> Result<()>;

    /// Closes the store properly.
    fn close(self: Box<Self>) -> Result<()>;
}

/// Writes that are waited for later.
pub trait Pipeline {
    /// Begins a write; waits for the oldest if too many are in flight.
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()>;

    /// Waits for all.
    fn finish(&mut self) -> Result<()>;
}
