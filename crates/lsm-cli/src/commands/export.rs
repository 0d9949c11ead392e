//! `lsm export`: a range of a keyspace as tables, also while another process writes.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::exit::{Exit, Failure};
use crate::format::BytesFormat;
use crate::key_range::BoundArgs;
use crate::output::Output;
use crate::target::Target;
use crate::units::{bytes, counted, duration};

/// Write a range of keys as tables into a new directory, for `lsm ingest`
#[derive(Args, Debug)]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    target: Target,
    /// The new directory; one that exists must be empty
    dir: PathBuf,
    #[command(flatten)]
    bounds: BoundArgs,
    #[command(flatten)]
    bytes: BytesFormat,
    /// Print JSON: one object
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &ExportArgs) -> Result<Exit, Failure> {
    let range = args.bounds.range(args.bytes)?;
    let (_db, keyspace) = args.target.read()?;
    let report = keyspace.export(range.bounds(), &args.dir)?;
    let mut out = Output::new();
    if args.json {
        out.json(&json!({
            "seq_no": report.seq_no,
            "entries": report.entries,
            "tables": report.tables.len(),
            "bytes": report.bytes,
            "elapsed_ms": u64::try_from(report.elapsed.as_millis()).unwrap_or(u64::MAX),
        }))?;
    } else {
        writeln!(
            out,
            "Wrote {} in {} ({}) to {}, in {}.",
            counted(report.entries, "record", "records"),
            counted(report.tables.len() as u64, "table", "tables"),
            bytes(report.bytes),
            args.dir.display(),
            duration(report.elapsed)
        )?;
    }
    out.finish()?;
    Ok(Exit::Done)
}
