//! Feeds arbitrary bytes to everything that reads bytes: libFuzzer, built and run without anything
//! to install.
//!
//! The package `fuzz/` is compiled with the instrumentation that libFuzzer is guided by, and with the
//! address sanitizer. Both are options of the compiler that a released one takes only when told that
//! it builds itself. Where there is no C++ compiler, or the machine is another one, that is said, and
//! `lsm-sim fuzz` changes the kept inputs blindly instead.

mod run;

use std::path::PathBuf;
use std::time::Duration;

use crate::Result;
use crate::dispatch::simulator;
use crate::invocation::Invocation;
use crate::turn::Turn;
use crate::workspace;

use self::run::{Finished, run_target};

/// The package, which is a workspace of its own.
pub(crate) const FUZZ_MANIFEST: &str = "fuzz/Cargo.toml";

/// The machine for which the instrumented build is known to work.
const HOST: &str = "x86_64-unknown-linux-gnu";

/// Coverage as libFuzzer reads it, and the address sanitizer; in few units, each of which brings
/// counters of its own.
const INSTRUMENTED: &str = "-Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares \
    -Zsanitizer=address --cfg fuzzing -Ccodegen-units=4";

/// What is run.
pub(crate) struct Plan {
    /// Only this target.
    pub(crate) target: Option<String>,
    /// Only those whose turn it is.
    pub(crate) turn: Turn,
    /// For how long each.
    pub(crate) seconds: u64,
    /// How many at once.
    pub(crate) jobs: usize,
}

/// Runs the targets; `false` when one of them failed.
pub(crate) fn run(plan: &Plan) -> Result<bool> {
    if let Some(reason) = why_not_here() {
        println!("libFuzzer cannot be built here: {reason}");
        println!("THE KEPT INPUTS ARE CHANGED BLINDLY INSTEAD, which finds far less");
        return run_blindly(plan);
    }
    let Some(program) = build()? else { return Ok(false) };
    let targets = targets(plan)?;
    let duration = Duration::from_secs(plan.seconds);
    let mut finished: Vec<Finished> = Vec::new();
    for group in targets.chunks(plan.jobs.max(1)) {
        let threads: Vec<_> = group
            .iter()
            .map(|(name, corpus)| {
                let (name, corpus, program) = (name.clone(), corpus.clone(), program.clone());
                std::thread::spawn(move || {
                    run_target(&program, &name, &corpus, duration).map_err(|e| e.to_string())
                })
            })
            .collect();
        for thread in threads {
            let target = thread.join().map_err(|_| "a thread of the fuzz task panicked")??;
            println!("{target}");
            finished.push(target);
        }
    }
    let holds = finished.iter().all(|target| target.failure.is_none());
    if holds {
        let figures = finished.iter().map(Finished::figures).collect::<String>();
        println!("figures:{figures}");
    }
    Ok(holds)
}

/// Why the instrumented build is not tried.
fn why_not_here() -> Option<String> {
    let host = Invocation::new("rustc").arguments(["-vV"]).output().unwrap_or_default();
    if !host.lines().any(|line| line == format!("host: {HOST}")) {
        return Some(format!("this machine is not {HOST}"));
    }
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".to_owned());
    match Invocation::new(&compiler).arguments(["--version"]).output() {
        Ok(_) => None,
        Err(_) => Some(format!("there is no C++ compiler: `{compiler}` does not run")),
    }
}

/// Builds the program; `None` when that failed, which cargo has said.
fn build() -> Result<Option<PathBuf>> {
    let build = Invocation::cargo("build --quiet --release --target")
        .arguments([HOST, "--manifest-path", FUZZ_MANIFEST])
        .variable("RUSTFLAGS", INSTRUMENTED)
        .variable("RUSTC_BOOTSTRAP", "1");
    let path = workspace::root().join("fuzz/target").join(HOST).join("release/lsm-fuzz");
    Ok(build.run()?.then_some(path))
}

/// The targets with their kept inputs, as the simulator lists them.
fn targets(plan: &Plan) -> Result<Vec<(String, String)>> {
    let listed = simulator("fuzz --list").output()?;
    let pair = |line: &str| {
        let (name, corpus) = line.split_once(' ')?;
        Some((name.to_owned(), corpus.trim().to_owned()))
    };
    let mut targets: Vec<_> = listed.lines().filter_map(pair).collect();
    if let Some(wanted) = &plan.target {
        targets.retain(|(name, _)| name == wanted);
        if targets.is_empty() {
            return Err(format!("there is no target \"{wanted}\"; these are:\n{listed}").into());
        }
    }
    Ok(plan.turn.of(targets))
}

fn run_blindly(plan: &Plan) -> Result<bool> {
    for (target, _) in targets(plan)? {
        if !simulator(&format!("fuzz --seconds {} --target {target}", plan.seconds)).run()? {
            return Ok(false);
        }
    }
    Ok(true)
}
