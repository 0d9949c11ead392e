//! The manifest is believed: each table keeps its place, and what is damaged or missing is lost.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lsm_manifest::{FileKind, ManifestState, file_name};
use lsm_sstable::Origin;
use lsm_version::TableRecord;

use super::{Choice, ChosenKeyspace, ChosenTable, Source, lost_block, lost_table};
use crate::repair::report::{NamedFile, RepairReport};
use crate::repair::survey::Survey;
use crate::repair::tables::{Condition, FoundTable};

/// Tables that the manifest does not name and would, if all of its edits were there. `None`: every
/// table that is not named is one that no edit has named yet, or none names any more.
pub(super) fn doubt(survey: &Survey, leftovers: &BTreeMap<u64, String>) -> Option<String> {
    let state = &survey.manifest.as_ref()?.state;
    let named: BTreeSet<u64> = records(state).map(|(_, record)| record.number).collect();
    let is_missing = |number: &u64| named.contains(number) && !survey.tables.contains_key(number);
    for (number, table) in &survey.tables {
        let Some(properties) = &table.properties else { continue };
        if named.contains(number) || leftovers.contains_key(number) {
            continue;
        }
        let (name, info) = (file_name(FileKind::Table, *number), &properties.info);
        if let Some(source) = info.made_from.iter().find(|number| is_missing(number)) {
            let source = file_name(FileKind::Table, *source);
            return Some(format!("it names {source}, of which {name} was made"));
        }
        if info.keyspace_id >= state.next_keyspace_id {
            return Some(format!("it does not know the keyspace of {name}"));
        }
        let keyspace = state.keyspace(info.keyspace_id);
        // What is ingested says nothing of flushes.
        let is_beyond = info.origin != Origin::Ingest
            && keyspace.is_some_and(|k| properties.seq_no_max > k.flushed_through);
        let is_in_log = survey.log.is_whole_behind(0)
            && survey.log.next_seq_no.is_some_and(|next| next > properties.seq_no_max);
        if is_beyond && !is_in_log {
            return Some(format!("it does not know of the flush that made {name}"));
        }
    }
    None
}

fn records(state: &ManifestState) -> impl Iterator<Item = (u32, &Arc<TableRecord>)> {
    state
        .keyspaces
        .iter()
        .flat_map(|state| state.version.tables().map(|(_, record)| (state.id, record)))
}

pub(super) fn choose(survey: &Survey, state: &ManifestState, report: &mut RepairReport) -> Choice {
    let mut choice = Choice {
        next_keyspace_id: state.next_keyspace_id,
        is_from_manifest: true,
        ..Choice::default()
    };
    let mut used = BTreeSet::new();
    for keyspace in &state.keyspaces {
        let id = keyspace.id;
        let mut chosen = ChosenKeyspace {
            options: keyspace.options.clone(),
            is_from_manifest: true,
            flushed_through: keyspace.flushed_through,
            ..ChosenKeyspace::new(id, Some(keyspace.name.clone()))
        };
        for (place, record) in keyspace.version.tables() {
            if let Some(source) = find(survey, &keyspace.name, record, report) {
                if let Source::Whole(record) = &source {
                    used.insert(record.number);
                }
                chosen.tables.push(ChosenTable { place: Some(place), source });
            }
        }
        choice.keyspaces.insert(id, chosen);
    }
    for (&number, table) in &survey.tables {
        if !used.contains(&number) {
            let reason = match table.condition {
                Condition::Whole(_) => "the manifest does not name it",
                _ => "it is damaged",
            };
            choice.aside.insert(number, reason.to_owned());
        }
    }
    choice
}

/// The file that holds what `record` tells of, under whatever name, or what is whole of it.
fn find(
    survey: &Survey,
    keyspace: &str,
    record: &Arc<TableRecord>,
    report: &mut RepairReport,
) -> Option<Source> {
    let is_it = |table: &&FoundTable| {
        table.whole().is_some_and(|whole| {
            (whole.birth_database_id, whole.birth_number, whole.checksum)
                == (record.birth_database_id, record.birth_number, record.checksum)
        })
    };
    let name = file_name(FileKind::Table, record.number);
    let there = survey.tables.get(&record.number);
    if there.as_ref().is_some_and(is_it) {
        return Some(Source::Whole(Arc::clone(record)));
    }
    if let Some(elsewhere) = survey.tables.values().find(is_it) {
        let other = file_name(FileKind::Table, elsewhere.number);
        report.remarks.push(format!("what should be {name} is {other}, and stays so"));
        let number = elsewhere.number;
        return Some(Source::Whole(Arc::new(TableRecord { number, ..TableRecord::clone(record) })));
    }
    let Some(there) = there else {
        let reason = format!("the manifest names it, in keyspace \"{keyspace}\"");
        report.missing.push(NamedFile { name, reason });
        report.losses.push(lost_table(keyspace, record, "the table is missing"));
        return None;
    };
    let is_same = there.identity.is_some_and(|identity| {
        (identity.database_id, identity.file_number)
            == (record.birth_database_id, record.birth_number)
    });
    match (&there.condition, there.identity) {
        (Condition::Partial(lost), Some(identity)) if is_same => {
            let number = record.number;
            for block in lost {
                let mut loss = lost_block(keyspace, number, block);
                // What the properties cannot tell any more, the manifest does.
                if let Some((lower, _)) = &mut loss.keys
                    && *lower < record.lower
                {
                    lower.clone_from(&record.lower);
                }
                report.losses.push(loss);
            }
            Some(Source::Partial { number, identity, seq_no_min: Some(record.seq_no_min) })
        }
        _ => {
            report.losses.push(lost_table(keyspace, record, "nothing of the table can be read"));
            None
        }
    }
}
