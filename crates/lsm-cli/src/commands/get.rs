//! `lsm get`: one record.

use std::ffi::OsString;
use std::io::Write;

use clap::Args;
use lsm_engine::{Counter, Keyspace, MergeOperator, Reads};
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
    /// Print the value's bytes as they are, a counter's too, without a line feed
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
    let number = number(&keyspace, &value);
    let mut out = Output::new();
    if args.raw {
        out.write_all(&value)?;
    } else if args.format.json {
        let mut object = json!({ "key": bytes.json(&key), "value": bytes.json(&value) });
        if let Some(number) = number {
            object["number"] = json!(number);
        }
        out.json(&object)?;
    } else if let Some(number) = number.filter(|_| !bytes.hex) {
        writeln!(out, "{number}")?;
    } else {
        writeln!(out, "{}", bytes.show(&value))?;
    }
    out.finish()?;
    Ok(Exit::Done)
}

/// What a value stands for in a keyspace of counters.
fn number(keyspace: &Keyspace, value: &[u8]) -> Option<i64> {
    let operator = keyspace.options().merge_operator?;
    if operator.name() == Counter.name() { Counter::number(value) } else { None }
}
