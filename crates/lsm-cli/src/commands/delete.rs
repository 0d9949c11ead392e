//! `lsm delete`: removes one record, or all of a range.

use std::ffi::{OsStr, OsString};

use clap::{ArgGroup, Args};
use lsm_engine::{Keyspace, Reads, WriteOptions};
use serde_json::json;

use crate::exit::{Exit, Failure};
use crate::format::Format;
use crate::key_range::{BoundArgs, KeyRange};
use crate::output::Output;
use crate::question::Consent;
use crate::target::Target;
use crate::units::counted;

/// Remove a key, all that begin with a prefix, or a range, durably; asks first
#[derive(Args, Debug)]
#[command(group(
    ArgGroup::new("what").required(true).multiple(true).args(["key", "prefix", "from", "to"])
))]
pub(crate) struct DeleteArgs {
    #[command(flatten)]
    target: Target,
    /// The key
    #[arg(allow_hyphen_values = true, conflicts_with_all = ["prefix", "from", "to"])]
    key: Option<OsString>,
    /// Every key that begins so
    #[arg(long, value_name = "P", allow_hyphen_values = true)]
    prefix: Option<OsString>,
    #[command(flatten)]
    bounds: BoundArgs,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    consent: Consent,
}

pub(crate) fn run(args: &DeleteArgs) -> Result<Exit, Failure> {
    let (db, keyspace) = args.target.write()?;
    let deleted = match &args.key {
        Some(key) => delete_key(args, &keyspace, key)?,
        None => delete_range(args, &keyspace)?,
    };
    drop(keyspace);
    db.close()?;
    if args.format.json {
        let mut out = Output::new();
        out.json(&json!({ "deleted": deleted }))?;
        out.finish()?;
    }
    Ok(Exit::Done)
}

fn delete_key(args: &DeleteArgs, keyspace: &Keyspace, key: &OsStr) -> Result<u64, Failure> {
    let bytes = args.format.bytes;
    let key = bytes.parse_argument("the key", key)?;
    if !keyspace.contains_key(&key)? {
        return Ok(0);
    }
    args.consent.ask(&format!("Delete \"{}\"?", bytes.show(&key)))?;
    keyspace.delete_with(&key, WriteOptions::default())?;
    Ok(1)
}

/// Counts what is there, asks, and removes it with one record.
fn delete_range(args: &DeleteArgs, keyspace: &Keyspace) -> Result<u64, Failure> {
    let bytes = args.format.bytes;
    let mut range = args.bounds.range(bytes)?;
    let mut beginning = String::new();
    if let Some(prefix) = &args.prefix {
        let prefix = bytes.parse_argument("--prefix", prefix)?;
        beginning = format!(" beginning with \"{}\"", bytes.show(&prefix));
        range = range.and(KeyRange::prefix(&prefix));
    }
    let mut count = 0;
    for entry in keyspace.range(range.bounds()) {
        entry?;
        count += 1;
    }
    if count == 0 {
        return Ok(0);
    }
    let records = counted(count, "record", "records");
    args.consent.ask(&format!("Delete {records}{beginning}?"))?;
    keyspace.delete_range(range.bounds())?;
    Ok(count)
}
