//! One measurement, in a process of its own: so its memory and its writes are those of one engine
//! and one row.

use std::path::Path;
use std::time::{Duration, Instant};

use lsm_workload::{ValueMaker, key_bytes};
use serde_json::{Value, json};

use crate::process::{self, MemoryWatch};
use crate::row::{Row, Start, Work};
use crate::scale::Scale;
use crate::store::{Counted, Durability, Engine, Key, Range, Result, Seen, Settings, Store};
use crate::work::{self, Timed};

/// Makes the store in which a row begins, in `path`.
pub(crate) fn prepare(engine: &Engine, row: &Row, scale: &Scale, path: &Path) -> Result<()> {
    let scale = row.scale(scale);
    let store = (engine.open)(&scale.settings(path, Durability::Os))?;
    if row.start == Start::Killed {
        put_all(store.as_ref(), &scale)?;
        // Whoever asked for this store kills the process when it has read this line.
        println!("ready");
        loop {
            std::thread::park();
        }
    }
    let mut values = ValueMaker::new(scale.value_bytes, 0.5, 1);
    let mut batch: Vec<(Key, Vec<u8>)> = Vec::with_capacity(1000);
    for first in (0..scale.entries).step_by(1000) {
        batch.clear();
        let numbers = first..(first + 1000).min(scale.entries);
        batch.extend(numbers.map(|number| (key_bytes(number), values.next().to_vec())));
        store.put_batch(&batch)?;
    }
    store.settle()?;
    store.close()
}

fn put_all(store: &dyn Store, scale: &Scale) -> Result<()> {
    let mut values = ValueMaker::new(scale.value_bytes, 0.5, 1);
    (0..scale.entries).try_for_each(|number| store.put(&key_bytes(number), values.next()))
}

/// What a measurement yields besides what the operating system says.
struct Measured {
    timed: Timed,
    /// Until background work was done; in rows that wait for it.
    settled: Option<Duration>,
    cpu_seconds: f64,
    counted: Counted,
}

/// Measures a row on the store in `path`; `null` if the engine does not offer what the row does.
pub(crate) fn measure(engine: &Engine, row: &Row, scale: &Scale, path: &Path) -> Result<Value> {
    let words = scale.arguments().join(" ");
    let scale = row.scale(scale);
    let settings = scale.settings(path, row.durability);
    let memory = MemoryWatch::start();
    let written = process::bytes_written();
    let measured = match row.work {
        Work::Open | Work::Reopen => opening(engine, row, &scale, &settings)?,
        _ => working(engine, row, &scale, &settings)?,
    };
    let Some(measured) = measured else { return Ok(Value::Null) };
    let (timed, latencies) = (&measured.timed, &measured.timed.latencies);
    let operations = timed.operations as f64;
    Ok(json!({
        "row": row.name,
        "engine": engine.name,
        "is_lsm": engine.is_lsm,
        "scale": words,
        "settings": (engine.settings)(&settings),
        "threads": row.threads,
        "entries": scale.entries,
        "value_bytes": scale.value_bytes,
        "lz4": scale.lz4,
        "operations": timed.operations,
        "seconds": timed.seconds,
        "ms": row.is_time().then_some(timed.seconds * 1000.0),
        "ops_per_second": operations / timed.seconds,
        "settled_ops_per_second": measured.settled.map(|time| operations / time.as_secs_f64()),
        "slowest_second_share": timed.slowest_second_share,
        "p50_us": latencies.quantile_us(0.5),
        "p99_us": latencies.quantile_us(0.99),
        "p999_us": latencies.quantile_us(0.999),
        "max_us": latencies.max_us(),
        "cpu_us_per_op": measured.cpu_seconds * 1e6 / operations.max(1.0),
        "bytes_written": process::bytes_written() - written,
        "counted_bytes_written": measured.counted.bytes_written,
        "table_bytes": measured.counted.table_bytes,
        "tables": measured.counted.tables,
        "memory_bytes": measured.counted.memory_bytes,
        "user_bytes": timed.operations * (16 + scale.value_bytes as u64),
        "rss_anon_peak_bytes": memory.peak_bytes(),
        "space_bytes": process::space_bytes(path)?,
    }))
}

fn working(
    engine: &Engine,
    row: &Row,
    scale: &Scale,
    settings: &Settings,
) -> Result<Option<Measured>> {
    let store = (engine.open)(settings)?;
    if matches!(row.work, Work::Pipelined(_)) && store.pipeline(1).is_none() {
        return Ok(None);
    }
    if !store.offers(row.name) {
        return Ok(None);
    }
    if let Work::Feature(feature) = row.work
        && store.feature(feature, scale.entries, scale.value_bytes)?.is_none()
    {
        return Ok(None);
    }
    work::prepare(store.as_ref(), row, scale)?;
    let cpu = process::cpu_seconds();
    let timed = work::run(store.as_ref(), row, scale)?;
    let mut settled = None;
    if row.settles() {
        let started = Instant::now();
        let making_sure = store.settle()?;
        let waited = started.elapsed().saturating_sub(making_sure);
        settled = Some(Duration::from_secs_f64(timed.seconds) + waited);
    }
    let cpu_seconds = process::cpu_seconds() - cpu;
    let counted = store.counted();
    store.close()?;
    Ok(Some(Measured { timed, settled, cpu_seconds, counted }))
}

fn opening(
    engine: &Engine,
    row: &Row,
    scale: &Scale,
    settings: &Settings,
) -> Result<Option<Measured>> {
    let mut to_close = None;
    if row.work == Work::Reopen {
        let store = (engine.open)(settings)?;
        put_all(store.as_ref(), scale)?;
        to_close = Some(store);
    }
    let (started, cpu) = (Instant::now(), process::cpu_seconds());
    if let Some(store) = to_close {
        store.close()?;
    }
    let store = (engine.open)(settings)?;
    if !store.offers(row.name) {
        return Ok(None);
    }
    let mut seen = Seen::default();
    if !store.get(&key_bytes(0), &mut seen)? {
        return Err("the first entry is lost".into());
    }
    let (seconds, cpu_seconds) = (started.elapsed().as_secs_f64(), process::cpu_seconds() - cpu);
    let mut seen = Seen::default();
    store.scan(Range::Forward, &mut seen)?;
    // Not every engine promises that an acknowledged write survives a kill without a sync.
    if seen.entries != scale.entries {
        let lost = scale.entries.saturating_sub(seen.entries);
        eprintln!("{}: {}: {lost} entries did not survive", row.name, engine.name);
    }
    store.close()?;
    let timed = Timed { operations: 1, seconds, ..Timed::default() };
    Ok(Some(Measured { timed, settled: None, cpu_seconds, counted: Counted::default() }))
}
