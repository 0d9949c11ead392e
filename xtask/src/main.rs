//! The tasks of this workspace, one command each: `cargo xtask help` lists them.
//!
//! What a machine can check about this repository is checked here, so that nobody has to remember
//! it. To see which steps make up a task, open `suites.rs`; how a step is timed, reported and
//! rerun, `step.rs`. Each rule about the source tree has a file of its own: `layers.rs`,
//! `dependencies.rs`, `unsafe_files.rs`, `std_fs.rs`, `words.rs`, `links.rs`,
//! `commands.rs`; `checks.rs` lists
//! them. What is handed on to other programs (soak, benchmarks) is in `dispatch.rs`; the
//! long runs of every harness, and the figures that come of them, in `torture.rs`; the bugs that the
//! checks must notice, in `planted.rs`; how many instructions an operation takes, in
//! `instructions.rs`; what of others several build directories share, in `seed.rs`.

mod alone;
mod checks;
mod code;
mod commands;
mod dependencies;
mod dispatch;
mod examples;
mod fuzz;
mod instructions;
mod invocation;
mod layers;
mod links;
mod loom;
mod packages;
mod planted;
mod sanitize;
mod seed;
mod std_fs;
mod step;
mod suites;
mod torture;
mod tree;
mod turn;
mod unsafe_files;
mod words;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

/// What can go wrong in a task; the message is all that anybody needs of it.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

#[derive(Parser)]
#[command(name = "xtask", bin_name = "cargo xtask", about = "The tasks of this workspace", version)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Check everything that a change must keep true: rules, format, lints, docs, tests, examples
    Test {
        /// Run the remaining steps after one has failed
        #[arg(long)]
        keep_going: bool,
    },
    /// The same and the slower checks: what .ci/run calls
    Ci {
        /// Run the remaining steps after one has failed
        #[arg(long)]
        keep_going: bool,
        /// Minutes that the crash smoke may take, on two threads
        #[arg(long, value_name = "N", default_value_t = 3)]
        crash_minutes: u32,
        /// Random histories that the engine is compared with the model over
        #[arg(long, value_name = "N", default_value_t = 2_000)]
        histories: u64,
        /// Seed of the crash smoke and of the histories
        #[arg(long, value_name = "S", default_value_t = 1)]
        seed: u64,
    },
    /// Check the rules about the source tree alone, in a second
    Check {
        /// The rules to check; all of them if none is named
        #[arg(value_name = "RULE")]
        rules: Vec<String>,
    },
    /// Load, kill at random moments, read back and compare, for as long as the entries last
    Soak {
        /// Entries to load, 116 bytes each
        #[arg(long, value_name = "N")]
        entries: u64,
        /// Seed of the workload and of the moments; drawn and printed if absent
        #[arg(long, value_name = "S")]
        seed: Option<u64>,
    },
    /// Run every harness until its goal is reached, over as many runs as it takes; or report
    Torture(torture::Arguments),
    /// Measure: `smoke` in minutes, `full` and `scaling` for the figures in the docs
    Bench {
        /// How much to measure
        suite: BenchSuite,
        /// Further arguments for the benchmark program, after `--`
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// Count the instructions of single operations and compare them with those on record
    Instructions(instructions::Arguments),
    /// Run the examples of every crate, or those whose names are given
    Examples {
        /// The examples to run; all of them if none is named
        #[arg(value_name = "EXAMPLE")]
        names: Vec<String>,
    },
    /// Compile and run the Rust in README.md and in docs/operations
    Readme,
    /// Compile each crate by itself, without its default features
    Alone,
    /// Try every interleaving of threads in the models of crates with shared state
    Loom {
        /// The crate whose models to explore; all of them if absent
        #[arg(long, value_name = "CRATE")]
        package: Option<String>,
        /// Involuntary switches of thread in an execution, in place of each model's own bound
        #[arg(long, value_name = "N")]
        preemptions: Option<u8>,
    },
    /// Run tests under the sanitizers: address where there is unsafe code, thread where threads share
    Sanitize {
        /// What to watch for; both if absent
        #[arg(value_enum)]
        sanitizer: Option<sanitize::Sanitizer>,
        /// The crate whose tests to run; all of them if absent
        #[arg(long, value_name = "CRATE")]
        package: Option<String>,
    },
    /// Package every crate and compile it from its package
    Packages,
    /// Put known bugs into a copy of the tree, one at a time: the checks must notice each of them
    Planted(planted::Choice),
    /// Feed arbitrary bytes to everything that reads bytes, under libFuzzer
    Fuzz {
        /// Only this target; all of them if none is named
        #[arg(long, value_name = "NAME")]
        target: Option<String>,
        /// For how long each
        #[arg(long, value_name = "N", default_value_t = 60)]
        seconds: u64,
        /// How many at once
        #[arg(long, value_name = "N", default_value_t = 1)]
        jobs: usize,
        #[command(flatten)]
        turn: turn::Turn,
    },
}

/// How much `cargo xtask bench` measures.
#[derive(Clone, Copy, ValueEnum)]
enum BenchSuite {
    /// Every workload, small: shows that it runs, not how fast.
    Smoke,
    /// Every workload at its documented size.
    Full,
    /// What operations of this store cost as it grows.
    Scaling,
}

impl BenchSuite {
    /// The benchmark program's words for it.
    fn words(self) -> &'static [&'static str] {
        match self {
            Self::Smoke => &["run", "--suite", "smoke"],
            Self::Full => &["run", "--suite", "full"],
            Self::Scaling => &["scaling"],
        }
    }
}

fn main() -> ExitCode {
    match run(Cli::parse().task) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Carries out one task; `false` when a check failed and has said so.
fn run(task: Task) -> Result<bool> {
    match task {
        Task::Test { keep_going } => step::run_all(suites::test()?, keep_going),
        Task::Ci { keep_going, crash_minutes, histories, seed } => {
            step::run_all(suites::ci(crash_minutes, histories, seed)?, keep_going)
        }
        Task::Check { rules } => checks::run(&rules),
        Task::Soak { entries, seed } => dispatch::soak(entries, seed),
        Task::Torture(arguments) => torture::run(&arguments),
        Task::Bench { suite, arguments } => dispatch::bench(suite.words(), &arguments),
        Task::Instructions(arguments) => Ok(instructions::run(&arguments)?.is_success()),
        Task::Examples { names } => examples::run(&names),
        Task::Readme => examples::run_readme(),
        Task::Alone => alone::run(),
        Task::Loom { package, preemptions } => loom::run(package.as_deref(), preemptions),
        Task::Sanitize { sanitizer, package } => sanitize::run(sanitizer, package.as_deref()),
        Task::Packages => packages::run(),
        Task::Planted(choice) => planted::run(&choice),
        Task::Fuzz { target, seconds, jobs, turn } => {
            fuzz::run(&fuzz::Plan { target, turn, seconds, jobs })
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
