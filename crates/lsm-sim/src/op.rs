//! The one op language: what a history is made of, as random draws and as lines of text.

use std::fmt;
use std::str::FromStr;

use lsm_engine::{Durability, Step};
use lsm_io::CrashPolicy;
use lsm_workload::Rng;

/// Keyspaces that histories write to; 0 is the default one.
pub const KEYSPACES: u8 = 2;
/// Different keys that histories use: few, so that they meet again.
pub const KEYS: u16 = 64;
/// Compaction policies that histories switch between.
pub const POLICIES: u8 = 4;

/// One write of a batch: keyspace, key, and the value's number (`None`: delete).
pub type Write = (u8, u16, Option<u32>);

/// One step of a history. Keys and values are numbers; see [`key_bytes`] and [`value_bytes`].
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// Writes that are applied together.
    Write {
        /// What is written.
        writes: Vec<Write>,
        /// When it is acknowledged.
        durability: Durability,
    },
    /// One key is read in every way there is.
    Get {
        /// The keyspace.
        keyspace: u8,
        /// The key.
        key: u16,
    },
    /// Several keys are read at one moment.
    MultiGet {
        /// The keyspace.
        keyspace: u8,
        /// The keys.
        keys: Vec<u16>,
    },
    /// A range is scanned, alternating between its ends where `both` is set.
    Scan {
        /// The keyspace.
        keyspace: u8,
        /// The first key, inclusive.
        from: u16,
        /// The last key, exclusive.
        to: u16,
        /// From the upper end downwards.
        reverse: bool,
        /// From both ends in turn.
        both: bool,
    },
    /// A cursor is sought and moved at random.
    Walk {
        /// The keyspace.
        keyspace: u8,
        /// Decides the moves.
        seed: u32,
    },
    /// The present is kept readable.
    Snapshot,
    /// A kept moment is read whole.
    ReadSnapshot(u8),
    /// A kept moment is let go.
    Release(u8),
    /// All memtables become tables.
    Flush,
    /// A range is merged to the bottom.
    Compact {
        /// The keyspace.
        keyspace: u8,
        /// The first key.
        from: u16,
        /// The last key.
        to: u16,
    },
    /// One piece of background work.
    Background(Step),
    /// Everything so far becomes durable.
    Sync,
    /// The keyspace gets another compaction policy.
    Policy {
        /// The keyspace.
        keyspace: u8,
        /// Its number.
        policy: u8,
    },
    /// The database is closed and opened again.
    Reopen,
    /// The process is killed and the database opened again.
    Kill,
    /// The power is cut and the database opened again.
    PowerCut(CrashPolicy),
}

/// The names under which operations are counted.
pub const OP_NAMES: &[&str] = &[
    "put",
    "delete",
    "batch",
    "get",
    "multi_get",
    "scan",
    "walk",
    "snapshot",
    "read_snapshot",
    "release",
    "flush",
    "compact",
    "background",
    "sync",
    "policy",
    "reopen",
    "kill",
    "power_cut",
];

impl Op {
    /// A random op.
    pub fn random(rng: &mut Rng) -> Self {
        let keyspace = rng.below(u64::from(KEYSPACES)) as u8;
        match rng.below(100) {
            0..38 => Self::Write {
                writes: vec![random_write(rng, keyspace)],
                durability: random_durability(rng),
            },
            38..48 => {
                let count = 2 + rng.below(12);
                let writes = (0..count).map(|_| {
                    let keyspace = rng.below(u64::from(KEYSPACES)) as u8;
                    random_write(rng, keyspace)
                });
                Self::Write { writes: writes.collect(), durability: random_durability(rng) }
            }
            48..56 => Self::Get { keyspace, key: random_key(rng) },
            56..59 => {
                let count = rng.below(9);
                let keys = (0..count).map(|_| random_key(rng)).collect();
                Self::MultiGet { keyspace, keys }
            }
            59..66 => Self::Scan {
                keyspace,
                from: random_key(rng),
                to: random_key(rng),
                reverse: rng.chance(0.5),
                both: rng.chance(0.3),
            },
            66..70 => Self::Walk { keyspace, seed: rng.next_u64() as u32 },
            70..73 => Self::Snapshot,
            73..76 => Self::ReadSnapshot(rng.below(4) as u8),
            76..78 => Self::Release(rng.below(4) as u8),
            78..80 => Self::Flush,
            80..82 => Self::Compact { keyspace, from: random_key(rng), to: random_key(rng) },
            82..91 => {
                Self::Background(*rng.pick(&[Step::Log, Step::Flush, Step::Compact, Step::Compact]))
            }
            91..93 => Self::Sync,
            93..95 => Self::Policy { keyspace, policy: rng.below(u64::from(POLICIES)) as u8 },
            95..97 => Self::Reopen,
            97 => Self::Kill,
            _ => Self::PowerCut(*rng.pick(&CrashPolicy::ALL)),
        }
    }

    /// The name under which it is counted.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Write { writes, .. } if writes.len() > 1 => "batch",
            Self::Write { writes, .. } if writes.first().is_some_and(|w| w.2.is_none()) => "delete",
            Self::Write { .. } => "put",
            Self::Get { .. } => "get",
            Self::MultiGet { .. } => "multi_get",
            Self::Scan { .. } => "scan",
            Self::Walk { .. } => "walk",
            Self::Snapshot => "snapshot",
            Self::ReadSnapshot(_) => "read_snapshot",
            Self::Release(_) => "release",
            Self::Flush => "flush",
            Self::Compact { .. } => "compact",
            Self::Background(_) => "background",
            Self::Sync => "sync",
            Self::Policy { .. } => "policy",
            Self::Reopen => "reopen",
            Self::Kill => "kill",
            Self::PowerCut(_) => "power_cut",
        }
    }
}

fn random_key(rng: &mut Rng) -> u16 {
    rng.below(u64::from(KEYS)) as u16
}

fn random_write(rng: &mut Rng, keyspace: u8) -> Write {
    let value = if rng.chance(0.25) { None } else { Some(rng.next_u64() as u32) };
    (keyspace, random_key(rng), value)
}

fn random_durability(rng: &mut Rng) -> Durability {
    *rng.pick(&[Durability::Disk, Durability::Disk, Durability::Os, Durability::Memory])
}

/// The bytes of a key: short ones, ones that share a long prefix, the empty one, 0xFF bytes.
pub fn key_bytes(key: u16) -> Vec<u8> {
    match key {
        0 => Vec::new(),
        1 => vec![0xFF],
        2 => vec![0xFF, 0xFF],
        3 => vec![0],
        _ => match key % 3 {
            0 => format!("tenant/0042/user/{key:05}").into_bytes(),
            1 => format!("tenant/{key}").into_bytes(),
            _ => key.to_be_bytes().to_vec(),
        },
    }
}

/// The bytes of a value: mostly short, sometimes empty, seldom longer than a block.
pub fn value_bytes(value: u32) -> Vec<u8> {
    let length = match value % 32 {
        0 => 0,
        1 => 5000,
        2..8 => 300,
        rest => rest as usize,
    };
    let text = format!("v{value}-").into_bytes();
    text.iter().copied().cycle().take(length).collect()
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write { writes, durability } => {
                write!(f, "write {durability:?}")?;
                for (keyspace, key, value) in writes {
                    match value {
                        Some(value) => write!(f, " {keyspace}/{key}={value}")?,
                        None => write!(f, " {keyspace}/{key}=-")?,
                    }
                }
                Ok(())
            }
            Self::Get { keyspace, key } => write!(f, "get {keyspace} {key}"),
            Self::MultiGet { keyspace, keys } => {
                write!(f, "multi_get {keyspace}")?;
                keys.iter().try_for_each(|key| write!(f, " {key}"))
            }
            Self::Scan { keyspace, from, to, reverse, both } => {
                write!(f, "scan {keyspace} {from} {to} {reverse} {both}")
            }
            Self::Walk { keyspace, seed } => write!(f, "walk {keyspace} {seed}"),
            Self::Snapshot => f.write_str("snapshot"),
            Self::ReadSnapshot(index) => write!(f, "read_snapshot {index}"),
            Self::Release(index) => write!(f, "release {index}"),
            Self::Flush => f.write_str("flush"),
            Self::Compact { keyspace, from, to } => write!(f, "compact {keyspace} {from} {to}"),
            Self::Background(step) => write!(f, "background {step:?}"),
            Self::Sync => f.write_str("sync"),
            Self::Policy { keyspace, policy } => write!(f, "policy {keyspace} {policy}"),
            Self::Reopen => f.write_str("reopen"),
            Self::Kill => f.write_str("kill"),
            Self::PowerCut(policy) => write!(f, "power_cut {policy:?}"),
        }
    }
}

impl FromStr for Op {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let wrong = || format!("\"{line}\" is no operation");
        let mut words = line.split_whitespace();
        let name = words.next().ok_or_else(wrong)?;
        let rest: Vec<&str> = words.collect();
        let word = |index: usize| rest.get(index).copied().ok_or_else(wrong);
        Ok(match name {
            "write" => Self::Write {
                durability: match word(0)? {
                    "Disk" => Durability::Disk,
                    "Os" => Durability::Os,
                    "Memory" => Durability::Memory,
                    _ => return Err(wrong()),
                },
                writes: rest[1..]
                    .iter()
                    .map(|w| parse_write(w).ok_or_else(wrong))
                    .collect::<Result<_, _>>()?,
            },
            "get" => Self::Get { keyspace: number(word(0)?)?, key: number(word(1)?)? },
            "multi_get" => Self::MultiGet {
                keyspace: number(word(0)?)?,
                keys: rest[1..].iter().map(|key| number(key)).collect::<Result<_, _>>()?,
            },
            "scan" => Self::Scan {
                keyspace: number(word(0)?)?,
                from: number(word(1)?)?,
                to: number(word(2)?)?,
                reverse: number(word(3)?)?,
                both: number(word(4)?)?,
            },
            "walk" => Self::Walk { keyspace: number(word(0)?)?, seed: number(word(1)?)? },
            "snapshot" => Self::Snapshot,
            "read_snapshot" => Self::ReadSnapshot(number(word(0)?)?),
            "release" => Self::Release(number(word(0)?)?),
            "flush" => Self::Flush,
            "compact" => Self::Compact {
                keyspace: number(word(0)?)?,
                from: number(word(1)?)?,
                to: number(word(2)?)?,
            },
            "background" => Self::Background(match word(0)? {
                "Log" => Step::Log,
                "Flush" => Step::Flush,
                "Compact" => Step::Compact,
                _ => return Err(wrong()),
            }),
            "sync" => Self::Sync,
            "policy" => Self::Policy { keyspace: number(word(0)?)?, policy: number(word(1)?)? },
            "reopen" => Self::Reopen,
            "kill" => Self::Kill,
            "power_cut" => {
                let name = word(0)?;
                let named = |policy: &CrashPolicy| format!("{policy:?}") == name;
                Self::PowerCut(CrashPolicy::ALL.into_iter().find(named).ok_or_else(wrong)?)
            }
            _ => return Err(wrong()),
        })
    }
}

fn number<T: FromStr>(word: &str) -> Result<T, String> {
    word.parse().map_err(|_| format!("\"{word}\" is no number here"))
}

fn parse_write(word: &str) -> Option<Write> {
    let (keyspace, rest) = word.split_once('/')?;
    let (key, value) = rest.split_once('=')?;
    let value = if value == "-" { None } else { Some(value.parse().ok()?) };
    Some((keyspace.parse().ok()?, key.parse().ok()?, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_reads_back_from_its_text() {
        let mut rng = Rng::new(7);
        for _ in 0..2000 {
            let op = Op::random(&mut rng);
            assert_eq!(op.to_string().parse::<Op>(), Ok(op));
        }
    }
}
