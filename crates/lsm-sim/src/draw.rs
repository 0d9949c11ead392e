//! How histories are drawn: which operations, how often.

use lsm_engine::{Durability, Step};
use lsm_io::CrashPolicy;
use lsm_workload::Rng;

use crate::chain::is_operand;
use crate::data::{KEYS, KEYSPACES, OPERANDS, Write, rank};
use crate::op::{Change, Op};
use crate::setup::{Choice, KEPT_BYTES};

/// How long values are kept that have a time to live, in milliseconds.
const TTLS_MS: &[u32] = &[1, 50, 1_000, 20_000, 1_000_000];

/// What a history is for, and so what it is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mix {
    /// Everything there is, kills and power cuts included, often.
    Short,
    /// What changes the disk, with large values so that the log goes from segment to segment; the
    /// crashes are the enumeration's.
    Crash,
    /// Reads and writes by the million; one reopening in ten thousand, a crash still more seldom.
    Long,
}

impl Mix {
    /// A random op that may follow another: some happen only where something has gone before.
    pub fn draw_after(self, rng: &mut Rng, last: Option<&Op>) -> Op {
        match (self, last) {
            // What is in flight soon lands by itself, and then nobody waits for it.
            (Self::Crash, Some(Op::WriteAsync { .. })) if rng.chance(0.6) => self.wait(rng),
            (Self::Crash | Self::Short, Some(Op::WriteTtl { ttl_ms, .. })) if rng.chance(0.3) => {
                Op::Tick(*ttl_ms)
            }
            // Who is told what has expired is told it for good, wherever the clock is set at a crash.
            (Self::Crash | Self::Short, Some(Op::Tick(_))) if rng.chance(0.4) => {
                let from = (0..KEYS).min_by_key(|key| rank(*key)).unwrap_or(0);
                let to = (0..KEYS).max_by_key(|key| rank(*key)).unwrap_or(0);
                self.scan(rng, from, to)
            }
            (Self::Short, Some(Op::Scan { .. } | Op::Get { .. })) if rng.chance(0.05) => {
                Op::SetBack(*rng.pick(&[1, 150, 1_000, 200_000]))
            }
            (Self::Short, Some(Op::SetBack(_))) if rng.chance(0.5) => {
                Op::PowerCut(*rng.pick(&CrashPolicy::ALL))
            }
            (Self::Crash, _) => self.crash(rng),
            (Self::Short, _) => self.short(rng),
            (Self::Long, _) => self.long(rng),
        }
    }

    fn wait(self, rng: &mut Rng) -> Op {
        match rng.below(8) {
            // Mostly there is one ticket, and the newest commit is the one that is not durable yet.
            0..4 => Op::Wait(rng.below(4).saturating_sub(2) as u8),
            4..7 => Op::WaitDurable(rng.below(4).saturating_sub(2) as u8),
            _ => Op::Sync,
        }
    }

    fn short(self, rng: &mut Rng) -> Op {
        match rng.below(100) {
            0..27 => self.write(rng),
            27..30 => self.delete_range(rng),
            30..38 => self.batch(rng),
            38..42 => Op::WriteAsync { writes: self.writes(rng) },
            42..75 => self.read(rng),
            75..78 => self.transaction(rng),
            78..80 => Op::Flush,
            80..82 => self.compact(rng),
            82..89 => Op::Background(random_step(rng)),
            89..96 => self.rare(rng),
            96 => Op::Reopen,
            97 => Op::Kill,
            _ => Op::PowerCut(*rng.pick(&CrashPolicy::ALL)),
        }
    }

    fn crash(self, rng: &mut Rng) -> Op {
        match rng.below(100) {
            0..20 => self.write(rng),
            20..24 => self.delete_range(rng),
            24..35 => self.batch(rng),
            35..40 => self.transaction(rng),
            40..50 => Op::WriteAsync { writes: self.writes(rng) },
            50..64 => self.read(rng),
            64..66 => Op::Follow,
            66..70 => Op::Flush,
            70..73 => self.compact(rng),
            73..85 => Op::Background(random_step(rng)),
            85..98 => self.rare(rng),
            _ => Op::Reopen,
        }
    }

    fn long(self, rng: &mut Rng) -> Op {
        let keyspace = random_keyspace(rng);
        match rng.below(100_000) {
            0..39_900 => self.write(rng),
            39_900..40_000 => self.delete_range(rng),
            40_000..45_000 => self.batch(rng),
            45_000..46_000 => Op::WriteAsync { writes: self.writes(rng) },
            46_000..46_500 => self.transaction(rng),
            46_500..86_000 => Op::Get { keyspace, key: self.key(rng) },
            86_000..88_000 => self.multi_get(rng),
            88_000..92_000 => {
                // Every third key is a neighbour.
                let from = rng.below(u64::from(KEYS) - 24) as u16;
                self.scan(rng, from, from + 24)
            }
            92_000..93_000 => Op::Walk { keyspace, seed: rng.next_u64() as u32 },
            93_000..98_900 => Op::Background(random_step(rng)),
            98_900..99_000 => self.compact(rng),
            99_000..99_100 => self.read(rng),
            99_100..99_980 if rng.chance(0.1) => self.rare(rng),
            99_980..99_990 => Op::Reopen,
            99_990 => Op::Kill,
            99_992..99_996 => Op::Flush,
            99_991 => Op::PowerCut(*rng.pick(&CrashPolicy::ALL)),
            _ => Op::Background(Step::Log),
        }
    }

    fn read(self, rng: &mut Rng) -> Op {
        let keyspace = random_keyspace(rng);
        match rng.below(39) {
            0..8 => Op::Get { keyspace, key: self.key(rng) },
            8..11 => self.multi_get(rng),
            11..17 => {
                let (from, to) = (self.key(rng), self.key(rng));
                self.scan(rng, from, to)
            }
            17..21 => Op::Walk { keyspace, seed: rng.next_u64() as u32 },
            21 => Op::OpenScan { keyspace },
            22..25 => Op::Advance { scan: rng.below(2) as u8, count: 1 + rng.below(20) as u8 },
            25..27 => Op::Snapshot,
            27..31 => Op::ReadSnapshot(rng.below(4) as u8),
            31..33 => Op::Release(rng.below(4) as u8),
            33 => Op::ReadBeside,
            34..36 => Op::ReadReader,
            _ => Op::Follow,
        }
    }

    fn rare(self, rng: &mut Rng) -> Op {
        let keyspace = 1 + rng.below(u64::from(KEYSPACES) - 1) as u8;
        match rng.below(34) {
            32..34 => {
                let keyspace = random_keyspace(rng);
                Op::Sweep { keyspace, durability: self.durability(rng) }
            }
            28..30 => self.export(rng),
            30..32 => Op::IngestTables {
                export: rng.below(4).saturating_sub(1) as u8,
                keyspace: random_keyspace(rng),
            },
            27 => Op::KeepChanges {
                bytes: *rng.pick(&[0, 64 << 10, KEPT_BYTES, KEPT_BYTES]),
                ms: *rng.pick(&[None, None, Some(1_000), Some(200_000)]),
            },
            20..25 => Op::Tick(*rng.pick(&[1, 49, 50, 1_000, 20_000, 200_000])),
            25 => Op::SetBack(*rng.pick(&[1, 1_000, 200_000])),
            26 => self.with_ttl(rng),
            16 => Op::Checkpoint,
            0..2 => Op::Sync,
            2 => Op::Verify,
            3..5 => Op::Wait(rng.below(3) as u8),
            17..20 => Op::Ingest { writes: self.ingested(rng) },
            5 => Op::ForgetTickets,
            6..8 => Op::WaitDurable(rng.below(4) as u8),
            8..11 => Op::Create { keyspace, choice: Choice::random_for(keyspace, rng) },
            11..13 => Op::Drop(keyspace),
            _ => {
                let keyspace = random_keyspace(rng);
                Op::SetOptions { keyspace, choice: Choice::random_for(keyspace, rng) }
            }
        }
    }

    fn write(self, rng: &mut Rng) -> Op {
        let keyspace = random_keyspace(rng);
        Op::Write { writes: vec![self.one_write(rng, keyspace)], durability: self.durability(rng) }
    }

    fn batch(self, rng: &mut Rng) -> Op {
        if rng.chance(0.25) {
            return self.with_ttl(rng);
        }
        Op::Write { writes: self.writes(rng), durability: self.durability(rng) }
    }

    /// Bounds near each other, so that ranges overlap and leave something; sometimes without an end,
    /// seldom the wrong way round.
    fn delete_range(self, rng: &mut Rng) -> Op {
        let keyspace = random_keyspace(rng);
        let (from, to) = self.range(rng);
        let writes = if rng.chance(0.4) { self.writes(rng) } else { Vec::new() };
        Op::DeleteRange { keyspace, from, to, writes, durability: self.durability(rng) }
    }

    /// A range that is mostly short.
    fn range(self, rng: &mut Rng) -> (u16, Option<u16>) {
        let from = self.key(rng);
        let others: Vec<u16> = (0..4).map(|_| self.key(rng)).collect();
        let above = others.iter().copied().filter(|other| rank(*other) > rank(from));
        let nearest = above.min_by_key(|other| rank(*other)).unwrap_or(others[0]);
        (from, (!rng.chance(0.08)).then_some(nearest))
    }

    fn with_ttl(self, rng: &mut Rng) -> Op {
        let ttl_ms = *rng.pick(TTLS_MS);
        let writes = if rng.chance(0.5) {
            self.writes(rng)
        } else {
            let keyspace = random_keyspace(rng);
            vec![self.one_write(rng, keyspace)]
        };
        Op::WriteTtl { ttl_ms, writes, durability: self.durability(rng) }
    }

    fn writes(self, rng: &mut Rng) -> Vec<Write> {
        let count = 2 + rng.below(12);
        let mut one = || {
            let keyspace = random_keyspace(rng);
            self.one_write(rng, keyspace)
        };
        (0..count).map(|_| one()).collect()
    }

    /// A transaction, or a compare-and-set. What others write meanwhile often meets what it has read.
    fn transaction(self, rng: &mut Rng) -> Op {
        let keyspace = random_keyspace(rng);
        if rng.chance(0.35) {
            let value = (!rng.chance(0.25)).then(|| rng.next_u64() as u32 % OPERANDS);
            return Op::PutIf { keyspace, key: self.key(rng), matches: rng.chance(0.8), value };
        }
        let (from, others) = (self.key(rng), [self.key(rng), self.key(rng)]);
        let near = |key: &u16| rank(*key).abs_diff(rank(from));
        let to = others.into_iter().min_by_key(near).unwrap_or(from);
        let reads: Vec<_> =
            (0..rng.below(4)).map(|_| (random_keyspace(rng), self.key(rng))).collect();
        let mut meanwhile = Vec::new();
        if rng.chance(0.5) {
            // Values: of a key that came and went again there may be no trace.
            let (keyspace, key) = match reads.first() {
                Some(read) if rng.chance(0.4) => *read,
                _ => (random_keyspace(rng), self.key(rng)),
            };
            meanwhile.push((keyspace, key, Some(rng.next_u64() as u32 % OPERANDS)));
        }
        let writes = if rng.chance(0.9) { self.changes(rng) } else { Vec::new() };
        Op::Transact {
            durability: self.durability(rng),
            rollback: rng.chance(0.1),
            ttl_ms: rng.chance(0.3).then(|| *rng.pick(TTLS_MS)),
            by_cursor: rng.chance(0.15),
            keyspace,
            from,
            to,
            reads,
            writes,
            meanwhile,
        }
    }

    /// What a transaction writes: mostly single keys, with ranges and prefixes among them.
    fn changes(self, rng: &mut Rng) -> Vec<Change> {
        let mut changes: Vec<Change> = self.writes(rng).into_iter().map(Change::Write).collect();
        if rng.chance(0.3) {
            let keyspace = random_keyspace(rng);
            let change = if rng.chance(0.7) {
                let (from, to) = self.range(rng);
                Change::DeleteRange { keyspace, from, to }
            } else {
                Change::DeletePrefix { keyspace, key: self.key(rng) }
            };
            changes.insert(rng.below(changes.len() as u64 + 1) as usize, change);
        }
        changes
    }

    fn ingested(self, rng: &mut Rng) -> Vec<Write> {
        let keyspace = random_keyspace(rng);
        let count = 1 + rng.below(16);
        let mut writes: Vec<Write> = (0..count).map(|_| self.one_write(rng, keyspace)).collect();
        // What is brought in sorted are values.
        writes.retain(|write| !write.2.is_some_and(is_operand));
        writes
    }

    /// Mostly all of a keyspace: a short range has mostly nothing in it.
    fn export(self, rng: &mut Rng) -> Op {
        let keyspace = random_keyspace(rng);
        let (from, to) = if rng.chance(0.6) { (0, None) } else { self.range(rng) };
        Op::Export { keyspace, from, to }
    }

    fn one_write(self, rng: &mut Rng, keyspace: u8) -> Write {
        let is_delete = rng.chance(0.25);
        let large = self == Self::Crash && rng.chance(0.3);
        let value = rng.next_u64() as u32 % OPERANDS;
        if rng.chance(0.15) {
            return (keyspace, self.key(rng), Some(OPERANDS + value % 1000));
        }
        let value = match self {
            // Of 32 numbers one is that of a value larger than a block.
            Self::Crash if large => value / 32 * 32 + 1,
            // Seldom: what is written is copied again and again.
            Self::Long if value % 32 == 1 && !rng.chance(0.2) => value + 20,
            _ => value,
        };
        (keyspace, self.key(rng), (!is_delete).then_some(value))
    }

    fn multi_get(self, rng: &mut Rng) -> Op {
        let keyspace = random_keyspace(rng);
        let count = rng.below(9);
        Op::MultiGet { keyspace, keys: (0..count).map(|_| self.key(rng)).collect() }
    }

    fn scan(self, rng: &mut Rng, from: u16, to: u16) -> Op {
        Op::Scan {
            keyspace: random_keyspace(rng),
            from,
            to,
            reverse: rng.chance(0.5),
            both: rng.chance(0.3),
        }
    }

    fn compact(self, rng: &mut Rng) -> Op {
        Op::Compact { keyspace: random_keyspace(rng), from: self.key(rng), to: self.key(rng) }
    }

    /// Few keys where histories are short, so that they meet again.
    fn key(self, rng: &mut Rng) -> u16 {
        let count = if self == Self::Long { KEYS } else { 64 };
        rng.below(u64::from(count)) as u16
    }

    fn durability(self, rng: &mut Rng) -> Durability {
        match self {
            Self::Long if rng.chance(0.95) => *rng.pick(&[Durability::Os, Durability::Memory]),
            _ => {
                *rng.pick(&[Durability::Disk, Durability::Disk, Durability::Os, Durability::Memory])
            }
        }
    }
}

/// The default keyspace is there always, others now and then.
fn random_keyspace(rng: &mut Rng) -> u8 {
    if rng.chance(0.4) { 0 } else { rng.below(u64::from(KEYSPACES)) as u8 }
}

fn random_step(rng: &mut Rng) -> Step {
    *rng.pick(&[Step::Log, Step::Flush, Step::Compact, Step::Compact])
}
