//! `lsm verify`: reads and checks every byte of every file that the database names.
//!
//! It works on files, beside whoever is writing: what is too damaged to be opened is what one most
//! wants to look at.

use std::io::Write;

use clap::Args;
use indicatif::ProgressBar;
use lsm_engine::{Damage, VerifyOptions, VerifyReport, verify_with};
use serde_json::json;

use crate::exit::{Exit, Failure};
use crate::output::Output;
use crate::progress;
use crate::target::Target;
use crate::units::{bytes, counted};

/// Read every byte of every file and check it; exit 4 if anything is wrong
#[derive(Args, Debug)]
pub(crate) struct VerifyArgs {
    #[command(flatten)]
    target: Target,
    /// Read no more than this many bytes a second
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1..))]
    rate: Option<u64>,
    /// Print JSON: an object for each damage, then one for all
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &VerifyArgs) -> Result<Exit, Failure> {
    let options = VerifyOptions {
        bytes_per_second: args.rate,
        keyspace: args.target.keyspace.clone(),
        ..VerifyOptions::default()
    };
    let mut bar: Option<ProgressBar> = None;
    let report = verify_with(&args.target.db, &options, |so_far| {
        let bar = bar.get_or_insert_with(|| progress::bar("verifying", Some(so_far.bytes_total)));
        bar.set_position(so_far.bytes);
    })?;
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    print(&report, args.json)?;
    Ok(if report.is_clean() { Exit::Done } else { Exit::Corrupt })
}

fn print(report: &VerifyReport, is_json: bool) -> Result<(), Failure> {
    let mut out = Output::new();
    for Damage { path, offset, reason } in &report.damage {
        if is_json {
            out.json(&json!({ "path": path, "offset": offset, "reason": reason }))?;
        } else {
            writeln!(out, "damaged: {} at byte {offset}: {reason}", path.display())?;
        }
    }
    if is_json {
        out.json(&json!({
            "files": report.files,
            "bytes": report.bytes,
            "entries": report.entries,
            "damage": report.damage.len(),
            "remarks": report.remarks,
        }))?;
        return out.finish();
    }
    for remark in &report.remarks {
        writeln!(out, "remark: {remark}")?;
    }
    writeln!(
        out,
        "read {}, {}, {} in tables: {}",
        counted(report.files, "file", "files"),
        bytes(report.bytes),
        counted(report.entries, "entry", "entries"),
        match report.damage.len() as u64 {
            0 => "nothing is wrong".into(),
            number => counted(number, "damage", "damages"),
        }
    )?;
    out.finish()
}
