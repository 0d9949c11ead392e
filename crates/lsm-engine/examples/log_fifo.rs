//! Log lines in a keyspace of fixed size: the oldest go when there are too many, and nothing is merged.
//!
//! ```sh
//! cargo run -p lsm-engine --example log_fifo
//! ```

use lsm_engine::{
    CompactionPolicy, Db, FifoOptions, Keyspace, KeyspaceOptions, Options, Reads, Result,
};

/// What the lines may take on the disk.
const BYTES_MAX: u64 = 1 << 20;
/// Lines that are written.
const LINES: u64 = 40_000;

fn main() -> Result<()> {
    let dir = tempfile::tempdir().expect("a temporary directory");
    // A memtable is what goes at once: small beside the whole.
    let options = Options { memtable_bytes: Some(128 << 10), ..Options::default() };
    let db = Db::open_with(dir.path(), options)?;
    let fifo =
        FifoOptions { bytes_max: BYTES_MAX, table_bytes: 128 << 10, ..FifoOptions::default() };
    let compaction = CompactionPolicy::Fifo(fifo);
    let logs = db.keyspace_with("logs", KeyspaceOptions { compaction, ..Default::default() })?;
    for number in 0..LINES {
        logs.put(number.to_be_bytes(), format!("line {number}: somebody asked for page {number}"))?;
    }
    db.flush()?;
    db.settle()?;

    // What is left are the newest lines, without a gap.
    let first = number_of(logs.first()?.expect("the newest are there").0.as_ref());
    assert!(first > 0, "the oldest have gone");
    assert_eq!(logs.iter().count() as u64, LINES - first);
    assert!(bytes(&logs) <= BYTES_MAX);
    println!("{} lines of {LINES} are left, {} KiB", LINES - first, bytes(&logs) >> 10);
    for entry in logs.iter().rev().take(3) {
        println!("{}", String::from_utf8_lossy(&entry?.1));
    }

    // What it may take is changed live, and kept.
    let mut options = logs.options();
    options.compaction =
        CompactionPolicy::Fifo(FifoOptions { bytes_max: BYTES_MAX / 2, ..FifoOptions::default() });
    logs.set_options(options)?;
    db.settle()?;
    assert!(bytes(&logs) <= BYTES_MAX / 2);
    println!("with half the room {} lines are left", logs.iter().count());
    db.close()
}

fn bytes(logs: &Keyspace) -> u64 {
    logs.approximate_size::<&[u8]>(..)
}

fn number_of(key: &[u8]) -> u64 {
    u64::from_be_bytes(key.try_into().expect("8 bytes were put"))
}
