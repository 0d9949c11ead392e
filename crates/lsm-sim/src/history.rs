//! Histories: drawn from a seed, run against the engine, shrunk when they fail, kept as text.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use lsm_io::{CrashPolicy, SimFs};
use lsm_workload::Rng;

use crate::crash;
use crate::draw::Mix;
use crate::model::Model;
use crate::op::{Op, parse_policy};
use crate::oracle::Files;
use crate::place::Place;
use crate::setup::{Choice, Setup};
use crate::world::{Stop, World};

/// A sequence of operations and the engine's setup, all drawn from one seed.
#[derive(Clone, Debug, PartialEq)]
pub struct History {
    /// The seed.
    pub seed: u64,
    /// How the engine is set up.
    pub setup: Setup,
    /// What is done.
    pub ops: Vec<Op>,
    /// Where the machine crashes, if that is what the history is about.
    pub crash: Option<CrashPoint>,
}

/// One crash: `crash_at STEP POLICY SEED [then STEP POLICY]`, where what follows `then` is a crash in
/// the recovery from the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CrashPoint {
    /// The I/O call at which the machine crashes, counted from the history's beginning.
    pub step: u64,
    /// What the power cut keeps.
    pub policy: CrashPolicy,
    /// Decides what the policy leaves open.
    pub seed: u64,
    /// The call of the recovery at which it crashes again, and what that keeps.
    pub then: Option<(u64, CrashPolicy)>,
}

impl CrashPoint {
    /// How far the clock is set back at the crash, in milliseconds: mostly not at all, else by less than
    /// the engine has said that it is ahead, or by more.
    pub fn clock_set_back_ms(&self) -> u64 {
        let place = CrashPolicy::ALL.iter().position(|policy| *policy == self.policy);
        let drawn =
            Rng::new(self.seed ^ self.step).next_u64().wrapping_add(place.unwrap_or(0) as u64);
        [0, 1, 0, 150, 0, 1_000, 0, 200_000][drawn as usize % 8]
    }
}

impl fmt::Display for CrashPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "crash_at {} {:?} {}", self.step, self.policy, self.seed)?;
        match self.then {
            Some((step, policy)) => write!(f, " then {step} {policy:?}"),
            None => Ok(()),
        }
    }
}

impl FromStr for CrashPoint {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let number =
            |word: &str| word.parse().map_err(|_| format!("\"{word}\" is no number in \"{line}\""));
        let words: Vec<&str> = line.split_whitespace().collect();
        let (words, then) = match words.as_slice() {
            [words @ .., "then", step, policy] => {
                (words, Some((number(step)?, parse_policy(policy)?)))
            }
            words => (words, None),
        };
        let &["crash_at", step, policy, seed] = words else {
            return Err(format!("\"{line}\" is no crash"));
        };
        Ok(Self { step: number(step)?, policy: parse_policy(policy)?, seed: number(seed)?, then })
    }
}

impl History {
    /// The history of a seed that tries everything.
    pub fn random(seed: u64, length: usize) -> Self {
        Self::drawn(seed, Mix::Short, length)
    }

    /// The history of a seed, made of such operations. It begins with a second keyspace.
    pub fn drawn(seed: u64, mix: Mix, length: usize) -> Self {
        let mut rng = Rng::new(seed);
        let setup = Setup::random(&mut rng);
        let create = Op::Create { keyspace: 1, choice: Choice::random(&mut rng) };
        let mut ops = vec![create];
        while ops.len() < length {
            let op = mix.draw_after(&mut rng, ops.last());
            ops.push(op);
        }
        ops.truncate(length);
        Self { seed, setup, ops, crash: None }
    }

    /// A history of these operations, its setup drawn from a seed.
    pub fn of(seed: u64, ops: Vec<Op>) -> Self {
        Self { seed, setup: Setup::random(&mut Rng::new(seed)), ops, crash: None }
    }

    /// A kept history: its first line is the seed of the setup, each further line an operation, and
    /// the last may say where it crashes; empty lines and lines that begin with `#` do not count.
    ///
    /// # Errors
    /// The line that is no operation.
    pub fn parse(text: &str) -> Result<Self, String> {
        let is_content = |line: &&str| !line.is_empty() && !line.starts_with('#');
        let mut lines: Vec<&str> = text.lines().map(str::trim).filter(is_content).collect();
        let first = if lines.is_empty() { "" } else { lines.remove(0) };
        let seed = first.strip_prefix("seed ").and_then(|seed| seed.parse().ok());
        let seed: u64 = seed.ok_or("the first line must be \"seed N\"")?;
        let crash = lines.pop_if(|line| line.starts_with("crash_at"));
        let crash = crash.map(str::parse).transpose()?;
        let ops = lines.into_iter().map(str::parse).collect::<Result<_, _>>()?;
        Ok(Self { crash, ..Self::of(seed, ops) })
    }

    /// The text that [`parse`](Self::parse) reads.
    pub fn to_text(&self) -> String {
        let mut text = format!("seed {}\n# {:?}\n", self.seed, self.setup);
        for op in &self.ops {
            let _ = writeln!(text, "{op}");
        }
        if let Some(crash) = self.crash {
            let _ = writeln!(text, "{crash}");
        }
        text
    }

    /// Runs it on a simulated disk, through its crash if it has one; else at the end everything is
    /// read, verified, and closed.
    ///
    /// # Errors
    /// How the engine went wrong, and at which operation.
    pub fn run(&self) -> Result<(), String> {
        if let Some(point) = self.crash {
            return crash::check_point(self, point);
        }
        let place = Place::Simulated(SimFs::new(self.seed));
        self.run_on(place, |_| {}).map(drop)
    }

    /// Runs it where it is told to; `prepare` sees the world before the first operation. Returns the
    /// world as it is at the end.
    ///
    /// # Errors
    /// Those of [`run`](Self::run).
    pub fn run_on(&self, place: Place, prepare: impl FnOnce(&mut World)) -> Result<World, String> {
        let mut model = Model::new(self.setup.choice);
        let mut world = World::open(place, self.setup.clone()).map_err(describe)?;
        prepare(&mut world);
        for (index, op) in self.ops.iter().enumerate() {
            world
                .apply(op, &mut model)
                .map_err(|stop| format!("at operation {index}, {}", describe(stop)))?;
        }
        let mut last = |world: &mut World| {
            world.settle(&mut model)?;
            world.check_files(Files::Settled)?;
            world.check(&model)?;
            world.verify()?;
            world.apply(&Op::Reopen, &mut model)?;
            world.check_ids(&model)?;
            world.check_files(Files::JustOpened)
        };
        last(&mut world).map_err(|stop| format!("at the end: {}", describe(stop)))?;
        Ok(world)
    }

    /// A history that fails too and from which nothing can be left out: first halves, then ever
    /// smaller pieces are tried without.
    pub fn shrink(&self, fails: impl Fn(&Self) -> bool) -> Self {
        let mut smallest = self.clone();
        let mut piece = smallest.ops.len().div_ceil(2);
        while piece > 0 {
            let mut start = 0;
            let mut did_shrink = false;
            while start < smallest.ops.len() {
                let mut candidate = smallest.clone();
                let end = (start + piece).min(candidate.ops.len());
                candidate.ops.drain(start..end);
                if fails(&candidate) {
                    smallest = candidate;
                    did_shrink = true;
                } else {
                    start += piece;
                }
            }
            if !did_shrink || piece > 1 {
                piece /= 2;
            }
        }
        smallest
    }
}

fn describe(stop: Stop) -> String {
    match stop {
        Stop::Crashed => "the machine crashed, though nobody asked it to".into(),
        Stop::Wrong(what) => what,
    }
}

/// Runs a history so that a panic is a failure like any other.
///
/// # Errors
/// What went wrong.
pub fn run_caught(history: &History) -> Result<(), String> {
    caught(|| history.run())
}

/// Does something that can fail so that a panic is a failure like any other.
///
/// # Errors
/// What went wrong.
pub fn caught<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(format!("panic: {}", text.unwrap_or_default()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shrinking_leaves_what_makes_it_fail() {
        let history = History::random(3, 60);
        let wanted = Op::Sync;
        let mut history = history;
        history.ops.insert(30, wanted.clone());
        let smallest = history.shrink(|history| history.ops.contains(&wanted));
        assert_eq!(smallest.ops, vec![wanted]);
    }

    #[test]
    fn a_kept_history_reads_back() {
        let mut history = History::random(5, 100);
        let written = History::parse(&history.to_text()).expect("reads back");
        assert_eq!((&written.ops, &written.setup), (&history.ops, &history.setup));
        let policy = CrashPolicy::Sectors;
        let point = CrashPoint { step: 7, policy, seed: 3, then: None };
        let then = Some((2, CrashPolicy::GlobalPrefix));
        for point in [point, CrashPoint { then, ..point }] {
            history.crash = Some(point);
            assert_eq!(History::parse(&history.to_text()), Ok(history.clone()));
        }
    }

    #[test]
    fn a_text_that_is_no_history_is_refused_with_its_reason() {
        let refused = |text| History::parse(text).expect_err("refused");
        assert_eq!(refused("flush"), "the first line must be \"seed N\"");
        assert_eq!(refused("seed 1\ncrash_at 3 Sectors"), "\"crash_at 3 Sectors\" is no crash");
        assert_eq!(
            refused("seed 1\ncrash_at 3 Sectors 4\nflush").as_str(),
            "\"crash_at 3 Sectors 4\" is no operation"
        );
    }
}
