//! Carries out one row's work and takes the time.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use lsm_workload::{Rng, ValueMaker, Ycsb, YcsbOp, YcsbStream, key_bytes};

use crate::feature::{Feature, Featured};
use crate::latency::Latencies;
use crate::row::{Row, Start, Work};
use crate::scale::Scale;
use crate::store::{Key, Range, Result, Seen, Store};

/// Reads are timed one in so many, since reading the clock costs a good part of a read. Writes are
/// timed all, so that the longest is found.
const READS_PER_SAMPLE: u64 = 8;
const SEED: u64 = 0x6C73_6D62;

/// Seconds of a row that is watched second by second, for each second of other rows.
const PACED_TIMES: f64 = 10.0;

/// What the clock and the threads say.
#[derive(Debug, Default)]
pub(crate) struct Timed {
    pub(crate) operations: u64,
    pub(crate) seconds: f64,
    pub(crate) latencies: Latencies,
    /// Operations in the slowest whole second, as a share of the median second's; in rows at a
    /// constant rate.
    pub(crate) slowest_second_share: Option<f64>,
}

/// Operations per second and latencies of a row's work on an open store; `scale` is the row's.
pub(crate) fn run(store: &dyn Store, row: &Row, scale: &Scale) -> Result<Timed> {
    match row.work {
        Work::FillSeq | Work::FillRandom | Work::FillBatch(_) | Work::Overwrite => {
            fill(store, row.work, scale)
        }
        Work::Compact => compact(store, scale),
        Work::Paced(per_second) => paced(store, scale, per_second),
        _ => for_a_while(row.threads, Duration::from_secs_f64(scale.seconds), |thread, running| {
            repeat(store, row, scale, thread, running)
        }),
    }
}

/// How long random gets come before the clock starts, at least.
const WARMING_MIN: Duration = Duration::from_millis(500);

/// What comes before the clock starts: caches are warm, deletes are done, and nothing is left to be merged.
pub(crate) fn prepare(store: &dyn Store, row: &Row, scale: &Scale) -> Result<()> {
    let entries = scale.entries;
    match row.work {
        Work::SeekAfterDeletes(_) => {
            for number in (0..entries).filter(|number| number % 5 < 2) {
                store.delete(&key_bytes(number))?;
            }
            store.settle()?;
        }
        Work::Queue(length) => {
            (0..length).try_for_each(|number| store.put(&sequential_key(number), b"queued"))?;
        }
        Work::Puts | Work::Pipelined(_) => warm_log(store, scale)?,
        Work::Feature(feature) => featured(store, feature, scale)?.prepare()?,
        _ => {}
    }
    if row.start == Start::Empty || row.settles() {
        return Ok(());
    }
    let mut seen = Seen::default();
    store.scan(Range::Forward, &mut seen)?;
    let deleted = if matches!(row.work, Work::SeekAfterDeletes(_)) { deleted(entries) } else { 0 };
    if seen.entries != entries - deleted {
        return Err(format!("{} entries of {} are there", seen.entries, entries - deleted).into());
    }
    // Long enough for the merges that reads ask for to be due, however short the row is.
    let warming = Duration::from_secs_f64(scale.seconds / 2.0).max(WARMING_MIN);
    let until = Instant::now() + warming;
    let mut rng = Rng::new(SEED ^ 1);
    while Instant::now() < until {
        store.get(&key_bytes(rng.below(entries)), &mut seen)?;
    }
    // An engine that merges what it is asked for is not measured while it does.
    store.settle()?;
    Ok(())
}

fn featured<'a>(
    store: &'a dyn Store,
    feature: Feature,
    scale: &Scale,
) -> Result<Box<dyn Featured + 'a>> {
    let featured = store.feature(feature, scale.entries, scale.value_bytes)?;
    featured.ok_or_else(|| "the engine has no such feature".into())
}

/// Durable puts for a while, to keys that no thread of the row writes: a log that is made ready
/// ahead of its use is so when the clock starts.
fn warm_log(store: &dyn Store, scale: &Scale) -> Result<()> {
    let mut values = ValueMaker::new(scale.value_bytes, 0.5, SEED);
    let until = Instant::now() + Duration::from_secs_f64(scale.seconds / 2.0);
    let mut number = u64::MAX / 2;
    while Instant::now() < until {
        store.put(&key_bytes(number), values.next())?;
        number += 1;
    }
    Ok(())
}

/// How many of the keys below `entries` have a number whose remainder by 5 is below 2.
fn deleted(entries: u64) -> u64 {
    entries / 5 * 2 + (entries % 5).min(2)
}

/// Writes a fixed number of entries from one thread.
fn fill(store: &dyn Store, work: Work, scale: &Scale) -> Result<Timed> {
    let entries = scale.entries;
    let mut values = ValueMaker::new(scale.value_bytes, 0.5, SEED);
    let mut rng = Rng::new(SEED);
    let mut latencies = Latencies::default();
    let mut batch: Vec<(Key, Vec<u8>)> = Vec::new();
    let (started, limit) = (Instant::now(), Duration::from_secs_f64(scale.seconds_max));
    let (mut number, mut last) = (0, started);
    while number < entries && last - started < limit {
        match work {
            Work::FillBatch(length) => {
                batch.clear();
                let until = (number + length as u64).min(entries);
                batch.extend((number..until).map(|n| (key_bytes(n), values.next().to_vec())));
                store.put_batch(&batch)?;
                number = until;
            }
            _ => {
                let key = match work {
                    Work::FillSeq => sequential_key(number),
                    Work::Overwrite => key_bytes(rng.below(entries)),
                    _ => key_bytes(number),
                };
                store.put(&key, values.next())?;
                number += 1;
            }
        }
        // One reading of the clock per operation: the end of one is the beginning of the next.
        let now = Instant::now();
        latencies.record(now - last);
        last = now;
    }
    let seconds = (last - started).as_secs_f64();
    Ok(Timed { operations: number, seconds, latencies, slowest_second_share: None })
}

fn compact(store: &dyn Store, scale: &Scale) -> Result<Timed> {
    let started = Instant::now();
    store.compact()?;
    let seconds = started.elapsed().as_secs_f64();
    Ok(Timed { operations: scale.entries, seconds, ..Timed::default() })
}

/// Overwrites at a constant rate from one thread. A write that has to wait for an earlier one is
/// timed from when it was due, so that a pause counts for all that it holds up.
fn paced(store: &dyn Store, scale: &Scale, per_second: u64) -> Result<Timed> {
    let mut values = ValueMaker::new(scale.value_bytes, 0.5, SEED);
    let mut rng = Rng::new(SEED);
    let mut timed = Timed::default();
    let whole_seconds = (scale.seconds * PACED_TIMES).ceil().max(2.0) as u64;
    let mut by_second = vec![0_u64; usize::try_from(whole_seconds)?];
    let started = Instant::now();
    loop {
        let due = Duration::from_secs_f64(timed.operations as f64 / per_second as f64);
        while started.elapsed() < due {
            std::hint::spin_loop();
        }
        store.put(&key_bytes(rng.below(scale.entries)), values.next())?;
        let now = started.elapsed();
        let Some(second) = by_second.get_mut(now.as_secs() as usize) else { break };
        *second += 1;
        timed.latencies.record(now - due);
        timed.operations += 1;
    }
    timed.seconds = started.elapsed().as_secs_f64();
    by_second.sort_unstable();
    let median = by_second[by_second.len() / 2].max(1);
    timed.slowest_second_share = by_second.first().map(|&least| least as f64 / median as f64);
    Ok(timed)
}

pub(crate) fn sequential_key(number: u64) -> Key {
    let mut key = [b'0'; 16];
    key[8..].copy_from_slice(&number.to_be_bytes());
    key
}

/// Runs `body` in threads until the time is over, and adds up what they did.
fn for_a_while(
    threads: usize,
    time: Duration,
    body: impl Fn(u64, &AtomicBool) -> Result<(u64, Latencies)> + Sync,
) -> Result<Timed> {
    let (running, barrier) = (AtomicBool::new(true), Barrier::new(threads + 1));
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads as u64)
            .map(|thread| {
                let (body, running, barrier) = (&body, &running, &barrier);
                scope.spawn(move || {
                    barrier.wait();
                    body(thread, running)
                })
            })
            .collect();
        barrier.wait();
        let started = Instant::now();
        thread::sleep(time);
        running.store(false, Ordering::Relaxed);
        let mut timed = Timed::default();
        for worker in workers {
            let (operations, latencies) = worker.join().map_err(|_| "a thread panicked")??;
            timed.operations += operations;
            timed.latencies.merge(&latencies);
        }
        timed.seconds = started.elapsed().as_secs_f64();
        Ok(timed)
    })
}

/// One thread's share of a row that is measured for a while.
fn repeat(
    store: &dyn Store,
    row: &Row,
    scale: &Scale,
    thread: u64,
    running: &AtomicBool,
) -> Result<(u64, Latencies)> {
    let entries = scale.entries;
    let mut rng = Rng::new(SEED ^ (thread << 32) ^ 2);
    let mut values = ValueMaker::new(scale.value_bytes, 0.5, SEED ^ thread);
    let mut latencies = Latencies::default();
    let mut seen = Seen::default();
    let mut operations = 0;
    // Durable puts of different threads go to different keys.
    let mut number = thread << 40;
    let mut next = || {
        number += 1;
        key_bytes(number)
    };
    match row.work {
        Work::Puts => {
            while running.load(Ordering::Relaxed) {
                let started = Instant::now();
                store.put(&next(), values.next())?;
                latencies.record(started.elapsed());
                operations += 1;
            }
        }
        Work::Pipelined(in_flight) => {
            let mut pipeline = store.pipeline(in_flight).ok_or("the engine has no such writes")?;
            while running.load(Ordering::Relaxed) {
                pipeline.put(&next(), values.next())?;
                operations += 1;
            }
            pipeline.finish()?;
        }
        Work::Get | Work::GetAbsent => {
            let (base, expected) = if row.work == Work::Get { (0, true) } else { (entries, false) };
            while running.load(Ordering::Relaxed) {
                let key = key_bytes(base + rng.below(entries));
                let started = (operations % READS_PER_SAMPLE == 0).then(Instant::now);
                let found = store.get(&key, &mut seen)?;
                if let Some(started) = started {
                    latencies.record(started.elapsed());
                }
                if found != expected {
                    return Err("a get found what is not there, or did not find what is".into());
                }
                operations += 1;
            }
        }
        Work::MultiGet(count) => {
            while running.load(Ordering::Relaxed) {
                let keys: Vec<Key> = (0..count).map(|_| key_bytes(rng.below(entries))).collect();
                let started = Instant::now();
                let found = store.multi_get(&keys, &mut seen)?;
                latencies.record(started.elapsed());
                if found != count as u64 {
                    return Err("a multi_get did not find what is there".into());
                }
                operations += found;
            }
        }
        Work::Queue(length) => {
            while running.load(Ordering::Relaxed) {
                let started = Instant::now();
                store.put(&sequential_key(length + operations), values.next())?;
                store.scan(Range::From(b"0", 1), &mut seen)?;
                store.delete(&sequential_key(operations))?;
                latencies.record(started.elapsed());
                operations += 1;
            }
        }
        Work::Seek(length) | Work::SeekAfterDeletes(length) => {
            while running.load(Ordering::Relaxed) {
                let key = key_bytes(rng.below(entries));
                let started = Instant::now();
                store.scan(Range::From(&key, length), &mut seen)?;
                latencies.record(started.elapsed());
                operations += 1;
            }
        }
        Work::Forward | Work::Backward | Work::Prefix => {
            while running.load(Ordering::Relaxed) {
                let prefix = &rng.next_u64().to_be_bytes()[..2];
                let range = match row.work {
                    Work::Forward => Range::Forward,
                    Work::Backward => Range::Backward,
                    _ => Range::Prefix(prefix),
                };
                store.scan(range, &mut seen)?;
            }
            operations = seen.entries;
        }
        Work::Feature(feature) => {
            let mut featured = featured(store, feature, scale)?;
            while running.load(Ordering::Relaxed) {
                let started = Instant::now();
                operations += featured.operate(operations)?;
                latencies.record(started.elapsed());
            }
        }
        Work::Ycsb(mix) => {
            return ycsb(store, mix, entries, row.threads as u64, thread, &mut values, running);
        }
        _ => return Err("this row is not measured for a while".into()),
    }
    Ok((operations, latencies))
}

fn ycsb(
    store: &dyn Store,
    mix: Ycsb,
    records: u64,
    threads: u64,
    thread: u64,
    values: &mut ValueMaker,
    running: &AtomicBool,
) -> Result<(u64, Latencies)> {
    let mut latencies = Latencies::default();
    let mut seen = Seen::default();
    let mut operations = 0;
    // Each thread inserts keys of its own, and reads the latest of those.
    let key_of = |number: u64| {
        let added = number.checked_sub(records);
        key_bytes(added.map_or(number, |added| records + added * threads + thread))
    };
    for op in YcsbStream::new(mix, records, SEED ^ thread) {
        if !running.load(Ordering::Relaxed) {
            break;
        }
        let started = Instant::now();
        match op {
            YcsbOp::Read(number) => found(store.get(&key_of(number), &mut seen)?)?,
            YcsbOp::Update(number) | YcsbOp::Insert(number) => {
                store.put(&key_of(number), values.next())?;
            }
            YcsbOp::Scan { key, len } => {
                store.scan(Range::From(&key_of(key), len as u64), &mut seen)?;
            }
            YcsbOp::ReadModifyWrite(number) => {
                let key = key_of(number);
                found(store.get(&key, &mut seen)?)?;
                store.put(&key, values.next())?;
            }
        }
        latencies.record(started.elapsed());
        operations += 1;
    }
    Ok((operations, latencies))
}

fn found(is_there: bool) -> Result<()> {
    if is_there { Ok(()) } else { Err("a key that was written is not there".into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_deleted_keys_is_that_of_the_deletes() {
        for entries in 0..30 {
            let counted = (0..entries).filter(|number| number % 5 < 2).count() as u64;
            assert_eq!(deleted(entries), counted);
        }
    }
}
