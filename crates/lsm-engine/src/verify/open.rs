//! Verifying an open database, whose memory is a witness: what the files say must be what it knows.

use std::io::ErrorKind;

use lsm_io::Error;
use lsm_manifest::{FileKind, Manifest, file_name};
use lsm_wal::{FrameKind, FrameReader, FrameStep, SegmentInfo};

use super::{Files, VerifyOptions, VerifyProgress, VerifyReport};
use crate::db::Db;
use crate::error::Result;
use crate::limiter::RateLimiter;
use crate::shared::Shared;

impl Db {
    /// Reads every byte of every live file and checks it: tables, the manifest, `CURRENT`, and the
    /// log as far as it is durable. Reads and writes go on meanwhile.
    ///
    /// # Errors
    /// `Io` where the operating system refuses; damage is no error but part of the report.
    pub fn verify(&self) -> Result<VerifyReport> {
        self.verify_with(&VerifyOptions::default(), |_| {})
    }

    /// Verifies with options, telling how far it has come after each table.
    ///
    /// ```
    /// use lsm_engine::{Db, VerifyOptions};
    ///
    /// # let dir = tempfile::tempdir()?;
    /// # let db = Db::open(dir.path())?;
    /// let gently = VerifyOptions { bytes_per_second: Some(50 << 20), ..VerifyOptions::default() };
    /// let report = db.verify_with(&gently, |so_far| {
    ///     eprintln!("{} of {} bytes", so_far.bytes, so_far.bytes_total);
    /// })?;
    /// assert!(report.is_clean());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`verify`](Self::verify), and `Invalid` for a keyspace that is not there.
    pub fn verify_with(
        &self,
        options: &VerifyOptions,
        mut progress: impl FnMut(VerifyProgress),
    ) -> Result<VerifyReport> {
        let shared = self.shared();
        shared.check_open()?;
        if shared.is_read_only || shared.begin().is_err() {
            // The files are another process's, which knows more of them than this one, or still as
            // the last close has left them.
            let options = VerifyOptions { env: shared.options.env.clone(), ..options.clone() };
            return super::directory::verify(&shared.dir, &options, &mut progress);
        }
        let cores = shared.live_keyspaces();
        super::directory::check_keyspace(
            options.keyspace.as_deref(),
            cores.iter().map(|core| core.name.as_str()),
        )?;
        let is_wanted =
            |name: &str| options.keyspace.as_deref().is_none_or(|wanted| wanted == name);
        let files = Files {
            fs: &shared.fs,
            dir: &shared.dir,
            limiter: RateLimiter::new(options.bytes_per_second),
        };
        let mut report = VerifyReport::default();
        // What is held is not removed, however long this takes.
        let (mut blobs, mut tables) = (Vec::new(), Vec::new());
        for core in cores.iter().filter(|core| is_wanted(&core.name)) {
            let view = core.view.load();
            blobs.extend(view.tree.blobs.iter().cloned());
            tables.extend(view.tree.tables().cloned());
        }
        let bytes_total = tables.iter().map(|table| table.record().bytes).sum::<u64>()
            + blobs.iter().map(|blob| blob.record().bytes).sum::<u64>();
        for blob in blobs {
            report.note_blob(blob.record(), files.check_blob(blob.record()))?;
            progress(VerifyProgress { bytes: report.bytes, bytes_total });
        }
        for table in tables {
            let record = table.record();
            report.note_table(record, files.check_table(record))?;
            progress(VerifyProgress { bytes: report.bytes, bytes_total });
        }
        report.check_manifest(shared, &files)?;
        report.check_log(shared, &files)?;
        Ok(report)
    }
}

impl VerifyReport {
    /// The manifest and `CURRENT` lead to what this process has written.
    fn check_manifest(&mut self, shared: &Shared, files: &Files<'_>) -> Result<()> {
        // Held while it is read, so that no edit is half written.
        let manifest = shared.manifest.lock().expect("no holder panicked");
        let Some(manifest) = manifest.as_ref().filter(|manifest| !manifest.is_poisoned()) else {
            return Ok(());
        };
        let current = shared.dir.join(file_name(FileKind::Current, 0));
        let read = Manifest::read(files.fs, files.dir).map_err(|error| match error.io_kind() {
            Some(ErrorKind::NotFound) => Error::corrupt(&current, 0, "the file is not there"),
            _ => error,
        });
        let Some(read) = self.note(read)? else { return Ok(()) };
        self.files += 2;
        self.bytes += read.bytes;
        let path = files.path(FileKind::Manifest, manifest.number());
        if read.number != manifest.number() {
            let reason = format!("{} is named, which is not the manifest", read.number);
            return self.note::<()>(Err(Error::corrupt(&current, 0, reason))).map(drop);
        }
        // What a failed write has left of an edit is cut off before the next one comes.
        if read.bytes < manifest.bytes() || read.state != *manifest.state() {
            let offset = read.cut.unwrap_or(read.bytes);
            let reason = "the manifest ends before the edits that were made durable";
            return self.note::<()>(Err(Error::corrupt(&path, offset, reason))).map(drop);
        }
        Ok(())
    }

    fn check_log(&mut self, shared: &Shared, files: &Files<'_>) -> Result<()> {
        let live_segments = || shared.commit.lock_order().log().segments().to_vec();
        let segments = live_segments();
        for (index, segment) in segments.iter().enumerate() {
            let next = segments.get(index + 1).map(|next| next.number);
            let checked = self.check_segment(shared, files, segment, next);
            // Meanwhile it may have been released, and used again: then nothing was wrong.
            if live_segments().iter().any(|live| live.number == segment.number) {
                self.note(checked)?;
            }
        }
        // It will take frames without another look at it.
        if let Some(number) = shared.ready_segment() {
            let opened = open_segment(files, number, shared.database_id).map(drop);
            if shared.ready_segment() == Some(number) {
                self.files += 1;
                self.note(opened)?;
            }
        }
        Ok(())
    }

    /// Reads the frames of a segment as far as they are durable.
    fn check_segment(
        &mut self,
        shared: &Shared,
        files: &Files<'_>,
        segment: &SegmentInfo,
        next: Option<u64>,
    ) -> lsm_io::Result<()> {
        let path = files.path(FileKind::Log, segment.number);
        let corrupt = |offset, reason: &str| Err(Error::corrupt(&path, offset, reason.to_owned()));
        // What lies above it may be half written just now.
        let durable = shared.commit.durable();
        let mut reader = open_segment(files, segment.number, shared.database_id)?;
        if reader.file_bytes() < segment.bytes {
            return corrupt(reader.file_bytes(), "the segment is shorter than it was made");
        }
        self.files += 1;
        // Once anything in the next segment is durable, this one is, its closing frame included.
        let must_close = next.is_some() && durable >= segment.end_seq_no;
        let end = segment.end_seq_no.min(durable + 1);
        let mut reached = segment.first_seq_no;
        while reached < end || must_close {
            let (offset, reason) = match reader.next()? {
                FrameStep::Frame(frame) if frame.seq_start != reached => {
                    (frame.offset, "the frame's sequence number does not follow the last one's")
                }
                FrameStep::Frame(frame) if frame.kind == FrameKind::CLOSE => {
                    if frame.next_segment() == next && reached == segment.end_seq_no {
                        return Ok(());
                    }
                    (frame.offset, "the closing frame leads elsewhere")
                }
                FrameStep::Frame(frame) => {
                    reached = frame.seq_end();
                    self.bytes += frame.payload.len() as u64;
                    files.check_frame(&frame)?;
                    continue;
                }
                FrameStep::End { offset } => (offset, "the log ends before what is durable in it"),
                FrameStep::Bad { offset, reason } => (offset, reason),
            };
            return corrupt(offset, reason);
        }
        Ok(())
    }
}

/// A segment of this database, under its own name.
fn open_segment(files: &Files<'_>, number: u64, database_id: u128) -> lsm_io::Result<FrameReader> {
    let path = files.path(FileKind::Log, number);
    let reader = FrameReader::open(files.fs, &path, Some(database_id));
    let reader = reader.map_err(|error| match error.io_kind() {
        Some(ErrorKind::NotFound) => {
            Error::corrupt(&path, 0, "the segment is missing from the log")
        }
        _ => error,
    })?;
    if reader.identity().file_number != number {
        return Err(Error::corrupt(&path, 0, "the file is another segment under this name"));
    }
    Ok(reader)
}
