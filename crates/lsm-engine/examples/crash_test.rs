//! Crash-testing your own code on top of the store: the same program on a simulated disk, with the
//! power cut at every one of its I/O calls.
//!
//! `cargo run -p lsm-engine --features testing --example crash_test`

use lsm_engine::{Db, Env, Options, Reads, WriteBatch};
use lsm_io::SimFs;

fn open(fs: &SimFs) -> lsm_engine::Result<Db> {
    Db::open_with("bank", Options { env: Env::simulated(fs.shared()), ..Options::default() })
}

/// Moves money between two accounts; what must hold is that none is made or lost.
fn transfer(fs: &SimFs) -> lsm_engine::Result<()> {
    let db = open(fs)?;
    let mut batch = WriteBatch::new();
    batch.put("alice", "100");
    batch.put("bob", "0");
    db.write(&batch)?;
    batch.clear();
    batch.put("alice", "60");
    batch.put("bob", "40");
    db.write(&batch)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let steps = SimFs::new(0).count_steps(|fs| transfer(fs).expect("nothing fails yet"));
    for step in 0..steps {
        let fs = SimFs::new(0).crash_at(step);
        let _ = transfer(&fs);
        let db = open(&fs.restart())?;
        let balance = |account: &str| -> lsm_engine::Result<u32> {
            let value = db.get(account)?;
            Ok(value.map_or(0, |v| String::from_utf8_lossy(&v).parse().unwrap_or(0)))
        };
        let total = balance("alice")? + balance("bob")?;
        assert!(total == 0 || total == 100, "crash at step {step}: {total}");
    }
    println!("the power was cut at each of {steps} I/O calls, and no money was made or lost");
    Ok(())
}
