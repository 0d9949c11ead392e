//! Which commands there are.

use clap::{Parser, Subcommand};

use crate::commands::{
    bench, checkpoint, compact, delete, demo, dump, explain, export, get, history, ingest,
    keyspaces, load, merge, options, put, repair, restore, scan, shape, stats, tail, verify,
};
use crate::exit::{Exit, Failure};

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  the key was not found; nothing matched; the condition of a put does not hold
  2  wrong usage or invalid input
  3  the database is busy: another process has it open for writing
  4  corruption was found; file and offset are named
  5  I/O error, or no space left

Start with `lsm demo`.";

/// An embedded, crash-safe, ordered key-value store: load, read, look inside.
#[derive(Debug, Parser)]
#[command(name = "lsm", version, after_help = EXIT_CODES, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::DemoArgs),
    Load(load::LoadArgs),
    Ingest(ingest::IngestArgs),
    Export(export::ExportArgs),
    Get(get::GetArgs),
    Put(put::PutArgs),
    Merge(merge::MergeArgs),
    Delete(delete::DeleteArgs),
    Scan(scan::ScanArgs),
    Tail(tail::TailArgs),
    Keyspaces(keyspaces::KeyspacesArgs),
    Options(options::OptionsArgs),
    Stats(stats::StatsArgs),
    Shape(shape::ShapeArgs),
    Compact(compact::CompactArgs),
    Verify(verify::VerifyArgs),
    Checkpoint(checkpoint::CheckpointArgs),
    Restore(restore::RestoreArgs),
    Repair(repair::RepairArgs),
    #[command(subcommand)]
    Dump(dump::DumpCommand),
    History(history::HistoryArgs),
    Explain(explain::ExplainArgs),
    Bench(bench::BenchArgs),
    /// The writer that the demo starts and kills.
    #[command(hide = true)]
    DemoWriter(demo::WriterArgs),
}

impl Cli {
    pub(crate) fn run(&self) -> Result<Exit, Failure> {
        match &self.command {
            Command::Demo(args) => demo::run(args),
            Command::Load(args) => load::run(args),
            Command::Ingest(args) => ingest::run(args),
            Command::Export(args) => export::run(args),
            Command::Get(args) => get::run(args),
            Command::Put(args) => put::run(args),
            Command::Merge(args) => merge::run(args),
            Command::Delete(args) => delete::run(args),
            Command::Scan(args) => scan::run(args),
            Command::Tail(args) => tail::run(args),
            Command::Keyspaces(args) => keyspaces::run(args),
            Command::Options(args) => options::run(args),
            Command::Stats(args) => stats::run(args),
            Command::Shape(args) => shape::run(args),
            Command::Compact(args) => compact::run(args),
            Command::Verify(args) => verify::run(args),
            Command::Checkpoint(args) => checkpoint::run(args),
            Command::Restore(args) => restore::run(args),
            Command::Repair(args) => repair::run(args),
            Command::Dump(command) => dump::run(command),
            Command::History(args) => history::run(args),
            Command::Explain(args) => explain::run(args),
            Command::Bench(args) => bench::run(args),
            Command::DemoWriter(args) => demo::run_writer(args),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn no_two_options_are_in_each_others_way() {
        Cli::command().debug_assert();
    }
}
