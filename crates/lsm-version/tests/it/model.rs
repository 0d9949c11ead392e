//! Random edits: a version holds what a plain map of its tables holds, and finds what a look at
//! every table finds.

use std::collections::BTreeMap;
use std::sync::Arc;

use lsm_version::{EditError, LEVELS, Place, TableRecord, Version, VersionEdit};
use proptest::prelude::*;

use crate::support::{place, table_of};

/// Live tables by number.
#[derive(Clone, Debug, Default)]
struct Model(BTreeMap<u64, (Place, Arc<TableRecord>)>);

impl Model {
    /// The tables after an edit, checked table by table and pair by pair.
    fn apply(&self, edit: &VersionEdit) -> Result<Self, EditError> {
        let mut after = self.clone();
        for &(place, number) in &edit.removed {
            match after.0.remove(&number) {
                Some((there, _)) if there == place => {}
                _ => return Err(EditError::NotThere { number, place }),
            }
        }
        for (place, table) in &edit.added {
            let (number, level) = (table.number, place.level);
            if table.lower > table.upper {
                return Err(EditError::InvertedBounds { number });
            }
            if after.0.contains_key(&number) {
                return Err(EditError::AlreadyThere { number });
            }
            if level >= LEVELS {
                return Err(EditError::NoSuchLevel { level });
            }
            after.0.insert(number, (*place, Arc::clone(table)));
        }
        match after.first_overlap() {
            Some((place, first, second)) => Err(EditError::Overlap { place, first, second }),
            None => Ok(after),
        }
    }

    /// The first run with two tables that share a key, and the first two of them that do.
    fn first_overlap(&self) -> Option<(Place, u64, u64)> {
        let mut tables: Vec<_> = self.0.values().collect();
        tables.sort_by_key(|(place, table)| (*place, &table.lower));
        tables.windows(2).find_map(|pair| {
            let ((place, first), (other_place, second)) = (pair[0], pair[1]);
            let share = place == other_place && first.overlaps(&second.lower, &second.upper);
            share.then_some((*place, first.number, second.number))
        })
    }

    /// The tables at a place that `is_wanted`, in key order.
    fn at(&self, place: Place, is_wanted: impl Fn(&TableRecord) -> bool) -> Vec<Arc<TableRecord>> {
        let here = self.0.values().filter(|(there, table)| *there == place && is_wanted(table));
        let mut tables: Vec<_> = here.map(|(_, table)| Arc::clone(table)).collect();
        tables.sort_by_key(|table| table.lower.clone());
        tables
    }

    fn places(&self) -> Vec<Place> {
        let mut places: Vec<_> = self.0.values().map(|(place, _)| *place).collect();
        // From the newest run to the oldest: by level, then by falling id.
        places.sort_by_key(|place| (place.level, std::cmp::Reverse(place.run)));
        places.dedup();
        places
    }

    fn check(&self, version: &Version) {
        let mut numbers: Vec<u64> = version.tables().map(|(_, table)| table.number).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, self.0.keys().copied().collect::<Vec<_>>());

        let runs = version.runs().map(|(level, run)| place(level, run.id));
        assert_eq!(runs.collect::<Vec<_>>(), self.places(), "runs, newest first, none empty");
        for place in self.places() {
            let run = version.run(place).expect("it was listed");
            assert_eq!(run.tables, self.at(place, |_| true), "tables of a run in key order");
            assert_eq!(run.bytes(), run.tables.iter().map(|table| table.bytes).sum::<u64>());
        }
        let bytes_of = |is_wanted: &dyn Fn(usize) -> bool| {
            let wanted = self.0.values().filter(|(place, _)| is_wanted(place.level));
            wanted.map(|(_, table)| table.bytes).sum::<u64>()
        };
        assert_eq!(version.bytes(), bytes_of(&|_| true));
        assert_eq!(version.is_empty(), self.0.is_empty());
        for level in 0..LEVELS {
            assert_eq!(version.level_bytes(level), bytes_of(&|there| there == level));
            assert_eq!(version.level(level), &version.levels()[level]);
        }
    }

    /// Holds what is found by key against a look at every table.
    fn check_searches(&self, version: &Version, lower: &[u8], upper: &[u8]) {
        for place in self.places() {
            let run = version.run(place).expect("it was listed");
            let found: Vec<_> = run.find(lower).cloned().into_iter().collect();
            let covers = |table: &TableRecord| *table.lower <= *lower && *lower <= *table.upper;
            assert_eq!(found, self.at(place, covers), "the table that covers a key");
            let shares = |table: &TableRecord| *table.upper >= *lower && *table.lower <= *upper;
            assert_eq!(run.overlapping(lower, upper), self.at(place, shares), "tables of a range");
            for table in &run.tables {
                assert_eq!(table.covers(lower), covers(table));
                assert_eq!(table.overlaps(lower, upper), shares(table));
            }
        }
    }
}

/// A part of an edit; tables that are there are named by a number that is taken modulo their count.
#[derive(Clone, Debug)]
enum Part {
    Add { place: Place, lower: String, upper: String, bytes: u64 },
    AddAgain { place: Place, table: usize },
    Remove { table: usize },
    RemoveElsewhere { place: Place, table: usize },
    Move { table: usize, place: Place },
}

fn parts() -> impl Strategy<Value = Part> {
    let places = || (0..LEVELS, 0..4_u64).prop_map(|(level, run)| place(level, run));
    let any_places = || (0..=LEVELS, 0..4_u64).prop_map(|(level, run)| place(level, run));
    let add =
        |bounds: BoxedStrategy<(String, String)>| {
            (any_places(), bounds, 1..1000_u64)
                .prop_map(|(place, (lower, upper), bytes)| Part::Add { place, lower, upper, bytes })
        };
    let right_way_round =
        ("[a-z]{1,2}", "[a-z]?").prop_map(|(lower, more)| (lower.clone(), lower + &more)).boxed();
    prop_oneof![
        20 => add(right_way_round),
        1 => add(("[a-f]{0,2}", "[a-f]{0,2}").boxed()),
        1 => (places(), any::<usize>()).prop_map(|(place, table)| Part::AddAgain { place, table }),
        6 => any::<usize>().prop_map(|table| Part::Remove { table }),
        1 => (any_places(), any::<usize>())
            .prop_map(|(place, table)| Part::RemoveElsewhere { place, table }),
        4 => (any::<usize>(), places()).prop_map(|(table, place)| Part::Move { table, place }),
    ]
}

/// The edit that the parts make of these tables. New ones are numbered from `number` on.
fn edit(model: &Model, parts: &[Part], number: &mut u64) -> VersionEdit {
    let mut edit = VersionEdit::default();
    let tables: Vec<_> = model.0.values().collect();
    let choose = |choice: usize| tables.get(choice.checked_rem(tables.len())?);
    for part in parts {
        match part {
            Part::Add { place, lower, upper, bytes } => {
                *number += 1;
                edit.added.push((*place, table_of(*number, lower, upper, *bytes)));
            }
            Part::AddAgain { place, table } => {
                edit.added.extend(choose(*table).map(|(_, table)| (*place, Arc::clone(table))));
            }
            Part::Remove { table } => {
                edit.removed.extend(choose(*table).map(|(place, table)| (*place, table.number)));
            }
            Part::RemoveElsewhere { place, table } => {
                edit.removed.extend(choose(*table).map(|(_, table)| (*place, table.number)));
            }
            Part::Move { table, place } => {
                let Some((from, table)) = choose(*table) else { continue };
                edit.removed.push((*from, table.number));
                edit.added.push((*place, Arc::clone(table)));
            }
        }
    }
    edit
}

proptest! {
    #[test]
    fn a_version_holds_and_finds_what_a_plain_map_does(
        edits in prop::collection::vec(prop::collection::vec(parts(), 1..5), 1..40),
        lower in "[a-z]{0,2}",
        length in "[a-z]?",
    ) {
        let (mut model, mut version) = (Model::default(), Version::empty());
        let mut number = 0;
        for parts in &edits {
            let edit = edit(&model, parts, &mut number);
            match (model.apply(&edit), version.apply(&edit)) {
                (Ok(model_after), Ok(version_after)) => {
                    // What readers of the version before hold has not changed under them.
                    model.check(&version);
                    (model, version) = (model_after, version_after);
                }
                (expected, found) => {
                    let found = found.err();
                    prop_assert_eq!(found, expected.err(), "for {:?}", edit);
                }
            }
            model.check(&version);
        }
        let upper = lower.clone() + &length;
        model.check_searches(&version, lower.as_bytes(), upper.as_bytes());
    }

    #[test]
    fn a_picture_shows_a_version_that_has_that_picture(
        parts in prop::collection::vec(parts(), 0..40),
    ) {
        let (mut model, mut version) = (Model::default(), Version::empty());
        let mut number = 0;
        for part in parts {
            let edit = edit(&model, &[part], &mut number);
            if let (Ok(model_after), Ok(version_after)) = (model.apply(&edit), version.apply(&edit)) {
                (model, version) = (model_after, version_after);
            }
        }
        let picture = version.picture();
        prop_assert_eq!(Version::parse(&picture).picture(), picture);
    }
}
