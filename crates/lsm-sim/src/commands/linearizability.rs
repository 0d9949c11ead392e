//! `lsm-sim linearizability`: histories of real threads, given to a checker.

use lsm_sim::linearizability;

/// Records what threads do to one database, and looks for an order that explains every answer.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many histories.
    #[arg(long, default_value_t = 1000)]
    histories: u64,
    /// The first history's seed.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

pub(crate) fn run(args: &Args) -> Result<(), String> {
    let bar = indicatif::ProgressBar::new(args.histories);
    let seeds = args.seed..args.seed + args.histories;
    let figures = linearizability::run(seeds, || bar.inc(1))?;
    bar.finish_and_clear();
    println!("seeds from {}: {} histories, each explained by one order", args.seed, args.histories);
    println!("{figures}");
    Ok(())
}
