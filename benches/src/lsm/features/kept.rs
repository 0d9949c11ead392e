//! Keyspaces with rules of their own about what is kept: by a filter, by size, by age, within one budget.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lsm_engine::{
    CompactionFilter, CompactionPolicy, Db, FifoOptions, FilterDecision, Keyspace, KeyspaceOptions,
    ValueFilter,
};
use lsm_workload::key_bytes;

use super::Subject;
use crate::feature::Featured;
use crate::store::Result;

/// The part of the data that a FIFO keyspace holds.
const FIFO_PART: u64 = 4;
/// How long what was deleted may stay.
const AGE_LIMIT_MS: u64 = 1000;
/// Puts between a put and the delete of its key.
const LIFE: u64 = 10_000;
/// Keyspaces that share a budget.
const KEYSPACES: u64 = 64;

/// Keeps everything, and counts how often it was asked.
struct Asked(Arc<AtomicU64>);

impl CompactionFilter for Asked {
    fn name(&self) -> &str {
        "asked"
    }

    fn filter(&self, _key: &[u8], value: &[u8]) -> FilterDecision {
        self.0.fetch_add(1, Ordering::Relaxed);
        if value.is_empty() { FilterDecision::Remove } else { FilterDecision::Keep }
    }
}

/// Merges whose values are asked about.
pub(super) struct Filter<'a> {
    subject: Subject<'a>,
    keyspace: Keyspace,
    asked: Arc<AtomicU64>,
}

impl<'a> Filter<'a> {
    pub(super) fn new(subject: Subject<'a>) -> Result<Self> {
        let asked = Arc::default();
        let compaction_filter = Some(ValueFilter::new(Asked(Arc::clone(&asked))));
        let options = KeyspaceOptions { compaction_filter, ..subject.db.options() };
        let keyspace = subject.db.keyspace_with("filtered", options.clone())?;
        // Where an earlier handle has given its own, this one's count is what counts.
        keyspace.set_options(options)?;
        Ok(Self { subject, keyspace, asked })
    }
}

impl Featured for Filter<'_> {
    fn prepare(&mut self) -> Result<()> {
        let Subject { db, entries, values, .. } = &mut self.subject;
        (0..*entries).try_for_each(|number| self.keyspace.put(key_bytes(number), values.next()))?;
        Ok(db.settle()?)
    }

    fn operate(&mut self, _: u64) -> Result<u64> {
        let before = self.asked.load(Ordering::Relaxed);
        self.keyspace.compact_range::<&[u8]>(..)?;
        let asked = self.asked.load(Ordering::Relaxed) - before;
        if asked < self.subject.entries {
            return Err(
                format!("{asked} values of {} were asked about", self.subject.entries).into()
            );
        }
        Ok(self.subject.entries)
    }
}

/// Puts into a keyspace whose oldest tables go.
pub(super) struct Fifo<'a>(Subject<'a>, Keyspace);

impl<'a> Fifo<'a> {
    pub(super) fn new(mut subject: Subject<'a>) -> Result<Self> {
        let entry_bytes = 16 + subject.values.next().len() as u64;
        let bytes_max = (subject.entries * entry_bytes / FIFO_PART).max(1);
        let compaction =
            CompactionPolicy::Fifo(FifoOptions { bytes_max, ..FifoOptions::default() });
        let options = KeyspaceOptions { compaction, ..subject.db.options() };
        let keyspace = subject.db.keyspace_with("recent", options)?;
        Ok(Self(subject, keyspace))
    }
}

impl Featured for Fifo<'_> {
    fn operate(&mut self, number: u64) -> Result<u64> {
        self.1.put(key_bytes(number), self.0.values.next())?;
        Ok(1)
    }
}

/// Puts and deletes, with a limit to how long what was deleted stays on the disk.
pub(super) struct AgeLimit<'a>(Subject<'a>, Keyspace);

impl<'a> AgeLimit<'a> {
    pub(super) fn new(subject: Subject<'a>) -> Result<Self> {
        let tombstone_age_limit_ms = Some(AGE_LIMIT_MS);
        let options = KeyspaceOptions { tombstone_age_limit_ms, ..subject.db.options() };
        let keyspace = subject.db.keyspace_with("forgotten", options)?;
        Ok(Self(subject, keyspace))
    }
}

impl Featured for AgeLimit<'_> {
    fn operate(&mut self, number: u64) -> Result<u64> {
        self.1.put(key_bytes(number), self.0.values.next())?;
        if let Some(old) = number.checked_sub(LIFE) {
            self.1.delete(key_bytes(old))?;
        }
        Ok(1)
    }
}

/// Puts to keyspaces by turns, whose memtables share one budget.
pub(super) struct Budget<'a>(Subject<'a>, Vec<Keyspace>);

impl<'a> Budget<'a> {
    pub(super) fn new(subject: Subject<'a>) -> Result<Self> {
        let db: &Db = subject.db;
        let keyspaces = (0..KEYSPACES).map(|number| Ok(db.keyspace(&format!("part {number}"))?));
        let keyspaces = keyspaces.collect::<Result<_>>()?;
        Ok(Self(subject, keyspaces))
    }
}

impl Featured for Budget<'_> {
    fn operate(&mut self, number: u64) -> Result<u64> {
        let keyspace = &self.1[(number % KEYSPACES) as usize];
        keyspace.put(key_bytes(number), self.0.values.next())?;
        Ok(1)
    }
}
