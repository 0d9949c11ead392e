//! One writer in this process whose data grows, on a disk that has an end.
//!
//! Its commits are those of a [`Stream`], and between two of them it puts an entry under a new key.
//! What was acknowledged is compared as often as somebody asks.

use std::time::Duration;

use lsm_engine::{Durability, ErrorKind, Reads, WriteBatch, WriteOptions};
use lsm_workload::Rng;

use crate::real::effect::Effect;
use crate::real::load::Opened;
use crate::real::stream::Stream;

/// Bytes of a value under a new key.
const VALUE_BYTES: usize = 1000;
/// The longest that a write may wait for a flush or a merge.
const PATIENCE: Duration = Duration::from_secs(20);

/// The writer, and what must be there.
#[derive(Debug)]
pub(crate) struct Growth {
    effect: Effect,
    /// Commits of the stream that were acknowledged.
    acknowledged: u64,
    /// Commits that are on the disk: the last one that was acknowledged so, and all before it.
    durable: u64,
    /// Whether the next one may be there all the same: the engine could not say.
    may_be_ahead: bool,
    /// New keys that are there: this many, from this one on.
    first: u64,
    grown: u64,
}

impl Growth {
    pub(crate) fn new(seed: u64) -> Self {
        let effect = Effect::nothing(Stream { seed, writer: 0 });
        Self { effect, acknowledged: 0, durable: 0, may_be_ahead: false, first: 0, grown: 0 }
    }

    /// Makes the next commit of the stream.
    pub(crate) fn commit(&mut self, opened: &Opened) -> lsm_engine::Result<()> {
        let commit = self.effect.stream.commit(self.acknowledged + 1);
        match opened.commit(&mut WriteBatch::new(), &commit, within_patience(commit.durability)) {
            Ok(_) => {
                self.acknowledged += 1;
                self.may_be_ahead = false;
                if commit.durability == Durability::Disk {
                    self.durable = self.acknowledged;
                }
                Ok(())
            }
            Err(error) => {
                self.may_be_ahead |= error.is_outcome_unknown();
                Err(error)
            }
        }
    }

    /// Makes the next commit, and puts an entry under a new key, durably.
    pub(crate) fn grow(&mut self, opened: &Opened) -> lsm_engine::Result<()> {
        self.commit(opened)?;
        let options = within_patience(Durability::Disk);
        opened.db.put_with(new_key(self.grown), new_value(self.grown), options)?;
        self.grown += 1;
        self.durable = self.acknowledged;
        Ok(())
    }

    /// Deletes every new key, a few at a time.
    pub(crate) fn shrink(&mut self, opened: &Opened) -> lsm_engine::Result<()> {
        let mut batch = WriteBatch::new();
        while self.first < self.grown {
            batch.clear();
            let end = (self.first + 64).min(self.grown);
            (self.first..end).for_each(|n| batch.delete(new_key(n)));
            opened.db.write(&batch)?;
            self.first = end;
        }
        Ok(())
    }

    /// After the database was opened anew: what could not be said is known now.
    ///
    /// # Errors
    /// What is lost or wrong.
    pub(crate) fn reopened(&mut self, opened: &Opened) -> Result<(), String> {
        self.compare(opened)?;
        self.acknowledged = self.effect.count();
        self.may_be_ahead = false;
        Ok(())
    }

    /// After the operating system lost what it was not made to write: what is on the disk is known.
    ///
    /// # Errors
    /// What is lost or wrong.
    pub(crate) fn reopened_without_caches(&mut self, opened: &Opened) -> Result<(), String> {
        self.effect = Effect::nothing(self.effect.stream);
        let may_be_there = self.acknowledged + u64::from(self.may_be_ahead);
        self.compare_between(opened, self.durable, may_be_there)?;
        self.acknowledged = self.effect.count();
        self.may_be_ahead = false;
        Ok(())
    }

    /// Holds everything against what was acknowledged.
    ///
    /// # Errors
    /// What is lost or wrong.
    pub(crate) fn compare(&mut self, opened: &Opened) -> Result<(), String> {
        let may_be_there = self.acknowledged + u64::from(self.may_be_ahead);
        self.compare_between(opened, self.acknowledged, may_be_there)
    }

    fn compare_between(&mut self, opened: &Opened, must: u64, may: u64) -> Result<(), String> {
        let snapshot = opened.db.snapshot();
        let lies_ahead = self.effect.compare(&opened.at(&snapshot))?;
        let count = self.effect.count();
        if !lies_ahead || count < must {
            return Err(format!("lost: {count} commits are there, of {must} that have to be"));
        }
        if count > may {
            return Err(format!("a refused commit is there: {count}, of {may} that may be"));
        }
        let told = |error: lsm_engine::Error| format!("could not read: {error}");
        let mut entries = snapshot.prefix(b"new/");
        for n in self.first..self.grown {
            match entries.next().transpose().map_err(told)? {
                Some((key, value)) if key[..] == new_key(n) && value[..] == new_value(n) => {}
                found => {
                    return Err(format!("lost: new key {n} was acknowledged; found {found:?}"));
                }
            }
        }
        // At most one more: the one whose put failed in a way that leaves it open.
        let beyond = entries.count();
        if beyond > 1 { Err(format!("{beyond} keys are there that nobody wrote")) } else { Ok(()) }
    }
}

/// Waits for room in the log for so long and no longer: a write that never returns is a hang.
fn within_patience(durability: Durability) -> WriteOptions {
    WriteOptions { deadline: Some(PATIENCE), ..WriteOptions::durability(durability) }
}

/// Tells a refusal for want of room from everything else that a write must not answer.
pub(crate) fn is_refused(result: lsm_engine::Result<()>) -> Result<bool, String> {
    match result {
        Ok(()) => Ok(false),
        Err(error) if error.kind() == ErrorKind::NoSpace => Ok(true),
        Err(error) => Err(format!("a full disk is answered with {error:?}")),
    }
}

fn new_key(n: u64) -> Vec<u8> {
    format!("new/{n:08}").into_bytes()
}

fn new_value(n: u64) -> Vec<u8> {
    let mut value = vec![0; VALUE_BYTES];
    Rng::new(n).fill(&mut value);
    value
}
