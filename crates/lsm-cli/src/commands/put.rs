//! `lsm put`: writes one record.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::time::Duration;

use clap::Args;
use lsm_engine::{Keyspace, Reads, SeqNo, WriteOptions};
use serde_json::json;

use crate::destination::Destination;
use crate::exit::{Exit, Failure};
use crate::format::{BytesFormat, Format};
use crate::output::Output;
use crate::target::Target;
use crate::units::parse_duration;

/// Set a key to a value, durably; creates database and keyspace if there are none
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
    condition: Condition,
    #[command(flatten)]
    format: Format,
}

/// What has to be there for the write to happen.
#[derive(Args, Debug)]
struct Condition {
    /// Only if the key has no value; else exit 1, and nothing is written
    #[arg(long)]
    if_absent: bool,
    /// Only if the key has this value; else exit 1, and nothing is written
    #[arg(long, value_name = "VALUE", allow_hyphen_values = true, conflicts_with = "if_absent")]
    expect: Option<OsString>,
}

impl Condition {
    /// The value that has to be there, or that none may be; `None`: whatever is there.
    fn expected(&self, format: BytesFormat) -> Result<Option<Option<Vec<u8>>>, Failure> {
        match &self.expect {
            Some(value) => Ok(Some(Some(format.parse_argument("the value expected", value)?))),
            None => Ok(self.if_absent.then_some(None)),
        }
    }
}

/// What came of it.
enum Put {
    Done(SeqNo),
    /// Another value was found, or none.
    Refused {
        found: Option<Vec<u8>>,
    },
}

pub(crate) fn run(args: &PutArgs) -> Result<Exit, Failure> {
    let key = args.format.bytes.parse_argument("the key", &args.key)?;
    let value = read_value(&args.value, args.format.bytes)?;
    let expected = args.condition.expected(args.format.bytes)?;
    let destination = match &expected {
        // Where there is no keyspace there is no such value either.
        Some(Some(_)) => {
            let (db, keyspace) = args.target.write()?;
            Destination::found(db, keyspace)
        }
        _ => args.target.create()?,
    };
    let put = match &expected {
        Some(expected) => put_if(&destination, &key, expected.as_deref(), &value, args.ttl),
        None => put(&destination.keyspace, &key, &value, args.ttl).map(Put::Done),
    };
    let put = destination.close(put)?;
    tell(args, &key, &put)
}

fn put(
    keyspace: &Keyspace,
    key: &[u8],
    value: &[u8],
    ttl: Option<Duration>,
) -> Result<SeqNo, Failure> {
    let options = WriteOptions::default();
    Ok(match ttl {
        Some(ttl) => keyspace.put_ttl_with(key, value, ttl, options)?,
        None => keyspace.put_with(key, value, options)?,
    })
}

/// Writes if the value is `expected`. Like [`Keyspace::put_if`], but tells what it found instead, and
/// takes a time to live.
fn put_if(
    destination: &Destination,
    key: &[u8],
    expected: Option<&[u8]>,
    value: &[u8],
    ttl: Option<Duration>,
) -> Result<Put, Failure> {
    let tx = destination.db.transaction();
    let within = tx.within(&destination.keyspace);
    let found = within.get(key)?;
    if found.as_deref() != expected {
        return Ok(Put::Refused { found: found.map(|found| found.to_vec()) });
    }
    match ttl {
        Some(ttl) => within.put_ttl(key, value, ttl),
        None => within.put(key, value),
    }
    Ok(Put::Done(tx.commit()?))
}

fn tell(args: &PutArgs, key: &[u8], put: &Put) -> Result<Exit, Failure> {
    let format = args.format;
    let key_json = format.bytes.json(key);
    let (told, exit) = match put {
        Put::Done(seq_no) => (json!({ "key": key_json, "seq_no": seq_no }), Exit::Done),
        Put::Refused { found } => {
            let found_json = found.as_ref().map(|found| format.bytes.json(found));
            let key = format.bytes.show(key);
            let why = match found {
                None => "no value",
                Some(_) if args.condition.if_absent => "a value",
                Some(_) => "another value",
            };
            eprintln!("lsm: key \"{key}\" has {why}; nothing was written");
            (json!({ "key": key_json, "seq_no": null, "found": found_json }), Exit::NotFound)
        }
    };
    if format.json {
        let mut out = Output::new();
        out.json(&told)?;
        out.finish()?;
    }
    Ok(exit)
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
