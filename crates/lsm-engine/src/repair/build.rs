//! Writes the repaired database beside the damaged one, and puts it in its place.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lsm_compaction::{Retention, Slice, TableSink};
use lsm_entry::{Cursor, Entry, Fragments, MAX_SEQ_NO, MergingCursor, SeqNo, key_hash};
use lsm_io::{Identity, OpenMode};
use lsm_manifest::{FileKind, KeyspaceState, Manifest, ManifestState, file_name, parse_file_name};
use lsm_sstable::{Origin, Table, TableCursor};
use lsm_version::{BlobRecord, LEVELS, Place, TableRecord, Version, VersionEdit};
use lsm_wal::{FrameKind, PreparedSegment, RecoveryMode, replay};

use super::arrange::{Group, arrange};
use super::blobs::Rescue;
use super::choose::{Choice, ChosenKeyspace, Source};
use super::lost::SetAside;
use super::report::{NamedFile, RepairReport, RepairedKeyspace};
use super::survey::Survey;
use super::tables::{open_damaged, visit_whole_blocks};
use super::{RepairOptions, listing_of_lost};
use crate::attempt::Attempt;
use crate::error::{Error, Result};
use crate::flush::as_newest_run;
use crate::lease::time_behind_lease;
use crate::limiter::{Priority, RateLimiter};
use crate::options::{KeyspaceOptions, Options};
use crate::outputs::{OutputSpec, Outputs, WrittenTables};
use crate::recover::new_core;
use crate::replay::{Recovery, Replayed};
use crate::segments::FIRST_SEGMENT_BYTES;
use crate::tables::TableStore;
use crate::verify::Files;
use crate::view::{Tree, View};
use crate::write_memtable::write_entries;

/// Steps 4 to 7 of a repair.
pub(super) fn build(
    files: &Files<'_>,
    options: &RepairOptions,
    survey: &Survey,
    choice: &Choice,
    report: &mut RepairReport,
) -> Result<()> {
    let first_number = survey.first_free_number(&listing_of_lost(files)?);
    let attempt = Attempt::new(files.fs, files.dir, first_number);
    let mark = begin(files, first_number)?;
    let engine = Options { env: options.env.clone(), ..Options::default() };
    let logs = survey.listing.iter().map(|entry| parse_file_name(&entry.name));
    let logs = logs.filter(|(kind, _)| *kind == FileKind::Log).map(|(_, number)| number);
    let mut builder = Builder {
        files,
        survey,
        choice,
        recovery: Recovery {
            dir: files.dir,
            options: &engine,
            database_id: survey.database_id.unwrap_or_else(|| {
                u128::from((options.env.random)()) << 64 | u128::from((options.env.random)())
            }),
            hash_seed: (options.env.random)(),
            file_numbers: AtomicU64::new(first_number),
            limiter: RateLimiter::new(None),
            now_ms: database_time_ms(options, survey),
            next_keyspace_id: choice.next_keyspace_id,
            manifest: survey.manifest.as_ref().map_or((0, 0), |read| (read.number, read.bytes)),
            may_write: true,
            entries: 0,
            unweighed_bytes: 0,
            ingests_noted: Default::default(),
            stop_at: None,
            made_from: logs.collect(),
        },
        written: Vec::new(),
    };
    let from_log = builder.replay_log()?;
    let mut keyspaces = BTreeMap::new();
    for (&id, chosen) in &choice.keyspaces {
        let from_log = from_log.get(&id).map_or(&[][..], Vec::as_slice);
        let version = builder.build_keyspace(id, chosen, from_log)?;
        report.keyspaces.push(RepairedKeyspace {
            id,
            name: chosen.name.clone(),
            is_from_manifest: chosen.is_from_manifest,
            tables: version.tables().count(),
            entries: version.tables().map(|(_, table)| table.entries).sum(),
        });
        keyspaces.insert(id, version);
    }
    let Builder { recovery, written, .. } = builder;
    let state = state(&recovery, survey, choice, &keyspaces);
    report.last_seq_no = state.last_seq_no;
    let live: BTreeSet<u64> =
        keyspaces.values().flat_map(Version::tables).map(|(_, table)| table.number).collect();
    report.tables_written = live.iter().filter(|number| **number >= first_number).count();
    report.tables_kept = live.len() - report.tables_written;

    let is_named =
        |report: &RepairReport, name: &str| report.set_aside.iter().any(|f| f.name == name);
    for &number in survey.tables.keys().filter(|number| !live.contains(number)) {
        let name = file_name(FileKind::Table, number);
        if !is_named(report, &name) {
            let reason = "it was merged with others that hold the same keys".to_owned();
            report.set_aside.push(NamedFile { name, reason });
        }
    }
    let live_blobs: BTreeSet<u64> =
        keyspaces.values().flat_map(Version::blobs).map(|blob| blob.record.number).collect();
    for &number in survey.blobs.whole.keys().filter(|number| !live_blobs.contains(number)) {
        let (name, reason) = (file_name(FileKind::Blob, number), "no table refers to it".into());
        report.set_aside.push(NamedFile { name, reason });
    }
    let names = report.set_aside.iter().map(|file| file.name.clone()).collect();
    // Order: every second name is durable before the database changes.
    let aside = SetAside::begin(files.fs, files.dir, names)?;
    put_in_place(files, &recovery, state)?;
    attempt.succeeded();
    for tables in written {
        // What went into a merge is not needed any more, unless its large values are.
        if tables.records().iter().any(|record| live.contains(&record.number))
            || tables.blobs().iter().any(|blob| live_blobs.contains(&blob.number))
        {
            tables.keep();
        }
    }
    aside.finish()?;
    Ok(files.fs.remove_file(&mark)?)
}

/// Says durably that files of this number and above are those of a repair that is not finished.
fn begin(files: &Files<'_>, first_number: u64) -> Result<PathBuf> {
    let mark = files.path(FileKind::Temp, first_number);
    files.fs.open(&mark, OpenMode::CreateNew)?.sync()?;
    // Order: the mark is durable before the first file that it speaks of.
    files.fs.sync_dir(files.dir)?;
    Ok(mark)
}

/// Database time never goes back, as far as anything tells it.
fn database_time_ms(options: &RepairOptions, survey: &Survey) -> u64 {
    let properties = survey.tables.values().filter_map(|table| table.properties.as_ref());
    let tables = properties.map(|properties| properties.info.created_ms).max().unwrap_or(0);
    let state = survey.manifest.as_ref().map(|read| &read.state);
    let manifest = state.map_or(0, |state| state.database_time_ms);
    let told_ms = tables.max(manifest).max(survey.log.database_time_ms);
    time_behind_lease(&options.env, told_ms, state.map_or(0, |state| state.leased_until_ms))
}

/// A log and a manifest of its own, and `CURRENT`, last.
fn put_in_place(
    files: &Files<'_>,
    recovery: &Recovery<'_>,
    mut state: ManifestState,
) -> Result<()> {
    let segment_number = recovery.file_numbers.fetch_add(1, Ordering::Relaxed);
    let identity = Identity { database_id: state.database_id, file_number: segment_number };
    PreparedSegment::prepare(files.fs, files.dir, identity, FIRST_SEGMENT_BYTES, None)?;
    let manifest_number = recovery.file_numbers.fetch_add(1, Ordering::Relaxed);
    state.log_number = segment_number;
    state.log_first_seq_no = state.last_seq_no + 1;
    state.next_file_number = recovery.file_numbers.load(Ordering::Relaxed);
    Manifest::start(files.fs, files.dir, manifest_number, state)?;
    Ok(())
}

fn state(
    recovery: &Recovery<'_>,
    survey: &Survey,
    choice: &Choice,
    versions: &BTreeMap<u32, Version>,
) -> ManifestState {
    let last_seq_no = last_seq_no(survey, choice);
    let old = survey.manifest.as_ref().map(|read| &read.state);
    let keyspaces = choice.keyspaces.iter().map(|(&id, chosen)| KeyspaceState {
        id,
        name: chosen.name.clone(),
        options: chosen.options.clone(),
        takes_operands: options_of(chosen).merge_operator.is_some(),
        flushed_through: last_seq_no,
        version: Arc::new(versions[&id].clone()),
    });
    ManifestState {
        writer_epoch: old.map_or(0, |old| old.writer_epoch) + 1,
        keyspaces: keyspaces.collect(),
        next_keyspace_id: choice.next_keyspace_id,
        last_seq_no,
        database_time_ms: recovery.now_ms,
        edit_number: old.map_or(0, |old| old.edit_number).max(survey.log.known_edit) + 1,
        options: old.map(|old| old.options.clone()).unwrap_or_default(),
        ..ManifestState::new(recovery.database_id)
    }
}

/// No number is given out again that anything tells of.
fn last_seq_no(survey: &Survey, choice: &Choice) -> SeqNo {
    let tables = survey.tables.values().filter_map(|table| table.properties.as_ref());
    let tables = tables.map(|properties| properties.seq_no_max);
    let gaps = survey.log.gaps.iter().filter_map(|gap| gap.last);
    let flushed = choice.keyspaces.values().map(|keyspace| keyspace.flushed_through);
    let manifest = survey.manifest.iter().map(|read| read.state.last_seq_no);
    let log = survey.log.next_seq_no.map(|next| next.saturating_sub(1));
    tables.chain(gaps).chain(flushed).chain(manifest).chain(log).max().unwrap_or(0)
}

struct Builder<'a> {
    files: &'a Files<'a>,
    survey: &'a Survey,
    choice: &'a Choice,
    recovery: Recovery<'a>,
    written: Vec<WrittenTables>,
}

impl Builder<'_> {
    /// Writes what the log holds and no table does; returns the tables by keyspace, oldest first.
    fn replay_log(&mut self) -> Result<BTreeMap<u32, Vec<Vec<Arc<TableRecord>>>>> {
        let store = self.store();
        let mut keyspaces = Vec::new();
        for (&id, chosen) in &self.choice.keyspaces {
            let state = KeyspaceState {
                id,
                name: chosen.name.clone(),
                options: options_of(chosen).to_string(),
                takes_operands: false,
                flushed_through: 0,
                version: Arc::default(),
            };
            let memtable = self.recovery.new_memtable(0);
            let tree = Tree::new(Arc::clone(&state.version), None, &store);
            let core = new_core(&state, View::opened(Arc::clone(&memtable), tree))?;
            keyspaces.push(Replayed::new(core, 0, memtable));
        }
        let log = &self.survey.log;
        for beginning in &log.beginnings {
            let recovery = &mut self.recovery;
            let visit = &mut |frame: lsm_wal::FrameRef<'_>| {
                if frame.kind != FrameKind::BATCH || !log.is_good(&frame) {
                    return Ok(());
                }
                for keyspace in &mut keyspaces {
                    let id = keyspace.core.id;
                    keyspace.flushed_through =
                        self.choice.skipped_through(log, id, frame.seq_start);
                }
                recovery.replay_batch(&mut keyspaces, &frame)
            };
            let (fs, dir, id) = (self.files.fs, self.files.dir, recovery_id(self.survey));
            replay(fs, dir, id, beginning.segment, beginning.seq_no, RecoveryMode::Salvage, visit)?;
        }
        let mut tables = BTreeMap::new();
        for mut keyspace in keyspaces {
            self.recovery.write_out(&mut keyspace)?;
            let records = keyspace.tables.iter().map(|written| written.records().to_vec());
            tables
                .insert(keyspace.core.id, records.filter(|records| !records.is_empty()).collect());
            self.written.append(&mut keyspace.tables);
        }
        Ok(tables)
    }

    fn store(&self) -> Arc<TableStore> {
        // Nothing is read through it, and nothing becomes garbage.
        let (garbage, _) = crossbeam_channel::unbounded();
        TableStore::new(self.files.dir, self.recovery.options, garbage)
    }

    /// The version of a keyspace.
    fn build_keyspace(
        &mut self,
        id: u32,
        chosen: &ChosenKeyspace,
        from_log: &[Vec<Arc<TableRecord>>],
    ) -> Result<Version> {
        let mut edit = VersionEdit::default();
        // Of tables without a place: what they were made of, if they were written here.
        let mut unplaced: Vec<(Arc<TableRecord>, Vec<u64>)> = Vec::new();
        for table in &chosen.tables {
            let (records, made_from) = match &table.source {
                Source::Whole(record) => (vec![Arc::clone(record)], vec![record.number]),
                Source::Partial { number, identity, seq_no_min } => {
                    let level = table.place.map_or(0, |place| place.level);
                    let damaged = open_damaged(self.files, *number, *identity)?;
                    (
                        self.salvage(id, chosen, (*number, &damaged), *seq_no_min, level)?,
                        vec![*number],
                    )
                }
            };
            match table.place {
                Some(place) => edit.added.extend(records.into_iter().map(|record| (place, record))),
                None => unplaced.extend(records.into_iter().map(|r| (r, made_from.clone()))),
            }
        }
        if self.choice.is_from_manifest {
            // The log goes on where the tables end.
            for records in from_log {
                edit.added.extend(as_newest_run(records));
            }
        } else {
            let logs = &self.recovery.made_from;
            unplaced.extend(from_log.iter().flatten().map(|r| (Arc::clone(r), logs.clone())));
            edit.added = self.place(id, chosen, unplaced)?;
        }
        edit.blobs = self.blobs_of(&edit);
        let version = Version::empty().apply(&edit);
        version.map_err(|error| Error::corrupt(format!("keyspace {id}: {error}")))
    }

    /// The blob files to which the added tables refer.
    fn blobs_of(&self, edit: &VersionEdit) -> Vec<Arc<BlobRecord>> {
        let shares = edit.added.iter().flat_map(|(_, table)| &table.blobs);
        let wanted: BTreeSet<u64> = shares.map(|share| share.file).collect();
        let written = self.written.iter().flat_map(WrittenTables::blobs);
        let known = self.survey.blobs.whole.values().chain(written);
        known.filter(|blob| wanted.contains(&blob.number)).cloned().collect()
    }

    /// Gives tables a place, the oldest run at the bottom and the others in level 0.
    fn place(
        &mut self,
        id: u32,
        chosen: &ChosenKeyspace,
        tables: Vec<(Arc<TableRecord>, Vec<u64>)>,
    ) -> Result<Vec<(Place, Arc<TableRecord>)>> {
        let sources: BTreeMap<u64, Vec<u64>> =
            tables.iter().map(|(record, made_from)| (record.number, made_from.clone())).collect();
        let mut added = Vec::new();
        let runs = arrange(tables.into_iter().map(|(record, _)| record).collect());
        for (age, groups) in runs.into_iter().enumerate() {
            let level = if age == 0 { LEVELS - 1 } else { 0 };
            // Ascending, and below the number of every table to come.
            let run = self.recovery.file_numbers.fetch_add(1, Ordering::Relaxed);
            for group in groups {
                let records = match group.tables.as_slice() {
                    [one] => vec![Arc::clone(one)],
                    _ => self.merge(id, chosen, &group, &sources, level)?,
                };
                added.extend(records.into_iter().map(|record| (Place { level, run }, record)));
            }
        }
        Ok(added)
    }

    fn merge(
        &mut self,
        id: u32,
        chosen: &ChosenKeyspace,
        group: &Group,
        sources: &BTreeMap<u64, Vec<u64>>,
        level: usize,
    ) -> Result<Vec<Arc<TableRecord>>> {
        let mut cursors: Vec<TableCursor> = Vec::with_capacity(group.tables.len());
        let mut range_deletes = Fragments::default();
        for record in &group.tables {
            let identity = Identity {
                database_id: record.birth_database_id,
                file_number: record.birth_number,
            };
            let table = self.files.open_table(record.number, identity, record.bytes)?;
            cursors.push(table.cursor());
            let ranges = table.range_deletes().range_deletes();
            ranges.into_iter().for_each(|range| range_deletes.insert(range));
        }
        let made_from: BTreeSet<u64> =
            group.tables.iter().flat_map(|record| &sources[&record.number]).copied().collect();
        let mut cursor = MergingCursor::new(cursors);
        cursor.seek_first()?;
        let mut outputs = self.outputs(id, chosen, made_from.into_iter().collect(), level);
        let retention = Retention::new(Vec::new(), self.recovery.now_ms);
        let mut retention = retention.with_range_deletes(range_deletes);
        // Other tables may hold what they cover.
        let kept = retention.kept_range_deletes(|_| false);
        let table_bytes = options_of(chosen).compaction.table_bytes();
        let nothing_older = |_: &[u8]| false;
        write_entries(
            &mut cursor,
            &Slice::default(),
            &mut outputs,
            &mut retention,
            nothing_older,
            &kept,
            table_bytes,
        )?;
        let written = outputs.finish()?;
        let records = written.records().to_vec();
        self.written.push(written);
        Ok(records)
    }

    /// Writes what is whole of a damaged table, its sequence numbers counted from `seq_no_min`.
    fn salvage(
        &mut self,
        id: u32,
        chosen: &ChosenKeyspace,
        (number, table): (u64, &Table),
        seq_no_min: Option<SeqNo>,
        level: usize,
    ) -> Result<Vec<Arc<TableRecord>>> {
        let written_min = table.blocks().map(|block| block.seq_no_min).min().unwrap_or(0);
        let shift = seq_no_min.map_or(0, |seq_no_min| seq_no_min.saturating_sub(written_min));
        let mut outputs = self.outputs(id, chosen, vec![number], level);
        let rescue = Rescue::new(self.files, self.survey)?;
        let mut held = Vec::new();
        visit_whole_blocks(table, &mut |entry| {
            let (entry, _) = rescue.mend(entry, &mut held)?;
            let entry = Entry { seq_no: (entry.seq_no + shift).min(MAX_SEQ_NO), ..entry };
            outputs.add(entry, key_hash(entry.key))
        })?;
        for range in table.range_deletes().counted_from(shift).range_deletes() {
            outputs.add_range_delete(&range)?;
        }
        let written = outputs.finish()?;
        let records = written.records().to_vec();
        self.written.push(written);
        Ok(records)
    }

    fn outputs(
        &self,
        id: u32,
        chosen: &ChosenKeyspace,
        made_from: Vec<u64>,
        level: usize,
    ) -> Outputs<'_> {
        let spec = OutputSpec {
            keyspace_id: id,
            keyspace_name: chosen.name.clone(),
            options: Arc::new(options_of(chosen)),
            level,
            origin: Origin::Repair,
            made_from,
            ancestors: Vec::new(),
            priority: Priority::Flush,
            past_cache: true,
            moving: None,
        };
        Outputs::new(self.recovery.workshop(), spec)
    }
}

fn recovery_id(survey: &Survey) -> u128 {
    survey.database_id.unwrap_or_default()
}

fn options_of(chosen: &ChosenKeyspace) -> KeyspaceOptions {
    KeyspaceOptions::parse(&chosen.options).unwrap_or_default()
}
