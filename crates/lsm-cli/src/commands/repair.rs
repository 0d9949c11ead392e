//! `lsm repair`: makes a database that opens of what is left in a directory.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use lsm_engine::{Loss, NamedFile, RepairOptions, RepairReport, repair};
use serde_json::{Value, json};

use crate::exit::{Exit, Failure};
use crate::output::Output;
use crate::question::Consent;
use crate::units::counted;

/// Make a database that opens of what is left of a damaged one; exit 4 if anything was lost
#[derive(Args, Debug)]
pub(crate) struct RepairArgs {
    /// The database's directory
    #[arg(long, value_name = "DIR")]
    db: PathBuf,
    /// Change nothing, and tell what would be done
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    consent: Consent,
    /// Print the report as a JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &RepairArgs) -> Result<Exit, Failure> {
    let options = |dry_run| RepairOptions { dry_run, ..RepairOptions::default() };
    let mut report = repair(&args.db, options(true))?;
    if !args.dry_run && !report.is_healthy {
        if !args.consent.yes {
            // What is asked about goes where the question goes.
            eprint!("{}", text(&report));
        }
        let files = counted(report.set_aside.len() as u64, "file", "files");
        args.consent.ask(&format!(
            "Repair {}, and move {files} into {}?",
            args.db.display(),
            args.db.join("lost").display()
        ))?;
        report = repair(&args.db, options(false))?;
    }
    let mut out = Output::new();
    if args.json {
        out.json(&json(&report))?;
    } else {
        write!(out, "{}", text(&report))?;
    }
    out.finish()?;
    Ok(if report.losses.is_empty() { Exit::Done } else { Exit::Corrupt })
}

fn text(report: &RepairReport) -> String {
    if report.is_healthy {
        return "nothing is wrong, and nothing was changed\n".to_owned();
    }
    let mut lines = Vec::new();
    for damage in &report.damage {
        let (path, offset) = (damage.path.display(), damage.offset);
        lines.push(format!("damaged: {path} at byte {offset}: {}", damage.reason));
    }
    let named = |what: &str, files: &[NamedFile]| -> Vec<String> {
        files.iter().map(|file| format!("{what}: {} ({})", file.name, file.reason)).collect()
    };
    let moved = if report.is_dry_run { "would be moved to lost/" } else { "moved to lost/" };
    lines.extend(named("missing", &report.missing));
    lines.extend(named(moved, &report.set_aside));
    lines.extend(report.remarks.iter().map(|remark| format!("remark: {remark}")));
    lines.extend(report.losses.iter().map(|loss| format!("lost: {loss}")));
    for keyspace in &report.keyspaces {
        let source = if keyspace.is_from_manifest { "" } else { ", with default options" };
        lines.push(format!(
            "keyspace \"{}\": {} in {}{source}",
            keyspace.name,
            counted(keyspace.entries, "entry", "entries"),
            counted(keyspace.tables as u64, "table", "tables"),
        ));
    }
    lines.push(match (report.losses.len() as u64, report.is_dry_run) {
        (0, true) => "nothing is lost; nothing was changed yet".to_owned(),
        (0, false) => "repaired; nothing is lost".to_owned(),
        (losses, true) => {
            format!("{} would be final; nothing was changed yet", counted(losses, "loss", "losses"))
        }
        (losses, false) => format!("repaired, with {}", counted(losses, "loss", "losses")),
    });
    lines.join("\n") + "\n"
}

fn json(report: &RepairReport) -> Value {
    let named = |files: &[NamedFile]| -> Vec<Value> {
        files.iter().map(|file| json!({ "name": file.name, "reason": file.reason })).collect()
    };
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let loss = |loss: &Loss| {
        json!({
            "keyspace": loss.keyspace,
            "lower_hex": loss.keys.as_ref().map(|(lower, _)| hex(lower)),
            "upper_hex": loss.keys.as_ref().map(|(_, upper)| hex(upper)),
            "seq_no_first": loss.seq_no_first,
            "seq_no_last": loss.seq_no_last,
            "file": loss.file,
            "reason": loss.reason,
        })
    };
    let damage = |damage: &lsm_engine::Damage| json!({ "path": damage.path, "offset": damage.offset, "reason": damage.reason });
    let keyspace = |keyspace: &lsm_engine::RepairedKeyspace| {
        json!({
            "id": keyspace.id,
            "name": keyspace.name,
            "is_from_manifest": keyspace.is_from_manifest,
            "tables": keyspace.tables,
            "entries": keyspace.entries,
        })
    };
    json!({
        "healthy": report.is_healthy,
        "dry_run": report.is_dry_run,
        "damage": report.damage.iter().map(damage).collect::<Vec<_>>(),
        "missing": named(&report.missing),
        "losses": report.losses.iter().map(loss).collect::<Vec<_>>(),
        "set_aside": named(&report.set_aside),
        "keyspaces": report.keyspaces.iter().map(keyspace).collect::<Vec<_>>(),
        "tables_kept": report.tables_kept,
        "tables_written": report.tables_written,
        "batches_replayed": report.batches_replayed,
        "last_seq_no": report.last_seq_no,
        "remarks": report.remarks,
    })
}
