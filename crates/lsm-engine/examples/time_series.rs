//! Measurements by time: keys that sort by series and time, read over ranges, and gone after a while.
//!
//! ```sh
//! cargo run -p lsm-engine --example time_series
//! ```

use lsm_engine::{Db, Keyspace, KeyspaceOptions, Reads, Result, WriteBatch};

/// How long measurements are kept.
const KEPT_MS: u64 = 7 * 86_400_000;

fn main() -> Result<()> {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let db = Db::open(dir.path())?;
    let options = KeyspaceOptions { ttl_ms: Some(KEPT_MS), ..KeyspaceOptions::default() };
    let series = db.keyspace_with("measurements", options)?;

    // A minute of measurements of two sensors, each second's together.
    for second in 0..60_u64 {
        let mut batch = WriteBatch::new();
        for sensor in [1_u32, 2] {
            let value = f64::from(sensor) * second as f64;
            batch.within(&series).put(key(sensor, second * 1000), value.to_le_bytes());
        }
        db.write(&batch)?;
    }

    let values = between(&series, 2, 10_000, 20_000)?;
    assert_eq!(values.len(), 10);
    assert_eq!(values[0], 20.0);
    println!("sensor 2 had {values:?} in that time");

    // The newest one, from the upper end of the range.
    let newest = series.range(key(1, 0)..key(2, 0)).next_back().transpose()?;
    assert_eq!(newest.map(|(key, _)| key.to_vec()), Some(key(1, 59_000)));
    db.close()
}

/// Big-endian, so that keys sort by sensor, then by time.
fn key(sensor: u32, time_ms: u64) -> Vec<u8> {
    [&sensor.to_be_bytes()[..], &time_ms.to_be_bytes()[..]].concat()
}

fn between(series: &Keyspace, sensor: u32, from_ms: u64, to_ms: u64) -> Result<Vec<f64>> {
    let entries = series.range(key(sensor, from_ms)..key(sensor, to_ms));
    entries
        .map(|entry| {
            let (_, value) = entry?;
            Ok(f64::from_le_bytes(value.as_ref().try_into().expect("8 bytes were put")))
        })
        .collect()
}
