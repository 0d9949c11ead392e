//! `lsm verify`: reads and checks every byte of every file that the database names.
//!
//! It works on files, not on an open database: what is too damaged to be opened is what one most
//! wants to look at. Damage is noted and the next file is taken.
//!
//! A writer may be at work meanwhile, so a file can go while it is read. What fails is looked at
//! again from the manifest on, and only what is still named, and still wrong, is damage.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use clap::Args;
use indicatif::ProgressBar;
use lsm_entry::Records;
use lsm_io::{Error, Identity, OpenMode, SharedFs, StdFs};
use lsm_manifest::{FileKind, Manifest, ManifestRead, ManifestState, file_name, parse_file_name};
use lsm_sstable::{BlockCache, ReadMode, Table};
use lsm_version::TableRecord;
use lsm_wal::{FRAME_HEADER_BYTES, FrameKind, FrameRef, LogReport, RecoveryMode};
use serde_json::json;

use crate::exit::{Exit, Failure};
use crate::output::Output;
use crate::progress;
use crate::target::Target;
use crate::units::{bytes, counted};

/// How often something that a writer may be changing is read anew before it counts as damaged.
const ATTEMPTS: u32 = 10;
/// How long to wait before.
const PAUSE: Duration = Duration::from_millis(10);
/// A verification reads past every cache.
const CACHE_BYTES: u64 = 1 << 20;

/// Read every byte of every file and check it; exit 4 if anything is wrong
#[derive(Args, Debug)]
pub(crate) struct VerifyArgs {
    #[command(flatten)]
    target: Target,
    /// Print JSON: an object for each damage, then one for all
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &VerifyArgs) -> Result<Exit, Failure> {
    let dir = &args.target.db;
    let mut verification = Verification::new(dir);
    match verification.read_manifest() {
        Ok(read) => verification.check_named(&read, args.target.keyspace.as_deref())?,
        Err(Error::Io { source, .. })
            if matches!(source.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
        {
            let dir = dir.display();
            return Err(Failure::usage(format!("there is no database at {dir}")));
        }
        Err(error) => {
            verification.note(error)?;
            verification.check_unnamed()?;
        }
    }
    verification.bar.finish_and_clear();
    verification.report(args.json)?;
    Ok(if verification.damage.is_empty() { Exit::Done } else { Exit::Corrupt })
}

struct Verification<'a> {
    fs: SharedFs,
    dir: &'a Path,
    bar: ProgressBar,
    files: u64,
    bytes: u64,
    entries: u64,
    damage: Vec<Damage>,
    /// What is worth knowing and no damage.
    remarks: Vec<String>,
}

/// Something wrong in a file.
struct Damage {
    path: PathBuf,
    offset: u64,
    reason: String,
}

impl<'a> Verification<'a> {
    fn new(dir: &'a Path) -> Self {
        Self {
            fs: StdFs::shared(),
            dir,
            bar: ProgressBar::hidden(),
            files: 0,
            bytes: 0,
            entries: 0,
            damage: Vec::new(),
            remarks: Vec::new(),
        }
    }

    /// Takes damage into the report; any other failure ends the verification.
    fn note(&mut self, error: Error) -> Result<(), Failure> {
        match error {
            Error::Corrupt { path, offset, reason } => {
                self.damage.push(Damage { path, offset, reason: reason.into_owned() });
                Ok(())
            }
            error => Err(error.into()),
        }
    }

    fn read_manifest(&self) -> Result<ManifestRead, Error> {
        retry(|| Manifest::read(&self.fs, self.dir))
    }

    /// Checks what the manifest names.
    fn check_named(&mut self, read: &ManifestRead, keyspace: Option<&str>) -> Result<(), Failure> {
        self.files += 2; // The manifest, and CURRENT, which names it.
        self.bytes += read.bytes;
        if let Some(offset) = read.cut {
            let name = file_name(FileKind::Manifest, read.number);
            self.remarks.push(format!("{name} ends at byte {offset} in an edit that was cut off"));
        }
        let state = &read.state;
        let names = || state.keyspaces.values().map(|keyspace| keyspace.name.as_str());
        if let Some(wanted) = keyspace
            && !names().any(|name| name == wanted)
        {
            let known = names().collect::<Vec<_>>().join(", ");
            return Err(Failure::usage(format!(
                "there is no keyspace \"{wanted}\"; it has: {known}"
            )));
        }
        let tables = tables(state, keyspace);
        let bytes_total = tables.values().map(|record| record.bytes).sum();
        self.bar = progress::bar("verifying", Some(bytes_total));
        for record in tables.values() {
            self.check_table(record)?;
            self.bar.inc(record.bytes);
        }
        self.check_log(read)
    }

    fn check_table(&mut self, record: &TableRecord) -> Result<(), Failure> {
        let error = match self.compare_table(record) {
            Ok(()) => {
                self.files += 1;
                self.bytes += record.bytes;
                self.entries += record.entries;
                return Ok(());
            }
            Err(error) => error,
        };
        // A compaction may have replaced the table meanwhile.
        if let Ok(read) = self.read_manifest()
            && !tables(&read.state, None).contains_key(&record.number)
        {
            return Ok(());
        }
        self.files += 1;
        let path = self.dir.join(file_name(FileKind::Table, record.number));
        match error.io_kind() {
            Some(ErrorKind::NotFound) => {
                let reason = "the table is in the manifest but not in the directory";
                self.note(Error::corrupt(&path, 0, reason))
            }
            _ => self.note(error),
        }
    }

    /// Reads a table whole and holds it against what the manifest says of it.
    fn compare_table(&self, record: &TableRecord) -> Result<(), Error> {
        let path = self.dir.join(file_name(FileKind::Table, record.number));
        let file = self.fs.open(&path, OpenMode::Read)?;
        let identity =
            Identity { database_id: record.birth_database_id, file_number: record.birth_number };
        let mode = ReadMode::Cached(BlockCache::new(CACHE_BYTES));
        let table = Table::open(file, identity, record.bytes, mode)?;
        let found = table.verify()?;
        let properties = table.properties();
        let agree = [
            ("checksum", found.checksum == record.checksum),
            ("number of entries", found.entries == record.entries),
            ("number of tombstones", properties.tombstones == record.tombstones),
            ("smallest key", properties.lower == record.lower),
            ("largest key", properties.upper == record.upper),
            ("smallest sequence number", properties.seq_no_min == record.seq_no_min),
            ("largest sequence number", properties.seq_no_max == record.seq_no_max),
        ];
        match agree.iter().find(|(_, is_same)| !is_same) {
            Some((what, _)) => {
                let reason = format!("the table's {what} is not the one in the manifest");
                Err(Error::corrupt(&path, 0, reason))
            }
            None => Ok(()),
        }
    }

    /// Reads the log as a recovery would.
    fn check_log(&mut self, read: &ManifestRead) -> Result<(), Failure> {
        let mut attempt = 0;
        let log = loop {
            attempt += 1;
            // A writer ends segments and writes over them; the manifest says where the log begins
            // by now.
            let fresh = if attempt == 1 { Ok(read.clone()) } else { self.read_manifest() };
            match fresh.and_then(|read| self.replay(&read)) {
                Ok(log) => break log,
                Err(error) if attempt == ATTEMPTS => return self.note(error),
                Err(_) => thread::sleep(PAUSE),
            }
        };
        self.files += log.segments.len() as u64;
        self.bytes += log.bytes;
        if let Some(cut) = log.cut {
            let name = file_name(FileKind::Log, cut.segment);
            self.remarks.push(format!(
                "{name} ends at byte {} ({}): what follows was never acknowledged as durable",
                cut.offset, cut.reason
            ));
        }
        Ok(())
    }

    fn replay(&self, read: &ManifestRead) -> Result<LogReport, Error> {
        let state = &read.state;
        let path = |number| self.dir.join(file_name(FileKind::Log, number));
        let mut visit = |frame: FrameRef<'_>| check_batch(&path(frame.segment), &frame);
        let log = lsm_wal::replay(
            &self.fs,
            self.dir,
            state.database_id,
            state.log_number,
            Some(state.log_first_seq_no),
            RecoveryMode::Default,
            &mut visit,
        )?;
        if read.closed_cleanly && !log.closed_cleanly {
            let reason = "the database was closed, but the log does not end with its closing frame";
            return Err(Error::corrupt(&path(state.log_number), log.bytes, reason));
        }
        Ok(log)
    }

    /// Without a manifest nobody knows which tables count, but each can still be checked by itself.
    fn check_unnamed(&mut self) -> Result<(), Failure> {
        self.remarks.push("without the manifest, tables were checked each by itself".into());
        for entry in self.fs.list(self.dir)? {
            if parse_file_name(&entry.name).0 != FileKind::Table {
                continue;
            }
            self.files += 1;
            let path = self.dir.join(&entry.name);
            let verified = self.fs.open(&path, OpenMode::Read).and_then(|file| {
                let identity = Table::read_identity(&file)?;
                let mode = ReadMode::Cached(BlockCache::new(CACHE_BYTES));
                Table::open(file, identity, entry.bytes, mode)?.verify()
            });
            match verified {
                Ok(found) => {
                    self.bytes += found.bytes;
                    self.entries += found.entries;
                }
                Err(error) => self.note(error)?,
            }
        }
        Ok(())
    }

    fn report(&self, is_json: bool) -> Result<(), Failure> {
        let mut out = Output::new();
        for Damage { path, offset, reason } in &self.damage {
            if is_json {
                out.json(&json!({ "path": path, "offset": offset, "reason": reason }))?;
            } else {
                writeln!(out, "damaged: {} at byte {offset}: {reason}", path.display())?;
            }
        }
        if is_json {
            out.json(&json!({
                "files": self.files,
                "bytes": self.bytes,
                "entries": self.entries,
                "damage": self.damage.len(),
                "remarks": self.remarks,
            }))?;
            return out.finish();
        }
        for remark in &self.remarks {
            writeln!(out, "remark: {remark}")?;
        }
        writeln!(
            out,
            "read {}, {}, {} in tables: {}",
            counted(self.files, "file", "files"),
            bytes(self.bytes),
            counted(self.entries, "entry", "entries"),
            match self.damage.len() as u64 {
                0 => "nothing is wrong".into(),
                number => counted(number, "damage", "damages"),
            }
        )?;
        out.finish()
    }
}

/// The tables that are live, of one keyspace or of all, by number.
fn tables(state: &ManifestState, keyspace: Option<&str>) -> BTreeMap<u64, TableRecord> {
    let wanted = state
        .keyspaces
        .values()
        .filter(|candidate| keyspace.is_none_or(|name| name == candidate.name));
    let records = wanted.flat_map(|keyspace| keyspace.version.tables());
    records.map(|(_, record)| (record.number, TableRecord::clone(record))).collect()
}

/// Reads anew what a writer may be changing.
fn retry<T>(mut read: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
    let mut attempt = 1;
    loop {
        match read() {
            Err(error) if error.is_corrupt() && attempt < ATTEMPTS => {
                attempt += 1;
                thread::sleep(PAUSE);
            }
            result => return result,
        }
    }
}

/// A frame's checksum holds already; this checks that a batch's records fill it.
fn check_batch(path: &Path, frame: &FrameRef<'_>) -> Result<(), Error> {
    if frame.kind != FrameKind::BATCH {
        return Ok(());
    }
    let mut records = 0;
    for record in Records::new(frame.payload) {
        record.map_err(|malformed| {
            let start = frame.offset + (FRAME_HEADER_BYTES + malformed.offset) as u64;
            Error::corrupt(path, start, malformed.reason)
        })?;
        records += 1;
    }
    if records != u64::from(frame.count) {
        let reason = format!("the batch holds {records} records, its frame says {}", frame.count);
        return Err(Error::corrupt(path, frame.offset, reason));
    }
    Ok(())
}
