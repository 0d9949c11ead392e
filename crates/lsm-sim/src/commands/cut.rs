//! `lsm-sim cut`: real power cuts, on ext4 over a loop device.

use lsm_sim::real::cut::Cuts;
use lsm_sim::real::needs;

use crate::commands::skip;

/// Cuts a real file system off from its disk under load, and compares what is there with what was
/// acknowledged; needs root on Linux.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many times.
    #[arg(long, default_value_t = 200)]
    cuts: u64,
    /// Decides what is written and the moments of the cuts.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

pub(crate) fn run(args: &Args) -> Result<(), String> {
    if let Some(missing) = needs::missing() {
        skip(&missing);
    }
    let Args { cuts, seed } = *args;
    let bar = indicatif::ProgressBar::new(cuts);
    let figures = Cuts { cuts, seed }.run(|| bar.inc(1))?;
    bar.finish_and_clear();
    println!("seed {seed}: {cuts} power cuts; nothing acknowledged as durable was lost");
    println!("{figures}");
    Ok(())
}
