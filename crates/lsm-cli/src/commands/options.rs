//! `lsm options`: what can be chosen, what is chosen, what looks unwise; and choosing otherwise.
//!
//! The options of a keyspace are saved with it; those of a database are the program's that opens it,
//! so what is shown of them is what `lsm` itself would use on this machine.

mod change;

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use lsm_engine::{KeyspaceOptions, LintFinding, OptionRow, Options};
use serde_json::{Value, json};

use crate::exit::{Exit, Failure};
use crate::output::Output;
use crate::question::Consent;
use crate::target::{DEFAULT_KEYSPACE, Target, find_keyspace, open_read_only};

/// List every option: its value, its default, and what it does; or set those of a keyspace
#[derive(Args, Debug)]
pub(crate) struct OptionsArgs {
    /// The database whose keyspaces' options are shown; without one, the defaults
    #[arg(long, value_name = "DIR")]
    db: Option<PathBuf>,
    /// Only this keyspace [default: all; with --set: default]
    #[arg(long, value_name = "NAME", requires = "db")]
    keyspace: Option<String>,
    /// Set an option of the keyspace, for good; may come several times, and all are set at once
    #[arg(long = "set", value_name = "NAME=VALUE", requires = "db", value_parser = change::parse_change)]
    changes: Vec<(String, String)>,
    #[command(flatten)]
    consent: Consent,
    /// Print JSON: one object a line
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &OptionsArgs) -> Result<Exit, Failure> {
    let mut out = Output::new();
    if let (Some(dir), false) = (&args.db, args.changes.is_empty()) {
        set(&mut out, dir, args)?;
        out.finish()?;
        return Ok(Exit::Done);
    }
    let options = Options::default();
    show(&mut out, args.json, None, &options.rows(), &options.lint())?;
    for (name, options) in keyspaces(args)? {
        if !args.json {
            writeln!(out)?;
        }
        show(&mut out, args.json, Some(&name), &options.rows(), &options.lint())?;
    }
    out.finish()?;
    Ok(Exit::Done)
}

/// Changes options of a keyspace, and shows those.
fn set(out: &mut Output, dir: &Path, args: &OptionsArgs) -> Result<(), Failure> {
    let target = Target { db: dir.to_owned(), keyspace: args.keyspace.clone() };
    let (db, keyspace) = target.write()?;
    let before = keyspace.options();
    let changed = change::changed(&before, &args.changes)?;
    if changed.compaction != before.compaction {
        change::ask(&changed, args.consent)?;
    }
    keyspace.set_options(changed)?;
    let options = keyspace.options();
    drop(keyspace);
    db.close()?;
    let is_named = |row: &OptionRow| args.changes.iter().any(|(name, _)| name == row.name);
    let rows: Vec<_> = options.rows().into_iter().filter(is_named).collect();
    show(out, args.json, Some(target.keyspace_name()), &rows, &options.lint())
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
        Some(name) => writeln!(out, "keyspace {name}\n")?,
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
