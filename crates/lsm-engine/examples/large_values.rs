//! Loads values of several lengths and writes them anew twice, beside their keys and apart from them,
//! and prints what was written, and what is kept, for each byte given.
//!
//! ```sh
//! cargo run --release -p lsm-engine --example large_values -- 256
//! ```
//!
//! The number is how many MiB are loaded of each length.

use lsm_engine::{
    Db, Durability, KeyspaceOptions, Metrics, Options, Reads, Result, WriteBatch, WriteOptions,
};

/// Lengths of values.
const VALUE_BYTES: [u64; 4] = [256, 1024, 4096, 16 << 10];
/// How often everything that was loaded is written anew, at random.
const ROUNDS: u64 = 2;

fn main() -> Result<()> {
    let mib: u64 = std::env::args().nth(1).and_then(|word| word.parse().ok()).unwrap_or(2);
    println!("              beside their keys     apart from them");
    println!("value bytes   written      kept    written      kept");
    for value_bytes in VALUE_BYTES {
        let beside = load(mib << 20, value_bytes, None)?;
        let apart = load(mib << 20, value_bytes, Some(value_bytes))?;
        println!(
            "{value_bytes:>11} {:>9.2} {:>9.2} {:>10.2} {:>9.2}",
            beside.written, beside.kept, apart.written, apart.kept
        );
    }
    Ok(())
}

/// Bytes for each byte given.
struct Cost {
    /// Written to the disk, the log included.
    written: f64,
    /// On the disk at the end.
    kept: f64,
}

fn load(bytes: u64, value_bytes: u64, blob_threshold_bytes: Option<u64>) -> Result<Cost> {
    let dir = tempfile::tempdir().expect("a directory for the example");
    let options = Options {
        // The tree is about thirty memtables large, as one that outgrows its memory is.
        memtable_bytes: Some((bytes / 32).max(1 << 20)),
        keyspace: KeyspaceOptions { blob_threshold_bytes, ..KeyspaceOptions::default() },
        ..Options::default()
    };
    let db = Db::open_with(dir.path().join("db"), options)?;
    let records = bytes / value_bytes;
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    let mut batch = WriteBatch::new();
    for n in 0..records * (1 + ROUNDS) {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let key = if n < records { n } else { (random >> 33) % records };
        batch.put(key.to_be_bytes(), vec![n as u8; value_bytes as usize]);
        if batch.len() == 16 {
            db.write_with(&batch, WriteOptions::durability(Durability::Os))?;
            batch.clear();
        }
    }
    db.write(&batch)?;
    db.flush()?;
    db.settle()?;

    let newest = db.last()?.expect("records were written").1;
    assert_eq!(newest.len() as u64, value_bytes, "wherever it lies, it reads the same");
    let metrics: Metrics = db.metrics();
    assert_eq!(metrics.blobs.files > 0, blob_threshold_bytes.is_some());
    db.close()?;
    Ok(Cost {
        written: metrics.write_amplification(),
        kept: (metrics.table_bytes() + metrics.blobs.bytes) as f64 / bytes as f64,
    })
}
