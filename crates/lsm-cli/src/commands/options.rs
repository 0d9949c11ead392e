//! `lsm options`: what can be chosen, what is chosen, and what looks unwise.
//!
//! The options of a keyspace are saved with it; those of a database are the program's that opens it,
//! so what is shown of them is what `lsm` itself would use on this machine.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use lsm_engine::{KeyspaceOptions, LintFinding, OptionRow, Options};
use serde_json::{Value, json};

use crate::exit::{Exit, Failure};
use crate::output::Output;
use crate::target::{DEFAULT_KEYSPACE, find_keyspace, open_read_only};

/// List every option: its value, its default, and what it does
#[derive(Args, Debug)]
pub(crate) struct OptionsArgs {
    /// The database whose keyspaces' options are shown; without one, the defaults
    #[arg(long, value_name = "DIR")]
    db: Option<PathBuf>,
    /// Only this keyspace [default: all]
    #[arg(long, value_name = "NAME", requires = "db")]
    keyspace: Option<String>,
    /// Print JSON: one object a line
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &OptionsArgs) -> Result<Exit, Failure> {
    let mut out = Output::new();
    let options = Options::default();
    show(&mut out, args.json, None, &options.rows(), &options.lint())?;
    for (name, options) in keyspaces(args)? {
        show(&mut out, args.json, Some(&name), &options.rows(), &options.lint())?;
    }
    out.finish()?;
    Ok(Exit::Done)
}

/// The options of the keyspaces that are asked for, by name.
fn keyspaces(args: &OptionsArgs) -> Result<Vec<(String, KeyspaceOptions)>, Failure> {
    let Some(dir) = &args.db else {
        return Ok(vec![(DEFAULT_KEYSPACE.to_owned(), KeyspaceOptions::default())]);
    };
    let db = open_read_only(dir)?;
    let names = args.keyspace.clone().map_or_else(|| db.keyspaces(), |name| vec![name]);
    let options = names.into_iter().map(|name| {
        let keyspace = find_keyspace(&db, dir, &name)?;
        Ok((name, keyspace.options()))
    });
    options.collect()
}

/// Shows the options of a keyspace, or of the database, with what looks unwise among them.
fn show(
    out: &mut Output,
    as_json: bool,
    keyspace: Option<&str>,
    rows: &[OptionRow],
    findings: &[LintFinding],
) -> Result<(), Failure> {
    if as_json {
        rows.iter().try_for_each(|row| out.json(&row_json(keyspace, row, findings)))?;
        return Ok(());
    }
    match keyspace {
        Some(name) => writeln!(out, "\nkeyspace {name}\n")?,
        None => writeln!(out, "database\n")?,
    }
    rows.iter().try_for_each(|row| print_row(out, row, findings))?;
    Ok(())
}

fn print_row(out: &mut impl Write, row: &OptionRow, findings: &[LintFinding]) -> io::Result<()> {
    let OptionRow { name, value, default, .. } = row;
    match value == default {
        true => writeln!(out, "  {name}: {value}")?,
        false => writeln!(out, "  {name}: {value} (the default is {default})")?,
    }
    wrap(out, &row.does, "      ")?;
    for finding in findings.iter().filter(|finding| finding.option == *name) {
        wrap(out, &format!("unwise: {}; {}", finding.reason, finding.advice), "    ! ")?;
    }
    Ok(())
}

/// Prints text in lines of a readable length, the first behind `opening`.
fn wrap(out: &mut impl Write, text: &str, opening: &str) -> io::Result<()> {
    const COLUMNS: usize = 100;
    let indent = " ".repeat(opening.len());
    let mut line = opening.to_owned();
    for word in text.split_whitespace() {
        if line.len() > indent.len() && line.len() + word.len() > COLUMNS {
            writeln!(out, "{}", line.trim_end())?;
            line = indent.clone();
        }
        line.push_str(word);
        line.push(' ');
    }
    writeln!(out, "{}", line.trim_end())
}

fn row_json(keyspace: Option<&str>, row: &OptionRow, findings: &[LintFinding]) -> Value {
    let unwise = findings.iter().filter(|finding| finding.option == row.name);
    let unwise: Vec<_> = unwise
        .map(|finding| json!({ "reason": finding.reason, "advice": finding.advice }))
        .collect();
    json!({
        "keyspace": keyspace,
        "option": row.name,
        "value": row.value,
        "default": row.default,
        "does": row.does,
        "unwise": unwise,
    })
}
