//! What building a filter and asking it cost on this machine, for filters in the cache and beyond.
//!
//! `cargo run --release -p lsm-bloom --example filter_figures [KEYS]`
//!
//! Nanoseconds, the quickest of several rounds. Questions are asked one by one, and as a read with
//! several tables asks them: eight lines are prefetched, then asked.

use std::error::Error;
use std::hint::black_box;
use std::time::Instant;

use lsm_bloom::{Filter, FilterBuilder};

const BITS_PER_KEY: f32 = 10.0;
/// Questions of a round.
const QUESTIONS: u64 = 200_000;
const ROUNDS: u64 = 10;
/// Questions that are asked together.
const TOGETHER: usize = 8;

fn main() -> Result<(), Box<dyn Error>> {
    let most = std::env::args().nth(1).map_or(Ok(100_000), |keys| keys.parse())?;
    println!("{BITS_PER_KEY} bits a key; nanoseconds");
    println!(
        "{:>12} {:>10} {:>10} {:>10} {:>10} {:>12}",
        "keys", "KiB", "build", "yes", "no", "8 together"
    );
    let mut keys = 1_000;
    while keys <= most {
        measure(keys)?;
        keys *= 10;
    }
    Ok(())
}

fn measure(keys: u64) -> Result<(), Box<dyn Error>> {
    let mut bytes = Vec::new();
    let build = quickest(keys, || {
        let mut builder = FilterBuilder::new(BITS_PER_KEY);
        (0..keys).for_each(|key| builder.add(mixed(key)));
        bytes = builder.finish();
        keys
    });
    let filter = Filter::parse(&bytes)?;
    // Scattered over the filter; what it costs to think of a question is paid beforehand.
    let hashes_from = |first: u64| -> Vec<u64> {
        (0..QUESTIONS).map(|n| mixed(first + (n * 7919) % keys)).collect()
    };
    let (present, absent) = (hashes_from(0), hashes_from(keys));
    let one_by_one = |hashes: &[u64]| {
        quickest(QUESTIONS, || {
            hashes.iter().filter(|&&hash| filter.may_contain(hash)).count() as u64
        })
    };
    let (yes, no) = (one_by_one(&present), one_by_one(&absent));
    let together = quickest(QUESTIONS, || {
        let mut perhaps = 0;
        for hashes in present.chunks(TOGETHER) {
            hashes.iter().for_each(|&hash| filter.prefetch(hash));
            perhaps += hashes.iter().filter(|&&hash| filter.may_contain(hash)).count() as u64;
        }
        perhaps
    });
    let kib = bytes.len() as f64 / 1024.0;
    println!("{keys:>12} {kib:>10.1} {build:>10.1} {yes:>10.1} {no:>10.1} {together:>12.1}");
    Ok(())
}

/// Nanoseconds for each of `count` things, in the quickest round; others pay for cold memory, and
/// for whoever else is using the machine.
fn quickest(count: u64, mut work: impl FnMut() -> u64) -> f64 {
    let mut round = || {
        let start = Instant::now();
        black_box(work());
        start.elapsed().as_nanos() as f64 / count as f64
    };
    (0..ROUNDS).map(|_| round()).fold(f64::INFINITY, f64::min)
}

/// A hash good enough for numbers.
fn mixed(key: u64) -> u64 {
    let word = key.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let word = (word ^ word >> 32).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    word ^ word >> 32
}
