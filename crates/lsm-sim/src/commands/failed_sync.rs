//! `lsm-sim failed-sync`: a disk that cannot keep what its file system took.

use lsm_sim::real::failed_sync::FailedSyncs;
use lsm_sim::real::needs;

use crate::commands::skip;

/// Lets real syncs fail under a database, and mends the disk again; needs root on Linux.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many databases lose a sync for good.
    #[arg(long, default_value_t = 5)]
    rounds: u64,
    /// Decides what is written, and when the disk fails.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

pub(crate) fn run(args: &Args) -> Result<(), String> {
    if let Some(missing) = needs::missing() {
        skip(&missing);
    }
    let Args { rounds, seed } = *args;
    let figures = FailedSyncs { rounds, seed }.run()?;
    println!(
        "seed {seed}: {rounds} databases lost a sync; nothing acknowledged as durable was lost"
    );
    println!("{figures}");
    Ok(())
}
