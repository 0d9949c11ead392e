//! `lsm-sim memory-limit`: a database where there is little memory.

use std::path::PathBuf;

use lsm_sim::real::group::Group;
use lsm_sim::real::memory_limit::{self, MemoryLimit};

use crate::commands::skip;

/// Loads many times what a control group allows of memory, inside of it; needs one that it may make.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// What the group allows, in MiB.
    #[arg(long, default_value_t = 64)]
    limit_mib: u64,
    /// How many times as much is loaded.
    #[arg(long, default_value_t = 20)]
    times: u64,
}

/// The process inside of the group.
#[derive(clap::Args)]
pub(crate) struct LoadArgs {
    #[arg(long)]
    entries: u64,
    #[arg(long)]
    dir: PathBuf,
    #[arg(long)]
    group: PathBuf,
}

pub(crate) fn run(args: &Args) -> Result<(), String> {
    let limit_bytes = args.limit_mib << 20;
    let group = Group::make(limit_bytes).unwrap_or_else(|missing| skip(&missing));
    let figures = MemoryLimit { limit_bytes, times: args.times }.run(&group)?;
    println!("{} times {} MiB, within the budget", args.times, args.limit_mib);
    println!("{figures}");
    Ok(())
}

pub(crate) fn run_load(args: &LoadArgs) -> Result<(), String> {
    memory_limit::load(&args.dir, &args.group, args.entries)
}
