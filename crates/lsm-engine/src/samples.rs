//! What is measured of one operation in many, so that the others pay nothing for it.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Instant;

use lsm_entry::{SeqNo, ValueKind, key_hash};
use lsm_memtable::Memtable;
use lsm_sstable::Touched;

use crate::error::Result;
use crate::histogram::{Histogram, Times};
use crate::keyspace::KeyspaceCore;
use crate::shared::Shared;
use crate::snapshot::Registered;
use crate::stats::Counter;
use crate::value::Value;
use crate::view::View;

/// One read, write or seek in 256 is timed: two looks at the clock cost as much as half a read from a
/// memtable.
const TIMED_BITS: u32 = 8;
/// Of one read in 4096 it is counted what it touches: it costs as much as the read.
const TOUCHES_BITS: u32 = 12;

thread_local! {
    static WRITES: Cell<u64> = const { Cell::new(0) };
}

/// Times and touches as they are taken.
#[derive(Debug, Default)]
pub(crate) struct Samples {
    get: Histogram,
    multi_get: Histogram,
    write: Histogram,
    durable_wait: Histogram,
    seek: Histogram,
    pub(crate) flush: Histogram,
    pub(crate) compaction: Histogram,
    reads: Counter,
    tables_touched: Counter,
    blocks_touched: Counter,
}

/// How long each kind of operation took. Reads, writes and seeks are timed one in 256.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct PathTimes {
    /// Point reads, sampled.
    pub get: Times,
    /// Reads of several keys at once, from the call to the last value, sampled.
    pub multi_get: Times,
    /// Writes from the call to the acknowledgement, sampled.
    pub write: Times,
    /// The part of those for which writes waited for their durability; sampled.
    pub durable_wait: Times,
    /// Seeks of cursors and iterators, sampled.
    pub seek: Times,
    /// Syncs of the log.
    pub sync: Times,
    /// Flushes of one memtable.
    pub flush: Times,
    /// Merges, moves and drops of tables.
    pub compaction: Times,
}

/// What point reads touch beyond memory; sampled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TouchMetrics {
    /// Point reads that were looked at.
    pub reads: u64,
    /// Tables whose filter was asked for them.
    pub tables: u64,
    /// Blocks that were read for them, from the cache, a mapping or the disk.
    pub blocks: u64,
}

impl TouchMetrics {
    /// Tables touched per point read; 0 if none was looked at.
    pub fn tables_per_read(&self) -> f64 {
        self.tables as f64 / self.reads.max(1) as f64
    }

    /// Blocks touched per point read: read amplification. 0 if none was looked at.
    pub fn blocks_per_read(&self) -> f64 {
        self.blocks as f64 / self.reads.max(1) as f64
    }
}

/// The beginning of an operation, if it is one of those that are timed.
pub(crate) struct Begun(Option<Instant>);

impl Begun {
    /// Of operation number `count`.
    #[inline]
    pub(crate) fn counted(count: u64) -> Self {
        Self(is_sampled(count).then(Instant::now))
    }

    /// Of a write of this thread.
    #[inline]
    pub(crate) fn write() -> Self {
        if cfg!(lsm_unmeasured) {
            return Self(None);
        }
        let count = WRITES.get();
        WRITES.set(count.wrapping_add(1));
        Self::counted(count)
    }

    /// The same operation again, from here on.
    #[inline]
    pub(crate) fn again(&self) -> Self {
        Self(self.0.map(|_| Instant::now()))
    }
}

impl Samples {
    /// A seek has ended, which `lookups` has counted.
    #[inline]
    pub(crate) fn note_seek(&self, begun: &Begun, lookups: &Counter) {
        note_lookup(&self.seek, begun, lookups);
    }

    /// A read of several keys has ended, which `lookups` has counted.
    pub(crate) fn note_multi_get(&self, begun: &Begun, lookups: &Counter) {
        note_lookup(&self.multi_get, begun, lookups);
    }

    /// A write has ended that began to wait for its durability at `waited`.
    #[inline]
    pub(crate) fn note_write(&self, begun: &Begun, waited: &Begun) {
        note(&self.write, begun);
        note(&self.durable_wait, waited);
    }

    /// All of them, with how long `sync` took.
    pub(crate) fn times(&self, sync: &Histogram) -> PathTimes {
        PathTimes {
            get: self.get.times(),
            multi_get: self.multi_get.times(),
            write: self.write.times(),
            durable_wait: self.durable_wait.times(),
            seek: self.seek.times(),
            sync: sync.times(),
            flush: self.flush.times(),
            compaction: self.compaction.times(),
        }
    }

    pub(crate) fn touched(&self) -> TouchMetrics {
        TouchMetrics {
            reads: self.reads.total(),
            tables: self.tables_touched.total(),
            blocks: self.blocks_touched.total(),
        }
    }
}

#[inline]
fn note(histogram: &Histogram, begun: &Begun) {
    if let Some(begun) = begun.0 {
        histogram.record(begun.elapsed());
    }
}

#[inline]
fn note_lookup(histogram: &Histogram, begun: &Begun, lookups: &Counter) {
    if begun.0.is_some() {
        lookups.welcome();
        note(histogram, begun);
    }
}

/// Whether operation number `count` is measured.
#[inline]
pub(crate) fn is_sampled(count: u64) -> bool {
    !cfg!(lsm_unmeasured) && is_one_in(count, TIMED_BITS)
}

/// True of one number in 2^`bits`, spread evenly, and not in step with whatever somebody does in
/// turns. Of a number its lower half is enough, and a constant that fits an instruction.
#[inline]
fn is_one_in(count: u64, bits: u32) -> bool {
    (count as u32).wrapping_mul(0x9E37_79B9) < 1 << (u32::BITS - bits)
}

impl Shared {
    /// A point read that is timed; `count` have gone before it. Apart from the others, so that these
    /// carry nothing of it.
    #[cold]
    #[inline(never)]
    pub(crate) fn get_sampled(
        &self,
        core: &KeyspaceCore,
        key: &[u8],
        moment: Option<&Registered>,
        count: u64,
    ) -> Result<Option<Value>> {
        let begun = Begun::counted(count);
        let result = self.get_unsampled(core, key, moment);
        note_lookup(&self.samples.get, &begun, &core.lookups);
        if is_one_in(count, TOUCHES_BITS) && !self.is_read_only && result.is_ok() {
            let seq_no = moment.map_or_else(|| self.commit.visible(), |moment| moment.seq_no);
            self.count_touched(&core.view.load(), key, seq_no)?;
        }
        result
    }

    /// Goes the way of a point read again, counting tables and blocks.
    fn count_touched(&self, view: &View, key: &[u8], seq_no: SeqNo) -> Result<()> {
        let hash = key_hash(key);
        self.samples.reads.count();
        let memtables = || std::iter::once(&view.active).chain(&view.sealed);
        let ends = |kind: ValueKind| kind != ValueKind::Merge;
        let is_answered = |memtable: &Arc<Memtable>| {
            let entry = memtable.get(key, hash, seq_no);
            entry.is_some_and(|entry| ends(entry.kind())) || memtable.cover(key, seq_no) > 0
        };
        if memtables().any(is_answered) {
            return Ok(());
        }
        for live in view.tree.runs.iter().filter_map(|run| run.find(key)) {
            self.samples.tables_touched.count();
            let touched = live.table()?.touch(key, hash, seq_no)?;
            let (is_block, found) = match touched {
                Touched::Filter => (false, None),
                Touched::Block(found) => (true, found),
            };
            self.samples.blocks_touched.add(u64::from(is_block));
            if found.is_some_and(ends) || live.cover(key, seq_no)? > 0 {
                break;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_that_take_turns_are_all_measured() {
        for turns in 1..=8 {
            for turn in 0..turns {
                let counts = (0..256_000).map(|round| round * turns + turn);
                let timed = counts.filter(|count| is_sampled(*count)).count();
                assert!((900..=1100).contains(&timed), "{timed} of turn {turn} of {turns}");
            }
        }
        let both = |count: &u64| is_one_in(*count, TOUCHES_BITS) && !is_sampled(*count);
        assert_eq!(
            (0..256_000).filter(both).count(),
            0,
            "what is touched is counted of timed reads"
        );
    }
}
