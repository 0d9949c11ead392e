//! Keyspaces that come, change and go: by number in histories and in the model, by name in the engine.

use lsm_engine::{Db, ErrorKind, Keyspace, Reads};

use crate::cell::Cell;
use crate::data::KEYSPACES;
use crate::model::Model;
use crate::setup::Choice;
use crate::sieve::Sieve;
use crate::world::{Stop, World};

impl Model {
    /// Whether a keyspace is there.
    pub fn has(&self, keyspace: u8) -> bool {
        self.catalog[usize::from(keyspace)].is_some()
    }

    /// Whether a keyspace, or an earlier one of its name, was dropped.
    pub fn was_dropped(&self, keyspace: u8) -> bool {
        let lives = self.lives[usize::from(keyspace)];
        lives > 2 || (lives == 2 && !self.has(keyspace))
    }

    /// The life that a keyspace is in.
    pub fn life(&self, keyspace: u8) -> u32 {
        self.lives[usize::from(keyspace)]
    }

    /// A keyspace is about to change, or to come (it has a choice), or to go (it has none).
    pub fn doubt(&mut self, keyspace: u8, choice: Option<Choice>) {
        match choice {
            Some(choice) if self.has(keyspace) => self.gone.note_changed(keyspace, choice),
            Some(choice) => self.gone.note_created(keyspace, choice),
            None => {}
        }
        self.in_doubt = Some((keyspace, choice));
    }

    /// What was in doubt has happened.
    pub fn believe(&mut self) {
        let Some((number, choice)) = self.in_doubt.take() else { return };
        let number = usize::from(number);
        match (self.catalog[number], choice) {
            (None, Some(_)) => self.lives[number] += 1,
            (Some(_), None) => {
                self.all_is_durable();
                self.base[number].fill(Cell::default());
                self.state[number].fill(Cell::default());
            }
            _ => {}
        }
        self.catalog[number] = choice;
    }
}

impl World {
    /// A [`Create`](crate::Op::Create).
    pub(crate) fn create(
        &mut self,
        number: u8,
        choice: Choice,
        model: &mut Model,
    ) -> Result<(), Stop> {
        if self.keyspace(number).is_some() {
            return Ok(());
        }
        model.doubt(number, Some(choice));
        let created = self.db().keyspace_with(&name_of(number), choice.options());
        self.keyspaces[usize::from(number)] = Some(self.told(created)?);
        model.believe();
        Ok(())
    }

    /// A [`Drop`](crate::Op::Drop).
    pub(crate) fn drop_keyspace(&mut self, number: u8, model: &mut Model) -> Result<(), Stop> {
        if number == 0 {
            return Ok(());
        }
        let Some(handle) = self.keyspaces[usize::from(number)].take() else { return Ok(()) };
        model.doubt(number, None);
        self.told(self.db().drop_keyspace(handle.clone()))?;
        self.all_is_durable(model)?;
        model.believe();
        let read = handle.get(b"any").err().map(|error| error.kind());
        let write = handle.put(b"any", b"").err().map(|error| error.kind());
        // A write may have to flush before anybody asks where it goes, and the machine crash there.
        if self.place.has_crashed() {
            return Err(Stop::Crashed);
        }
        if (read, write) != (Some(ErrorKind::Invalid), Some(ErrorKind::Invalid)) {
            return Err(Stop::Wrong(format!("a handle to it says {read:?} and {write:?}")));
        }
        Ok(())
    }
}

/// A keyspace that is there, with what it needs.
pub(crate) fn open_keyspace(db: &Db, name: &str) -> lsm_engine::Result<Keyspace> {
    // Each history has those with filters that it chooses.
    let opened = db.keyspace(name);
    let with = |sieve: Sieve| db.keyspace_with(name, sieve.options());
    opened.or_else(|_| with(Sieve::Marks)).or_else(|_| with(Sieve::Removes))
}

/// The name of a keyspace.
fn name_of(number: u8) -> String {
    if number == 0 { "default".into() } else { format!("keyspace-{number}") }
}

/// The number of the keyspace with this name.
///
/// # Errors
/// No history creates one of this name.
pub(crate) fn number_of(name: &str) -> Result<u8, Stop> {
    let known = (0..KEYSPACES).find(|number| name_of(*number) == name);
    known.ok_or_else(|| Stop::Wrong(format!("there is a keyspace \"{name}\"")))
}
