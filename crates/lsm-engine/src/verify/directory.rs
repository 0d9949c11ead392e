//! Verifying a directory: what is too damaged to be opened is what one most wants to look at.
//!
//! A writer may be at work meanwhile, so a file can go while it is read. What fails is looked at
//! again from the manifest on, and only what is still named, and still wrong, is damage.

use std::io::ErrorKind;
use std::path::Path;
use std::thread;
use std::time::Duration;

use lsm_blob::BlobFile;
use lsm_io::{Error, OpenMode, SharedFs};
use lsm_manifest::{FileKind, Manifest, ManifestRead, ManifestState, file_name, parse_file_name};
use lsm_sstable::Table;
use lsm_version::{BlobRecord, TableRecord};
use lsm_wal::{FrameRef, LogReport, RecoveryMode};

use super::{Files, VerifyOptions, VerifyProgress, VerifyReport};
use crate::error::{Error as EngineError, Result};
use crate::limiter::RateLimiter;
use crate::replay::visit_log;

/// How often something that a writer may be changing is read anew before it counts as damaged.
const ATTEMPTS: u32 = 10;
/// How long to wait before.
const PAUSE: Duration = Duration::from_millis(10);

pub(super) fn verify(
    dir: &Path,
    options: &VerifyOptions,
    progress: &mut dyn FnMut(VerifyProgress),
) -> Result<VerifyReport> {
    let fs = &options.env.fs;
    let limiter = RateLimiter::new(options.bytes_per_second);
    let mut verification = Verification {
        files: Files { fs, dir, limiter },
        progress,
        report: VerifyReport::default(),
    };
    match verification.read_manifest() {
        Ok(read) => verification.check_named(&read, options.keyspace.as_deref())?,
        Err(error) => {
            let error = match error.io_kind() {
                Some(ErrorKind::NotFound | ErrorKind::NotADirectory) if !is_database(fs, dir)? => {
                    let dir = dir.display();
                    return Err(EngineError::invalid(format!("there is no database at {dir}")));
                }
                Some(ErrorKind::NotFound) => {
                    let current = dir.join(file_name(FileKind::Current, 0));
                    Error::corrupt(&current, 0, "the file is not there")
                }
                _ => error,
            };
            verification.report.note::<()>(Err(error))?;
            verification.check_unnamed()?;
        }
    }
    Ok(verification.report)
}

/// Fails unless `wanted` is among the names of keyspaces.
pub(super) fn check_keyspace<'a>(
    wanted: Option<&str>,
    mut names: impl Iterator<Item = &'a str> + Clone,
) -> Result<()> {
    let Some(wanted) = wanted else { return Ok(()) };
    let known = names.clone().collect::<Vec<_>>().join(", ");
    if names.any(|name| name == wanted) {
        return Ok(());
    }
    Err(EngineError::invalid(format!("there is no keyspace \"{wanted}\"; it has: {known}")))
}

/// Whether a directory without `CURRENT` holds what only a database leaves.
fn is_database(fs: &SharedFs, dir: &Path) -> Result<bool> {
    let is_ours =
        |name: &str| matches!(parse_file_name(name).0, FileKind::Table | FileKind::Manifest);
    match fs.list(dir) {
        Ok(listing) => Ok(listing.iter().any(|entry| is_ours(&entry.name))),
        Err(error) => match error.io_kind() {
            Some(ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(false),
            _ => Err(error.into()),
        },
    }
}

struct Verification<'a> {
    files: Files<'a>,
    progress: &'a mut dyn FnMut(VerifyProgress),
    report: VerifyReport,
}

impl Verification<'_> {
    fn read_manifest(&self) -> lsm_io::Result<ManifestRead> {
        let mut attempt = 1;
        loop {
            match Manifest::read(self.files.fs, self.files.dir) {
                Err(error) if error.is_corrupt() && attempt < ATTEMPTS => {
                    attempt += 1;
                    thread::sleep(PAUSE);
                }
                result => return result,
            }
        }
    }

    /// Checks what the manifest names.
    fn check_named(&mut self, read: &ManifestRead, keyspace: Option<&str>) -> Result<()> {
        self.report.files += 2; // The manifest, and CURRENT, which names it.
        self.report.bytes += read.bytes;
        if let Some(offset) = read.cut {
            let name = file_name(FileKind::Manifest, read.number);
            let remark = format!("{name} ends at byte {offset} in an edit that was cut off");
            self.report.remarks.push(remark);
        }
        let keyspaces = read.state.keyspaces.iter();
        check_keyspace(keyspace, keyspaces.map(|keyspace| keyspace.name.as_str()))?;
        let files = Named::all(&read.state, keyspace);
        let bytes_total = files.iter().map(Named::bytes).sum::<u64>();
        for file in files {
            self.check_file(&file)?;
            let bytes = self.report.bytes;
            (self.progress)(VerifyProgress { bytes, bytes_total });
        }
        self.check_log(read)
    }

    fn check_file(&mut self, file: &Named<'_>) -> Result<()> {
        match file {
            Named::Blob(record) => {
                let checked = self.files.check_blob(record);
                if self.was_replaced(file, checked.is_err()) {
                    return Ok(());
                }
                self.report.note_blob(record, checked)
            }
            Named::Table(record) => {
                let checked = self.files.check_table(record);
                if self.was_replaced(file, checked.is_err()) {
                    return Ok(());
                }
                self.report.note_table(record, checked)
            }
        }
    }

    /// Whether a file that failed is named no more: a compaction may have replaced it meanwhile.
    fn was_replaced(&self, file: &Named<'_>, has_failed: bool) -> bool {
        let is_named = |read: &ManifestRead| {
            Named::all(&read.state, None).iter().any(|named| named.order() == file.order())
        };
        has_failed && self.read_manifest().is_ok_and(|read| !is_named(&read))
    }

    /// Reads the log as a recovery would.
    fn check_log(&mut self, read: &ManifestRead) -> Result<()> {
        let mut attempt = 0;
        let log = loop {
            attempt += 1;
            // A writer ends segments and writes over them; the manifest says where the log begins
            // by now.
            let fresh = if attempt == 1 { Ok(read.clone()) } else { self.read_manifest() };
            match fresh.and_then(|read| self.replay(&read)) {
                Ok(log) => break log,
                Err(error) if attempt == ATTEMPTS => {
                    return self.report.note::<()>(Err(error)).map(drop);
                }
                Err(_) => thread::sleep(PAUSE),
            }
        };
        self.report.files += log.segments.len() as u64;
        self.report.bytes += log.bytes;
        if let Some(cut) = log.cut {
            let name = file_name(FileKind::Log, cut.segment);
            self.report.remarks.push(format!(
                "{name} ends at byte {} ({}): what follows was never acknowledged as durable",
                cut.offset, cut.reason
            ));
        }
        Ok(())
    }

    fn replay(&self, read: &ManifestRead) -> lsm_io::Result<LogReport> {
        let (fs, dir, manifest) = (self.files.fs, self.files.dir, (read.number, read.bytes));
        let mut visit = |frame: FrameRef<'_>| self.files.check_frame(&frame);
        let mode = RecoveryMode::Default;
        visit_log(fs, dir, &read.state, manifest, read.closed_cleanly, mode, &mut visit)
    }

    /// Without a manifest nobody knows which tables count, but each can still be checked by itself.
    fn check_unnamed(&mut self) -> Result<()> {
        self.report
            .remarks
            .push("without the manifest, tables and blob files were checked each by itself".into());
        let Files { fs, dir, .. } = self.files;
        for entry in fs.list(dir)? {
            let (kind, number) = parse_file_name(&entry.name);
            if kind == FileKind::Blob {
                let file = fs.open(&dir.join(&entry.name), OpenMode::Read);
                let verified = file.and_then(|file| {
                    let identity = BlobFile::read_identity(&file)?;
                    self.files.open_blob(number, identity, entry.bytes)?.verify()
                });
                self.report.files += 1;
                self.report.bytes += self.report.note(verified)?.map_or(0, |found| found.bytes);
            }
            if kind != FileKind::Table {
                continue;
            }
            self.report.files += 1;
            let file = fs.open(&dir.join(&entry.name), OpenMode::Read);
            let verified = file.and_then(|file| {
                let identity = Table::read_identity(&file)?;
                self.files.open_table(number, identity, entry.bytes)?.verify()
            });
            if let Some(found) = self.report.note(verified)? {
                self.report.bytes += found.bytes;
                self.report.entries += found.entries;
            }
        }
        Ok(())
    }
}

/// A file that the manifest names.
enum Named<'a> {
    Blob(&'a BlobRecord),
    Table(&'a TableRecord),
}

impl<'a> Named<'a> {
    /// The files that are live, of one keyspace or of all, in their order.
    fn all(state: &'a ManifestState, keyspace: Option<&str>) -> Vec<Self> {
        let mut all = Vec::new();
        for candidate in &state.keyspaces {
            if keyspace.is_none_or(|name| name == candidate.name) {
                all.extend(candidate.version.blobs().map(|blob| Self::Blob(&blob.record)));
                all.extend(candidate.version.tables().map(|(_, record)| Self::Table(record)));
            }
        }
        all.sort_unstable_by_key(Self::order);
        all
    }

    /// Blob files before the tables that refer to them, and each kind by number.
    fn order(&self) -> (bool, u64) {
        match self {
            Self::Blob(record) => (false, record.number),
            Self::Table(record) => (true, record.number),
        }
    }

    fn bytes(&self) -> u64 {
        match self {
            Self::Blob(record) => record.bytes,
            Self::Table(record) => record.bytes,
        }
    }
}
