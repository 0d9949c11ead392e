//! `lsm delete`: removes one record, or all whose keys begin alike.

use std::ffi::{OsStr, OsString};

use clap::{ArgGroup, Args};
use lsm_engine::{Db, Key, Keyspace, Reads, WriteBatch, WriteOptions};
use serde_json::json;

use crate::exit::{Exit, Failure};
use crate::format::Format;
use crate::key_range::KeyRange;
use crate::output::Output;
use crate::question::Consent;
use crate::target::Target;
use crate::units::counted;

/// Records removed together.
const BATCH_RECORDS: usize = 1000;

/// Remove a key, or all that begin with a prefix, durably; asks first
#[derive(Args, Debug)]
#[command(group(ArgGroup::new("what").required(true).args(["key", "prefix"])))]
pub(crate) struct DeleteArgs {
    #[command(flatten)]
    target: Target,
    /// The key
    #[arg(allow_hyphen_values = true)]
    key: Option<OsString>,
    /// Every key that begins so
    #[arg(long, value_name = "P", allow_hyphen_values = true)]
    prefix: Option<OsString>,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    consent: Consent,
}

pub(crate) fn run(args: &DeleteArgs) -> Result<Exit, Failure> {
    let (db, keyspace) = args.target.write()?;
    let deleted = match (&args.key, &args.prefix) {
        (Some(key), _) => delete_key(args, &keyspace, key)?,
        (None, Some(prefix)) => delete_prefix(args, &db, &keyspace, prefix)?,
        (None, None) => return Err(Failure::usage("a key or --prefix is needed")),
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

fn delete_prefix(
    args: &DeleteArgs,
    db: &Db,
    keyspace: &Keyspace,
    prefix: &OsStr,
) -> Result<u64, Failure> {
    let bytes = args.format.bytes;
    let prefix = bytes.parse_argument("--prefix", prefix)?;
    let range = KeyRange::prefix(&prefix);
    let mut count = 0;
    for entry in keyspace.range(range.bounds()) {
        entry?;
        count += 1;
    }
    if count == 0 {
        return Ok(0);
    }
    let records = counted(count, "record", "records");
    args.consent.ask(&format!("Delete {records} beginning with \"{}\"?", bytes.show(&prefix)))?;
    let mut batch = WriteBatch::new();
    // The scan reads one moment, so it does not mind what is deleted behind it.
    for entry in keyspace.range(range.bounds()) {
        let (key, _): (Key, _) = entry?;
        batch.within(keyspace).delete(&key);
        if batch.len() == BATCH_RECORDS {
            db.write(&batch)?;
            batch.clear();
        }
    }
    db.write(&batch)?;
    Ok(count)
}
