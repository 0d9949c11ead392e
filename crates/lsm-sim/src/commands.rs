//! The commands, one file each: its arguments, and `run`.

pub(crate) mod amplification;
pub(crate) mod clean;
pub(crate) mod crash;
pub(crate) mod cut;
pub(crate) mod damage;
pub(crate) mod failed_sync;
pub(crate) mod faults;
pub(crate) mod full_disk;
pub(crate) mod fuzz;
pub(crate) mod kill;
#[cfg(feature = "linearizability")]
pub(crate) mod linearizability;
pub(crate) mod memory_limit;
pub(crate) mod model;
pub(crate) mod replay;
pub(crate) mod soak;
pub(crate) mod worlds;

/// The exit code of a command that could not try anything, as others use it too.
const SKIPPED: i32 = 77;

/// Ends the program, saying on its last line what is missing here.
fn skip(missing: &str) -> ! {
    println!("skipped: this machine lacks {missing}");
    std::process::exit(SKIPPED);
}
