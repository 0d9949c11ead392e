//! `lsm compact`: merges down, now.

use std::io::Write;
use std::time::Instant;

use clap::Args;
use lsm_engine::{CompactionPolicy, Keyspace};
use serde_json::json;

use crate::commands::shape::COLUMNS;
use crate::exit::{Exit, Failure};
use crate::format::Format;
use crate::key_range::BoundArgs;
use crate::output::Output;
use crate::picture;
use crate::question::Consent;
use crate::target::Target;
use crate::units::{bytes, duration};
use crate::work::Work;

/// Merge a range, or everything, down to the deepest level
#[derive(Args, Debug)]
pub(crate) struct CompactArgs {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    bounds: BoundArgs,
    /// Switch to this policy first: leveled, tiered, lazy-leveled or fifo, with options in
    /// parentheses as `keyspaces` prints them
    #[arg(long)]
    policy: Option<String>,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    consent: Consent,
}

pub(crate) fn run(args: &CompactArgs) -> Result<Exit, Failure> {
    let range = args.bounds.range(args.format.bytes)?;
    let policy = args.policy.as_deref().map(|text| parse_policy(text, args.consent)).transpose()?;
    let began = Instant::now();
    let (db, keyspace) = args.target.write()?;
    let before = keyspace.shape();
    if let Some(policy) = policy {
        switch_policy(&keyspace, policy)?;
    }
    keyspace.compact_range(range.bounds())?;
    db.settle()?;
    let after = keyspace.shape();
    let (work, metrics) = (Work::from(&db.metrics()), db.metrics());
    drop(keyspace);
    db.close()?;
    let elapsed = began.elapsed();
    let mut out = Output::new();
    if args.format.json {
        out.json(&json!({
            "elapsed_ms": u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
            "bytes_read": metrics.compaction_bytes_read,
            "bytes_written": work.compaction_bytes,
            "entries_dropped": metrics.entries_dropped,
        }))?;
    } else {
        let columns = usize::from(COLUMNS);
        writeln!(out, "Before:")?;
        picture::print(&mut out, &before, args.format.bytes, columns)?;
        writeln!(out, "\nAfter:")?;
        picture::print(&mut out, &after, args.format.bytes, columns)?;
        writeln!(
            out,
            "\nRead {} and wrote {} of tables in {}.",
            bytes(metrics.compaction_bytes_read),
            bytes(work.compaction_bytes),
            duration(elapsed)
        )?;
    }
    out.finish()?;
    Ok(Exit::Done)
}

fn parse_policy(text: &str, consent: Consent) -> Result<CompactionPolicy, Failure> {
    let policy = read_policy("--policy", text)?;
    if matches!(policy, CompactionPolicy::Fifo(_)) {
        consent.ask("Switch to fifo, which drops the oldest data when there is too much of it?")?;
    }
    Ok(policy)
}

/// A policy as it is typed, as the value of `option`.
pub(crate) fn read_policy(option: &str, text: &str) -> Result<CompactionPolicy, Failure> {
    // In the form in which options are saved, no name has a hyphen.
    let saved_form = text.replacen("lazy-leveled", "lazy_leveled", 1);
    saved_form.parse().map_err(|error| Failure::usage(format!("{option}: {error}")))
}

fn switch_policy(keyspace: &Keyspace, policy: CompactionPolicy) -> Result<(), Failure> {
    let mut options = keyspace.options();
    options.compaction = policy;
    Ok(keyspace.set_options(options)?)
}
