//! `lsm-sim faults`: every I/O call fails in turn, in every way in which calls fail.

use std::time::{Duration, Instant};

use lsm_sim::faults::{FaultCount, WAYS, fail_every_call};
use lsm_sim::{Figures, History};

/// Makes every I/O call fail in turn, in every way in which calls fail.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How long to go on.
    #[arg(long, default_value_t = 2.0)]
    minutes: f64,
    /// The first history's seed.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Operations in each history.
    #[arg(long, default_value_t = 60)]
    length: usize,
    /// Let every n-th call fail only.
    #[arg(long, default_value_t = 1)]
    stride: u64,
}

pub(crate) fn run(args: &Args) -> Result<(), String> {
    let until = Instant::now() + Duration::from_secs_f64(args.minutes * 60.0);
    let mut total = FaultCount::default();
    let mut seed = args.seed;
    while Instant::now() < until {
        let history = History::random(seed, args.length);
        for way in WAYS.iter().take_while(|_| Instant::now() < until) {
            total += fail_every_call(&history, *way, args.stride).map_err(|wrong| {
                format!("seed {seed}, {} operations: {wrong}\n\n{}", args.length, history.to_text())
            })?;
        }
        seed += 1;
    }
    println!(
        "seeds {} to {}: {} calls failed, {} power cuts recovered from, {} times a sync failed for \
         good, {} times it went on by itself; nothing lost, no wrong answer",
        args.seed,
        seed - 1,
        total.points,
        total.images,
        total.poisoned,
        total.healed
    );
    let mut figures = Figures::default();
    figures.add("faults.points", total.points);
    figures.add("faults.images", total.images);
    figures.add("faults.poisoned", total.poisoned);
    figures.add("faults.healed", total.healed);
    for never in ["hangs", "panics", "wrong"] {
        figures.add(never, 0);
    }
    println!("{figures}");
    Ok(())
}
