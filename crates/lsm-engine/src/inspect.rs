//! Looking inside: the shape of the tree, the history of a key, the path of a read.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use lsm_entry::{Cursor, Entry, Fragments, MAX_SEQ_NO, SeqNo, ValueKind, key_hash};
use lsm_memtable::Memtable;

use crate::error::Result;
use crate::keyspace::Keyspace;
use crate::resolve::Meaning;
use crate::tables::LiveTable;
use crate::value::Slice;
use crate::view::View;

/// The tables of a keyspace, as they lie over the key space.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Every run, newest first.
    pub runs: Vec<RunShape>,
}

/// One run of a tree.
#[derive(Clone, Debug)]
pub struct RunShape {
    /// The level it lies in.
    pub level: usize,
    /// Its tables, in key order.
    pub tables: Vec<TableShape>,
}

/// One table of a run.
#[derive(Clone, Debug)]
pub struct TableShape {
    /// Its file number.
    pub number: u64,
    /// Its smallest key.
    pub lower: Vec<u8>,
    /// Its largest key.
    pub upper: Vec<u8>,
    /// Its file's length.
    pub bytes: u64,
    /// Its entries.
    pub entries: u64,
    /// How many of them are tombstones.
    pub tombstones: u64,
    /// Its range deletes, cut at each other's bounds.
    pub range_deletes: u64,
}

/// Where an entry was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the memtable that takes writes.
    ActiveMemtable,
    /// In the n-th sealed memtable, 0 the newest.
    SealedMemtable(usize),
    /// In a table.
    Table {
        /// The level it lies in.
        level: usize,
        /// Its file number.
        number: u64,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ActiveMemtable => f.write_str("active memtable"),
            Self::SealedMemtable(index) => write!(f, "sealed memtable {index}"),
            Self::Table { level, number } => write!(f, "level {level}, table {number:06}"),
        }
    }
}

/// One version of a key, wherever it lies.
#[derive(Clone, Debug)]
pub struct KeyVersion {
    /// When it was written, in the one order.
    pub seq_no: SeqNo,
    /// What it does.
    pub kind: ValueKind,
    /// Its value; empty for a tombstone; of a range delete the first key beyond it, empty if there is
    /// none.
    pub value: Slice,
    /// Where it lies.
    pub place: Place,
}

/// The path that one read takes, step by step.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// What was looked at, in order; the last step found the key, if any did.
    pub steps: Vec<ExplainStep>,
    /// The value, if there is one.
    pub value: Option<Slice>,
}

/// One place that a read looked at.
#[derive(Clone, Debug)]
pub struct ExplainStep {
    /// Where it looked.
    pub place: Place,
    /// What came of it, in words.
    pub outcome: String,
    /// How long it took, in nanoseconds.
    pub elapsed_ns: u64,
}

impl Keyspace {
    /// The tables as they lie over the key space.
    pub fn shape(&self) -> Shape {
        let view = self.core.view.load();
        let table = |live: &Arc<LiveTable>| {
            let record = live.record();
            TableShape {
                number: record.number,
                lower: record.lower.clone(),
                upper: record.upper.clone(),
                bytes: record.bytes,
                entries: record.entries,
                tombstones: record.tombstones,
                range_deletes: record.range_deletes,
            }
        };
        let runs = view.tree.runs.iter().map(|run| RunShape {
            level: run.level,
            tables: run.tables.iter().map(table).collect(),
        });
        Shape { runs: runs.collect() }
    }

    /// Every version of `key` that is still there, newest first, visible or not, and the range deletes
    /// that cover it.
    ///
    /// # Errors
    /// `Corrupt`, `Io`, `Closed`, `Invalid`.
    pub fn history(&self, key: impl AsRef<[u8]>) -> Result<Vec<KeyVersion>> {
        self.db.shared.check_readable(&self.core)?;
        let key = key.as_ref();
        let mut versions = Vec::new();
        let view = self.core.view.load_full();
        let mut note = |entry: &Entry<'_>, place: &Place| -> Result<()> {
            let value = match entry.blob() {
                Some(place) => Slice::blob(view.tree.blobs.load(place)?),
                None => Slice::copied(entry.user_value()),
            };
            versions.push(KeyVersion {
                seq_no: entry.seq_no,
                kind: entry.kind(),
                value,
                place: place.clone(),
            });
            Ok(())
        };
        let covering = |fragments: &Fragments, place: &Place| -> Vec<KeyVersion> {
            let Some(fragment) = fragments.find(key) else { return Vec::new() };
            let version = |seq_no: &SeqNo| KeyVersion {
                seq_no: *seq_no,
                kind: ValueKind::RangeDelete,
                value: Slice::copied(fragment.upper()),
                place: place.clone(),
            };
            fragment.seq_nos().iter().map(version).collect()
        };
        let mut range_deletes = Vec::new();
        for (place, memtable) in memtables(&view) {
            if let Some(fragments) = memtable.range_deletes() {
                range_deletes.append(&mut covering(&fragments, &place));
            }
            let mut cursor = memtable.cursor();
            let Ok(()) = cursor.seek(key, MAX_SEQ_NO);
            while let Some(entry) = cursor.entry().filter(|entry| entry.key == key) {
                note(&entry, &place)?;
                let Ok(()) = cursor.next();
            }
        }
        for run in &view.tree.runs {
            let Some(live) = run.find(key) else { continue };
            let place = Place::Table { level: run.level, number: live.record().number };
            if let Some(fragments) = live.range_deletes()? {
                range_deletes.append(&mut covering(fragments, &place));
            }
            let mut cursor = live.table()?.cursor();
            cursor.seek(key, MAX_SEQ_NO)?;
            while let Some(entry) = cursor.entry().filter(|entry| entry.key == key) {
                note(&entry, &place)?;
                cursor.next()?;
            }
        }
        versions.append(&mut range_deletes);
        versions.sort_by_key(|version| std::cmp::Reverse(version.seq_no));
        versions.dedup_by_key(|version| version.seq_no);
        Ok(versions)
    }

    /// The path that a `get` of `key` takes now, with the time each step took.
    ///
    /// # Errors
    /// `Corrupt`, `Io`, `Closed`, `Invalid`.
    pub fn explain(&self, key: impl AsRef<[u8]>) -> Result<Explanation> {
        let shared = &self.db.shared;
        shared.check_readable(&self.core)?;
        let key = key.as_ref();
        let view = self.core.view.load_full();
        let seq_no = shared.commit.visible();
        let hash = key_hash(key);
        let mut explanation = Explanation { steps: Vec::new(), value: None };
        for (place, memtable) in memtables(&view) {
            let began = Instant::now();
            let cover = memtable.cover(key, seq_no);
            let entry = memtable.get(key, hash, seq_no).filter(|entry| entry.seq_no >= cover);
            let absent = if cover > 0 { describe_cover(cover) } else { "not there".into() };
            let outcome = entry.as_ref().map_or(absent, describe);
            explanation.note(place, outcome, began);
            if entry.is_none() && cover > 0 {
                return Ok(explanation);
            }
            if let Some(entry) = entry {
                explanation.value = match shared.resolve(&entry, None) {
                    Meaning::Value(value) => Some(Slice::copied(value)),
                    Meaning::Large(place) => Some(Slice::blob(view.tree.blobs.load(place)?)),
                    Meaning::Gone => None,
                    Meaning::Operand(_) => {
                        Some(shared.get_folded(&self.core, &view, key, hash, seq_no, None)?)
                    }
                };
                return Ok(explanation);
            }
        }
        for run in &view.tree.runs {
            let Some(live) = run.find(key) else { continue };
            let place = Place::Table { level: run.level, number: live.record().number };
            let began = Instant::now();
            let table = live.table()?;
            let cover = live.cover(key, seq_no)?;
            let may_contain = table.may_contain(hash);
            let newer = |entry: &Entry<'_>| entry.seq_no >= cover;
            let found = match may_contain {
                false => None,
                true => table.get_lent(key, hash, seq_no)?.and_then(|lent| {
                    let entry = lent.entry();
                    let value = || match shared.resolve(&entry, None) {
                        Meaning::Value(value) => (Some(Some(Slice::copied(value))), None),
                        Meaning::Large(place) => (Some(None), Some(place)),
                        Meaning::Gone => (Some(None), None),
                        Meaning::Operand(_) => (None, None),
                    };
                    newer(&entry).then(|| (describe(&entry), value()))
                }),
            };
            if found.is_none() && cover > 0 {
                explanation.note(place, describe_cover(cover), began);
                return Ok(explanation);
            }
            if !may_contain {
                explanation.note(place, "filter says no".into(), began);
                continue;
            }
            match found {
                Some((mut outcome, (mut value, blob))) => {
                    if let Some(blob) = blob {
                        outcome += "; value read from a blob file";
                        value = Some(Some(Slice::blob(view.tree.blobs.load(blob)?)));
                    }
                    explanation.note(place, format!("filter says perhaps; {outcome}"), began);
                    explanation.value = match value {
                        Some(value) => value,
                        None => {
                            Some(shared.get_folded(&self.core, &view, key, hash, seq_no, None)?)
                        }
                    };
                    return Ok(explanation);
                }
                None => {
                    let outcome = "filter says perhaps, wrongly: one block read for nothing";
                    explanation.note(place, outcome.into(), began);
                }
            }
        }
        Ok(explanation)
    }
}

impl Explanation {
    fn note(&mut self, place: Place, outcome: String, began: Instant) {
        let elapsed_ns = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.steps.push(ExplainStep { place, outcome, elapsed_ns });
    }
}

fn describe(entry: &Entry<'_>) -> String {
    let rest = match entry.kind() {
        ValueKind::Merge => ", to be merged with what is older",
        _ => "",
    };
    format!("found {:?} with sequence number {}{rest}", entry.kind(), entry.seq_no)
}

fn describe_cover(cover: SeqNo) -> String {
    format!("range delete with sequence number {cover} covers it")
}

/// The memtables of a view, newest first.
fn memtables(view: &View) -> impl Iterator<Item = (Place, &Arc<Memtable>)> {
    let sealed = view.sealed.iter().enumerate();
    let sealed = sealed.map(|(index, memtable)| (Place::SealedMemtable(index), memtable));
    std::iter::once((Place::ActiveMemtable, &view.active)).chain(sealed)
}
