//! Runs one check on the scratch copy and judges what came of it.

use std::path::Path;
use std::time::Duration;

use super::bug::Check;
use super::scratch::Scratch;
use crate::Result;
use crate::invocation::{Invocation, Output, reason_of_skip};

/// How long the copy may take to compile.
const BUILD_TIME: Duration = Duration::from_secs(600);
/// How long a check may take; one that takes longer hangs.
const CHECK_TIME: Duration = Duration::from_secs(120);

/// What a check said of the copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It failed, and how: the tests that did, or that it hung.
    Failed(String),
    Passed,
    /// It could not be tried here, and why.
    Skipped(String),
    /// The copy does not compile, which shows nothing.
    DoesNotCompile,
}

/// Compiles the copy and runs the check on it; what is said goes to `log`.
pub(crate) fn judge(scratch: &Scratch, check: &Check, log: &Path) -> Result<Verdict> {
    let build = in_scratch(scratch, check, &build(&check.words)).output_within(BUILD_TIME)?;
    keep(log, &build)?;
    if !build.status.success() {
        return Ok(Verdict::DoesNotCompile);
    }
    let words: Vec<&str> = check.words.split_whitespace().collect();
    let output = in_scratch(scratch, check, &words).output_within(CHECK_TIME)?;
    keep(log, &output)?;
    Ok(if let Some(reason) = reason_of_skip(output.status, &output.printed) {
        Verdict::Skipped(reason)
    } else if output.status.success() {
        Verdict::Passed
    } else if output.was_too_long {
        Verdict::Failed(format!("hung for {} s", CHECK_TIME.as_secs()))
    } else {
        Verdict::Failed(failures(&output))
    })
}

fn in_scratch(scratch: &Scratch, check: &Check, words: &[&str]) -> Invocation {
    let variables = check.variables.iter();
    variables
        .fold(Invocation::new("cargo"), |cargo, (name, value)| cargo.variable(name, value))
        .arguments(words.iter().copied())
        // What is compiled for one short test each is quicker left as it is.
        .variable("CARGO_PROFILE_DEV_OPT_LEVEL", "0")
        .variable("CARGO_PROFILE_DEV_DEBUG", "0")
        .variable("CARGO_TARGET_DIR", &scratch.target().to_string_lossy())
        .in_directory(scratch.tree())
        .apart()
}

fn keep(log: &Path, output: &Output) -> Result<()> {
    Ok(std::fs::write(log, format!("{}\n{}", output.printed, output.complaints))?)
}

/// The words that compile what the words of a check run.
fn build(words: &str) -> Vec<&str> {
    let words: Vec<&str> = words.split_whitespace().take_while(|word| *word != "--").collect();
    match words.split_first() {
        Some((&"test", rest)) => [&["test", "--no-run"], rest].concat(),
        Some((&"run", rest)) => [&["build"], rest].concat(),
        // A task of this workspace, which compiles by itself; what it cannot compile it says.
        _ => vec!["check", "--workspace", "--all-features"],
    }
}

/// The names of the tests that failed, or the last line that was said.
fn failures(output: &Output) -> String {
    let failed = output
        .printed
        .lines()
        .filter_map(|line| line.strip_prefix("test ")?.strip_suffix(" ... FAILED"))
        .map(|test| test.split(" - ").next().unwrap_or(test));
    let mut failed: Vec<&str> = failed.collect();
    failed.sort_unstable();
    match failed[..] {
        [] => {
            let mut said = output.printed.lines().chain(output.complaints.lines());
            said.rfind(|line| !line.trim().is_empty()).unwrap_or_default().to_owned()
        }
        [only] => only.to_owned(),
        [first, ..] => format!("{first} and {} more", failed.len() - 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_check_runs_is_compiled_first() {
        assert_eq!(
            build("test -p a --test it -- b"),
            ["test", "--no-run", "-p", "a", "--test", "it"]
        );
        assert_eq!(build("run -p a -- crash --minutes 1"), ["build", "-p", "a"]);
        assert_eq!(build("xtask loom"), ["check", "--workspace", "--all-features"]);
    }

    #[test]
    fn the_tests_that_failed_are_named() {
        let check = |printed: &str, complaints: &str, expected: &str| {
            let (printed, complaints) = (printed.to_owned(), complaints.to_owned());
            let status = std::process::ExitStatus::default();
            let output = Output { status, was_too_long: false, printed, complaints };
            assert_eq!(failures(&output), expected);
        };
        check("test a::b ... ok\ntest a::c ... FAILED\n", "error: test failed\n", "a::c");
        check("test b ... FAILED\ntest a ... FAILED\n", "", "a and 1 more");
        check("histories\n", "seed 4: lost a write\n\n", "seed 4: lost a write");
    }
}
