//! Reading every byte of an open database and checking it.

use std::path::PathBuf;

use lsm_io::checksum::Xxh3;
use lsm_io::{File, OpenMode};
use lsm_manifest::{FileKind, Manifest, ManifestState, file_name};
use lsm_wal::{FrameReader, FrameRef, FrameStep, RecoveryMode, SegmentInfo, replay};

use crate::db::Db;
use crate::error::Result;
use crate::shared::Shared;
use crate::tables::LiveTable;

/// What a verification found.
#[derive(Clone, Debug, Default)]
pub struct VerifyReport {
    /// Files read.
    pub files: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Entries in tables, checked for their order.
    pub entries: u64,
    /// Everything that is wrong.
    pub damage: Vec<Damage>,
}

/// Something wrong in a file.
#[derive(Clone, Debug)]
pub struct Damage {
    /// The damaged file.
    pub path: PathBuf,
    /// Where in it, in bytes.
    pub offset: u64,
    /// What is wrong.
    pub reason: String,
}

/// How far a verification has come.
#[derive(Clone, Copy, Debug)]
pub struct VerifyProgress {
    /// Bytes checked so far.
    pub bytes: u64,
    /// Bytes of all tables.
    pub bytes_total: u64,
}

/// Bytes read at once.
const CHUNK_BYTES: usize = 1 << 20;

impl Db {
    /// Reads every byte of every live file and checks it: table blocks and whole-file checksums,
    /// the manifest, and the log as far as it is durable. Reads and writes go on meanwhile.
    ///
    /// # Errors
    /// `Io` where the operating system refuses; damage is no error but part of the report.
    pub fn verify(&self) -> Result<VerifyReport> {
        self.verify_with(|_| {})
    }

    /// Verifies, telling how far it has come after each table.
    ///
    /// # Errors
    /// See [`verify`](Self::verify).
    pub fn verify_with(&self, mut progress: impl FnMut(VerifyProgress)) -> Result<VerifyReport> {
        let shared = self.shared();
        let mut report = VerifyReport::default();
        let views: Vec<_> =
            shared.live_keyspaces().iter().map(|core| core.view.load_full()).collect();
        let tables = || views.iter().flat_map(|view| view.tree.tables());
        let bytes_total = tables().map(|table| table.record().bytes).sum();
        for table in tables() {
            report.check_table(shared, table)?;
            progress(VerifyProgress { bytes: report.bytes, bytes_total });
        }
        report.check_manifest_and_log(shared)?;
        Ok(report)
    }
}

impl VerifyReport {
    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.damage.is_empty()
    }

    /// Takes corruption into the report; any other failure is the caller's.
    fn note<T>(&mut self, result: lsm_io::Result<T>) -> Result<Option<T>> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(lsm_io::Error::Corrupt { path, offset, reason }) => {
                self.damage.push(Damage { path, offset, reason: reason.into_owned() });
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn check_table(&mut self, shared: &Shared, live: &LiveTable) -> Result<()> {
        let record = live.record();
        let path = shared.tables.path(record.number);
        self.files += 1;
        self.bytes += record.bytes;
        let verified = live.table().and_then(|table| table.verify());
        if let Some(table) = self.note(verified)? {
            self.entries += table.entries;
            if table.entries != record.entries {
                let reason = format!(
                    "the table holds {} entries, the manifest says {}",
                    table.entries, record.entries
                );
                self.damage.push(Damage { path: path.clone(), offset: 0, reason });
            }
        }
        // The file is read once more, past every cache, for the checksum that the manifest holds.
        let file = shared.fs.open(&path, OpenMode::Read)?;
        let checksum = file_checksum(&*file, record.bytes);
        if let Some(checksum) = self.note(checksum)?
            && checksum != record.checksum
        {
            let reason = "the file's checksum is not the one in the manifest".to_owned();
            self.damage.push(Damage { path, offset: 0, reason });
        }
        Ok(())
    }

    fn check_manifest_and_log(&mut self, shared: &Shared) -> Result<()> {
        let (fs, dir) = (&shared.fs, &shared.dir);
        let read = {
            // Held while it is read, so that no edit is half written.
            let _manifest = shared.manifest.lock().expect("no holder panicked");
            self.note(Manifest::read(fs, dir))?
        };
        let Some(read) = read else { return Ok(()) };
        self.files += 2;
        self.bytes += read.bytes;
        let manifest = dir.join(file_name(FileKind::Manifest, read.number));
        if let Some(offset) = read.cut {
            let reason = "the manifest ends in bytes that are no edit".to_owned();
            self.damage.push(Damage { path: manifest, offset, reason });
        }
        if shared.is_read_only {
            return self.check_log_of_a_writer(shared, &read.state);
        }
        let live_segments = || shared.commit.lock_order().log().segments().to_vec();
        for segment in live_segments() {
            let found = self.check_segment(shared, &segment);
            // Meanwhile it may have been released, and used again: then nothing was wrong.
            if live_segments().iter().any(|live| live.number == segment.number) {
                self.damage.extend(found?);
            }
        }
        Ok(())
    }

    /// Another process may be writing: the log is judged as recovery would judge it.
    fn check_log_of_a_writer(&mut self, shared: &Shared, state: &ManifestState) -> Result<()> {
        let mut bytes = 0;
        let visit = &mut |frame: FrameRef<'_>| {
            bytes += frame.payload.len() as u64;
            Ok(())
        };
        let first_seq_no = Some(state.log_first_seq_no);
        let (fs, dir, id) = (&shared.fs, &shared.dir, shared.database_id);
        let mode = RecoveryMode::Default;
        self.note(replay(fs, dir, id, state.log_number, first_seq_no, mode, visit))?;
        self.bytes += bytes;
        Ok(())
    }

    /// Reads the frames of a segment as far as they are durable; returns the first damage.
    fn check_segment(&mut self, shared: &Shared, segment: &SegmentInfo) -> Result<Option<Damage>> {
        let path = shared.dir.join(file_name(FileKind::Log, segment.number));
        // What lies above it may be half written just now.
        let end = segment.end_seq_no.min(shared.commit.durable() + 1);
        let mut reader = match FrameReader::open(&shared.fs, &path, Some(shared.database_id)) {
            Ok(reader) => reader,
            Err(lsm_io::Error::Corrupt { path, offset, reason }) => {
                return Ok(Some(Damage { path, offset, reason: reason.into_owned() }));
            }
            Err(error) => return Err(error.into()),
        };
        self.files += 1;
        let mut reached = segment.first_seq_no;
        while reached < end {
            let (offset, reason) = match reader.next()? {
                FrameStep::Frame(frame) => {
                    reached = reached.max(frame.seq_start + u64::from(frame.count));
                    self.bytes += frame.payload.len() as u64;
                    continue;
                }
                FrameStep::End { offset } => (offset, "the log ends before what is durable in it"),
                FrameStep::Bad { offset, reason } => (offset, reason),
            };
            return Ok(Some(Damage { path, offset, reason: reason.to_owned() }));
        }
        Ok(None)
    }
}

fn file_checksum(file: &dyn File, bytes: u64) -> lsm_io::Result<u64> {
    let mut checksum = Xxh3::new();
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut offset = 0;
    while offset < bytes {
        let length = usize::try_from(bytes - offset).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
        file.read_at(offset, &mut buffer[..length])?;
        checksum.update(&buffer[..length]);
        offset += length as u64;
    }
    Ok(checksum.finish())
}
