//! `lsm-sim soak`: a real disk loaded under kills; and the loader that is killed.

use std::path::PathBuf;

use lsm_sim::soak::{self, Soak};

/// Loads a real disk under kills and compares what is there with what was acknowledged.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many entries of 16 + 100 bytes.
    #[arg(long, default_value_t = 20_000_000)]
    entries: u64,
    /// Decides the moments of the kills.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many kills.
    #[arg(long, default_value_t = 20)]
    kills: u64,
    /// The engine's memory budget in bytes.
    #[arg(long, default_value_t = 512 << 20)]
    memory_bytes: u64,
    /// Where to put the database; a temporary directory unless given.
    #[arg(long)]
    dir: Option<PathBuf>,
}

pub(crate) fn run(args: Args) -> Result<(), String> {
    let Args { entries, seed, kills, memory_bytes, dir } = args;
    let temporary = tempfile::tempdir().map_err(|error| error.to_string())?;
    let dir = dir.unwrap_or_else(|| temporary.path().join("soak.db"));
    let report = Soak { entries, seed, kills, memory_bytes, dir }.run()?;
    println!(
        "seed {seed}: {} entries loaded in {:.1} s through {} kills, all compared; peak anonymous \
         memory {:.0} MiB of a budget of {} MiB; tables {:.0} MiB",
        report.compared,
        report.loading.as_secs_f64(),
        report.kills,
        report.peak_anonymous_bytes as f64 / 1048576.0,
        memory_bytes >> 20,
        report.table_bytes as f64 / 1048576.0
    );
    Ok(())
}

/// The process that loads, and is killed.
#[derive(clap::Args)]
pub(crate) struct LoaderArgs {
    #[arg(long)]
    from: u64,
    #[arg(long)]
    entries: u64,
    #[arg(long)]
    seed: u64,
    #[arg(long)]
    memory_bytes: u64,
    #[arg(long)]
    dir: PathBuf,
}

pub(crate) fn run_loader(args: &LoaderArgs) -> Result<(), String> {
    soak::load(&args.dir, args.from, args.entries, args.seed, args.memory_bytes)
}
