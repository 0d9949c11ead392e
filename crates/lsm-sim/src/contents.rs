//! The contents of a database as bytes, for harnesses whose keys and values are their own.

use std::collections::BTreeMap;

use lsm_engine::Durability;

use crate::model::show;

pub use crate::data::{Write, value_bytes};

/// Keyspaces of such a database; 0 is the default one.
pub const KEYSPACES: u8 = 2;
/// Different keys of such a database.
pub const KEYS: u16 = 64;

/// The contents of one keyspace.
pub type Map = BTreeMap<Vec<u8>, Vec<u8>>;
/// The contents of all keyspaces.
pub type State = Vec<Map>;

/// The bytes of a key.
pub fn key_bytes(key: u16) -> Vec<u8> {
    crate::data::key_bytes(key).to_vec()
}

/// The database as a user may expect it where calls fail: maps and a list of commits.
#[derive(Clone, Debug)]
pub struct Expected {
    /// Contents before the commits below.
    base: State,
    /// Commits since, in order; any prefix that reaches far enough may survive a crash.
    commits: Vec<Vec<Write>>,
    /// Commits that survive a power cut.
    durable: usize,
    /// Commits that survive a killed process.
    with_the_system: usize,
    /// Contents after all commits.
    pub state: State,
    /// Moments kept readable.
    pub snapshots: Vec<State>,
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
            snapshots: Vec::new(),
        }
    }
}

impl Expected {
    /// A commit that was acknowledged.
    pub fn commit(&mut self, writes: &[Write], durability: Durability) {
        self.attempt(writes);
        // What survives is a prefix: a durable commit takes all before it along.
        match durability {
            Durability::Disk => self.all_is_durable(),
            Durability::Os => self.with_the_system = self.commits.len(),
            Durability::Memory => {}
        }
    }

    /// A commit whose outcome is unknown: it may survive, or not.
    pub fn attempt(&mut self, writes: &[Write]) {
        apply(&mut self.state, writes);
        self.commits.push(writes.to_vec());
    }

    /// Everything so far survives a power cut.
    pub fn all_is_durable(&mut self) {
        self.durable = self.commits.len();
        self.with_the_system = self.commits.len();
    }

    /// The process is gone, and with it the snapshots; what it closed cleanly is all there.
    pub fn reopened(&mut self) {
        self.snapshots.clear();
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
    pub fn crashed(&mut self, found: &State, was_power_cut: bool) -> Result<(), String> {
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
            Some(value) => map.insert(key_bytes(*key), value_bytes(*value)),
            None => map.remove(&key_bytes(*key)),
        };
    }
}

/// The first difference between two states, in words.
pub fn difference(expected: &State, found: &State) -> String {
    for (keyspace, (expected, found)) in expected.iter().zip(found).enumerate() {
        for key in expected.keys().chain(found.keys()) {
            let (expected, found) = (expected.get(key), found.get(key));
            if expected != found {
                return format!(
                    "keyspace {keyspace}, key \"{}\": expected {}, found {}",
                    key.escape_ascii(),
                    show(expected.map(Vec::as_slice)),
                    show(found.map(Vec::as_slice))
                );
            }
        }
    }
    "nothing".into()
}
