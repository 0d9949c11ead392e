//! `lsm ingest`: tables brought in, all or none.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use lsm_engine::IngestReport;
use serde_json::{Value, json};

use crate::exit::{Exit, Failure};
use crate::output::Output;
use crate::target::Target;
use crate::units::{bytes, counted, duration};

/// Bring the records of tables in at once: of `lsm export`, or made with lsm-sstable
#[derive(Args, Debug)]
pub(crate) struct IngestArgs {
    #[command(flatten)]
    target: Target,
    /// Tables, or directories of an export
    #[arg(required = true)]
    tables: Vec<PathBuf>,
    /// Print JSON: one object
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &IngestArgs) -> Result<Exit, Failure> {
    // The tables come first: a mistyped name should leave no empty database behind.
    let mut tables = Vec::new();
    for path in &args.tables {
        if path.is_dir() {
            tables.extend(tables_in(path)?);
        } else {
            std::fs::metadata(path).map_err(|error| Failure::input(path, &error))?;
            tables.push(path.clone());
        }
    }
    if tables.is_empty() {
        return Err(Failure::usage("there is no table among what was named".to_owned()));
    }
    let destination = args.target.create()?;
    let ingested = destination.keyspace.ingest_tables(&tables).map_err(Failure::from);
    let report = destination.close(ingested)?;
    let mut out = Output::new();
    if args.json {
        out.json(&told(&report))?;
    } else {
        print(&mut out, &report)?;
    }
    out.finish()?;
    Ok(Exit::Done)
}

fn tables_in(dir: &PathBuf) -> Result<Vec<PathBuf>, Failure> {
    let failed = |error| Failure::input(dir, &error);
    let mut tables = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "sst") {
            tables.push(path);
        }
    }
    tables.sort();
    Ok(tables)
}

/// What was brought in, as a JSON object.
pub(crate) fn told(report: &IngestReport) -> Value {
    json!({
        "seq_no": report.seq_no,
        "entries": report.entries,
        "tables": report.tables,
        "tables_to_merge": report.tables_to_merge,
        "bytes": report.bytes,
        "elapsed_ms": u64::try_from(report.elapsed.as_millis()).unwrap_or(u64::MAX),
    })
}

/// The same in a line.
pub(crate) fn print(out: &mut impl Write, report: &IngestReport) -> Result<(), Failure> {
    Ok(writeln!(
        out,
        "Brought in {} in {} ({}), {} of them yet to be merged with others, in {}.",
        counted(report.entries, "record", "records"),
        counted(report.tables, "table", "tables"),
        bytes(report.bytes),
        report.tables_to_merge,
        duration(report.elapsed)
    )?)
}
