//! The command line of the lsm key-value store.
//!
//! To see the commands, open `cli.rs`, and from there `commands/`, one file each; what an exit code
//! means, `exit.rs`; how keys and values are typed and printed, `format.rs`; how the tree is drawn,
//! `ruler.rs`, `picture.rs` and `svg.rs`; how latencies are, `latencies.rs`. For users: docs/operations/cli.md

mod cli;
mod columns;
mod commands;
mod destination;
mod emptying;
mod exit;
mod format;
mod key_range;
mod latencies;
mod output;
mod picture;
mod progress;
mod question;
mod records;
mod recovery;
mod ruler;
mod svg;
mod target;
mod temporary;
mod units;
mod work;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match cli::Cli::parse().run() {
        Ok(exit) => exit.into(),
        Err(failure) => failure.report(),
    }
}
