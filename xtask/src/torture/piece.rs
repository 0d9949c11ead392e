//! Runs one piece of a harness and takes what it counted from the last line that it printed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::Result;
use crate::invocation::{Invocation, Output, reason_of_skip};
use crate::torture::harness::{Command, Harness};

/// What came of a piece.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Finished {
    pub(crate) took: Duration,
    pub(crate) figures: BTreeMap<String, u64>,
    /// What it found, if it did not hold.
    pub(crate) failure: Option<String>,
}

/// How a piece ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Outcome {
    /// It ran.
    Finished(Finished),
    /// This machine lacks what it needs.
    Skipped(String),
}

/// The programs that pieces run: copies, so that a build meanwhile changes nothing.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    simulator: PathBuf,
}

impl Programs {
    /// Builds them.
    pub(crate) fn build(target: &Path) -> Result<Self> {
        // With every feature: the checker of what threads see is one.
        if !Invocation::cargo("build --release --package lsm-sim --all-features").run()? {
            return Err("the simulator does not build".into());
        }
        let built = target.join("release/lsm-sim");
        let simulator = target.join("torture/lsm-sim");
        let copy = || {
            std::fs::create_dir_all(target.join("torture"))?;
            // A copy over a program that runs would be refused.
            let _ = std::fs::remove_file(&simulator);
            std::fs::copy(&built, &simulator)
        };
        copy().map_err(|error| format!("could not copy {}: {error}", built.display()))?;
        Ok(Self::at(simulator))
    }

    /// The simulator at a place of its own.
    pub(crate) fn at(simulator: PathBuf) -> Self {
        Self { simulator }
    }

    fn invocation(&self, harness: &Harness, seed: u64) -> Invocation {
        match &harness.command {
            Command::Task(words) => {
                let words = words.replace("{seed}", &seed.to_string());
                Invocation::cargo("xtask").arguments(words.split_whitespace())
            }
            Command::Simulator(words) => {
                let words = words.replace("{seed}", &seed.to_string());
                Invocation::new(self.simulator.display().to_string())
                    .arguments(words.split_whitespace())
            }
        }
    }
}

/// Runs the piece that begins at `seed`.
pub(crate) fn run(harness: &Harness, seed: u64, programs: &Programs) -> Result<Outcome> {
    let begun = Instant::now();
    let invocation = programs.invocation(harness, seed);
    let output = invocation.output_within(Duration::from_secs(harness.seconds_max))?;
    if let Some(reason) = reason_of_skip(output.status, &output.printed) {
        return Ok(Outcome::Skipped(reason));
    }
    let (figures, failure) = match judge(&output) {
        Ok(figures) => (figures, None),
        Err(failure) => (BTreeMap::new(), Some(format!("{failure}\nrerun: {invocation}"))),
    };
    Ok(Outcome::Finished(Finished { took: begun.elapsed(), figures, failure }))
}

/// What a piece counted, or what it found.
fn judge(output: &Output) -> std::result::Result<BTreeMap<String, u64>, String> {
    if output.was_too_long {
        return Err(format!("hang: it did not end in time\n{}", output.complaints.trim()));
    }
    if !output.status.success() {
        return Err(output.complaints.trim().to_owned());
    }
    let last = output.printed.lines().last().unwrap_or_default();
    let figures = last
        .strip_prefix("figures:")
        .ok_or_else(|| format!("its last line names no figures: `{last}`"))?;
    figures
        .split_whitespace()
        .map(|figure| {
            let (name, count) = figure.split_once('=').unwrap_or((figure, ""));
            let count = count.parse().map_err(|_| format!("the figure `{figure}` has no count"))?;
            Ok((name.to_owned(), count))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    use super::*;

    fn output(printed: &str, complaints: &str, succeeded: bool) -> Output {
        Output {
            status: ExitStatus::from_raw(if succeeded { 0 } else { 1 << 8 }),
            was_too_long: false,
            printed: printed.to_owned(),
            complaints: complaints.to_owned(),
        }
    }

    #[test]
    fn figures_are_those_of_the_last_line() {
        let printed = "seed 1: fine\nfigures: crash.images=96 crash.two_level=0\n";
        let figures = judge(&output(printed, "", true)).unwrap();
        let expected = [("crash.images".to_owned(), 96), ("crash.two_level".to_owned(), 0)];
        assert_eq!(figures, BTreeMap::from(expected));
    }

    #[test]
    fn a_piece_without_figures_did_not_hold() {
        for printed in ["", "figures: a=1\nand more\n", "figures: a\n", "figures: a=-1\n"] {
            assert!(judge(&output(printed, "", true)).is_err(), "{printed:?}");
        }
    }

    #[test]
    fn a_failure_is_what_the_piece_complained_of() {
        let failed = output("figures: a=1\n", "seed 3: lost\n", false);
        assert_eq!(judge(&failed), Err("seed 3: lost".to_owned()));
        let hung = Output { was_too_long: true, ..failed };
        assert!(judge(&hung).unwrap_err().starts_with("hang: "));
    }
}
