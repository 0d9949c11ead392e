//! `lsm shape`: the tree, drawn.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use lsm_engine::{Shape, TableShape};
use serde_json::{Value, json};

use crate::exit::{Exit, Failure};
use crate::format::{BytesFormat, Format};
use crate::output::Output;
use crate::target::Target;
use crate::{picture, svg};

/// How wide a drawing fits everywhere.
pub(crate) const COLUMNS: u16 = 96;

/// Draw the levels: tables as boxes over the key space
#[derive(Args, Debug)]
pub(crate) struct ShapeArgs {
    #[command(flatten)]
    target: Target,
    /// Write the picture to this file, too, as SVG
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Width of the drawing in characters
    #[arg(long, value_name = "N", default_value_t = COLUMNS, value_parser = clap::value_parser!(u16).range(50..=1000))]
    columns: u16,
    #[command(flatten)]
    format: Format,
}

pub(crate) fn run(args: &ShapeArgs) -> Result<Exit, Failure> {
    let bytes = args.format.bytes;
    let (_db, keyspace) = args.target.read()?;
    let shape = keyspace.shape();
    if let Some(path) = &args.svg {
        let title = format!("{}, keyspace {}", args.target.db.display(), keyspace.name());
        fs::write(path, svg::draw(&shape, &title, bytes))
            .map_err(|error| Failure::io("write", path, &error))?;
    }
    let mut out = Output::new();
    if args.format.json {
        out.json(&shape_json(keyspace.name(), &shape, bytes))?;
    } else {
        picture::print(&mut out, &shape, bytes, usize::from(args.columns))?;
        if let Some(path) = &args.svg {
            writeln!(out, "\nThe same picture is in {}", path.display())?;
        }
    }
    out.finish()?;
    Ok(Exit::Done)
}

fn shape_json(keyspace: &str, shape: &Shape, format: BytesFormat) -> Value {
    let table = |table: &TableShape| {
        json!({
            "number": table.number,
            "lower": format.json(&table.lower),
            "upper": format.json(&table.upper),
            "bytes": table.bytes,
            "entries": table.entries,
            "tombstones": table.tombstones,
        })
    };
    let runs: Vec<Value> = shape
        .runs
        .iter()
        .map(|run| {
            let tables: Vec<Value> = run.tables.iter().map(table).collect();
            json!({ "level": run.level, "tables": tables })
        })
        .collect();
    json!({ "keyspace": keyspace, "runs": runs })
}
