//! Features of this repository's store.

mod kept;
mod tables;

use std::path::Path;
use std::time::Duration;

use lsm_engine::{Changes, Counter, Db, Keyspace, KeyspaceOptions, Operator, Reads, WriteBatch};
use lsm_workload::{Rng, ValueMaker, key_bytes};

use self::kept::{AgeLimit, Budget, Fifo, Filter};
use self::tables::{Export, Import};
use crate::feature::{Feature, Featured};
use crate::store::{Result, Seen};
use crate::work::sequential_key;

/// So long that nothing expires while it is measured.
const TTL: Duration = Duration::from_secs(24 * 3600);
/// Keys that a range delete takes away, and that are read behind it.
const STRETCH: u64 = 50;
/// Entries of a bulk load.
const LOADED: u64 = 10_000;
/// Puts before a follower is asked what it has been told.
const FOLLOWED: u64 = 100;

/// Keys of large values at most, so that they are written again and again, and merged.
const LARGE: u64 = 50_000;
/// From which length on values lie apart, where they do.
const APART_BYTES: u64 = 1024;

/// What all of them need.
struct Subject<'a> {
    db: &'a Db,
    entries: u64,
    rng: Rng,
    values: ValueMaker,
}

impl Subject<'_> {
    fn random_key(&mut self) -> [u8; 16] {
        key_bytes(self.rng.below(self.entries))
    }
}

/// The feature on `db` at `path`, which holds `entries` entries where it needs any.
pub(super) fn featured<'a>(
    db: &'a Db,
    path: &Path,
    feature: Feature,
    entries: u64,
    value_bytes: usize,
) -> Result<Box<dyn Featured + 'a>> {
    let (rng, values) = (Rng::new(3), ValueMaker::new(value_bytes, 0.5, 3));
    let subject = Subject { db, entries, rng, values };
    Ok(match feature {
        Feature::PutTtl => Box::new(PutTtl(subject)),
        Feature::GetTtl => Box::new(GetTtl(subject)),
        Feature::DeleteRange => Box::new(DeleteRange(subject)),
        Feature::Merge => {
            let merge_operator = Some(Operator::new(Counter));
            let options = KeyspaceOptions { merge_operator, ..KeyspaceOptions::default() };
            Box::new(Merge(subject, db.keyspace_with("counters", options)?))
        }
        Feature::Ingest => Box::new(Ingest(subject)),
        Feature::Export => Box::new(Export::new(subject, path)),
        Feature::Import => Box::new(Import::new(subject, path)),
        Feature::Transaction => Box::new(Transact(subject)),
        Feature::PutIf => Box::new(PutIf::new(subject)?),
        Feature::PutLarge { apart } => Box::new(PutLarge(subject, large(db, apart)?)),
        Feature::GetLarge { apart } => Box::new(GetLarge(subject, large(db, apart)?)),
        Feature::Filter => Box::new(Filter::new(subject)?),
        Feature::Fifo => Box::new(Fifo::new(subject)?),
        Feature::AgeLimit => Box::new(AgeLimit::new(subject)?),
        Feature::Budget => Box::new(Budget::new(subject)?),
        Feature::Metrics => Box::new(Metrics(subject)),
        Feature::Follow => Box::new(Follow(subject, db.changes(db.visible_seq_no())?)),
    })
}

struct PutTtl<'a>(Subject<'a>);

impl Featured for PutTtl<'_> {
    fn operate(&mut self, number: u64) -> Result<u64> {
        self.0.db.put_ttl(key_bytes(number), self.0.values.next(), TTL)?;
        Ok(1)
    }
}

struct GetTtl<'a>(Subject<'a>);

impl Featured for GetTtl<'_> {
    fn prepare(&mut self) -> Result<()> {
        let Subject { db, entries, values, .. } = &mut self.0;
        (0..*entries).try_for_each(|number| db.put_ttl(key_bytes(number), values.next(), TTL))?;
        Ok(db.settle()?)
    }

    fn operate(&mut self, _: u64) -> Result<u64> {
        let key = self.0.random_key();
        self.0.db.get(key)?.ok_or("a value is gone that has not expired")?;
        Ok(1)
    }
}

struct DeleteRange<'a>(Subject<'a>);

impl Featured for DeleteRange<'_> {
    fn prepare(&mut self) -> Result<()> {
        let Subject { db, entries, values, .. } = &mut self.0;
        (0..*entries).try_for_each(|number| db.put(sequential_key(number), values.next()))?;
        Ok(db.settle()?)
    }

    fn operate(&mut self, number: u64) -> Result<u64> {
        let stretches = (self.0.entries / STRETCH / 2).max(1);
        let first = number % stretches * STRETCH * 2;
        let lower = sequential_key(first);
        self.0.db.delete_range(lower..sequential_key(first + STRETCH))?;
        let (mut cursor, mut seen) = (self.0.db.cursor(), Seen::default());
        cursor.seek(lower)?;
        while seen.entries < STRETCH
            && let Some((key, value)) = cursor.entry()
        {
            seen.see(key, value);
            cursor.next()?;
        }
        Ok(1)
    }
}

struct Merge<'a>(Subject<'a>, Keyspace);

impl Featured for Merge<'_> {
    fn operate(&mut self, _: u64) -> Result<u64> {
        self.1.merge(self.0.random_key(), Counter::operand(1))?;
        Ok(1)
    }
}

struct Ingest<'a>(Subject<'a>);

impl Featured for Ingest<'_> {
    fn operate(&mut self, number: u64) -> Result<u64> {
        let keyspace = self.0.db.default_keyspace();
        let mut load = keyspace.bulk_load()?;
        for n in number..number + LOADED {
            load.put(sequential_key(n), self.0.values.next())?;
        }
        load.finish()?;
        Ok(LOADED)
    }
}

struct Transact<'a>(Subject<'a>);

impl Featured for Transact<'_> {
    fn prepare(&mut self) -> Result<()> {
        let Subject { db, entries, values, .. } = &mut self.0;
        (0..*entries).try_for_each(|number| db.put(key_bytes(number), values.next()))?;
        Ok(db.settle()?)
    }

    fn operate(&mut self, _: u64) -> Result<u64> {
        let keys = [self.0.random_key(), self.0.random_key()];
        let transaction = self.0.db.transaction();
        for key in keys {
            transaction.get(key)?.ok_or("a key that was written is not there")?;
            transaction.put(key, self.0.values.next());
        }
        transaction.commit()?;
        Ok(1)
    }
}

/// Compare and set, of keys whose values are known.
struct PutIf<'a> {
    subject: Subject<'a>,
    keyspace: Keyspace,
    /// How often each was set.
    set: Vec<u32>,
}

impl<'a> PutIf<'a> {
    fn new(subject: Subject<'a>) -> Result<Self> {
        let keyspace = subject.db.keyspace("set")?;
        let set = vec![0; usize::try_from(subject.entries)?];
        Ok(Self { subject, keyspace, set })
    }
}

impl Featured for PutIf<'_> {
    fn prepare(&mut self) -> Result<()> {
        let Subject { db, entries, .. } = &self.subject;
        let first = 0_u32.to_le_bytes();
        (0..*entries).try_for_each(|number| self.keyspace.put(key_bytes(number), first))?;
        Ok(db.settle()?)
    }

    fn operate(&mut self, _: u64) -> Result<u64> {
        let number = self.subject.rng.below(self.subject.entries);
        let set = &mut self.set[usize::try_from(number)?];
        let (expected, value) = (set.to_le_bytes(), (*set + 1).to_le_bytes());
        let put = self.keyspace.put_if(key_bytes(number), Some(&expected), Some(&value))?;
        put.ok_or("a value is not the one that was set last")?;
        *set += 1;
        Ok(1)
    }
}

/// A page of metrics of a store that holds something.
struct Metrics<'a>(Subject<'a>);

impl Featured for Metrics<'_> {
    fn prepare(&mut self) -> Result<()> {
        let Subject { db, entries, values, .. } = &mut self.0;
        (0..*entries).try_for_each(|number| db.put(key_bytes(number), values.next()))?;
        Ok(db.settle()?)
    }

    fn operate(&mut self, _: u64) -> Result<u64> {
        let page = self.0.db.metrics().to_prometheus();
        if page.is_empty() { Err("an empty page".into()) } else { Ok(1) }
    }
}

/// A keyspace whose values lie beside their keys, or apart from them.
fn large(db: &Db, apart: bool) -> Result<Keyspace> {
    let blob_threshold_bytes = apart.then_some(APART_BYTES);
    let options = KeyspaceOptions { blob_threshold_bytes, ..KeyspaceOptions::default() };
    Ok(db.keyspace_with("large", options)?)
}

fn large_key(subject: &mut Subject<'_>) -> [u8; 16] {
    key_bytes(subject.rng.below(subject.entries.min(LARGE)))
}

struct PutLarge<'a>(Subject<'a>, Keyspace);

impl Featured for PutLarge<'_> {
    fn operate(&mut self, _: u64) -> Result<u64> {
        let key = large_key(&mut self.0);
        self.1.put(key, self.0.values.next())?;
        Ok(1)
    }
}

struct GetLarge<'a>(Subject<'a>, Keyspace);

impl Featured for GetLarge<'_> {
    fn prepare(&mut self) -> Result<()> {
        let Subject { db, entries, values, .. } = &mut self.0;
        let mut large = 0..LARGE.min(*entries);
        large.try_for_each(|number| self.1.put(key_bytes(number), values.next()))?;
        db.flush()?;
        Ok(db.settle()?)
    }

    fn operate(&mut self, _: u64) -> Result<u64> {
        let key = large_key(&mut self.0);
        let value = self.1.get(key)?.ok_or("a value that was written is not there")?;
        let mut seen = Seen::default();
        seen.see(&key, &value);
        Ok(1)
    }
}

struct Follow<'a>(Subject<'a>, Changes);

impl Featured for Follow<'_> {
    fn operate(&mut self, number: u64) -> Result<u64> {
        let Subject { db, values, .. } = &mut self.0;
        let mut batch = WriteBatch::new();
        for n in number..number + FOLLOWED {
            batch.clear();
            batch.put(key_bytes(n), values.next());
            db.write(&batch)?;
        }
        db.sync()?;
        let mut told = 0;
        while told < FOLLOWED {
            let change = self.1.next_within(Duration::from_secs(10))?;
            told += change.ok_or("a follower was not told what is on disk")?.entries.len() as u64;
        }
        Ok(FOLLOWED)
    }
}
