//! `lsm-sim crash`: a crash at every I/O call, and in the recovery from each.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use lsm_io::CrashPolicy;
use lsm_sim::crash::{CrashCount, Failure, Thoroughness, crash_at_every_step, shrink};
use lsm_sim::jobs::in_parallel;
use lsm_sim::sequences::{sequence, sequence_count};
use lsm_sim::{Figures, History, Mix};

/// Crashes at every I/O call, and in the recovery from each: all short sequences of operations, and
/// long random ones.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How long to go on.
    #[arg(long, default_value_t = 5.0)]
    minutes: f64,
    /// Stop once so many images were recovered.
    #[arg(long)]
    images: Option<u64>,
    /// Where to begin.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Threads.
    #[arg(long, default_value_t = 1)]
    jobs: usize,
}

/// Operations of the short sequences.
const SEQUENCE: u32 = 3;
/// Operations of the long histories, and by how much they differ.
const LONG: std::ops::Range<u64> = 60..180;
/// Images after which each dimension must have some.
const COVERED_AFTER: u64 = 200_000;

pub(crate) fn run(args: &Args) -> Result<(), String> {
    let until = Instant::now() + Duration::from_secs_f64(args.minutes * 60.0);
    let recovered = AtomicU64::new(0);
    let enough = args.images.unwrap_or(u64::MAX);
    let mut total = CrashCount::default();
    let (mut sequences, mut long) = (0, 0);
    let work = |number: u64| {
        let so_far = recovered.load(Ordering::Relaxed);
        if Instant::now() >= until || so_far >= enough {
            return None;
        }
        let (history, how) = piece(number, args.seed);
        let done = crash_at_every_step(&history, how);
        Some(done.map(|count| (number, count)).map_err(|failure| describe(&failure)))
    };
    in_parallel(args.jobs, work, |(number, count)| {
        recovered.fetch_add(count.images, Ordering::Relaxed);
        total += count;
        if is_long(number) { long += 1 } else { sequences += 1 }
    })?;
    print(args, &total, sequences, long);
    if total.images >= COVERED_AFTER && !total.missing().is_empty() {
        return Err(format!("no image of {:?}", total.missing()));
    }
    println!("{}", figures(&total, sequences, long));
    Ok(())
}

/// Every other piece is a long history, until the short sequences are done.
fn is_long(number: u64) -> bool {
    number % 2 == 1 || number / 2 >= sequence_count(SEQUENCE)
}

fn piece(number: u64, seed: u64) -> (History, Thoroughness) {
    if is_long(number) {
        let seed = seed.wrapping_add(number);
        let length = LONG.start + seed % (LONG.end - LONG.start);
        let history = History::drawn(seed, Mix::Crash, length as usize);
        // Some of the calls of many histories show more than all calls of a few, most of which are
        // made in the same scene.
        let (recovery_stride, recovery_policies) = (Some(13), 2);
        let how = Thoroughness { from_op: 0, stride: 23, recovery_stride, recovery_policies };
        return (history, how);
    }
    // In an order of the seed's: a run that ends early has not always seen the same ones.
    let number = scattered(number / 2, sequence_count(SEQUENCE), seed);
    // The shorter a sequence, the more of the recoveries from it are crashed, and at more calls.
    let (recovery_stride, recovery_policies) = match number {
        number if number < sequence_count(1) => (1, CrashPolicy::ALL.len()),
        number if number < sequence_count(2) => (3, 2),
        _ => (11, 1),
    };
    let (history, how) = sequence(number, seed, Some(recovery_stride));
    (history, Thoroughness { recovery_policies, ..how })
}

/// The place of `number` in an order of the numbers below `count` that follows from the seed.
fn scattered(number: u64, count: u64, seed: u64) -> u64 {
    // A step that shares no factor with the count visits every number once.
    let is_coprime = |step: &u64| gcd(*step, count) == 1;
    let step = (count / 2 + seed % count..).find(is_coprime).unwrap_or(1);
    ((u128::from(number) * u128::from(step) + u128::from(seed)) % u128::from(count)) as u64
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// What to print of a crash that failed: how it went wrong, and the least that still does.
fn describe(Failure { history, wrong }: &Failure) -> String {
    let smallest = shrink(history);
    let wrong_at_last = smallest.run().err().unwrap_or_default();
    format!("{wrong}\n\n{}\nshrunk ({wrong_at_last}):\n\n{}", history.to_text(), smallest.to_text())
}

fn print(args: &Args, total: &CrashCount, sequences: u64, long: u64) {
    println!(
        "seed {}: {sequences} of {} sequences of up to {SEQUENCE} operations, {long} long \
         histories; {} I/O calls crashed at, {} images recovered, {} of them in the recovery from \
         a crash; nothing lost",
        args.seed,
        sequence_count(SEQUENCE),
        total.points,
        total.images,
        total.two_level
    );
    total.by.iter().for_each(|(name, images)| println!("  {images:>9}  {name}"));
}

fn figures(total: &CrashCount, sequences: u64, long: u64) -> Figures {
    let mut figures = Figures::default();
    figures.add("crash.points", total.points);
    figures.add("crash.images", total.images);
    figures.add("crash.two_level", total.two_level);
    figures.add("crash.sequences", sequences);
    figures.add("crash.histories", long);
    for (name, images) in &total.by {
        figures.add(&format!("crash.images.{name}"), *images);
    }
    figures
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_sequences_are_visited_in_any_order() {
        for seed in [0, 1, 3615, u64::MAX / 3] {
            let mut seen: Vec<u64> = (0..3616).map(|it| scattered(it, 3616, seed)).collect();
            seen.sort_unstable();
            assert_eq!(seen, (0..3616).collect::<Vec<_>>(), "seed {seed}");
        }
    }
}
