//! Power cuts on a real file system, again and again over the same disk.
//!
//! One cycle: a load runs on ext4 over a loop device; the file system is cut off from its disk at a
//! random moment, so that nothing more is written, the journal included; what is left is what a
//! machine would find after its power failed. It is mounted again, which replays the journal, the
//! database is opened and held against the oracle: what was acknowledged as on the disk is there.

use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use lsm_workload::Rng;

use crate::Figures;
use crate::real::disk::Disk;
use crate::real::life::Life;
use crate::real::oracle::End;
use crate::real::place::Place;

/// The disk's size; a database outgrows neither it nor patience.
const DISK_BYTES: u64 = 256 << 20;
/// How many cuts a database lives through on average.
const CUTS_A_DATABASE: f64 = 40.0;
/// How the file system is mounted, by turns, under the names that are counted. The second lets
/// metadata reach the disk before the data that it is about; the third allocates at once.
const MOUNTS: &[(&str, &str)] = &[
    ("ordered", "data=ordered"),
    ("writeback", "data=writeback"),
    ("nodelalloc", "data=writeback,nodelalloc"),
];

/// What to do.
#[derive(Clone, Debug)]
pub struct Cuts {
    /// How many.
    pub cuts: u64,
    /// Decides what is written and the moments of the cuts.
    pub seed: u64,
}

impl Cuts {
    /// Makes a disk and runs all cycles; `progress` hears of each.
    ///
    /// # Errors
    /// What was lost or wrong.
    pub fn run(&self, mut progress: impl FnMut()) -> Result<Figures, String> {
        let place = Place::make()?;
        let mut disk = Disk::make(place.path(), DISK_BYTES)?;
        let mut rng = Rng::new(self.seed);
        let mut figures = Figures::default();
        let mut cut = 0;
        while cut < self.cuts {
            mount(&mut disk, &mut rng, &mut figures)?;
            let dir = disk.path().join("cut.db");
            let mut life = Life::new("cut", End::PowerCut, dir, rng.next_u64());
            loop {
                let wrong = |wrong| format!("cut {cut} of seed {}: {wrong}", self.seed);
                cut_once(&mut disk, &mut life, &mut rng, &mut figures).map_err(wrong)?;
                progress();
                cut += 1;
                if cut == self.cuts || rng.chance(1.0 / CUTS_A_DATABASE) {
                    break;
                }
            }
            life.check(&mut figures)?;
            remove_if_there(&life.dir)?;
            disk.unmount()?;
            figures.add("cut.databases", 1);
        }
        // A cut that takes nothing back is none.
        if self.cuts >= 20 && figures.count("cut.not_durable_and_taken_back") == 0 {
            return Err("no cut took back anything: the disk was not cut off".into());
        }
        figures.add("cut.lost", 0);
        figures.add("cut.wrong", 0);
        Ok(figures)
    }
}

fn cut_once(
    disk: &mut Disk,
    life: &mut Life,
    rng: &mut Rng,
    figures: &mut Figures,
) -> Result<(), String> {
    let load = life.load(rng)?;
    disk.cut_off()?;
    // For a moment the load goes on without its disk: what it acknowledges now as durable is lost.
    sleep(Duration::from_micros(rng.below(1000)));
    let told = load.kill()?;
    disk.unmount()?;
    mount(disk, rng, figures)?;
    life.note(&told, figures)?;
    figures.add("cut.cuts", 1);
    // Else the next load meets the leavings of two cuts.
    if rng.chance(0.7) { life.check(figures) } else { Ok(()) }
}

/// Mounts the disk in one of the ways.
fn mount(disk: &mut Disk, rng: &mut Rng, figures: &mut Figures) -> Result<(), String> {
    let (name, options) = *rng.pick(MOUNTS);
    figures.add(&format!("cut.mounted.{name}"), 1);
    disk.mount(options)
}

fn remove_if_there(dir: &Path) -> Result<(), String> {
    if dir.exists() {
        std::fs::remove_dir_all(dir)
            .map_err(|error| format!("could not remove {}: {error}", dir.display()))?;
    }
    Ok(())
}
