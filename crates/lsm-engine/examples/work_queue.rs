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
    let path = dir.path().join("queue.db");
    let db = Db::open(&path)?;
    let unsynced = WriteOptions::durability(Durability::Memory);

    let mut batch = WriteBatch::new();
    for n in 0..WAITING {
        batch.put(job_key("mail", n), format!("job {n}"));
    }
    db.write(&batch)?;
    println!("a scan of {WAITING} waiting jobs");
    tell_scan(&db, "in a new queue, the first")?;
    let clean = tell_scan(&db, "and the second")?;

    let begun = Instant::now();
    let mut on_the_way = Duration::ZERO;
    let mut scans = 0;
    for n in WAITING..WAITING + jobs {
        db.put_with(job_key("mail", n), format!("job {n}"), unsynced)?;
        // Jobs are finished in their order here; workers beside each other use `pop`.
        db.delete_with(job_key("mail", n - WAITING), unsynced)?;
        if n > WAITING + jobs / 2 && n % 10_000 == 0 {
            on_the_way += scan(&db)?.0;
            scans += 1;
        }
        if n == WAITING + jobs / 2 {
            tell_scan(&db, "the first, after half of all jobs")?;
        }
    }
    println!("{jobs} jobs have come and gone in {:.1?}", begun.elapsed());
    if scans > 0 {
        println!(
            "  {:>12.1?}                        the mean of {scans} on the way",
            on_the_way / scans
        );
    }
    tell_scan(&db, "at once after all of them")?;
    std::thread::sleep(Duration::from_secs(2));
    tell_scan(&db, "after a rest")?;
    db.close()?;
    let db = Db::open(&path)?;
    let settled = tell_scan(&db, "after an open")?;
    println!(
        "the last took {:.1} times as long as in a new queue",
        settled.div_duration_f64(clean)
    );

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

/// Scans everything, once, and tells how that went.
fn tell_scan(db: &Db, when: &str) -> Result<Duration, lsm_engine::Error> {
    let (time, passed) = scan(db)?;
    println!("  {time:>12.1?}, {passed:>8} passed over, {when}");
    Ok(time)
}

/// How long one scan of everything takes, and how many entries it steps over.
fn scan(db: &Db) -> Result<(Duration, u64), lsm_engine::Error> {
    let passed_before = db.metrics().entries_passed;
    let begun = Instant::now();
    for entry in db.iter() {
        entry?;
    }
    let time = begun.elapsed();
    Ok((time, db.metrics().entries_passed - passed_before))
}
