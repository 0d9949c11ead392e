//! `lsm put`: writes one record.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::time::Duration;

use clap::Args;
use lsm_engine::WriteOptions;
use serde_json::json;

use crate::exit::{Exit, Failure};
use crate::format::{BytesFormat, Format};
use crate::output::Output;
use crate::target::Target;
use crate::units::parse_duration;

/// Set a key to a value, durably; creates the database if there is none
#[derive(Args, Debug)]
pub(crate) struct PutArgs {
    #[command(flatten)]
    target: Target,
    /// The key
    #[arg(allow_hyphen_values = true)]
    key: OsString,
    /// The value; `-` reads it from standard input
    #[arg(allow_hyphen_values = true)]
    value: OsString,
    /// Keep it so long only: a number and `ms`, `s`, `m`, `h` or `d`, as in `90s`
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    ttl: Option<Duration>,
    #[command(flatten)]
    format: Format,
}

pub(crate) fn run(args: &PutArgs) -> Result<Exit, Failure> {
    let key = args.format.bytes.parse_argument("the key", &args.key)?;
    let value = read_value(&args.value, args.format.bytes)?;
    let (db, keyspace) = args.target.create()?;
    let options = WriteOptions::default();
    let seq_no = match args.ttl {
        Some(ttl) => keyspace.put_ttl_with(&key, &value, ttl, options)?,
        None => keyspace.put_with(&key, &value, options)?,
    };
    drop(keyspace);
    db.close()?;
    if args.format.json {
        let mut out = Output::new();
        out.json(&json!({ "key": args.format.bytes.json(&key), "seq_no": seq_no }))?;
        out.finish()?;
    }
    Ok(Exit::Done)
}

fn read_value(value: &OsStr, format: BytesFormat) -> Result<Vec<u8>, Failure> {
    if value != "-" {
        return format.parse_argument("the value", value);
    }
    let mut typed = Vec::new();
    io::stdin().lock().read_to_end(&mut typed).map_err(|error| {
        Failure::new(Exit::Io, format!("could not read standard input: {error}"))
    })?;
    // Digits may be followed by the line feed of whatever printed them; other bytes are the value.
    let typed = if format.hex { typed.trim_ascii_end() } else { typed.as_slice() };
    format.parse(typed).map_err(|reason| Failure::usage(format!("the value {reason}")))
}
