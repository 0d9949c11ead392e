//! A fault at every call: a history is run once for each of its I/O calls, with that call failing, in
//! each way in which calls fail; once, or from then on.
//!
//! Whatever fails, an answer is an error or right, nothing panics or hangs, and what was acknowledged
//! is there after a power cut under every policy. After a failed sync of log, manifest or directory
//! nothing is written any more, and every write is refused. After any other failure the database
//! goes on by itself as soon as calls succeed again, and no file is left over. All this is in
//! `faults/run/after.rs`.

mod expected;
mod run;

use std::sync::mpsc::channel;
use std::time::Duration;

use lsm_io::{Fault, nth};

use crate::faults::run::Run;
use crate::history::{History, caught};

/// How long one history may take before it counts as hanging.
const PATIENCE: Duration = Duration::from_secs(60);

/// A way in which a call fails.
#[derive(Clone, Copy)]
pub struct Way {
    /// In words.
    pub name: &'static str,
    fault: fn(u64) -> Fault,
}

/// Every way in which calls fail.
pub const WAYS: &[Way] = &[
    Way { name: "any call fails", fault: |n| nth(n).any_of("*") },
    Way { name: "every call fails from then on", fault: |n| nth(n).any_of("*").for_ever() },
    Way { name: "a sync loses pages", fault: |n| nth(n).sync_of("*").losing_pages() },
    Way { name: "a sync loses names", fault: |n| nth(n).dir_sync_of("*").losing_pages() },
    Way { name: "a write is short", fault: |n| nth(n).write_of("*").short() },
    Way { name: "a write finds no room", fault: |n| full(nth(n).write_of("*").short()) },
    Way {
        name: "writes of tables find no room from then on",
        fault: |n| full(nth(n).write_of("*.sst").for_ever()),
    },
    Way { name: "a file finds no room", fault: |n| full(nth(n).create_of("*")) },
    Way { name: "a rename fails", fault: |n| nth(n).rename_of("*") },
    Way { name: "a removal fails", fault: |n| nth(n).remove_of("*") },
    Way { name: "reads fail from then on", fault: |n| nth(n).read_of("*").for_ever() },
    Way { name: "a read is short", fault: |n| nth(n).read_of("*").short() },
];

fn full(fault: Fault) -> Fault {
    fault.with(std::io::ErrorKind::StorageFull)
}

/// What an enumeration did.
#[derive(Clone, Copy, Debug, Default)]
pub struct FaultCount {
    /// Calls that were made to fail, each in a run of its own.
    pub points: u64,
    /// Power cuts recovered from after that.
    pub images: u64,
    /// Runs in which a sync failed for good.
    pub poisoned: u64,
    /// Runs in which the database went on by itself.
    pub healed: u64,
}

impl std::ops::AddAssign for FaultCount {
    fn add_assign(&mut self, other: Self) {
        self.points += other.points;
        self.images += other.images;
        self.poisoned += other.poisoned;
        self.healed += other.healed;
    }
}

/// Runs the history with every `stride`th call failing in this way.
///
/// # Errors
/// What went wrong, and at which call.
pub fn fail_every_call(history: &History, way: Way, stride: u64) -> Result<FaultCount, String> {
    let mut count = FaultCount::default();
    let mut n = 1 + history.seed % stride;
    loop {
        let located = |wrong| format!("{}, call {n}: {wrong}", way.name);
        match fail_call(history, way, n).map_err(located)? {
            Some(point) => count += point,
            None => return Ok(count),
        }
        n += stride;
    }
}

/// Runs the history with the `n`th call failing; `None` if it has fewer.
fn fail_call(history: &History, way: Way, n: u64) -> Result<Option<FaultCount>, String> {
    let (sender, receiver) = channel();
    let history = history.clone();
    std::thread::spawn(move || {
        let _ = sender.send(caught(|| Run::new(&history, (way.fault)(n)).play(&history.ops)));
    });
    receiver
        .recv_timeout(PATIENCE)
        .unwrap_or_else(|_| Err(format!("it hangs, or takes longer than {PATIENCE:?}")))
}
