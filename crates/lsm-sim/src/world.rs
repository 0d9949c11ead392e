//! The engine on a simulated disk, doing what a history says and answering for it to the model.

use std::ops::Bound;
use std::path::Path;

use lsm_engine::{
    CompactionPolicy, Compression, Db, Durability, Env, ErrorKind, Keyspace, KeyspaceOptions,
    Options, ReadMode, Reads, Scan, Snapshot, WriteBatch, WriteOptions,
};
use lsm_io::{CrashPolicy, SimFs};
use lsm_workload::Rng;

use crate::model::{Map, Model, State, difference};
use crate::op::{KEYSPACES, Op, POLICIES, key_bytes, value_bytes};

/// How the engine of a history is set up, drawn from the history's seed.
#[derive(Clone, Debug, PartialEq)]
pub struct Setup {
    /// Size at which memtables are sealed, in bytes.
    pub memtable_bytes: u64,
    /// Where blocks are read from.
    pub read_mode: ReadMode,
    /// Whether log segments are mapped.
    pub map_log: bool,
    /// Compression of all levels.
    pub compression: Compression,
    /// Size of a block.
    pub block_bytes: u32,
    /// Whether tables have filters.
    pub filters: bool,
    /// The policy that both keyspaces begin with.
    pub policy: u8,
}

impl Setup {
    /// A random setup.
    pub fn random(rng: &mut Rng) -> Self {
        Self {
            memtable_bytes: *rng.pick(&[16 << 10, 32 << 10, 128 << 10]),
            read_mode: *rng.pick(&[ReadMode::Mapped, ReadMode::Cached]),
            compression: *rng.pick(&[Compression::None, Compression::Lz4, Compression::Zstd(1)]),
            block_bytes: *rng.pick(&[256, 1024, 4096]),
            filters: rng.chance(0.8),
            policy: rng.below(u64::from(POLICIES)) as u8,
            map_log: rng.chance(0.7),
        }
    }

    /// The names under which its choices are counted.
    pub fn names(&self) -> Vec<String> {
        vec![
            format!("{:?}", self.read_mode),
            format!("{:?}", self.compression),
            format!("filters {}", self.filters),
            format!("block {}", self.block_bytes),
            format!("memtable {}", self.memtable_bytes),
            format!("policy {}", self.policy),
            format!("mapped log {}", self.map_log),
        ]
    }

    /// The options that they come to, in the world `env`.
    pub fn options(&self, env: Env) -> Options {
        Options {
            memory_bytes: 4 << 20,
            memtable_bytes: Some(self.memtable_bytes),
            cache_bytes: Some(64 << 10),
            log_segment_bytes: 64 << 10,
            log_bytes_max: 256 << 10,
            read_mode: self.read_mode,
            map_log: self.map_log,
            keyspace: KeyspaceOptions {
                compaction: policy(self.policy),
                compression: vec![self.compression],
                filter_bits_per_key: self.filters.then_some(10.0),
                block_bytes: self.block_bytes,
            },
            env,
            ..Options::default()
        }
    }
}

/// The policies that histories switch between, by number. The last one, FIFO, is so large that it
/// never drops anything.
pub fn policy(number: u8) -> CompactionPolicy {
    use lsm_engine::{FifoOptions, LazyLeveledOptions, LeveledOptions, TieredOptions};
    match number {
        0 => CompactionPolicy::Leveled(LeveledOptions::default()),
        1 => CompactionPolicy::Tiered(TieredOptions::default()),
        2 => CompactionPolicy::LazyLeveled(LazyLeveledOptions::default()),
        _ => CompactionPolicy::Fifo(FifoOptions::default()),
    }
}

/// Why a history stopped.
#[derive(Debug)]
pub enum Stop {
    /// The simulated machine crashed under it.
    Crashed,
    /// The engine did something that it must not.
    Wrong(String),
}

/// The engine on a simulated disk.
#[derive(Debug)]
pub struct World {
    /// The disk.
    pub fs: SimFs,
    setup: Setup,
    db: Option<Db>,
    keyspaces: Vec<Keyspace>,
    snapshots: Vec<Snapshot>,
}

const DIR: &str = "db";

impl World {
    /// Opens the engine on a disk.
    ///
    /// # Errors
    /// `Crashed` or what went wrong.
    pub fn open(fs: SimFs, setup: Setup) -> Result<Self, Stop> {
        let mut world = Self { fs, setup, db: None, keyspaces: Vec::new(), snapshots: Vec::new() };
        world.reopen()?;
        Ok(world)
    }

    fn reopen(&mut self) -> Result<(), Stop> {
        let options = self.setup.options(Env::simulated(self.fs.shared()));
        let db = self.told(Db::open_with(Path::new(DIR), options))?;
        self.keyspaces = vec![db.default_keyspace().clone()];
        for number in 1..KEYSPACES {
            let keyspace = self.told(db.keyspace(&format!("keyspace-{number}")))?;
            self.keyspaces.push(keyspace);
        }
        self.db = Some(db);
        Ok(())
    }

    /// An error of the engine, judged: after a crash of the machine it is to be expected.
    fn told<T>(&self, result: lsm_engine::Result<T>) -> Result<T, Stop> {
        result.map_err(|error| {
            if self.fs.has_crashed() { Stop::Crashed } else { Stop::Wrong(error.to_string()) }
        })
    }

    fn db(&self) -> &Db {
        self.db.as_ref().expect("open between operations")
    }

    fn forget(&mut self) {
        self.snapshots.clear();
        self.keyspaces.clear();
        self.db = None;
    }

    /// Carries out one op and compares every answer with the model's.
    ///
    /// # Errors
    /// `Crashed`, or how the answer is wrong.
    pub fn apply(&mut self, op: &Op, model: &mut Model) -> Result<(), Stop> {
        match op {
            Op::Write { writes, durability } => self.write(op, writes, *durability, model),
            Op::Get { keyspace, key } => {
                let key = key_bytes(*key);
                let expected = model.state[usize::from(*keyspace)].get(&key);
                let keyspace = self.keyspace(*keyspace);
                let found = self.told(keyspace.get(&key))?;
                same(op, expected.map(Vec::as_slice), found.as_deref())?;
                let contains = self.told(keyspace.contains_key(&key))?;
                same(op, expected.is_some(), contains)
            }
            Op::MultiGet { keyspace, keys } => {
                let keys: Vec<_> = keys.iter().map(|key| key_bytes(*key)).collect();
                let map = &model.state[usize::from(*keyspace)];
                let found = self.told(self.keyspace(*keyspace).multi_get(&keys))?;
                for (key, found) in keys.iter().zip(found) {
                    same(op, map.get(key).map(Vec::as_slice), found.as_deref())?;
                }
                Ok(())
            }
            Op::Scan { keyspace, from, to, reverse, both } => {
                let range = ordered(key_bytes(*from), key_bytes(*to));
                let map = &model.state[usize::from(*keyspace)];
                self.scan(op, self.keyspace(*keyspace), map, range, *reverse, *both)
            }
            Op::Walk { keyspace, seed } => {
                let map = &model.state[usize::from(*keyspace)];
                self.walk(op, self.keyspace(*keyspace), map, *seed)
            }
            Op::Snapshot => {
                if self.snapshots.len() < 4 {
                    self.snapshots.push(self.db().snapshot());
                    model.snapshots.push(model.state.clone());
                }
                Ok(())
            }
            Op::ReadSnapshot(index) => {
                let Some(snapshot) = self.snapshots.get(usize::from(*index)) else { return Ok(()) };
                let expected = &model.snapshots[usize::from(*index)];
                let found = self.read_all(|keyspace| {
                    snapshot.within(keyspace).iter().collect::<Result<Vec<_>, _>>()
                })?;
                if found != *expected {
                    return Err(Stop::Wrong(format!("{op}: {}", difference(expected, &found))));
                }
                Ok(())
            }
            Op::Release(index) => {
                if usize::from(*index) < self.snapshots.len() {
                    self.snapshots.remove(usize::from(*index));
                    model.snapshots.remove(usize::from(*index));
                }
                Ok(())
            }
            Op::Flush => {
                self.told(self.db().flush())?;
                model.all_is_durable();
                Ok(())
            }
            Op::Compact { keyspace, from, to } => {
                let (from, to) = ordered(key_bytes(*from), key_bytes(*to));
                self.told(self.keyspace(*keyspace).compact_range(from..to))
            }
            Op::Background(step) => self.told(self.db().step(*step)).map(drop),
            Op::Sync => {
                self.told(self.db().sync())?;
                model.all_is_durable();
                Ok(())
            }
            Op::Policy { keyspace, policy: number } => {
                let keyspace = self.keyspace(*keyspace);
                let mut options = keyspace.options();
                options.compaction = policy(*number);
                self.told(keyspace.set_options(options))
            }
            Op::Reopen => {
                let db = self.db.take().expect("open between operations");
                self.forget();
                self.told(db.close())?;
                self.reopen()?;
                if !self.db().recovery_report().closed_cleanly {
                    return Err(Stop::Wrong("a clean close was not recognised".into()));
                }
                model.reopened();
                self.check(model)
            }
            Op::Kill => {
                let image = self.fs.kill_image();
                self.forget();
                self.fs = image;
                self.reopen()?;
                self.survived(model, false)
            }
            Op::PowerCut(policy) => self.power_cut(*policy, self.fs.steps(), model),
        }
    }

    fn write(
        &mut self,
        op: &Op,
        writes: &[(u8, u16, Option<u32>)],
        durability: Durability,
        model: &mut Model,
    ) -> Result<(), Stop> {
        let options = WriteOptions::durability(durability);
        let result = match writes {
            [(keyspace, key, Some(value))] => {
                let keyspace = self.keyspace(*keyspace);
                keyspace.put_with(key_bytes(*key), value_bytes(*value), options)
            }
            [(keyspace, key, None)] => {
                self.keyspace(*keyspace).delete_with(key_bytes(*key), options)
            }
            _ => {
                let mut batch = WriteBatch::new();
                for (keyspace, key, value) in writes {
                    let keyspace = self.keyspace(*keyspace).clone();
                    let mut batch = batch.within(&keyspace);
                    match value {
                        Some(value) => batch.put(key_bytes(*key), value_bytes(*value)),
                        None => batch.delete(key_bytes(*key)),
                    }
                }
                self.db().write_with(&batch, options)
            }
        };
        match result {
            Ok(_) => {
                model.commit(writes, durability);
                Ok(())
            }
            Err(error) if self.fs.has_crashed() => {
                if error.is_outcome_unknown() || error.kind() != ErrorKind::Invalid {
                    model.attempt(writes);
                }
                Err(Stop::Crashed)
            }
            Err(error) => Err(Stop::Wrong(format!("{op}: {error}"))),
        }
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
        let image = self.fs.crash_image(policy, seed);
        self.forget();
        self.fs = image;
        self.reopen()?;
        self.survived(model, true)
    }

    /// Holds what was found after a power cut against the model, which takes it over.
    ///
    /// # Errors
    /// How what is found is wrong.
    pub fn found_after_power_cut(&mut self, model: &mut Model) -> Result<(), Stop> {
        self.survived(model, true)
    }

    fn survived(&mut self, model: &mut Model, was_power_cut: bool) -> Result<(), Stop> {
        let found = self.contents()?;
        model.crashed(&found, was_power_cut).map_err(Stop::Wrong)
    }

    /// Holds the whole contents against the model's.
    ///
    /// # Errors
    /// How they differ.
    pub fn check(&self, model: &Model) -> Result<(), Stop> {
        let found = self.contents()?;
        if found == model.state {
            return Ok(());
        }
        Err(Stop::Wrong(difference(&model.state, &found)))
    }

    /// Reads every byte and checks it.
    ///
    /// # Errors
    /// What is damaged.
    pub fn verify(&self) -> Result<(), Stop> {
        let report = self.told(self.db().verify())?;
        match report.damage.first() {
            None => Ok(()),
            Some(damage) => Err(Stop::Wrong(format!("verify finds {damage:?}"))),
        }
    }

    /// The files in the directory that nothing can explain.
    ///
    /// # Errors
    /// Names a file that should have been removed.
    pub fn check_files(&self) -> Result<(), Stop> {
        let mut named: Vec<String> = Vec::new();
        for keyspace in &self.keyspaces {
            let shape = keyspace.shape();
            let tables = shape.runs.iter().flat_map(|run| &run.tables);
            named.extend(tables.map(|table| format!("{:06}.sst", table.number)));
        }
        for (path, _) in self.fs.files() {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.ends_with(".sst") && !named.contains(&name) {
                return Err(Stop::Wrong(format!("{name} is left over: no version names it")));
            }
        }
        Ok(())
    }

    fn keyspace(&self, number: u8) -> &Keyspace {
        &self.keyspaces[usize::from(number)]
    }

    fn contents(&self) -> Result<State, Stop> {
        self.read_all(|keyspace| keyspace.iter().collect::<Result<Vec<_>, _>>())
    }

    fn read_all(
        &self,
        read: impl Fn(&Keyspace) -> lsm_engine::Result<Vec<(lsm_engine::Key, lsm_engine::Value)>>,
    ) -> Result<State, Stop> {
        let mut state = State::new();
        for keyspace in &self.keyspaces {
            let entries = self.told(read(keyspace))?;
            state.push(entries.into_iter().map(|(k, v)| (k.to_vec(), v.to_vec())).collect());
        }
        Ok(state)
    }

    fn scan(
        &self,
        op: &Op,
        keyspace: &Keyspace,
        map: &Map,
        range: (Vec<u8>, Vec<u8>),
        reverse: bool,
        both: bool,
    ) -> Result<(), Stop> {
        let bounds = (Bound::Included(range.0.clone()), Bound::Excluded(range.1.clone()));
        let mut expected = map.range::<Vec<u8>, _>(bounds);
        let mut found = keyspace.scan(Scan::range(range.0..range.1));
        let mut from_back = reverse;
        loop {
            let (expected, found) = if from_back {
                (expected.next_back(), found.next_back())
            } else {
                (expected.next(), found.next())
            };
            let found = self.told(found.transpose())?;
            let pair = found.as_ref().map(|(key, value)| (&key[..], &value[..]));
            same(op, expected.map(|(key, value)| (&key[..], &value[..])), pair)?;
            if expected.is_none() {
                return Ok(());
            }
            from_back ^= both;
        }
    }

    fn walk(&self, op: &Op, keyspace: &Keyspace, map: &Map, seed: u32) -> Result<(), Stop> {
        let mut rng = Rng::new(u64::from(seed));
        let mut cursor = keyspace.cursor();
        let mut at: Option<Vec<u8>> = None;
        for _ in 0..24 {
            let key = key_bytes(rng.below(u64::from(crate::op::KEYS)) as u16);
            match rng.below(8) {
                0 => {
                    self.told(cursor.seek(&key))?;
                    at = map.range(key..).next().map(|(key, _)| key.clone());
                }
                1 => {
                    self.told(cursor.seek_for_prev(&key))?;
                    at = map.range(..=key).next_back().map(|(key, _)| key.clone());
                }
                2 if rng.chance(0.3) => {
                    self.told(cursor.seek_first())?;
                    at = map.keys().next().cloned();
                }
                2 if rng.chance(0.5) => {
                    self.told(cursor.seek_last())?;
                    at = map.keys().next_back().cloned();
                }
                2..=5 => {
                    self.told(cursor.next())?;
                    let after = |key: &Vec<u8>| (Bound::Excluded(key.clone()), Bound::Unbounded);
                    at = at.and_then(|key| map.range(after(&key)).next().map(|(k, _)| k.clone()));
                }
                _ => {
                    self.told(cursor.prev())?;
                    at = at.and_then(|key| map.range(..key).next_back().map(|(k, _)| k.clone()));
                }
            }
            same(op, at.as_deref(), cursor.key())?;
            let value = at.as_ref().map(|key| map[key].as_slice());
            same(op, value, cursor.value())?;
        }
        Ok(())
    }
}

fn ordered(one: Vec<u8>, other: Vec<u8>) -> (Vec<u8>, Vec<u8>) {
    if one <= other { (one, other) } else { (other, one) }
}

#[allow(clippy::needless_pass_by_value)] // Callers build both sides on the spot.
fn same<T: PartialEq + std::fmt::Debug>(op: &Op, expected: T, found: T) -> Result<(), Stop> {
    if expected == found {
        return Ok(());
    }
    Err(Stop::Wrong(format!("{op}: expected {expected:?}, found {found:?}")))
}
