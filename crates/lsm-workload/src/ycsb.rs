//! The core workloads of the Yahoo! Cloud Serving Benchmark (Cooper et al., 2010).

use crate::keys::{KeyChooser, KeyDistribution};
use crate::rng::Rng;

/// Which mix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ycsb {
    /// Half reads, half updates.
    A,
    /// 95 % reads, 5 % updates.
    B,
    /// Reads only.
    C,
    /// 95 % reads of the latest keys, 5 % inserts.
    D,
    /// 95 % short scans, 5 % inserts.
    E,
    /// Half reads, half read-modify-writes.
    F,
}

/// One operation, on a key by its number ([`key_bytes`](crate::key_bytes) makes bytes of it).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum YcsbOp {
    /// Read a key.
    Read(u64),
    /// Write a key that is there.
    Update(u64),
    /// Write a key that is not.
    Insert(u64),
    /// Read entries in order.
    Scan {
        /// The key to begin at.
        key: u64,
        /// How many entries to read.
        len: usize,
    },
    /// Read a key, then write it.
    ReadModifyWrite(u64),
}

/// The longest scan of workload E, in entries.
const SCAN_ENTRIES_MAX: u64 = 100;

/// An endless stream of operations.
#[derive(Clone, Debug)]
pub struct YcsbStream {
    mix: Ycsb,
    keys: KeyChooser,
    rng: Rng,
}

impl YcsbStream {
    /// The stream of a mix over `records` keys that are there already.
    pub fn new(mix: Ycsb, records: u64, seed: u64) -> Self {
        let distribution = match mix {
            Ycsb::D => KeyDistribution::Latest,
            _ => KeyDistribution::Zipfian { theta: 0.99 },
        };
        let rng = Rng::new(seed ^ 0x5943_5342);
        Self { mix, keys: KeyChooser::new(distribution, records, seed), rng }
    }

    fn insert(&mut self) -> YcsbOp {
        let key = self.keys.count();
        self.keys.grow();
        YcsbOp::Insert(key)
    }
}

impl Iterator for YcsbStream {
    type Item = YcsbOp;

    fn next(&mut self) -> Option<YcsbOp> {
        let percent = self.rng.below(100);
        let mut key = || self.keys.next();
        Some(match self.mix {
            Ycsb::A if percent < 50 => YcsbOp::Read(key()),
            Ycsb::B if percent < 95 => YcsbOp::Read(key()),
            Ycsb::A | Ycsb::B => YcsbOp::Update(key()),
            Ycsb::C => YcsbOp::Read(key()),
            Ycsb::D if percent < 95 => YcsbOp::Read(key()),
            Ycsb::E if percent < 95 => {
                let key = key();
                YcsbOp::Scan { key, len: 1 + self.rng.below(SCAN_ENTRIES_MAX) as usize }
            }
            Ycsb::D | Ycsb::E => self.insert(),
            Ycsb::F if percent < 50 => YcsbOp::Read(key()),
            Ycsb::F => YcsbOp::ReadModifyWrite(key()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mix_has_its_shares() {
        let share = |mix, wanted: fn(&YcsbOp) -> bool| {
            YcsbStream::new(mix, 1000, 3).take(20_000).filter(wanted).count() as f64 / 20_000.0
        };
        let is_read = |op: &YcsbOp| matches!(op, YcsbOp::Read(_));
        let is_insert = |op: &YcsbOp| matches!(op, YcsbOp::Insert(_));
        assert!((0.48..0.52).contains(&share(Ycsb::A, is_read)));
        assert!((0.94..0.96).contains(&share(Ycsb::B, is_read)));
        assert!(share(Ycsb::C, is_read) == 1.0);
        assert!((0.04..0.06).contains(&share(Ycsb::D, is_insert)));
        assert!((0.04..0.06).contains(&share(Ycsb::E, is_insert)));
        assert!((0.48..0.52).contains(&share(Ycsb::F, is_read)));
    }

    #[test]
    fn inserted_keys_are_new_and_consecutive() {
        let inserts: Vec<_> = YcsbStream::new(Ycsb::D, 10, 3)
            .filter_map(|op| if let YcsbOp::Insert(key) = op { Some(key) } else { None })
            .take(5)
            .collect();
        assert_eq!(inserts, [10, 11, 12, 13, 14]);
    }
}
