//! Files of a database that nothing names: what a crash, or the open before, has left behind.
//!
//! The file system takes 15 to 20 ms to free a segment of 64 MiB, and an open finds several. So large
//! files are only counted here; the log's thread removes them beside the first reads and writes.

use std::path::Path;

use lsm_io::{DirEntry, SharedFs};
use lsm_manifest::{FileKind, parse_file_name};
use lsm_wal::SegmentInfo;

use crate::directory::LOST;
use crate::recovery_report::RecoveryReport;

/// What is left to be removed once the database is open.
#[derive(Debug, Default)]
pub(crate) struct Orphans {
    /// Segments of the log, to be written over or removed.
    pub(crate) segments: Vec<SegmentInfo>,
    /// Tables and blob files.
    pub(crate) garbage: Vec<(FileKind, u64)>,
    /// Names of others, where the database has not begun.
    pub(crate) others: Vec<String>,
}

/// When files go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parting {
    /// Whether there is a thread to which large files are left.
    pub(crate) has_threads: bool,
    /// Whether `CURRENT` leads to a log and a manifest that are new: else the old ones are needed until
    /// it does, and nothing goes now.
    pub(crate) has_begun: bool,
}

/// Removes every file that nothing names, or, where that has to wait or threads do background work, says
/// that it may go. If whole frames were discarded, the log's segments are kept in `lost/` for whoever
/// wants to look.
///
/// Best effort: a file that can be neither removed nor moved now is an orphan for the next open.
pub(crate) fn part_with_orphans(
    fs: &SharedFs,
    dir: &Path,
    listing: &[DirEntry],
    parting: Parting,
    needed: impl Fn(FileKind, u64) -> bool,
    report: &mut RecoveryReport,
) -> Orphans {
    let mut orphans = Orphans::default();
    let lost = dir.join(LOST);
    let set_aside = |name: &str| -> lsm_io::Result<()> {
        if !fs.exists(&lost)? {
            fs.create_dir_all(&lost)?;
            // Order: the directory is durable before anything is moved into it.
            fs.sync_dir(dir)?;
        }
        fs.rename(&dir.join(name), &lost.join(name))
    };
    for entry in listing.iter().filter(|entry| !entry.is_dir) {
        let (kind, number) = parse_file_name(&entry.name);
        if needed(kind, number) {
            continue;
        }
        if kind == FileKind::Log && !report.losses.is_empty() {
            if set_aside(&entry.name).is_ok() {
                report.files_set_aside.push(entry.name.clone());
            }
            continue;
        }
        let is_removed = match kind {
            FileKind::Log if parting.has_threads => {
                let bytes = entry.bytes;
                orphans.segments.push(SegmentInfo {
                    number,
                    bytes,
                    first_seq_no: 0,
                    end_seq_no: 0,
                });
                true
            }
            FileKind::Table | FileKind::Blob if parting.has_threads => {
                orphans.garbage.push((kind, number));
                true
            }
            _ if !parting.has_begun => {
                orphans.others.push(entry.name.clone());
                true
            }
            _ => match fs.remove_file(&dir.join(&entry.name)) {
                Ok(()) => true,
                // The swap of CURRENT has removed what an earlier one left unfinished.
                Err(error) => error.io_kind() == Some(std::io::ErrorKind::NotFound),
            },
        };
        report.files_removed += usize::from(is_removed);
    }
    orphans
}
