//! Range deletes on their way into tables, cut where the tables are.
//!
//! A table that ends with key `k` takes range deletes up to and including `k`, and the next one takes
//! them from directly behind `k` on. So the bounds of a run's tables, range deletes included, are
//! disjoint, and between two tables nothing is left uncovered.

use std::collections::VecDeque;

use lsm_entry::{Fragments, RangeDelete, bound_after};

use crate::merge::TableSink;

/// Range deletes that have yet to be written, ascending.
#[derive(Clone, Debug)]
pub struct Clipper {
    rest: VecDeque<RangeDelete>,
}

impl Clipper {
    /// Has all of `range_deletes` yet to write. Each has an end.
    pub fn new(range_deletes: &Fragments) -> Self {
        Self { rest: range_deletes.range_deletes().into() }
    }

    /// Gives the table in the making what lies up to `last_key`, its last, and keeps what lies beyond.
    ///
    /// # Errors
    /// Those of the sink.
    pub fn write_through<S: TableSink>(
        &mut self,
        last_key: &[u8],
        sink: &mut S,
    ) -> Result<(), S::Error> {
        let border = bound_after(last_key);
        let mut beyond = Vec::new();
        while let Some(mut range) = self.rest.pop_front_if(|range| range.lower < border) {
            if border < range.upper {
                let upper = std::mem::replace(&mut range.upper, border.clone());
                beyond.push(RangeDelete { lower: border.clone(), upper, seq_no: range.seq_no });
            }
            sink.add_range_delete(&range)?;
        }
        // They all begin at the border, and the others beyond it.
        beyond.into_iter().rev().for_each(|range| self.rest.push_front(range));
        Ok(())
    }

    /// Gives the last table all that is left.
    ///
    /// # Errors
    /// Those of the sink.
    pub fn finish<S: TableSink>(self, sink: &mut S) -> Result<(), S::Error> {
        self.rest.iter().try_for_each(|range| sink.add_range_delete(range))
    }
}
