//! What an open found and did, for whoever opened.

use std::time::Duration;

use lsm_entry::SeqNo;
use lsm_manifest::{FileKind, file_name};
use lsm_wal::LogReport;

use crate::options::{LintFinding, Options};

/// What an open found and did.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct RecoveryReport {
    /// The database did not exist before.
    pub created: bool,
    /// The last process closed it; nothing had to be recovered.
    pub closed_cleanly: bool,
    /// Log segments read.
    pub segments_read: usize,
    /// Batches found in the log.
    pub batches_replayed: u64,
    /// Entries of those that no table held yet.
    pub entries_replayed: u64,
    /// Batches that followed the newest sync mark: the one group that may have been cut.
    pub batches_above_mark: u64,
    /// Where the log ended before its end, and why.
    pub cut: Option<String>,
    /// Where the manifest ended in bytes that are no edit: what a crash cuts short, and nothing
    /// shows to have been more.
    pub manifest_cut: Option<String>,
    /// What `salvage` had to skip: data that is lost.
    pub losses: Vec<String>,
    /// Tables written from the log.
    pub tables_written: usize,
    /// Files that nothing named: they were removed, or are left to the log's thread, which removes
    /// them or keeps them to be written over.
    pub files_removed: usize,
    /// Files that were set aside in `lost/`.
    pub files_set_aside: Vec<String>,
    /// The newest sequence number after recovery.
    pub last_seq_no: SeqNo,
    /// How long it took.
    pub elapsed: Duration,
    /// The budget for what is kept in memory, by the options or by default, in bytes.
    pub memory_bytes: u64,
    /// The most that this process may use, if the system tells: its container's limit, or what the
    /// machine has, in bytes.
    pub memory_limit_bytes: Option<u64>,
    /// What looks unwise about the options on this machine: see [`Options::lint`].
    pub unwise: Vec<LintFinding>,
}

impl RecoveryReport {
    pub(crate) fn note_memory(&mut self, options: &Options) {
        self.memory_bytes = options.memory_bytes;
        self.memory_limit_bytes = lsm_io::memory_limit_bytes();
        self.unwise = options.lint();
    }

    pub(crate) fn note_log(&mut self, log: &LogReport, entries: u64) {
        self.closed_cleanly = log.closed_cleanly;
        self.segments_read = log.segments.len();
        self.batches_replayed = log.frames;
        self.entries_replayed = entries;
        self.batches_above_mark = log.unmarked_frames;
        let describe = |cut: &lsm_wal::Cut| {
            format!(
                "{} at byte {}: {} ({} bytes discarded)",
                file_name(FileKind::Log, cut.segment),
                cut.offset,
                cut.reason,
                cut.bytes_discarded
            )
        };
        self.cut = log.cut.as_ref().map(describe);
        self.losses = log.losses.iter().map(describe).collect();
    }
}
