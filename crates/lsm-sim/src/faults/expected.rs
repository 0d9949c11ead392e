//! What may be found in a database while calls fail: maps, and a list of commits.
//!
//! Unlike the [`Model`](crate::Model) it need not know the number of a commit, for one whose outcome is
//! unknown was told none; and it goes on past such a commit, which may or may not have happened.

use lsm_engine::Durability;

use crate::chain::{is_operand, merged};
use crate::contents::{Map, State, Write, difference, key_bytes, value_bytes};

/// The database as a user may expect it where calls fail: maps and a list of commits.
#[derive(Clone, Debug)]
pub(super) struct Expected {
    /// Contents before the commits below.
    base: State,
    /// Commits since, in order; any prefix that reaches far enough may survive a crash.
    commits: Vec<Vec<Write>>,
    /// Commits that survive a power cut.
    durable: usize,
    /// Commits that survive a killed process.
    with_the_system: usize,
    /// Contents after all commits.
    pub(super) state: State,
}

impl Default for Expected {
    fn default() -> Self {
        let empty = vec![Map::new(); usize::from(crate::data::KEYSPACES)];
        Self {
            base: empty.clone(),
            commits: Vec::new(),
            durable: 0,
            with_the_system: 0,
            state: empty,
        }
    }
}

impl Expected {
    /// A commit that was acknowledged.
    pub(super) fn commit(&mut self, writes: &[Write], durability: Durability) {
        self.attempt(writes);
        // What survives is a prefix: a durable commit takes all before it along.
        match durability {
            Durability::Disk => self.all_is_durable(),
            Durability::Os => self.with_the_system = self.commits.len(),
            Durability::Memory => {}
        }
    }

    /// A commit whose outcome is unknown: it may survive, or not.
    pub(super) fn attempt(&mut self, writes: &[Write]) {
        apply(&mut self.state, writes);
        self.commits.push(writes.to_vec());
    }

    /// Everything so far survives a power cut.
    pub(super) fn all_is_durable(&mut self) {
        self.durable = self.commits.len();
        self.with_the_system = self.commits.len();
    }

    /// The process is gone; what it closed cleanly is all there.
    fn reopened(&mut self) {
        self.base.clone_from(&self.state);
        self.commits.clear();
        self.durable = 0;
        self.with_the_system = 0;
    }

    /// Takes over what was found after a crash, if it is what is left of some prefix of the commits
    /// that holds all which had to survive.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(super) fn crashed(&mut self, found: &State, was_power_cut: bool) -> Result<(), String> {
        let at_least = if was_power_cut { self.durable } else { self.with_the_system };
        let mut state = self.base.clone();
        let mut survived = (at_least == 0 && state == *found).then_some(0);
        for (index, writes) in self.commits.iter().enumerate() {
            apply(&mut state, writes);
            if index + 1 >= at_least && state == *found {
                survived = Some(index + 1);
            }
        }
        if survived.is_none() {
            return Err(format!(
                "what was found is no prefix of the {} commits that holds the {at_least} which had \
                 to survive; it differs from the whole by {}",
                self.commits.len(),
                difference(&self.state, found)
            ));
        }
        self.state.clone_from(found);
        self.reopened();
        Ok(())
    }
}

fn apply(state: &mut State, writes: &[Write]) {
    for (keyspace, key, value) in writes {
        let map = &mut state[usize::from(*keyspace)];
        match value {
            Some(operand) if is_operand(*operand) => {
                let base = map.get(&key_bytes(*key)).map(Vec::as_slice);
                map.insert(key_bytes(*key), value_bytes(merged(base, *operand)))
            }
            Some(value) => map.insert(key_bytes(*key), value_bytes(*value)),
            None => map.remove(&key_bytes(*key)),
        };
    }
}
