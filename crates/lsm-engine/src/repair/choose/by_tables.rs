//! No manifest is believed: tables tell by themselves what they are, and what they were made of.
//!
//! A merge has happened if anything that it was made of is gone, or is known to be replaced; then its
//! outputs count, and none of its inputs. Else all inputs are there, and count, and its outputs do
//! not: they may not be all. Merges are looked at from the newest on, so that what became of the
//! outputs is known.

use std::collections::{BTreeMap, BTreeSet};

use lsm_manifest::{FileKind, file_name};
use lsm_sstable::{Origin, TableInfo, TableProperties};

use super::{Choice, ChosenKeyspace, ChosenTable, Source, lost_block, lost_table};
use crate::batch::DEFAULT_KEYSPACE;
use crate::recover::DEFAULT_KEYSPACE_NAME;
use crate::repair::report::{Loss, NamedFile, RepairReport};
use crate::repair::survey::Survey;
use crate::repair::tables::{Condition, FoundTable};

pub(super) fn choose(
    survey: &Survey,
    leftovers: &BTreeMap<u64, String>,
    report: &mut RepairReport,
) -> Choice {
    let mut aside = leftovers.clone();
    let state = survey.manifest.as_ref().map(|read| &read.state);
    let merges = Merges::of(survey, &aside);
    merges.set_aside(survey, &mut aside, report);

    let mut choice = Choice::default();
    for keyspace in state.iter().flat_map(|state| &state.keyspaces) {
        let id = keyspace.id;
        let chosen = ChosenKeyspace::new(id, Some(keyspace.name.clone()));
        let options = keyspace.options.clone();
        choice.keyspaces.insert(id, ChosenKeyspace { options, is_from_manifest: true, ..chosen });
    }
    choice.next_keyspace_id = state.map_or(0, |state| state.next_keyspace_id);
    let known_ids = choice.next_keyspace_id;
    let is_dropped =
        |id: u32, choice: &Choice| id < known_ids && !choice.keyspaces.contains_key(&id);

    // Keyspaces from the newest on: of two with one name, the older was dropped.
    let with_properties = survey.tables.values().filter_map(|table| {
        let properties = table.properties.as_ref()?;
        Some((properties.info.keyspace_id, table.number, properties))
    });
    let mut by_keyspace: Vec<_> = with_properties.collect();
    by_keyspace.sort_by_key(|(id, number, _)| (std::cmp::Reverse(*id), *number));
    for (id, number, properties) in by_keyspace {
        let name = &properties.info.keyspace_name;
        if is_dropped(id, &choice) {
            aside.entry(number).or_insert_with(|| format!("its keyspace \"{name}\" was dropped"));
            continue;
        }
        let has_name =
            |(other, chosen): (&u32, &ChosenKeyspace)| *other != id && chosen.name == *name;
        if !choice.keyspaces.contains_key(&id) && choice.keyspaces.iter().any(has_name) {
            let reason = format!("a newer keyspace has the name \"{name}\"");
            aside.entry(number).or_insert(reason);
            continue;
        }
        let fresh = || ChosenKeyspace::new(id, Some(name.clone()).filter(|name| !name.is_empty()));
        let keyspace = choice.keyspaces.entry(id).or_insert_with(fresh);
        // Memtables are flushed in the order of their sequence numbers. What is ingested bears the
        // number at which its load began.
        if properties.info.origin != Origin::Ingest {
            keyspace.flushed_through = keyspace.flushed_through.max(properties.seq_no_max);
        }
        choice.next_keyspace_id = choice.next_keyspace_id.max(id.saturating_add(1));
    }
    for &id in &survey.log.keyspaces {
        if !is_dropped(id, &choice) {
            choice.keyspaces.entry(id).or_insert_with(|| ChosenKeyspace::new(id, None));
            choice.next_keyspace_id = choice.next_keyspace_id.max(id.saturating_add(1));
        }
    }
    let default_name = Some(DEFAULT_KEYSPACE_NAME.to_owned());
    let default = choice.keyspaces.entry(DEFAULT_KEYSPACE);
    default.or_insert_with(|| ChosenKeyspace::new(DEFAULT_KEYSPACE, default_name.clone()));
    if let Some(keyspace) = choice.keyspaces.get_mut(&DEFAULT_KEYSPACE) {
        keyspace.name.clone_from(&DEFAULT_KEYSPACE_NAME.to_owned());
    }
    choice.next_keyspace_id = choice.next_keyspace_id.max(1);

    for table in survey.tables.values().filter(|table| !aside.contains_key(&table.number)) {
        match source(table, &choice, report) {
            Some((id, source)) => {
                note_ingested(table, report);
                let chosen = ChosenTable { place: None, source };
                if let Some(keyspace) = choice.keyspaces.get_mut(&id) {
                    keyspace.tables.push(chosen);
                }
            }
            None => note_unreadable(survey, table, &choice, report),
        }
    }
    note_missing(survey, &aside, report);
    choice.aside = aside;
    for table in survey.tables.values() {
        if table.whole().is_none() {
            choice.aside.entry(table.number).or_insert_with(|| "it is damaged".to_owned());
        }
    }
    choice
}

/// What a table is taken from, and for which keyspace.
fn source(table: &FoundTable, choice: &Choice, report: &mut RepairReport) -> Option<(u32, Source)> {
    let id = table.properties.as_ref()?.info.keyspace_id;
    let keyspace = choice.keyspaces.get(&id)?;
    match (&table.condition, table.identity) {
        (Condition::Whole(record), _) => Some((id, Source::Whole(record.clone()))),
        (Condition::Partial(lost), Some(identity)) => {
            let number = table.number;
            let losses = lost.iter().map(|block| lost_block(&keyspace.name, number, block));
            report.losses.extend(losses);
            Some((id, Source::Partial { number, identity, seq_no_min: None }))
        }
        _ => None,
    }
}

/// Only the manifest knows when a load was finished, and whether it was.
fn note_ingested(table: &FoundTable, report: &mut RepairReport) {
    if table.properties.as_ref().is_some_and(|properties| properties.info.origin == Origin::Ingest)
    {
        report.remarks.push(format!(
            "{} holds loaded entries: they count as written when their load began, finished or not",
            file_name(FileKind::Table, table.number)
        ));
    }
}

/// A damaged table of which nothing is kept: what it held is told by whoever knows.
fn note_unreadable(
    survey: &Survey,
    table: &FoundTable,
    choice: &Choice,
    report: &mut RepairReport,
) {
    let (number, file) = (table.number, file_name(FileKind::Table, table.number));
    let reason = "nothing of the table can be read";
    let keyspaces = survey.manifest.iter().flat_map(|read| &read.state.keyspaces);
    for keyspace in keyspaces {
        if let Some((_, record)) = keyspace.version.tables().find(|(_, r)| r.number == number) {
            report.losses.push(lost_table(&keyspace.name, record, reason));
            return;
        }
    }
    let Some(properties) = &table.properties else {
        report.losses.push(Loss {
            keyspace: None,
            keys: None,
            seq_no_first: 1,
            seq_no_last: None,
            file,
            reason: format!("{reason}, and nothing else tells what it held"),
        });
        return;
    };
    let TableProperties { lower, upper, seq_no_min, seq_no_max, info, .. } = properties;
    report.losses.push(Loss {
        keyspace: choice.keyspaces.get(&info.keyspace_id).map(|keyspace| keyspace.name.clone()),
        keys: Some((lower.clone(), upper.clone())),
        seq_no_first: *seq_no_min,
        seq_no_last: Some(*seq_no_max),
        file,
        reason: reason.to_owned(),
    });
}

/// Names tables that an incomplete manifest knows and that nothing has replaced.
fn note_missing(survey: &Survey, aside: &BTreeMap<u64, String>, report: &mut RepairReport) {
    let replaced: BTreeSet<u64> = survey
        .tables
        .values()
        .filter(|table| !aside.contains_key(&table.number))
        .filter_map(|table| table.properties.as_ref())
        .flat_map(|properties| properties.info.sources())
        .collect();
    let keyspaces = survey.manifest.iter().flat_map(|read| &read.state.keyspaces);
    for keyspace in keyspaces {
        for (_, record) in keyspace.version.tables() {
            let number = record.number;
            if survey.tables.contains_key(&number) || replaced.contains(&number) {
                continue;
            }
            let name = file_name(FileKind::Table, number);
            let reason = "the manifest names it, as far as it can be read".to_owned();
            report.missing.push(NamedFile { name, reason });
            report.losses.push(lost_table(&keyspace.name, record, "the table is missing"));
        }
    }
    if survey.manifest.is_none() {
        let names = survey.listing.iter().map(|entry| lsm_manifest::parse_file_name(&entry.name).1);
        let known: BTreeSet<u64> = names.chain(replaced).collect();
        let highest = known.last().copied().unwrap_or(0);
        let unknown: Vec<String> =
            (1..highest).filter(|n| !known.contains(n)).take(100).map(|n| n.to_string()).collect();
        if !unknown.is_empty() {
            report.remarks.push(format!(
                "without a manifest nobody can tell whether tables are missing; no file accounts \
                 for the numbers {}",
                unknown.join(", ")
            ));
        }
    }
}

/// Which tables were made of which.
struct Merges {
    /// Outputs by inputs, the inputs in order.
    outputs: BTreeMap<Vec<u64>, Vec<u64>>,
}

impl Merges {
    fn of(survey: &Survey, leftovers: &BTreeMap<u64, String>) -> Self {
        let mut outputs: BTreeMap<Vec<u64>, Vec<u64>> = BTreeMap::new();
        for table in survey.tables.values().filter(|t| !leftovers.contains_key(&t.number)) {
            let Some(properties) = &table.properties else { continue };
            let mut inputs = properties.info.made_from.clone();
            if !inputs.is_empty() {
                inputs.sort_unstable();
                outputs.entry(inputs).or_default().push(table.number);
            }
        }
        Self { outputs }
    }

    fn set_aside(
        &self,
        survey: &Survey,
        aside: &mut BTreeMap<u64, String>,
        report: &mut RepairReport,
    ) {
        let mut merges: Vec<(&Vec<u64>, &Vec<u64>)> = self.outputs.iter().collect();
        merges.sort_by_key(|(_, outputs)| std::cmp::Reverse(outputs.iter().max().copied()));
        for (inputs, outputs) in merges {
            let is_whole =
                |number: &u64| survey.tables.get(number).is_some_and(|t| t.whole().is_some());
            let is_used = outputs.iter().any(|output| aside.contains_key(output));
            let has_happened = is_used || !inputs.iter().all(is_whole);
            if !has_happened {
                for output in outputs {
                    let reason = "all that it was made of is there".to_owned();
                    aside.insert(*output, reason);
                }
                continue;
            }
            if !is_used {
                note_unfinished(survey, inputs, outputs, report);
            }
            for output in outputs {
                let name = file_name(FileKind::Table, *output);
                let info = survey.tables[output].properties.as_ref().map(|p| &p.info);
                for source in info.into_iter().flat_map(TableInfo::sources) {
                    aside.entry(source).or_insert_with(|| format!("{name} was made of it"));
                }
            }
        }
    }
}

/// Where some inputs are there still, the merge may have been under way when the others were lost:
/// then what lies behind the last key of its outputs was not written yet.
fn note_unfinished(survey: &Survey, inputs: &[u64], outputs: &[u64], report: &mut RepairReport) {
    let properties = |number: &u64| survey.tables.get(number)?.properties.as_ref();
    let Some(reached) = outputs.iter().filter_map(properties).map(|p| &p.upper).max() else {
        return;
    };
    for (number, input) in inputs.iter().filter_map(|number| Some((number, properties(number)?))) {
        if input.upper > *reached {
            report.losses.push(Loss {
                keyspace: Some(input.info.keyspace_name.clone()),
                keys: Some((reached.clone(), input.upper.clone())),
                seq_no_first: input.seq_no_min,
                seq_no_last: Some(input.seq_no_max),
                file: file_name(FileKind::Table, *number),
                reason: "other tables were made of it, and perhaps not to its end".into(),
            });
        }
    }
}
