//! `lsm-sim damage`: every bit, every length, and whatever else can befall a file.

use lsm_sim::Figures;
use lsm_sim::damage::{Sweep, Tally, specimens};

/// Every kind of damage to every kind of file.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only this kind of file; all of them if none is named.
    #[arg(long)]
    kind: Option<String>,
    /// Flip every n-th bit, cut at every n-th length, move every n-th piece only.
    #[arg(long, default_value_t = 1)]
    stride: usize,
    /// Threads.
    #[arg(long, default_value_t = 1)]
    jobs: usize,
}

pub(crate) fn run(args: &Args) -> Result<(), String> {
    let mut specimens = specimens();
    if let Some(kind) = &args.kind {
        let known: Vec<&str> = specimens.iter().map(|specimen| specimen.kind).collect();
        let unknown = format!("there is no kind \"{kind}\"; there are {}", known.join(", "));
        specimens.retain(|specimen| specimen.kind == kind);
        if specimens.is_empty() {
            return Err(unknown);
        }
    }
    let sweep = Sweep { stride: args.stride, jobs: args.jobs };
    let mut figures = Figures::default();
    let mut failures = Vec::new();
    println!("{}", Tally::HEADING);
    for specimen in &specimens {
        let tally = sweep.run(specimen);
        println!("{tally}");
        tally.add_to(&mut figures);
        failures.extend(tally.failures);
    }
    if !failures.is_empty() {
        let again = "run the same command with --kind to see one kind alone";
        return Err(format!("{}\n{again}", failures.join("\n")));
    }
    let tried = figures.count("damage.right") + figures.count("damage.cut");
    let tried = tried + figures.count("damage.typed");
    println!("{tried} of {tried} answered right, cut as reported, or refused by name");
    println!("{figures}");
    Ok(())
}
