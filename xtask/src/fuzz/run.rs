//! One target under libFuzzer: its bounds, what it found, and how to see that again.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use crate::invocation::Invocation;
use crate::{Result, workspace};

/// No input may make a target ask for more at once.
const MALLOC_MIB_MAX: u32 = 64;
/// Nor take more altogether; the sanitizer takes most of it.
const MEMORY_MIB_MAX: u32 = 2048;
/// Nor think longer about one input.
const SECONDS_AN_INPUT: u32 = 25;
/// Longer inputs say nothing new.
const INPUT_BYTES_MAX: u32 = 4096;
/// What a run may take beyond its time, to read the kept inputs and to finish the last one.
const GRACE: Duration = Duration::from_secs(120);

/// What came of a target.
#[derive(Clone, Debug)]
pub(super) struct Finished {
    name: String,
    executions: u64,
    seconds: u64,
    /// What libFuzzer said, if something failed.
    pub(super) failure: Option<String>,
}

/// Runs a target for a while, from its kept inputs and those that earlier runs have found.
pub(super) fn run_target(
    program: &Path,
    name: &str,
    corpus: &str,
    duration: Duration,
) -> Result<Finished> {
    let found = format!("fuzz/found/{name}");
    for dir in [found.as_str(), "fuzz/artifacts"] {
        let dir = workspace::root().join(dir);
        std::fs::create_dir_all(&dir)
            .map_err(|error| format!("could not create {}: {error}", dir.display()))?;
    }
    let invocation = Invocation::new(program.display().to_string())
        .variable("LSM_FUZZ_TARGET", name)
        .arguments([found.as_str(), corpus])
        .arguments([
            format!("-max_total_time={}", duration.as_secs()),
            format!("-malloc_limit_mb={MALLOC_MIB_MAX}"),
            format!("-rss_limit_mb={MEMORY_MIB_MAX}"),
            format!("-timeout={SECONDS_AN_INPUT}"),
            format!("-max_len={INPUT_BYTES_MAX}"),
            format!("-artifact_prefix=fuzz/artifacts/{name}-"),
            "-print_final_stats=1".to_owned(),
        ]);
    let output = invocation.output_within(duration + GRACE)?;
    let again = || {
        format!(
            "{}\nrerun: LSM_FUZZ_TARGET={name} {} fuzz/artifacts/{name}-...",
            last_lines(&output.complaints, 60),
            program.display()
        )
    };
    Ok(Finished {
        name: name.to_owned(),
        executions: executions(&output.complaints),
        seconds: duration.as_secs(),
        failure: (!output.status.success() || output.was_too_long).then(again),
    })
}

/// What libFuzzer counts in its last lines.
fn executions(complaints: &str) -> u64 {
    let counted = complaints
        .lines()
        .filter_map(|line| line.strip_prefix("stat::number_of_executed_units:"))
        .next_back();
    counted.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

impl Finished {
    /// Its part of the line of figures.
    pub(super) fn figures(&self) -> String {
        let Self { name, executions, seconds, .. } = self;
        format!(" fuzz.executions.{name}={executions} fuzz.seconds.{name}={seconds}")
    }
}

impl fmt::Display for Finished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, executions, seconds, failure } = self;
        let verdict = if failure.is_none() { "ok" } else { "FAILED" };
        write!(f, "  {name:<14}{verdict:<8}{executions} inputs in {seconds} s")?;
        failure.iter().try_for_each(|failure| write!(f, "\n{failure}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executions_are_read_from_what_libfuzzer_says_at_last() {
        let said = "#2 INITED cov: 3\nstat::number_of_executed_units: 5242880\nstat::average_exec_per_sec: 1\n";
        assert_eq!(executions(said), 5_242_880);
        assert_eq!(executions("nothing of the kind"), 0);
    }

    #[test]
    fn only_the_end_of_a_long_complaint_is_shown() {
        assert_eq!(last_lines("a\nb\nc", 2), "b\nc");
        assert_eq!(last_lines("a", 2), "a");
    }
}
