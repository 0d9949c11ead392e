//! What goes though nobody asked for it: values that a compaction filter removes, and the oldest tables of
//! a FIFO keyspace.
//!
//! When that happens is the engine's affair, and some background work has to have happened meanwhile. So
//! what is found says what is gone, and has to be explained by it: of each key the oldest writes go (see
//! `cell.rs`), of such keys only as may lose something; what was gone once stays so, over crashes too; and
//! whoever holds a moment still finds everything, but for what has left a FIFO keyspace.
//!
//! A FIFO keyspace lets its oldest run go, whole, when there are too many bytes, or when the run is too
//! old, whoever still reads it. Its runs are flushes and ingests in their order, or some of those that
//! follow each other, merged. So there is a place in the order of all writes up to which everything is
//! gone, and behind which nothing is. That holds for as long as the keyspace has had no other policy, and
//! nobody has had a range of it compacted, for either puts newer writes below older ones; then it holds of
//! each key by itself.

use lsm_engine::Keyspace;

use crate::data::{KEYS, KEYSPACES, key_at};
use crate::difference::{first_difference, first_difference_in};
use crate::model::{Cells, Contents, Found, FoundMap, Model, Moment};
use crate::setup::{Choice, FIFO};
use crate::sieve;
use crate::world::{Stop, World};

/// What is gone, by keyspace.
#[derive(Clone, Debug)]
pub(crate) struct Gone(Vec<Losses>);

/// What is gone from one keyspace.
#[derive(Clone, Debug)]
struct Losses {
    /// Up to which place the writes to each key are gone, by rank.
    through: Vec<u64>,
    /// Up to which place all writes are, at least, where they go in their order.
    all_through: u64,
    /// Whether they go in their order.
    in_order: bool,
    /// Whether the oldest could go at some time.
    may_lack_oldest: bool,
}

impl Losses {
    fn new(choice: Option<Choice>) -> Self {
        Self {
            through: vec![0; usize::from(KEYS)],
            all_through: 0,
            in_order: choice.is_none_or(|choice| goes_in_order(&choice)),
            may_lack_oldest: choice.is_some_and(|choice| choice.evicts()),
        }
    }
}

fn goes_in_order(choice: &Choice) -> bool {
    choice.policy == FIFO && !choice.sieve.removes()
}

impl Default for Gone {
    fn default() -> Self {
        Self(vec![Losses::new(None); usize::from(KEYSPACES)])
    }
}

impl Gone {
    /// The place of the last write to this key that is gone; 0: none is.
    pub(crate) fn through(&self, keyspace: usize, rank: usize) -> u64 {
        self.0[keyspace].through[rank]
    }

    /// A keyspace begins, or begins anew.
    pub(crate) fn note_created(&mut self, keyspace: u8, choice: Choice) {
        self.0[usize::from(keyspace)] = Losses::new(Some(choice));
    }

    /// A keyspace is about to choose otherwise.
    pub(crate) fn note_changed(&mut self, keyspace: u8, choice: Choice) {
        let losses = &mut self.0[usize::from(keyspace)];
        losses.in_order &= goes_in_order(&choice);
        losses.may_lack_oldest |= choice.evicts();
    }

    /// A range of a keyspace is merged to the bottom.
    pub(crate) fn note_compacted(&mut self, keyspace: u8) {
        self.0[usize::from(keyspace)].in_order = false;
    }

    /// Whether the oldest of some keyspace is gone.
    pub(crate) fn has_lost_oldest(&self) -> bool {
        self.0.iter().any(|losses| losses.may_lack_oldest && losses.all_through > 0)
    }

    /// Whether a keyspace may lack what was its oldest at some time.
    pub(crate) fn may_lack_oldest(&self, keyspace: u8) -> bool {
        self.0[usize::from(keyspace)].may_lack_oldest
    }
}

impl Model {
    /// Whether a filter removes values of a keyspace.
    fn is_sieved(&self, keyspace: u8) -> bool {
        let choice = self.catalog[usize::from(keyspace)];
        choice.is_some_and(|choice| choice.sieve.removes())
    }

    /// Whether a keyspace lets its oldest go.
    pub(crate) fn evicts(&self, keyspace: u8) -> bool {
        self.catalog[usize::from(keyspace)].is_some_and(|choice| choice.evicts())
    }

    /// Whether the oldest writes to this key may go.
    pub(crate) fn may_go(&self, keyspace: usize, rank: usize) -> bool {
        let number = keyspace as u8;
        self.evicts(number) || self.is_sieved(number) && sieve::is_unwanted(key_at(rank))
    }

    /// Whether all that is gone of these contents went in its order, where it must.
    pub(crate) fn goes_in_order(&self, state: &Contents, found: &Found) -> bool {
        let mut keyspaces = (0..KEYSPACES).filter(|keyspace| self.evicts(*keyspace));
        keyspaces.all(|keyspace| {
            let keyspace = usize::from(keyspace);
            let (cells, map) = (&state[keyspace], &found.maps[keyspace]);
            self.all_through(keyspace, cells, map, found.time_ms).is_ok()
        })
    }

    /// Whether what was found in a keyspace is explained by one place up to which everything is gone,
    /// where that must be so. Returns the place up to which it is, at least.
    fn all_through(
        &self,
        keyspace: usize,
        cells: &Cells,
        found: &FoundMap,
        time_ms: u64,
    ) -> Result<u64, String> {
        let losses = &self.gone.0[keyspace];
        let (mut gone, mut there) = (losses.all_through, u64::MAX);
        for (rank, (cell, bytes)) in cells.iter().zip(found).enumerate() {
            let bytes = bytes.as_deref();
            let Some(count) = cell.gone(time_ms, bytes, self.may_go(keyspace, rank)) else {
                continue;
            };
            gone = gone.max(cell.last_of(count).unwrap_or(0));
            if bytes.is_some() {
                let most = cell.gone_at_most(time_ms, bytes).unwrap_or(count);
                there = there.min(cell.last_of(most + 1).unwrap_or(u64::MAX));
            }
        }
        if losses.in_order && there <= gone {
            return Err(format!(
                "in keyspace {keyspace} write {gone} is gone, and write {there}, before it, is not"
            ));
        }
        Ok(gone)
    }

    /// Nothing of a keyspace is gone but what was gone before.
    ///
    /// # Errors
    /// What is.
    pub(crate) fn check_all_there(&self, keyspace: u8, found: &FoundMap) -> Result<(), String> {
        let keyspace = usize::from(keyspace);
        if self.is_sieved(keyspace as u8) {
            return Ok(());
        }
        first_difference_in(keyspace, &self.state[keyspace], found, self.time_ms)
            .map_or(Ok(()), Err)
    }

    /// Holds what a kept moment shows of a keyspace whose oldest may be gone against what it showed.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(crate) fn check_lacking_oldest(
        &self,
        keyspace: u8,
        moment: &Moment,
        found: &FoundMap,
    ) -> Result<(), String> {
        let keyspace = usize::from(keyspace);
        let (mut left, losses) = (moment.state[keyspace].clone(), &self.gone.0[keyspace]);
        for (cell, bytes) in left.iter_mut().zip(found) {
            let gone = cell.gone(moment.time_ms, bytes.as_deref(), true).unwrap_or(0);
            if let Some(through) = cell.last_of(gone) {
                cell.let_go(through);
            }
            if losses.in_order {
                cell.let_go(losses.all_through);
            }
        }
        first_difference_in(keyspace, &left, found, moment.time_ms).map_or(Ok(()), Err)
    }

    /// What is left of these contents, which explain what was found.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(crate) fn left_of(&self, mut state: Contents, found: &Found) -> Result<Contents, String> {
        for (keyspace, (cells, map)) in state.iter_mut().zip(&found.maps).enumerate() {
            self.all_through(keyspace, cells, map, found.time_ms)?;
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
        let all_through = self.all_through(keyspace, &self.state[keyspace], found, self.time_ms)?;
        self.gone.0[keyspace].all_through = all_through;
        for (rank, bytes) in found.iter().enumerate() {
            let may_go = self.may_go(keyspace, rank);
            let (bytes, cell) = (bytes.as_deref(), &mut self.state[keyspace][rank]);
            let gone = cell.gone(self.time_ms, bytes, may_go);
            if let Some(through) = cell.last_of(gone.unwrap_or(0)) {
                cell.let_go(through);
                self.base[keyspace][rank].let_go(through);
                self.gone.0[keyspace].through[rank] = through;
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
        let has_removed = removed != self.filter_removed;
        self.filter_removed = removed;
        for number in 0..KEYSPACES {
            let may_lack = model.evicts(number) || has_removed && model.is_sieved(number);
            let Some(keyspace) = self.keyspace(number).filter(|_| may_lack) else { continue };
            let found = self.map_of(keyspace)?;
            model.note_gone(number, &found).map_err(Stop::Wrong)?;
        }
        Ok(())
    }

    /// No FIFO keyspace is beyond its limit, once no background work is left.
    pub(crate) fn check_limits(&self, model: &Model) -> Result<(), Stop> {
        for (choice, keyspace) in model.catalog.iter().zip(&self.keyspaces) {
            let (Some(choice), Some(keyspace)) = (choice, keyspace) else { continue };
            let bytes = table_bytes(keyspace);
            if choice.evict_bytes > 0 && bytes > u64::from(choice.evict_bytes) {
                let (name, limit) = (keyspace.name(), choice.evict_bytes);
                return Err(Stop::Wrong(format!("{name} holds {bytes} bytes of {limit}")));
            }
        }
        Ok(())
    }

    /// Whether the next piece of background work may let something of a FIFO keyspace go that has such
    /// a choice: there are too many bytes, as far as anybody can tell, or something may be too old.
    pub(crate) fn may_evict_next(&self, number: u8, choice: &Choice) -> bool {
        let bytes = self.keyspace(number).map_or(0, table_bytes);
        // Some of these may be other keyspaces'.
        let large_bytes = self.db().metrics().blobs.bytes;
        choice.evict_ms > 0 || bytes + large_bytes > u64::from(choice.evict_bytes)
    }
}

fn table_bytes(keyspace: &Keyspace) -> u64 {
    keyspace.shape().runs.iter().flat_map(|run| &run.tables).map(|table| table.bytes).sum()
}
