//! `lsm-sim model`: random histories against a map.

use lsm_sim::history::run_caught;
use lsm_sim::jobs::in_parallel;
use lsm_sim::{Coverage, Figures, History, Mix};

/// Random histories against a map: short ones that try everything, or, with `--operations`, long
/// ones that are reopened once in ten thousand operations.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many short histories.
    #[arg(long, default_value_t = 2000)]
    histories: u64,
    /// Operations in each.
    #[arg(long, default_value_t = 200)]
    length: usize,
    /// Run long histories instead, until they have had so many operations together.
    #[arg(long)]
    operations: Option<u64>,
    /// The first history's seed.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Threads.
    #[arg(long, default_value_t = 1)]
    jobs: usize,
}

/// Operations in a long history.
const LONG: usize = 50_000;
/// Operations that must have been run before everything must have been used.
const COVERED_AFTER: u64 = 1_000_000;

pub(crate) fn run(args: &Args) -> Result<(), String> {
    let (mix, length, histories) = match args.operations {
        Some(operations) => (Mix::Long, LONG, operations.div_ceil(LONG as u64)),
        None => (Mix::Short, args.length, args.histories),
    };
    let mut coverage = Coverage::default();
    let bar = indicatif::ProgressBar::new(histories);
    let work = |number| {
        (number < histories).then(|| {
            let history = History::drawn(args.seed + number, mix, length);
            run_caught(&history).map_err(|wrong| failure(&history, &wrong))?;
            Ok::<_, String>(history)
        })
    };
    in_parallel(args.jobs, work, |history| {
        coverage.note(&history);
        bar.inc(1);
    })?;
    bar.finish_and_clear();
    println!("{coverage}");
    if coverage.operations >= COVERED_AFTER && !coverage.below(1).is_empty() {
        return Err(format!("never used: {:?}", coverage.below(1)));
    }
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
