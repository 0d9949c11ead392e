//! The writer that the demo starts and kills: the hidden command `demo-writer`.
//!
//! It writes the index from names to code points in the order of the source, several batches in
//! flight, and prints `acked N` once the first N records are durable.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use lsm_engine::{Db, Ticket, WriteBatch};

use super::source::Source;
use super::{INDEX, options};
use crate::exit::{Exit, Failure};
use crate::output::Output;

/// Records a batch: few, so that there are many syncs to be killed between.
pub(super) const GROUP_RECORDS: usize = 8;
/// Batches that are being made durable while the next is made.
const GROUPS_IN_FLIGHT: usize = 4;

#[derive(Args, Debug)]
pub(crate) struct WriterArgs {
    #[arg(long)]
    db: PathBuf,
    #[arg(long)]
    records: usize,
}

pub(crate) fn run(args: &WriterArgs) -> Result<Exit, Failure> {
    let source = Source::first(args.records);
    let db = Db::open_with(&args.db, options())?;
    let index = db.keyspace(INDEX)?;
    let mut out = Output::new();
    let mut in_flight: VecDeque<(Ticket, usize)> = VecDeque::new();
    let mut batch = WriteBatch::new();
    let mut written = 0;
    for group in source.records().chunks(GROUP_RECORDS) {
        batch.clear();
        for record in group {
            batch.within(&index).put(record.name(), record.key());
        }
        written += group.len();
        in_flight.push_back((db.write_async(&batch)?, written));
        if in_flight.len() >= GROUPS_IN_FLIGHT {
            acknowledge(&mut in_flight, &mut out)?;
        }
    }
    while !in_flight.is_empty() {
        acknowledge(&mut in_flight, &mut out)?;
    }
    // It is to be killed, however fast the disk; if the demo itself is gone, there is nothing to
    // wait for.
    let _ = io::copy(&mut io::stdin(), &mut io::sink());
    Ok(Exit::Done)
}

fn acknowledge(in_flight: &mut VecDeque<(Ticket, usize)>, out: &mut Output) -> Result<(), Failure> {
    if let Some((ticket, through)) = in_flight.pop_front() {
        ticket.wait()?;
        writeln!(out, "acked {through}")?;
        out.flush()?;
    }
    Ok(())
}
