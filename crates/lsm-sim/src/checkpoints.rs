//! Copies of the database beside it: what they hold, and that each is whole, or not there at all.

use std::path::PathBuf;

use lsm_engine::Db;

use crate::difference::first_difference;
use crate::model::{Catalog, Contents, Model, apply};
use crate::world::{Stop, World};

/// Checkpoints that are made at most.
const CHECKPOINTS: usize = 2;

/// What a checkpoint holds.
#[derive(Clone, Debug)]
pub struct Copy {
    /// The contents.
    pub state: Contents,
    /// The keyspaces.
    pub catalog: Catalog,
}

impl Model {
    /// What a checkpoint made now holds: everything that was ordered, seen or not.
    pub fn copy(&self) -> Copy {
        let mut state = self.state.clone();
        let unseen = self.commits.iter().skip(self.visible);
        unseen.for_each(|commit| apply(&mut state, commit, &self.gone));
        Copy { state, catalog: self.catalog.clone() }
    }
}

impl World {
    /// A [`Checkpoint`](crate::Op::Checkpoint).
    pub(crate) fn checkpoint(&mut self, model: &mut Model) -> Result<(), Stop> {
        if model.checkpoints.len() == CHECKPOINTS {
            return Ok(());
        }
        let copy = model.copy();
        let dir = self.checkpoint_dir(model.checkpoints.len());
        self.told(self.db().checkpoint(dir))?;
        self.all_is_durable(model)?;
        model.checkpoints.push(copy);
        self.check_checkpoint(model.checkpoints.len() - 1, model)
    }

    fn checkpoint_dir(&self, number: usize) -> PathBuf {
        self.place.beside(&format!("checkpoint-{number}"))
    }

    /// A checkpoint opens as a database, and holds what it held when it was made.
    fn check_checkpoint(&self, number: usize, model: &Model) -> Result<(), Stop> {
        self.check_copy(number, &model.checkpoints[number])
    }

    /// Every checkpoint that was made is there after a crash. One that was not made yet is whole, or
    /// not there at all.
    pub(crate) fn check_checkpoints(&self, in_doubt: Copy, model: &mut Model) -> Result<(), Stop> {
        for number in 0..model.checkpoints.len() {
            self.check_checkpoint(number, model)?;
        }
        let number = model.checkpoints.len();
        let is_there = self.place.fs().exists(&self.checkpoint_dir(number));
        if self.told(is_there.map_err(Into::into))? {
            self.check_copy(number, &in_doubt)?;
            model.checkpoints.push(in_doubt);
        }
        Ok(())
    }

    fn check_copy(&self, number: usize, expected: &Copy) -> Result<(), Stop> {
        let options = self.setup.options(self.env());
        let copy = self.told(Db::open_read_only_with(self.checkpoint_dir(number), options))?;
        let found = self.contents_of(&copy)?;
        if found.catalog != expected.catalog {
            let wrong = format!("checkpoint {number} has keyspaces {:?}", found.catalog);
            return Err(Stop::Wrong(wrong));
        }
        let difference = first_difference(&expected.state, &found);
        difference.map_or(Ok(()), |it| Err(Stop::Wrong(format!("checkpoint {number}: {it}"))))
    }
}
