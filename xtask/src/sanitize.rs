//! Runs the tests of the crates with unsafe code under the compiler's address sanitizer.
//!
//! The compiler keeps sanitizers behind `-Z`, which `RUSTC_BOOTSTRAP` opens in the one that builds
//! everything else too. The thread sanitizer is not offered: the standard library is not built for
//! it, so that whatever is handed over by a lock, a channel or the end of a scope looks like a race.
//! What threads share is explored by `loom.rs` instead.

use crate::Result;
use crate::invocation::Invocation;
use crate::workspace;

/// The crates with unsafe code.
const CRATES: &[&str] = &["lsm-memtable", "lsm-sstable", "lsm-bloom", "lsm-io"];
/// Where the compiler brings the sanitizer's runtime along, and build scripts can be told apart.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Runs the tests of every crate or of one; `false` when one fails or an access is wrong.
pub(crate) fn run(package: Option<&str>) -> Result<bool> {
    if !cfg!(all(target_arch = "x86_64", target_os = "linux", target_env = "gnu")) {
        println!("skipped: the address sanitizer is run on {TARGET} only");
        return Ok(true);
    }
    let crates: Vec<_> =
        CRATES.iter().filter(|name| package.is_none_or(|package| package == **name)).collect();
    if crates.is_empty() {
        return Err(format!("no unsafe code there; it is in {}", CRATES.join(", ")).into());
    }
    for name in crates {
        let invocation = tests_of(name);
        println!("{invocation}");
        if !invocation.run()? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The target is named so that build scripts and macros stay as they are.
fn tests_of(name: &str) -> Invocation {
    let directory = workspace::root().join("target/sanitize-address");
    Invocation::cargo("test --quiet --all-features --lib --tests --package")
        .arguments([name, "--target", TARGET, "--target-dir"])
        .arguments([directory.display().to_string()])
        .variable("RUSTC_BOOTSTRAP", "1")
        .variable("RUSTFLAGS", "-Zsanitizer=address")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sanitizer_is_part_of_the_command_that_is_shown() {
        let shown = tests_of("lsm-memtable").to_string();
        assert!(shown.contains("RUSTFLAGS=-Zsanitizer=address"), "{shown}");
        assert!(shown.contains(&format!("--target {TARGET}")), "{shown}");
    }
}
