//! What one writer of the load commits: an endless list that follows from a seed.
//!
//! Invariant: commit `n` depends on seed, writer and `n` alone. A process that goes on after a crash
//! at commit `n + 1` writes what the one before it would have written, so that the contents of a
//! writer's keys are a function of how many of its commits are there.

use lsm_engine::{
    CompactionPolicy, Durability, FifoOptions, LazyLeveledOptions, LeveledOptions, TieredOptions,
};
use lsm_workload::Rng;

use crate::contents::State;

/// Writers of a load; no two share a key.
pub const WRITERS: u8 = 4;
/// Keyspaces that the load writes to, by name, each under a policy of its own.
pub const KEYSPACES: [&str; 4] = ["default", "tiered", "lazy-leveled", "first-in-first-out"];
/// Different keys of a writer in each keyspace: few, so that versions of one key meet in merges.
const KEYS: u64 = 64;

/// The policy of the keyspace with this index.
pub fn policy_of(keyspace: usize) -> CompactionPolicy {
    match keyspace {
        0 => CompactionPolicy::Leveled(LeveledOptions::default()),
        1 => CompactionPolicy::Tiered(TieredOptions::default()),
        2 => CompactionPolicy::LazyLeveled(LazyLeveledOptions::default()),
        _ => CompactionPolicy::Fifo(FifoOptions::default()),
    }
}

/// One commit of a writer.
#[derive(Clone, Debug, PartialEq)]
pub struct Commit {
    /// Keyspace, key, and value (`None`: delete). The first one sets the writer's counter.
    pub writes: Vec<(usize, Vec<u8>, Option<Vec<u8>>)>,
    /// When it is acknowledged.
    pub durability: Durability,
    /// Whether the writer waits afterwards until everything it has written is on the disk.
    pub then_sync: bool,
}

/// The commits of one writer.
#[derive(Clone, Copy, Debug)]
pub struct Stream {
    /// Decides everything.
    pub seed: u64,
    /// Which writer.
    pub writer: u8,
}

impl Stream {
    /// The key, in the first keyspace, under which the writer keeps how many commits it has made.
    pub fn counter_key(&self) -> Vec<u8> {
        format!("{}/count", self.writer).into_bytes()
    }

    /// What every key of the writer begins with.
    pub fn prefix(&self) -> Vec<u8> {
        format!("{}/", self.writer).into_bytes()
    }

    /// Commit number `n`; the first is 1.
    pub fn commit(&self, n: u64) -> Commit {
        let mut rng =
            Rng::new(self.seed ^ n.rotate_left(8) ^ u64::from(self.writer).rotate_left(56));
        let mut writes = vec![(0, self.counter_key(), Some(n.to_string().into_bytes()))];
        // Half of the commits are single puts, which take a path of their own through the engine.
        let further = if rng.chance(0.5) { 0 } else { rng.range(1..9) };
        for _ in 0..further {
            let keyspace = rng.below(KEYSPACES.len() as u64) as usize;
            let key = format!("{}/{:03}", self.writer, rng.below(KEYS)).into_bytes();
            let value = rng.chance(0.8).then(|| self.value(n, &mut rng));
            writes.push((keyspace, key, value));
        }
        let durability = *rng.pick(&[Durability::Disk, Durability::Os, Durability::Memory]);
        Commit { writes, durability, then_sync: rng.chance(0.02) }
    }

    /// The commit's number, so that a wrong value says where it comes from, and random bytes.
    fn value(&self, n: u64, rng: &mut Rng) -> Vec<u8> {
        let mut value = format!("{}/{n}:", self.writer).into_bytes();
        // Now and then larger than a block.
        let random_bytes = if rng.chance(0.02) { rng.range(3000..9000) } else { rng.range(0..200) };
        let begin = value.len();
        value.resize(begin + random_bytes as usize, 0);
        rng.fill(&mut value[begin..]);
        value
    }

    /// Applies commit `n` to what the writer's keys hold.
    pub fn apply(&self, n: u64, state: &mut State) {
        for (keyspace, key, value) in self.commit(n).writes {
            match value {
                Some(value) => state[keyspace].insert(key, value),
                None => state[keyspace].remove(&key),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_is_the_same_each_time_and_differs_between_writers() {
        let stream = Stream { seed: 7, writer: 1 };
        assert_eq!(stream.commit(40), stream.commit(40));
        assert_ne!(stream.commit(40), stream.commit(41));
        assert_ne!(stream.commit(40), Stream { writer: 2, ..stream }.commit(40));
    }

    #[test]
    fn commits_reach_every_keyspace_and_every_durability() {
        let stream = Stream { seed: 7, writer: 0 };
        let commits: Vec<_> = (1..500).map(|n| stream.commit(n)).collect();
        for keyspace in 0..KEYSPACES.len() {
            assert!(commits.iter().any(|commit| commit.writes.iter().any(|w| w.0 == keyspace)));
        }
        for durability in [Durability::Disk, Durability::Os, Durability::Memory] {
            assert!(commits.iter().any(|commit| commit.durability == durability));
        }
        assert!(commits.iter().any(|commit| commit.then_sync));
        assert!(commits.iter().any(|commit| commit.writes.iter().any(|w| w.2.is_none())));
    }
}
