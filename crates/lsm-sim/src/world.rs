//! The engine on a disk, doing what a history says and answering for it to the model.
//!
//! How commits are made is in `commits.rs`, how answers to reads are compared in `answers.rs`, what is
//! asked of a directory in `oracle.rs`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use lsm_engine::{
    Db, Env, Event, Iter, Keyspace, Listener, Options, Reads, SeqNo, Snapshot, Step, Ticket,
};
use lsm_io::CrashPolicy;

use crate::answers::Transcript;
use crate::data::{KEYSPACES, key_bytes};
use crate::keyspaces::{number_of, open_keyspace};
use crate::model::Model;
use crate::op::Op;
use crate::oracle::KeyspaceIds;
use crate::place::Place;
use crate::setup::{Choice, KEPT_BYTES, START_MS, Setup};

/// Snapshots that are kept at most.
const SNAPSHOTS: usize = 4;
/// Scans that are under way at most.
const SCANS: usize = 2;
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
    clock_ms: Arc<AtomicU64>,
    /// Whether the log is kept for followers, however much and old it is.
    pub(crate) keeps_changes: bool,
    pub(crate) db: Option<Db>,
    pub(crate) keyspaces: Vec<Option<Keyspace>>,
    pub(crate) snapshots: Vec<Snapshot>,
    pub(crate) scans: Vec<Iter>,
    pub(crate) reader: Option<Db>,
    pub(crate) tickets: Vec<Ticket>,
    pub(crate) last_seq_no: SeqNo,
    /// Segments made of old ones, before the last opening.
    recycled_before: u64,
    /// Values that filters have removed since the last opening, as far as the model knows.
    pub(crate) filter_removed: u64,
    /// Whether tables were merged because tombstones lay densely in them.
    merged_for_tombstones: Arc<AtomicBool>,
    /// Transactions that were refused because others were first.
    pub conflicts: u64,
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
        Self::open_at(START_MS, place, setup)
    }

    /// The same while the clock shows this time.
    ///
    /// # Errors
    /// Those of [`open`](Self::open).
    pub fn open_at(clock_ms: u64, place: Place, setup: Setup) -> Result<Self, Stop> {
        let mut world = Self {
            place,
            setup,
            clock_ms: Arc::new(AtomicU64::new(clock_ms)),
            keeps_changes: false,
            db: None,
            keyspaces: Vec::new(),
            snapshots: Vec::new(),
            scans: Vec::new(),
            reader: None,
            tickets: Vec::new(),
            last_seq_no: 0,
            recycled_before: 0,
            filter_removed: 0,
            merged_for_tombstones: Arc::default(),
            conflicts: 0,
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
        let merged_for_tombstones = Arc::clone(&self.merged_for_tombstones);
        let listener = Listener::new(move |event| {
            if matches!(event, Event::Compacted { reason, .. } if reason.ends_with("in a row")) {
                merged_for_tombstones.store(true, Ordering::Relaxed);
            }
        });
        let options = self.setup.options(self.env());
        let options = Options { listener: Some(listener), ..options };
        let db = self.told(Db::open_with(self.place.dir(), options))?;
        self.keyspaces = vec![None; usize::from(KEYSPACES)];
        for name in db.keyspaces() {
            let number = number_of(&name)?;
            self.keyspaces[usize::from(number)] = Some(self.told(open_keyspace(&db, &name))?);
        }
        self.db = Some(db);
        self.keeps_changes = self.setup.keeps_changes;
        self.last_seq_no = 0;
        self.filter_removed = 0;
        Ok(())
    }

    /// The engine's world here, with a clock that histories set, and whoever waits for it.
    pub(crate) fn env(&self) -> Env {
        let clock_ms = Arc::clone(&self.clock_ms);
        let moved_ms = Arc::clone(&self.clock_ms);
        Env {
            clock: Arc::new(move || clock_ms.load(Ordering::Relaxed)),
            wait: Arc::new(move |time| {
                moved_ms.fetch_add(time.as_millis() as u64, Ordering::Relaxed);
            }),
            ..self.place.env()
        }
    }

    fn clock_ms(&self) -> u64 {
        self.clock_ms.load(Ordering::Relaxed)
    }

    fn set_clock(&self, clock_ms: u64, model: &mut Model) -> Result<(), Stop> {
        self.clock_ms.store(clock_ms, Ordering::Relaxed);
        model.set_clock(clock_ms);
        let time_ms = self.db().database_time_ms();
        if time_ms == model.time_ms {
            return Ok(());
        }
        Err(Stop::Wrong(format!("database time is {time_ms} instead of {}", model.time_ms)))
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

    /// Whether tables were merged because tombstones lay densely in them.
    pub fn has_merged_for_tombstones(&self) -> bool {
        self.merged_for_tombstones.load(Ordering::Relaxed)
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
        if result.is_ok() && !self.place.has_crashed() {
            model.note_told(op);
        }
        let result = result.and_then(|()| self.note_gone(model));
        result.map_err(|stop| match stop {
            Stop::Wrong(wrong) => Stop::Wrong(format!("{op}: {wrong}")),
            Stop::Crashed => Stop::Crashed,
        })
    }

    fn carry_out(&mut self, op: &Op, model: &mut Model) -> Result<(), Stop> {
        match op {
            Op::Write { writes, durability } => self.write(writes, *durability, model),
            Op::WriteTtl { ttl_ms, writes, durability } => {
                self.write_for(Some(u64::from(*ttl_ms)), writes, *durability, model)
            }
            Op::Tick(ms) => self.set_clock(model.clock_ms + u64::from(*ms), model),
            Op::SetBack(ms) => self.set_clock(model.clock_ms - u64::from(*ms), model),
            Op::WriteAsync { writes } => self.write_async(writes, model),
            Op::Ingest { writes } => self.ingest(writes, model),
            Op::Sweep { keyspace, durability } => self.sweep(*keyspace, *durability, model),
            Op::Export { .. } => self.export(op, model),
            Op::IngestTables { .. } => self.ingest_tables(op, model),
            Op::DeleteRange { .. } => self.delete_range(op, model),
            Op::Transact { .. } => self.transact(op, model),
            Op::PutIf { .. } => self.put_if(op, model),
            Op::KeepChanges { bytes, ms } => {
                self.db().set_changes_retention(u64::from(*bytes), ms.map(u64::from));
                self.keeps_changes = *bytes == KEPT_BYTES && ms.is_none();
                if !self.keeps_changes {
                    model.feed.note_let_go();
                }
                Ok(())
            }
            Op::Follow => self.follow(model),
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
                // What it has yet to yield may go before it comes there.
                if model.evicts(*keyspace) {
                    return Ok(());
                }
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
            Op::Compact { keyspace: number, from, to } => {
                let Some(keyspace) = self.keyspace(*number) else { return Ok(()) };
                model.gone.note_compacted(*number);
                let (from, to) = (key_bytes(*from), key_bytes(*to));
                self.told(keyspace.compact_range(from.min(to)..from.max(to)))
            }
            Op::Background(step) => self.background(*step, model),
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
                if choice.evicts() {
                    model.scans.clear();
                }
                self.told(handle.set_options(choice.options()))?;
                self.scans.truncate(model.scans.len());
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

    /// One piece of background work, which lets nothing go that is within its limits.
    fn background(&self, step: Step, model: &mut Model) -> Result<(), Stop> {
        let keeps = |number: &u8| {
            let choice = model.catalog[usize::from(*number)].filter(Choice::evicts);
            choice.is_some_and(|choice| !self.may_evict_next(*number, &choice))
        };
        let keeping: Vec<u8> = (0..KEYSPACES).filter(keeps).collect();
        self.told(self.db().step(step))?;
        model.seen_through(self.db().visible_seq_no());
        for number in keeping {
            let Some(keyspace) = self.keyspace(number) else { continue };
            let found = self.map_of(keyspace)?;
            model.check_all_there(number, &found).map_err(Stop::Wrong)?;
        }
        Ok(())
    }

    pub(crate) fn before_reading(&self, model: &mut Model) -> Result<(), Stop> {
        if self.transcript.is_none() || model.unseen() == 0 {
            return Ok(());
        }
        self.told(self.db().sync())?;
        self.all_is_durable(model)
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
        model.opened_at(self.db().database_time_ms()).map_err(Stop::Wrong)?;
        if !self.keeps_changes {
            model.feed.note_let_go();
        }
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
        model.crashed(&found, self.clock_ms(), was_power_cut).map_err(Stop::Wrong)?;
        self.check_ids(model)?;
        self.follow_after_crash(model)?;
        self.check_exports(model)?;
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
                self.note_gone(model)?;
                return self.check_limits(model);
            }
        }
        let shapes = self.keyspaces.iter().flatten().map(Keyspace::shape);
        let shapes: String = shapes.map(|shape| format!("\n{shape:?}")).collect();
        Err(Stop::Wrong(format!("after {SETTLING_STEPS} steps there is work left:{shapes}")))
    }
}
