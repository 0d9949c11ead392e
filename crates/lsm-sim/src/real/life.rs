//! One database under loads that are ended again and again, and what is known of it.

use std::path::PathBuf;
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

/// One database.
#[derive(Debug)]
pub(crate) struct Life {
    /// What its figures begin with.
    harness: &'static str,
    end: End,
    pub(crate) dir: PathBuf,
    seed: u64,
    oracle: Oracle,
}

impl Life {
    /// A database in `dir` that is yet to be created.
    pub(crate) fn new(harness: &'static str, end: End, dir: PathBuf, seed: u64) -> Self {
        Self { harness, end, dir, seed, oracle: Oracle::new(seed) }
    }

    /// Starts a load and lets it live for a random time: a quarter while it still opens the
    /// database, that is, in the recovery from the end before.
    pub(crate) fn load(&self, rng: &mut Rng) -> Result<RunningLoad, String> {
        let mut load = RunningLoad::start(&self.dir, self.seed, rng.next_u64())?;
        let life = if rng.chance(0.25) {
            OPENING_US
        } else {
            load.wait_until_open()?;
            LIFE_US
        };
        sleep(Duration::from_micros(rng.below(life)));
        load.must_be_running()?;
        Ok(load)
    }

    /// Takes over what a load told before it ended.
    pub(crate) fn note(
        &mut self,
        told: &[Acknowledgement],
        figures: &mut Figures,
    ) -> Result<(), String> {
        let mut add = |name: &str, count| figures.add(&format!("{}.{name}", self.harness), count);
        let mut was_open = 0;
        for record in told {
            match record.told {
                Told::Found => was_open = 1,
                Told::Acknowledged(durability) => {
                    add("acknowledged", 1);
                    add(&format!("acknowledged.{durability:?}").to_lowercase(), 1);
                }
                Told::SnapshotsRead => add("snapshots", record.n),
            }
        }
        add("while_opening", 1 - was_open);
        self.oracle.note(told, self.end)
    }

    /// Opens the database here, holds it against the oracle, and closes it.
    pub(crate) fn check(&mut self, figures: &mut Figures) -> Result<(), String> {
        let told = |error: lsm_engine::Error| format!("after its end: {error}");
        let opened = load::open(&self.dir, self.seed).map_err(told)?;
        let taken_back = self.oracle.check(&opened.db, &opened.keyspaces)?;
        let report = opened.db.recovery_report();
        let mut add = |name: &str, count| figures.add(&format!("{}.{name}", self.harness), count);
        add("verified", 1);
        add("batches_replayed", report.batches_replayed);
        add("tables_written", report.tables_written as u64);
        add("not_durable_and_taken_back", taken_back);
        drop(opened.keyspaces);
        opened.db.close().map_err(told)
    }

    /// Removes the database.
    pub(crate) fn remove(&self) -> Result<(), String> {
        let dir = &self.dir;
        std::fs::remove_dir_all(dir)
            .map_err(|error| format!("could not remove {}: {error}", dir.display()))
    }
}
