//! Carries out a workload in threads, and takes the time of every operation.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use lsm_engine::{Keyspace, Reads};
use lsm_workload::{ValueMaker, YcsbOp, key_bytes};

use super::workload::{Operations, Share};
use super::{BenchArgs, COMPRESSIBLE};
use crate::exit::{Exit, Failure};
use crate::latencies::Latencies;
use crate::progress;
use crate::units::{count, rate};

/// How often the progress bar moves.
const TICK: Duration = Duration::from_millis(200);

/// Operations that a user tells apart, and what they are called.
pub(super) const KINDS: [&str; 4] = ["read", "write", "scan", "read and write"];

/// What came of it.
pub(super) struct Measured {
    pub(super) elapsed: Duration,
    /// By kind, in the order of [`KINDS`].
    pub(super) by_kind: [Latencies; KINDS.len()],
}

impl Measured {
    fn new() -> Self {
        Self { elapsed: Duration::ZERO, by_kind: KINDS.map(|_| Latencies::new()) }
    }

    /// Those of all kinds together.
    pub(super) fn together(&self) -> Latencies {
        let mut together = Latencies::new();
        self.by_kind.iter().for_each(|latencies| together.add(latencies));
        together
    }
}

/// Operations that a thread has done so far, on a cache line of their own.
#[derive(Default)]
#[repr(align(128))]
struct Done(AtomicU64);

/// Runs the workload until its time is over, or all records are written.
pub(super) fn run(keyspace: &Keyspace, args: &BenchArgs) -> Result<Measured, Failure> {
    let threads = u64::from(args.threads);
    let done: Vec<Done> = (0..threads).map(|_| Done::default()).collect();
    let (is_over, barrier) = (AtomicBool::new(false), Barrier::new(done.len() + 1));
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .zip(&done)
            .map(|(thread, done)| {
                let (is_over, barrier) = (&is_over, &barrier);
                let share = Share { thread, threads, records: args.records };
                scope.spawn(move || {
                    // What a workload needs before it begins is no part of what is timed.
                    let operations = Operations::new(args.workload, share, args.seed);
                    let values = ValueMaker::new(args.value_bytes as usize, COMPRESSIBLE, thread);
                    let mut worker = Worker { keyspace, values, measured: Measured::new() };
                    barrier.wait();
                    let outcome = worker.work(operations, &done.0, is_over);
                    if outcome.is_err() {
                        is_over.store(true, Ordering::Relaxed);
                    }
                    outcome.map(|()| worker.measured)
                })
            })
            .collect();
        barrier.wait();
        let began = Instant::now();
        watch(args, began, &done, &is_over, || workers.iter().all(ScopedJoinHandle::is_finished));
        let mut measured = Measured::new();
        for worker in workers {
            let of_thread = worker.join().expect("a worker does not panic")?;
            for (latencies, more) in measured.by_kind.iter_mut().zip(&of_thread.by_kind) {
                latencies.add(more);
            }
            measured.elapsed = measured.elapsed.max(of_thread.elapsed);
        }
        Ok(measured)
    })
}

/// Shows progress, and says when the time is over.
fn watch(
    args: &BenchArgs,
    began: Instant,
    done: &[Done],
    is_over: &AtomicBool,
    have_ended: impl Fn() -> bool,
) {
    let limit = args.limit();
    let total = limit.map_or(args.records, |limit| limit.as_millis() as u64);
    let bar = progress::share_bar(&args.workload.name(), total);
    let (mut operations_before, mut before) = (0, began);
    while !have_ended() && !is_over.load(Ordering::Relaxed) {
        let left = limit.map(|limit| limit.saturating_sub(began.elapsed()));
        if left.is_some_and(|left| left.is_zero()) {
            is_over.store(true, Ordering::Relaxed);
            break;
        }
        thread::sleep(left.unwrap_or(TICK).min(TICK));
        let operations = done.iter().map(|done| done.0.load(Ordering::Relaxed)).sum::<u64>();
        let now = Instant::now();
        show(&bar, if limit.is_some() { (now - began).as_millis() as u64 } else { operations });
        let per_second = rate(operations - operations_before, now - before);
        bar.set_message(format!("{} operations a second", count(per_second)));
        (operations_before, before) = (operations, now);
    }
    bar.finish_and_clear();
}

fn show(bar: &ProgressBar, position: u64) {
    bar.set_position(position.min(bar.length().unwrap_or(u64::MAX)));
}

/// One thread.
struct Worker<'a> {
    keyspace: &'a Keyspace,
    values: ValueMaker,
    measured: Measured,
}

impl Worker<'_> {
    fn work(
        &mut self,
        operations: Operations,
        done: &AtomicU64,
        is_over: &AtomicBool,
    ) -> Result<(), Failure> {
        let began = Instant::now();
        let mut last = began;
        for (number, operation) in operations.enumerate() {
            if is_over.load(Ordering::Relaxed) {
                break;
            }
            let kind = self.carry_out(operation)?;
            // One reading of the clock per operation: the end of one is the beginning of the next.
            let now = Instant::now();
            self.measured.by_kind[kind].record(now - last);
            last = now;
            done.store(number as u64 + 1, Ordering::Relaxed);
        }
        self.measured.elapsed = last - began;
        Ok(())
    }

    /// Returns the operation's kind, an index into [`KINDS`].
    fn carry_out(&mut self, operation: YcsbOp) -> Result<usize, Failure> {
        match operation {
            YcsbOp::Read(record) => {
                self.read(record)?;
                Ok(0)
            }
            YcsbOp::Update(record) | YcsbOp::Insert(record) => {
                self.keyspace.put(key_bytes(record), self.values.next())?;
                Ok(1)
            }
            YcsbOp::Scan { key, len } => {
                let mut cursor = self.keyspace.cursor();
                cursor.seek(key_bytes(key))?;
                for left in (0..len).rev() {
                    if cursor.entry().is_none() {
                        break;
                    }
                    if left > 0 {
                        cursor.next()?;
                    }
                }
                Ok(2)
            }
            YcsbOp::ReadModifyWrite(record) => {
                self.read(record)?;
                self.keyspace.put(key_bytes(record), self.values.next())?;
                Ok(3)
            }
        }
    }

    fn read(&self, record: u64) -> Result<(), Failure> {
        match self.keyspace.get(key_bytes(record))? {
            Some(_) => Ok(()),
            None => {
                let message = format!("record {record} was written and is not there");
                Err(Failure::new(Exit::Corrupt, message))
            }
        }
    }
}
