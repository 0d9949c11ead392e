//! Histories: drawn from a seed, run against the engine, shrunk when they fail.

use std::fmt::Write as _;

use lsm_io::SimFs;
use lsm_workload::Rng;

use crate::model::Model;
use crate::op::Op;
use crate::world::{Setup, Stop, World};

/// A sequence of operations and the engine's setup, all drawn from one seed.
#[derive(Clone, Debug, PartialEq)]
pub struct History {
    /// The seed.
    pub seed: u64,
    /// How the engine is set up.
    pub setup: Setup,
    /// What is done.
    pub ops: Vec<Op>,
}

impl History {
    /// The history of a seed.
    pub fn random(seed: u64, length: usize) -> Self {
        let mut rng = Rng::new(seed);
        let setup = Setup::random(&mut rng);
        let ops = (0..length).map(|_| Op::random(&mut rng)).collect();
        Self { seed, setup, ops }
    }

    /// A kept history: its first line is the seed of the setup, each further line an operation;
    /// empty lines and lines that begin with `#` do not count.
    ///
    /// # Errors
    /// The line that is no operation.
    pub fn parse(text: &str) -> Result<Self, String> {
        let is_content = |line: &&str| !line.is_empty() && !line.starts_with('#');
        let mut lines = text.lines().map(str::trim).filter(is_content);
        let seed = lines.next().and_then(|line| line.strip_prefix("seed ")?.parse().ok());
        let seed: u64 = seed.ok_or("the first line must be \"seed N\"")?;
        let setup = Setup::random(&mut Rng::new(seed));
        let ops = lines.map(str::parse).collect::<Result<_, _>>()?;
        Ok(Self { seed, setup, ops })
    }

    /// The text that [`parse`](Self::parse) reads.
    pub fn to_text(&self) -> String {
        let mut text = format!("seed {}\n# {:?}\n", self.seed, self.setup);
        for op in &self.ops {
            let _ = writeln!(text, "{op}");
        }
        text
    }

    /// Runs it on a simulated disk; at the end everything is read, verified, and survives one more
    /// power cut.
    ///
    /// # Errors
    /// How the engine went wrong, and at which operation.
    pub fn run(&self) -> Result<(), String> {
        let mut model = Model::default();
        let fs = SimFs::new(self.seed);
        let mut world = World::open(fs, self.setup.clone()).map_err(|stop| format!("{stop:?}"))?;
        for (index, op) in self.ops.iter().enumerate() {
            world
                .apply(op, &mut model)
                .map_err(|stop| format!("at operation {index}, {op}: {}", describe(stop)))?;
        }
        let mut last = |world: &mut World| {
            world.check(&model)?;
            world.verify()?;
            world.apply(&Op::Reopen, &mut model)?;
            world.check_files()
        };
        last(&mut world).map_err(|stop| format!("at the end: {}", describe(stop)))
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
    let run = std::panic::AssertUnwindSafe(|| history.run());
    std::panic::catch_unwind(run).unwrap_or_else(|panic| {
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
        let history = History::random(5, 100);
        assert_eq!(History::parse(&history.to_text()), Ok(history));
    }
}
