//! The command line of the test harnesses: one file each in `commands/`.

mod commands;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::commands::{
    amplification, clean, crash, cut, damage, failed_sync, faults, full_disk, fuzz, kill,
    memory_limit, model, replay, soak, worlds,
};

/// Tests the lsm key-value store against a model, through crashes and kills.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Model(model::Args),
    Crash(crash::Args),
    Damage(damage::Args),
    Fuzz(fuzz::Args),
    Faults(faults::Args),
    Worlds(worlds::Args),
    Replay(replay::Args),
    Soak(soak::Args),
    Kill(kill::Args),
    #[cfg(feature = "linearizability")]
    Linearizability(commands::linearizability::Args),
    Cut(cut::Args),
    FullDisk(full_disk::Args),
    FailedSync(failed_sync::Args),
    MemoryLimit(memory_limit::Args),
    /// Removes the mounts, loop devices and files of runs that were killed.
    Clean,
    Amplification(amplification::Args),
    #[command(hide = true)]
    Load(kill::LoadArgs),
    #[command(hide = true)]
    MemoryLoad(memory_limit::LoadArgs),
    #[command(hide = true)]
    SoakLoader(soak::LoaderArgs),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Model(args) => model::run(&args),
        Command::Crash(args) => crash::run(&args),
        Command::Damage(args) => damage::run(&args),
        Command::Fuzz(args) => fuzz::run(&args),
        Command::Faults(args) => faults::run(&args),
        Command::Worlds(args) => worlds::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Soak(args) => soak::run(args),
        #[cfg(feature = "linearizability")]
        Command::Linearizability(args) => commands::linearizability::run(&args),
        Command::Kill(args) => kill::run(args),
        Command::Cut(args) => cut::run(&args),
        Command::FullDisk(args) => full_disk::run(&args),
        Command::FailedSync(args) => failed_sync::run(&args),
        Command::MemoryLimit(args) => memory_limit::run(&args),
        Command::MemoryLoad(args) => memory_limit::run_load(&args),
        Command::Clean => clean::run(),
        Command::Load(args) => kill::run_load(&args),
        Command::Amplification(args) => amplification::run(&args),
        Command::SoakLoader(args) => soak::run_loader(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}
