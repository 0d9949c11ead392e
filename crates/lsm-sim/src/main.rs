//! The command line of the test harnesses: `lsm-sim model`, `crash`, `soak`, `replay`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};
use lsm_sim::crash::{CrashCount, Thoroughness, crash_at_every_step, small_sequences};
use lsm_sim::history::run_caught;
use lsm_sim::soak::{self, Soak};
use lsm_sim::{Coverage, History, amplification};

/// Tests the lsm key-value store against a model, through crashes and kills.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Random histories against a map.
    Model {
        /// How many histories.
        #[arg(long, default_value_t = 2000)]
        histories: u64,
        /// Operations in each.
        #[arg(long, default_value_t = 200)]
        length: usize,
        /// The first history's seed.
        #[arg(long, default_value_t = 0)]
        seed: u64,
    },
    /// Crashes at every I/O call, and in the recovery from each.
    Crash {
        /// How long to go on.
        #[arg(long, default_value_t = 5.0)]
        minutes: f64,
        /// Where to begin.
        #[arg(long, default_value_t = 0)]
        seed: u64,
    },
    /// Runs a kept history.
    Replay {
        /// Its file.
        file: PathBuf,
    },
    /// Loads a real disk under kills and compares what is there with what was acknowledged.
    Soak {
        /// How many entries of 16 + 100 bytes.
        #[arg(long, default_value_t = 20_000_000)]
        entries: u64,
        /// Decides the moments of the kills.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// How many kills.
        #[arg(long, default_value_t = 20)]
        kills: u64,
        /// The engine's memory budget in bytes.
        #[arg(long, default_value_t = 512 << 20)]
        memory_bytes: u64,
        /// Where to put the database; a temporary directory unless given.
        #[arg(long)]
        dir: Option<PathBuf>,
    },
    /// Overwrites entries at random under each policy and prints write and space amplification.
    Amplification {
        /// How many entries of 16 + 100 bytes are loaded, and then overwritten.
        #[arg(long, default_value_t = 5_000_000)]
        entries: u64,
        /// Decides which are overwritten.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    #[command(hide = true)]
    SoakLoader {
        #[arg(long)]
        from: u64,
        #[arg(long)]
        entries: u64,
        #[arg(long)]
        seed: u64,
        #[arg(long)]
        memory_bytes: u64,
        #[arg(long)]
        dir: PathBuf,
    },
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Model { histories, length, seed } => model(histories, length, seed),
        Command::Crash { minutes, seed } => crash(minutes, seed),
        Command::Replay { file } => replay(&file),
        Command::Soak { entries, seed, kills, memory_bytes, dir } => {
            soak(entries, seed, kills, memory_bytes, dir)
        }
        Command::Amplification { entries, seed } => amplification::run(entries, seed),
        Command::SoakLoader { from, entries, seed, memory_bytes, dir } => {
            soak::load(&dir, from, entries, seed, memory_bytes)
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn model(histories: u64, length: usize, first_seed: u64) -> Result<(), String> {
    let mut coverage = Coverage::default();
    let bar = indicatif::ProgressBar::new(histories);
    for seed in first_seed..first_seed + histories {
        let history = History::random(seed, length);
        run_caught(&history).map_err(|wrong| failure(&history, &wrong))?;
        coverage.note(&history);
        bar.inc(1);
    }
    bar.finish_and_clear();
    println!("{coverage}");
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

fn crash(minutes: f64, first_seed: u64) -> Result<(), String> {
    let until = Instant::now() + Duration::from_secs_f64(minutes * 60.0);
    let mut total = CrashCount::default();
    let mut sequences = small_sequences(2).into_iter();
    let mut seed = first_seed;
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
        "seeds {first_seed} to {}: {} I/O calls crashed at, {} images recovered, {} of them in \
         the recovery from a crash; nothing lost",
        seed - 1,
        total.points,
        total.images,
        total.two_level
    );
    Ok(())
}

fn replay(file: &PathBuf) -> Result<(), String> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| format!("could not read {}: {error}", file.display()))?;
    History::parse(&text)?.run()
}

fn soak(
    entries: u64,
    seed: u64,
    kills: u64,
    memory_bytes: u64,
    dir: Option<PathBuf>,
) -> Result<(), String> {
    let temporary = tempfile::tempdir().map_err(|error| error.to_string())?;
    let dir = dir.unwrap_or_else(|| temporary.path().join("soak.db"));
    let report = Soak { entries, seed, kills, memory_bytes, dir }.run()?;
    println!(
        "seed {seed}: {} entries loaded in {:.1} s through {} kills, all compared; peak anonymous \
         memory {:.0} MiB of a budget of {} MiB; tables {:.0} MiB",
        report.compared,
        report.loading.as_secs_f64(),
        report.kills,
        report.peak_anonymous_bytes as f64 / 1048576.0,
        memory_bytes >> 20,
        report.table_bytes as f64 / 1048576.0
    );
    Ok(())
}
