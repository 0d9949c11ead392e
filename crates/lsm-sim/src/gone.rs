//! What goes though nobody asked for it: values that a compaction filter removes.
//!
//! When that happens is the engine's affair, and some background work has to have happened meanwhile. So
//! what is found says what is gone, and has to be explained by it: of each key the oldest writes go (see
//! `cell.rs`), of such keys only as may lose something; what was gone once stays so, over crashes too; and
//! whoever holds a moment still finds everything.

use crate::data::{KEYS, KEYSPACES, key_at};
use crate::model::{Contents, Found, FoundMap, Model, first_difference, first_difference_in};
use crate::sieve;
use crate::world::{Stop, World};

/// Up to which place the writes to each key are gone, by keyspace and rank.
#[derive(Clone, Debug)]
pub(crate) struct Gone(Vec<Vec<u64>>);

impl Default for Gone {
    fn default() -> Self {
        Self(vec![vec![0; usize::from(KEYS)]; usize::from(KEYSPACES)])
    }
}

impl Gone {
    /// The place of the last write to this key that is gone; 0: none is.
    pub(crate) fn through(&self, keyspace: usize, rank: usize) -> u64 {
        self.0[keyspace][rank]
    }
}

impl Model {
    /// Whether something of a keyspace may go.
    pub(crate) fn is_sieved(&self, keyspace: u8) -> bool {
        let choice = self.catalog[usize::from(keyspace)];
        choice.is_some_and(|choice| choice.sieve.removes())
    }

    /// Whether the oldest writes to this key may go.
    pub(crate) fn may_go(&self, keyspace: usize, rank: usize) -> bool {
        self.is_sieved(keyspace as u8) && sieve::is_unwanted(key_at(rank))
    }

    /// What is left of these contents, which explain what was found.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(crate) fn left_of(&self, mut state: Contents, found: &Found) -> Result<Contents, String> {
        for (keyspace, (cells, map)) in state.iter_mut().zip(&found.maps).enumerate() {
            for (rank, (cell, bytes)) in cells.iter_mut().zip(map).enumerate() {
                let may_go = self.may_go(keyspace, rank);
                let gone = cell.gone(found.time_ms, bytes.as_deref(), may_go).unwrap_or(0);
                if let Some(through) = cell.last_of(gone) {
                    cell.let_go(through);
                }
            }
        }
        first_difference(&state, found).map_or(Ok(state), Err)
    }
}

impl Model {
    /// Takes note of what is gone from a keyspace in which this was found.
    ///
    /// # Errors
    /// What is gone that must not be, or is there that must not be.
    fn note_gone(&mut self, keyspace: u8, found: &FoundMap) -> Result<(), String> {
        let keyspace = usize::from(keyspace);
        for (rank, bytes) in found.iter().enumerate() {
            let (bytes, cell) = (bytes.as_deref(), &mut self.state[keyspace][rank]);
            // What is not explained is found out by whoever reads next.
            let gone = cell.gone(self.time_ms, bytes, sieve::is_unwanted(key_at(rank)));
            if let Some(through) = cell.last_of(gone.unwrap_or(0)) {
                cell.let_go(through);
                self.base[keyspace][rank].let_go(through);
                self.gone.0[keyspace][rank] = through;
            }
        }
        let expected = &self.state[keyspace];
        first_difference_in(keyspace, expected, found, self.time_ms).map_or(Ok(()), Err)
    }
}

impl World {
    /// Lets the model know what merges have taken away since it was told last: only where they say that
    /// they took something.
    pub(crate) fn note_gone(&mut self, model: &mut Model) -> Result<(), Stop> {
        let removed = self.db().metrics().filter_removed;
        if removed == self.filter_removed {
            return Ok(());
        }
        self.filter_removed = removed;
        for number in 0..KEYSPACES {
            let is_sieved = model.is_sieved(number);
            let Some(keyspace) = self.keyspace(number).filter(|_| is_sieved) else { continue };
            let found = self.map_of(keyspace)?;
            model.note_gone(number, &found).map_err(Stop::Wrong)?;
        }
        Ok(())
    }
}
