//! The path of a repair: from whatever is left in a directory to a database that opens.
//!
//! 1. Claim the directory, and verify it. If nothing is wrong, nothing is done.
//! 2. Survey: read every file once, and note what is whole, damaged and missing.
//! 3. Choose the tables that make up the database: never one beside what was made of it.
//! 4. Write, under fresh numbers, what is to be kept and is in no whole table: blocks of damaged
//!    tables, batches of the log, and tables that have to be merged to have an order.
//! 5. Give everything else a second name in `lost/`, durably.
//! 6. Prepare a fresh log segment and a fresh manifest; the swap of `CURRENT` is the moment at which
//!    the repair has happened.
//! 7. Take the first names of what was set aside.
//!
//! Order: 4 before 6, 5 before 6, 6 before 7. Before 6 nothing old was touched, so a crash leaves the
//! same repair to be done again; a mark, `NNNNNN.tmp`, says from which number on files were written by
//! 4 and do not count. After 6
//! what was set aside has its name in `lost/`, whatever the next open removes.

mod arrange;
mod blobs;
mod build;
mod choose;
mod log;
mod lost;
mod report;
mod survey;
mod tables;

use std::io::ErrorKind;
use std::path::Path;

use lsm_manifest::{FileKind, file_name, parse_file_name};

pub use self::report::{Loss, NamedFile, RepairReport, RepairedKeyspace};

use self::blobs::choose_tables_anew;
use self::choose::{Choice, Source, choose};
use self::log::LogGap;
use self::report::Loss as Lost;
use self::survey::Survey;
use crate::directory::{LOST, lock_directory};
use crate::env::Env;
use crate::error::{Error, Result};
use crate::limiter::RateLimiter;
use crate::verify::{Files, VerifyOptions, VerifyReport, verify_with};

/// How a repair is made.
#[derive(Clone, Debug, Default)]
pub struct RepairOptions {
    /// Write nothing, and tell what would be done. No lock is taken: on a database that is open the
    /// answer means little.
    pub dry_run: bool,
    /// Files, clock and randomness. Leave it alone outside tests.
    pub env: Env,
}

/// Makes a database that opens of what is left in directory `path`, and tells what was lost.
///
/// Whatever is missing, cut short or damaged, in whatever combination: `CURRENT`, manifest, tables, log
/// segments. Nothing is deleted: what is no part of the database any more is moved into `lost/`. A
/// healthy database is left as it is. A crash in the middle leaves what can be repaired again.
///
/// ```
/// use lsm_engine::{Db, Reads, RepairOptions, repair};
///
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("my.db");
/// let db = Db::open(&path)?;
/// db.put("user:1", "Ada")?;
/// db.close()?;
/// std::fs::remove_file(path.join("CURRENT"))?;
/// assert!(Db::open(&path).is_err());
///
/// let report = repair(&path, RepairOptions::default())?;
/// assert!(report.losses.is_empty());
/// assert_eq!(Db::open(&path)?.get("user:1")?.as_deref(), Some(&b"Ada"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// `Invalid` if there is nothing of a database; `Busy` if it is open; `Io` and `NoSpace`, after which it
/// can be tried again.
#[allow(clippy::needless_pass_by_value)]
pub fn repair(path: impl AsRef<Path>, options: RepairOptions) -> Result<RepairReport> {
    let (dir, fs) = (path.as_ref(), &options.env.fs);
    check_is_database(dir, &options)?;
    let _lock = if options.dry_run { None } else { Some(lock_directory(fs, dir)?) };
    let mut report = RepairReport { is_dry_run: options.dry_run, ..RepairReport::default() };
    if let Some(verified) = verify_healthy(dir, &options)? {
        report.is_healthy = true;
        report.remarks = verified.remarks;
        return Ok(report);
    }
    let files = Files { fs, dir, limiter: RateLimiter::new(None) };
    let survey = Survey::take(&files, &mut report)?;
    let mut choice = choose(&survey, &mut report);
    choose_tables_anew(&files, &survey, &mut choice, &mut report)?;
    note_log_losses(&survey, &choice, &mut report);
    note_set_aside(&survey, &choice, &mut report);
    report.batches_replayed = survey.log.batches;
    if options.dry_run {
        return Ok(report);
    }
    build::build(&files, &options, &survey, &choice, &mut report)?;
    Ok(report)
}

fn check_is_database(dir: &Path, options: &RepairOptions) -> Result<()> {
    let no_database = || Error::invalid(format!("there is no database at {}", dir.display()));
    let listing = match options.env.fs.list(dir) {
        Ok(listing) => listing,
        Err(error) => {
            return Err(match error.io_kind() {
                Some(ErrorKind::NotFound | ErrorKind::NotADirectory) => no_database(),
                _ => error.into(),
            });
        }
    };
    let is_part = |name: &str| {
        let kind = parse_file_name(name).0;
        matches!(kind, FileKind::Table | FileKind::Log | FileKind::Manifest | FileKind::Current)
    };
    if listing.iter().any(|entry| !entry.is_dir && is_part(&entry.name)) {
        Ok(())
    } else {
        Err(no_database())
    }
}

/// What a verification says, if there is nothing that an open would not do by itself.
fn verify_healthy(dir: &Path, options: &RepairOptions) -> Result<Option<VerifyReport>> {
    let env = options.env.clone();
    let verified = verify_with(dir, &VerifyOptions { env, ..VerifyOptions::default() }, |_| {});
    match verified {
        Ok(report) => Ok(Some(report).filter(VerifyReport::is_clean)),
        // Without `CURRENT` and tables, what a log holds may still be there.
        Err(error) if error.kind() == crate::ErrorKind::Invalid => Ok(None),
        Err(error) => Err(error),
    }
}

/// What is missing from the log, for those keyspaces that do not have it in tables.
fn note_log_losses(survey: &Survey, choice: &Choice, report: &mut RepairReport) {
    let loss = |gap: &LogGap, keyspace: Option<String>, first| Lost {
        keyspace,
        keys: None,
        seq_no_first: first,
        seq_no_last: gap.last,
        file: gap.file.clone(),
        reason: gap.reason.clone(),
    };
    for gap in survey.log.gaps.iter().chain(&unknown_beginning(survey, choice)) {
        let keyspaces = choice.keyspaces.values();
        let touched = keyspaces.filter(|k| gap.last.is_none_or(|last| last > k.flushed_through));
        if choice.is_from_manifest {
            let losses = touched.map(|keyspace| {
                let first = gap.first.max(keyspace.flushed_through + 1);
                loss(gap, Some(keyspace.name.clone()), first)
            });
            report.losses.extend(losses);
        } else if touched.count() > 0 {
            // There may have been keyspaces of which nothing tells.
            report.losses.push(loss(gap, None, gap.first));
        }
    }
}

/// Without a manifest nobody knows where the log began. If it begins behind everything that is in
/// tables, there may have been more of it.
fn unknown_beginning(survey: &Survey, choice: &Choice) -> Option<LogGap> {
    if survey.manifest.is_some() {
        return None;
    }
    let flushed = choice.keyspaces.values().map(|keyspace| keyspace.flushed_through).max()?;
    let beginning = survey.log.beginnings.first()?;
    let first = survey.log.first_seq_no.or(survey.log.next_seq_no)?;
    // An open prepares a segment and then begins the manifest, so their numbers follow each other.
    let manifest = file_name(FileKind::Manifest, beginning.segment + 1);
    let is_begun_by_open = survey.listing.iter().any(|entry| entry.name == manifest);
    (first > flushed + 1 && !is_begun_by_open).then(|| LogGap {
        first: flushed + 1,
        last: Some(first - 1),
        file: file_name(FileKind::Log, beginning.segment),
        reason: "without a manifest nobody knows whether the log began before it".into(),
    })
}

fn note_set_aside(survey: &Survey, choice: &Choice, report: &mut RepairReport) {
    let is_kept = |number: u64| {
        let mut tables = choice.keyspaces.values().flat_map(|keyspace| &keyspace.tables);
        tables
            .any(|table| matches!(&table.source, Source::Whole(record) if record.number == number))
    };
    for entry in &survey.listing {
        let (kind, number) = parse_file_name(&entry.name);
        let reason = match kind {
            FileKind::Table | FileKind::Blob | FileKind::Log | FileKind::Manifest
                if survey.is_unfinished(number) =>
            {
                "an earlier repair did not finish it".into()
            }
            FileKind::Table if is_kept(number) => continue,
            FileKind::Table => {
                let reason = choice.aside.get(&number).cloned();
                reason.unwrap_or_else(|| "what is whole of it is in another table".into())
            }
            FileKind::Blob if survey.blobs.whole.contains_key(&number) => continue,
            FileKind::Blob => "what is whole of it is in another blob file".into(),
            FileKind::Log => "what is whole of it is in tables".into(),
            FileKind::Manifest | FileKind::Current => "a new one takes its place".into(),
            FileKind::Temp => "it was never finished".into(),
            _ => continue,
        };
        report.set_aside.push(NamedFile { name: entry.name.clone(), reason });
    }
}

/// The files in `lost/`, whose numbers are not given out again.
fn listing_of_lost(files: &Files<'_>) -> Result<Vec<lsm_io::DirEntry>> {
    match files.fs.list(&files.dir.join(LOST)) {
        Err(error) if error.io_kind() == Some(ErrorKind::NotFound) => Ok(Vec::new()),
        listing => Ok(listing?),
    }
}
