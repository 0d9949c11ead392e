//! Plants known bugs, one at a time, in a scratch copy of the tree, and sees to it that the checks
//! notice: a check that cannot fail is no check.
//!
//! To see what a bug looks like, open `planted/bug.rs`; the list itself is `xtask/planted/`; the
//! copy, `planted/scratch.rs`; how a check is run and judged, `planted/verdict.rs`; the rules that
//! keep the list and docs/orders.md true, `planted/rules.rs`.

mod bug;
mod harness;
mod rules;
mod scratch;
mod verdict;

use std::io::Write as _;
use std::time::Instant;

use bug::Bug;
use harness::Harness;
pub(crate) use rules::{orders, stale};
use scratch::Scratch;
use verdict::Verdict;

use crate::Result;
use crate::seed::seed;
use crate::turn::Turn;
use crate::workspace::{self, Workspace};

/// Which bugs to plant, and whether at all.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Choice {
    /// The bugs to plant; all of them if none is named
    #[arg(value_name = "BUG")]
    names: Vec<String>,
    /// Only say which bugs there are
    #[arg(long)]
    list: bool,
    // Of those that a plain `cargo test` notices.
    #[command(flatten)]
    turn: Turn,
    /// Plant nothing: every check must pass, or it proves nothing by failing
    #[arg(long)]
    unplanted: bool,
}

impl Choice {
    /// A few bugs, others at each commit.
    pub(crate) fn of_this_commit(count: usize) -> Self {
        Self { turn: Turn::of_this_commit(count), ..Self::default() }
    }

    /// The words that choose the same.
    pub(crate) fn words(&self) -> String {
        format!("{} {}", self.names.join(" "), self.turn.words()).trim().to_owned()
    }

    fn of(&self, bugs: Vec<Bug>) -> Result<Vec<Bug>> {
        if let Some(unknown) = self.names.iter().find(|name| bugs.iter().all(|b| b.name != **name))
        {
            return Err(format!("no planted bug `{unknown}`; --list names them").into());
        }
        let is_named = |bug: &Bug| self.names.is_empty() || self.names.contains(&bug.name);
        let named: Vec<Bug> = bugs.into_iter().filter(is_named).collect();
        if self.turn.is_all() {
            return Ok(named);
        }
        Ok(self.turn.of(named.into_iter().filter(is_plain).collect()))
    }
}

/// Whether `cargo test` alone notices it, anywhere and at once.
fn is_plain(bug: &Bug) -> bool {
    bug.checks.iter().all(bug::Check::is_plain)
}

/// What came of one bug.
struct Outcome {
    bug: Bug,
    /// The harnesses that noticed.
    noticed_by: Vec<Harness>,
    is_caught: bool,
}

/// Plants the chosen bugs; `false` when one goes unnoticed, or does not compile.
pub(crate) fn run(choice: &Choice) -> Result<bool> {
    let bugs = choice.of(bug::all()?)?;
    if choice.list {
        for bug in &bugs {
            println!("{:<34}{}", bug.name, bug.promise);
        }
        return Ok(true);
    }
    let workspace = Workspace::read()?;
    let mut scratch = Scratch::synced(workspace.target_directory.join("planted"))?;
    seed(&workspace, &scratch.target())?;
    let mut outcomes = Vec::new();
    for bug in bugs {
        let outcome = if choice.unplanted {
            passes_unplanted(&scratch, bug)?
        } else {
            plant(&mut scratch, bug)?
        };
        outcomes.push(outcome);
    }
    if choice.unplanted {
        return Ok(outcomes.iter().all(|outcome| outcome.is_caught));
    }
    print!("{}", matrix(&outcomes));
    let caught = outcomes.iter().filter(|outcome| outcome.is_caught).count();
    if caught < outcomes.len() {
        eprintln!("{} of {} planted bugs went unnoticed", outcomes.len() - caught, outcomes.len());
        return Ok(false);
    }
    println!("figures: planted.bugs={} planted.caught={caught}", outcomes.len());
    Ok(true)
}

/// Plants one bug, runs its checks and takes it out again; prints its line of the table.
fn plant(scratch: &mut Scratch, bug: Bug) -> Result<Outcome> {
    scratch.plant(&bug)?;
    let judged = judge_each(scratch, &bug);
    scratch.weed()?;
    let (verdicts, seconds) = judged?;
    let mut outcome = Outcome { noticed_by: Vec::new(), is_caught: true, bug };
    let bug = &outcome.bug;
    let page = std::fs::read_to_string(workspace::root().join(rules::PAGE))?;
    let order = rules::line_of(&page, &bug.name);
    let order = order.map_or_else(String::new, |order| format!(" (order {order})"));
    println!("{}: {}{order}", bug.name, bug.promise);
    for (check, verdict) in bug.checks.iter().zip(verdicts) {
        let said = match verdict {
            Verdict::Failed(how) => {
                outcome.noticed_by.push(check.harness);
                how
            }
            Verdict::Passed => {
                outcome.is_caught = false;
                format!("NOT CAUGHT, a hole in the tests: cargo {}", check.words)
            }
            Verdict::Skipped(reason) => format!("skipped: {reason}"),
            Verdict::DoesNotCompile => {
                outcome.is_caught = false;
                format!("DOES NOT COMPILE, an error in the list: {}", scratch.log(bug).display())
            }
        };
        println!("    {:<14}{said}", check.harness);
    }
    // What could not be tried anywhere is not caught.
    outcome.is_caught &= !outcome.noticed_by.is_empty();
    println!("    {seconds:.1} s");
    std::io::stdout().flush()?;
    Ok(outcome)
}

fn judge_each(scratch: &Scratch, bug: &Bug) -> Result<(Vec<Verdict>, f64)> {
    let begun = Instant::now();
    let log = scratch.log(bug);
    let verdicts: Result<Vec<_>> =
        bug.checks.iter().map(|check| verdict::judge(scratch, check, &log)).collect();
    Ok((verdicts?, begun.elapsed().as_secs_f64()))
}

/// Runs the checks of a bug on the tree as it is.
fn passes_unplanted(scratch: &Scratch, bug: Bug) -> Result<Outcome> {
    let (verdicts, seconds) = judge_each(scratch, &bug)?;
    let passes = verdicts.iter().all(|verdict| *verdict == Verdict::Passed);
    let verdict = if passes { "passes".to_owned() } else { format!("FAILS: {verdicts:?}") };
    println!("{:<34}{seconds:>6.1} s  {verdict}", bug.name);
    Ok(Outcome { bug, noticed_by: Vec::new(), is_caught: passes })
}

/// Which harness noticed which bugs.
fn matrix(outcomes: &[Outcome]) -> String {
    let mut text = String::from("\n");
    for harness in Harness::ALL {
        let noticed: Vec<&str> = outcomes
            .iter()
            .filter(|outcome| outcome.noticed_by.contains(harness))
            .map(|outcome| outcome.bug.name.as_str())
            .collect();
        if !noticed.is_empty() {
            text += &format!("{harness:<14}{:>4}  {}\n", noticed.len(), noticed.join(", "));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_bug_is_refused() {
        let choice = Choice { names: vec!["none".to_owned()], ..Choice::default() };
        let error = choice.of(Vec::new()).unwrap_err().to_string();
        assert_eq!(error, "no planted bug `none`; --list names them");
    }
}
