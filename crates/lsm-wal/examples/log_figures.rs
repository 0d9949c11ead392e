//! What appending, writing, storing, syncing and replaying cost on this machine.
//!
//! `cargo run --release -p lsm-wal --example log_figures -- [FRAMES] [DIR]`
//!
//! Payloads of 130 bytes, about a put of a 16-byte key and a 100-byte value. The log lies in a new
//! directory inside DIR, among the temporary files if none is given, and is removed at the end: for
//! what a sync costs, name a directory on the disk in question.

use std::error::Error;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use lsm_io::{Identity, Result, SharedFs, StdFs};
use lsm_wal::{FrameKind, Log, Pending, PreparedSegment, RecoveryMode, hash_payload, replay};

const PAYLOAD: [u8; 130] = [42; 130];
const DATABASE_ID: u128 = 7;
/// Room for a frame, headers and all.
const FRAME_BYTES: u64 = 256;
/// Frames that one write takes in a group.
const GROUP_FRAMES: usize = 32;
/// Times that each figure is taken; the quickest is printed.
const ROUNDS: u64 = 5;
/// Syncs that the median of is printed.
const SYNCS: usize = 50;

fn main() -> std::result::Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let frames: usize = arguments.next().map_or(Ok(20_000), |count| count.parse())?;
    let parent = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let place = Place::new(parent.join(format!("lsm-log-figures-{}", std::process::id())))?;
    println!("{frames} frames of {} bytes; nanoseconds a frame", PAYLOAD.len());

    let payload = std::hint::black_box(PAYLOAD);
    print(
        "hash the payload",
        quickest(frames, || {
            for _ in 0..frames {
                std::hint::black_box(hash_payload(&payload));
            }
            Ok(())
        })?,
    );
    print("append to memory", place.quickest(frames, false, |log| append(log, frames))?);
    print(
        "append and store into the mapped segment",
        place.quickest(frames, true, |log| {
            (0..frames).try_for_each(|_| {
                append(log, 1)?;
                log.store().map(drop)
            })
        })?,
    );
    for group in [1, GROUP_FRAMES] {
        let what = format!("append and write, {group} at a time");
        print(
            &what,
            place.quickest(frames, false, |log| {
                (0..frames / group).try_for_each(|_| {
                    append(log, group)?;
                    write(log, Pending::Write)
                })
            })?,
        );
    }
    measure_syncs(&place)?;
    measure_replay(&place, frames)
}

/// Where the log lies; removed when it is dropped.
struct Place {
    fs: SharedFs,
    dir: PathBuf,
}

impl Place {
    fn new(dir: PathBuf) -> Result<Self> {
        let fs = StdFs::shared();
        fs.create_dir_all(&dir)?;
        Ok(Self { fs, dir })
    }

    /// A log in a segment of its own, which takes so many frames.
    fn log(&self, frames: usize, number: u64, is_mapped: bool) -> Result<Log> {
        let identity = Identity { database_id: DATABASE_ID, file_number: number };
        let bytes = frames as u64 * FRAME_BYTES + (64 << 10);
        let segment = PreparedSegment::prepare(&self.fs, &self.dir, identity, bytes, None)?;
        Ok(Log::start(if is_mapped { segment.mapped()? } else { segment }, 1))
    }

    /// Nanoseconds a frame of the quickest of several rounds, each on a log of its own.
    fn quickest(
        &self,
        frames: usize,
        is_mapped: bool,
        mut work: impl FnMut(&mut Log) -> Result<()>,
    ) -> Result<f64> {
        let mut quickest = f64::INFINITY;
        for number in 1..=ROUNDS {
            let mut log = self.log(frames, number, is_mapped)?;
            let took = timed(|| work(&mut log))?;
            quickest = quickest.min(nanoseconds(took, frames));
            write(&mut log, Pending::Sync)?;
            drop(log);
            self.clear()?;
        }
        Ok(quickest)
    }

    fn clear(&self) -> Result<()> {
        let files = self.fs.list(&self.dir)?;
        files.iter().try_for_each(|file| self.fs.remove_file(&self.dir.join(&file.name)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Nobody is left to be told.
        let _ = self.fs.remove_dir_all(&self.dir);
    }
}

fn append(log: &mut Log, frames: usize) -> Result<()> {
    for _ in 0..frames {
        let seq_no = log.next_seq_no();
        log.append(FrameKind::BATCH, seq_no, 1, &PAYLOAD, hash_payload(&PAYLOAD));
    }
    Ok(())
}

fn write(log: &mut Log, how: Pending) -> Result<()> {
    let mut pending = log.take_pending(how);
    pending.write()?;
    pending.sync()?;
    log.note_written(&mut pending);
    Ok(())
}

/// A sync is the disk's, and varies: the median and the longest of several.
fn measure_syncs(place: &Place) -> Result<()> {
    for group in [1, GROUP_FRAMES] {
        let mut log = place.log(group * SYNCS, 1, false)?;
        let mut took = Vec::new();
        for _ in 0..SYNCS {
            append(&mut log, group)?;
            took.push(timed(|| write(&mut log, Pending::Sync))?);
        }
        took.sort_unstable();
        let us = |took: Duration| took.as_nanos() as f64 / 1e3;
        let (median, longest) = (us(took[SYNCS / 2]), us(took[SYNCS - 1]));
        let what = format!("write and sync {group}: median, longest");
        println!("  {what:<44}{median:>8.1} us, {longest:.1} us a sync");
        drop(log);
        place.clear()?;
    }
    Ok(())
}

fn measure_replay(place: &Place, frames: usize) -> std::result::Result<(), Box<dyn Error>> {
    let mut log = place.log(frames, 1, false)?;
    append(&mut log, frames)?;
    write(&mut log, Pending::Sync)?;
    log.append_close();
    write(&mut log, Pending::Sync)?;
    drop(log);
    let mut found = 0;
    let took = quickest(frames, || {
        found = 0;
        let visit = &mut |_: lsm_wal::FrameRef<'_>| {
            found += 1;
            Ok(())
        };
        let mode = RecoveryMode::Absolute;
        replay(&place.fs, &place.dir, DATABASE_ID, 1, Some(1), mode, visit).map(drop)
    })?;
    assert_eq!(found, frames, "every frame is read back");
    print("replay", took);
    Ok(())
}

fn quickest(frames: usize, mut work: impl FnMut() -> Result<()>) -> Result<f64> {
    let mut quickest = f64::INFINITY;
    for _ in 0..ROUNDS {
        quickest = quickest.min(nanoseconds(timed(&mut work)?, frames));
    }
    Ok(quickest)
}

fn timed(work: impl FnOnce() -> Result<()>) -> Result<Duration> {
    let start = Instant::now();
    work()?;
    Ok(start.elapsed())
}

fn nanoseconds(took: Duration, frames: usize) -> f64 {
    took.as_nanos() as f64 / frames.max(1) as f64
}

fn print(what: &str, nanoseconds: f64) {
    println!("  {what:<44}{nanoseconds:>8.1} ns");
}
