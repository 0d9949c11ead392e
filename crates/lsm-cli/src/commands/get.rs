//! `lsm get`: one record.

use std::ffi::OsString;
use std::io::Write;

use clap::Args;
use lsm_engine::Reads;
use serde_json::json;

use crate::exit::{Exit, Failure};
use crate::format::Format;
use crate::output::Output;
use crate::target::Target;

/// Print the value of a key
#[derive(Args, Debug)]
pub(crate) struct GetArgs {
    #[command(flatten)]
    target: Target,
    /// The key
    #[arg(allow_hyphen_values = true)]
    key: OsString,
    /// Print the value's bytes as they are, without a line feed
    #[arg(long, conflicts_with_all = ["json", "hex"])]
    raw: bool,
    #[command(flatten)]
    format: Format,
}

pub(crate) fn run(args: &GetArgs) -> Result<Exit, Failure> {
    let bytes = args.format.bytes;
    let key = bytes.parse_argument("the key", &args.key)?;
    let (_db, keyspace) = args.target.read()?;
    let Some(value) = keyspace.get(&key)? else { return Ok(Exit::NotFound) };
    let mut out = Output::new();
    if args.raw {
        out.write_all(&value)?;
    } else if args.format.json {
        out.json(&json!({ "key": bytes.json(&key), "value": bytes.json(&value) }))?;
    } else {
        writeln!(out, "{}", bytes.show(&value))?;
    }
    out.finish()?;
    Ok(Exit::Done)
}
