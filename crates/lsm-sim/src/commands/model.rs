//! `lsm-sim model`: random histories against a map.

use lsm_sim::history::run_caught;
use lsm_sim::{Coverage, Figures, History};

/// Random histories against a map.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many histories.
    #[arg(long, default_value_t = 2000)]
    histories: u64,
    /// Operations in each.
    #[arg(long, default_value_t = 200)]
    length: usize,
    /// The first history's seed.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

pub(crate) fn run(args: &Args) -> Result<(), String> {
    let mut coverage = Coverage::default();
    let bar = indicatif::ProgressBar::new(args.histories);
    for seed in args.seed..args.seed + args.histories {
        let history = History::random(seed, args.length);
        run_caught(&history).map_err(|wrong| failure(&history, &wrong))?;
        coverage.note(&history);
        bar.inc(1);
    }
    bar.finish_and_clear();
    println!("{coverage}");
    let mut figures = Figures::default();
    figures.add("model.histories", coverage.histories);
    figures.add("model.operations", coverage.operations);
    println!("{figures}");
    Ok(())
}

/// What to print of a history that failed: its seed, and the least of it that still fails.
fn failure(history: &History, wrong: &str) -> String {
    let smallest = history.shrink(|candidate| run_caught(candidate).is_err());
    let wrong_at_last = run_caught(&smallest).err().unwrap_or_default();
    format!(
        "seed {}: {wrong}\n\nshrunk to {} operations ({wrong_at_last}):\n\n{}",
        history.seed,
        smallest.ops.len(),
        smallest.to_text()
    )
}
