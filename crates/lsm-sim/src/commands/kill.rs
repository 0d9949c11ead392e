//! `lsm-sim kill`: SIGKILL under load; and `lsm-sim load`, the process that is killed.

use std::path::{Path, PathBuf};

use lsm_sim::real::kill::Kills;
use lsm_sim::real::load;
use tempfile::TempDir;

/// Kills a process that writes, and compares what is there with what was acknowledged.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many times.
    #[arg(long, default_value_t = 100)]
    cycles: u64,
    /// Decides what is written and the moments of the kills.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where to put the databases; in memory unless given, for what survives a kill is with the
    /// operating system, and a disk only adds waiting.
    #[arg(long)]
    dir: Option<PathBuf>,
}

pub(crate) fn run(args: Args) -> Result<(), String> {
    let Args { cycles, seed, dir } = args;
    let temporary = in_memory().map_err(|error| error.to_string())?;
    let kills = Kills { cycles, seed, dir: dir.unwrap_or_else(|| temporary.path().to_owned()) };
    let bar = indicatif::ProgressBar::new(cycles);
    let figures = kills.run(|| bar.inc(1)).inspect_err(|_| {
        // What failed is worth a look.
        let _ = temporary.keep();
    })?;
    bar.finish_and_clear();
    println!("seed {seed}: {cycles} kills; nothing acknowledged was lost");
    println!("{figures}");
    Ok(())
}

/// A temporary directory in memory, where the system has such a place.
fn in_memory() -> std::io::Result<TempDir> {
    let memory = Path::new("/dev/shm");
    let mut named = tempfile::Builder::new();
    named.prefix("lsm-sim-kill-");
    if memory.is_dir() { named.tempdir_in(memory) } else { named.tempdir() }
}

/// The process that writes until it is killed.
#[derive(clap::Args)]
pub(crate) struct LoadArgs {
    #[arg(long)]
    dir: PathBuf,
    #[arg(long)]
    seed: u64,
    #[arg(long)]
    setup_seed: u64,
}

pub(crate) fn run_load(args: &LoadArgs) -> Result<(), String> {
    load::run(&args.dir, args.seed, args.setup_seed)
}
