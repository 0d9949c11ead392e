//! How often filters of different sizes say "perhaps" to what was never added, beside the formula.
//!
//! `cargo run --release -p lsm-bloom --example false_positives [KEYS]`

use std::error::Error;

use lsm_bloom::{Filter, FilterBuilder, false_positive_rate};

const QUESTIONS: u64 = 1_000_000;

fn main() -> Result<(), Box<dyn Error>> {
    let keys = std::env::args().nth(1).map_or(Ok(100_000), |keys| keys.parse())?;
    println!("{keys} keys, {QUESTIONS} questions for others");
    println!("{:>12} {:>10} {:>10} {:>10}", "bits a key", "KiB", "measured", "formula");
    for bits_per_key in [2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 16.0] {
        let mut builder = FilterBuilder::new(bits_per_key);
        (0..keys).for_each(|key| builder.add(mixed(key)));
        let bytes = builder.finish();
        let filter = Filter::parse(&bytes)?;
        assert!((0..keys).all(|key| filter.may_contain(mixed(key))), "no key is ever denied");
        let others = keys..keys + QUESTIONS;
        let wrong = others.filter(|key| filter.may_contain(mixed(*key))).count();
        println!(
            "{bits_per_key:>12} {:>10.1} {:>9.3}% {:>9.3}%",
            bytes.len() as f64 / 1024.0,
            100.0 * wrong as f64 / QUESTIONS as f64,
            100.0 * false_positive_rate(bits_per_key),
        );
    }
    Ok(())
}

/// A hash good enough for numbers.
fn mixed(key: u64) -> u64 {
    let word = key.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let word = (word ^ word >> 32).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    word ^ word >> 32
}
