//! The command line, shared by the program with this store alone and the one with its peers.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use clap::{Args, Parser, Subcommand};

use crate::OURS;
use crate::measure;
use crate::row::{ROWS, Row};
use crate::scale::{Scale, Suite};
use crate::scaling::{SIZES, Scaling};
use crate::store::{Engine, Result};
use crate::suite::Run;

/// The package that has the peers compiled in.
const PEERS_MANIFEST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/Cargo.toml");
/// The engines that `--suite full` compares unless told otherwise.
const FULL_ENGINES: [&str; 7] = ["lsm", "rocksdb", "fjall", "surrealkv", "lmdb", "redb", "limit"];

#[derive(Parser)]
#[command(name = "lsm-bench", about = "Measures the store, and its peers beside it", version)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Measure, print a table for each row, and write figures, charts and a report
    Run(RunArgs),
    /// Print and report the figures of earlier runs again, without measuring
    Report(RunArgs),
    /// Measure what operations of this store cost as it grows; print a table and draw it
    Scaling(ScalingArgs),
    /// List the rows
    Rows,
    /// Measure one row once, in this process (for profilers)
    Measure(OneArgs),
    /// Make the store in which a row begins
    Prepare(OneArgs),
}

#[derive(Args)]
struct RunArgs {
    /// How much to measure
    #[arg(long, value_enum, default_value_t = Suite::Smoke)]
    suite: Suite,
    /// The engines [default: lsm for smoke, all for full]
    #[arg(long, value_delimiter = ',')]
    engines: Vec<String>,
    /// The rows [default: all]
    #[arg(long, value_delimiter = ',')]
    rows: Vec<String>,
    /// How often each is measured
    #[arg(long, default_value_t = 3)]
    repetitions: usize,
    /// Where figures.jsonl, the charts and report.html go
    #[arg(long, default_value = "target/lsm-bench")]
    out: PathBuf,
    /// Keep the figures of the same scale that are there, and measure what is missing
    #[arg(long)]
    resume: bool,
    /// Make stores below this directory [default: the system's temporary one]
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Entries in the store [default: 350,000 for smoke, 5,000,000 for full]
    #[arg(long)]
    entries: Option<u64>,
    /// How long a row without a fixed number of operations is measured
    #[arg(long)]
    seconds: Option<f64>,
    /// Length of a value [default: 100]
    #[arg(long)]
    value_bytes: Option<usize>,
    /// Size of a memtable [default: 8 for smoke, 64 for full]
    #[arg(long)]
    memtable_mib: Option<u64>,
    /// Size of the cache [default: 32 for smoke, 256 for full]
    #[arg(long)]
    cache_mib: Option<u64>,
    /// Compress with lz4 below level 0, where the engine can
    #[arg(long)]
    lz4: bool,
    /// Acknowledge writes from the process's memory, in rows that are not about durability
    #[arg(long)]
    in_memory: bool,
}

#[derive(Args)]
struct ScalingArgs {
    /// Entries in the store, one size after the other [default: 1 million to 100 million]
    #[arg(long, value_delimiter = ',')]
    sizes: Vec<u64>,
    /// How often a row is measured that only reads
    #[arg(long, default_value_t = 3)]
    repetitions: usize,
    /// Where figures, table and chart go
    #[arg(long, default_value = "target/lsm-bench")]
    out: PathBuf,
    /// Make stores below this directory [default: the system's temporary one]
    #[arg(long)]
    dir: Option<PathBuf>,
}

#[derive(Args)]
struct OneArgs {
    #[arg(long)]
    engine: String,
    #[arg(long)]
    row: String,
    /// The directory of the store
    #[arg(long)]
    path: PathBuf,
    #[command(flatten)]
    scale: Scale,
}

/// Runs the command line with these engines compiled in.
pub fn main_with(engines: &[Engine]) -> ExitCode {
    match carry_out(Cli::parse().task, engines) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn carry_out(task: Task, engines: &[Engine]) -> Result<bool> {
    match task {
        Task::Run(args) => run(args, engines, false),
        Task::Report(args) => run(args, engines, true),
        Task::Scaling(args) => scaling(args).map(|()| true),
        Task::Rows => {
            ROWS.iter().for_each(|row| println!("{:<11} {}", row.name, row.about));
            Ok(true)
        }
        Task::Measure(one) => {
            let (engine, row) = (engine(engines, &one.engine)?, row(&one.row)?);
            println!("{}", measure::measure(engine, row, &one.scale, &one.path)?);
            Ok(true)
        }
        Task::Prepare(one) => {
            let (engine, row) = (engine(engines, &one.engine)?, row(&one.row)?);
            measure::prepare(engine, row, &one.scale, &one.path)?;
            Ok(true)
        }
    }
}

fn run(args: RunArgs, engines: &[Engine], only_reports: bool) -> Result<bool> {
    let wanted: Vec<String> = match (args.engines.is_empty(), args.suite) {
        // What was measured says by what.
        _ if only_reports => vec!["lsm".to_owned()],
        (false, _) => args.engines,
        (true, Suite::Smoke) => vec!["lsm".to_owned()],
        (true, Suite::Full) => FULL_ENGINES.map(str::to_owned).to_vec(),
    };
    let is_here = |name: &String| engines.iter().any(|engine| engine.name == *name);
    if !wanted.iter().all(is_here) && engines.len() == OURS.len() {
        return with_peers(&wanted);
    }
    let mut scale = Scale::of(args.suite);
    scale.entries = args.entries.unwrap_or(scale.entries).max(1);
    scale.seconds = args.seconds.unwrap_or(scale.seconds);
    scale.value_bytes = args.value_bytes.unwrap_or(scale.value_bytes);
    scale.memtable_mib = args.memtable_mib.unwrap_or(scale.memtable_mib);
    scale.cache_mib = args.cache_mib.unwrap_or(scale.cache_mib);
    (scale.lz4, scale.in_memory) = (args.lz4, args.in_memory);
    let rows = if args.rows.is_empty() {
        ROWS.iter().collect()
    } else {
        args.rows.iter().map(|name| row(name)).collect::<Result<_>>()?
    };
    let run = Run {
        engines: wanted.iter().map(|name| engine(engines, name)).collect::<Result<_>>()?,
        rows,
        scale,
        repetitions: args.repetitions.max(1),
        dir: own_dir(args.dir),
        out: args.out,
        resumes: args.resume || only_reports,
        only_reports,
    };
    run.carry_out()
}

fn scaling(args: ScalingArgs) -> Result<()> {
    let dir = own_dir(args.dir);
    let scaling = Scaling {
        engine: engine(&OURS, "lsm")?,
        sizes: if args.sizes.is_empty() { SIZES.to_vec() } else { args.sizes },
        scale: Scale::of(Suite::Full),
        repetitions: args.repetitions.max(1),
        dir: dir.clone(),
        out: args.out,
    };
    let carried_out = scaling.carry_out();
    std::fs::remove_dir_all(dir)?;
    carried_out
}

/// A directory of this run's own, since it is removed at the end.
fn own_dir(parent: Option<PathBuf>) -> PathBuf {
    let parent = parent.unwrap_or_else(std::env::temp_dir);
    parent.join(format!("lsm-bench-{}", std::process::id()))
}

/// Hands over to the program with the peers compiled in, with the same words.
fn with_peers(wanted: &[String]) -> Result<bool> {
    let is_ours = |name: &&str| OURS.iter().any(|engine| engine.name == *name);
    let features: Vec<&str> = wanted.iter().map(String::as_str).filter(|n| !is_ours(n)).collect();
    let status = Command::new("cargo")
        .args(["run", "--release", "--no-default-features", "--manifest-path", PEERS_MANIFEST])
        .args(["--features", &features.join(","), "--"])
        .args(std::env::args_os().skip(1))
        .status()?;
    Ok(status.success())
}

fn engine<'a>(engines: &'a [Engine], name: &str) -> Result<&'a Engine> {
    let known = || engines.iter().map(|engine| engine.name).collect::<Vec<_>>().join(", ");
    let found = engines.iter().find(|engine| engine.name == name);
    found.ok_or_else(|| format!("there is no engine {name}; there are {}", known()).into())
}

fn row(name: &str) -> Result<&'static Row> {
    Row::named(name).ok_or_else(|| format!("there is no row {name}; `rows` lists them").into())
}
