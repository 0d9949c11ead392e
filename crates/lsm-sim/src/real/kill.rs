//! SIGKILL under load, again and again over the same database.
//!
//! One cycle: a load is started and killed at a random moment, now and then while it is still
//! recovering from the kill before; then the database is opened here and held against the oracle.

use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use lsm_workload::Rng;

use crate::Figures;
use crate::real::acknowledgement::{Acknowledgement, Told};
use crate::real::child::RunningLoad;
use crate::real::load;
use crate::real::oracle::{End, Oracle};

/// The longest that a load lives, once it writes.
const LIFE_US: u64 = 20_000;
/// How long a load takes until it writes, roughly; more where the disk is slow.
const OPENING_US: u64 = 8_000;
/// How many kills a database lives through on average.
const KILLS_A_DATABASE: f64 = 40.0;

/// What to do.
#[derive(Clone, Debug)]
pub struct Kills {
    /// How many.
    pub cycles: u64,
    /// Decides what is written and the moments of the kills.
    pub seed: u64,
    /// Where the databases lie.
    pub dir: PathBuf,
}

impl Kills {
    /// Runs all cycles; `progress` hears of each.
    ///
    /// # Errors
    /// What was lost or wrong. The database is left in its directory.
    pub fn run(&self, mut progress: impl FnMut()) -> Result<Figures, String> {
        let mut rng = Rng::new(self.seed);
        let mut figures = Figures::default();
        let mut cycle = 0;
        let mut databases = 0;
        while cycle < self.cycles {
            let dir = self.dir.join(format!("kill-{}-{databases}.db", self.seed));
            let mut life = Life::new(dir, rng.next_u64());
            databases += 1;
            while cycle < self.cycles {
                life.kill_once(&mut rng, &mut figures).map_err(|wrong| {
                    let (seed, dir) = (self.seed, life.dir.display());
                    format!("kill {cycle} of seed {seed}: {wrong}; the database is in {dir}")
                })?;
                progress();
                cycle += 1;
                if rng.chance(1.0 / KILLS_A_DATABASE) {
                    break;
                }
            }
            life.check(&mut figures)?;
            life.remove()?;
        }
        figures.add("kill.databases", databases);
        if figures.count("kill.acknowledged") == 0 {
            return Err("no load ever acknowledged anything: nothing was tested".into());
        }
        figures.add("lost", 0);
        figures.add("wrong", 0);
        Ok(figures)
    }
}

/// One database and what is known of it.
struct Life {
    dir: PathBuf,
    seed: u64,
    oracle: Oracle,
}

impl Life {
    fn new(dir: PathBuf, seed: u64) -> Self {
        Self { dir, seed, oracle: Oracle::new(seed) }
    }

    fn kill_once(&mut self, rng: &mut Rng, figures: &mut Figures) -> Result<(), String> {
        let mut load = RunningLoad::start(&self.dir, self.seed, rng.next_u64())?;
        // A quarter dies while opening, that is: in the recovery from the kill before.
        let life = if rng.chance(0.25) {
            OPENING_US
        } else {
            load.wait_until_open()?;
            LIFE_US
        };
        sleep(Duration::from_micros(rng.below(life)));
        load.must_be_running()?;
        let told = load.kill()?;
        self.oracle.note(&told, End::Killed)?;
        figures.add("kill.cycles", 1);
        count(figures, "kill", &told);
        // Else the next load meets the leavings of two processes.
        if rng.chance(0.7) { self.check(figures) } else { Ok(()) }
    }

    /// Opens the database here and compares.
    fn check(&mut self, figures: &mut Figures) -> Result<(), String> {
        let told = |error: lsm_engine::Error| format!("after the kill: {error}");
        let opened = load::open(&self.dir, self.seed).map_err(told)?;
        self.oracle.check(&opened.db, &opened.keyspaces)?;
        count_recovery(figures, "kill", &opened);
        drop(opened.keyspaces);
        opened.db.close().map_err(told)
    }

    fn remove(&self) -> Result<(), String> {
        remove_database(&self.dir)
    }
}

/// Counts what a load told, under names that begin with `harness`.
pub(crate) fn count(figures: &mut Figures, harness: &str, told: &[Acknowledgement]) {
    let mut was_open = 0;
    for record in told {
        match record.told {
            Told::Found => was_open = 1,
            Told::Acknowledged(durability) => {
                let name = format!("{durability:?}").to_lowercase();
                figures.add(&format!("{harness}.acknowledged"), 1);
                figures.add(&format!("{harness}.acknowledged.{name}"), 1);
            }
            Told::SnapshotsRead => figures.add(&format!("{harness}.snapshots"), record.n),
        }
    }
    figures.add(&format!("{harness}.while_opening"), 1 - was_open);
}

/// Counts what a recovery had to do.
pub(crate) fn count_recovery(figures: &mut Figures, harness: &str, opened: &load::Opened) {
    let report = opened.db.recovery_report();
    figures.add(&format!("{harness}.recoveries"), 1);
    figures.add(&format!("{harness}.batches_replayed"), report.batches_replayed);
    figures.add(&format!("{harness}.tables_written"), report.tables_written as u64);
    figures.add(&format!("{harness}.verified"), 1);
}

/// Removes a database's directory.
///
/// # Errors
/// What the operating system says.
pub(crate) fn remove_database(dir: &Path) -> Result<(), String> {
    std::fs::remove_dir_all(dir)
        .map_err(|error| format!("could not remove {}: {error}", dir.display()))
}
