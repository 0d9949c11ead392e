//! Power cuts and kills at every step: what was synced is there, and what is there is a prefix.

use std::path::Path;

use lsm_io::{CrashPolicy, Result, SimFs};
use lsm_wal::{FrameKind, FrameReader, RecoveryMode};

use crate::support::{Owner, Rng, Start, Written, disk, path, read};

/// What a log's owner did until the disk failed, or all of it.
#[derive(Default)]
struct History {
    /// Where a replay begins; `None` before the log does.
    start: Option<Start>,
    /// From there on.
    written: Vec<Written>,
    durable: u64,
    /// The closing frame was written; whether it is durable is another question.
    is_closing: bool,
    is_closed: bool,
    next_number: u64,
    spare: Vec<u64>,
}

impl History {
    fn note(&mut self, owner: &Owner) {
        self.start = Some(owner.start);
        self.written.clone_from(&owner.written);
        self.durable = owner.durable;
        self.next_number = owner.next_number;
        self.spare.clone_from(&owner.spare);
    }

    /// The frames of which the owner knows that they are durable.
    fn durable_frames(&self) -> usize {
        let is_durable = |frame: &&Written| frame.seq_start <= self.durable;
        self.written.iter().take_while(is_durable).count()
    }
}

/// A random life of a log: appends, writes, syncs, marks, rotations, releases, perhaps a close.
fn live(fs: &SimFs, seed: u64, number: u64, first_seq_no: u64, spare: Vec<u64>) -> History {
    let mut history = History { next_number: number + 1, ..History::default() };
    let _ = live_until_failure(fs, seed, number, first_seq_no, spare, &mut history);
    history
}

fn live_until_failure(
    fs: &SimFs,
    seed: u64,
    number: u64,
    first_seq_no: u64,
    spare: Vec<u64>,
    history: &mut History,
) -> Result<()> {
    let mut rng = Rng::new(seed);
    let mut owner = Owner::start(fs, number, first_seq_no, 700)?;
    owner.spare = spare;
    history.note(&owner);
    for _ in 0..12 + rng.below(12) {
        let outcome = match rng.below(9) {
            0..=3 => {
                let kind = if rng.below(4) == 0 { FrameKind::NOTE } else { FrameKind::BATCH };
                let length = if rng.below(5) == 0 { 400 } else { rng.below(60) };
                let (count, payload) = (1 + rng.below(3) as u32, rng.bytes(length));
                owner.append(kind, count, &payload)
            }
            4 => owner.write(),
            8 => owner.store(),
            5 | 6 => {
                owner.mark();
                let bytes = rng.bytes(30);
                let stores_meanwhile = rng.below(2) == 0;
                owner.sync_beside(|owner| {
                    if !stores_meanwhile {
                        return Ok(());
                    }
                    owner.append(FrameKind::BATCH, 1, &bytes)?;
                    owner.store()
                })
            }
            _ => {
                let released = owner.release_before(rng.below(owner.durable + 2));
                assert!(released.iter().all(|segment| segment.end_seq_no <= owner.durable + 1));
                Ok(())
            }
        };
        history.note(&owner);
        outcome?;
    }
    if rng.below(2) == 0 {
        owner.sync()?;
        history.note(&owner);
        history.is_closing = true;
        owner.log.append_close();
        owner.sync()?;
        history.is_closed = true;
    }
    Ok(())
}

/// What is found after a crash is a prefix that reaches at least as far as the last sync.
#[track_caller]
fn check_found(fs: &SimFs, history: &History, context: &str) -> Vec<Written> {
    let Some(start) = history.start else { return Vec::new() };
    let (found, report) = read(fs, start, RecoveryMode::Default)
        .unwrap_or_else(|error| panic!("{context}: a crash is no damage: {error}"));
    assert!(history.written.starts_with(&found), "{context}: no gaps, no inventions");
    assert!(found.len() >= history.durable_frames(), "{context}: what was synced is there");
    assert!(history.is_closing || !report.closed_cleanly, "{context}: nobody closed it");
    assert!(report.closed_cleanly || !history.is_closed, "{context}: the close was durable");
    let unmarked = report.unmarked_frames as usize;
    assert!(unmarked <= found.len(), "{context}");
    if let Some(mark) = &report.mark {
        assert!(mark.durable_through <= history.durable, "{context}: marks tell the truth");
    }

    // Salvage finds at least as much, in order, and invents nothing either.
    let (salvaged, _) = read(fs, start, RecoveryMode::Salvage).expect("salvage goes on");
    assert!(salvaged.starts_with(&found), "{context}: salvage begins with what is certain");
    let mut written = history.written.iter();
    let is_subsequence = salvaged.iter().all(|frame| written.any(|other| other == frame));
    assert!(is_subsequence, "{context}: salvage invents nothing");

    // Absolute agrees or refuses.
    if let Ok((absolute, report)) = read(fs, start, RecoveryMode::Absolute) {
        assert_eq!((absolute, report.cut), (found.clone(), None), "{context}");
    }
    found
}

#[test]
fn what_was_synced_survives_a_power_cut_at_any_step() {
    for seed in 0..40 {
        let steps = disk(seed).count_steps(|fs| live(fs, seed, 1, 1, Vec::new()));
        for step in 0..steps {
            let fs = disk(seed);
            let fs = fs.crash_at(fs.steps() + step);
            let history = live(&fs, seed, 1, 1, Vec::new());
            assert!(fs.has_crashed());
            for policy in CrashPolicy::ALL {
                let image = fs.crash_image(policy, step);
                check_found(&image, &history, &format!("seed {seed}, step {step}, {policy}"));
            }
        }
    }
}

#[test]
fn a_killed_process_loses_nothing_that_was_written() {
    for seed in 0..200 {
        let fs = disk(seed);
        let mut owner = Owner::start(&fs, 1, 1, 700).expect("an empty disk");
        let mut rng = Rng::new(seed);
        let mut written = 0;
        for _ in 0..rng.below(12) {
            let length = rng.below(200);
            owner.append(FrameKind::BATCH, 1, &rng.bytes(length)).expect("appended");
            match rng.below(3) {
                0 => owner.write().expect("written"),
                1 => owner.store().expect("stored"),
                _ => continue,
            }
            written = owner.written.len();
        }
        let after = fs.kill_image();
        let (found, report) = read(&after, owner.start, RecoveryMode::Absolute)
            .unwrap_or_else(|error| panic!("seed {seed}: the plain end of a log: {error}"));
        assert_eq!(found, owner.written[..written], "seed {seed}");
        assert_eq!(report.cut, None, "seed {seed}: nothing is torn");
    }
}

/// A log over several lives, each ended by a power cut, each using the files of the one before.
#[test]
fn the_files_of_an_earlier_life_never_shine_through() {
    for seed in 0..300 {
        let mut rng = Rng::new(seed);
        let mut fs = disk(seed);
        let (mut number, mut first_seq_no, mut spare) = (1, 1, Vec::new());
        for life in 0..4 {
            let crash_at = fs.steps() + rng.below(60);
            let fs_alive = fs.crash_at(crash_at);
            let history = live(&fs_alive, rng.next(), number, first_seq_no, spare);
            let context = format!("seed {seed}, life {life}");
            fs = fs_alive.restart();
            let found = check_found(&fs, &history, &context);
            // The next life begins anew: its owner has made what was found durable elsewhere.
            let end = found.last().map(|frame| frame.seq_start + u64::from(frame.count));
            first_seq_no = end.or(history.start.map(|start| start.first_seq_no)).unwrap_or(1);
            number = history.next_number;
            spare = segments(&fs);
        }
    }
}

/// The segments whose name and identity agree. A power cut in a rename may leave one file with two
/// names; whoever used both again would write two segments into it.
fn segments(fs: &SimFs) -> Vec<u64> {
    let number_of = |path: &Path| -> Option<u64> {
        let named = path.file_stem()?.to_str()?.parse().ok()?;
        let reader = FrameReader::open(&fs.shared(), path, None).ok()?;
        (reader.identity().file_number == named).then_some(named)
    };
    fs.files().iter().filter_map(|(path, _)| number_of(path)).collect()
}

/// Two lives in one file: frames 1 to 3 of the first, and of the second, which begins with the same
/// sequence number, frame 1. Their lengths are alike, so that the old frame 2 stands where the new
/// one would.
fn recycled() -> (Owner, Vec<u8>) {
    let fs = disk(0);
    let mut old = Owner::start(&fs, 1, 1, 700).expect("an empty disk");
    for text in ["old", "old", "old"] {
        old.batch(text);
    }
    old.write().expect("written");
    let left_behind = fs.read_file(path(1));
    let mut new = Owner::start(&fs, 2, 1, 700).expect("prepared");
    new.spare.push(1);
    new.rotate().expect("rotated into the old file");
    (new, left_behind)
}

#[test]
fn a_recycled_segment_ends_plainly_before_its_first_frame_and_after_its_last() {
    let (mut owner, _) = recycled();
    owner.write().expect("written");
    for _ in 0..3 {
        let found = read(&owner.fs.kill_image(), owner.start, RecoveryMode::Absolute);
        let (found, report) = found.expect("the plain end of a log");
        assert_eq!((&found, report.cut), (&owner.written, None));
        assert_eq!(report.segments.last().map(|segment| segment.number), Some(3));
        owner.batch("new");
        owner.write().expect("written");
    }
}

#[test]
fn a_torn_recycled_segment_never_shows_old_frames() {
    // Of what the second life wrote the first frame reached the disk, and nothing behind it: the old
    // frames 2 and 3 follow it, in the right place and with the right sequence numbers.
    let (mut owner, left_behind) = recycled();
    owner.batch("new");
    owner.sync().expect("synced");
    let end = 76 + 27;
    owner.fs.damage(path(3), |bytes| bytes[end..].copy_from_slice(&left_behind[end..]));
    let (found, report) = read(&owner.fs, owner.start, RecoveryMode::Default).expect("a torn end");
    assert_eq!(found, owner.written);
    assert_eq!(report.cut.map(|cut| (cut.offset, cut.frames_discarded)), Some((end as u64, 0)));
    let (salvaged, _) = read(&owner.fs, owner.start, RecoveryMode::Salvage).expect("salvaged");
    assert_eq!(salvaged, owner.written);
}
