//! Explores the interleavings of threads: each crate's models, in a build whose primitives loom
//! controls.
//!
//! A model is a test in the target `loom` of its crate. It prints how many executions it took to
//! try every interleaving up to its bound of preemptions; a higher bound tries more.

use crate::Result;
use crate::invocation::Invocation;
use crate::workspace;

/// The crates with models, and the features that those need.
const CRATES_WITH_MODELS: &[(&str, &[&str])] =
    &[("lsm-memtable", &[]), ("lsm-engine", &["--features", "testing"])];

/// Explores the models of every crate or of one; `false` when an execution fails or nothing is
/// explored. Ends with the line of figures.
pub(crate) fn run(package: Option<&str>, preemptions: Option<u8>) -> Result<bool> {
    let crates: Vec<_> = CRATES_WITH_MODELS
        .iter()
        .filter(|(name, _)| package.is_none_or(|package| package == *name))
        .collect();
    if crates.is_empty() {
        let names: Vec<_> = CRATES_WITH_MODELS.iter().map(|(name, _)| *name).collect();
        return Err(format!("no models there; the crates with models: {}", names.join(", ")).into());
    }
    let mut total = 0;
    for (name, features) in crates {
        let invocation = exploration(name, features, preemptions);
        println!("{invocation}");
        let (succeeded, printed) = invocation.output_and_success()?;
        let models: Vec<_> = printed.lines().filter_map(model).collect();
        for (model, executions) in &models {
            println!("  {model:<40}{executions:>9} executions");
        }
        if !succeeded || models.is_empty() {
            print!("{printed}");
            println!("FAILED; rerun: {invocation}");
            return Ok(false);
        }
        total += models.iter().map(|(_, executions)| executions).sum::<u64>();
    }
    println!("figures: loom.executions={total}");
    Ok(true)
}

/// The models are built apart: `--cfg loom` builds every crate anew.
fn exploration(name: &str, features: &[&str], preemptions: Option<u8>) -> Invocation {
    let target = workspace::root().join("target/loom");
    let mut invocation = Invocation::cargo("test --quiet --release --package")
        .arguments([name])
        .arguments(features.iter().copied())
        .arguments(["--test", "loom", "--target-dir"])
        .arguments([target.display().to_string()])
        .arguments(["--", "--nocapture"])
        .variable("RUSTFLAGS", "--cfg loom");
    if let Some(preemptions) = preemptions {
        invocation = invocation.variable("LOOM_MAX_PREEMPTIONS", &preemptions.to_string());
    }
    invocation
}

/// What a model says at its end: `model NAME: executions=COUNT`.
fn model(line: &str) -> Option<(&str, u64)> {
    // The test runner may have printed its own words before it.
    let (_, rest) = line.split_once("model ")?;
    let (name, executions) = rest.split_once(": executions=")?;
    Some((name, executions.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_models_line_is_told_from_the_test_runners() {
        assert_eq!(model("model two writers: executions=123"), Some(("two writers", 123)));
        assert_eq!(model(".model new keys: executions=9"), Some(("new keys", 9)));
        assert_eq!(model("test result: ok. 14 passed; 0 failed"), None);
    }

    #[test]
    fn a_higher_bound_is_part_of_the_command_that_is_shown() {
        let shown = exploration("lsm-memtable", &[], Some(4)).to_string();
        assert!(shown.contains("LOOM_MAX_PREEMPTIONS=4"), "{shown}");
        assert!(shown.contains("'--cfg loom'"), "{shown}");
    }
}
