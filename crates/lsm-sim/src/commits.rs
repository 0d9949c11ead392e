//! How commits are asked for, waited for, and told to the model.

use std::collections::BTreeMap;
use std::time::Duration;

use lsm_engine::{Durability, Keyspace, SeqNo, WriteBatch, WriteOptions};

use crate::chain::{is_operand, operand_bytes};
use crate::data::{UNKNOWN, Write, has_ttl, key_bytes, rank, swept_keys, value_bytes};
use crate::model::Model;
use crate::op::{Change, Op};
use crate::world::{Stop, World};

/// Tickets that are in flight at most; one more waits for the oldest.
const TICKETS: usize = 6;

impl World {
    pub(crate) fn write(
        &mut self,
        writes: &[Write],
        durability: Durability,
        model: &mut Model,
    ) -> Result<(), Stop> {
        self.write_for(None, writes, durability, model)
    }

    /// The same for values of which [some](has_ttl) have a time to live, in milliseconds.
    pub(crate) fn write_for(
        &mut self,
        ttl_ms: Option<u64>,
        writes: &[Write],
        durability: Durability,
        model: &mut Model,
    ) -> Result<(), Stop> {
        let writes = self.present(writes);
        let options = WriteOptions::durability(durability);
        let ttl = ttl_ms.map(Duration::from_millis);
        let result = match writes.as_slice() {
            [] => return Ok(()),
            &[(keyspace, key, value)] => {
                let keyspace = self.keyspace(keyspace).expect("only those present are left");
                match (value, ttl) {
                    (Some(operand), _) if is_operand(operand) => {
                        keyspace.merge_with(key_bytes(key), operand_bytes(operand), options)
                    }
                    (Some(value), Some(ttl)) if has_ttl(value) => {
                        keyspace.put_ttl_with(key_bytes(key), value_bytes(value), ttl, options)
                    }
                    (Some(value), _) => {
                        keyspace.put_with(key_bytes(key), value_bytes(value), options)
                    }
                    (None, _) => keyspace.delete_with(key_bytes(key), options),
                }
            }
            _ => self.db().write_with(&self.batch(&writes, ttl), options),
        };
        let seq_no = self.ordered(result, writes, ttl_ms, durability, model)?;
        self.check_visible(seq_no)
    }

    pub(crate) fn write_async(&mut self, writes: &[Write], model: &mut Model) -> Result<(), Stop> {
        let writes = self.present(writes);
        if writes.is_empty() {
            return Ok(());
        }
        if self.tickets.len() == TICKETS {
            self.wait(0)?;
        }
        let mut ticket = None;
        let result = self.db().write_async(&self.batch(&writes, None)).map(|it| {
            let seq_no = it.seq_no();
            ticket = Some(it);
            seq_no
        });
        self.ordered(result, writes, None, self.setup.durability, model)?;
        self.tickets.extend(ticket);
        Ok(())
    }

    pub(crate) fn ingest(&mut self, writes: &[Write], model: &mut Model) -> Result<(), Stop> {
        let writes = to_ingest(&self.present(writes));
        let Some(&(number, ..)) = writes.first() else { return Ok(()) };
        let keyspace = self.keyspace(number).expect("only those present are left");
        let brought = bring_in(keyspace, &writes);
        let seq_no = self.ordered(brought, writes, None, Durability::Disk, model)?;
        model.feed.note_ingest();
        self.check_visible(seq_no)
    }

    /// A [`Sweep`](Op::Sweep), of which nobody finds anything.
    pub(crate) fn sweep(
        &mut self,
        number: u8,
        durability: Durability,
        model: &mut Model,
    ) -> Result<(), Stop> {
        let Some(keyspace) = self.keyspace(number) else { return Ok(()) };
        let mut batch = WriteBatch::new();
        swept_keys().for_each(|key| batch.within(keyspace).delete(key));
        let result = self.db().write_with(&batch, WriteOptions::durability(durability));
        let seq_no = self.ordered(result, Vec::new(), None, durability, model)?;
        self.check_visible(seq_no)
    }

    /// A [`DeleteRange`](Op::DeleteRange).
    pub(crate) fn delete_range(&mut self, op: &Op, model: &mut Model) -> Result<(), Stop> {
        let &Op::DeleteRange { keyspace, from, to, ref writes, durability } = op else {
            return Ok(());
        };
        let Some(handle) = self.keyspace(keyspace) else { return Ok(()) };
        let writes = self.present(writes);
        let mut all = Change::DeleteRange { keyspace, from, to }.writes();
        all.extend_from_slice(&writes);
        if all.is_empty() {
            return Ok(());
        }
        let options = WriteOptions::durability(durability);
        let result = if writes.is_empty() {
            match to {
                Some(to) => handle.delete_range_with(key_bytes(from)..key_bytes(to), options),
                None => handle.delete_range_with(key_bytes(from).., options),
            }
        } else {
            let mut batch = WriteBatch::new();
            add_delete_range(&mut batch, handle, from, to);
            self.add_to(&mut batch, &writes, None);
            self.db().write_with(&batch, options)
        };
        let seq_no = self.ordered(result, all, None, durability, model)?;
        self.check_visible(seq_no)
    }

    /// What was acknowledged is visible.
    pub(crate) fn check_visible(&self, seq_no: SeqNo) -> Result<(), Stop> {
        if self.db().visible_seq_no() < seq_no {
            return Err(Stop::Wrong("it was acknowledged before it was visible".into()));
        }
        Ok(())
    }

    /// The engine has given a commit its place, or has failed to: then it may survive, or not.
    pub(crate) fn ordered(
        &mut self,
        result: lsm_engine::Result<SeqNo>,
        writes: Vec<Write>,
        ttl_ms: Option<u64>,
        durability: Durability,
        model: &mut Model,
    ) -> Result<SeqNo, Stop> {
        self.given(result, model, |model, seq_no| {
            model.append(writes, ttl_ms, seq_no, durability);
        })
    }

    /// The same, where `append` tells the model what the commit writes.
    pub(crate) fn given(
        &mut self,
        result: lsm_engine::Result<SeqNo>,
        model: &mut Model,
        append: impl FnOnce(&mut Model, SeqNo),
    ) -> Result<SeqNo, Stop> {
        match result {
            Ok(seq_no) if seq_no <= self.last_seq_no => {
                let wrong = format!("sequence number {seq_no} follows {}", self.last_seq_no);
                Err(Stop::Wrong(wrong))
            }
            Ok(seq_no) => {
                self.last_seq_no = seq_no;
                append(model, seq_no);
                Ok(seq_no)
            }
            Err(_) if self.place.has_crashed() => {
                append(model, UNKNOWN);
                Err(Stop::Crashed)
            }
            Err(error) => Err(Stop::Wrong(error.to_string())),
        }
    }

    /// The writes to keyspaces that are there.
    pub(crate) fn present(&self, writes: &[Write]) -> Vec<Write> {
        let is_there = |write: &&Write| self.keyspace(write.0).is_some();
        writes.iter().filter(is_there).copied().collect()
    }

    fn batch(&self, writes: &[Write], ttl: Option<Duration>) -> WriteBatch {
        let mut batch = WriteBatch::new();
        self.add_to(&mut batch, writes, ttl);
        batch
    }

    fn add_to(&self, batch: &mut WriteBatch, writes: &[Write], ttl: Option<Duration>) {
        for &(keyspace, key, value) in writes {
            let keyspace = self.keyspace(keyspace).expect("only those present are left");
            let mut batch = batch.within(keyspace);
            match (value, ttl) {
                (Some(operand), _) if is_operand(operand) => {
                    batch.merge(key_bytes(key), operand_bytes(operand));
                }
                (Some(value), Some(ttl)) if has_ttl(value) => {
                    batch.put_ttl(key_bytes(key), value_bytes(value), ttl);
                }
                (Some(value), _) => batch.put(key_bytes(key), value_bytes(value)),
                (None, _) => batch.delete(key_bytes(key)),
            }
        }
    }

    pub(crate) fn wait(&mut self, index: usize) -> Result<(), Stop> {
        let ticket = self.tickets.remove(index);
        let seq_no = self.told(ticket.wait())?;
        if self.db().visible_seq_no() < seq_no {
            return Err(Stop::Wrong("a ticket resolved before its write was visible".into()));
        }
        Ok(())
    }

    /// The engine says that everything so far is on the disk, and so it must be visible.
    pub(crate) fn all_is_durable(&self, model: &mut Model) -> Result<(), Stop> {
        model.seen_through(self.db().visible_seq_no());
        if model.unseen() > 0 {
            return Err(Stop::Wrong(format!("{} durable commits are unseen", model.unseen())));
        }
        model.all_is_durable();
        Ok(())
    }
}

/// The last put or delete of each key of the first write's keyspace, in the order of the keys.
pub(crate) fn to_ingest(writes: &[Write]) -> Vec<Write> {
    let keyspace = writes.first().map(|write| write.0);
    let here = writes.iter().filter(|write| Some(write.0) == keyspace);
    let here = here.filter(|write| !write.2.is_some_and(is_operand));
    here.map(|write| (rank(write.1), *write)).collect::<BTreeMap<_, _>>().into_values().collect()
}

/// Brings sorted writes in as tables.
pub(crate) fn bring_in(keyspace: &Keyspace, writes: &[Write]) -> lsm_engine::Result<SeqNo> {
    let mut load = keyspace.bulk_load()?;
    for &(_, key, value) in writes {
        match value {
            Some(value) => load.put(key_bytes(key), value_bytes(value))?,
            None => load.delete(key_bytes(key))?,
        }
    }
    Ok(load.finish()?.seq_no)
}

/// Adds the range delete itself to a batch.
pub(crate) fn add_delete_range(
    batch: &mut WriteBatch,
    keyspace: &Keyspace,
    from: u16,
    to: Option<u16>,
) {
    let mut batch = batch.within(keyspace);
    match to {
        Some(to) => batch.delete_range(key_bytes(from)..key_bytes(to)),
        None => batch.delete_range(key_bytes(from)..),
    }
}
