//! `lsm-sim replay FILE`: a kept history once more.

use std::path::PathBuf;

use lsm_sim::History;

/// Runs a kept history.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Its file.
    file: PathBuf,
}

pub(crate) fn run(Args { file }: &Args) -> Result<(), String> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| format!("could not read {}: {error}", file.display()))?;
    History::parse(&text)?.run()
}
