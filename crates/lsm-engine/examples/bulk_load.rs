//! Loads the same records as plain batches and as sorted tables, and prints what each took.
//!
//! ```sh
//! cargo run --release -p lsm-engine --example bulk_load -- 2000000
//! ```

use std::time::Instant;

use lsm_engine::{Db, Durability, Reads, Result, WriteBatch, WriteOptions};

/// Records in one batch of the plain load.
const BATCH_RECORDS: u64 = 1000;

fn key(n: u64) -> [u8; 16] {
    // Sorted as numbers are, and as long as many keys.
    u128::from(n).to_be_bytes()
}

fn value(n: u64) -> [u8; 100] {
    let mut value = [b'.'; 100];
    value[..8].copy_from_slice(&n.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes());
    value
}

fn print(how: &str, records: u64, began: Instant) {
    let seconds = began.elapsed().as_secs_f64();
    let megabytes = (records * 116) as f64 / 1e6;
    println!(
        "{how:>7}: {records} records in {seconds:.2} s, {:.0} records/s, {:.0} MB/s",
        records as f64 / seconds,
        megabytes / seconds
    );
}

fn main() -> Result<()> {
    let records: u64 = std::env::args().nth(1).and_then(|word| word.parse().ok()).unwrap_or(20_000);
    let dir = tempfile::tempdir().expect("a directory for the example");

    let plain = Db::open(dir.path().join("plain"))?;
    let began = Instant::now();
    let mut batch = WriteBatch::new();
    for n in 0..records {
        batch.put(key(n), value(n));
        if (n + 1).is_multiple_of(BATCH_RECORDS) || n + 1 == records {
            plain.write_with(&batch, WriteOptions::durability(Durability::Os))?;
            batch.clear();
        }
    }
    // In tables, as the sorted load's records are.
    plain.flush()?;
    plain.settle()?;
    print("plain", records, began);

    let sorted = Db::open(dir.path().join("sorted"))?;
    let began = Instant::now();
    let mut load = sorted.default_keyspace().bulk_load()?;
    for n in 0..records {
        load.put(key(n), value(n))?;
    }
    // Nobody has seen anything of it so far; now it is all there, durably.
    let report = load.finish()?;
    sorted.settle()?;
    print("sorted", records, began);
    assert_eq!((report.entries, report.tables_to_merge), (records, 0));
    assert_eq!(sorted.get(key(7))?.as_deref(), Some(&value(7)[..]));
    assert_eq!(sorted.metrics().compaction_bytes_written, 0, "it lies where it stays");

    // A range as tables, into another database.
    let export = sorted.default_keyspace().export(key(100)..key(200), dir.path().join("tables"))?;
    let other = Db::open(dir.path().join("other"))?;
    other.default_keyspace().ingest_tables(&export.tables)?;
    println!("another database holds {} of them", other.iter().count());
    plain.close()?;
    sorted.close()?;
    other.close()
}
