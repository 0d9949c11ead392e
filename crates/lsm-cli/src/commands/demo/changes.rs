//! Changing the database and the plan together.

use lsm_engine::{Db, WriteBatch};

use super::GROUP_RECORDS;
use super::source::Plan;
use crate::exit::Failure;

/// Changes to the default keyspace, written in batches and entered in the plan.
pub(super) struct Changes<'a> {
    db: &'a Db,
    batch: WriteBatch,
}

impl<'a> Changes<'a> {
    pub(super) fn new(db: &'a Db) -> Self {
        Self { db, batch: WriteBatch::new() }
    }

    pub(super) fn put(&mut self, plan: &mut Plan, key: &str, value: &str) -> Result<(), Failure> {
        plan.put(key, value);
        self.batch.put(key, value);
        self.write_if_full()
    }

    pub(super) fn delete(&mut self, plan: &mut Plan, key: &str) -> Result<(), Failure> {
        plan.delete(key);
        self.batch.delete(key);
        self.write_if_full()
    }

    fn write_if_full(&mut self) -> Result<(), Failure> {
        if self.batch.len() >= GROUP_RECORDS { self.write() } else { Ok(()) }
    }

    /// Writes what is left.
    pub(super) fn write(&mut self) -> Result<(), Failure> {
        self.db.write(&self.batch)?;
        self.batch.clear();
        Ok(())
    }
}
