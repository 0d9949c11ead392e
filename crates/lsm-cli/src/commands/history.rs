//! `lsm history`: every version of a key that is still stored.

use std::ffi::OsString;

use clap::Args;
use lsm_engine::{KeyVersion, Place};
use serde_json::{Value, json};

use crate::columns::{Columns, Side};
use crate::exit::{Exit, Failure};
use crate::format::{BytesFormat, Format};
use crate::output::Output;
use crate::target::Target;
use crate::units::count;

/// Print every version of a key that is still stored, and where it lies
#[derive(Args, Debug)]
pub(crate) struct HistoryArgs {
    #[command(flatten)]
    target: Target,
    /// The key
    #[arg(allow_hyphen_values = true)]
    key: OsString,
    #[command(flatten)]
    format: Format,
}

pub(crate) fn run(args: &HistoryArgs) -> Result<Exit, Failure> {
    const ALIGNMENT: [Side; 4] = [Side::Right, Side::Left, Side::Left, Side::Left];
    let bytes = args.format.bytes;
    let key = bytes.parse_argument("the key", &args.key)?;
    let (_db, keyspace) = args.target.read()?;
    let versions = keyspace.history(&key)?;
    let mut out = Output::new();
    if args.format.json {
        for version in &versions {
            out.json(&version_json(version, bytes))?;
        }
    } else if !versions.is_empty() {
        let mut columns = Columns::new(&ALIGNMENT, ["sequence", "kind", "lies in", "value"]);
        for version in &versions {
            let kind = crate::commands::dump::kind_name(version.kind);
            let value = bytes.show(&version.value).to_string();
            columns.row([count(version.seq_no), kind.into(), version.place.to_string(), value]);
        }
        columns.print(&mut out, 0)?;
    }
    out.finish()?;
    Ok(if versions.is_empty() { Exit::NotFound } else { Exit::Done })
}

fn version_json(version: &KeyVersion, format: BytesFormat) -> Value {
    json!({
        "seq_no": version.seq_no,
        "kind": crate::commands::dump::kind_name(version.kind),
        "value": format.json(&version.value),
        "place": place_json(&version.place),
    })
}

/// Where an entry lies, as JSON.
pub(crate) fn place_json(place: &Place) -> Value {
    match place {
        Place::ActiveMemtable => json!({ "memtable": "active" }),
        Place::SealedMemtable(index) => json!({ "memtable": "sealed", "index": index }),
        Place::Table { level, number } => json!({ "level": level, "table": number }),
    }
}
