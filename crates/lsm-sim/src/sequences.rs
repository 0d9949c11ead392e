//! All short sequences of operations that matter to the disk.

use lsm_engine::{Durability, Step};
use lsm_io::CrashPolicy;
use lsm_workload::Rng;

use crate::crash::Thoroughness;
use crate::data::OPERANDS;
use crate::history::History;
use crate::op::{Change, Op};
use crate::setup::Choice;

/// The operations that short sequences are made of.
fn alphabet(choice: Choice) -> Vec<Op> {
    let put = |key, value, durability| Op::Write { writes: vec![(0, key, value)], durability };
    vec![
        put(5, Some(40), Durability::Disk),
        put(5, Some(41), Durability::Memory),
        put(5, None, Durability::Os),
        put(5, Some(OPERANDS + 1), Durability::Disk),
        put(5, Some(OPERANDS + 2), Durability::Os),
        Op::Write {
            writes: vec![(0, 5, Some(42)), (1, 5, Some(43)), (0, 6, None)],
            durability: Durability::Disk,
        },
        Op::WriteAsync { writes: vec![(1, 6, Some(44)), (0, 7, Some(45))] },
        Op::Ingest { writes: vec![(0, 5, Some(46)), (0, 7, None)] },
        Op::Export { keyspace: 0, from: 0, to: None },
        Op::IngestTables { export: 0, keyspace: 1 },
        Op::DeleteRange {
            keyspace: 0,
            from: 5,
            to: None,
            writes: vec![(0, 6, Some(46))],
            durability: Durability::Disk,
        },
        Op::Transact {
            durability: Durability::Disk,
            rollback: false,
            ttl_ms: Some(1_000),
            by_cursor: false,
            keyspace: 0,
            from: 5,
            to: 8,
            reads: vec![(1, 5)],
            writes: vec![
                Change::DeleteRange { keyspace: 1, from: 5, to: None },
                Change::Write((0, 5, Some(47))),
                Change::Write((1, 6, None)),
            ],
            meanwhile: vec![(1, 7, Some(48))],
        },
        Op::PutIf { keyspace: 0, key: 5, matches: true, value: Some(49) },
        Op::Flush,
        Op::Compact { keyspace: 0, from: 0, to: 1 },
        Op::Sync,
        Op::Snapshot,
        Op::Background(Step::Log),
        Op::SetOptions { keyspace: 0, choice },
        Op::Create { keyspace: 1, choice },
        Op::Drop(1),
        Op::Checkpoint,
        Op::Reopen,
    ]
}

/// How many sequences of up to `length` operations there are.
pub fn sequence_count(length: u32) -> u64 {
    let letters = alphabet_length();
    (0..=length).map(|length| letters.pow(length)).sum()
}

fn alphabet_length() -> u64 {
    alphabet(Choice::random(&mut Rng::new(0))).len() as u64
}

/// A sequence by its number, shorter ones first, and which of its crashes are its own: those of the
/// last operation, for those of the others belong to shorter sequences. The seed decides the setup.
pub fn sequence(number: u64, seed: u64, recovery_stride: Option<u64>) -> (History, Thoroughness) {
    let seed = seed.wrapping_add(number);
    let choice = Choice::random(&mut Rng::new(seed));
    let alphabet = alphabet(choice);
    // There is a second keyspace, and something in both.
    let mut ops = vec![
        Op::Create { keyspace: 1, choice },
        Op::Write { writes: vec![(0, 5, Some(8)), (1, 5, Some(9))], durability: Durability::Disk },
    ];
    let mut length = 0;
    while number >= sequence_count(length) {
        length += 1;
    }
    let mut rest = number - if length == 0 { 0 } else { sequence_count(length - 1) };
    for _ in 0..length {
        ops.push(alphabet[(rest % alphabet.len() as u64) as usize].clone());
        rest /= alphabet.len() as u64;
    }
    let from_op = if length == 0 { 0 } else { ops.len() - 1 };
    let recovery_policies = CrashPolicy::ALL.len();
    let how = Thoroughness { from_op, stride: 1, recovery_stride, recovery_policies };
    (History::of(seed, ops), how)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sequence_has_a_number_of_its_own() {
        let mut all: Vec<String> = (0..sequence_count(2))
            .map(|number| {
                // The choice of options follows from the seed, so that it is the same for all.
                let seed = 0_u64.wrapping_sub(number);
                sequence(number, seed, None).0.to_text()
            })
            .collect();
        all.sort();
        all.dedup();
        assert_eq!(all.len() as u64, sequence_count(2));
        assert_eq!(sequence_count(2), 1 + 23 + 23 * 23);
    }
}
