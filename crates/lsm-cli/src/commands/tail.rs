//! `lsm tail`: what was written, batch by batch, also while another process writes.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use lsm_engine::{Change, ChangeKind, Error};

use crate::exit::{Exit, Failure};
use crate::format::BytesFormat;
use crate::output::Output;
use crate::target::open_read_only;

/// How long one wait for the next change is.
const PATIENCE: Duration = Duration::from_secs(1);

/// Print what was written, one line of JSON for each change, as far back as the log goes
#[derive(Args, Debug)]
pub(crate) struct TailArgs {
    /// The database's directory
    #[arg(long, value_name = "DIR")]
    db: PathBuf,
    /// Begin behind this sequence number: `last` of the last change that was seen
    #[arg(long, value_name = "N", default_value_t = 0)]
    since: u64,
    /// Go on with what is being written, until interrupted
    #[arg(long)]
    follow: bool,
    #[command(flatten)]
    bytes: BytesFormat,
}

pub(crate) fn run(args: &TailArgs) -> Result<Exit, Failure> {
    let db = open_read_only(&args.db)?;
    let mut changes = db.changes(args.since).map_err(naming_the_beginning)?;
    let mut out = Output::new();
    loop {
        match changes.next_within(Duration::ZERO).map_err(naming_the_beginning)? {
            Some(change) => print(&mut out, args.bytes, &change)?,
            None if !args.follow => break,
            None => {
                out.flush()?;
                let next = changes.next_within(PATIENCE).map_err(naming_the_beginning)?;
                if let Some(change) = next {
                    print(&mut out, args.bytes, &change)?;
                }
            }
        }
    }
    out.finish()?;
    Ok(Exit::Done)
}

/// Of changes that are gone, says from where on there are some.
fn naming_the_beginning(error: Error) -> Failure {
    let oldest = error.oldest_change();
    let failure = Failure::from(error);
    match oldest {
        Some(oldest) => {
            failure.adding(format!("--since {} begins there", oldest.saturating_sub(1)))
        }
        None => failure,
    }
}

fn print(out: &mut impl Write, bytes: BytesFormat, change: &Change) -> io::Result<()> {
    let Change { first_seq_no, last_seq_no, .. } = change;
    write!(out, "{{\"first\":{first_seq_no},\"last\":{last_seq_no},\"entries\":[")?;
    for (index, entry) in change.entries.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        write!(out, "{comma}{{\"keyspace\":")?;
        serde_json::to_writer(&mut *out, &*entry.keyspace)?;
        print_kind(out, bytes, &entry.kind)?;
        write!(out, "}}")?;
    }
    writeln!(out, "]}}")
}

fn print_kind(out: &mut impl Write, bytes: BytesFormat, kind: &ChangeKind) -> io::Result<()> {
    let mut fields = |kind: &str, fields: &[(&str, &[u8])]| -> io::Result<()> {
        write!(out, ",\"kind\":\"{kind}\"")?;
        for (name, field) in fields {
            write!(out, ",\"{name}\":")?;
            bytes.write_json(out, field)?;
        }
        Ok(())
    };
    match kind {
        ChangeKind::Put { key, value, expires_at_ms } => {
            fields("put", &[("key", key), ("value", value)])?;
            expires_at_ms.map_or(Ok(()), |ms| write!(out, ",\"expires_at_ms\":{ms}"))
        }
        ChangeKind::Delete { key } => fields("delete", &[("key", key)]),
        ChangeKind::DeleteRange { lower, upper } => {
            fields("delete_range", &[("lower", lower), ("upper", upper)])
        }
        ChangeKind::Merge { key, operand } => {
            fields("merge", &[("key", key), ("operand", operand)])
        }
        ChangeKind::Ingest { lower, upper, entries } => {
            fields("ingest", &[("lower", lower), ("upper", upper)])?;
            write!(out, ",\"entries\":{entries}")
        }
        _ => fields("other", &[]),
    }
}
