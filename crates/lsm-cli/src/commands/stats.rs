//! `lsm stats`: what a database holds and what it takes, from its files.
//!
//! Counters of work belong to the process that writes; they are not in any file. `load`, `compact`
//! and `demo` print theirs. So it is with a failed sync and with errors in the background; that the disk
//! was full shows here by the reserve that was given up. `--prometheus` prints all metrics of an engine
//! that opens these files, for a program that serves its own in the same form.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use clap::Args;
use lsm_engine::{Db, ExpiryShare, Keyspace, Metrics, Reads};
use lsm_io::{Fs, StdFs};
use lsm_manifest::{FileKind, parse_file_name};
use serde_json::{Value, json};

use crate::columns::{Columns, Side};
use crate::exit::{Exit, Failure};
use crate::output::Output;
use crate::recovery;
use crate::target::{Target, find_keyspace, open_read_only};
use crate::units::{bytes, count, counted, distance, ratio};

/// Print what the database holds: records and bytes by level, files, amplification
#[derive(Args, Debug)]
pub(crate) struct StatsArgs {
    #[command(flatten)]
    target: Target,
    /// Read everything to count the records that are not shadowed or deleted, and so the exact
    /// space amplification
    #[arg(long)]
    count: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Print what an engine counts of these files, as text that Prometheus reads
    #[arg(long, conflicts_with_all = ["json", "count", "keyspace"])]
    prometheus: bool,
}

pub(crate) fn run(args: &StatsArgs) -> Result<Exit, Failure> {
    let dir = &args.target.db;
    let db = open_read_only(dir)?;
    if args.prometheus {
        let mut out = Output::new();
        out.write_all(db.metrics().to_prometheus().as_bytes())?;
        out.finish()?;
        return Ok(Exit::Done);
    }
    let names = args.target.keyspace.clone().map_or_else(|| db.keyspaces(), |name| vec![name]);
    let mut keyspaces = Vec::new();
    for name in names {
        let keyspace = find_keyspace(&db, dir, &name)?;
        keyspaces.push(KeyspaceStats::take(&keyspace, args.count, db.database_time_ms())?);
    }
    let files = count_files(dir)?;
    let mut out = Output::new();
    if args.json {
        out.json(&stats_json(&db, &keyspaces, &files, StdFs.available_bytes(dir)?))?;
    } else {
        print(&mut out, dir, &db, &keyspaces, &files)?;
    }
    out.finish()?;
    Ok(Exit::Done)
}

/// What a keyspace holds.
struct KeyspaceStats {
    name: String,
    policy: String,
    levels: BTreeMap<usize, LevelStats>,
    live: Option<LiveStats>,
    expiry: Vec<ExpiryShare>,
    /// The time by which it was asked for.
    now_ms: u64,
}

/// What lies at one level, or at all of them.
#[derive(Clone, Copy, Default)]
struct LevelStats {
    runs: u64,
    tables: u64,
    bytes: u64,
    entries: u64,
    tombstones: u64,
}

/// What a reader sees.
#[derive(Clone, Copy)]
struct LiveStats {
    records: u64,
    /// Bytes of their keys and values.
    bytes: u64,
}

/// Files of one kind.
#[derive(Clone, Copy, Default)]
struct FileStats {
    files: u64,
    bytes: u64,
}

impl KeyspaceStats {
    fn take(keyspace: &Keyspace, is_counted: bool, now_ms: u64) -> Result<Self, Failure> {
        let mut levels: BTreeMap<usize, LevelStats> = BTreeMap::new();
        for run in keyspace.shape().runs {
            let level = levels.entry(run.level).or_default();
            level.runs += 1;
            for table in run.tables {
                level.tables += 1;
                level.bytes += table.bytes;
                level.entries += table.entries;
                level.tombstones += table.tombstones;
            }
        }
        let live = if is_counted { Some(LiveStats::take(keyspace)?) } else { None };
        let policy = keyspace.options().compaction.to_string();
        let (name, expiry) = (keyspace.name().to_owned(), keyspace.expiry());
        Ok(Self { name, policy, levels, live, expiry, now_ms })
    }

    fn total(&self) -> LevelStats {
        let mut total = LevelStats::default();
        for level in self.levels.values() {
            total.runs += level.runs;
            total.tables += level.tables;
            total.bytes += level.bytes;
            total.entries += level.entries;
            total.tombstones += level.tombstones;
        }
        total
    }
}

impl LiveStats {
    fn take(keyspace: &Keyspace) -> Result<Self, Failure> {
        let mut live = Self { records: 0, bytes: 0 };
        let mut cursor = keyspace.cursor();
        cursor.seek_first()?;
        while let Some((key, value)) = cursor.entry() {
            live.records += 1;
            live.bytes += (key.len() + value.len()) as u64;
            cursor.next()?;
        }
        Ok(live)
    }
}

/// The files of a directory by kind, in the order in which they are printed.
fn count_files(dir: &Path) -> Result<Vec<(&'static str, FileStats)>, Failure> {
    let mut tables = FileStats::default();
    let mut blobs = tables;
    let (mut log, mut manifests, mut reserve, mut other) = (tables, tables, tables, tables);
    for entry in StdFs.list(dir)?.iter().filter(|entry| !entry.is_dir) {
        let files = match parse_file_name(&entry.name).0 {
            FileKind::Table => &mut tables,
            FileKind::Blob => &mut blobs,
            FileKind::Log => &mut log,
            FileKind::Manifest => &mut manifests,
            FileKind::Reserve => &mut reserve,
            _ => &mut other,
        };
        files.files += 1;
        files.bytes += entry.bytes;
    }
    Ok(vec![
        ("tables", tables),
        ("large values", blobs),
        ("log", log),
        ("manifest", manifests),
        ("reserve", reserve),
        ("other", other),
    ])
}

fn print(
    out: &mut Output,
    dir: &Path,
    db: &Db,
    keyspaces: &[KeyspaceStats],
    files: &[(&'static str, FileStats)],
) -> Result<(), Failure> {
    writeln!(out, "database   {}", dir.display())?;
    writeln!(out, "newest     sequence number {}", count(db.visible_seq_no()))?;
    let unflushed = counted(db.recovery_report().entries_replayed, "entry", "entries");
    writeln!(out, "unflushed  {unflushed}: in the log, and in no table yet")?;
    for keyspace in keyspaces {
        print_keyspace(out, keyspace)?;
    }
    print_metrics(out, &db.metrics())?;
    writeln!(out, "\nfiles")?;
    let mut columns = Columns::new(&[Side::Left, Side::Right, Side::Right], ["", "files", "bytes"]);
    for (name, files) in files {
        columns.row([(*name).to_owned(), count(files.files), bytes(files.bytes)]);
    }
    columns.print(out, 2)?;
    let room = bytes(StdFs.available_bytes(dir)?);
    match files.iter().find(|(name, files)| *name == "reserve" && files.files > 0) {
        Some(_) => writeln!(out, "  the disk has room for {room}, the reserve apart")?,
        None => writeln!(
            out,
            "  the disk has room for {room}; no reserve is held: the database is new, keeps none, or \
             found the disk full"
        )?,
    }
    writeln!(out, "\nthe log, as an open would find it now")?;
    recovery::print(out, db.recovery_report(), 2)?;
    Ok(())
}

/// What all keyspaces come to, and what they take in memory once they are open.
fn print_metrics(out: &mut Output, metrics: &Metrics) -> Result<(), Failure> {
    let memory = &metrics.memory;
    writeln!(out, "\nall keyspaces")?;
    let debt = bytes(metrics.compaction_debt_bytes);
    writeln!(out, "  waiting to be merged  {debt}")?;
    let amplification = ratio(metrics.table_bytes(), metrics.bottom_bytes);
    writeln!(out, "  space amplification   {amplification}, by estimate")?;
    let blobs = &metrics.blobs;
    if blobs.files > 0 {
        writeln!(
            out,
            "  large values          {} of {} in {}, and {} that nothing refers to any more",
            count(blobs.live_values),
            bytes(blobs.live_bytes),
            counted(blobs.files as u64, "blob file", "blob files"),
            bytes(blobs.garbage_bytes)
        )?;
    }
    let limit = memory.limit_bytes.map_or("not known".into(), bytes);
    writeln!(
        out,
        "  memory budget         {} of the {limit} that a process may use here",
        bytes(memory.budget_bytes)
    )?;
    Ok(())
}

fn print_keyspace(out: &mut Output, keyspace: &KeyspaceStats) -> Result<(), Failure> {
    const ALIGNMENT: [Side; 6] =
        [Side::Left, Side::Right, Side::Right, Side::Right, Side::Right, Side::Right];
    writeln!(out, "\nkeyspace {}: {}", keyspace.name, keyspace.policy)?;
    let heading = ["level", "runs", "tables", "entries", "tombstones", "bytes"];
    let mut columns = Columns::new(&ALIGNMENT, heading);
    let mut row = |name: String, level: &LevelStats| {
        columns.row([
            name,
            count(level.runs),
            count(level.tables),
            count(level.entries),
            count(level.tombstones),
            bytes(level.bytes),
        ]);
    };
    for (number, level) in &keyspace.levels {
        row(number.to_string(), level);
    }
    let total = keyspace.total();
    row("all".into(), &total);
    columns.print(out, 2)?;
    for share in &keyspace.expiry {
        writeln!(out, "  {}", expiry_text(share, keyspace.now_ms))?;
    }
    if let Some(live) = keyspace.live {
        let records = counted(live.records, "record", "records");
        writeln!(out, "  a reader sees {records} of {}", bytes(live.bytes))?;
        let amplification = ratio(total.bytes, live.bytes);
        writeln!(out, "  space amplification {amplification} (bytes of tables for each of those)")?;
    }
    Ok(())
}

fn expiry_text(share: &ExpiryShare, now_ms: u64) -> String {
    let tables = counted(share.tables, "table", "tables");
    let entries = counted(share.entries, "entry", "entries");
    let (due, bytes) = (share.due, bytes(share.bytes));
    let first = distance(share.first_ms, now_ms);
    match share.last_ms {
        Some(last_ms) => {
            let last = distance(last_ms, now_ms);
            format!(
                "expiry ({due}): {entries} of {bytes} in {tables}, the first {first}, the last {last}"
            )
        }
        None => {
            format!("expiry ({due}): at most {entries} of {bytes} in {tables}, the first {first}")
        }
    }
}

fn expiry_json(share: &ExpiryShare) -> Value {
    json!({
        "due": share.due.to_string(),
        "tables": share.tables,
        "entries": share.entries,
        "bytes": share.bytes,
        "first_ms": share.first_ms,
        "last_ms": share.last_ms,
    })
}

fn stats_json(
    db: &Db,
    keyspaces: &[KeyspaceStats],
    files: &[(&'static str, FileStats)],
    room_bytes: u64,
) -> Value {
    let level = |level: &LevelStats| {
        json!({
            "runs": level.runs,
            "tables": level.tables,
            "entries": level.entries,
            "tombstones": level.tombstones,
            "bytes": level.bytes,
        })
    };
    let keyspace = |keyspace: &KeyspaceStats| {
        let levels: serde_json::Map<String, Value> = keyspace
            .levels
            .iter()
            .map(|(number, stats)| (number.to_string(), level(stats)))
            .collect();
        let mut object = json!({
            "keyspace": keyspace.name,
            "policy": keyspace.policy,
            "levels": levels,
            "total": level(&keyspace.total()),
            "expiry": keyspace.expiry.iter().map(expiry_json).collect::<Vec<_>>(),
        });
        if let Some(live) = keyspace.live {
            object["records"] = json!(live.records);
            object["live_bytes"] = json!(live.bytes);
            object["space_amplification"] =
                json!(keyspace.total().bytes as f64 / live.bytes.max(1) as f64);
        }
        object
    };
    let files: serde_json::Map<String, Value> = files
        .iter()
        .map(|(name, stats)| {
            ((*name).to_owned(), json!({ "files": stats.files, "bytes": stats.bytes }))
        })
        .collect();
    let metrics = db.metrics();
    json!({
        "visible_seq_no": db.visible_seq_no(),
        "compaction_debt_bytes": metrics.compaction_debt_bytes,
        "space_amplification_estimate": metrics.space_amplification(),
        "blobs": {
            "files": metrics.blobs.files,
            "bytes": metrics.blobs.bytes,
            "live_values": metrics.blobs.live_values,
            "live_bytes": metrics.blobs.live_bytes,
            "garbage_bytes": metrics.blobs.garbage_bytes,
        },
        "memory_budget_bytes": metrics.memory.budget_bytes,
        "memory_limit_bytes": metrics.memory.limit_bytes,
        "unflushed_entries": db.recovery_report().entries_replayed,
        "keyspaces": keyspaces.iter().map(keyspace).collect::<Vec<_>>(),
        "files": files,
        "room_bytes": room_bytes,
        "recovery": recovery::json(db.recovery_report()),
    })
}
