//! `lsm-sim crash`: a crash at every I/O call, and in the recovery from each.

use std::time::{Duration, Instant};

use lsm_sim::crash::{CrashCount, Thoroughness, crash_at_every_step, small_sequences};
use lsm_sim::{Figures, History};

/// Crashes at every I/O call, and in the recovery from each.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How long to go on.
    #[arg(long, default_value_t = 5.0)]
    minutes: f64,
    /// Where to begin.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

pub(crate) fn run(args: &Args) -> Result<(), String> {
    let until = Instant::now() + Duration::from_secs_f64(args.minutes * 60.0);
    let mut total = CrashCount::default();
    let mut sequences = small_sequences(2).into_iter();
    let mut seed = args.seed;
    // Short sequences whole, with the recovery crashed as well; then long ones until time is up.
    while Instant::now() < until {
        let (history, how) = match sequences.next() {
            Some(ops) => {
                let history = History { ops, ..History::random(seed, 0) };
                (history, Thoroughness { stride: 1, recovery_stride: Some(1) })
            }
            None => {
                let how = Thoroughness { stride: 3, recovery_stride: Some(7) };
                (History::random(seed, 60), how)
            }
        };
        seed += 1;
        total += crash_at_every_step(&history, how)
            .map_err(|wrong| format!("{wrong}\n\n{}", history.to_text()))?;
    }
    println!(
        "seeds {} to {}: {} I/O calls crashed at, {} images recovered, {} of them in the recovery \
         from a crash; nothing lost",
        args.seed,
        seed - 1,
        total.points,
        total.images,
        total.two_level
    );
    let mut figures = Figures::default();
    figures.add("crash.points", total.points);
    figures.add("crash.images", total.images);
    figures.add("crash.two_level", total.two_level);
    println!("{figures}");
    Ok(())
}
