//! One thread, thousands of durable writes in flight: tickets share syncs as threads would.
//!
//! `cargo run --release -p lsm-engine --example many_writes_in_flight`

use std::collections::VecDeque;
use std::time::Instant;

use lsm_engine::{Db, WriteBatch};

/// Writes that are not acknowledged yet, at most.
const IN_FLIGHT: usize = 1000;
const WRITES: u32 = 20_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let db = Db::open(dir.path().join("flights.db"))?;
    let began = Instant::now();
    let mut tickets = VecDeque::new();
    let mut batch = WriteBatch::new();
    for n in 0..WRITES {
        batch.clear();
        batch.put(n.to_be_bytes(), "boarding");
        tickets.push_back(db.write_async(&batch)?);
        if tickets.len() > IN_FLIGHT
            && let Some(oldest) = tickets.pop_front()
        {
            oldest.wait()?; // From here on it is on disk, and seen by reads.
        }
    }
    for ticket in tickets {
        ticket.wait()?;
    }
    let rate = f64::from(WRITES) / began.elapsed().as_secs_f64();
    let syncs = db.metrics().log_syncs;
    println!("{WRITES} durable writes, {rate:.0} a second, with {syncs} syncs");
    Ok(())
}
