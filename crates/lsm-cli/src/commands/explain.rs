//! `lsm explain`: the path that one read takes.

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use clap::Args;
use lsm_engine::{ExplainStep, Explanation, Place};
use lsm_entry::key_hash;
use lsm_io::{Fs, OpenMode, StdFs};
use lsm_manifest::{FileKind, file_name};
use lsm_sstable::{BlockCache, ReadMode, Table};
use serde_json::{Value, json};

use crate::columns::{Columns, Side};
use crate::commands::history::place_json;
use crate::exit::{Exit, Failure};
use crate::format::{BytesFormat, Format};
use crate::output::Output;
use crate::target::Target;
use crate::units::{bytes, counted, duration};

/// Print the path that one read of a key takes, with the time at each step
#[derive(Args, Debug)]
pub(crate) struct ExplainArgs {
    #[command(flatten)]
    target: Target,
    /// The key
    #[arg(allow_hyphen_values = true)]
    key: OsString,
    #[command(flatten)]
    format: Format,
}

pub(crate) fn run(args: &ExplainArgs) -> Result<Exit, Failure> {
    let format = args.format.bytes;
    let key = format.parse_argument("the key", &args.key)?;
    let (_db, keyspace) = args.target.read()?;
    let explanation = keyspace.explain(&key)?;
    let block = |step: &ExplainStep| block_read(&args.target.db, &key, &step.place);
    let blocks: Vec<Option<Block>> = explanation.steps.iter().map(block).collect();
    let mut out = Output::new();
    if args.format.json {
        out.json(&explanation_json(&key, &explanation, &blocks, format))?;
    } else {
        print(&mut out, &explanation, &blocks, format)?;
    }
    out.finish()?;
    Ok(Exit::Done)
}

/// A block that a read had to look into.
#[derive(Clone, Copy, Debug)]
struct Block {
    number: usize,
    offset: u64,
    stored_bytes: u64,
}

/// The block that a read of `key` looks into at this place, if it is a table whose filter says
/// "perhaps". A table that a writer has removed meanwhile tells nothing any more.
fn block_read(dir: &Path, key: &[u8], place: &Place) -> Option<Block> {
    let Place::Table { number, .. } = place else { return None };
    let file = StdFs.open(&dir.join(file_name(FileKind::Table, *number)), OpenMode::Read).ok()?;
    let identity = Table::read_identity(&file).ok()?;
    let file_bytes = file.len().ok()?;
    let mode = ReadMode::Cached(BlockCache::new(0));
    let table = Table::open(file, identity, file_bytes, mode).ok()?;
    if !table.may_contain(key_hash(key)) {
        return None;
    }
    let block = table.find_block(key)?;
    let (number, offset, stored_bytes) = (block.number, block.offset, block.stored_bytes);
    Some(Block { number, offset, stored_bytes })
}

fn print(
    out: &mut Output,
    explanation: &Explanation,
    blocks: &[Option<Block>],
    format: BytesFormat,
) -> Result<(), Failure> {
    const ALIGNMENT: [Side; 5] = [Side::Right, Side::Left, Side::Left, Side::Right, Side::Left];
    let mut columns = Columns::new(&ALIGNMENT, ["step", "looked in", "block", "took", "and found"]);
    for (index, (step, block)) in explanation.steps.iter().zip(blocks).enumerate() {
        let took = duration(Duration::from_nanos(step.elapsed_ns));
        let block = block.map_or("-".into(), |Block { number, offset, stored_bytes }| {
            format!("{number} at byte {offset}, {}", bytes(stored_bytes))
        });
        let place = step.place.to_string();
        columns.row([(index + 1).to_string(), place, block, took, step.outcome.clone()]);
    }
    columns.print(out, 0)?;
    writeln!(out)?;
    let steps = counted(explanation.steps.len() as u64, "step", "steps");
    let took = duration(Duration::from_nanos(elapsed_ns(&explanation.steps)));
    match &explanation.value {
        Some(value) => writeln!(out, "value: {} ({steps}, {took})", format.show(value))?,
        None => writeln!(out, "no value ({steps}, {took})")?,
    }
    Ok(())
}

fn explanation_json(
    key: &[u8],
    explanation: &Explanation,
    blocks: &[Option<Block>],
    format: BytesFormat,
) -> Value {
    let step = |(step, block): (&ExplainStep, &Option<Block>)| {
        let block = block.map(|Block { number, offset, stored_bytes }| {
            json!({ "number": number, "offset": offset, "stored_bytes": stored_bytes })
        });
        json!({
            "place": place_json(&step.place),
            "block": block,
            "outcome": step.outcome,
            "elapsed_ns": step.elapsed_ns,
        })
    };
    json!({
        "key": format.json(key),
        "value": explanation.value.as_ref().map(|value| format.json(value)),
        "steps": explanation.steps.iter().zip(blocks).map(step).collect::<Vec<_>>(),
        "elapsed_ns": elapsed_ns(&explanation.steps),
    })
}

fn elapsed_ns(steps: &[ExplainStep]) -> u64 {
    steps.iter().map(|step| step.elapsed_ns).sum()
}
