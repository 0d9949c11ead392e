//! The beginning of a database's life under a writer: it gets a log and a manifest of its own.
//!
//! 1. Prepare a fresh segment of the log.
//! 2. Write a fresh manifest that names it, and all that the database consists of.
//! 3. Swap `CURRENT`: from here on the log may be written.
//! 4. Only then the files go of which nothing is needed any more.
//!
//! An open that had anything to recover begins before it returns. After a clean close there is nothing
//! that a read has to wait for, and the disk takes its time for the syncs: so the open leaves the
//! beginning to whoever writes first, or finds a value expired, or to the log's thread a moment later.
//! Until then the files are those of a database that was closed, and a close leaves them as they are.
//!
//! Order: 3 before the first frame, the first edit and the first table. After a clean close every bit
//! counts, and recovery would take for damage whatever came to it.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use lsm_io::{Identity, SharedFs};
use lsm_manifest::{Manifest, ManifestEdit, ManifestState};
use lsm_wal::{Log, PreparedSegment};

use crate::attempt::Attempt;
use crate::error::{Error, ErrorKind, Result};
use crate::options::Options;
use crate::recover::apply;
use crate::segments::first_segment_bytes;
use crate::shared::Shared;

/// On a full disk, less room than this is not worth trying.
const ROOM_BYTES_MIN: u64 = 96 << 10;

/// Whether the database has begun, and what it needs for that.
#[derive(Debug)]
pub(crate) struct Beginning {
    has_begun: AtomicBool,
    left: Mutex<Option<Left>>,
}

/// What an open has left for the beginning.
#[derive(Debug)]
pub(crate) struct Left {
    /// What the manifest says that was closed.
    pub(crate) state: ManifestState,
    /// Names of files that nothing needs after the swap.
    pub(crate) old_files: Vec<String>,
}

impl Beginning {
    /// Of a database that has begun, or, being read-only, never will.
    pub(crate) fn over() -> Self {
        Self { has_begun: true.into(), left: Mutex::new(None) }
    }

    pub(crate) fn left(left: Left) -> Self {
        Self { has_begun: false.into(), left: Mutex::new(Some(left)) }
    }

    #[inline]
    pub(crate) fn is_over(&self) -> bool {
        self.has_begun.load(Ordering::Acquire)
    }
}

/// A segment, and the state of a manifest that names it.
pub(crate) struct Fresh {
    segment: PreparedSegment,
    manifest_number: u64,
    state: ManifestState,
}

impl Fresh {
    /// Steps 1 and 2, but for the manifest's file: `edit` is what is to be in it beyond `state`.
    pub(crate) fn prepare(
        fs: &SharedFs,
        dir: &Path,
        options: &Options,
        file_numbers: &AtomicU64,
        mut state: ManifestState,
        mut edit: ManifestEdit,
        now_ms: u64,
    ) -> Result<Self> {
        let segment_number = file_numbers.fetch_add(1, Ordering::Relaxed);
        let identity = Identity { database_id: state.database_id, file_number: segment_number };
        let segment_bytes = first_segment_bytes(fs.available_bytes(dir).unwrap_or(u64::MAX))
            .min(options.log_segment_bytes);
        let mut segment = PreparedSegment::prepare(fs, dir, identity, segment_bytes, None)?;
        if options.map_log {
            segment = segment.mapped()?;
        }
        let manifest_number = file_numbers.fetch_add(1, Ordering::Relaxed);
        edit.log_number = Some(segment_number);
        edit.log_first_seq_no = Some(state.last_seq_no + 1);
        edit.next_file_number = Some(file_numbers.load(Ordering::Relaxed));
        edit.last_seq_no = Some(state.last_seq_no);
        edit.database_time_ms = Some(now_ms);
        edit.writer_epoch = Some(state.writer_epoch + 1);
        apply(&mut state, &edit)?;
        Ok(Self { segment, manifest_number, state })
    }

    /// Step 3.
    ///
    /// # Errors
    /// `Io`. Whether `CURRENT` was swapped nobody knows then.
    pub(crate) fn start(self, fs: &SharedFs, dir: &Path) -> Result<(Log, Manifest)> {
        let next_seq_no = self.state.last_seq_no + 1;
        let manifest = Manifest::start(fs, dir, self.manifest_number, self.state)?;
        Ok((Log::start(self.segment, next_seq_no), manifest))
    }
}

impl Shared {
    /// Sees to it that the database has begun.
    ///
    /// # Errors
    /// Those of creating files, `NoSpace` above all: the files are as they were, and the next who asks
    /// tries again. `Closed`.
    #[inline]
    pub(crate) fn begin(&self) -> Result<()> {
        if self.beginning.is_over() { Ok(()) } else { self.lock_manifest().map(drop) }
    }

    /// Begins, on behalf of whoever holds the lock of the manifest, which is the first of this life.
    #[cold]
    pub(crate) fn begin_with_manifest(&self) -> Result<Manifest> {
        let mut left = self.beginning.left.lock().expect("no holder panicked");
        let Some(found) = left.as_ref() else {
            return Err(Error::new(ErrorKind::Closed, "the database was closed"));
        };
        let (log, manifest) = self.with_reserve(|| self.begin_anew(found))?;
        let state = manifest.state();
        self.commit.begin(log);
        self.commit.note_manifest_edit(state.edit_number);
        self.expiry.lease.note_known(state.database_time_ms);
        for name in &found.old_files {
            // Best effort: what stays behind is removed by the next open.
            let _ = self.fs.remove_file(&self.dir.join(name));
        }
        *left = None;
        self.beginning.has_begun.store(true, Ordering::Release);
        Ok(manifest)
    }

    fn begin_anew(&self, found: &Left) -> Result<(Log, Manifest)> {
        if let Some(error) = self.no_room()
            && self.room_bytes() < ROOM_BYTES_MIN
        {
            return Err(error);
        }
        // Nobody else makes files before the beginning.
        let attempt = Attempt::new(&self.fs, &self.dir, self.file_numbers.load(Ordering::Relaxed));
        let (state, now_ms) = (found.state.clone(), self.database_time_ms());
        let edit = ManifestEdit::default();
        let (fs, options) = (&self.fs, &self.options);
        let fresh =
            Fresh::prepare(fs, &self.dir, options, &self.file_numbers, state, edit, now_ms)?;
        let begun = fresh.start(fs, &self.dir)?;
        attempt.succeeded();
        Ok(begun)
    }

    /// Whether the database is closed before it has begun: then there is nothing to write, and nobody
    /// begins any more.
    pub(crate) fn is_closed_unbegun(&self) -> bool {
        // Whoever is about to begin does so under this lock.
        let _turn = self.manifest.lock().expect("no holder panicked");
        // What readers found expired stays so.
        if self.beginning.is_over() || self.expiry.lease.is_behind() {
            return false;
        }
        *self.beginning.left.lock().expect("no holder panicked") = None;
        true
    }
}
