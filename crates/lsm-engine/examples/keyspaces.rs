//! A secondary index: two keyspaces that change together, whatever crashes.
//!
//! `cargo run -p lsm-engine --example keyspaces`

use lsm_engine::{Db, Keyspace, Reads, WriteBatch};

/// Stores a user and the entry by which their city finds them, in one batch.
fn add_user(db: &Db, by_city: &Keyspace, name: &str, city: &str) -> lsm_engine::Result<()> {
    let mut batch = WriteBatch::new();
    batch.put(name, city);
    batch.within(by_city).put(format!("{city}/{name}"), "");
    db.write(&batch)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let db = Db::open(dir.path().join("users.db"))?;
    let by_city = db.keyspace("users by city")?;
    add_user(&db, &by_city, "Ada", "London")?;
    add_user(&db, &by_city, "Grace", "New York")?;
    add_user(&db, &by_city, "Alan", "London")?;

    println!("In London:");
    for key in by_city.prefix("London/").map(|entry| entry.map(|(key, _)| key)) {
        println!("  {}", String::from_utf8_lossy(&key?["London/".len()..]));
    }
    Ok(())
}
