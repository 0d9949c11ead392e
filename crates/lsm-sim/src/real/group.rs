//! A control group that limits the memory of the processes in it, and always goes away again.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

/// What the names of these groups begin with; the owner's process number follows.
const NAME: &str = "lsm-sim-memory-";
/// How often the removal of a group is tried whose last process is still leaving.
const ATTEMPTS: u32 = 100;

/// A group within the group of this process. Dropping it removes it.
#[derive(Debug)]
pub struct Group {
    dir: PathBuf,
    is_second_version: bool,
}

impl Group {
    /// Makes a group that may use `limit_bytes`, and removes what others have left of theirs.
    ///
    /// # Errors
    /// What this machine lacks.
    pub fn make(limit_bytes: u64) -> Result<Self, String> {
        let (parent, is_second_version) = parent()
            .ok_or("control groups that can limit memory, where this process may make one")?;
        clean_in(&parent);
        let group =
            Self { dir: parent.join(format!("{NAME}{}", std::process::id())), is_second_version };
        let told = |error: std::io::Error| format!("a control group of its own: {error}");
        fs::create_dir(&group.dir).map_err(told)?;
        let file = if is_second_version { "memory.max" } else { "memory.limit_in_bytes" };
        fs::write(group.dir.join(file), limit_bytes.to_string()).map_err(told)?;
        Ok(group)
    }

    /// Its directory: whoever writes a process number into `cgroup.procs` there moves it in.
    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// The most memory that was in use at once, the operating system's cache included, if told.
    pub fn peak_bytes(&self) -> Option<u64> {
        let file = if self.is_second_version { "memory.peak" } else { "memory.max_usage_in_bytes" };
        fs::read_to_string(self.dir.join(file)).ok()?.trim().parse().ok()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for _ in 0..ATTEMPTS {
            if fs::remove_dir(&self.dir).is_ok() {
                return;
            }
            sleep(Duration::from_millis(20));
        }
        eprintln!("could not remove {}; `lsm-sim clean` tries again", self.dir.display());
    }
}

/// Moves this process into the group at `dir`.
///
/// # Errors
/// What the operating system says.
pub fn enter(dir: &Path) -> Result<(), String> {
    let told = |error| format!("could not enter {}: {error}", dir.display());
    fs::write(dir.join("cgroup.procs"), std::process::id().to_string()).map_err(told)
}

/// The group of this process in the hierarchy that limits memory, and whether that is of the second
/// version.
fn parent() -> Option<(PathBuf, bool)> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let of = |controller: &str| {
        groups.lines().find_map(|line| {
            let (_, rest) = line.split_once(':')?;
            let (controllers, group) = rest.split_once(':')?;
            let is_it = controllers.split(',').any(|is| is == controller);
            is_it.then(|| group.trim_start_matches('/').to_owned())
        })
    };
    let first = of("memory").map(|group| Path::new("/sys/fs/cgroup/memory").join(group));
    if let Some(first) = first.filter(|dir| dir.join("memory.limit_in_bytes").exists()) {
        return Some((first, false));
    }
    let second = Path::new("/sys/fs/cgroup").join(of("")?);
    let passed_on = fs::read_to_string(second.join("cgroup.subtree_control")).ok()?;
    passed_on.split_whitespace().any(|is| is == "memory").then_some((second, true))
}

/// Removes the groups of processes that are gone; returns those that were removed.
pub fn clean() -> Vec<PathBuf> {
    parent().map(|(parent, _)| clean_in(&parent)).unwrap_or_default()
}

fn clean_in(parent: &Path) -> Vec<PathBuf> {
    let mut removed = Vec::new();
    for entry in fs::read_dir(parent).into_iter().flatten().filter_map(Result::ok) {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix(NAME));
        if owner.is_some_and(|owner| !Path::new("/proc").join(owner).exists()) {
            // One that is still in use stays until the next run.
            if fs::remove_dir(entry.path()).is_ok() {
                removed.push(entry.path());
            }
        }
    }
    removed
}
