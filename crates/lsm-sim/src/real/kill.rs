//! SIGKILL under load, again and again over the same database.
//!
//! One cycle: a load is started and killed at a random moment, now and then while it is still
//! recovering from the kill before; then the database is opened here and held against the oracle.

use std::path::PathBuf;

use lsm_workload::Rng;

use crate::Figures;
use crate::real::life::Life;
use crate::real::oracle::End;

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
        while cycle < self.cycles {
            let dir = self.dir.join(format!("kill-{}-{cycle}.db", self.seed));
            let mut life = Life::new("kill", End::Killed, dir, rng.next_u64());
            loop {
                kill_once(&mut life, &mut rng, &mut figures).map_err(|wrong| {
                    let (seed, dir) = (self.seed, life.dir.display());
                    format!("kill {cycle} of seed {seed}: {wrong}; the database is in {dir}")
                })?;
                progress();
                cycle += 1;
                if cycle == self.cycles || rng.chance(1.0 / KILLS_A_DATABASE) {
                    break;
                }
            }
            life.check(&mut figures)?;
            life.remove()?;
            figures.add("kill.databases", 1);
        }
        if figures.count("kill.acknowledged") == 0 {
            return Err("no load ever acknowledged anything: nothing was tested".into());
        }
        figures.add("kill.lost", 0);
        figures.add("kill.wrong", 0);
        Ok(figures)
    }
}

fn kill_once(life: &mut Life, rng: &mut Rng, figures: &mut Figures) -> Result<(), String> {
    let told = life.load(rng)?.kill()?;
    life.note(&told, figures)?;
    figures.add("kill.cycles", 1);
    // Else the next load meets the leavings of two processes.
    if rng.chance(0.7) { life.check(figures) } else { Ok(()) }
}
