//! A directory for the disks of one process, under a name that says whose it is; and the removal of
//! what a process that was killed has left of its own.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::real::mount::{mount, unmount_freeing};

/// What the names of these directories begin with; the owner's process number follows.
const NAME: &str = "lsm-sim-disks-";
/// How often, and after which time, it is tried to clear what others may be clearing too.
const TRIES_MAX: usize = 100;
const TRY_INTERVAL: Duration = Duration::from_millis(20);

/// The directory. Dropping it unmounts and removes everything in it.
#[derive(Debug)]
pub struct Place {
    dir: PathBuf,
}

impl Place {
    /// Makes the directory, in memory where the system has such a place, and removes what others
    /// have left of theirs.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn make() -> Result<Self, String> {
        clean()?;
        let dir = base().join(format!("{NAME}{}", std::process::id()));
        std::fs::create_dir(&dir)
            .map_err(|error| format!("could not create {}: {error}", dir.display()))?;
        Ok(Self { dir })
    }

    /// Mounts a tmpfs of `bytes` in it, and returns where.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn mount_memory(&self, bytes: u64) -> Result<PathBuf, String> {
        let dir = self.dir.join("memory");
        std::fs::create_dir(&dir)
            .and_then(|()| mount(Path::new("tmpfs"), &dir, "tmpfs", &format!("size={bytes}")))
            .map_err(|error| format!("could not mount a tmpfs at {}: {error}", dir.display()))?;
        Ok(dir)
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.dir
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Err(message) = clear(&self.dir) {
            eprintln!("{message}; `lsm-sim clean` tries again");
        }
    }
}

/// Removes the disks, mounts and files of processes that are gone; returns what was removed.
///
/// # Errors
/// What the operating system refuses.
pub fn clean() -> Result<Vec<PathBuf>, String> {
    clean_in(&base())
}

fn clean_in(base: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = std::fs::read_dir(base)
        .map_err(|error| format!("could not list {}: {error}", base.display()))?;
    let mut removed = Vec::new();
    for entry in entries.filter_map(Result::ok) {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix(NAME));
        if owner.is_some_and(is_gone) {
            clear_beside_others(&entry.path())?;
            removed.push(entry.path());
        }
    }
    Ok(removed)
}

/// Clears what nobody owns any more: other processes that begin may be doing so as well, and whoever
/// comes second to something tries again until it is gone.
fn clear_beside_others(dir: &Path) -> Result<(), String> {
    let mut cleared = clear(dir);
    for _ in 0..TRIES_MAX {
        if cleared.is_ok() || !dir.exists() {
            return Ok(());
        }
        std::thread::sleep(TRY_INTERVAL);
        cleared = clear(dir);
    }
    cleared
}

/// Whether the process with this number is gone, where the system tells.
fn is_gone(process: &str) -> bool {
    let processes = Path::new("/proc");
    processes.join("self").exists() && !processes.join(process).exists()
}

fn base() -> PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() }
}

/// Unmounts everything under `dir`, frees the loop devices over its files, and removes it.
fn clear(dir: &Path) -> Result<(), String> {
    let told = |what: &Path, error: std::io::Error| {
        format!("could not remove {}: {error}", what.display())
    };
    // What is mounted inside of another mount was mounted after it.
    for mount in mounts_under(dir).into_iter().rev() {
        unmount_freeing(&mount, || free_devices(dir)).map_err(|error| told(&mount, error))?;
    }
    free_devices(dir);
    std::fs::remove_dir_all(dir).map_err(|error| told(dir, error))
}

/// Where file systems are mounted under `dir`, oldest first.
fn mounts_under(dir: &Path) -> Vec<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let targets = mounts.lines().filter_map(|line| line.split(' ').nth(1)).map(PathBuf::from);
    targets.filter(|target| target.starts_with(dir)).collect()
}

fn free_devices(dir: &Path) {
    for entry in std::fs::read_dir("/sys/block").into_iter().flatten().filter_map(Result::ok) {
        let file = std::fs::read_to_string(entry.path().join("loop/backing_file"));
        if file.is_ok_and(|file| Path::new(file.trim()).starts_with(dir)) {
            let device = Path::new("/dev").join(entry.file_name());
            // A device that is still in use stays, and with it the file: the next one frees it.
            let _ = Command::new("losetup").arg("--detach").arg(device).status();
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn what_a_process_that_is_gone_has_left_is_removed_and_nothing_else() {
        // A directory of its own: what other runs have left, and are using, is not this test's.
        let base = tempfile::tempdir().unwrap();
        // Beyond the largest number that Linux gives to a process.
        let (gone, alive) = (u64::from(u32::MAX) + 1, u64::from(std::process::id()));
        let dirs = [gone, alive].map(|owner| base.path().join(format!("{NAME}{owner}")));
        for dir in &dirs {
            std::fs::create_dir_all(dir.join("disk")).unwrap();
        }
        assert_eq!(clean_in(base.path()).unwrap(), dirs[..1]);
        assert!(!dirs[0].exists() && dirs[1].exists());
        // As if another process had come first.
        assert_eq!(clear_beside_others(&dirs[0]), Ok(()));
        drop(Place { dir: dirs[1].clone() });
        assert!(!dirs[1].exists());
    }
}
