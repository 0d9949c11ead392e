//! `lsm bench`: how fast it is on this machine, with these options.
//!
//! The records are written first, if the workload needs them, and merged until the tree is settled;
//! then the workload runs for its time. To see what a workload does, open `workload.rs`; how it is
//! carried out and timed, `threads.rs`; where the records go, `place.rs`; what is printed, `report.rs`.

use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use lsm_engine::{
    Db, Durability, Keyspace, KeyspaceOptions, MAX_VALUE_BYTES, WriteBatch, WriteOptions,
};
use lsm_workload::{ValueMaker, key_bytes};

use crate::exit::{Exit, Failure};
use crate::progress;
use crate::question::Consent;
use crate::work::Work;

mod place;
mod report;
mod threads;
mod workload;

use place::Place;
use report::Report;
use workload::Workload;

/// Records that are loaded together.
const LOAD_RECORDS: u64 = 1000;
/// They are fewer where values are large.
const LOAD_BYTES: u64 = 1 << 20;
/// Part of each value that can be compressed away.
const COMPRESSIBLE: f32 = 0.5;
/// For how long a workload runs that has no end of its own.
const SECONDS: u64 = 10;

/// Measure this machine: YCSB A to F, or plain writes and reads
#[derive(Args, Debug)]
pub(crate) struct BenchArgs {
    /// What to do
    #[arg(value_enum)]
    workload: Workload,
    /// A new or empty directory for the database, which is kept [default: one among the temporary
    /// files, which is removed at the end]
    #[arg(long, value_name = "DIR")]
    db: Option<PathBuf>,
    /// Use the database that is in DIR: add a keyspace `lsm-bench` to it and touch no other
    #[arg(long, requires = "db")]
    existing: bool,
    /// Records that are there when the workload begins, or that `fill` writes
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    records: u64,
    /// Bytes of each value, half of them compressible; a key has 16
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(0..=MAX_VALUE_BYTES as i64))]
    value_bytes: u32,
    /// Threads that read and write
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: u16,
    /// For how long; `fill` ends when all records are written [default: 10]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: Option<u64>,
    /// When a write is acknowledged, and so what it survives
    #[arg(long, value_enum, default_value_t = Acknowledged::Disk)]
    durability: Acknowledged,
    /// Compression of tables below level 0
    #[arg(long, value_enum, default_value_t = Codec::None)]
    compression: Codec,
    /// Values of N bytes or more lie apart from their keys, in blob files [default: none do]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(64..))]
    blob_threshold: Option<u64>,
    /// Compaction policy: leveled, tiered or lazy-leveled, with options in parentheses as
    /// `keyspaces` prints them [default: the engine's]
    #[arg(long)]
    policy: Option<String>,
    /// Budget for memtables, cache, filters and indexes [default: the engine's]
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u32).range(4..=1 << 20))]
    memory_mib: Option<u32>,
    /// Which random records
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Print the figures as a JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    consent: Consent,
}

/// When a write is acknowledged.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Acknowledged {
    /// Once it is in memory; survives nothing
    Memory,
    /// Once the operating system has it; survives a killed process
    Os,
    /// Once it is on the disk; survives power loss
    Disk,
}

impl From<Acknowledged> for Durability {
    fn from(acknowledged: Acknowledged) -> Self {
        match acknowledged {
            Acknowledged::Memory => Self::Memory,
            Acknowledged::Os => Self::Os,
            Acknowledged::Disk => Self::Disk,
        }
    }
}

impl fmt::Display for Acknowledged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Memory => "memory",
            Self::Os => "os",
            Self::Disk => "disk",
        })
    }
}

/// How tables are compressed.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Codec {
    None,
    Lz4,
    Zstd,
}

impl BenchArgs {
    /// For how long the workload runs; `None`: until all records are written.
    fn limit(&self) -> Option<Duration> {
        let is_endless = self.workload != Workload::Fill;
        is_endless.then(|| Duration::from_secs(self.seconds.unwrap_or(SECONDS)))
    }
}

pub(crate) fn run(args: &BenchArgs) -> Result<Exit, Failure> {
    if args.workload == Workload::Fill && args.seconds.is_some() {
        return Err(Failure::usage(
            "--seconds: fill ends when all records are written; --records says how many",
        ));
    }
    // Before a directory is made: what is typed wrong leaves nothing behind.
    let options = place::keyspace_options(args)?;
    let place = Place::find(args)?;
    let report = measure(args, &place, options);
    let dir = place.stays().then(|| place.dir().to_owned());
    // What was made for this alone goes, whether or not it went well.
    let left = place.leave();
    report?.print(args, dir.as_deref())?;
    left.map(|()| Exit::Done)
}

fn measure(args: &BenchArgs, place: &Place, options: KeyspaceOptions) -> Result<Report, Failure> {
    let (db, keyspace) = place.open(args, options)?;
    let loading = match args.workload {
        Workload::Fill => None,
        _ => Some(load(&db, &keyspace, args)?),
    };
    let before = Work::from(&db.metrics());
    let measured = threads::run(&keyspace, args)?;
    // Flushed and merged before the counters are read, so that they tell all that the writes cost.
    let began = Instant::now();
    db.flush()?;
    db.settle()?;
    let settling = began.elapsed();
    let work = Work::from(&db.metrics()).since(&before);
    let table_bytes =
        keyspace.shape().runs.iter().flat_map(|run| &run.tables).map(|t| t.bytes).sum();
    drop(keyspace);
    db.close()?;
    Ok(Report { loading, measured, settling, work, table_bytes })
}

/// Writes the records, and waits until the tree is settled.
fn load(db: &Db, keyspace: &Keyspace, args: &BenchArgs) -> Result<Duration, Failure> {
    let began = Instant::now();
    let bar = progress::share_bar("loading", args.records);
    let mut values = ValueMaker::new(args.value_bytes as usize, COMPRESSIBLE, args.seed);
    let mut batch = WriteBatch::new();
    let together = (LOAD_BYTES / (u64::from(args.value_bytes) + 16)).clamp(1, LOAD_RECORDS);
    for first in (0..args.records).step_by(together as usize) {
        batch.clear();
        for record in first..(first + together).min(args.records) {
            batch.within(keyspace).put(key_bytes(record), values.next());
        }
        db.write_with(&batch, WriteOptions::durability(Durability::Os))?;
        bar.set_position(first);
    }
    bar.set_message("settling");
    db.flush()?;
    db.settle()?;
    bar.finish_and_clear();
    Ok(began.elapsed())
}
