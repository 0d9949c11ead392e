//! Runs every change on every specimen, in both ways of reading, and counts what came of it.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lsm_engine::ReadMode;

use crate::Figures;

use super::change::{Change, Family};
use super::judge::{Outcome, judge};
use super::specimen::Specimen;

/// An open that takes this long does not end.
const HANG: Duration = Duration::from_secs(30);
/// How many failures are told in words; all are counted.
const FAILURES_TOLD: usize = 20;
/// Changes that a thread takes at once.
const TAKEN_AT_ONCE: usize = 64;

/// What is run.
#[derive(Clone, Debug)]
pub struct Sweep {
    /// Every n-th bit, length and change of pieces only; of the other changes, all.
    pub stride: usize,
    /// On how many threads.
    pub jobs: usize,
}

/// What came of the changes to one specimen.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// The specimen's kind.
    pub kind: &'static str,
    /// The length of the damaged file.
    pub bytes: usize,
    /// How often each family of changes was tried.
    pub tried: BTreeMap<Family, u64>,
    /// How often each outcome came of them.
    pub outcomes: BTreeMap<Outcome, u64>,
    /// Wrong answers.
    pub wrong: u64,
    /// Panics.
    pub panics: u64,
    /// Opens and reads that did not end.
    pub hangs: u64,
    /// The first failures in words.
    pub failures: Vec<String>,
}

/// A change to be tried, and in which way the database is read then.
type Trial = (Change, ReadMode);

/// What a thread tells of a trial.
enum Told {
    Outcome(Family, Outcome),
    Wrong(Family, String),
    Panic(Family, String),
}

impl Sweep {
    /// Damages one specimen in every way.
    pub fn run(&self, specimen: &Specimen) -> Tally {
        let trials = Arc::new(self.trials(specimen));
        let mut tally =
            Tally { kind: specimen.kind, bytes: specimen.bytes().len(), ..Tally::default() };
        let next = Arc::new(AtomicUsize::new(0));
        let (teller, told) = mpsc::channel();
        let under_way: Vec<_> = (0..self.jobs.max(1))
            .map(|_| {
                let (specimen, trials) = (specimen.clone(), Arc::clone(&trials));
                let (next, teller) = (Arc::clone(&next), teller.clone());
                let now = Arc::new(Mutex::new((Instant::now(), 0)));
                let under_way = Arc::clone(&now);
                // Not joined: a thread that hangs must not keep the others' counts from being told.
                std::thread::spawn(move || {
                    loop {
                        let first = next.fetch_add(TAKEN_AT_ONCE, Ordering::Relaxed);
                        if first >= trials.len() {
                            return;
                        }
                        let last = trials.len().min(first + TAKEN_AT_ONCE);
                        for (index, trial) in trials[first..last].iter().enumerate() {
                            *now.lock().expect("nobody panics here") =
                                (Instant::now(), first + index);
                            if teller.send(attempt(&specimen, trial)).is_err() {
                                return;
                            }
                        }
                    }
                });
                under_way
            })
            .collect();
        drop(teller);
        loop {
            match told.recv_timeout(HANG) {
                Ok(told) => tally.take(told),
                Err(RecvTimeoutError::Disconnected) => return tally,
                Err(RecvTimeoutError::Timeout) => {
                    for now in &under_way {
                        let (since, index) = *now.lock().expect("nobody panics here");
                        if since.elapsed() >= HANG {
                            tally.hangs += 1;
                            let (change, mode) = &trials[index];
                            tally.fail(&format!("{change} ({mode:?}): no answer in {HANG:?}"));
                        }
                    }
                    if tally.hangs > 0 {
                        return tally;
                    }
                }
            }
        }
    }

    fn trials(&self, specimen: &Specimen) -> Vec<Trial> {
        let mut seen = BTreeMap::new();
        let is_chosen = |change: &Change| {
            if matches!(change.family(), Family::Pages | Family::Files) {
                return true;
            }
            let seen = seen.entry(change.family()).or_insert(0);
            *seen += 1;
            (*seen - 1) % self.stride.max(1) == 0
        };
        let changes = Change::all(specimen).into_iter().filter(is_chosen);
        let in_both = |change: Change| {
            [ReadMode::Mapped, ReadMode::Cached].map(|mode| (change.clone(), mode))
        };
        changes.flat_map(in_both).collect()
    }
}

/// One trial, of which a panic is a failure like any other.
fn attempt(specimen: &Specimen, (change, mode): &Trial) -> Told {
    let family = change.family();
    let run = AssertUnwindSafe(|| judge(specimen, change, *mode));
    match std::panic::catch_unwind(run) {
        Ok(Ok(outcome)) => Told::Outcome(family, outcome),
        Ok(Err(wrong)) => Told::Wrong(family, format!("{change} ({mode:?}): {wrong}")),
        Err(_) => Told::Panic(family, format!("{change} ({mode:?}): panic, see above")),
    }
}

impl Tally {
    fn take(&mut self, told: Told) {
        let family = match told {
            Told::Outcome(family, outcome) => {
                *self.outcomes.entry(outcome).or_default() += 1;
                family
            }
            Told::Wrong(family, failure) => {
                self.wrong += 1;
                self.fail(&failure);
                family
            }
            Told::Panic(family, failure) => {
                self.panics += 1;
                self.fail(&failure);
                family
            }
        };
        *self.tried.entry(family).or_default() += 1;
    }

    fn fail(&mut self, failure: &str) {
        if self.failures.len() < FAILURES_TOLD {
            self.failures.push(format!("{}: {failure}", self.kind));
        }
    }

    /// Whether nothing was wrong.
    pub fn holds(&self) -> bool {
        self.wrong + self.panics + self.hangs == 0
    }

    fn tried(&self, family: Family) -> u64 {
        self.tried.get(&family).copied().unwrap_or(0)
    }

    fn came_of(&self, outcome: Outcome) -> u64 {
        self.outcomes.get(&outcome).copied().unwrap_or(0)
    }

    /// Adds what was counted to the line that `cargo xtask torture` reads.
    pub fn add_to(&self, figures: &mut Figures) {
        figures.add(&format!("damage.bits.{}", self.kind), self.tried(Family::Bits));
        for family in Family::ALL {
            figures.add(&format!("damage.{}", family.name()), self.tried(family));
        }
        figures.add("damage.right", self.came_of(Outcome::Right));
        figures.add("damage.cut", self.came_of(Outcome::Cut));
        figures.add("damage.typed", self.came_of(Outcome::Typed));
        figures.add("wrong", self.wrong);
        figures.add("panics", self.panics);
        figures.add("hangs", self.hangs);
    }

    /// The names of the columns.
    pub const HEADING: &str = "\
kind                bytes     bits  lengths  pages  pieces  files |    right      cut    typed  wrong  panics  hangs";
}

/// A line of the table.
impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [bits, lengths, pages, pieces, files] = Family::ALL.map(|family| self.tried(family));
        let [right, cut, typed] =
            [Outcome::Right, Outcome::Cut, Outcome::Typed].map(|outcome| self.came_of(outcome));
        let Self { kind, bytes, wrong, panics, hangs, .. } = self;
        write!(
            f,
            "{kind:<17} {bytes:>7} {bits:>8} {lengths:>8} {pages:>6} {pieces:>7} {files:>6} | \
             {right:>8} {cut:>8} {typed:>8} {wrong:>6} {panics:>7} {hangs:>6}"
        )
    }
}
