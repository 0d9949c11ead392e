//! A backup of a database that is being written, a mistake, and the way back.
//!
//! `cargo run -p lsm-engine --example backup`

use lsm_engine::{Db, Reads};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let (path, monday) = (dir.path().join("my.db"), dir.path().join("monday"));
    let db = Db::open(&path)?;
    for n in 0..1000 {
        db.put(format!("user:{n:04}"), "Ada")?;
    }
    let copy = db.checkpoint(&monday)?; // Reads and writes go on meanwhile.
    println!(
        "{} tables at sequence number {}: {} bytes linked, {} copied, {} written",
        copy.tables, copy.seq_no, copy.bytes_linked, copy.bytes_copied, copy.bytes_written
    );

    for entry in db.prefix("user:") {
        db.delete(entry?.0)?; // The mistake.
    }
    db.close()?;

    let report = lsm_engine::restore(&monday, &path)?; // Checked to the last byte, then swapped in.
    let db = Db::open(&path)?;
    println!("{} users are back", db.prefix("user:").count());
    if let Some(replaced) = report.replaced {
        println!(
            "what was there before is in {}",
            replaced.file_name().unwrap_or_default().display()
        );
    }
    Ok(())
}
