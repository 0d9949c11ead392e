//! An event journal on `lsm-wal` alone: each event is durable when `record` returns, and after a
//! crash every recorded event is there.
//!
//! `cargo run -p lsm-wal --example event_journal` runs it on a simulated disk and cuts the power.
//! `cargo run -p lsm-wal --example event_journal DIR EVENT...` adds events to a journal on the real
//! disk and prints all of it.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use lsm_io::{Identity, OpenMode, Result, SharedFs, SimFs, StdFs};
use lsm_wal::{
    FrameKind, FrameRef, Log, LogOptions, Pending, PreparedSegment, RecoveryMode, hash_payload,
    replay,
};

/// Tells this journal's files from another's; a real one draws it at random.
const JOURNAL_ID: u128 = 0x0E7E_6175;
/// Names the segment with which the journal begins.
const START: &str = "START";

struct Journal {
    fs: SharedFs,
    dir: PathBuf,
    log: Log,
    last_number: u64,
}

impl Journal {
    /// Opens a journal, or begins one; returns it with all its events.
    fn open(fs: &SharedFs, dir: &Path) -> Result<(Self, Vec<String>)> {
        fs.create_dir_all(dir)?;
        if let Some(parent) = dir.parent() {
            fs.sync_dir(parent)?;
        }
        let mut events = Vec::new();
        let start = read_start(fs, dir)?;
        if let Some(start) = start {
            let visit = &mut |frame: FrameRef<'_>| {
                events.push(String::from_utf8_lossy(frame.payload).into_owned());
                Ok(())
            };
            let report = replay(fs, dir, JOURNAL_ID, start, Some(1), RecoveryMode::Default, visit)?;
            if let Some(cut) = report.cut {
                println!("  (a torn end was cut: {})", cut.reason);
            }
        }

        // A log that a crash has ended is not appended to: what lies behind its end may be torn, and
        // what was read may not be durable. So its events go into a new one.
        let last_number = last_segment(fs, dir)? + 1;
        let segment_bytes = LogOptions::default().first_segment_bytes;
        let segment = prepare(fs, dir, last_number, segment_bytes)?;
        let log = Log::start(segment, 1);
        let mut journal = Self { fs: fs.clone(), dir: dir.to_owned(), log, last_number };
        for event in &events {
            journal.append(event)?;
        }
        journal.sync()?;
        // Order: the new log is durable before START leads to it, and the old one goes last.
        write_start(fs, dir, last_number)?;
        remove_segments_below(fs, dir, last_number)?;
        Ok((journal, events))
    }

    /// Adds an event; it is durable when this returns.
    fn record(&mut self, event: &str) -> Result<()> {
        self.append(event)?;
        self.sync()
    }

    fn append(&mut self, event: &str) -> Result<()> {
        let payload = event.as_bytes();
        if !self.log.fits(payload.len()) {
            self.last_number += 1;
            let bytes = LogOptions::default().segment_bytes.max(payload.len() as u64 + 1024);
            self.log.rotate(prepare(&self.fs, &self.dir, self.last_number, bytes)?)?;
        }
        let seq_no = self.log.next_seq_no();
        self.log.append(FrameKind::BATCH, seq_no, 1, payload, hash_payload(payload));
        Ok(())
    }

    /// With many threads the log would be under a lock up to here, and written and synced outside
    /// it, so that events which arrive meanwhile share the next sync.
    fn sync(&mut self) -> Result<()> {
        let through = self.log.next_seq_no() - 1;
        self.write_and_sync()?;
        // The mark travels with the next event: from then on damage up to here is told from a torn end.
        if self.log.fits(size_of::<u64>()) {
            self.log.append_mark(through, b"");
        }
        Ok(())
    }

    fn write_and_sync(&mut self) -> Result<()> {
        let mut pending = self.log.take_pending(Pending::Sync);
        pending.write()?;
        pending.sync()?;
        self.log.note_written(&mut pending);
        Ok(())
    }

    fn close(mut self) -> Result<()> {
        // Order: everything is durable before the closing frame is written, which proves that it is.
        self.write_and_sync()?;
        self.log.append_close();
        self.write_and_sync()
    }
}

fn prepare(fs: &SharedFs, dir: &Path, number: u64, bytes: u64) -> Result<PreparedSegment> {
    let identity = Identity { database_id: JOURNAL_ID, file_number: number };
    PreparedSegment::prepare(fs, dir, identity, bytes, None)
}

fn read_start(fs: &SharedFs, dir: &Path) -> Result<Option<u64>> {
    let path = dir.join(START);
    let file = match fs.open(&path, OpenMode::Read) {
        Err(error) if error.io_kind() == Some(ErrorKind::NotFound) => return Ok(None),
        file => file?,
    };
    let mut number = [0; 8];
    file.read_at(0, &mut number)?;
    Ok(Some(u64::from_le_bytes(number)))
}

fn write_start(fs: &SharedFs, dir: &Path, number: u64) -> Result<()> {
    let temp = dir.join("START.tmp");
    if fs.exists(&temp)? {
        fs.remove_file(&temp)?;
    }
    let file = fs.open(&temp, OpenMode::CreateNew)?;
    file.write_at(0, &number.to_le_bytes())?;
    file.sync()?;
    fs.rename(&temp, &dir.join(START))?;
    fs.sync_dir(dir)
}

fn segments(fs: &SharedFs, dir: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let names = fs.list(dir)?.into_iter().map(|entry| entry.name);
    let number = |name: String| Some((name.strip_suffix(".log")?.parse().ok()?, dir.join(&name)));
    Ok(names.filter_map(number).collect())
}

fn last_segment(fs: &SharedFs, dir: &Path) -> Result<u64> {
    Ok(segments(fs, dir)?.into_iter().map(|(number, _)| number).max().unwrap_or(0))
}

fn remove_segments_below(fs: &SharedFs, dir: &Path, number: u64) -> Result<()> {
    let old = segments(fs, dir)?.into_iter().filter(|(found, _)| *found < number);
    old.map(|(_, path)| path).try_for_each(|path| fs.remove_file(&path))
}

/// Records events on a simulated disk, with a power cut at every step on the way: whatever was
/// recorded is there.
fn cut_the_power() -> Result<()> {
    let dir = Path::new("journal");
    let all = ["door opened", "light on", "light off", "door closed"];
    let record_all = |fs: &SimFs| -> usize {
        let Ok((mut journal, _)) = Journal::open(&fs.shared(), dir) else { return 0 };
        all.iter().take_while(|event| journal.record(event).is_ok()).count()
    };
    let steps = SimFs::new(0).count_steps(record_all);
    for step in 0..steps {
        let fs = SimFs::new(step).crash_at(step);
        let recorded = record_all(&fs);
        let (_, found) = Journal::open(&fs.restart().shared(), dir)?;
        println!("cut at step {step:2}: {recorded} recorded, {} found", found.len());
        assert!(found.len() >= recorded && all.iter().zip(&found).all(|(one, other)| one == other));
    }
    Ok(())
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let Some(dir) = arguments.next() else { return cut_the_power() };
    let (mut journal, events) = Journal::open(&StdFs::shared(), Path::new(&dir))?;
    for event in &events {
        println!("{event}");
    }
    for event in arguments {
        journal.record(&event)?;
        println!("{event}  (new)");
    }
    journal.close()
}
