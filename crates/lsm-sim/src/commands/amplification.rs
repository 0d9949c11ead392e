//! `lsm-sim amplification`: what is written and kept for each byte of a user's.

use lsm_sim::amplification;

/// Overwrites entries at random under each policy and prints write and space amplification.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many entries of 16 + 100 bytes are loaded, and then overwritten.
    #[arg(long, default_value_t = 5_000_000)]
    entries: u64,
    /// Decides which are overwritten.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

pub(crate) fn run(args: &Args) -> Result<(), String> {
    amplification::run(args.entries, args.seed)
}
