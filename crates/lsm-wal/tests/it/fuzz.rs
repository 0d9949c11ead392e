//! Arbitrary bytes: no panic, no hang, no memory beyond bounds, a typed error or some answer.

use lsm_io::{Fs, OpenMode};
use lsm_wal::fuzz::{fuzz_frames, fuzz_log, fuzz_replay};
use lsm_wal::{FrameKind, RecoveryMode};

use crate::support::{Owner, Rng, Start, disk, path, read};

/// A log of an earlier day. It must stay readable for ever, and is what fuzzing starts from.
const CORPUS: [&[u8]; 2] =
    [include_bytes!("../corpus/first.log"), include_bytes!("../corpus/second.log")];

/// What the log of the corpus holds: all types, over two segments, closed.
fn write() -> Owner {
    let mut owner = Owner::start(&disk(0), 1, 1, 450).expect("an empty disk");
    for n in 0..9_u32 {
        let kind = [FrameKind::BATCH, FrameKind::NOTE, FrameKind::USER][n as usize % 3];
        owner.append(kind, n + 1, &vec![n as u8; n as usize * 5]).expect("appended");
        if n % 4 == 3 {
            owner.sync().expect("synced");
            assert!(owner.log.fits(24), "the marks' places are part of the corpus");
            owner.log.append_mark(owner.durable, &[n as u8; 16]);
        }
    }
    owner.close().expect("closed");
    assert_eq!(owner.log.segments().len(), 2);
    owner
}

#[test]
fn the_log_of_an_earlier_day_is_read() {
    let owner = write();
    assert_eq!(owner.fs.read_file(path(1)), CORPUS[0], "the format has changed");
    assert_eq!(owner.fs.read_file(path(2)), CORPUS[1], "the format has changed");
    let fs = disk(0);
    for (number, bytes) in (1..).zip(CORPUS) {
        let file = fs.open(&path(number), OpenMode::CreateNew).expect("created");
        file.write_at(0, bytes).expect("written");
    }
    let start = Start { segment: 1, first_seq_no: 1 };
    let (found, report) = read(&fs, start, RecoveryMode::Absolute).expect("sound");
    assert_eq!(found, owner.written);
    assert!(report.closed_cleanly);
}

/// Changes a few bytes, favouring values that stand for something.
fn mutate(bytes: &mut [u8], rng: &mut Rng) {
    for _ in 0..=rng.below(4) {
        let at = rng.below(bytes.len() as u64) as usize;
        let Some(byte) = bytes.get_mut(at) else { return };
        *byte = match rng.below(5) {
            0 => 0,
            1 => 0xFF,
            2 => byte.wrapping_add(1),
            3 => *byte ^ (1 << rng.below(8)),
            _ => rng.next() as u8,
        };
    }
}

#[test]
fn segments_of_arbitrary_bytes_do_no_harm() {
    let mut rng = Rng::new(1);
    for segment in CORPUS {
        for _ in 0..2000 {
            let mut mutated = segment.to_vec();
            mutate(&mut mutated, &mut rng);
            fuzz_frames(&mutated);
            fuzz_replay(&mutated);
        }
    }
    for length in 0..300 {
        let noise = rng.bytes(length);
        fuzz_frames(&noise);
        fuzz_replay(&noise);
    }
}

#[test]
fn logs_of_nonsense_under_right_checksums_do_no_harm() {
    let mut rng = Rng::new(2);
    for _ in 0..20_000 {
        let length = rng.below(200);
        let mut script = rng.bytes(length);
        // Small numbers make frames that nearly follow each other.
        for byte in &mut script {
            *byte %= 12;
        }
        fuzz_log(&script);
    }
}
