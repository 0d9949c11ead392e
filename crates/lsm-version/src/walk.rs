//! Walking over the runs and the tables of a version.
//!
//! Iterators of their own, where chained adapters would do: those are compiled anew, in full,
//! wherever somebody walks, and somebody does in fifty places.

use std::slice;
use std::sync::Arc;

use crate::version::{LEVELS, Level, Run};
use crate::{Place, TableRecord};

/// Every run of a version with its level, newest first; see [`Version::runs`](crate::Version::runs).
#[derive(Clone, Debug)]
pub struct Runs<'a> {
    levels: &'a [Level; LEVELS],
    level: usize,
    /// How many runs of that level have been walked over.
    passed: usize,
}

impl<'a> Runs<'a> {
    pub(crate) fn of(levels: &'a [Level; LEVELS]) -> Self {
        Self { levels, level: 0, passed: 0 }
    }
}

impl<'a> Iterator for Runs<'a> {
    type Item = (usize, &'a Run);

    fn next(&mut self) -> Option<Self::Item> {
        while let Some(level) = self.levels.get(self.level) {
            if let Some(run) = level.runs.get(self.passed) {
                self.passed += 1;
                return Some((self.level, run));
            }
            (self.level, self.passed) = (self.level + 1, 0);
        }
        None
    }
}

/// Every table of a version with its place; see [`Version::tables`](crate::Version::tables).
#[derive(Clone, Debug)]
pub struct Tables<'a> {
    runs: Runs<'a>,
    /// Where the tables of the run are, of which these are left.
    place: Place,
    rest: slice::Iter<'a, Arc<TableRecord>>,
}

impl<'a> Tables<'a> {
    pub(crate) fn of(runs: Runs<'a>) -> Self {
        Self { runs, place: Place { level: 0, run: 0 }, rest: [].iter() }
    }
}

impl<'a> Iterator for Tables<'a> {
    type Item = (Place, &'a Arc<TableRecord>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(table) = self.rest.next() {
                return Some((self.place, table));
            }
            let (level, run) = self.runs.next()?;
            self.place = Place { level, run: run.id };
            self.rest = run.tables.iter();
        }
    }
}
