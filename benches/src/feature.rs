//! What some stores can do beside putting and getting: a row each, for those that have it.

use crate::store::Result;

/// What a row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    /// Puts of values that expire.
    PutTtl,
    /// Gets of values that will expire.
    GetTtl,
    /// A range delete of 50 keys, and a scan of the 50 behind them.
    DeleteRange,
    /// Increments of random counters, blind.
    Merge,
    /// A bulk load of 10,000 entries in order, made part of the store.
    Ingest,
    /// Ranges of 10,000 entries, written as tables of their own.
    Export,
    /// Such tables, brought into another keyspace.
    Import,
    /// A serializable transaction that reads two keys and writes them.
    Transaction,
    /// Compare and set of random keys.
    PutIf,
    /// A merge of all tables that asks a compaction filter about every value.
    Filter,
    /// Puts into a keyspace whose oldest tables go.
    Fifo,
    /// A put, and a delete of an earlier one, which has to have left the disk within a second.
    AgeLimit,
    /// Puts to 64 keyspaces by turns, within one memory budget.
    Budget,
    /// All metrics, as a page.
    Metrics,
    /// Puts of large values on random keys, over and over, beside their keys or apart from them.
    PutLarge {
        /// Whether they lie apart.
        apart: bool,
    },
    /// Gets of such values.
    GetLarge {
        /// Whether they lie apart.
        apart: bool,
    },
    /// 100 puts, on disk, and what a follower is told of them.
    Follow,
}

/// A feature of an open store, as it is measured.
pub trait Featured {
    /// What comes before the clock starts: nothing, unless it is said.
    fn prepare(&mut self) -> Result<()> {
        Ok(())
    }

    /// One operation; `number` have gone before it. Returns for how many it counts.
    fn operate(&mut self, number: u64) -> Result<u64>;
}
