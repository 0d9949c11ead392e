//! A queue is scanned as fast after a million jobs as when it was new: already the first scan steps over
//! little more than it yields.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lsm_engine::{Db, Durability, Env, Keyspace, Options, Reads, Step, WriteBatch};
use lsm_io::SimFs;

use crate::{key, tiny_options};

/// Jobs that wait.
const WAITING: u32 = 1000;
/// Jobs that have come and gone.
const JOBS: u32 = 200_000;

/// How jobs are popped, by their numbers.
type Pop = fn(&Db, &[u32]);

fn pop_one_by_one(db: &Db, jobs: &[u32]) {
    for job in jobs {
        db.delete_with(key(*job), Durability::Memory.into()).expect("pops");
    }
}

fn pop_together(db: &Db, jobs: &[u32]) {
    let mut batch = WriteBatch::new();
    jobs.iter().for_each(|job| batch.delete(key(*job)));
    db.write_with(&batch, Durability::Memory.into()).expect("pops");
}

fn pop_in_transactions(db: &Db, jobs: &[u32]) {
    for job in jobs {
        let tx = db.transaction();
        tx.delete(key(*job));
        tx.commit_with(Durability::Memory.into()).expect("pops");
    }
}

/// A database with room for all jobs in its memtable, and its clock.
fn open_roomy(fs: &SimFs, memtable_bytes: u64) -> (Db, Arc<AtomicU64>) {
    let clock = Arc::new(AtomicU64::new(1_000_000));
    let told = Arc::clone(&clock);
    let options = tiny_options(fs);
    let options = Options {
        memory_bytes: 256 << 20,
        memtable_bytes: Some(memtable_bytes),
        log_segment_bytes: 4 << 20,
        log_bytes_max: 256 << 20,
        env: Env { clock: Arc::new(move || told.load(Ordering::Relaxed)), ..options.env },
        ..options
    };
    (Db::open_with("db", options).expect("opens"), clock)
}

fn push(db: &Db, jobs: impl Iterator<Item = u32>) {
    for job in jobs {
        db.put_with(key(job), "a job", Durability::Memory.into()).expect("pushes");
    }
}

/// Pushes and pops so many jobs, some at a time, beside those that wait. Background work is done as it
/// comes up.
fn run(db: &Db, jobs: u32, pop: Pop) {
    push(db, 0..WAITING);
    for first in (0..jobs).step_by(16) {
        push(db, first + WAITING..first + 16 + WAITING);
        pop(db, &(first..first + 16).collect::<Vec<_>>());
        while db.step(Step::Flush).expect("flushes") {}
        if first % 1024 == 0 {
            db.settle().expect("settles");
        }
    }
}

/// A scan finds `WAITING` jobs, and steps over twice as many dead entries at most.
#[track_caller]
fn check_scan(db: &Db) {
    let before = db.metrics().entries_passed;
    assert_eq!(db.iter().count(), WAITING as usize);
    let passed = db.metrics().entries_passed - before;
    assert!(passed <= 2 * u64::from(WAITING), "{passed} entries were stepped over");
}

#[test]
fn the_first_scan_steps_over_little_however_jobs_were_popped() {
    for pop in [pop_one_by_one, pop_together, pop_in_transactions] {
        // All in memory, or in several tables by now.
        for memtable_bytes in [128 << 20, 1 << 20] {
            let (db, _clock) = open_roomy(&SimFs::new(1), memtable_bytes);
            run(&db, JOBS / 4, pop);
            check_scan(&db);
        }
    }
}

#[test]
fn a_queue_stays_fast_to_scan_through_a_rest_and_an_open() {
    for has_rest in [false, true] {
        let fs = SimFs::new(2);
        let (db, clock) = open_roomy(&fs, 128 << 20);
        run(&db, JOBS, pop_one_by_one);
        for _ in 0..if has_rest { 4 } else { 0 } {
            clock.fetch_add(2_000, Ordering::Relaxed);
            db.step(Step::Log).expect("looks after it");
            while db.step(Step::Flush).expect("flushes") {}
        }
        if has_rest {
            let metrics = db.metrics();
            assert_eq!(metrics.flushed, metrics.visible, "it is not left in memory");
        }
        db.close().expect("closes");
        let (db, _clock) = open_roomy(&fs, 128 << 20);
        check_scan(&db);
        let entries: u64 = db.metrics().levels.iter().map(|level| level.entries).sum();
        assert_eq!(entries, u64::from(WAITING), "no tombstone was written with nothing below it");
    }
}

#[test]
fn queues_beside_each_other_are_fast_to_scan() {
    let (db, _clock) = open_roomy(&SimFs::new(3), 128 << 20);
    let queues: Vec<Keyspace> =
        ["mail", "bills"].map(|name| db.keyspace(name).expect("is made")).into();
    for n in 0..JOBS / 4 {
        let queue = &queues[n as usize % 2];
        for prefix in ["a", "b", "c"] {
            let key = |n: u32| [prefix.as_bytes(), &key(n)].concat();
            queue.put_with(key(n), "a job", Durability::Memory.into()).expect("pushes");
            if n >= 200 {
                queue.delete_with(key(n - 200), Durability::Memory.into()).expect("pops");
            }
        }
    }
    for queue in &queues {
        let before = db.metrics().entries_passed;
        assert_eq!(queue.iter().count(), 300);
        let passed = db.metrics().entries_passed - before;
        assert!(passed <= 2 * 1024, "{passed} entries were stepped over");
    }
}

#[test]
fn whoever_pushes_meanwhile_takes_nothing_from_the_first_scan() {
    let (db, _clock) = open_roomy(&SimFs::new(4), 128 << 20);
    push(&db, 0..WAITING);
    let pushed = AtomicU64::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for job in WAITING..WAITING + JOBS / 4 {
                // On its way to the disk for a while.
                let durability = if job % 64 == 0 { Durability::Os } else { Durability::Memory };
                db.put_with(key(job), "a job", durability.into()).expect("pushes");
                pushed.fetch_add(1, Ordering::Release);
            }
        });
        for job in 0..JOBS / 4 {
            while pushed.load(Ordering::Acquire) < u64::from(job) {
                std::thread::yield_now();
            }
            pop_one_by_one(&db, &[job]);
        }
    });
    check_scan(&db);
}
