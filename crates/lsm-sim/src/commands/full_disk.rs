//! `lsm-sim full-disk`: a disk that is really full, and has room again.

use lsm_sim::real::full_disk::FullDisks;
use lsm_sim::real::needs;

use crate::commands::skip;

/// Fills a real tmpfs and a real ext4 under a database, and makes room again; needs root on Linux.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How often each of the two is filled.
    #[arg(long, default_value_t = 10)]
    rounds: u64,
    /// Decides what is written, and how much room is left.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

pub(crate) fn run(args: &Args) -> Result<(), String> {
    if let Some(missing) = needs::missing() {
        skip(&missing);
    }
    let Args { rounds, seed } = *args;
    let figures = FullDisks { rounds, seed }.run()?;
    println!("seed {seed}: {rounds} times full, {rounds} times resumed, on tmpfs and on ext4");
    println!("{figures}");
    Ok(())
}
