//! `lsm checkpoint`: a copy of the database that opens as a database, also while another process
//! writes.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use lsm_engine::{CheckpointOptions, CheckpointProgress, CheckpointReport};
use serde_json::{Value, json};

use crate::exit::{Exit, Failure};
use crate::output::Output;
use crate::progress::LateBar;
use crate::target::open_read_only;
use crate::units::{bytes, counted, duration};

/// Copy the database as it is now into a new directory, also while it is being written
#[derive(Args, Debug)]
pub(crate) struct CheckpointArgs {
    /// The database's directory
    #[arg(long, value_name = "DIR")]
    db: PathBuf,
    /// The new directory; one that exists must be empty
    target: PathBuf,
    /// Copy every table instead of linking it
    #[arg(long)]
    copy: bool,
    /// Print JSON: one object
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &CheckpointArgs) -> Result<Exit, Failure> {
    let db = open_read_only(&args.db)?;
    let options = CheckpointOptions { copy_tables: args.copy };
    let bar = LateBar::new("copying");
    let show = |told: CheckpointProgress| bar.show(told.bytes, told.bytes_total);
    let report = db.checkpoint_with(&args.target, &options, show)?;
    bar.clear();
    let mut out = Output::new();
    if args.json {
        out.json(&told(&report))?;
    } else {
        writeln!(out, "Made {} of {}.", args.target.display(), args.db.display())?;
        print(&mut out, &report)?;
    }
    out.finish()?;
    Ok(Exit::Done)
}

/// What was made, as a JSON object.
pub(crate) fn told(report: &CheckpointReport) -> Value {
    json!({
        "seq_no": report.seq_no,
        "tables": report.tables,
        "bytes_linked": report.bytes_linked,
        "bytes_copied": report.bytes_copied,
        "bytes_written": report.bytes_written,
        "elapsed_ms": u64::try_from(report.elapsed.as_millis()).unwrap_or(u64::MAX),
    })
}

/// The same in a line.
pub(crate) fn print(out: &mut Output, report: &CheckpointReport) -> Result<(), Failure> {
    Ok(writeln!(
        out,
        "It holds everything up to sequence number {}, in {}: {} linked, {} copied, {} written \
         from the log, in {}.",
        report.seq_no,
        counted(report.tables, "table", "tables"),
        bytes(report.bytes_linked),
        bytes(report.bytes_copied),
        bytes(report.bytes_written),
        duration(report.elapsed)
    )?)
}
