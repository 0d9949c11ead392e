//! A disk that is really full, on tmpfs and on ext4: writes are refused, reads go on, and once there
//! is room again the service resumes by itself.
//!
//! One round: somebody else fills the disk; the database writes until it is refused, and is asked
//! for everything; now and then it is closed and opened while the disk is full; then the room is
//! given back and it has to go on without being opened again.

use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use lsm_engine::ErrorKind;
use lsm_workload::Rng;

use crate::Figures;
use crate::real::ballast;
use crate::real::disk::Disk;
use crate::real::growth::{Growth, is_refused};
use crate::real::load::{self, Opened};
use crate::real::place::Place;

/// The disk's size.
const DISK_BYTES: u64 = 32 << 20;
/// The room that is left at most.
const LEFT_BYTES: u64 = 256 << 10;
/// Writes within which a full disk has to refuse one.
const WRITES_MAX: u64 = 20_000;
/// The longest until a service resumes: far beyond what it needs.
const RESUMES_WITHIN: Duration = Duration::from_secs(60);

/// What to do.
#[derive(Clone, Debug)]
pub struct FullDisks {
    /// How often each kind of file system is filled.
    pub rounds: u64,
    /// Decides what is written, and how much room is left.
    pub seed: u64,
}

impl FullDisks {
    /// Fills a tmpfs and an ext4, `rounds` times each.
    ///
    /// # Errors
    /// What was lost or wrong, or did not resume.
    pub fn run(&self) -> Result<Figures, String> {
        let mut figures = Figures::default();
        for kind in ["tmpfs", "ext4"] {
            let place = Place::make()?;
            let dir = made(kind, &place)?;
            let seed = self.seed;
            let wrong = |wrong| format!("full disk ({kind}) of seed {seed}: {wrong}");
            Filled::new(dir, seed).run(self.rounds, &mut figures).map_err(wrong)?;
            figures.add(&format!("full_disk.{kind}"), self.rounds);
        }
        figures.add("full_disk.lost", 0);
        figures.add("full_disk.wrong", 0);
        Ok(figures)
    }
}

/// A mounted file system of this kind.
fn made(kind: &str, place: &Place) -> Result<PathBuf, String> {
    if kind == "ext4" {
        let disk = Disk::make(place.path(), DISK_BYTES)?;
        disk.mount("data=ordered")?;
        return Ok(disk.path().to_owned());
    }
    place.mount_memory(DISK_BYTES)
}

/// A database on a disk that somebody else fills.
struct Filled {
    dir: PathBuf,
    rng: Rng,
    growth: Growth,
}

impl Filled {
    fn new(dir: PathBuf, seed: u64) -> Self {
        Self { dir, rng: Rng::new(seed), growth: Growth::new(seed) }
    }

    fn run(&mut self, rounds: u64, figures: &mut Figures) -> Result<(), String> {
        let mut opened = self.open().map_err(said("an open"))?;
        for _ in 0..rounds {
            for _ in 0..self.rng.below(200) {
                self.growth.grow(&opened).map_err(said("a write"))?;
            }
            let room = self.rng.below(LEFT_BYTES);
            ballast::fill(&self.dir, room)?;
            self.write_until_refused(&opened)?;
            figures.add("full_disk.refused", 1);
            for _ in 0..20 {
                let refused = is_refused(self.growth.commit(&opened))?;
                figures.add("full_disk.refused", u64::from(refused));
            }
            self.growth.compare(&opened)?;
            if self.rng.chance(0.3) {
                opened = self.reopen_while_full(opened, figures)?;
            }
            ballast::empty(&self.dir)?;
            self.resume(&opened, figures)?;
            figures.add("full_disk.rounds", 1);
        }
        opened.db.close().map_err(said("the close"))
    }

    fn open(&mut self) -> lsm_engine::Result<Opened> {
        load::open(&self.dir.join("full.db"), self.rng.next_u64())
    }

    fn write_until_refused(&mut self, opened: &Opened) -> Result<(), String> {
        for _ in 0..WRITES_MAX {
            if is_refused(self.growth.grow(opened))? {
                return Ok(());
            }
        }
        Err(format!("{WRITES_MAX} writes found room on a full disk"))
    }

    /// An open may need room, and then says so and leaves everything as it was.
    fn reopen_while_full(
        &mut self,
        opened: Opened,
        figures: &mut Figures,
    ) -> Result<Opened, String> {
        // What a close cannot write is in the log.
        drop(opened);
        let opened = match self.open() {
            Ok(opened) => {
                figures.add("full_disk.opened_while_full", 1);
                opened
            }
            Err(error) if error.kind() == ErrorKind::NoSpace => {
                figures.add("full_disk.open_refused", 1);
                ballast::fill(&self.dir, 8 << 20)?;
                self.open().map_err(|error| format!("with room again: {error:?}"))?
            }
            Err(error) => return Err(format!("an open on a full disk: {error:?}")),
        };
        self.growth.reopened(&opened)?;
        Ok(opened)
    }

    /// There is room again: writes, deletes, flushes and merges go on by themselves.
    fn resume(&mut self, opened: &Opened, figures: &mut Figures) -> Result<(), String> {
        let began = Instant::now();
        while is_refused(self.growth.grow(opened))? {
            if began.elapsed() > RESUMES_WITHIN {
                return Err("hang: there is room, and writes are still refused".into());
            }
            figures.add("full_disk.refused_a_while_longer", 1);
            sleep(Duration::from_millis(5));
        }
        self.growth.compare(opened)?;
        self.growth.shrink(opened).map_err(said("deleting"))?;
        opened.db.flush().map_err(said("a flush"))?;
        opened.keyspaces[0].compact_range::<&str>(..).map_err(said("a merge"))?;
        self.growth.compare(opened)?;
        let report = opened.db.verify().map_err(said("a check"))?;
        match report.damage.first() {
            None => Ok(()),
            Some(damage) => Err(format!("verify finds {damage:?}")),
        }
    }
}

/// What to say of an error of such a call.
fn said(call: &str) -> impl Fn(lsm_engine::Error) -> String {
    move |error| format!("{call} with room on the disk: {error:?}")
}
