//! One run of a history with a fault in it; what must hold after that is in `run/after.rs`.

mod after;

use lsm_engine::{
    Db, Durability, Env, ErrorKind, Keyspace, Options, Reads, Scan, SeqNo, Snapshot, WriteBatch,
    WriteOptions,
};
use lsm_io::{Fault, SimFs};

use crate::chain::{is_operand, operand_bytes};
use crate::commits::{add_delete_range, bring_in, to_ingest};
use crate::contents::{State, Write, difference, key_bytes, value_bytes};
use crate::data::KEYSPACES;
use crate::faults::FaultCount;
use crate::faults::expected::Expected;
use crate::history::History;
use crate::op::{Change, Op};
use crate::transactions::add_change;

const DIR: &str = "db";

/// A database on a disk with a fault, and what is expected of it.
pub(super) struct Run {
    fs: SimFs,
    options: Options,
    db: Option<Db>,
    /// Those that could be opened.
    keyspaces: Vec<Option<Keyspace>>,
    snapshots: Vec<(Snapshot, State)>,
    /// What may be found after a crash.
    model: Expected,
    /// What reads see now: without writes whose outcome is unknown.
    visible: State,
    seed: u64,
    count: FaultCount,
}

impl Run {
    pub(super) fn new(history: &History, fault: Fault) -> Self {
        let fs = SimFs::new(history.seed).fail(fault);
        let model = Expected::default();
        Self {
            options: history.setup.options(Env::simulated(fs.shared())),
            db: None,
            keyspaces: Vec::new(),
            snapshots: Vec::new(),
            visible: model.state.clone(),
            model,
            fs,
            seed: history.seed,
            count: FaultCount { points: 1, ..FaultCount::default() },
        }
    }

    pub(super) fn play(mut self, ops: &[Op]) -> Result<Option<FaultCount>, String> {
        self.reopen()?;
        let mut struck_in = "the open".to_owned();
        for op in ops {
            if self.db.is_none() {
                break;
            }
            if self.fs.faults_struck() == 0 {
                struck_in = op.to_string();
            }
            self.apply(op)
                .map_err(|wrong| format!("{op}: {wrong}; a call failed in {struck_in}"))?;
        }
        let located = |wrong: String| format!("a call failed in {struck_in}; {wrong}");
        self.end().map_err(located)
    }

    fn poison(&self) -> bool {
        self.db.as_ref().is_some_and(|db| db.metrics().poison.is_some())
    }

    /// What an operation came to: an error is well, if a call has failed and it says so.
    fn told<T>(&self, result: lsm_engine::Result<T>) -> Result<Option<T>, String> {
        let error = match result {
            Ok(value) => return Ok(Some(value)),
            Err(error) => error,
        };
        match error.kind() {
            ErrorKind::Io | ErrorKind::NoSpace if self.fs.faults_struck() > 0 => Ok(None),
            ErrorKind::ReadOnly if self.poison() => Ok(None),
            kind => Err(format!("{kind:?}: {error}")),
        }
    }

    fn reopen(&mut self) -> Result<(), String> {
        self.db = self.told(Db::open_with(DIR, self.options.clone()))?;
        self.keyspaces.clear();
        let Some(db) = &self.db else { return Ok(()) };
        self.keyspaces.push(Some(db.default_keyspace().clone()));
        for number in 1..KEYSPACES {
            let keyspace = self.told(db.keyspace(&format!("keyspace-{number}")))?;
            self.keyspaces.push(keyspace);
        }
        Ok(())
    }

    fn apply(&mut self, op: &Op) -> Result<(), String> {
        let db = self.db.clone().ok_or("it is not open")?;
        match op {
            Op::Write { writes, durability } | Op::WriteTtl { writes, durability, .. } => {
                return self.write(&db, WriteBatch::new(), Vec::new(), writes, *durability);
            }
            Op::Ingest { writes } => return self.ingest(&to_ingest(writes)),
            Op::DeleteRange { keyspace, from, to, writes, durability } => {
                let Some(handle) = self.keyspace(*keyspace) else { return Ok(()) };
                let mut batch = WriteBatch::new();
                add_delete_range(&mut batch, &handle, *from, *to);
                let range = Change::DeleteRange { keyspace: *keyspace, from: *from, to: *to };
                let deleted = range.writes();
                return self.write(&db, batch, deleted, writes, *durability);
            }
            Op::Transact { reads, writes, durability, .. } => {
                return self.transact(&db, reads, writes, *durability);
            }
            Op::Get { keyspace, key } => {
                let key = key_bytes(*key);
                let expected = self.visible[usize::from(*keyspace)].get(&key);
                let Some(keyspace) = self.keyspace(*keyspace) else { return Ok(()) };
                if let Some(found) = self.told(keyspace.get(&key))? {
                    same(expected.map(Vec::as_slice), found.as_deref())?;
                }
            }
            Op::MultiGet { keyspace, keys } => {
                let keys: Vec<_> = keys.iter().map(|key| key_bytes(*key)).collect();
                let map = &self.visible[usize::from(*keyspace)];
                let Some(keyspace) = self.keyspace(*keyspace) else { return Ok(()) };
                if let Some(found) = self.told(keyspace.multi_get(&keys))? {
                    for (key, found) in keys.iter().zip(found) {
                        same(map.get(key).map(Vec::as_slice), found.as_deref())?;
                    }
                }
            }
            Op::Scan { .. } | Op::Walk { .. } => return self.check_contents(),
            Op::Snapshot if self.snapshots.len() < 4 => {
                self.snapshots.push((db.snapshot(), self.visible.clone()));
            }
            Op::Snapshot => {}
            Op::ReadSnapshot(index) => {
                let Some((snapshot, expected)) = self.snapshots.get(usize::from(*index)) else {
                    return Ok(());
                };
                for (keyspace, expected) in self.keyspaces.iter().zip(expected) {
                    let Some(keyspace) = keyspace else { continue };
                    let scan = snapshot.within(keyspace).scan(Scan::all());
                    if let Some(found) = self.told(scan.collect::<Result<Vec<_>, _>>())? {
                        let expected: Vec<_> = expected.iter().collect();
                        let found: Vec<_> = found.iter().map(|(k, v)| (&k[..], &v[..])).collect();
                        let is_same = expected.len() == found.len()
                            && expected.iter().zip(&found).all(|(e, f)| e.0 == f.0 && e.1 == f.1);
                        if !is_same {
                            return Err("a snapshot has changed".into());
                        }
                    }
                }
            }
            Op::Release(index) => {
                if usize::from(*index) < self.snapshots.len() {
                    self.snapshots.remove(usize::from(*index));
                }
            }
            Op::Flush => {
                if self.told(db.flush())?.is_some() {
                    self.model.all_is_durable();
                }
            }
            Op::Compact { keyspace, from, to } => {
                let (one, other) = (key_bytes(*from), key_bytes(*to));
                let range = if one <= other { one..other } else { other..one };
                if let Some(keyspace) = self.keyspace(*keyspace) {
                    self.told(keyspace.compact_range(range))?;
                }
            }
            Op::Background(step) => drop(self.told(db.step(*step))?),
            Op::Sync => {
                if self.told(db.sync())?.is_some() {
                    self.model.all_is_durable();
                }
            }
            Op::SetOptions { keyspace, choice } => {
                if let Some(keyspace) = self.keyspace(*keyspace) {
                    let mut options = keyspace.options();
                    options.compaction = choice.keeping_all().options().compaction;
                    self.told(keyspace.set_options(options))?;
                }
            }
            Op::Reopen => {
                drop(db);
                let is_closed = self.close()?;
                self.reopen()?;
                return if self.db.is_some() { self.found(is_closed) } else { Ok(()) };
            }
            // Some replace the disk, and the fault with it; the others are the model's.
            Op::Kill
            | Op::PowerCut(_)
            | Op::Tick(_)
            | Op::SetBack(_)
            | Op::WriteAsync { .. }
            | Op::PutIf { .. }
            | Op::KeepChanges { .. }
            | Op::Follow
            | Op::Wait(_)
            | Op::ForgetTickets
            | Op::WaitDurable(_)
            | Op::OpenScan { .. }
            | Op::Advance { .. }
            | Op::ReadBeside
            | Op::ReadReader
            | Op::Verify
            | Op::Create { .. }
            | Op::Drop(_)
            | Op::Sweep { .. }
            | Op::Export { .. }
            | Op::IngestTables { .. }
            | Op::Checkpoint => {}
        }
        Ok(())
    }

    fn keyspace(&self, number: u8) -> Option<Keyspace> {
        self.keyspaces.get(usize::from(number)).cloned().flatten()
    }

    /// Adds `writes` to a batch, which did `done` so far, and writes it.
    fn write(
        &mut self,
        db: &Db,
        mut batch: WriteBatch,
        mut done: Vec<Write>,
        writes: &[Write],
        durability: Durability,
    ) -> Result<(), String> {
        done.extend_from_slice(writes);
        if done.is_empty() {
            return Ok(());
        }
        for (keyspace, key, value) in writes {
            let Some(keyspace) = self.keyspace(*keyspace) else { return Ok(()) };
            match value {
                Some(operand) if is_operand(*operand) => {
                    batch.within(&keyspace).merge(key_bytes(*key), operand_bytes(*operand));
                }
                Some(value) => {
                    batch.within(&keyspace).put(key_bytes(*key), value_bytes(*value));
                }
                None => batch.within(&keyspace).delete(key_bytes(*key)),
            }
        }
        let was_poisoned = self.poison();
        let written = db.write_with(&batch, WriteOptions::durability(durability));
        self.committed(written, was_poisoned, &done, durability)
    }

    /// A transaction, with which nobody is at odds.
    fn transact(
        &mut self,
        db: &Db,
        reads: &[(u8, u16)],
        writes: &[Change],
        durability: Durability,
    ) -> Result<(), String> {
        let was_poisoned = self.poison();
        let tx = db.transaction();
        for (number, key) in reads {
            let key = key_bytes(*key);
            let Some(keyspace) = self.keyspace(*number) else { return Ok(()) };
            let Some(found) = self.told(tx.within(&keyspace).get(&key))? else { return Ok(()) };
            let expected = self.visible[usize::from(*number)].get(&key);
            same(expected.map(Vec::as_slice), found.as_deref())?;
        }
        if writes.is_empty() {
            return Ok(());
        }
        let mut done = Vec::new();
        for change in writes {
            let Some(keyspace) = self.keyspace(change.keyspace()) else { return Ok(()) };
            add_change(&tx, &keyspace, *change, None);
            done.extend(change.writes());
        }
        let committed = tx.commit_with(WriteOptions::durability(durability));
        self.committed(committed, was_poisoned, &done, durability)
    }

    fn ingest(&mut self, writes: &[Write]) -> Result<(), String> {
        let Some(keyspace) = writes.first().and_then(|write| self.keyspace(write.0)) else {
            return Ok(());
        };
        let was_poisoned = self.poison();
        let brought = bring_in(&keyspace, writes);
        self.committed(brought, was_poisoned, writes, Durability::Disk)
    }

    /// What became of a commit.
    fn committed(
        &mut self,
        result: lsm_engine::Result<SeqNo>,
        was_poisoned: bool,
        writes: &[Write],
        durability: Durability,
    ) -> Result<(), String> {
        match result {
            Ok(_) if was_poisoned => Err("acknowledged after a sync had failed for good".into()),
            Ok(_) => {
                self.model.commit(writes, durability);
                self.visible.clone_from(&self.model.state);
                Ok(())
            }
            Err(error) if error.is_outcome_unknown() => {
                self.model.attempt(writes);
                if self.poison() { Ok(()) } else { Err(format!("unknown, and goes on: {error}")) }
            }
            Err(error) => self.told::<()>(Err(error)).map(drop),
        }
    }

    /// Closes; whether it went well.
    fn close(&mut self) -> Result<bool, String> {
        self.snapshots.clear();
        self.keyspaces.clear();
        let was_poisoned = self.poison();
        let Some(db) = self.db.take() else { return Ok(false) };
        match db.close() {
            Ok(()) if was_poisoned => Err("closed as if nothing had happened".into()),
            Ok(()) => Ok(true),
            Err(error) => match error.kind() {
                ErrorKind::Io | ErrorKind::NoSpace | ErrorKind::ReadOnly => Ok(false),
                kind => Err(format!("closing: {kind:?}: {error}")),
            },
        }
    }

    /// Holds what an open has found against the model, which takes it over.
    fn found(&mut self, is_closed: bool) -> Result<(), String> {
        let Some(found) = self.contents()? else { return Ok(()) };
        if is_closed && found != self.model.state {
            return Err(format!("after a close: {}", difference(&self.model.state, &found)));
        }
        self.model.crashed(&found, false)?;
        self.visible.clone_from(&self.model.state);
        Ok(())
    }

    /// Everything, if it can be read. Keyspaces that could not be created hold nothing.
    fn contents(&self) -> Result<Option<State>, String> {
        let mut state = State::new();
        for keyspace in &self.keyspaces {
            let Some(keyspace) = keyspace else {
                state.push(Default::default());
                continue;
            };
            let entries = keyspace.iter().collect::<Result<Vec<_>, _>>();
            let Some(entries) = self.told(entries)? else { return Ok(None) };
            state.push(entries.into_iter().map(|(k, v)| (k.to_vec(), v.to_vec())).collect());
        }
        Ok(Some(state))
    }

    fn check_contents(&self) -> Result<(), String> {
        match self.contents()? {
            Some(found) if found != self.visible => Err(difference(&self.visible, &found)),
            _ => Ok(()),
        }
    }
}

fn same(expected: Option<&[u8]>, found: Option<&[u8]>) -> Result<(), String> {
    if expected == found {
        return Ok(());
    }
    Err(format!("expected {expected:?}, found {found:?}"))
}
