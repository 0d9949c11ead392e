//! How the engine of a history is set up, and what its keyspaces choose.

use std::fmt;
use std::str::FromStr;

use lsm_engine::{
    CompactionPolicy, Compression, Durability, Env, FifoOptions, KeyspaceOptions,
    LazyLeveledOptions, LeveledOptions, Options, ReadMode, TieredOptions, ValueFilter,
};
use lsm_workload::Rng;

use crate::chain;
use crate::sieve::{FILTERED, Sieve};

/// Compaction policies, by number.
pub const POLICIES: &[&str] = &["leveled", "tiered", "lazy_leveled", "fifo"];
/// The number of the policy that lets the oldest tables go; where no limit is chosen it never does.
pub const FIFO: u8 = 3;
const COMPRESSIONS: &[&str] = &["none", "lz4", "zstd"];
/// Bytes of the log that hold more than any history writes.
pub const KEPT_BYTES: u32 = 16 << 20;
const BLOCK_BYTES: &[u32] = &[256, 1024, 4096];
/// What the clock of a history shows when it begins, in milliseconds since 1970.
pub const START_MS: u64 = 1_700_000_000_000;
/// From which length on values lie in blob files; 0: none do. Values of histories are up to 31 bytes
/// long, 300, or 5000.
const BLOB_THRESHOLDS: &[u32] = &[0, 64, 300, 301];

/// What a history chooses for a keyspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// One of [`POLICIES`].
    pub policy: u8,
    /// Which compression all levels have.
    pub compression: u8,
    /// Size of a block.
    pub block_bytes: u32,
    /// Whether tables have filters.
    pub filters: bool,
    /// How long puts are kept that do not say.
    pub ttl_ms: Option<u64>,
    /// From which length on values lie in blob files; 0: none do.
    pub blob_threshold_bytes: u32,
    /// How long what was deleted may stay on the disk.
    pub tombstone_age_limit_ms: Option<u64>,
    /// What merges do with its values.
    pub sieve: Sieve,
    /// Bytes beyond which FIFO lets the oldest go; 0: it never does for that.
    pub evict_bytes: u32,
    /// Milliseconds after which FIFO lets the oldest go; 0: it never does for that.
    pub evict_ms: u32,
}

impl Choice {
    /// A random choice.
    pub fn random(rng: &mut Rng) -> Self {
        Self {
            policy: rng.below(POLICIES.len() as u64) as u8,
            compression: rng.below(COMPRESSIONS.len() as u64) as u8,
            block_bytes: *rng.pick(BLOCK_BYTES),
            filters: rng.chance(0.8),
            ttl_ms: None,
            blob_threshold_bytes: *rng.pick(BLOB_THRESHOLDS),
            tombstone_age_limit_ms: None,
            sieve: Sieve::None,
            evict_bytes: 0,
            evict_ms: 0,
        }
    }

    /// The same for a keyspace of its own, sometimes with a time to live for every put that does not
    /// say, or a time within which what was deleted is gone; one keyspace mostly has its values
    /// filtered, and some of them removed.
    pub fn random_for(keyspace: u8, rng: &mut Rng) -> Self {
        let choice = Self::random(rng);
        let ttl_ms = rng.chance(0.3).then(|| *rng.pick(&[50, 2_000, 60_000]));
        let tombstone_age_limit_ms = rng.chance(0.4).then(|| *rng.pick(&[1, 1_000, 60_000]));
        let sieve = match keyspace {
            FILTERED if rng.chance(0.9) => *rng.pick(&[Sieve::Marks, Sieve::Removes]),
            _ => Sieve::None,
        };
        let evicts = choice.policy == FIFO && rng.chance(0.6);
        let (evict_bytes, evict_ms) = match evicts {
            true if rng.chance(0.8) => (*rng.pick(&[4 << 10, 12 << 10, 32 << 10]), 0),
            true => (0, *rng.pick(&[1_000, 60_000])),
            false => (0, 0),
        };
        Self { ttl_ms, tombstone_age_limit_ms, sieve, evict_bytes, evict_ms, ..choice }
    }

    /// The choice that led to these options, if one did.
    pub fn of(options: &KeyspaceOptions) -> Option<Self> {
        let (evict_bytes, evict_ms) = match &options.compaction {
            CompactionPolicy::Fifo(fifo) if fifo.bytes_max == FifoOptions::default().bytes_max => {
                (0, fifo.age_max_ms as u32)
            }
            CompactionPolicy::Fifo(fifo) => (fifo.bytes_max as u32, fifo.age_max_ms as u32),
            _ => (0, 0),
        };
        let sieve = Sieve::named(options.compaction_filter.as_ref().map(ValueFilter::name))?;
        let policies = 0..POLICIES.len() as u8;
        let mut choices = policies.flat_map(|policy| {
            (0..COMPRESSIONS.len() as u8).map(move |compression| Self {
                policy,
                compression,
                block_bytes: options.block_bytes,
                filters: options.filter_bits_per_key.is_some(),
                ttl_ms: options.ttl_ms,
                blob_threshold_bytes: options.blob_threshold_bytes.unwrap_or(0) as u32,
                tombstone_age_limit_ms: options.tombstone_age_limit_ms,
                sieve,
                evict_bytes,
                evict_ms,
            })
        });
        choices.find(|choice| choice.options() == *options)
    }

    /// Whether the oldest of what the keyspace holds may go.
    pub fn evicts(&self) -> bool {
        self.evict_bytes > 0 || self.evict_ms > 0
    }

    /// The same choice, but that nothing goes which nobody asked to.
    pub fn keeping_all(self) -> Self {
        let sieve = if self.sieve.removes() { Sieve::Marks } else { self.sieve };
        Self { sieve, evict_bytes: 0, evict_ms: 0, ..self }
    }

    /// The name of its policy.
    pub fn policy_name(&self) -> &'static str {
        POLICIES[usize::from(self.policy)]
    }

    /// The engine's options. Levels and tables are so small that a short history has several.
    pub fn options(&self) -> KeyspaceOptions {
        let table_bytes = 16 << 10;
        let compaction = match self.policy {
            0 => CompactionPolicy::Leveled(LeveledOptions {
                base_bytes: 32 << 10,
                size_ratio: 4,
                table_bytes,
                ..LeveledOptions::default()
            }),
            1 => {
                CompactionPolicy::Tiered(TieredOptions { table_bytes, ..TieredOptions::default() })
            }
            2 => CompactionPolicy::LazyLeveled(LazyLeveledOptions {
                table_bytes,
                ..LazyLeveledOptions::default()
            }),
            _ => CompactionPolicy::Fifo(self.fifo(table_bytes)),
        };
        let compression = match self.compression {
            0 => Compression::None,
            1 => Compression::Lz4,
            _ => Compression::Zstd(1),
        };
        KeyspaceOptions {
            compaction,
            compression: vec![compression],
            filter_bits_per_key: self.filters.then_some(10.0),
            block_bytes: self.block_bytes,
            ttl_ms: self.ttl_ms,
            merge_operator: Some(chain::operator()),
            compaction_filter: self.sieve.filter(),
            blob_threshold_bytes: match self.blob_threshold_bytes {
                0 => None,
                bytes => Some(bytes.into()),
            },
            tombstone_age_limit_ms: self.tombstone_age_limit_ms,
        }
    }
}

impl Choice {
    fn fifo(&self, table_bytes: u64) -> FifoOptions {
        let plain = FifoOptions { table_bytes, ..FifoOptions::default() };
        if !self.evicts() {
            return plain;
        }
        FifoOptions {
            bytes_max: if self.evict_bytes > 0 { self.evict_bytes.into() } else { plain.bytes_max },
            age_max_ms: self.evict_ms.into(),
            // Few, so that what is yet to go is merged too.
            runs: 4,
            ..plain
        }
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let compression = COMPRESSIONS[usize::from(self.compression)];
        let filters = if self.filters { "filters" } else { "bare" };
        write!(f, "{} {compression} {} {filters}", self.policy_name(), self.block_bytes)?;
        if let Some(ttl_ms) = self.ttl_ms {
            write!(f, " {ttl_ms}")?;
        }
        if self.blob_threshold_bytes > 0 {
            write!(f, " blobs{}", self.blob_threshold_bytes)?;
        }
        if let Some(limit_ms) = self.tombstone_age_limit_ms {
            write!(f, " forget{limit_ms}")?;
        }
        if self.evict_bytes > 0 {
            write!(f, " evict{}", self.evict_bytes)?;
        }
        if self.evict_ms > 0 {
            write!(f, " age{}", self.evict_ms)?;
        }
        match self.sieve {
            Sieve::None => Ok(()),
            Sieve::Marks => f.write_str(" filtered"),
            Sieve::Removes => f.write_str(" removing"),
        }
    }
}

impl FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("\"{text}\" is no choice of options, as \"leveled lz4 1024 bare\" is");
        let place = |names: &[&str], name: &str| {
            names.iter().position(|it| *it == name).map(|place| place as u8).ok_or_else(wrong)
        };
        let mut words: Vec<&str> = text.split_whitespace().collect();
        // What may follow the rest.
        let (mut ttl_ms, mut tombstone_age_limit_ms, mut blobs) = (None, None, "0");
        let (mut sieve, mut evict_bytes, mut evict_ms) = (Sieve::None, 0, 0);
        for word in words.drain(4.min(words.len())..) {
            if let Some(bytes) = word.strip_prefix("blobs") {
                blobs = bytes;
            } else if let Some(limit_ms) = word.strip_prefix("forget") {
                tombstone_age_limit_ms = Some(limit_ms.parse().map_err(|_| wrong())?);
            } else if let Some(bytes) = word.strip_prefix("evict") {
                evict_bytes = bytes.parse().map_err(|_| wrong())?;
            } else if let Some(ms) = word.strip_prefix("age") {
                evict_ms = ms.parse().map_err(|_| wrong())?;
            } else if word == "filtered" {
                sieve = Sieve::Marks;
            } else if word == "removing" {
                sieve = Sieve::Removes;
            } else {
                ttl_ms = Some(word.parse().map_err(|_| wrong())?);
            }
        }
        let &[policy, compression, block_bytes, filters] = words.as_slice() else {
            return Err(wrong());
        };
        let blobs = blobs.parse().ok().filter(|bytes| BLOB_THRESHOLDS.contains(bytes));
        let block_bytes = block_bytes.parse().ok().filter(|bytes| BLOCK_BYTES.contains(bytes));
        Ok(Self {
            policy: place(POLICIES, policy)?,
            compression: place(COMPRESSIONS, compression)?,
            block_bytes: block_bytes.ok_or_else(wrong)?,
            filters: place(&["bare", "filters"], filters)? == 1,
            ttl_ms,
            blob_threshold_bytes: blobs.ok_or_else(wrong)?,
            tombstone_age_limit_ms,
            sieve,
            evict_bytes,
            evict_ms,
        })
    }
}

/// How the engine of a history is set up, drawn from the history's seed.
#[derive(Clone, Debug, PartialEq)]
pub struct Setup {
    /// Size at which memtables are sealed, in bytes.
    pub memtable_bytes: u64,
    /// Where blocks are read from.
    pub read_mode: ReadMode,
    /// Whether log segments are mapped.
    pub map_log: bool,
    /// What writes that do not say ask for; tickets are such.
    pub durability: Durability,
    /// What the default keyspace begins with.
    pub choice: Choice,
    /// Whether the least memory that there can be has to do for memtables of all keyspaces, most of it
    /// being the cache's, and their size follows from that.
    pub is_tight: bool,
    /// Whether the log is kept for followers, longer than any history goes back.
    pub keeps_changes: bool,
}

impl Setup {
    /// A random setup.
    pub fn random(rng: &mut Rng) -> Self {
        Self {
            memtable_bytes: *rng.pick(&[16 << 10, 32 << 10, 128 << 10]),
            read_mode: *rng.pick(&[ReadMode::Mapped, ReadMode::Cached]),
            map_log: rng.chance(0.6),
            durability: *rng.pick(&[
                Durability::Disk,
                Durability::Disk,
                Durability::Disk,
                Durability::Os,
                Durability::Memory,
            ]),
            choice: Choice::random(rng),
            is_tight: rng.chance(0.2),
            keeps_changes: rng.chance(0.4),
        }
    }

    /// The names under which its choices are counted.
    pub fn names(&self) -> Vec<String> {
        let yes = |is: bool, yes: &str, no: &str| if is { yes.to_owned() } else { no.to_owned() };
        vec![
            format!("policy.{}", self.choice.policy_name()),
            format!("compression.{}", COMPRESSIONS[usize::from(self.choice.compression)]),
            yes(self.choice.filters, "tables.with_filters", "tables.without_filters"),
            yes(self.choice.blob_threshold_bytes > 0, "values.apart", "values.beside_keys"),
            yes(self.read_mode == ReadMode::Mapped, "reads.mapped", "reads.cached"),
            yes(self.map_log, "log.mapped", "log.written"),
            yes(self.is_tight, "memory.tight", "memory.ample"),
            yes(self.keeps_changes, "changes.kept", "changes.not_kept"),
        ]
    }

    /// The options that they come to, in the world `env`.
    pub fn options(&self, env: Env) -> Options {
        let memory_bytes = 4 << 20;
        let cache_bytes = if self.is_tight { memory_bytes / 8 * 7 } else { 64 << 10 };
        Options {
            memory_bytes,
            memtable_bytes: (!self.is_tight).then_some(self.memtable_bytes),
            cache_bytes: Some(cache_bytes),
            changes_retention_bytes: if self.keeps_changes { KEPT_BYTES.into() } else { 0 },
            durability: self.durability,
            log_segment_bytes: 64 << 10,
            log_bytes_max: 256 << 10,
            read_mode: self.read_mode,
            map_log: self.map_log,
            keyspace: self.choice.options(),
            env,
            ..Options::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_reads_back_from_its_text() {
        let mut rng = Rng::new(7);
        for keyspace in 0..100 {
            let choice = Choice::random_for(keyspace % 4, &mut rng);
            assert_eq!(choice.to_string().parse(), Ok(choice));
        }
        assert!("leveled lz4 17 bare".parse::<Choice>().is_err());
    }
}
