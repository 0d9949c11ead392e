//! Transactions and compare-and-set: what they read, whether others were first, and what they leave.
//!
//! Others are at odds with a transaction by a write to a key that it has read, ordered after the moment
//! that it reads and before its commit: one that was in flight when it began, or one made meanwhile.
//! A key that was not there before and is not there after may have been changed without a trace; then
//! either outcome is right.

use std::time::Duration;

use lsm_engine::{Durability, ErrorKind, Keyspace, Reads, Scan, Transaction, WriteOptions};

use crate::chain::{is_operand, merged, operand_bytes};
use crate::data::{KEYS, KEYSPACES, Write, has_ttl, key_at, key_bytes, rank, value_bytes};
use crate::model::{Model, Values};
use crate::op::{Change, Op};
use crate::sieve::unmarked;
use crate::world::{Stop, World};

/// Whether others are at odds with a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Odds {
    No,
    Perhaps,
    Yes,
}

impl World {
    /// A [`Transact`](Op::Transact).
    pub(crate) fn transact(&mut self, op: &Op, model: &mut Model) -> Result<(), Stop> {
        let &Op::Transact { keyspace, from, to, durability, rollback, ttl_ms, by_cursor, .. } = op
        else {
            return Ok(());
        };
        let Op::Transact { reads, writes, meanwhile, .. } = op else { return Ok(()) };
        if self.keyspace(keyspace).is_none() {
            return Ok(());
        }
        let ttl_ms = ttl_ms.map(u64::from);
        self.before_reading(model)?;
        let tx = self.db().transaction();
        model.seen_through(tx.seq_no());
        let mut touched = model.unseen_keys();
        let before = all_values(model);
        let reads: Vec<_> =
            reads.iter().filter(|(number, _)| self.keyspace(*number).is_some()).collect();
        for (number, key) in &reads {
            self.check_read(&tx, *number, *key, &before)?;
        }
        let (mut own, mut with_own) = (Vec::new(), before.clone());
        for change in writes {
            let Some(handle) = self.keyspace(change.keyspace()) else { continue };
            add_change(&tx, handle, *change, ttl_ms);
            let writes = change.writes();
            writes.iter().for_each(|write| note_own(&mut with_own, *write));
            own.extend(writes);
        }
        for (number, key) in &reads {
            self.check_read(&tx, *number, *key, &with_own)?;
        }
        let mut range = rank(from).min(rank(to))..rank(from).max(rank(to));
        if by_cursor {
            self.check_by_cursor(&tx, keyspace, range, &with_own)?;
            range = 0..usize::from(KEYS);
        } else {
            self.check_range(&tx, keyspace, range.clone(), &with_own)?;
        }
        let others = self.present(meanwhile);
        self.write(&others, Durability::Memory, model)?;
        touched.extend(others.iter().map(|write| (write.0, rank(write.1))));
        if rollback {
            tx.rollback();
            return Ok(());
        }
        let after = all_values(&model.settled());
        let odds_of = |number: u8, rank: usize| match touched.contains(&(number, rank)) {
            false => Odds::No,
            true => {
                let values = |of: &[Values]| of[usize::from(number)][rank];
                if values(&before).or(values(&after)).is_some() { Odds::Yes } else { Odds::Perhaps }
            }
        };
        let of_reads = reads.iter().map(|(number, key)| odds_of(*number, rank(*key)));
        let of_range = range.map(|rank| odds_of(keyspace, rank));
        let odds = of_reads.chain(of_range).max().unwrap_or(Odds::No);
        self.commit(tx, own, ttl_ms, odds, durability, model)
    }

    fn commit(
        &mut self,
        tx: Transaction,
        own: Vec<Write>,
        ttl_ms: Option<u64>,
        odds: Odds,
        durability: Durability,
        model: &mut Model,
    ) -> Result<(), Stop> {
        let result = tx.commit_with(WriteOptions::durability(durability));
        let wrong = |wrong: &str| Err(Stop::Wrong(wrong.to_owned()));
        match result {
            Err(error) if error.kind() == ErrorKind::Conflict => {
                self.conflicts += 1;
                if odds == Odds::No {
                    wrong("it is at odds with nobody, and told so")
                } else {
                    Ok(())
                }
            }
            // One that has written nothing might have run when it began.
            result if own.is_empty() => self.told(result).map(drop),
            Ok(_) if odds == Odds::Yes => wrong("it was committed over what others changed"),
            result => {
                let seq_no = self.ordered(result, own, ttl_ms, durability, model)?;
                self.check_visible(seq_no)
            }
        }
    }

    fn check_read(
        &self,
        tx: &Transaction,
        number: u8,
        key: u16,
        expected: &[Values],
    ) -> Result<(), Stop> {
        let keyspace = self.keyspace(number).expect("only those present are left");
        let (there, key, expected) =
            (tx.within(keyspace), key_bytes(key), expected[usize::from(number)][rank(key)]);
        let found = self.told(there.get(key))?;
        self.check_value(key, expected, found.as_deref())?;
        let contains = self.told(there.contains_key(key))?;
        if contains != expected.is_some() {
            return Err(Stop::Wrong(format!("contains_key says {contains}")));
        }
        let found = self.told(there.multi_get(&[key]))?;
        self.check_value(key, expected, found.first().and_then(|found| found.as_deref()))
    }

    fn check_range(
        &self,
        tx: &Transaction,
        number: u8,
        range: std::ops::Range<usize>,
        expected: &[Values],
    ) -> Result<(), Stop> {
        let keyspace = self.keyspace(number).expect("only those present are left");
        let values = &expected[usize::from(number)];
        let mut expected = range.clone().filter_map(|rank| Some((rank, values[rank]?)));
        let bounds = Scan::range(key_at(range.start)..key_at(range.end));
        for entry in tx.within(keyspace).scan(bounds) {
            let (key, value) = self.told(entry)?;
            self.check_entry(expected.next(), Some((&key, &value)))?;
        }
        self.check_entry(expected.next(), None)
    }

    /// The same by a cursor, from the first key on, and back again from the last.
    fn check_by_cursor(
        &self,
        tx: &Transaction,
        number: u8,
        range: std::ops::Range<usize>,
        expected: &[Values],
    ) -> Result<(), Stop> {
        let keyspace = self.keyspace(number).expect("only those present are left");
        let values = &expected[usize::from(number)];
        let mut cursor = tx.within(keyspace).cursor();
        self.told(cursor.seek(key_at(range.start)))?;
        for rank in range.clone().filter(|rank| values[*rank].is_some()) {
            self.check_entry(values[rank].map(|value| (rank, value)), cursor.entry())?;
            self.told(cursor.next())?;
        }
        self.told(cursor.seek_for_prev(key_at(range.end)))?;
        for rank in (range.start..=range.end).rev().filter(|rank| values[*rank].is_some()) {
            self.check_entry(values[rank].map(|value| (rank, value)), cursor.entry())?;
            self.told(cursor.prev())?;
        }
        Ok(())
    }

    /// A [`PutIf`](Op::PutIf): what is expected is what readers see, or something else. It happens if
    /// that is still so once everything that was ordered before is seen.
    pub(crate) fn put_if(&mut self, op: &Op, model: &mut Model) -> Result<(), Stop> {
        let &Op::PutIf { keyspace, key, matches, value } = op else { return Ok(()) };
        if self.keyspace(keyspace).is_none() {
            return Ok(());
        }
        self.before_reading(model)?;
        model.seen_through(self.db().visible_seq_no());
        let found = |model: &Model| model.values(keyspace)[rank(key)].map(value_bytes);
        let (seen, settled) = (found(model), found(&model.settled()));
        let other = || seen.as_ref().map_or(Some(b"other".to_vec()), |_| None);
        let expected = if matches { seen.clone() } else { other() };
        let is_due = expected == seen && expected == settled;
        let handle = self.keyspace(keyspace).expect("asked above");
        // A filter may have marked what is there, and who expects it has read it.
        let stored = self.told(handle.get(key_bytes(key)))?;
        let is_marked = |it: &&[u8]| matches && expected.as_deref() == Some(unmarked(it));
        let expected = stored.as_deref().filter(is_marked).or(expected.as_deref());
        let bytes = value.map(value_bytes);
        let result = handle.put_if(key_bytes(key), expected, bytes.as_deref());
        let durability = self.setup.durability;
        match result.transpose() {
            None if !is_due => Ok(()),
            None => {
                Err(Stop::Wrong("it was refused, though the value is what it should be".into()))
            }
            Some(Ok(_)) if !is_due => {
                Err(Stop::Wrong("it was done, though the value is another one".into()))
            }
            Some(result) if is_due => self
                .ordered(result, vec![(keyspace, key, value)], None, durability, model)
                .map(drop),
            Some(result) => self.told(result).map(drop),
        }
    }
}

/// Adds a change to a transaction; [some](has_ttl) of its values have a time to live, in milliseconds.
pub(crate) fn add_change(
    tx: &Transaction,
    keyspace: &Keyspace,
    change: Change,
    ttl_ms: Option<u64>,
) {
    let there = tx.within(keyspace);
    let ttl = ttl_ms.map(Duration::from_millis);
    match change {
        Change::DeleteRange { from, to: Some(to), .. } => {
            there.delete_range(key_bytes(from)..key_bytes(to));
        }
        Change::DeleteRange { from, to: None, .. } => there.delete_range(key_bytes(from)..),
        Change::DeletePrefix { key, .. } => there.delete_prefix(key_bytes(key)),
        Change::Write((_, key, value)) => match (value, ttl) {
            (Some(operand), _) if is_operand(operand) => {
                there.merge(key_bytes(key), operand_bytes(operand));
            }
            (Some(value), Some(ttl)) if has_ttl(value) => {
                there.put_ttl(key_bytes(key), value_bytes(value), ttl);
            }
            (Some(value), _) => there.put(key_bytes(key), value_bytes(value)),
            (None, _) => there.delete(key_bytes(key)),
        },
    }
}

/// What readers find in all keyspaces.
fn all_values(model: &Model) -> Vec<Values> {
    (0..KEYSPACES).map(|keyspace| model.values(keyspace)).collect()
}

/// What the transaction itself finds after a write of its own.
fn note_own(values: &mut [Values], (keyspace, key, value): Write) {
    let held = &mut values[usize::from(keyspace)][rank(key)];
    *held = match value {
        Some(operand) if is_operand(operand) => {
            Some(merged(held.map(value_bytes).as_deref(), operand))
        }
        value => value,
    };
}
