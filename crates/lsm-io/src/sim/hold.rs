//! Calls that wait: a test stops a sync in the middle and sees who must wait for it, and who not.

use std::fmt;
use std::sync::Arc;

use super::fault::Fault;
use super::machine::Machine;

/// While it lives, matching calls wait; dropping or releasing it lets them go on.
///
/// ```
/// use lsm_io::{Fs, OpenMode, SimFs, every};
/// use std::path::Path;
///
/// let fs = SimFs::new(1);
/// let file = fs.open(Path::new("1.log"), OpenMode::CreateNew)?;
/// let hold = fs.hold(every().sync_of("*.log"));
/// std::thread::scope(|scope| {
///     scope.spawn(|| file.sync());
///     hold.wait_for(1);
///     assert_eq!(fs.read_file("1.log"), b"", "others go on meanwhile");
///     hold.release();
/// });
/// # Ok::<(), lsm_io::Error>(())
/// ```
#[must_use = "dropping a hold releases it"]
pub struct Hold {
    machine: Arc<Machine>,
    id: u64,
}

/// A hold as the machine knows it, until it is released.
pub(super) struct HoldState {
    pub(super) calls: Fault,
    pub(super) waiting: usize,
}

impl Hold {
    pub(super) fn new(machine: Arc<Machine>, calls: Fault) -> Self {
        let id = {
            let mut state = machine.lock();
            let id = state.next_hold;
            state.next_hold += 1;
            state.holds.insert(id, HoldState { calls, waiting: 0 });
            id
        };
        Self { machine, id }
    }

    /// How many calls it makes wait.
    pub fn waiting(&self) -> usize {
        self.machine.lock().holds.get(&self.id).map_or(0, |hold| hold.waiting)
    }

    /// Returns once at least so many calls wait.
    pub fn wait_for(&self, calls: usize) {
        let mut state = self.machine.lock();
        while state.holds.get(&self.id).is_some_and(|hold| hold.waiting < calls) {
            state = self.machine.wait(state);
        }
    }

    /// Lets the waiting calls go on, and later ones pass.
    pub fn release(self) {
        drop(self);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.machine.lock().holds.remove(&self.id);
        self.machine.announce_holds();
    }
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hold").field("waiting", &self.waiting()).finish()
    }
}
