//! Which key comes next.

use crate::rng::{Rng, splitmix};

/// How often which key is chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum KeyDistribution {
    /// 0, 1, 2, ... and again from 0.
    Sequential,
    /// Every key alike.
    Uniform,
    /// A few keys most of the time, scattered over the key space; YCSB uses a theta of 0.99.
    Zipfian {
        /// The skew, between 0 and 1.
        theta: f64,
    },
    /// Zipfian from the newest key downwards.
    Latest,
}

/// The skew that YCSB uses.
const YCSB_THETA: f64 = 0.99;

/// Chooses keys, numbered from 0, among a count that may grow.
#[derive(Clone, Debug)]
pub struct KeyChooser {
    distribution: KeyDistribution,
    count: u64,
    next: u64,
    zipfian: Option<Zipfian>,
    rng: Rng,
}

impl KeyChooser {
    /// Chooses among `count` keys (at least 1). A zipfian one takes `count` steps to set up.
    pub fn new(distribution: KeyDistribution, count: u64, seed: u64) -> Self {
        let count = count.max(1);
        let theta = match distribution {
            KeyDistribution::Zipfian { theta } => Some(theta.clamp(0.01, 0.999)),
            KeyDistribution::Latest => Some(YCSB_THETA),
            _ => None,
        };
        let zipfian = theta.map(|theta| Zipfian::new(count, theta));
        Self { distribution, count, next: 0, zipfian, rng: Rng::new(seed) }
    }

    /// The next key's number.
    #[inline]
    #[expect(clippy::should_implement_trait, reason = "it has no end, so there is no Option")]
    pub fn next(&mut self) -> u64 {
        match (&self.distribution, &self.zipfian) {
            (KeyDistribution::Sequential, _) => {
                let key = self.next;
                self.next = (self.next + 1) % self.count;
                key
            }
            (KeyDistribution::Latest, Some(zipfian)) => {
                self.count - 1 - zipfian.rank(self.rng.unit()).min(self.count - 1)
            }
            (_, Some(zipfian)) => {
                // Scattered, so that hot keys are not neighbours; over the keys of the beginning, so that
                // the hot ones stay the same when keys are added.
                let mut rank = zipfian.rank(self.rng.unit());
                splitmix(&mut rank) % zipfian.count as u64
            }
            _ => self.rng.below(self.count),
        }
    }

    /// A key was added. It can be chosen from now on, but for `Zipfian`, whose choice is fixed.
    pub fn grow(&mut self) {
        self.count += 1;
    }

    /// How many keys there are.
    pub fn count(&self) -> u64 {
        self.count
    }
}

/// Ranks by popularity (Gray et al.: "Quickly Generating Billion-Record Synthetic Databases",
/// 1994): rank 0 is the most popular.
#[derive(Clone, Debug)]
struct Zipfian {
    count: f64,
    theta: f64,
    zeta: f64,
    alpha: f64,
    eta: f64,
}

impl Zipfian {
    fn new(count: u64, theta: f64) -> Self {
        let zeta_of = |n: u64| (1..=n).map(|i| (i as f64).powf(-theta)).sum::<f64>();
        let zeta = zeta_of(count);
        let eta = (1.0 - (2.0 / count as f64).powf(1.0 - theta)) / (1.0 - zeta_of(2) / zeta);
        Self { count: count as f64, theta, zeta, alpha: 1.0 / (1.0 - theta), eta }
    }

    #[inline]
    fn rank(&self, unit: f64) -> u64 {
        let scaled = unit * self.zeta;
        if scaled < 1.0 {
            return 0;
        }
        if scaled < 1.0 + 0.5f64.powf(self.theta) {
            return 1.min(self.count as u64 - 1);
        }
        let rank = self.count * (self.eta * unit - self.eta + 1.0).powf(self.alpha);
        (rank as u64).min(self.count as u64 - 1)
    }
}

/// A 16-byte key for a number: neighbours lie far apart, and no two numbers share a key.
pub fn key_bytes(n: u64) -> [u8; 16] {
    let mut key = [0; 16];
    let mut state = n;
    // Splitmix is a bijection of its state, so the first half alone is unique.
    key[..8].copy_from_slice(&splitmix(&mut state).to_be_bytes());
    key[8..].copy_from_slice(&splitmix(&mut state).to_be_bytes());
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(distribution: KeyDistribution) -> Vec<u64> {
        let mut chooser = KeyChooser::new(distribution, 1000, 7);
        let mut counts = vec![0; 1000];
        (0..100_000).for_each(|_| counts[chooser.next() as usize] += 1);
        counts
    }

    #[test]
    fn a_zipfian_choice_prefers_few_keys_wherever_they_lie() {
        let mut counts = counts(KeyDistribution::Zipfian { theta: 0.99 });
        let hottest = counts.iter().position(|c| c == counts.iter().max().expect("some"));
        assert_ne!(hottest, Some(0), "scattered");
        counts.sort_unstable_by(|one, other| other.cmp(one));
        let top: u64 = counts[..10].iter().sum();
        assert!((30_000..60_000).contains(&top), "{top} of 100000 go to ten of 1000 keys");
    }

    #[test]
    fn the_latest_keys_are_chosen_most() {
        let counts = counts(KeyDistribution::Latest);
        assert!(counts[999] > counts[990] && counts[990] > counts[0]);
    }

    #[test]
    fn a_uniform_choice_prefers_nothing() {
        let counts = counts(KeyDistribution::Uniform);
        assert!(counts.iter().all(|count| (50..160).contains(count)));
    }

    #[test]
    fn keys_that_are_added_join_the_choice_and_leave_hot_ones_hot() {
        let mut latest = KeyChooser::new(KeyDistribution::Latest, 10, 1);
        let mut zipfian = KeyChooser::new(KeyDistribution::Zipfian { theta: 0.99 }, 1000, 1);
        let mut same = zipfian.clone();
        for _ in 0..10 {
            latest.grow();
            zipfian.grow();
            assert_eq!(zipfian.next(), same.next());
        }
        assert_eq!(latest.count(), 20);
        assert!((0..100).any(|_| latest.next() == 19));
    }

    #[test]
    fn a_sequence_begins_again() {
        let mut chooser = KeyChooser::new(KeyDistribution::Sequential, 3, 0);
        let keys: Vec<_> = (0..5).map(|_| chooser.next()).collect();
        assert_eq!(keys, [0, 1, 2, 0, 1]);
    }

    #[test]
    fn a_number_has_the_same_key_for_ever() {
        assert_eq!(u128::from_be_bytes(key_bytes(7)), 0x63CB_E1E4_5932_0DD7_044C_3CD7_F43C_661C);
    }

    #[test]
    fn keys_are_unique_and_scattered() {
        let mut keys: Vec<_> = (0..10_000).map(key_bytes).collect();
        assert!(!keys.is_sorted());
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), 10_000);
    }
}
