//! Each package is unpacked and compiled from what is in it alone, as a registry's user would.

use crate::Result;
use crate::invocation::Invocation;
use crate::seed::seed;
use crate::workspace::{self, Workspace};

/// Packages and compiles every crate that is published; whether all of them stand.
///
/// Cargo keeps what it has unpacked by the name of the directory that it packaged into, and takes
/// crates of an unchanged version for unchanged crates. So each run has a directory of its own.
pub(crate) fn run() -> Result<bool> {
    let directory = workspace::root().join(format!("target/packages-{}", std::process::id()));
    seed(&Workspace::read()?, &directory)?;
    let words =
        "package --workspace --exclude xtask --exclude lsm-instructions --allow-dirty --quiet";
    let invocation = Invocation::cargo(words)
        .arguments(["--target-dir".to_owned(), directory.display().to_string()]);
    let outcome = invocation.run();
    if directory.exists() {
        std::fs::remove_dir_all(&directory)?;
    }
    outcome
}
