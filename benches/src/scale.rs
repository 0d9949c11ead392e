//! How much is measured: the figures that every row of a run shares.

use std::path::Path;

use clap::{Args, ValueEnum};

use crate::store::{Durability, Settings};

/// The figures that every row of a run shares.
#[derive(Args, Clone, Debug)]
pub(crate) struct Scale {
    /// Entries in the store
    #[arg(long)]
    pub(crate) entries: u64,
    /// How long a row without a fixed number of operations is measured
    #[arg(long)]
    pub(crate) seconds: f64,
    /// A row with a fixed number of operations is cut after this
    #[arg(long)]
    pub(crate) seconds_max: f64,
    /// Length of a value
    #[arg(long)]
    pub(crate) value_bytes: usize,
    /// Size of a memtable
    #[arg(long)]
    pub(crate) memtable_mib: u64,
    /// Size of the cache
    #[arg(long)]
    pub(crate) cache_mib: u64,
    /// Compress with lz4 below level 0, where the engine can
    #[arg(long)]
    pub(crate) lz4: bool,
    /// Acknowledge the writes of rows that are not about durability from the process's memory
    #[arg(long)]
    pub(crate) in_memory: bool,
}

/// How much to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Suite {
    /// Every row, small, in two minutes: the tree has the shape that it has at full size, since
    /// memtable and cache shrink with the data
    Smoke,
    /// Every row at the size of the published figures
    Full,
}

impl Scale {
    pub(crate) fn of(suite: Suite) -> Self {
        let (value_bytes, lz4, in_memory) = (100, false, false);
        match suite {
            Suite::Smoke => Self {
                entries: 350_000,
                seconds: 0.3,
                seconds_max: 10.0,
                memtable_mib: 8,
                cache_mib: 32,
                value_bytes,
                lz4,
                in_memory,
            },
            Suite::Full => Self {
                entries: 5_000_000,
                seconds: 2.0,
                seconds_max: 60.0,
                memtable_mib: 64,
                cache_mib: 256,
                value_bytes,
                lz4,
                in_memory,
            },
        }
    }

    /// The words that make a child process read the same scale.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let mut words = vec![
            format!("--entries={}", self.entries),
            format!("--seconds={}", self.seconds),
            format!("--seconds-max={}", self.seconds_max),
            format!("--value-bytes={}", self.value_bytes),
            format!("--memtable-mib={}", self.memtable_mib),
            format!("--cache-mib={}", self.cache_mib),
        ];
        words.extend(self.lz4.then(|| "--lz4".to_owned()));
        words.extend(self.in_memory.then(|| "--in-memory".to_owned()));
        words
    }

    pub(crate) fn settings(&self, path: &Path, durability: Durability) -> Settings {
        let weakened = self.in_memory && durability == Durability::Os;
        Settings {
            path: path.to_owned(),
            durability: if weakened { Durability::Memory } else { durability },
            memtable_bytes: self.memtable_mib << 20,
            cache_bytes: self.cache_mib << 20,
            lz4: self.lz4,
        }
    }
}
