//! `lsm load`: reads records from a file or standard input.
//!
//! Records go into groups, in their order, and each group is one batch. While groups are synced, the
//! next is read; another thread waits for them and acknowledges. Since the log keeps the order, what
//! a load that is cut off leaves is a prefix of its input all the same.
//!
//! A group ends when it is full, and also when the input has nothing more ready: whoever sends a few
//! records and waits for their acknowledgement gets it.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::ProgressBar;
use lsm_engine::{Db, IngestReport, Keyspace, Ticket, WriteBatch};
use serde_json::json;

use crate::commands::ingest;
use crate::destination::Destination;
use crate::exit::{Exit, Failure};
use crate::format::BytesFormat;
use crate::output::Output;
use crate::progress;
use crate::records::{LineFormat, Record, RecordError, RecordReader};
use crate::target::Target;
use crate::units::{bytes, count, counted, duration, rate};
use crate::work::Work;

/// Where records come from.
type Input = BufReader<Box<dyn Read>>;

/// Groups that are being made durable while the next is read.
const GROUPS_IN_FLIGHT: usize = 4;
/// A group of large records ends when it has so many bytes.
const GROUP_BYTES_MAX: usize = 4 << 20;
/// How often the progress bar hears of progress.
const PROGRESS_RECORDS: u64 = 256;

/// Read records from a file, or from standard input, in order and durably
#[derive(Args, Debug)]
pub(crate) struct LoadArgs {
    #[command(flatten)]
    target: Target,
    /// The file; `-` is standard input
    file: PathBuf,
    /// What a line is [default: jsonl for files ending in .jsonl or .ndjson, else tsv]
    #[arg(long)]
    format: Option<LineFormat>,
    /// Print `acked N`, and nothing else, each time the first N records have become durable
    #[arg(long, conflicts_with = "json")]
    ack: bool,
    /// Records that become durable together
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,
    /// The records are in key order, each key once: they become tables at once, all or none
    #[arg(long, conflicts_with_all = ["ack", "batch"])]
    sorted: bool,
    /// Print what was done as a JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    bytes: BytesFormat,
}

pub(crate) fn run(args: &LoadArgs) -> Result<Exit, Failure> {
    // The input comes first: a mistyped name should leave no empty database behind.
    let (input, bytes_total) = open_input(&args.file)?;
    let reader = RecordReader::new(input, args.line_format(), args.bytes);
    let began = Instant::now();
    let mut destination = args.target.create()?;
    let bar = progress::bar("loading", bytes_total);
    if args.sorted {
        let report = load_sorted(reader, &destination.keyspace, args, &bar);
        bar.finish_and_clear();
        let report = destination.close(report.map_err(|failure| failure.adding(loaded(0))))?;
        report_sorted(args, &report, began.elapsed())?;
        return Ok(Exit::Done);
    }
    let durable = AtomicU64::new(0);
    let (outcome, written) = thread::scope(|scope| {
        let (tickets, receiver) = sync_channel(GROUPS_IN_FLIGHT);
        let acknowledger = scope.spawn(|| acknowledge(receiver, args.ack, &durable));
        let batch = WriteBatch::new();
        let Destination { db, keyspace, .. } = &destination;
        let mut loader = Loader { db, keyspace, batch, tickets, records: 0, written: 0 };
        let outcome = loader.load(reader, args, &bar);
        let written = loader.written;
        // The acknowledger ends when nobody can send it tickets any more.
        drop(loader);
        let acknowledged = acknowledger.join().expect("the acknowledger does not panic");
        (acknowledged.and(outcome), written)
    });
    bar.finish_and_clear();
    if written > 0 {
        destination.keep();
    }
    let outcome = outcome
        .map_err(|failure| failure.adding(loaded(durable.load(Ordering::Acquire))))
        // Flushed before the counters are read, so that they tell all that the records cost.
        .and_then(|()| Ok(destination.db.flush()?))
        .map(|()| Work::from(&destination.db.metrics()));
    let work = destination.close(outcome)?;
    report(args, written, &work, began.elapsed())?;
    Ok(Exit::Done)
}

impl LoadArgs {
    fn line_format(&self) -> LineFormat {
        let extension = self.file.extension().and_then(|extension| extension.to_str());
        let of_file = match extension {
            Some("jsonl" | "ndjson") => LineFormat::Jsonl,
            _ => LineFormat::Tsv,
        };
        self.format.unwrap_or(of_file)
    }

    /// Why there is no next record.
    fn unread(&self, error: RecordError) -> Failure {
        match error {
            RecordError::Read(error) => Failure::io("read", &self.file, &error),
            RecordError::Line(reason) => {
                Failure::usage(format!("{}, {reason}", self.file.display()))
            }
        }
    }
}

fn open_input(path: &Path) -> Result<(Input, Option<u64>), Failure> {
    const BUFFER_BYTES: usize = 256 << 10;
    if path == Path::new("-") {
        return Ok((BufReader::with_capacity(BUFFER_BYTES, Box::new(io::stdin())), None));
    }
    let file = File::open(path).map_err(|error| Failure::input(path, &error))?;
    let metadata = file.metadata().map_err(|error| Failure::input(path, &error))?;
    if metadata.is_dir() {
        let path = path.display();
        return Err(Failure::usage(format!("{path} is a directory; a file or - is accepted")));
    }
    let bytes_total = metadata.is_file().then_some(metadata.len());
    Ok((BufReader::with_capacity(BUFFER_BYTES, Box::new(file)), bytes_total))
}

/// Turns records, which must be in key order, into tables.
fn load_sorted(
    mut reader: RecordReader<Input>,
    keyspace: &Keyspace,
    args: &LoadArgs,
    bar: &ProgressBar,
) -> Result<IngestReport, Failure> {
    let mut load = keyspace.bulk_load()?;
    let mut records = 0_u64;
    while let Some((key, value)) = reader.next().map_err(|error| args.unread(error))? {
        load.put(key, value)?;
        records += 1;
        if records.is_multiple_of(PROGRESS_RECORDS) {
            bar.set_position(reader.bytes_read());
            bar.set_message(counted(records, "record", "records"));
        }
    }
    Ok(load.finish()?)
}

fn report_sorted(args: &LoadArgs, report: &IngestReport, elapsed: Duration) -> Result<(), Failure> {
    if args.json {
        let mut out = Output::new();
        out.json(&ingest::told(report))?;
        return out.finish();
    }
    let mut out = io::stderr().lock();
    let records = counted(report.entries, "record", "records");
    writeln!(out, "loaded {records}: {} a second", count(rate(report.entries, elapsed)))?;
    ingest::print(&mut out, report)
}

fn loaded(records: u64) -> String {
    match records {
        0 => "no record was loaded".into(),
        1 => "the first record is loaded".into(),
        _ => format!("the first {} records are loaded", count(records)),
    }
}

/// A group on its way to the disk, and the number of records through it.
type InFlight = (Ticket, u64);

/// Carries records into a keyspace, in their order.
struct Loader<'a> {
    db: &'a Db,
    keyspace: &'a Keyspace,
    /// The group that is being filled.
    batch: WriteBatch,
    tickets: SyncSender<InFlight>,
    /// Records read so far.
    records: u64,
    /// Of these, those that were sent on their way.
    written: u64,
}

impl Loader<'_> {
    fn load(
        &mut self,
        mut reader: RecordReader<Input>,
        args: &LoadArgs,
        bar: &ProgressBar,
    ) -> Result<(), Failure> {
        let outcome = loop {
            match reader.next() {
                Ok(Some(record)) => self.add(&record, args.batch as usize)?,
                Ok(None) => break Ok(()),
                Err(error) => break Err(args.unread(error)),
            }
            if reader.input().buffer().is_empty() {
                self.submit()?;
            }
            if self.records.is_multiple_of(PROGRESS_RECORDS) {
                bar.set_position(reader.bytes_read());
                bar.set_message(counted(self.records, "record", "records"));
            }
        };
        // What stands before a line that is no record is loaded, too.
        self.submit()?;
        outcome
    }

    fn add(&mut self, (key, value): &Record, group_records: usize) -> Result<(), Failure> {
        if self.batch.encoded_bytes() + key.len() + value.len() > GROUP_BYTES_MAX {
            self.submit()?;
        }
        self.batch.within(self.keyspace).put(key, value);
        self.records += 1;
        if self.batch.len() >= group_records { self.submit() } else { Ok(()) }
    }

    /// Sends the group on its way.
    fn submit(&mut self) -> Result<(), Failure> {
        if !self.batch.is_empty() {
            let ticket = self.db.write_async(&self.batch)?;
            self.written = self.records;
            // Fails if the acknowledger has given up; what it says then is what is reported.
            let gone = |_| Failure::new(Exit::Io, "the load was given up");
            self.tickets.send((ticket, self.records)).map_err(gone)?;
            self.batch.clear();
        }
        Ok(())
    }
}

/// Waits for each group to become durable and, if asked to, says so.
#[allow(clippy::needless_pass_by_value)] // Dropped at the end, it tells the sender to give up.
fn acknowledge(
    tickets: Receiver<InFlight>,
    is_told: bool,
    durable: &AtomicU64,
) -> Result<(), Failure> {
    let mut out = is_told.then(Output::new);
    for (ticket, through) in tickets {
        ticket.wait()?;
        durable.store(through, Ordering::Release);
        if let Some(out) = &mut out {
            // Not the quiet end of `lsm scan | head`: whoever relies on acknowledgements must not
            // take silence for success.
            let told = writeln!(out, "acked {through}").and_then(|()| out.flush());
            told.map_err(|error| {
                Failure::new(Exit::Io, format!("could not print an acknowledgement: {error}"))
            })?;
        }
    }
    Ok(())
}

fn report(args: &LoadArgs, records: u64, work: &Work, elapsed: Duration) -> Result<(), Failure> {
    if args.json {
        let mut out = Output::new();
        out.json(&json!({
            "records": records,
            "elapsed_ms": u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
            "work": work.json(),
        }))?;
        return out.finish();
    }
    let mut out = io::stderr().lock();
    writeln!(
        out,
        "loaded {} ({}) in {}: {} a second",
        counted(records, "record", "records"),
        bytes(work.user_bytes),
        duration(elapsed),
        count(rate(records, elapsed)),
    )?;
    work.print(&mut out, 2)?;
    Ok(())
}
