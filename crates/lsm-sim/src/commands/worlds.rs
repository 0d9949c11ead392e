//! `lsm-sim worlds`: the same histories in several worlds.

use lsm_sim::jobs::in_parallel;
use lsm_sim::worlds::{check_worlds, history};
use lsm_sim::{Coverage, Figures};

/// The same histories on a simulated disk under several setups, and on the real disk.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many histories.
    #[arg(long, default_value_t = 500)]
    histories: u64,
    /// Operations in each.
    #[arg(long, default_value_t = 150)]
    length: usize,
    /// The first history's seed.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Threads.
    #[arg(long, default_value_t = 1)]
    jobs: usize,
}

pub(crate) fn run(args: &Args) -> Result<(), String> {
    let bar = indicatif::ProgressBar::new(args.histories);
    let mut coverage = Coverage::default();
    let mut worlds = 0;
    let work = |number| {
        (number < args.histories).then(|| {
            let history = history(args.seed + number, args.length);
            let count = check_worlds(&history).map_err(|wrong| {
                let smallest = history.shrink(|candidate| check_worlds(candidate).is_err());
                format!("seed {}: {wrong}\n\nshrunk:\n\n{}", history.seed, smallest.to_text())
            })?;
            Ok::<_, String>((history, count))
        })
    };
    in_parallel(args.jobs, work, |(history, count)| {
        coverage.note(&history);
        worlds += count;
        bar.inc(1);
    })?;
    bar.finish_and_clear();
    println!("{} histories in {worlds} worlds", coverage.histories);
    let mut figures = Figures::default();
    figures.add("worlds.histories", coverage.histories);
    figures.add("worlds.runs", worlds);
    figures.add("worlds.operations", coverage.operations * worlds / coverage.histories.max(1));
    println!("{figures}");
    Ok(())
}
