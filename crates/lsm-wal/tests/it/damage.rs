//! Every bit flipped, every length cut: the right answer, or `Corrupt`, never a wrong one.

use lsm_io::{CrashPolicy, Fs, Result, SimFs};
use lsm_wal::{FrameKind, FrameReader, FrameStep, LogReport, RecoveryMode};

use crate::support::{Owner, Written, disk, path, read};

/// A small log over two segments, with marks; the second one is half empty.
fn small_log() -> Owner {
    let fs = disk(0);
    let mut owner = Owner::start(&fs, 1, 1, 320).expect("an empty disk");
    for (index, text) in ["one", "two two", "", "four", "five", "six"].into_iter().enumerate() {
        let kind = if index == 3 { FrameKind::NOTE } else { FrameKind::BATCH };
        owner.append(kind, 2, text.as_bytes()).expect("appended");
        if index % 2 == 1 {
            owner.mark();
            owner.sync().expect("synced");
        }
    }
    assert_eq!(owner.log.segments().len(), 2);
    owner
}

fn damaged(owner: &Owner, segment: u64, change: impl FnOnce(&mut Vec<u8>)) -> SimFs {
    let fs = owner.fs.crash_image(CrashPolicy::KeepEverything, 0);
    fs.damage(path(segment), change);
    fs
}

/// Where the last frame of a segment ends.
fn end_of_frames(owner: &Owner, segment: u64) -> usize {
    let mut reader =
        FrameReader::open(&owner.fs.shared(), &path(segment), None).expect("a sound segment");
    while let FrameStep::Frame(_) = reader.next().expect("read") {}
    reader.offset() as usize
}

#[track_caller]
fn check_corrupt(outcome: Result<(Vec<Written>, LogReport)>, context: &str) {
    match outcome {
        Err(error) => assert!(error.is_corrupt(), "{context}: {error}"),
        Ok((frames, report)) => panic!("{context}: {} frames, {report:?}", frames.len()),
    }
}

/// Salvage never refuses and never delivers what was not written.
#[track_caller]
fn check_salvage(fs: &SimFs, owner: &Owner, context: &str) {
    let (salvaged, report) = read(fs, owner.start, RecoveryMode::Salvage).expect("salvage goes on");
    let mut written = owner.written.iter();
    assert!(salvaged.iter().all(|frame| written.any(|other| other == frame)), "{context}");
    let is_whole = salvaged == owner.written;
    let is_reported = !report.losses.is_empty() || report.cut.is_some();
    assert!(is_whole || is_reported || !report.closed_cleanly, "{context}: {report:?}");
}

#[test]
fn after_a_clean_close_every_bit_counts() {
    let mut owner = small_log();
    owner.close().expect("closed");
    let intact = read(&owner.fs, owner.start, RecoveryMode::Default).expect("a sound log");
    assert_eq!(intact.0, owner.written);
    assert!(intact.1.closed_cleanly);
    assert_eq!(intact.1.unmarked_frames, 0);
    for segment in [1, 2] {
        let end = end_of_frames(&owner, segment);
        let closing_frame = end - 32;
        for bit in 0..320 * 8 {
            let context = format!("segment {segment}, bit {} of byte {}", bit % 8, bit / 8);
            let fs = damaged(&owner, segment, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
            check_salvage(&fs, &owner, &context);
            for mode in [RecoveryMode::Default, RecoveryMode::Absolute] {
                match read(&fs, owner.start, mode) {
                    // What stands behind the closing frames is nothing.
                    Ok(found) if found == intact => {
                        assert!(bit / 8 >= end, "{context}: the flip is in a frame");
                    }
                    Ok((frames, report)) => {
                        // Who kept the note that the log was closed (CURRENT) sees that it is not.
                        assert!(segment == 2 && bit / 8 >= closing_frame, "{context}");
                        assert_eq!(mode, RecoveryMode::Default, "{context}");
                        assert!(!report.closed_cleanly && report.cut.is_some(), "{context}");
                        assert_eq!(frames, owner.written, "{context}");
                    }
                    Err(error) => assert!(error.is_corrupt(), "{context}: {error}"),
                }
            }
        }
    }
}

#[test]
fn after_a_clean_close_every_length_counts() {
    let mut owner = small_log();
    owner.close().expect("closed");
    for segment in [1, 2] {
        for length in 0..320 {
            let context = format!("segment {segment} cut to {length} bytes");
            let fs = damaged(&owner, segment, |bytes| bytes.truncate(length));
            check_salvage(&fs, &owner, &context);
            let outcome = read(&fs, owner.start, RecoveryMode::Default);
            if length >= end_of_frames(&owner, segment) {
                let (frames, report) = outcome.expect("nothing is missing");
                assert_eq!(frames, owner.written, "{context}");
                assert!(report.closed_cleanly, "{context}");
            } else if segment == 1 || length < 76 {
                check_corrupt(outcome, &context);
            } else if let Ok((frames, report)) = outcome {
                // Without its closing frame a log is one that a crash has ended.
                assert!(!report.closed_cleanly, "{context}");
                assert!(owner.written.starts_with(&frames), "{context}");
            }
        }
    }
}

#[test]
fn without_a_close_damage_below_the_newest_mark_is_never_cut() {
    let mut owner = small_log();
    let marked = owner.durable;
    owner.mark();
    owner.batch("seven");
    owner.sync().expect("synced");
    let (_, intact) = read(&owner.fs, owner.start, RecoveryMode::Default).expect("a sound log");
    assert_eq!(intact.mark.as_ref().map(|mark| mark.durable_through), Some(marked));
    assert_eq!(intact.unmarked_frames, 1);
    let marked_frames = owner.written.len() - 1;
    for segment in [1, 2] {
        for bit in 0..320 * 8 {
            let context = format!("segment {segment}, bit {} of byte {}", bit % 8, bit / 8);
            let fs = damaged(&owner, segment, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
            check_salvage(&fs, &owner, &context);
            match read(&fs, owner.start, RecoveryMode::Default) {
                Err(error) => assert!(error.is_corrupt(), "{context}: {error}"),
                Ok((frames, report)) => {
                    assert!(owner.written.starts_with(&frames), "{context}");
                    let is_newest_mark_damaged = report.mark != intact.mark;
                    assert!(frames.len() >= marked_frames || is_newest_mark_damaged, "{context}");
                    assert!(frames == owner.written || report.cut.is_some(), "{context}");
                }
            }
        }
    }
}

#[test]
fn a_swapped_segment_is_corruption() {
    let mut owner = small_log();
    owner.close().expect("closed");
    let first = owner.fs.read_file(path(1));
    let fs = damaged(&owner, 2, |bytes| *bytes = first);
    let error = read(&fs, owner.start, RecoveryMode::Default).expect_err("refused");
    let expected = "db/000002.log at byte 0: the file is segment 1 under another name";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_missing_segment_is_corruption() {
    let mut owner = small_log();
    owner.close().expect("closed");
    for segment in [1, 2] {
        let fs = owner.fs.crash_image(CrashPolicy::KeepEverything, 0);
        fs.remove_file(&path(segment)).expect("it was there");
        let error = read(&fs, owner.start, RecoveryMode::Default).expect_err("refused");
        let expected =
            format!("db/{segment:06}.log at byte 0: the segment is missing from the log");
        assert_eq!(error.to_string(), expected);
        check_salvage(&fs, &owner, "a missing segment");
    }
}
