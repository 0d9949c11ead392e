//! Which of the commits are there still after a crash: as many as explain what was found.

use crate::cell::Cell;
use crate::data::rank;
use crate::difference::first_difference;
use crate::model::{Contents, Found, Model};

impl Model {
    /// The state after a prefix of at least so many commits, if what was found is one.
    pub(crate) fn prefix(&self, found: &Found, at_least: usize) -> Result<Contents, String> {
        let mut state = self.base.clone();
        let wrong_in = |keyspace: usize, rank: usize, cell: &Cell| {
            let bytes = found.maps[keyspace][rank].as_deref();
            usize::from(cell.gone(found.time_ms, bytes, self.may_go(keyspace, rank)).is_none())
        };
        let mut wrong = 0;
        for (keyspace, cells) in state.iter().enumerate() {
            let cells = cells.iter().enumerate();
            wrong += cells.map(|(rank, cell)| wrong_in(keyspace, rank, cell)).sum::<usize>();
        }
        let is_it = |state: &Contents, wrong: usize| wrong == 0 && self.goes_in_order(state, found);
        let mut survived = (at_least == 0 && is_it(&state, wrong)).then(|| state.clone());
        for (index, commit) in self.commits.iter().enumerate() {
            for &(keyspace, key, value) in &commit.writes {
                let (keyspace, rank) = (usize::from(keyspace), rank(key));
                let cell = &mut state[keyspace][rank];
                wrong -= wrong_in(keyspace, rank, cell);
                cell.write(commit.place, value);
                cell.let_go(self.gone.through(keyspace, rank));
                wrong += wrong_in(keyspace, rank, cell);
            }
            if index + 1 >= at_least && is_it(&state, wrong) {
                survived = Some(state.clone());
            }
        }
        survived.ok_or_else(|| {
            format!(
                "what was found is no prefix of the {} commits that holds the {at_least} which had \
                 to survive; it differs from the whole by {}",
                self.commits.len(),
                first_difference(&state, found).unwrap_or_default()
            )
        })
    }
}
