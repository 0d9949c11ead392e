//! Hands long-running work to the program that does it: the simulator and the benchmarks.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::Result;
use crate::invocation::Invocation;
use crate::workspace::{self, BENCHES_MANIFEST};

/// The simulator with the words of one of its commands. It has every feature, whichever command: it
/// is built once, then, for all of them.
pub(crate) fn simulator(words: &str) -> Invocation {
    Invocation::cargo("run --release --package lsm-sim --all-features --")
        .arguments(words.split_whitespace())
}

/// Loads `entries`, kills the loader at random moments and compares what is there with a model.
///
/// A seed that was not given is drawn and printed, so that any run can be repeated.
pub(crate) fn soak(entries: u64, seed: Option<u64>) -> Result<bool> {
    let seed = seed.unwrap_or_else(drawn_seed);
    announced(&simulator(&format!("soak --entries {entries} --seed {seed}")))
}

/// Measures this store and its peers.
pub(crate) fn bench(words: &[&str], arguments: &[String]) -> Result<bool> {
    if !workspace::root().join(BENCHES_MANIFEST).exists() {
        return Err(format!("there are no benchmarks here: {BENCHES_MANIFEST} is missing").into());
    }
    let invocation = Invocation::cargo("run --release --manifest-path")
        .arguments([BENCHES_MANIFEST, "--"])
        .arguments(words.iter().copied())
        .arguments(arguments.to_vec());
    announced(&invocation)
}

/// Runs a command after printing it.
fn announced(invocation: &Invocation) -> Result<bool> {
    println!("{invocation}");
    invocation.run()
}

fn drawn_seed() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::from(since_epoch.subsec_nanos()) ^ since_epoch.as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_simulator_is_run_in_the_optimised_build() {
        let expected = "cargo run --release --package lsm-sim --all-features -- crash --seed 1";
        assert_eq!(simulator("crash --seed 1").to_string(), expected);
    }
}
