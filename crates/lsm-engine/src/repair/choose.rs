//! Which tables make up the database: those that the manifest names, if it is to be believed; else
//! those that no other table was made of.

mod by_manifest;
mod by_tables;

use std::collections::BTreeMap;
use std::sync::Arc;

use lsm_entry::SeqNo;
use lsm_io::Identity;
use lsm_manifest::{FileKind, file_name, parse_file_name};
use lsm_sstable::Origin;
use lsm_version::{Place, TableRecord};

use super::log::FoundLog;
use super::report::{Loss, RepairReport};
use super::survey::Survey;
use super::tables::{FoundTable, LostBlock};
use crate::options::KeyspaceOptions;

/// What a repair goes on with.
#[derive(Default)]
pub(super) struct Choice {
    pub(super) keyspaces: BTreeMap<u32, ChosenKeyspace>,
    pub(super) next_keyspace_id: u32,
    /// The manifest is believed.
    pub(super) is_from_manifest: bool,
    /// Tables that are no part of the database, and why.
    pub(super) aside: BTreeMap<u64, String>,
}

pub(super) struct ChosenKeyspace {
    pub(super) name: String,
    pub(super) options: String,
    pub(super) is_from_manifest: bool,
    /// Its entries up to here are all in tables, for certain.
    pub(super) flushed_through: SeqNo,
    pub(super) tables: Vec<ChosenTable>,
}

pub(super) struct ChosenTable {
    /// Where it stood; `None`: its age has to be told from its sequence numbers.
    pub(super) place: Option<Place>,
    pub(super) source: Source,
}

/// What a table is taken from.
pub(super) enum Source {
    /// A file that stays as it is.
    Whole(Arc<TableRecord>),
    /// The whole blocks of a damaged file.
    Partial {
        number: u64,
        identity: Identity,
        /// Its smallest sequence number, if a manifest knows better than the table.
        seq_no_min: Option<SeqNo>,
    },
}

impl Choice {
    /// Up to which sequence number entries of a frame that begins with `seq_no` are left out, because
    /// the keyspace has them in tables. What lies behind the log's last gap is the newest there is,
    /// whole, and so is right whether tables have it or not; what lies before a gap may have been
    /// overwritten or deleted within it. Merge operands that tables have may be folded there, under the
    /// newest one's number: from the log that one alone would take the place of all of them.
    pub(super) fn skipped_through(&self, log: &FoundLog, keyspace: u32, seq_no: SeqNo) -> SeqNo {
        let counts_once = !log.with_operands.contains(&keyspace);
        if !self.is_from_manifest && log.is_whole_behind(seq_no) && counts_once {
            return 0;
        }
        self.keyspaces.get(&keyspace).map_or(0, |keyspace| keyspace.flushed_through)
    }
}

impl ChosenKeyspace {
    fn new(id: u32, name: Option<String>) -> Self {
        Self {
            name: name.unwrap_or_else(|| format!("keyspace-{id}")),
            options: KeyspaceOptions::default().to_string(),
            is_from_manifest: false,
            flushed_through: 0,
            tables: Vec::new(),
        }
    }
}

/// Chooses, and tells in the report what is lost or missing thereby.
pub(super) fn choose(survey: &Survey, report: &mut RepairReport) -> Choice {
    let leftovers = leftovers(survey);
    let doubt = survey.doubt.clone().or_else(|| by_manifest::doubt(survey, &leftovers));
    let mut choice = match (&survey.manifest, doubt) {
        (Some(read), None) => by_manifest::choose(survey, &read.state, report),
        (read, doubt) => {
            report.remarks.push(match (read, doubt) {
                (Some(read), Some(doubt)) => format!(
                    "{} does not tell everything ({doubt}): tables were chosen by what they were \
                     made of",
                    file_name(FileKind::Manifest, read.number)
                ),
                _ => "without a manifest, tables were chosen by what they were made of".to_owned(),
            });
            by_tables::choose(survey, &leftovers, report)
        }
    };
    choice.aside.extend(leftovers);
    choice
}

/// What a repair has written that was not finished: all that it was made of is still there.
fn leftovers(survey: &Survey) -> BTreeMap<u64, String> {
    let is_there = |number: &u64| {
        survey.listing.iter().any(|entry| match parse_file_name(&entry.name) {
            (FileKind::Table | FileKind::Log, found) => found == *number,
            _ => false,
        })
    };
    let is_leftover = |table: &&FoundTable| {
        table.properties.as_ref().is_some_and(|properties| {
            let info = &properties.info;
            info.origin == Origin::Repair && info.made_from.iter().all(is_there)
        })
    };
    let reason = || "an earlier repair did not finish it".to_owned();
    let named = survey.manifest.as_ref().map(|read| &read.state.keyspaces);
    let is_named = |number: u64| {
        named.is_some_and(|keyspaces| {
            let mut tables = keyspaces.iter().flat_map(|keyspace| keyspace.version.tables());
            tables.any(|(_, record)| record.number == number)
        })
    };
    let found = survey.tables.values().filter(is_leftover).map(|table| table.number);
    found.filter(|number| !is_named(*number)).map(|number| (number, reason())).collect()
}

fn lost_block(keyspace: &str, number: u64, block: &LostBlock) -> Loss {
    Loss {
        keyspace: Some(keyspace.to_owned()),
        keys: Some((block.lower.clone(), block.upper.clone())),
        seq_no_first: block.seq_no_min,
        seq_no_last: Some(block.seq_no_max),
        file: file_name(FileKind::Table, number),
        reason: "the block that held them is damaged".into(),
    }
}

fn lost_table(keyspace: &str, record: &TableRecord, reason: &str) -> Loss {
    Loss {
        keyspace: Some(keyspace.to_owned()),
        keys: Some((record.lower.clone(), record.upper.clone())),
        seq_no_first: record.seq_no_min,
        seq_no_last: Some(record.seq_no_max),
        file: file_name(FileKind::Table, record.number),
        reason: reason.to_owned(),
    }
}
