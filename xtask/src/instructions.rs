//! Counts the instructions of single operations and compares them with what is on record.
//!
//! A count is the same whatever else the machine does, so it shows a slowdown of a few percent that
//! would drown in the noise of a clock. It does not know what a cache miss costs: time is measured
//! by `cargo xtask bench`.
//!
//! What is carried out is `benches/instructions`. To see how one operation is counted, open
//! `instructions/callgrind.rs`; what a count depends on besides the code, `conditions.rs`; the file
//! in which counts are kept, `record.rs`.

mod callgrind;
mod conditions;
mod record;

use std::io::Write as _;

use crate::Result;
use crate::invocation::Invocation;
use crate::step::Outcome;
use crate::workspace::Workspace;
use conditions::Conditions;
use record::{Count, Record};

/// The package that carries out the operations.
const PACKAGE: &str = "lsm-instructions";

/// How many percent more instructions are let through. Code around an operation moves its count by
/// less: the compiler lays out and inlines differently.
const TOLERANCE_PERCENT: f64 = 2.0;

/// What to count, and what for.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Arguments {
    /// The operations to count; all of them if none is named
    #[arg(value_name = "OPERATION")]
    names: Vec<String>,
    /// Put the counts on record instead of comparing them
    #[arg(long, conflicts_with = "names")]
    update: bool,
    /// Count a build that measures nothing of itself, against the usual counts on record: what metrics
    /// cost, the other way round
    #[arg(long, conflicts_with = "update")]
    unmeasured: bool,
}

/// Counts, prints a table and compares, as far as this machine can.
pub(crate) fn run(arguments: &Arguments) -> Result<Outcome> {
    let Some(valgrind) = callgrind::version() else {
        return Ok(Outcome::Skipped("valgrind is not installed".to_owned()));
    };
    let conditions = Conditions::here(valgrind)?;
    let program = build(arguments.unmeasured)?;
    let names = choose(callgrind::operations(&program)?, &arguments.names)?;
    let record = Record::read()?;
    let differences = record.conditions.differences(&conditions);
    let is_comparable = differences.is_empty() && !arguments.update;

    println!("  {}", line("operation", "instructions", "recorded", "change"));
    let mut counts = Vec::new();
    for name in &names {
        let count = callgrind::count(&program, name)?;
        println!("  {}", row(&count, record.count_of(name), is_comparable));
        std::io::stdout().flush()?;
        counts.push(count);
    }
    if arguments.update {
        println!("  recorded in {}", Record { conditions, counts }.write()?);
        return Ok(Outcome::Passed);
    }
    if !is_comparable {
        let reason = format!("the counts on record hold for {}", differences.join(", "));
        println!("  NOTHING WAS COMPARED: {reason}");
        return Ok(Outcome::Skipped(reason));
    }
    if arguments.unmeasured {
        println!("  so many percent fewer instructions without metrics");
        return Ok(Outcome::Passed);
    }
    let is_whole = arguments.names.is_empty();
    let mut complaints: Vec<String> =
        counts.iter().filter_map(|count| complaint(count, record.count_of(&count.name))).collect();
    complaints.extend(record.counts.iter().filter_map(|recorded| {
        let is_gone = is_whole && !names.contains(&recorded.name);
        is_gone.then(|| format!("{} is on record, but there is no such operation", recorded.name))
    }));
    complaints.iter().for_each(|complaint| println!("  {complaint}"));
    if complaints.is_empty() {
        return Ok(Outcome::Passed);
    }
    println!("  if that is the price of something worth it: cargo xtask instructions --update");
    Ok(Outcome::Failed)
}

/// Compiles the program in the build that the counts are about; where it lies.
fn build(unmeasured: bool) -> Result<String> {
    // One unit of code generation: how code is divided among several changes what is inlined.
    let mut invocation =
        Invocation::cargo("build --quiet --profile bench --package").arguments([PACKAGE]);
    let mut target = Workspace::read()?.target_directory;
    if unmeasured {
        target = target.join("unmeasured");
        invocation = invocation
            .arguments(["--target-dir".to_owned(), target.display().to_string()])
            .variable("RUSTFLAGS", "--cfg lsm_unmeasured");
    }
    if !invocation.run()? {
        return Err(format!("`{invocation}` failed").into());
    }
    let program = target.join("release").join(PACKAGE);
    Ok(program.display().to_string())
}

/// Those of `all` that `names` lists, or all.
fn choose(all: Vec<String>, names: &[String]) -> Result<Vec<String>> {
    if let Some(unknown) = names.iter().find(|name| !all.contains(name)) {
        return Err(format!("no operation `{unknown}`; there are {}", all.join(", ")).into());
    }
    Ok(all.into_iter().filter(|name| names.is_empty() || names.contains(name)).collect())
}

fn change_percent(count: &Count, recorded: f64) -> f64 {
    (count.instructions / recorded - 1.0) * 100.0
}

/// What is wrong with a count, if anything.
fn complaint(count: &Count, recorded: Option<f64>) -> Option<String> {
    let name = &count.name;
    let Some(recorded) = recorded else { return Some(format!("{name} is not on record")) };
    let change = change_percent(count, recorded);
    (change > TOLERANCE_PERCENT).then(|| {
        format!(
            "{name} takes {change:.1} % more instructions, {TOLERANCE_PERCENT} % are let through"
        )
    })
}

fn row(count: &Count, recorded: Option<f64>, is_comparable: bool) -> String {
    let instructions = format!("{:.1}", count.instructions);
    let known = recorded.map_or("-".to_owned(), |recorded| format!("{recorded:.1}"));
    let change = match recorded {
        Some(recorded) if is_comparable => {
            let change = change_percent(count, recorded);
            // Else a later slowdown would have room to hide in.
            let hint = if change < -TOLERANCE_PERCENT { "  (--update keeps it)" } else { "" };
            format!("{change:+.1} %{hint}")
        }
        _ => "-".to_owned(),
    };
    line(&count.name, &instructions, &known, &change)
}

fn line(name: &str, instructions: &str, recorded: &str, change: &str) -> String {
    format!("{name:<20}{instructions:>14}{recorded:>12}   {change}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(instructions: f64) -> Count {
        Count { name: "get".to_owned(), instructions }
    }

    #[test]
    fn only_more_than_the_tolerance_is_complained_of() {
        assert_eq!(complaint(&count(101.9), Some(100.0)), None);
        assert_eq!(complaint(&count(50.0), Some(100.0)), None);
        let expected = "get takes 2.1 % more instructions, 2 % are let through";
        assert_eq!(complaint(&count(102.1), Some(100.0)).as_deref(), Some(expected));
    }

    #[test]
    fn an_operation_that_is_not_on_record_is_complained_of() {
        assert_eq!(complaint(&count(1.0), None).as_deref(), Some("get is not on record"));
    }

    #[test]
    fn no_change_is_told_where_nothing_can_be_compared() {
        assert!(row(&count(99.0), Some(100.0), true).ends_with("99.0       100.0   -1.0 %"));
        assert!(row(&count(99.0), Some(100.0), false).ends_with("99.0       100.0   -"));
        assert!(row(&count(90.0), Some(100.0), true).ends_with("-10.0 %  (--update keeps it)"));
    }

    #[test]
    fn an_operation_that_is_not_there_is_named() {
        let all = || vec!["get".to_owned(), "put".to_owned()];
        assert_eq!(choose(all(), &["put".to_owned()]).unwrap(), ["put"]);
        let error = choose(all(), &["puut".to_owned()]).unwrap_err();
        assert_eq!(error.to_string(), "no operation `puut`; there are get, put");
    }
}
