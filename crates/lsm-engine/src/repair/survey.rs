//! Everything that a directory holds, read once and changed nowhere.

use std::io;
use std::path::Path;

use lsm_io::{DirEntry, Error};
use lsm_manifest::{FileKind, Manifest, ManifestRead, file_name, parse_file_name};
use lsm_wal::FrameReader;

use super::blobs::FoundBlobs;
use super::log::{Beginning, FoundLog, LogGap, segments};
use super::report::{NamedFile, RepairReport};
use super::tables::{FoundTables, survey_table};
use crate::error::{Error as EngineError, ErrorKind, Result};
use crate::options::KeyspaceOptions;
use crate::verify::{Damage, Files};

/// What was found.
pub(super) struct Survey {
    /// From this number on files were written by a repair that was not finished.
    unfinished_from: u64,
    /// Files, without directories.
    pub(super) listing: Vec<DirEntry>,
    /// The newest manifest of which anything can be read.
    pub(super) manifest: Option<ManifestRead>,
    /// Why that manifest may not tell everything.
    pub(super) doubt: Option<String>,
    /// `None`: no file tells.
    pub(super) database_id: Option<u128>,
    pub(super) tables: FoundTables,
    pub(super) blobs: FoundBlobs,
    pub(super) log: FoundLog,
}

/// The manifest, and how far it is to be believed.
struct FoundManifest {
    read: Option<ManifestRead>,
    doubt: Option<String>,
}

impl Survey {
    pub(super) fn take(files: &Files<'_>, report: &mut RepairReport) -> Result<Self> {
        let mut listing = files.fs.list(files.dir)?;
        listing.retain(|entry| !entry.is_dir);
        let unfinished_from = unfinished_from(files, &listing);
        let numbers = |wanted: FileKind| -> Vec<u64> {
            let parsed = listing.iter().map(|entry| parse_file_name(&entry.name));
            let counts =
                |(kind, number): &(FileKind, u64)| *kind == wanted && *number < unfinished_from;
            let mut numbers: Vec<u64> = parsed.filter(counts).map(|(_, number)| number).collect();
            numbers.sort_unstable();
            numbers
        };
        let FoundManifest { read, mut doubt } =
            find_manifest(files, &numbers(FileKind::Manifest), report)?;
        if let Some(read) = &read {
            check_writable(files.dir, read)?;
            check_options(read)?;
        }
        let mut tables = FoundTables::new();
        for entry in &listing {
            if let (FileKind::Table, number) = parse_file_name(&entry.name)
                && number < unfinished_from
            {
                let found = survey_table(files, number, entry.bytes, &mut report.damage)?;
                tables.insert(number, found);
            }
        }
        let mut blobs = FoundBlobs::default();
        for entry in &listing {
            if let (FileKind::Blob, number) = parse_file_name(&entry.name)
                && number < unfinished_from
            {
                blobs.survey(files, number, entry.bytes, &mut report.damage)?;
            }
        }
        let logs = numbers(FileKind::Log);
        for &number in &logs {
            let path = files.path(FileKind::Log, number);
            if let Err(error) = FrameReader::open(files.fs, &path, None) {
                check_not_newer(&error)?;
            }
        }
        let database_id = read
            .as_ref()
            .map(|read| read.state.database_id)
            .or_else(|| logs.iter().rev().find_map(|&number| log_identity(files, number)))
            .or_else(|| {
                tables.values().rev().find_map(|table| table.identity).map(|id| id.database_id)
            });
        let wanted = database_id.unwrap_or_default();
        let segments = segments(files.fs, files.dir, &logs, wanted);
        let first = read.as_ref().map(|read| Beginning {
            segment: read.state.log_number,
            seq_no: Some(read.state.log_first_seq_no),
        });
        let is_named = first.is_some_and(|first| segments.contains(&first.segment));
        let first = first.filter(|_| doubt.is_none() || is_named);
        let mut log = FoundLog::read(files, wanted, first, &segments, &mut report.damage)?;
        if let Some(read) = &read {
            if log.known_edit > read.state.edit_number {
                let (known, ends) = (log.known_edit, read.state.edit_number);
                doubt.get_or_insert(format!("the log knows of edit {known}, it ends at {ends}"));
            }
            note_end(&mut log, read);
        } else if segments.is_empty() {
            let reason = "there is no segment of the log".to_owned();
            log.gaps.push(LogGap {
                first: 1,
                last: None,
                file: file_name(FileKind::Log, 0),
                reason,
            });
        }
        Ok(Self {
            unfinished_from,
            listing,
            manifest: read,
            doubt,
            database_id,
            tables,
            blobs,
            log,
        })
    }

    /// Whether a file was written by a repair that was not finished.
    pub(super) fn is_unfinished(&self, number: u64) -> bool {
        number >= self.unfinished_from
    }

    /// The first number that no file has or had.
    pub(super) fn first_free_number(&self, lost: &[DirEntry]) -> u64 {
        let named = self.listing.iter().chain(lost).map(|entry| parse_file_name(&entry.name).1);
        let properties = self.tables.values().filter_map(|table| table.properties.as_ref());
        let sources = properties.flat_map(|properties| properties.info.made_from.iter().copied());
        let highest = named.chain(sources).max().unwrap_or(0);
        let next = self.manifest.as_ref().map_or(1, |read| read.state.next_file_number);
        next.max(highest.saturating_add(1))
    }
}

/// The number on the mark of a repair that was not finished. If `CURRENT` has been swapped, it was.
fn unfinished_from(files: &Files<'_>, listing: &[DirEntry]) -> u64 {
    let current = Manifest::current(files.fs, files.dir).ok().flatten();
    let parsed = listing.iter().map(|entry| parse_file_name(&entry.name));
    let marks = parsed.filter(|(kind, number)| *kind == FileKind::Temp && *number > 0);
    let first = marks.map(|(_, number)| number).min().unwrap_or(u64::MAX);
    if current.is_some_and(|current| current >= first) { u64::MAX } else { first }
}

/// A file that is whole and of a newer format is no damage: an older program must not set it aside.
pub(super) fn check_not_newer(error: &Error) -> Result<()> {
    let Error::Corrupt { reason, .. } = error else { return Ok(()) };
    let is_newer = ["this program reads", "needs features", "this version does not know"];
    if !is_newer.iter().any(|words| reason.contains(words)) {
        return Ok(());
    }
    Err(EngineError::invalid(format!("{error}; it has to be repaired by a program that reads it")))
}

fn check_writable(dir: &Path, read: &ManifestRead) -> Result<()> {
    match read.unknown_features_to_write {
        0 => Ok(()),
        unknown => Err(EngineError::invalid(format!(
            "{} needs features {unknown:#x} to be written, which this program does not know; it has \
             to be repaired by a newer program",
            dir.display()
        ))),
    }
}

/// What this program was built without is no reason to keep a keyspace in another way from now on.
fn check_options(read: &ManifestRead) -> Result<()> {
    let parsed = read.state.keyspaces.iter().map(|state| KeyspaceOptions::parse(&state.options));
    let refusal = parsed.filter_map(Result::err).find(|error| error.kind() == ErrorKind::Invalid);
    refusal.map_or(Ok(()), Err)
}

fn log_identity(files: &Files<'_>, number: u64) -> Option<u128> {
    let path = files.path(FileKind::Log, number);
    FrameReader::open(files.fs, &path, None).ok().map(|reader| reader.identity().database_id)
}

fn find_manifest(
    files: &Files<'_>,
    numbers: &[u64],
    report: &mut RepairReport,
) -> Result<FoundManifest> {
    let (fs, dir) = (files.fs, files.dir);
    let mut note = |error: Error| match error {
        error if check_not_newer(&error).is_err() => {
            check_not_newer(&error).map(|()| String::new())
        }
        Error::Corrupt { path, offset, reason } => {
            let reason = reason.into_owned();
            report.damage.push(Damage { path, offset, reason: reason.clone() });
            Ok(reason)
        }
        error => Err(error.into()),
    };
    let mut doubt = None;
    match Manifest::read(fs, dir) {
        Ok(read) => {
            let doubt =
                read.cut.map(|offset| format!("its edits end at byte {offset} in a torn one"));
            return Ok(FoundManifest { read: Some(read), doubt });
        }
        Err(error) if error.io_kind() == Some(io::ErrorKind::NotFound) => {
            let name = file_name(FileKind::Current, 0);
            let reason = "it names the manifest".to_owned();
            report.missing.push(NamedFile { name, reason });
        }
        Err(error) => {
            let reason = note(error)?;
            if matches!(Manifest::current(fs, dir), Ok(Some(_))) {
                doubt = Some(reason);
            }
        }
    }
    let mut best: Option<ManifestRead> = None;
    for &number in numbers {
        match Manifest::read_number(fs, dir, number) {
            Ok(read) => {
                let age = |read: &ManifestRead| (read.state.edit_number, read.number);
                if best.as_ref().is_none_or(|best| age(best) < age(&read)) {
                    best = Some(read);
                }
            }
            Err(error) => {
                note(error)?;
            }
        }
    }
    if let Some(read) = &best {
        let cut = read.cut.map(|offset| format!("its edits end at byte {offset} in a torn one"));
        let newer = numbers.last().filter(|&&newest| newest > read.number);
        let newer = newer.map(|number| {
            format!("{} is newer and cannot be read", file_name(FileKind::Manifest, *number))
        });
        doubt = doubt.or(cut).or(newer);
    }
    Ok(FoundManifest { read: best, doubt })
}

/// Where the log ends, by the manifest's account.
fn note_end(log: &mut FoundLog, read: &ManifestRead) {
    let state = &read.state;
    let next = log.next_seq_no.unwrap_or(state.log_first_seq_no);
    let is_open_ended = |gap: &LogGap| gap.last.is_none();
    let file = file_name(FileKind::Log, state.log_number);
    let reason = if next <= state.last_seq_no {
        format!("the log ends before {next}, the manifest knows of {}", state.last_seq_no)
    } else if read.closed_cleanly && !log.is_closed() {
        "the database was closed, but the log does not end with its closing frame".to_owned()
    } else {
        return;
    };
    if !log.gaps.iter().any(is_open_ended) {
        log.gaps.push(LogGap { first: next, last: None, file, reason });
    }
}
