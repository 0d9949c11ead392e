//! Each crate compiles by itself, without its default features.
//!
//! Cargo unites the features that a whole workspace asks for, so a crate can lean on what its
//! neighbour switched on and never know. Whoever takes one crate alone would find out.

use crate::Result;
use crate::invocation::Invocation;
use crate::workspace::Workspace;

/// Compiles crate by crate; `false` at the first that does not stand alone.
pub(crate) fn run() -> Result<bool> {
    let workspace = Workspace::read()?;
    let crates = workspace.packages.iter().filter(|package| package.name.starts_with("lsm-"));
    let mut count = 0;
    for package in crates {
        let invocation = Invocation::cargo("check --quiet --no-default-features --package")
            .arguments([&package.name]);
        if !invocation.run()? {
            println!("  {} does not compile by itself\n      rerun: {invocation}", package.name);
            return Ok(false);
        }
        count += 1;
    }
    println!("  {count} crates compile by themselves");
    Ok(true)
}
