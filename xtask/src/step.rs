//! Runs the steps of a task one after the other, with the time each took and a summary.
//!
//! A step that fails is named together with the command that reruns it alone: finding out what to
//! type is not the reader's work.

use std::io::Write as _;
use std::time::{Duration, Instant};

use crate::invocation::{Invocation, reason_of_skip};
use crate::{Result, workspace};

/// What came of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It holds.
    Passed,
    /// It does not; the step itself has printed why.
    Failed,
    /// It could not be tried, and why.
    Skipped(String),
}

impl Outcome {
    /// Whether a task of this one step succeeds; says so if it was skipped.
    pub(crate) fn is_success(&self) -> bool {
        if let Self::Skipped(reason) = self {
            println!("skipped: {reason}");
        }
        *self != Self::Failed
    }
}

/// One thing to check.
pub(crate) struct Step {
    name: &'static str,
    rerun: String,
    action: Box<dyn FnOnce() -> Result<Outcome>>,
}

impl Step {
    /// A step that holds when a command succeeds; the command is also how to rerun it.
    pub(crate) fn command(name: &'static str, invocation: Invocation) -> Self {
        Self::new(name, invocation.to_string(), move || invocation.run())
    }

    /// A step whose program may find that this machine lacks what it needs.
    pub(crate) fn where_possible(name: &'static str, invocation: Invocation) -> Self {
        let rerun = invocation.to_string();
        let action = move || {
            let (status, printed) = invocation.output_and_status()?;
            print!("{printed}");
            Ok(match reason_of_skip(status, &printed) {
                Some(reason) => Outcome::Skipped(reason),
                None if status.success() => Outcome::Passed,
                None => Outcome::Failed,
            })
        };
        Self { name, rerun, action: Box::new(action) }
    }

    /// A step carried out in this process; `rerun` is the command that does the same.
    pub(crate) fn new(
        name: &'static str,
        rerun: impl Into<String>,
        action: impl FnOnce() -> Result<bool> + 'static,
    ) -> Self {
        Self::judged(name, rerun, || Ok(if action()? { Outcome::Passed } else { Outcome::Failed }))
    }

    /// The same, which may find out on the way that it cannot be tried here.
    pub(crate) fn judged(
        name: &'static str,
        rerun: impl Into<String>,
        action: impl FnOnce() -> Result<Outcome> + 'static,
    ) -> Self {
        Self { name, rerun: rerun.into(), action: Box::new(action) }
    }

    /// What the summary and `.ci/skips` call it.
    #[cfg(test)]
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// The command that reruns it alone.
    #[cfg(test)]
    pub(crate) fn rerun(&self) -> &str {
        &self.rerun
    }

    /// A step that cannot be tried here, and why.
    pub(crate) fn skipped(name: &'static str, reason: impl Into<String>) -> Self {
        let reason = reason.into();
        let action = Box::new(move || Ok(Outcome::Skipped(reason)));
        Self { name, rerun: "cargo xtask ci".to_owned(), action }
    }
}

/// What is said of a step in the summary.
struct Finished {
    name: &'static str,
    rerun: String,
    outcome: Outcome,
    took: Duration,
}

/// Runs `steps` in order; `false` when one of them failed.
///
/// Stops at the first failure unless `keep_going`. On a build server (`CI` is set) a skipped step
/// counts as failed unless `.ci/skips` lists it with its reason: a check that quietly stopped
/// running is no check.
pub(crate) fn run_all(steps: Vec<Step>, keep_going: bool) -> Result<bool> {
    let allowed_skips = std::env::var_os("CI").map(|_| listed_skips()).transpose()?;
    let count = steps.len();
    let mut finished = Vec::new();
    for (index, step) in steps.into_iter().enumerate() {
        println!("\n[{}/{count}] {}: {}", index + 1, step.name, step.rerun);
        std::io::stdout().flush()?;
        let begun = Instant::now();
        let outcome = judge((step.action)(), step.name, allowed_skips.as_deref());
        let took = begun.elapsed();
        println!("[{}/{count}] {}: {}, {}", index + 1, step.name, word(&outcome), seconds(took));
        let stop = outcome == Outcome::Failed && !keep_going;
        finished.push(Finished { name: step.name, rerun: step.rerun, outcome, took });
        if stop {
            break;
        }
    }
    print!("{}", summary(&finished, count));
    Ok(finished.iter().all(|step| step.outcome != Outcome::Failed))
}

/// The outcome that counts: an error is a failure, and so is a skip that nobody has agreed to.
fn judge(result: Result<Outcome>, name: &str, allowed_skips: Option<&[String]>) -> Outcome {
    match result {
        Ok(Outcome::Skipped(reason)) => {
            println!("skipped: {reason}");
            if allowed_skips.is_some_and(|allowed| !allowed.iter().any(|listed| listed == name)) {
                println!("a build server may skip only what .ci/skips lists with its reason");
                return Outcome::Failed;
            }
            Outcome::Skipped(reason)
        }
        Ok(outcome) => outcome,
        Err(error) => {
            println!("error: {error}");
            Outcome::Failed
        }
    }
}

/// The names of `.ci/skips`: each line is `step: reason`, and a reason is required.
fn listed_skips() -> Result<Vec<String>> {
    let path = workspace::root().join(".ci/skips");
    match std::fs::read_to_string(&path) {
        Ok(text) => parse_skips(&text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(format!("could not read {}: {error}", path.display()).into()),
    }
}

fn parse_skips(text: &str) -> Result<Vec<String>> {
    text.lines()
        .filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
        .map(|line| match line.split_once(':') {
            Some((name, reason)) if !reason.trim().is_empty() => Ok(name.trim().to_owned()),
            _ => Err(format!(".ci/skips: `{line}` gives no reason").into()),
        })
        .collect()
}

/// One line a step, then what failed and how to try it again.
fn summary(finished: &[Finished], count: usize) -> String {
    let mut text = String::from("\n");
    for step in finished {
        let line =
            format!("{:<16}{:<10}{:>10}", step.name, word(&step.outcome), seconds(step.took));
        text += line.trim_end();
        if let Outcome::Skipped(reason) = &step.outcome {
            text += &format!("  ({reason})");
        }
        text.push('\n');
    }
    let took = finished.iter().map(|step| step.took).sum();
    text += &format!("{} of {count} steps in {}\n", finished.len(), seconds(took));
    for step in finished.iter().filter(|step| step.outcome == Outcome::Failed) {
        text += &format!("\nfailed: {}\nrerun:  {}\n", step.name, step.rerun);
    }
    text
}

fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Passed => "ok",
        Outcome::Failed => "FAILED",
        Outcome::Skipped(_) => "skipped",
    }
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finished(name: &'static str, outcome: Outcome) -> Finished {
        let rerun = format!("cargo {name}");
        Finished { name, rerun, outcome, took: Duration::from_millis(1_500) }
    }

    #[test]
    fn the_summary_names_what_failed_and_how_to_rerun_it() {
        let steps = [finished("format", Outcome::Passed), finished("lints", Outcome::Failed)];
        let expected = "
format          ok             1.5 s
lints           FAILED         1.5 s
2 of 9 steps in 3.0 s

failed: lints
rerun:  cargo lints
";
        assert_eq!(summary(&steps, 9), expected);
    }

    #[test]
    fn an_error_is_a_failure() {
        assert_eq!(judge(Err("no".into()), "docs", None), Outcome::Failed);
    }

    #[test]
    fn a_build_server_skips_only_what_is_listed() {
        let skip = || Ok(Outcome::Skipped("no such program".to_owned()));
        let listed = ["crash".to_owned()];
        assert_eq!(judge(skip(), "crash", None), skip().unwrap());
        assert_eq!(judge(skip(), "crash", Some(&listed)), skip().unwrap());
        assert_eq!(judge(skip(), "model", Some(&listed)), Outcome::Failed);
    }

    #[test]
    fn a_program_that_says_what_the_machine_lacks_is_skipped_and_not_failed() {
        let run = |script: &str| {
            let shell = Invocation::new("sh").arguments(["-c", script]);
            (Step::where_possible("cut", shell).action)().unwrap()
        };
        let skipped = run("echo begun; echo skipped: no root; exit 77");
        assert_eq!(skipped, Outcome::Skipped("no root".to_owned()));
        assert_eq!(run("exit 0"), Outcome::Passed);
        assert_eq!(run("echo skipped: no root; exit 1"), Outcome::Failed);
    }

    #[test]
    fn a_listed_skip_needs_a_reason() {
        assert_eq!(parse_skips("# why\n\ncrash: needs root\n").unwrap(), ["crash"]);
        assert!(parse_skips("crash:\n").is_err());
        assert!(parse_skips("crash\n").is_err());
    }
}
