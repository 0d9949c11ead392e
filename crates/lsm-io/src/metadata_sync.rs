//! Whether a sync can be believed that had more than bytes to make durable: names, or a file's
//! growth.
//!
//! A file system keeps those in a journal. If a commit of the journal fails, it ends, and what was
//! in that commit is lost. But ext4 takes notice of that only when the next change begins: until
//! then a sync whose changes were in the commit that failed *finds nothing left to do, and
//! succeeds*, if somebody else (the system itself, every five seconds) made the commit. Seen on
//! Linux 6.18; `lsm-sim failed-sync` shows it.
//!
//! So after such a sync a change is begun that changes nothing of worth, and has to succeed. Bytes
//! that are written over others need no journal, and no such question.

use std::fs::{self, FileTimes};
use std::io::{self, ErrorKind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::SystemTime;

/// Fails if the journal of the file system has ended, so that a sync before may have done nothing.
pub(crate) fn check_journal(file: &fs::File) -> io::Result<()> {
    // By the first one the file system takes notice, which it tells to the second.
    for _ in 0..2 {
        match file.set_times(FileTimes::new().set_accessed(SystemTime::now())) {
            // Somebody else's file: then nothing can be asked.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => return Ok(()),
            touched => touched?,
        }
    }
    Ok(())
}

/// Whether a file has changed its length since it was synced.
#[derive(Debug)]
pub(crate) struct Growth {
    bytes: AtomicU64,
    has_grown: AtomicBool,
}

impl Growth {
    /// Of a file just opened, so long.
    pub(crate) fn of(bytes: u64) -> Self {
        Self { bytes: AtomicU64::new(bytes), has_grown: AtomicBool::new(false) }
    }

    /// Takes note of a write that ends at `end`.
    pub(crate) fn note_write(&self, end: u64) {
        if self.bytes.load(Ordering::Relaxed) < end {
            self.bytes.fetch_max(end, Ordering::Relaxed);
            self.has_grown.store(true, Ordering::Release);
        }
    }

    /// Takes note of a new length.
    pub(crate) fn note_length(&self, bytes: u64) {
        self.bytes.store(bytes, Ordering::Relaxed);
        self.has_grown.store(true, Ordering::Release);
    }

    /// Whether it has, and no sync has taken note of it.
    pub(crate) fn is_noted(&self) -> bool {
        self.has_grown.load(Ordering::Acquire)
    }

    /// Whether it has, once.
    pub(crate) fn take(&self) -> bool {
        self.has_grown.swap(false, Ordering::AcqRel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lies_behind_the_end_grows_a_file() {
        let growth = Growth::of(10);
        growth.note_write(10);
        assert!(!growth.take());
        growth.note_write(11);
        assert!(growth.take());
        assert!(!growth.take(), "told once");
        growth.note_write(11);
        assert!(!growth.take());
    }

    #[test]
    fn another_length_counts_as_growth() {
        let growth = Growth::of(10);
        growth.note_length(4);
        assert!(growth.take());
        growth.note_write(5);
        assert!(growth.take(), "what was cut off grows again");
    }

    #[test]
    fn where_the_journal_goes_on_files_and_directories_pass() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("file");
        check_journal(&fs::File::create(&path).expect("created")).expect("goes on");
        check_journal(&fs::File::open(&path).expect("opened")).expect("goes on");
        check_journal(&fs::File::open(dir.path()).expect("opened")).expect("goes on");
    }
}
