//! How often keys are drawn under each distribution: the share of all draws that the most popular
//! keys get.
//!
//! `cargo run --release -p lsm-workload --example distributions`

use lsm_workload::{KeyChooser, KeyDistribution};

const KEYS: u64 = 10_000;
const DRAWS: usize = 1_000_000;
/// Width of the longest bar.
const WIDTH: f64 = 50.0;

fn main() {
    let distributions = [
        ("uniform", KeyDistribution::Uniform),
        ("zipfian 0.99", KeyDistribution::Zipfian { theta: 0.99 }),
        ("latest", KeyDistribution::Latest),
    ];
    println!("{KEYS} keys, {DRAWS} draws: what share of them the most popular keys get");
    for (name, distribution) in distributions {
        let counts = sorted_counts(distribution);
        println!("\n{name}");
        for popular in [1, 10, 100, 1_000, 10_000] {
            let drawn: usize = counts.iter().take(popular).sum();
            let share = drawn as f64 / DRAWS as f64;
            let bar = "█".repeat((share * WIDTH) as usize);
            println!("{popular:>8} {:>6.1} %  {bar}", 100.0 * share);
        }
    }
}

/// How often each key was drawn, most popular first.
fn sorted_counts(distribution: KeyDistribution) -> Vec<usize> {
    let mut counts = vec![0; KEYS as usize];
    let mut chooser = KeyChooser::new(distribution, KEYS, 1);
    for _ in 0..DRAWS {
        counts[chooser.next() as usize] += 1;
    }
    counts.sort_unstable_by(|left, right| right.cmp(left));
    counts
}
