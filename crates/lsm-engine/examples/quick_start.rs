//! The first ten lines with the store: write, read, batch, scan, snapshot.
//!
//! `cargo run -p lsm-engine --example quick_start`

use lsm_engine::{Db, Reads, WriteBatch};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let db = Db::open(dir.path().join("my.db"))?; // Creates; every write is on disk when it returns.
    db.put("user:1", "Ada")?;
    assert_eq!(db.get("user:1")?.as_deref(), Some(&b"Ada"[..]));

    let mut batch = WriteBatch::new();
    batch.put("user:2", "Grace");
    batch.delete("user:1");
    let before = db.snapshot(); // Stays readable, never blocks anyone.
    db.write(&batch)?; // Together or not at all.

    for entry in db.prefix("user:") {
        let (key, value) = entry?;
        println!("now:    {key:?} = {value:?}");
    }
    for entry in before.iter().rev() {
        let (key, value) = entry?;
        println!("before: {key:?} = {value:?}");
    }
    db.close()?;
    Ok(())
}
