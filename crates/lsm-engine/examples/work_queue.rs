//! A work queue: pushed to at one end, popped at the other, by any number of workers; whole queues
//! are dropped with one record. Scans stay fast however many jobs have come and gone.
//!
//! `cargo run --release -p lsm-engine --example work_queue -- 1000000` for a million jobs.

use std::time::{Duration, Instant};

use lsm_engine::{Db, Durability, ErrorKind, Reads, WriteBatch, WriteOptions};

/// Jobs that wait at any time.
const WAITING: u64 = 1000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let jobs: u64 = std::env::args().nth(1).map_or(Ok(20_000), |word| word.parse())?;
    let dir = tempfile::tempdir()?;
    let db = Db::open(dir.path().join("queue.db"))?;
    let unsynced = WriteOptions::durability(Durability::Memory);

    let mut batch = WriteBatch::new();
    for n in 0..WAITING {
        batch.put(job_key("mail", n), format!("job {n}"));
    }
    db.write(&batch)?;
    let clean = time_of_scan(&db)?;

    for n in WAITING..WAITING + jobs {
        db.put_with(job_key("mail", n), format!("job {n}"), unsynced)?;
        // Jobs are finished in their order here; workers beside each other use `pop`.
        db.delete_with(job_key("mail", n - WAITING), unsynced)?;
    }
    let full_of_tombstones = time_of_scan(&db)?;
    // That scan stepped over many entries for few, which starts what clears them away.
    let begun = Instant::now();
    let mut settled = time_of_scan(&db)?;
    while settled > 3 * clean && begun.elapsed() < Duration::from_secs(10) {
        std::thread::sleep(Duration::from_millis(50));
        settled = time_of_scan(&db)?;
    }
    println!("a scan of {WAITING} waiting jobs took");
    println!("  {clean:>12.1?}  in a new queue");
    println!("  {full_of_tombstones:>12.1?}  at once after {jobs} jobs had come and gone");
    println!("  {settled:>12.1?}  {:.1?} later", begun.elapsed());

    let job = pop(&db, "mail")?.expect("some wait");
    println!("the next job is \"{}\"", String::from_utf8_lossy(&job));
    // Nobody wants the rest of them.
    db.delete_prefix("mail/")?;
    assert!(pop(&db, "mail")?.is_none());
    Ok(())
}

/// Jobs of one queue lie one behind the other, in the order in which they came.
fn job_key(queue: &str, number: u64) -> Vec<u8> {
    [queue.as_bytes(), b"/", &number.to_be_bytes()].concat()
}

/// Takes the first job, which no other worker then gets.
fn pop(db: &Db, queue: &str) -> Result<Option<Vec<u8>>, lsm_engine::Error> {
    loop {
        let tx = db.transaction();
        let first = tx.prefix(format!("{queue}/")).next().transpose()?;
        let Some((key, job)) = first else { return Ok(None) };
        tx.delete(&key);
        match tx.commit() {
            Ok(_) => return Ok(Some(job.to_vec())),
            // Another worker was first.
            Err(error) if error.kind() == ErrorKind::Conflict => {}
            Err(error) => return Err(error),
        }
    }
}

/// The shortest of three.
fn time_of_scan(db: &Db) -> Result<Duration, lsm_engine::Error> {
    let mut shortest = Duration::MAX;
    for _ in 0..3 {
        let begun = Instant::now();
        for entry in db.iter() {
            entry?;
        }
        shortest = shortest.min(begun.elapsed());
    }
    Ok(shortest)
}
