//! `lsm scan`: records in key order.

use std::ffi::OsString;
use std::io::{self, Write};

use clap::Args;
use lsm_engine::{Iter, Key, Reads, Result as EngineResult, Value};

use crate::exit::{Exit, Failure};
use crate::format::Format;
use crate::key_range::{BoundArgs, KeyRange};
use crate::output::Output;
use crate::target::Target;

/// Print records in key order
#[derive(Args, Debug)]
pub(crate) struct ScanArgs {
    #[command(flatten)]
    target: Target,
    /// Only keys that begin so
    #[arg(long, value_name = "P", allow_hyphen_values = true)]
    prefix: Option<OsString>,
    #[command(flatten)]
    bounds: BoundArgs,
    /// From the last key to the first
    #[arg(long)]
    reverse: bool,
    /// At most so many records
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Leave the values out
    #[arg(long)]
    keys: bool,
    #[command(flatten)]
    format: Format,
}

pub(crate) fn run(args: &ScanArgs) -> Result<Exit, Failure> {
    let bytes = args.format.bytes;
    let mut range = args.bounds.range(bytes)?;
    if let Some(prefix) = &args.prefix {
        range = range.and(KeyRange::prefix(&bytes.parse_argument("--prefix", prefix)?));
    }
    let (_db, keyspace) = args.target.read()?;
    let mut out = Output::new();
    let mut printed = 0;
    let limit = args.limit.unwrap_or(u64::MAX);
    let mut records = Direction::new(keyspace.range(range.bounds()), args.reverse);
    while printed < limit
        && let Some(record) = records.next()
    {
        let (key, value) = record?;
        print(&mut out, args, &key, &value)?;
        printed += 1;
    }
    out.finish()?;
    Ok(if printed == 0 && limit > 0 { Exit::NotFound } else { Exit::Done })
}

/// An iterator, or the same from its other end.
struct Direction {
    records: Iter,
    is_reverse: bool,
}

impl Direction {
    fn new(records: Iter, is_reverse: bool) -> Self {
        Self { records, is_reverse }
    }

    fn next(&mut self) -> Option<EngineResult<(Key, Value)>> {
        if self.is_reverse { self.records.next_back() } else { self.records.next() }
    }
}

fn print(out: &mut Output, args: &ScanArgs, key: &[u8], value: &[u8]) -> io::Result<()> {
    let bytes = args.format.bytes;
    if args.format.json {
        out.write_all(b"{\"key\":")?;
        bytes.write_json(out, key)?;
        if !args.keys {
            out.write_all(b",\"value\":")?;
            bytes.write_json(out, value)?;
        }
        return out.write_all(b"}\n");
    }
    if args.keys {
        return writeln!(out, "{}", bytes.show(key));
    }
    writeln!(out, "{}\t{}", bytes.show(key), bytes.show(value))
}
