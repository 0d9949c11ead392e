//! A disk in memory that can be crashed at any call and found again in any state that a power cut
//! may leave.
//!
//! To see what a power cut keeps, open `sim/crash.rs`; how calls are made to fail, `sim/fault.rs`;
//! what a file is, `sim/inode.rs`; how names become durable, `sim/names.rs`.

mod calls;
mod chance;
mod content;
mod crash;
mod disk;
mod fault;
mod file;
mod hold;
mod inode;
mod machine;
mod names;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use self::crash::CrashPolicy;
pub use self::fault::{Fault, Schedule, every, nth, once};
pub use self::hold::Hold;

use self::chance::{Chance, mix};
use self::disk::{Disk, ROOT};
use self::fault::Pattern;
use self::machine::{Machine, State};
use crate::SharedFs;

/// A simulated disk, and the machine that runs on it: a handle, cheap to clone, all clones of which
/// are the same disk.
///
/// Nothing is durable but what was synced, and a name only once its directory was; see [`Fs`]. The
/// same calls on the same seed always give the same disk, the same failures and the same crashes.
/// Relative and absolute paths start at one root directory, which is always there.
///
/// ```
/// use lsm_io::{CrashPolicy, Fs, OpenMode, SimFs};
/// use std::path::Path;
///
/// let fs = SimFs::new(7);
/// let file = fs.open(Path::new("journal"), OpenMode::CreateNew)?;
/// fs.sync_dir(Path::new(""))?;
/// file.write_at(0, b"first")?;
/// file.sync()?;
/// file.write_at(5, b" second")?;
///
/// let after = fs.crash_image(CrashPolicy::LoseUnsynced, 0);
/// assert_eq!(after.read_file("journal"), b"first");
/// assert_eq!(fs.read_file("journal"), b"first second", "the original is untouched");
/// # Ok::<(), lsm_io::Error>(())
/// ```
///
/// [`Fs`]: crate::Fs
#[derive(Clone)]
pub struct SimFs {
    machine: Arc<Machine>,
}

impl SimFs {
    /// An empty disk. The seed decides what [`restart`](Self::restart) finds.
    pub fn new(seed: u64) -> Self {
        Self::with_disk(Disk::new(), seed)
    }

    fn with_disk(disk: Disk, seed: u64) -> Self {
        Self { machine: Arc::new(Machine::new(State::new(disk, seed))) }
    }

    /// The same disk as the handle that every layer takes.
    pub fn shared(&self) -> SharedFs {
        Arc::new(self.clone())
    }

    // --- crashing ---

    /// Calls so far that may have changed the disk: those that create, write, sync, rename, remove,
    /// link or lock, whether or not they succeeded.
    pub fn steps(&self) -> u64 {
        self.machine.lock().steps
    }

    /// How many steps `work` takes on this disk.
    pub fn count_steps<R>(&self, work: impl FnOnce(&Self) -> R) -> u64 {
        let steps_before = self.steps();
        work(self);
        self.steps() - steps_before
    }

    /// Crashes the machine at the step with this number, counted from 0: that call and every call
    /// after it fails. Unless it is a sync, the interrupted call counts as done and unsynced, so the
    /// policy of the image decides which part of it took effect.
    ///
    /// ```
    /// # use lsm_io::{Fs, SimFs};
    /// # use std::path::Path;
    /// let save = |fs: &SimFs| -> lsm_io::Result<()> {
    ///     fs.create_dir_all(Path::new("a"))?;
    ///     fs.sync_dir(Path::new(""))
    /// };
    /// for step in 0..SimFs::new(0).count_steps(save) {
    ///     let fs = SimFs::new(0).crash_at(step);
    ///     assert!(save(&fs).is_err());
    ///     fs.restart(); // ... and here the program looks at what it finds.
    /// }
    /// ```
    pub fn crash_at(&self, step: u64) -> Self {
        self.machine.lock().crash_at = Some(step);
        self.clone()
    }

    /// Whether the crash has happened.
    pub fn has_crashed(&self) -> bool {
        self.machine.lock().has_crashed
    }

    /// The disk as it would be found if the power were cut now. This one is untouched, whether it
    /// has crashed or not. The image has no faults, holds, limits or locks, and its counters are 0.
    ///
    /// The same policy and seed on the same disk give the same image. Bytes are shared until one of
    /// the two changes them, so an image of a small database takes microseconds.
    pub fn crash_image(&self, policy: CrashPolicy, seed: u64) -> Self {
        let image = self.machine.lock().disk.crashed(policy, seed);
        Self::with_disk(image, mix(seed, policy as u64))
    }

    /// The disk after a power cut now, by a policy that is drawn from the seed and the step: the
    /// [`crash_image`](Self::crash_image) for tests that try one per crash.
    pub fn restart(&self) -> Self {
        let seed = {
            let state = self.machine.lock();
            mix(state.seed, state.steps)
        };
        let mut chance = Chance::new(seed);
        let policy = CrashPolicy::ALL[chance.below(CrashPolicy::ALL.len() as u64) as usize];
        self.crash_image(policy, chance.next())
    }

    /// The disk after the process is killed now, while the machine runs on: every call that was made
    /// took effect, locks are released, and what was not synced may still be lost to a power cut.
    pub fn kill_image(&self) -> Self {
        let (disk, seed) = {
            let state = self.machine.lock();
            (state.disk.killed(), mix(state.seed, state.steps))
        };
        Self::with_disk(disk, seed)
    }

    // --- faults ---

    /// Makes calls fail, from now on; several faults count their calls independently.
    pub fn fail(&self, fault: Fault) -> Self {
        self.machine.lock().faults.push(fault);
        self.clone()
    }

    /// How many calls faults have made fail so far: 0 once the `n` of [`nth`] is beyond the last call
    /// of a workload, which is how to try every one of them.
    pub fn faults_struck(&self) -> u64 {
        self.machine.lock().struck
    }

    /// Takes back all faults.
    pub fn heal(&self) {
        self.machine.lock().faults.clear();
    }

    /// Makes calls wait, from now on, until the [`Hold`] is released or dropped. Nothing of a held
    /// call has happened yet. How the fault would fail does not matter here.
    pub fn hold(&self, calls: Fault) -> Hold {
        Hold::new(self.machine.clone(), calls)
    }

    /// Lets all files together take this many bytes; what would make them longer fails with
    /// `StorageFull`, a write after having written what fits. A file takes its length while it has a
    /// name or an open handle.
    pub fn limit_bytes(&self, bytes: u64) -> Self {
        self.machine.lock().limit_bytes = Some(bytes);
        self.clone()
    }

    /// Makes the disk large again.
    pub fn unlimit(&self) {
        self.machine.lock().limit_bytes = None;
    }

    /// Changes a file's bytes behind everybody's back, durably, as a failing disk does.
    ///
    /// # Panics
    /// If there is no such file.
    pub fn damage(&self, path: impl AsRef<Path>, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = self.read_file(&path);
        change(&mut bytes);
        let mut state = self.machine.lock();
        let node = state.disk.find_file(path.as_ref()).expect("the file was just read");
        state.disk.inode_mut(node).replace(&bytes);
    }

    // --- looking ---

    /// A file's bytes as readers see them. Neither counted nor failing.
    ///
    /// # Panics
    /// If there is no such file.
    #[track_caller]
    pub fn read_file(&self, path: impl AsRef<Path>) -> Vec<u8> {
        let state = self.machine.lock();
        match state.disk.find_file(path.as_ref()) {
            Ok(node) => state.disk.inode(node).current().to_vec(),
            Err(error) => panic!("no simulated file {}: {error}", path.as_ref().display()),
        }
    }

    /// All files with their lengths, in the order of their paths.
    pub fn files(&self) -> Vec<(PathBuf, u64)> {
        let state = self.machine.lock();
        let mut files = Vec::new();
        let mut to_visit = vec![(PathBuf::new(), ROOT)];
        while let Some((path, node)) = to_visit.pop() {
            match state.disk.dir(node) {
                Ok(dir) => {
                    let children = dir.current.iter();
                    to_visit.extend(children.map(|(name, child)| (path.join(&**name), *child)));
                }
                Err(_) => files.push((path, state.disk.inode(node).len())),
            }
        }
        files.sort();
        files
    }

    /// Bytes read through `read_at`. Mapping a file reads nothing.
    pub fn bytes_read(&self) -> u64 {
        self.machine.lock().bytes_read
    }

    /// Bytes written through `write_at`.
    pub fn bytes_written(&self) -> u64 {
        self.machine.lock().bytes_written
    }

    /// How often files with matching names were opened or created. Patterns are those of [`Fault`].
    pub fn opened(&self, pattern: &str) -> u64 {
        self.machine.lock().opens.count(&Pattern::new(pattern))
    }

    /// How often files with matching names were mapped.
    pub fn mapped(&self, pattern: &str) -> u64 {
        self.machine.lock().maps.count(&Pattern::new(pattern))
    }

    /// How often files with matching names were synced.
    pub fn synced(&self, pattern: &str) -> u64 {
        self.machine.lock().syncs.count(&Pattern::new(pattern))
    }

    /// Sets the counts of bytes, opens, maps and syncs to 0; steps go on.
    pub fn reset_counters(&self) {
        self.machine.lock().reset_counters();
    }
}

impl fmt::Debug for SimFs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.machine.lock();
        f.debug_struct("SimFs")
            .field("seed", &state.seed)
            .field("steps", &state.steps)
            .field("has_crashed", &state.has_crashed)
            .finish_non_exhaustive()
    }
}
