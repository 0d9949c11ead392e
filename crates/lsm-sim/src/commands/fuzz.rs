//! `lsm-sim fuzz`: the kept inputs of every target, and blind changes of them.

use std::time::Duration;

use lsm_sim::Figures;
use lsm_sim::fuzz::{Blind, TARGETS, target};

/// The kept inputs of every fuzz target, and blind changes of them; `cargo xtask fuzz` does better.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only this target; all of them if none is named.
    #[arg(long)]
    target: Option<String>,
    /// Print the targets and where their kept inputs are, and run nothing.
    #[arg(long)]
    list: bool,
    /// For how long each.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Decides the changes.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

pub(crate) fn run(args: &Args) -> Result<(), String> {
    let chosen = match &args.target {
        Some(name) => vec![target(name)?],
        None => TARGETS.iter().collect(),
    };
    if args.list {
        chosen.iter().for_each(|target| println!("{} {}", target.name, target.corpus));
        return Ok(());
    }
    let duration = Duration::from_secs(args.seconds);
    let blind = Blind { changes: u64::MAX, duration, seed: args.seed };
    let mut figures = Figures::default();
    for target in chosen {
        let runs = blind.run(target)?;
        println!("{:<14}{runs:>10} inputs", target.name);
        figures.add(&format!("fuzz.blind.{}", target.name), runs);
    }
    println!("{figures}");
    Ok(())
}
