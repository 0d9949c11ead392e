//! A sync that really fails: an ext4 whose disk is a sparse file, on a tmpfs that is too small for it.
//!
//! The file system takes writes for which it has room, and cannot bring them to its disk; what it
//! does then is its own: it drops pages, calls the next sync a success, or gives up. One round: the
//! database writes until the disk fails it; from then on it takes no more writes, says so in the
//! error and in its metrics, and reads right what was acknowledged. Then the disk is mended, its
//! file system mounted anew so that nothing is left in a cache, and the database is opened: all that
//! was acknowledged as on the disk is there.
//!
//! Before the rounds, twice: the disk fails while nobody waits for it. The file system takes no
//! notice, and says of what it has lost, a name or a length, that it is on the disk; `lsm-io` has to.

use std::thread::sleep;
use std::time::Duration;

use lsm_engine::ErrorKind;
use lsm_io::{Fs, OpenMode, StdFs};
use lsm_workload::Rng;

use crate::Figures;
use crate::real::ballast;
use crate::real::disk::Disk;
use crate::real::growth::Growth;
use crate::real::load::{self, Opened};
use crate::real::place::Place;
use crate::setup::Setup;

/// What the file system believes that its disk holds.
const DISK_BYTES: u64 = 128 << 20;
/// What it can hold.
const MEMORY_BYTES: u64 = 48 << 20;
/// The room that is left at most when the disk is about to fail.
const LEFT_BYTES: u64 = 1 << 20;
/// Writes within which the disk has to fail.
const WRITES_MAX: u64 = 50_000;
/// Refusals after which a database that has not lost a sync of its log or manifest is left alone: a
/// table or a segment in the making failed it, and is made anew once there is room.
const FAILURES_MAX: u64 = 50;
/// Disks in a row that may fail their database only so: chance decides whom a disk fails first, and
/// on a busy machine one in five spares the log and the manifest.
const SPARED_MAX: u64 = 10;

/// By when a journal has committed by itself that is to do so every second.
const COMMITTED_WITHIN: Duration = Duration::from_millis(2500);
/// A length that a file is given.
const GROWN_BYTES: u64 = 8192;

/// What to do.
#[derive(Clone, Debug)]
pub struct FailedSyncs {
    /// How many databases lose a sync for good. A disk that spares its database that is counted too,
    /// and another one is broken in its place.
    pub rounds: u64,
    /// Decides what is written, and how much room is left.
    pub seed: u64,
}

impl FailedSyncs {
    /// Breaks `rounds` disks under a database each.
    ///
    /// # Errors
    /// What was lost or wrong.
    pub fn run(&self) -> Result<Figures, String> {
        let mut rng = Rng::new(self.seed);
        let mut figures = Figures::default();
        for (what, syncs_name) in [("name", true), ("length", false)] {
            fail_unnoticed(syncs_name, &mut figures)
                .map_err(|wrong| format!("a disk that fails unnoticed, a {what}: {wrong}"))?;
        }
        for round in 0..self.rounds {
            let wrong = |wrong| format!("failed sync {round} of seed {}: {wrong}", self.seed);
            break_until_read_only(&mut rng, &mut figures).map_err(wrong)?;
            figures.add("failed_sync.rounds", 1);
        }
        figures.add("failed_sync.lost", 0);
        figures.add("failed_sync.wrong", 0);
        Ok(figures)
    }
}

/// The journal's own commit fails, and then somebody syncs what was in it: a name, or a length. Each
/// on a disk of its own, for by the first question the file system takes notice.
fn fail_unnoticed(syncs_name: bool, figures: &mut Figures) -> Result<(), String> {
    let place = Place::make()?;
    let memory = place.mount_memory(MEMORY_BYTES)?;
    let disk = Disk::make(&memory, DISK_BYTES)?;
    disk.mount("data=ordered,commit=1")?;
    let (dir, told) = (disk.path().join("names"), |error: lsm_io::Error| error.to_string());
    StdFs.create_dir_all(&dir).and_then(|()| StdFs.sync_dir(disk.path())).map_err(told)?;
    let (name, grown) = (dir.join("name"), dir.join("grown"));
    let file = StdFs.open(&grown, OpenMode::CreateNew).map_err(told)?;
    file.sync().and_then(|()| StdFs.sync_dir(&dir)).map_err(told)?;
    ballast::fill(&memory, 0)?;
    drop(StdFs.open(&name, OpenMode::CreateNew).map_err(told)?);
    file.set_len(GROWN_BYTES).map_err(told)?;
    sleep(COMMITTED_WITHIN);
    let is_told = if syncs_name { StdFs.sync_dir(&dir) } else { file.sync() }.is_err();
    drop(file);
    disk.unmount()?;
    ballast::empty(&memory)?;
    disk.mount("data=ordered")?;
    let is_lost = match syncs_name {
        true => !name.exists(),
        false => grown.metadata().map_err(|error| error.to_string())?.len() < GROWN_BYTES,
    };
    if is_lost && !is_told {
        return Err("a sync succeeded, and what it was to keep is lost".into());
    }
    figures.add("failed_sync.unnoticed", u64::from(is_lost));
    Ok(())
}

fn break_until_read_only(rng: &mut Rng, figures: &mut Figures) -> Result<(), String> {
    let before = figures.count("failed_sync.read_only");
    for _ in 0..SPARED_MAX {
        break_once(rng, figures)?;
        if figures.count("failed_sync.read_only") > before {
            return Ok(());
        }
    }
    Err(format!("{SPARED_MAX} disks failed, and no database became read-only"))
}

fn break_once(rng: &mut Rng, figures: &mut Figures) -> Result<(), String> {
    let place = Place::make()?;
    let memory = place.mount_memory(MEMORY_BYTES)?;
    let disk = Disk::make(&memory, DISK_BYTES)?;
    disk.mount("data=ordered")?;
    let dir = disk.path().join("failing.db");
    // A log that is mapped would end this process with a signal, as the fault model says.
    let setup = Setup { map_log: false, ..Setup::random(rng) };
    let opened = load::open_as(&dir, &setup).map_err(|error| format!("at first: {error:?}"))?;
    let mut growth = Growth::new(rng.next_u64());
    for _ in 0..rng.below(300) {
        growth.grow(&opened).map_err(|error| format!("on a healthy disk: {error:?}"))?;
    }
    ballast::fill(&memory, rng.below(LEFT_BYTES))?;
    write_until_it_fails(&mut growth, &opened, figures)?;
    growth.compare(&opened).map_err(|wrong| format!("after the failure: {wrong}"))?;
    close_after_the_failure(opened)?;
    disk.unmount()?;
    ballast::empty(&memory)?;
    disk.mount("data=ordered")?;
    let opened = load::open_as(&dir, &setup).map_err(|error| format!("mended: {error:?}"))?;
    growth.reopened_without_caches(&opened)?;
    growth.grow(&opened).map_err(|error| format!("on the mended disk: {error:?}"))?;
    growth.compare(&opened)?;
    let report = opened.db.verify().map_err(|error| format!("could not verify: {error:?}"))?;
    match report.damage.first() {
        None => opened.db.close().map_err(|error| format!("could not close: {error:?}")),
        Some(damage) => Err(format!("verify finds {damage:?}")),
    }
}

fn write_until_it_fails(
    growth: &mut Growth,
    opened: &Opened,
    figures: &mut Figures,
) -> Result<(), String> {
    let mut failures = 0;
    for _ in 0..WRITES_MAX {
        let Err(error) = growth.grow(opened) else { continue };
        failures += 1;
        figures.add(&format!("failed_sync.{:?}", error.kind()).to_lowercase(), 1);
        if opened.db.metrics().poison.is_some() {
            figures.add("failed_sync.read_only", 1);
            return must_refuse(growth, opened);
        }
        if error.kind() == ErrorKind::Busy || failures == FAILURES_MAX {
            figures.add("failed_sync.only_refused", 1);
            return Ok(());
        }
    }
    Err(format!("{WRITES_MAX} writes found room on a disk that has none"))
}

/// A close says that a sync has failed; where none has, it may find no room.
fn close_after_the_failure(opened: Opened) -> Result<(), String> {
    let is_read_only = opened.db.metrics().poison.is_some();
    match opened.db.close() {
        Ok(()) if is_read_only => Err("closed as if no sync had failed".into()),
        Ok(()) => Ok(()),
        Err(error) => match error.kind() {
            ErrorKind::ReadOnly => Ok(()),
            ErrorKind::Io | ErrorKind::NoSpace if !is_read_only => Ok(()),
            kind => Err(format!("closing after the failure: {kind:?}: {error}")),
        },
    }
}

/// Read-only is final, and says so.
fn must_refuse(growth: &mut Growth, opened: &Opened) -> Result<(), String> {
    for _ in 0..5 {
        match growth.grow(opened) {
            Err(error) if error.kind() == ErrorKind::ReadOnly => {}
            Err(error) => return Err(format!("a read-only database answers {error:?}")),
            Ok(()) => return Err("a write was acknowledged after a failed sync".into()),
        }
    }
    Ok(())
}
