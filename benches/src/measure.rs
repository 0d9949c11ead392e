//! One measurement, in a process of its own: so its memory and its writes are those of one engine
//! and one row.

use std::path::Path;
use std::time::Instant;

use lsm_workload::{ValueMaker, key_bytes};
use serde_json::{Value, json};

use crate::latency::Latencies;
use crate::process::{self, MemoryWatch};
use crate::row::{Row, Start, Work};
use crate::scale::Scale;
use crate::store::{Durability, Engine, Key, Result, Seen};
use crate::work::{self, Timed};

/// Bytes of log that the row `recover` finds.
const KILLED_LOG_BYTES: u64 = 64 << 20;
/// What an engine's log adds to key and value, about.
const LOG_ENTRY_OVERHEAD_BYTES: u64 = 4;

impl Row {
    /// How many entries the row works on.
    pub(crate) fn entries(&self, scale: &Scale) -> u64 {
        let entry_bytes = 16 + scale.value_bytes as u64;
        match (self.work, self.start) {
            (Work::Ycsb(_), _) => scale.entries.min(1_000_000),
            (_, Start::Killed) => KILLED_LOG_BYTES / (entry_bytes + LOG_ENTRY_OVERHEAD_BYTES),
            _ => scale.entries,
        }
    }

    /// The scale at which the row's store is opened: the log of a killed store is all in one
    /// memtable.
    pub(crate) fn scale(&self, scale: &Scale) -> Scale {
        let mut scale = scale.clone();
        if self.start == Start::Killed {
            scale.memtable_mib = scale.memtable_mib.max(128);
        }
        scale
    }
}

/// Makes the store in which a row begins, in `path`.
pub(crate) fn prepare(engine: &Engine, row: &Row, scale: &Scale, path: &Path) -> Result<()> {
    let scale = row.scale(scale);
    let store = (engine.open)(&scale.settings(path, Durability::Os))?;
    let mut values = ValueMaker::new(scale.value_bytes, 0.5, 1);
    let entries = row.entries(&scale);
    if row.start == Start::Killed {
        (0..entries).try_for_each(|number| store.put(&key_bytes(number), values.next()))?;
        // As good as a kill: nothing is flushed, nothing closed.
        std::process::exit(0);
    }
    let mut batch: Vec<(Key, Vec<u8>)> = Vec::with_capacity(1000);
    for first in (0..entries).step_by(1000) {
        batch.clear();
        let numbers = first..(first + 1000).min(entries);
        batch.extend(numbers.map(|number| (key_bytes(number), values.next().to_vec())));
        store.put_batch(&batch)?;
    }
    store.settle()?;
    store.close()
}

/// Measures a row on the store in `path`.
pub(crate) fn measure(engine: &Engine, row: &Row, scale: &Scale, path: &Path) -> Result<Value> {
    let scale = row.scale(scale);
    let settings = scale.settings(path, row.durability);
    let memory = MemoryWatch::start();
    let (written, cpu) = (process::bytes_written(), process::cpu_seconds());
    let mut settled_seconds = None;
    let timed = if row.work == Work::Open {
        let (mut latencies, mut seconds) = (Latencies::default(), 0.0);
        let started = Instant::now();
        let store = (engine.open)(&settings)?;
        if !store.get(&key_bytes(0), &mut Seen::default())? {
            return Err("an entry is lost".into());
        }
        latencies.record(started.elapsed());
        seconds += started.elapsed().as_secs_f64();
        let mut seen = Seen::default();
        store.scan(crate::store::Range::Forward, &mut seen)?;
        // Engines without a log that survives a kill have less; the note says so.
        let lost = row.entries(&scale).saturating_sub(seen.entries);
        store.close()?;
        if lost > 0 {
            eprintln!("{}: {}: {lost} entries did not survive", row.name, engine.name);
        }
        Timed { operations: 1, seconds, latencies }
    } else {
        let store = (engine.open)(&settings)?;
        let timed = work::run(store.as_ref(), row, &scale)?;
        if row.settles() {
            let started = Instant::now();
            store.settle()?;
            settled_seconds = Some(timed.seconds + started.elapsed().as_secs_f64());
        }
        store.close()?;
        timed
    };
    let operations = timed.operations as f64;
    let latencies = &timed.latencies;
    Ok(json!({
        "row": row.name,
        "engine": engine.name,
        "threads": row.threads,
        "entries": row.entries(&scale),
        "operations": timed.operations,
        "seconds": timed.seconds,
        "ops_per_second": operations / timed.seconds,
        "settled_ops_per_second": settled_seconds.map(|seconds| operations / seconds),
        "p50_us": latencies.quantile_us(0.5),
        "p99_us": latencies.quantile_us(0.99),
        "p999_us": latencies.quantile_us(0.999),
        "max_us": latencies.max_us(),
        "cpu_us_per_op": (process::cpu_seconds() - cpu) * 1e6 / operations.max(1.0),
        "bytes_written": process::bytes_written() - written,
        "user_bytes": timed.operations * (16 + scale.value_bytes as u64),
        "rss_anon_peak_bytes": memory.peak_bytes(),
        "space_bytes": process::space_bytes(path)?,
        "lz4": scale.lz4,
        "value_bytes": scale.value_bytes,
    }))
}
