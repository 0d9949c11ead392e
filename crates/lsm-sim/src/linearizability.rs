//! Histories of real threads, recorded and given to a published checker: is there one order of all
//! operations, in keeping with who waited for whom, that explains every answer?
//!
//! Threads put, delete, compare and set, write batches and transactions at all durabilities, and
//! read keys, snapshots and scans, beside flushes and compactions of a database with tiny
//! memtables. In some histories the process is killed or the power cut meanwhile, and reading goes
//! on in what is recovered: what was acknowledged has happened, what was under way may have.
//!
//! The seed decides what each thread does; how they interleave is up to the machine.

mod map;

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use lsm_engine::{
    CompactionPolicy, Db, Durability, Env, ErrorKind, KeyspaceOptions, LeveledOptions, Options,
    ReadMode, Reads, Spawn, WriteBatch, WriteOptions,
};
use lsm_io::{CrashPolicy, SimFs};
use lsm_workload::Rng;

use crate::Figures;
use crate::linearizability::map::{Held, KEYS, Number, Op, Outcome, Recorded, Verdict};

/// Threads that write and read.
const THREADS: u32 = 3;
/// Operations of each.
const OPERATIONS: u32 = 30;
/// Of so many histories one may be undecided: a checker that decides little finds little.
const UNDECIDED_ONE_IN: u64 = 100;
/// One history in so many runs on the real disk.
const REAL_DISK_EVERY: u64 = 16;

/// What happens to the database of a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// Nothing, on a simulated disk.
    None,
    /// Nothing, on the real one.
    RealDisk,
    /// The process is killed.
    Kill,
    /// The power is cut.
    PowerCut(CrashPolicy),
}

impl Ending {
    fn of(seed: u64, rng: &mut Rng) -> Self {
        match seed % REAL_DISK_EVERY {
            0 => Self::RealDisk,
            number if number % 3 == 0 => Self::Kill,
            number if number % 3 == 1 => Self::PowerCut(*rng.pick(&CrashPolicy::ALL)),
            _ => Self::None,
        }
    }

    /// The durabilities of which it takes nothing that was acknowledged.
    fn durabilities(self) -> &'static [Durability] {
        match self {
            Self::None | Self::RealDisk => &[Durability::Memory, Durability::Os, Durability::Disk],
            Self::Kill => &[Durability::Os, Durability::Disk],
            Self::PowerCut(_) => &[Durability::Disk],
        }
    }
}

/// Records the histories of `seeds` and has each checked.
///
/// # Errors
/// A history that nothing explains, or an operation that failed, with the seed; too many histories of
/// which the checker cannot tell in time.
pub fn run(
    seeds: impl IntoIterator<Item = u64>,
    mut is_done: impl FnMut(),
) -> Result<Figures, String> {
    let mut figures = Figures::default();
    for name in ["histories", "operations", "crashes", "unknown", "undecided"] {
        figures.add(&format!("linearizability.{name}"), 0);
    }
    for seed in seeds {
        let history = record(seed).map_err(|wrong| format!("seed {seed}: {wrong}"))?;
        let verdict = map::check(&history).map_err(|wrong| format!("seed {seed}: {wrong}"))?;
        if verdict == Verdict::Undecided {
            figures.add("linearizability.undecided", 1);
            is_done();
            continue;
        }
        let count = |matches: fn(&Op) -> bool| {
            history.iter().filter(|recorded| matches(&recorded.op)).count() as u64
        };
        figures.add("linearizability.histories", 1);
        figures.add("linearizability.operations", history.len() as u64);
        figures.add("linearizability.crashes", count(|op| *op == Op::Crash));
        let unknown = count(|op| matches!(op, Op::Write { outcome: Outcome::Unknown, .. }));
        figures.add("linearizability.unknown", unknown);
        is_done();
    }
    let count = |name: &str| figures.count(&format!("linearizability.{name}"));
    let (undecided, explained) = (count("undecided"), count("histories"));
    if undecided > 1 + explained / UNDECIDED_ONE_IN {
        return Err(format!(
            "{undecided} histories are undecided beside {explained} explained ones"
        ));
    }
    Ok(figures)
}

/// Runs one history and returns what was recorded of it.
fn record(seed: u64) -> Result<Vec<Recorded>, String> {
    let mut rng = Rng::new(seed);
    let ending = Ending::of(seed, &mut rng);
    let clock = Clock::default();
    if ending == Ending::RealDisk {
        let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
        let options = options(&mut rng, Env::default());
        let db = Db::open_with(dir.path(), options).map_err(|error| error.to_string())?;
        return beside_each_other(&db, &clock, seed, ending, || None::<()>)
            .map(|(history, _)| history);
    }
    let fs = SimFs::new(seed);
    let options = |fs: &SimFs, rng: &mut Rng| {
        options(rng, Env { spawn: Spawn::Threads, ..Env::simulated(fs.shared()) })
    };
    let open = |fs: &SimFs, rng: &mut Rng| {
        Db::open_with(Path::new("db"), options(fs, rng)).map_err(|error| error.to_string())
    };
    let db = open(&fs, &mut rng)?;
    let crash_after = rng.below(u64::from(2 * OPERATIONS)) as i64;
    let crash = || match ending {
        Ending::Kill => Some(fs.kill_image()),
        Ending::PowerCut(policy) => Some(fs.crash_image(policy, seed)),
        Ending::None | Ending::RealDisk => None,
    };
    let crash = || {
        // Each operation moves the clock twice.
        while ending != Ending::None && clock.now() < 2 * crash_after {
            std::thread::yield_now();
        }
        let begun = clock.tick();
        crash().map(|image| (image, begun, clock.tick()))
    };
    let (mut history, crashed) = beside_each_other(&db, &clock, seed, ending, crash)?;
    let Some((image, begun, ended)) = crashed else { return Ok(history) };
    let recovered = open(&image, &mut rng)?;
    history = as_a_crash_leaves_it(history, begun, ended, clock.tick());
    history.push(Recorded { thread: THREADS, called: begun, returned: ended, op: Op::Crash });
    let mut actor = Actor { db: &recovered, clock: &clock, ending, rng, thread: THREADS + 1 };
    let all = actor.read_all(true)?;
    history.push(all);
    for number in 0..OPERATIONS / 3 {
        history.extend(actor.act(u32::MAX - number)?);
    }
    Ok(history)
}

/// What is known of the operations once there was a crash between `begun` and `ended`, and the
/// database was there again at `recovered`.
fn as_a_crash_leaves_it(
    history: Vec<Recorded>,
    begun: i64,
    ended: i64,
    recovered: i64,
) -> Vec<Recorded> {
    let left = history.into_iter().filter_map(|recorded| {
        if recorded.returned < begun {
            return Some(recorded);
        }
        // What came after it happened to a database that is no more.
        match recorded.op {
            Op::Write { expected, writes, outcome: Outcome::Done } if recorded.called < ended => {
                let op = Op::Write { expected, writes, outcome: Outcome::Unknown };
                Some(Recorded { returned: recovered, op, ..recorded })
            }
            _ => None,
        }
    });
    left.collect()
}

/// Lets the threads of a history run, with `meanwhile` beside them.
fn beside_each_other<T>(
    db: &Db,
    clock: &Clock,
    seed: u64,
    ending: Ending,
    meanwhile: impl FnOnce() -> Option<T>,
) -> Result<(Vec<Recorded>, Option<T>), String> {
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..THREADS)
            .map(|thread| {
                let rng = Rng::new(seed ^ (u64::from(thread) + 1) << 48);
                let mut actor = Actor { db, clock, ending, rng, thread };
                let is_over = &is_over;
                scope.spawn(move || {
                    let numbers = (0..OPERATIONS).map(|n| 1 + thread * OPERATIONS + n);
                    let ops = numbers.take_while(|_| !is_over.load(Ordering::Relaxed));
                    let done: Result<Vec<_>, _> = ops.map(|number| actor.act(number)).collect();
                    done.map(|done| done.into_iter().flatten().collect::<Vec<_>>())
                })
            })
            .collect();
        let keeper = scope.spawn(|| {
            let mut is_flush = true;
            while !is_over.load(Ordering::Relaxed) {
                // What it says does not matter: a crash may have closed the database meanwhile.
                let _ = if is_flush { db.flush() } else { db.compact_range::<&[u8]>(..) };
                is_flush = !is_flush;
                std::thread::yield_now();
            }
        });
        let crashed = meanwhile();
        if crashed.is_some() {
            is_over.store(true, Ordering::Relaxed);
        }
        let mut history = Vec::new();
        let mut wrong = None;
        for writer in writers {
            match writer.join().unwrap_or_else(|_| Err("a thread panicked".into())) {
                Ok(done) => history.extend(done),
                Err(error) => wrong = Some(error),
            }
        }
        is_over.store(true, Ordering::Relaxed);
        keeper.join().map_err(|_| "a flush or a compaction panicked".to_owned())?;
        match wrong {
            Some(wrong) => Err(wrong),
            None => Ok((history, crashed)),
        }
    })
}

/// The one clock of a history: each call and each return has a moment of its own.
#[derive(Debug, Default)]
struct Clock(AtomicI64);

impl Clock {
    fn tick(&self) -> i64 {
        self.0.fetch_add(1, Ordering::SeqCst)
    }

    fn now(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// One thread of a history.
struct Actor<'a> {
    db: &'a Db,
    clock: &'a Clock,
    ending: Ending,
    rng: Rng,
    thread: u32,
}

impl Actor<'_> {
    /// Does something; `number` is the value that it may write. `None`: nothing came of it.
    fn act(&mut self, number: Number) -> Result<Option<Recorded>, String> {
        if self.rng.chance(0.2) {
            std::thread::yield_now();
        }
        let key = self.rng.below(KEYS as u64) as usize;
        let value = self.rng.chance(0.8).then_some(number);
        match self.rng.below(10) {
            0..=2 => self.write(&[(key, value)]).map(Some),
            3 => self.write(&[(key, value), ((key + 1) % KEYS, Some(number))]).map(Some),
            4 => self.put_if(key, value).map(Some),
            5 => self.transact(key, number),
            6 | 7 => self.read_one(key).map(Some),
            8 => self.read_all(true).map(Some),
            _ => self.read_all(false).map(Some),
        }
    }

    fn recorded(&self, called: i64, op: Op) -> Recorded {
        Recorded { thread: self.thread, called, returned: self.clock.tick(), op }
    }

    fn write(&mut self, writes: &[Held]) -> Result<Recorded, String> {
        let options = WriteOptions::durability(*self.rng.pick(self.ending.durabilities()));
        let mut batch = WriteBatch::new();
        for (key, value) in writes {
            match value {
                Some(number) => batch.put(key_bytes(*key), value_bytes(*number)),
                None => batch.delete(key_bytes(*key)),
            }
        }
        let called = self.clock.tick();
        match writes {
            [(key, Some(number))] => {
                self.db.put_with(key_bytes(*key), value_bytes(*number), options)
            }
            [(key, None)] => self.db.delete_with(key_bytes(*key), options),
            _ => self.db.write_with(&batch, options),
        }
        .map_err(|error| error.to_string())?;
        let (expected, writes) = (Vec::new(), writes.to_vec());
        Ok(self.recorded(called, Op::Write { expected, writes, outcome: Outcome::Done }))
    }

    /// Reads a key and writes it if nobody has meanwhile.
    fn put_if(&mut self, key: usize, value: Option<Number>) -> Result<Recorded, String> {
        let seen = self.get(key)?;
        if self.rng.chance(0.5) {
            std::thread::yield_now();
        }
        let bytes = |value: Option<Number>| value.map(value_bytes);
        let called = self.clock.tick();
        let done = self
            .db
            .put_if(key_bytes(key), bytes(seen).as_deref(), bytes(value).as_deref())
            .map_err(|error| error.to_string())?;
        let outcome = if done.is_some() { Outcome::Done } else { Outcome::Refused };
        let (expected, writes) = (vec![(key, seen)], vec![(key, value)]);
        Ok(self.recorded(called, Op::Write { expected, writes, outcome }))
    }

    /// Reads one key and writes another, if the one has not changed meanwhile.
    fn transact(&mut self, key: usize, number: Number) -> Result<Option<Recorded>, String> {
        let other = (key + 1) % KEYS;
        let options = WriteOptions::durability(*self.rng.pick(self.ending.durabilities()));
        let called = self.clock.tick();
        let tx = self.db.transaction();
        let seen = numbered(tx.get(key_bytes(key)))?;
        tx.put(key_bytes(other), value_bytes(number));
        match tx.commit_with(options) {
            Ok(_) => {
                let (expected, writes) = (vec![(key, seen)], vec![(other, Some(number))]);
                let op = Op::Write { expected, writes, outcome: Outcome::Done };
                Ok(Some(self.recorded(called, op)))
            }
            Err(error) if error.kind() == ErrorKind::Conflict => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }

    fn get(&self, key: usize) -> Result<Option<Number>, String> {
        numbered(self.db.get(key_bytes(key)))
    }

    fn read_one(&mut self, key: usize) -> Result<Recorded, String> {
        let called = self.clock.tick();
        let found = self.get(key)?;
        Ok(self.recorded(called, Op::Read(vec![(key, found)])))
    }

    /// Reads all keys as of one moment, which lies before the reading: by a snapshot, or a scan.
    fn read_all(&mut self, by_snapshot: bool) -> Result<Recorded, String> {
        let called = self.clock.tick();
        if by_snapshot {
            let snapshot = self.db.snapshot();
            let returned = self.clock.tick();
            std::thread::yield_now();
            let held: Result<Vec<Held>, String> =
                (0..KEYS).map(|key| Ok((key, numbered(snapshot.get(key_bytes(key)))?))).collect();
            return Ok(Recorded { thread: self.thread, called, returned, op: Op::Read(held?) });
        }
        let entries = self.db.iter();
        let returned = self.clock.tick();
        std::thread::yield_now();
        let mut held: Vec<Held> = (0..KEYS).map(|key| (key, None)).collect();
        for entry in entries {
            let (key, value) = entry.map_err(|error| error.to_string())?;
            let key = (0..KEYS).find(|known| key_bytes(*known) == *key);
            let key = key.ok_or("a key that nobody wrote")?;
            held[key].1 = Some(number_of(&value)?);
        }
        Ok(Recorded { thread: self.thread, called, returned, op: Op::Read(held) })
    }
}

fn options(rng: &mut Rng, env: Env) -> Options {
    Options {
        memory_bytes: 4 << 20,
        memtable_bytes: Some(16 << 10),
        cache_bytes: Some(64 << 10),
        log_segment_bytes: 64 << 10,
        log_bytes_max: 256 << 10,
        read_mode: *rng.pick(&[ReadMode::Mapped, ReadMode::Cached]),
        map_log: rng.chance(0.7),
        keyspace: KeyspaceOptions {
            compaction: CompactionPolicy::Leveled(LeveledOptions::default()),
            ..KeyspaceOptions::default()
        },
        env,
        ..Options::default()
    }
}

fn key_bytes(key: usize) -> Vec<u8> {
    format!("key-{key}").into_bytes()
}

/// A value that tells its number, so long that few of them fill a memtable.
fn value_bytes(number: Number) -> Vec<u8> {
    let mut bytes = number.to_le_bytes().to_vec();
    bytes.resize(4 + number as usize % 7 * 200, number as u8);
    bytes
}

fn number_of(bytes: &[u8]) -> Result<Number, String> {
    let number = bytes.first_chunk().map(|first| Number::from_le_bytes(*first));
    number
        .filter(|number| value_bytes(*number) == bytes)
        .ok_or_else(|| format!("a value of {} bytes that nobody wrote", bytes.len()))
}

fn numbered(
    found: lsm_engine::Result<Option<lsm_engine::Value>>,
) -> Result<Option<Number>, String> {
    found.map_err(|error| error.to_string())?.map(|value| number_of(&value)).transpose()
}
