//! The engine on a disk, doing what a history says and answering for it to the model.
//!
//! How answers to reads are compared is in `answers.rs`, what is asked of a directory in
//! `oracle.rs`.

use std::path::PathBuf;

use lsm_engine::{Db, Durability, ErrorKind, Iter, Keyspace, SeqNo, Snapshot, Ticket};
use lsm_engine::{Reads, Step, WriteBatch, WriteOptions};
use lsm_io::CrashPolicy;

use crate::answers::Transcript;
use crate::data::{KEYSPACES, UNKNOWN, Write, key_bytes, value_bytes};
use crate::model::Model;
use crate::op::Op;
use crate::oracle::KeyspaceIds;
use crate::place::Place;
use crate::setup::{Choice, Setup};

/// Tickets that are in flight at most; one more waits for the oldest.
const TICKETS: usize = 6;
/// Snapshots that are kept at most.
const SNAPSHOTS: usize = 4;
/// Scans that are under way at most.
const SCANS: usize = 2;

/// Checkpoints that are made at most.
const CHECKPOINTS: usize = 2;
/// Steps of background work after which there must be none left.
const SETTLING_STEPS: usize = 500;

/// Why a history stopped.
#[derive(Debug)]
pub enum Stop {
    /// The simulated machine crashed under it.
    Crashed,
    /// The engine did something that it must not.
    Wrong(String),
}

/// The engine on a disk.
#[derive(Debug)]
pub struct World {
    /// The disk.
    pub place: Place,
    pub(crate) setup: Setup,
    pub(crate) db: Option<Db>,
    pub(crate) keyspaces: Vec<Option<Keyspace>>,
    pub(crate) snapshots: Vec<Snapshot>,
    pub(crate) scans: Vec<Iter>,
    pub(crate) reader: Option<Db>,
    tickets: Vec<Ticket>,
    last_seq_no: SeqNo,
    /// Segments made of old ones, before the last opening.
    recycled_before: u64,
    pub(crate) ids: KeyspaceIds,
    /// What reads answered, if somebody wants to compare it with another world's.
    pub(crate) transcript: Option<Transcript>,
}

impl World {
    /// Opens the engine on a disk.
    ///
    /// # Errors
    /// `Crashed` or what went wrong.
    pub fn open(place: Place, setup: Setup) -> Result<Self, Stop> {
        let mut world = Self {
            place,
            setup,
            db: None,
            keyspaces: Vec::new(),
            snapshots: Vec::new(),
            scans: Vec::new(),
            reader: None,
            tickets: Vec::new(),
            last_seq_no: 0,
            recycled_before: 0,
            ids: KeyspaceIds::default(),
            transcript: None,
        };
        world.open_again()?;
        Ok(world)
    }

    /// Keeps account of what reads answer. What is in flight is waited for before anything is read,
    /// for how soon it is done by itself depends on the setup.
    pub fn keep_transcript(&mut self) {
        self.transcript = Some(Transcript::default());
    }

    /// What reads answered so far, in short.
    pub fn transcript(&self) -> u64 {
        self.transcript.as_ref().map_or(0, Transcript::digest)
    }

    fn open_again(&mut self) -> Result<(), Stop> {
        let options = self.setup.options(self.place.env());
        let db = self.told(Db::open_with(self.place.dir(), options))?;
        self.keyspaces = vec![None; usize::from(KEYSPACES)];
        for name in db.keyspaces() {
            let number = number_of(&name)?;
            self.keyspaces[usize::from(number)] = Some(self.told(db.keyspace(&name))?);
        }
        self.db = Some(db);
        self.last_seq_no = 0;
        Ok(())
    }

    /// An error of the engine, judged: after a crash of the machine it is to be expected.
    pub(crate) fn told<T>(&self, result: lsm_engine::Result<T>) -> Result<T, Stop> {
        result.map_err(|error| {
            if self.place.has_crashed() { Stop::Crashed } else { Stop::Wrong(error.to_string()) }
        })
    }

    pub(crate) fn db(&self) -> &Db {
        self.db.as_ref().expect("open between operations")
    }

    pub(crate) fn keyspace(&self, number: u8) -> Option<&Keyspace> {
        self.keyspaces[usize::from(number)].as_ref()
    }

    /// Log segments made of old ones so far.
    pub fn recycled(&self) -> u64 {
        let now = self.db.as_ref().map_or(0, |db| db.metrics().log_segments_recycled);
        self.recycled_before + now
    }

    /// Lets go of every handle of the writer's.
    fn forget(&mut self) {
        self.recycled_before = self.recycled();
        self.scans.clear();
        self.snapshots.clear();
        self.tickets.clear();
        self.keyspaces.clear();
        self.db = None;
    }

    /// Carries out one op and compares every answer with the model's.
    ///
    /// # Errors
    /// `Crashed`, or how the answer is wrong.
    pub fn apply(&mut self, op: &Op, model: &mut Model) -> Result<(), Stop> {
        let result = self.carry_out(op, model);
        if let Some(db) = &self.db {
            model.seen_through(db.visible_seq_no());
        }
        result.map_err(|stop| match stop {
            Stop::Wrong(wrong) => Stop::Wrong(format!("{op}: {wrong}")),
            Stop::Crashed => Stop::Crashed,
        })
    }

    fn carry_out(&mut self, op: &Op, model: &mut Model) -> Result<(), Stop> {
        match op {
            Op::Write { writes, durability } => self.write(writes, *durability, model),
            Op::WriteAsync { writes } => self.write_async(writes, model),
            Op::Wait(index) => {
                if usize::from(*index) < self.tickets.len() {
                    self.wait(usize::from(*index))?;
                }
                Ok(())
            }
            Op::ForgetTickets => {
                self.tickets.clear();
                Ok(())
            }
            Op::WaitDurable(back) => {
                let Some(seq_no) = model.place_of(usize::from(*back)) else { return Ok(()) };
                self.told(self.db().wait_durable(seq_no))?;
                model.seen_through(self.db().visible_seq_no());
                model.durable_through(seq_no);
                Ok(())
            }
            Op::Snapshot if self.snapshots.len() < SNAPSHOTS => {
                self.before_reading(model)?;
                self.snapshots.push(self.db().snapshot());
                model.snapshots.push(model.moment());
                Ok(())
            }
            Op::Release(index) if usize::from(*index) < self.snapshots.len() => {
                self.snapshots.remove(usize::from(*index));
                model.snapshots.remove(usize::from(*index));
                Ok(())
            }
            Op::OpenScan { keyspace } if self.scans.len() < SCANS => {
                self.before_reading(model)?;
                let Some(handle) = self.keyspace(*keyspace) else { return Ok(()) };
                let scan = handle.iter();
                self.scans.push(scan);
                model.begin_scan(*keyspace);
                // A scan is under way from its first entry on.
                self.advance_front(self.scans.len() - 1, model)
            }
            Op::Snapshot | Op::Release(_) | Op::OpenScan { .. } => Ok(()),
            Op::Get { .. }
            | Op::MultiGet { .. }
            | Op::Scan { .. }
            | Op::Walk { .. }
            | Op::Advance { .. }
            | Op::ReadSnapshot(_) => {
                self.before_reading(model)?;
                self.answer(op, model)
            }
            Op::ReadBeside => self.read_beside(model),
            Op::ReadReader => self.read_reader(model),
            Op::Flush => {
                self.told(self.db().flush())?;
                self.all_is_durable(model)
            }
            Op::Compact { keyspace, from, to } => {
                let Some(keyspace) = self.keyspace(*keyspace) else { return Ok(()) };
                let (from, to) = (key_bytes(*from), key_bytes(*to));
                self.told(keyspace.compact_range(from.min(to)..from.max(to)))
            }
            Op::Background(step) => self.told(self.db().step(*step)).map(drop),
            Op::Sync => {
                self.told(self.db().sync())?;
                self.all_is_durable(model)
            }
            Op::Verify => self.verify(),
            Op::Create { keyspace, choice } => self.create(*keyspace, *choice, model),
            Op::Drop(keyspace) => self.drop_keyspace(*keyspace, model),
            Op::SetOptions { keyspace, choice } => {
                let Some(handle) = self.keyspace(*keyspace) else { return Ok(()) };
                model.doubt(*keyspace, Some(*choice));
                self.told(handle.set_options(choice.options()))?;
                model.believe();
                Ok(())
            }
            Op::Checkpoint => self.checkpoint(model),
            Op::Reopen => self.reopen(model),
            Op::Kill => {
                let place = self.place.killed().map_err(Stop::Wrong)?;
                self.move_to(place)?;
                self.survived(model, false)
            }
            Op::PowerCut(policy) => self.power_cut(*policy, self.place.steps(), model),
        }
    }

    // --- writes ---

    fn write(
        &mut self,
        writes: &[Write],
        durability: Durability,
        model: &mut Model,
    ) -> Result<(), Stop> {
        let writes = self.present(writes);
        let options = WriteOptions::durability(durability);
        let result = match writes.as_slice() {
            [] => return Ok(()),
            &[(keyspace, key, value)] => {
                let keyspace = self.keyspace(keyspace).expect("only those present are left");
                match value {
                    Some(value) => keyspace.put_with(key_bytes(key), value_bytes(value), options),
                    None => keyspace.delete_with(key_bytes(key), options),
                }
            }
            _ => self.db().write_with(&self.batch(&writes), options),
        };
        let seq_no = self.ordered(result, writes, durability, model)?;
        if self.db().visible_seq_no() < seq_no {
            return Err(Stop::Wrong("it was acknowledged before it was visible".into()));
        }
        Ok(())
    }

    fn write_async(&mut self, writes: &[Write], model: &mut Model) -> Result<(), Stop> {
        let writes = self.present(writes);
        if writes.is_empty() {
            return Ok(());
        }
        if self.tickets.len() == TICKETS {
            self.wait(0)?;
        }
        let mut ticket = None;
        let result = self.db().write_async(&self.batch(&writes)).map(|it| {
            let seq_no = it.seq_no();
            ticket = Some(it);
            seq_no
        });
        self.ordered(result, writes, self.setup.durability, model)?;
        self.tickets.extend(ticket);
        Ok(())
    }

    /// The engine has given a commit its place, or has failed to: then it may survive, or not.
    fn ordered(
        &mut self,
        result: lsm_engine::Result<SeqNo>,
        writes: Vec<Write>,
        durability: Durability,
        model: &mut Model,
    ) -> Result<SeqNo, Stop> {
        match result {
            Ok(seq_no) if seq_no <= self.last_seq_no => {
                let wrong = format!("sequence number {seq_no} follows {}", self.last_seq_no);
                Err(Stop::Wrong(wrong))
            }
            Ok(seq_no) => {
                self.last_seq_no = seq_no;
                model.append(writes, seq_no, durability);
                Ok(seq_no)
            }
            Err(_) if self.place.has_crashed() => {
                model.append(writes, UNKNOWN, durability);
                Err(Stop::Crashed)
            }
            Err(error) => Err(Stop::Wrong(error.to_string())),
        }
    }

    /// The writes to keyspaces that are there.
    fn present(&self, writes: &[Write]) -> Vec<Write> {
        let is_there = |write: &&Write| self.keyspace(write.0).is_some();
        writes.iter().filter(is_there).copied().collect()
    }

    fn batch(&self, writes: &[Write]) -> WriteBatch {
        let mut batch = WriteBatch::new();
        for &(keyspace, key, value) in writes {
            let keyspace = self.keyspace(keyspace).expect("only those present are left");
            let mut batch = batch.within(keyspace);
            match value {
                Some(value) => batch.put(key_bytes(key), value_bytes(value)),
                None => batch.delete(key_bytes(key)),
            }
        }
        batch
    }

    fn wait(&mut self, index: usize) -> Result<(), Stop> {
        let ticket = self.tickets.remove(index);
        let seq_no = self.told(ticket.wait())?;
        if self.db().visible_seq_no() < seq_no {
            return Err(Stop::Wrong("a ticket resolved before its write was visible".into()));
        }
        Ok(())
    }

    /// The engine says that everything so far is on the disk, and so it must be visible.
    fn all_is_durable(&self, model: &mut Model) -> Result<(), Stop> {
        model.seen_through(self.db().visible_seq_no());
        if model.unseen() > 0 {
            return Err(Stop::Wrong(format!("{} durable commits are unseen", model.unseen())));
        }
        model.all_is_durable();
        Ok(())
    }

    fn before_reading(&self, model: &mut Model) -> Result<(), Stop> {
        if self.transcript.is_none() || model.unseen() == 0 {
            return Ok(());
        }
        self.told(self.db().sync())?;
        self.all_is_durable(model)
    }

    // --- keyspaces ---

    fn create(&mut self, number: u8, choice: Choice, model: &mut Model) -> Result<(), Stop> {
        if self.keyspace(number).is_some() {
            return Ok(());
        }
        model.doubt(number, Some(choice));
        let created = self.db().keyspace_with(&name_of(number), choice.options());
        self.keyspaces[usize::from(number)] = Some(self.told(created)?);
        model.believe();
        Ok(())
    }

    fn drop_keyspace(&mut self, number: u8, model: &mut Model) -> Result<(), Stop> {
        if number == 0 {
            return Ok(());
        }
        let Some(handle) = self.keyspaces[usize::from(number)].take() else { return Ok(()) };
        model.doubt(number, None);
        self.told(self.db().drop_keyspace(handle.clone()))?;
        self.all_is_durable(model)?;
        model.believe();
        let read = handle.get(b"any").err().map(|error| error.kind());
        let write = handle.put(b"any", b"").err().map(|error| error.kind());
        // A write may have to flush before anybody asks where it goes, and the machine crash there.
        if self.place.has_crashed() {
            return Err(Stop::Crashed);
        }
        if (read, write) != (Some(ErrorKind::Invalid), Some(ErrorKind::Invalid)) {
            return Err(Stop::Wrong(format!("a handle to it says {read:?} and {write:?}")));
        }
        Ok(())
    }

    // --- checkpoints ---

    fn checkpoint(&mut self, model: &mut Model) -> Result<(), Stop> {
        if model.checkpoints.len() == CHECKPOINTS {
            return Ok(());
        }
        let copy = model.copy();
        let dir = self.checkpoint_dir(model.checkpoints.len());
        self.told(self.db().checkpoint(dir))?;
        self.all_is_durable(model)?;
        model.checkpoints.push(copy);
        self.check_checkpoint(model.checkpoints.len() - 1, model)
    }

    pub(crate) fn checkpoint_dir(&self, number: usize) -> PathBuf {
        self.place.beside(&format!("checkpoint-{number}"))
    }

    // --- ends ---

    fn reopen(&mut self, model: &mut Model) -> Result<(), Stop> {
        let db = self.db().clone();
        self.forget();
        self.told(db.close())?;
        model.closed();
        self.open_again()?;
        if !self.db().recovery_report().closed_cleanly {
            return Err(Stop::Wrong("a clean close was not recognised".into()));
        }
        self.check_nothing_rewritten()?;
        self.check(model)
    }

    /// Cuts the power, recovers, and holds what is found against the model.
    ///
    /// # Errors
    /// How what is found is wrong.
    pub fn power_cut(
        &mut self,
        policy: CrashPolicy,
        seed: u64,
        model: &mut Model,
    ) -> Result<(), Stop> {
        let place = self.place.cut(policy, seed).map_err(Stop::Wrong)?;
        self.move_to(place)?;
        self.survived(model, true)
    }

    /// Goes on with another disk; nothing is written to this one any more.
    fn move_to(&mut self, place: Place) -> Result<(), Stop> {
        self.place.freeze();
        self.reader = None;
        self.forget();
        self.place = place;
        self.open_again()
    }

    /// Holds what was found after a crash against the model, which takes it over.
    ///
    /// # Errors
    /// How what is found is wrong.
    pub fn survived(&mut self, model: &mut Model, was_power_cut: bool) -> Result<(), Stop> {
        let found = self.contents()?;
        let in_doubt = model.copy();
        model.crashed(&found, was_power_cut).map_err(Stop::Wrong)?;
        self.check_ids(model)?;
        self.check_checkpoints(in_doubt, model)
    }

    /// Carries out background work until there is none left, with no reader in its way.
    ///
    /// # Errors
    /// Those of the work.
    pub fn settle(&mut self, model: &mut Model) -> Result<(), Stop> {
        self.scans.clear();
        model.scans.clear();
        for _ in 0..SETTLING_STEPS {
            let mut did_work = false;
            for step in [Step::Flush, Step::Compact, Step::Log] {
                did_work |= self.told(self.db().step(step))?;
            }
            if !did_work {
                model.seen_through(self.db().visible_seq_no());
                return Ok(());
            }
        }
        let shapes = self.keyspaces.iter().flatten().map(Keyspace::shape);
        let shapes: String = shapes.map(|shape| format!("\n{shape:?}")).collect();
        Err(Stop::Wrong(format!("after {SETTLING_STEPS} steps there is work left:{shapes}")))
    }

    /// Under which names an image of the disk as it is now counts.
    pub fn scene(&self, model: &Model) -> Vec<String> {
        let mut names = self.setup.names();
        let mut note = |is_so: bool, name: &str| {
            if is_so {
                names.push(name.to_owned());
            }
        };
        let lives = 1..KEYSPACES;
        note(lives.clone().any(|number| model.has(number)), "keyspaces.several");
        note(lives.clone().any(|number| model.was_dropped(number)), "keyspaces.dropped");
        note(!model.checkpoints.is_empty(), "checkpoints.made");
        note(!self.snapshots.is_empty(), "snapshots.held");
        note(!self.scans.is_empty(), "scans.under_way");
        note(self.reader.is_some(), "reader.beside");
        note(model.unseen() > 1, "log.group_in_flight");
        note(self.recycled() > 0, "log.recycled");
        names
    }
}

/// The name of a keyspace.
fn name_of(number: u8) -> String {
    if number == 0 { "default".into() } else { format!("keyspace-{number}") }
}

/// The number of the keyspace with this name.
///
/// # Errors
/// No history creates one of this name.
pub(crate) fn number_of(name: &str) -> Result<u8, Stop> {
    let known = (0..KEYSPACES).find(|number| name_of(*number) == name);
    known.ok_or_else(|| Stop::Wrong(format!("there is a keyspace \"{name}\"")))
}
