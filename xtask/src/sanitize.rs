//! Runs tests under the compiler's sanitizers: the address sanitizer where there is unsafe code, the
//! thread sanitizer where threads share anything.
//!
//! The compiler keeps sanitizers behind `-Z`, which `RUSTC_BOOTSTRAP` opens in the one that builds
//! everything else too. The thread sanitizer has to see the standard library as well: else whatever
//! is handed over by a lock, a channel or the end of a scope looks like a race. So that is built
//! anew, from the source that `rustup component add rust-src` brings.

use std::path::{Path, PathBuf};

use clap::ValueEnum;

use crate::Result;
use crate::invocation::Invocation;
use crate::workspace;

/// Where the compiler brings the sanitizers' runtimes along, and build scripts can be told apart.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// What is watched while the tests run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Sanitizer {
    /// Every access lies within what is allocated.
    Address,
    /// No two threads access one place, one of them writing, without an order between them.
    Thread,
}

impl Sanitizer {
    const ALL: [Self; 2] = [Self::Address, Self::Thread];

    fn name(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Thread => "thread",
        }
    }

    /// The crates whose tests have something to show it, and which of their tests; all if none is
    /// named.
    fn tests(self) -> &'static [(&'static str, &'static [&'static str])] {
        match self {
            Self::Address => {
                &[("lsm-memtable", &[]), ("lsm-sstable", &[]), ("lsm-bloom", &[]), ("lsm-io", &[])]
            }
            Self::Thread => &[
                ("lsm-memtable", &[]),
                ("lsm-sstable", &[]),
                ("lsm-wal", &[]),
                ("lsm-io", &[]),
                ("lsm-engine", &[]),
                // Threads beside each other, their histories recorded.
                ("lsm-sim", &["linearizability"]),
            ],
        }
    }

    fn needs_the_standard_library(self) -> bool {
        self == Self::Thread
    }
}

/// Runs the tests of every crate or of one, under each sanitizer or one; `false` when one fails or a
/// sanitizer objects.
pub(crate) fn run(sanitizer: Option<Sanitizer>, package: Option<&str>) -> Result<bool> {
    if !cfg!(all(target_arch = "x86_64", target_os = "linux", target_env = "gnu")) {
        println!("SKIPPED: the sanitizers are run on {TARGET} only");
        return Ok(true);
    }
    let sanitizers = Sanitizer::ALL.into_iter().filter(|one| sanitizer.is_none_or(|s| s == *one));
    let mut runs = Vec::new();
    for sanitizer in sanitizers {
        let tests = sanitizer.tests().iter();
        let tests = tests.filter(|(name, _)| package.is_none_or(|package| package == *name));
        runs.extend(tests.map(|(name, filters)| (sanitizer, *name, *filters)));
    }
    if runs.is_empty() {
        return Err("nothing to watch there; see the crates in xtask/src/sanitize.rs".into());
    }
    for (sanitizer, name, filters) in runs {
        if sanitizer.needs_the_standard_library() && standard_library()?.is_none() {
            println!(
                "SKIPPED: {name} under the {} sanitizer, which needs the source of the standard \
                 library: rustup component add rust-src",
                sanitizer.name()
            );
            continue;
        }
        let invocation = tests_of(sanitizer, name, filters);
        println!("{invocation}");
        if !invocation.run()? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The standard library's source, if it is installed beside the compiler.
fn standard_library() -> Result<Option<PathBuf>> {
    let sysroot = Invocation::new("rustc").arguments(["--print", "sysroot"]).output()?;
    let source = Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library");
    Ok(source.join("std").is_dir().then_some(source))
}

/// The target is named so that build scripts and macros stay as they are.
fn tests_of(sanitizer: Sanitizer, name: &str, filters: &[&str]) -> Invocation {
    let directory = workspace::root().join(format!("target/sanitize-{}", sanitizer.name()));
    let source = sanitizer.needs_the_standard_library().then_some("-Zbuild-std");
    Invocation::cargo("test --quiet --all-features --lib --tests --package")
        .arguments([name, "--target", TARGET])
        .arguments(source)
        .arguments(["--target-dir".to_owned(), directory.display().to_string()])
        .arguments(["--"])
        .arguments(filters.iter().copied())
        .variable("RUSTC_BOOTSTRAP", "1")
        .variable("RUSTFLAGS", &format!("-Zsanitizer={}", sanitizer.name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sanitizer_is_part_of_the_command_that_is_shown() {
        let shown = tests_of(Sanitizer::Address, "lsm-memtable", &[]).to_string();
        assert!(shown.contains("RUSTFLAGS=-Zsanitizer=address"), "{shown}");
        assert!(shown.contains(&format!("--target {TARGET}")), "{shown}");
    }

    #[test]
    fn the_thread_sanitizer_sees_the_standard_library_too() {
        let shown = tests_of(Sanitizer::Thread, "lsm-engine", &[]).to_string();
        assert!(shown.contains("-Zbuild-std"), "{shown}");
    }
}
